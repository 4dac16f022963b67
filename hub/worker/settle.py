"""Settling: a flight derived again from its envelopes and put in the place of its live rows, in one transaction.

When a session closes, when data come late, when the clock is known better. While it runs the session's row is locked,
so that ingest adds nothing to it in between; afterwards no (session_id, timestamp) occurs twice.
"""

import datetime as dt
import itertools
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psycopg

from firmware_bridge.events import Event
from firmware_bridge.grid import ChannelGrid
from hub.ingest.chunks import chunk_rows
from hub.ingest.derive import extreme
from hub.ingest.table_rows import RowTypes
from hub.store import chunks, jobs, ledger, logs, sessions
from hub.store.ledger import BatchKey, LedgerRow
from hub.store.log_arrivals import log_id
from hub.store.sessions import SessionFacts, Settlement
from hub.store.tenant import tenant
from hub.worker.alignment import Line
from hub.worker.flight_logs import LaidLog, LaidLogs, read_logs
from hub.worker.log_shelf import LogShelf, open_shelf
from hub.worker.merge import Span, holes, merge, merge_events
from hub.worker.rederive import Rederivation, Rederived, distance_m, joined, read_batch
from shared.batch import Batch
from shared.clock import TimeMapping

PAGE = 200
"""Envelopes in memory at a time."""
Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of it, for the analysis."""

    aircraft_id: uuid.UUID
    state: str
    grids: list[ChannelGrid]
    offset_us: int
    mav_type: int
    digests: list[bytes]


class Changed(RuntimeError):
    """The flight's logs changed while they were read; the job is done again."""


def settle(
    conn: Connection, types: RowTypes, org_id: uuid.UUID, session_id: uuid.UUID, shelf: LogShelf | None = None
) -> Settled | None:
    """Settle one session with the logs that tell of it; None when there is none. Connection as dbx_worker, outside any
    transaction."""
    if shelf is None:
        with open_shelf() as own:
            return settle(conn, types, org_id, session_id, own)
    _prepare_days(conn, org_id, session_id)
    aircraft_id = _with_logs(conn, org_id, session_id)
    if aircraft_id is None:
        return _settle(conn, types, org_id, session_id, LaidLogs())
    logs.lock_aircraft(conn, aircraft_id)
    try:
        laid = read_logs(conn, org_id, session_id, _live_line(conn, org_id, session_id), shelf)
        return _settle(conn, types, org_id, session_id, laid)
    finally:
        logs.unlock_aircraft(conn, aircraft_id)


def _with_logs(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> uuid.UUID | None:
    """The aircraft, when some log is part of the flight or may be."""
    with tenant(conn, org_id):
        facts = sessions.find_facts(conn, org_id, session_id)
        found = facts is not None and logs.attached(conn, org_id, session_id)
    return facts.aircraft_id if found and facts is not None else None


def _live_line(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> Line | None:
    """The live stream on its own dates; None when the flight has none."""
    with tenant(conn, org_id):
        facts = sessions.find_facts(conn, org_id, session_id)
        members = ledger.session_batches(conn, org_id, session_id)
        if facts is None or facts.origin != "live":
            return None
        boot, clock = _clock_of(conn, org_id, facts, members)
        flight = _rederive(conn, org_id, facts, members, boot, clock)
    whole, offset = joined(flight.grids), clock.offset_us()
    at = None if flight.boot_at_us is None else flight.boot_at_us + offset
    return Line(ChannelGrid(whole.tick_us + offset, whole.values), clock.source, clock.uncertainty_us, at)


def _settle(
    conn: Connection, types: RowTypes, org_id: uuid.UUID, session_id: uuid.UUID, laid: LaidLogs
) -> Settled | None:
    with tenant(conn, org_id, actor="worker"):
        facts = sessions.lock_session(conn, org_id, session_id)
        if facts is None:
            return None
        if facts.state == "live" and sessions.close_superseded(conn, org_id, session_id):
            facts = replace(facts, state="closed")
        members = ledger.session_batches(conn, org_id, session_id)
        boot, clock = _clock_of(conn, org_id, facts, members)
        clock = _dated(facts, clock, laid)
        if facts.origin == "log" and laid.laid:
            armed_us, disarmed_us = laid.laid[0].span_us
            facts = replace(facts, armed_us=armed_us, disarmed_us=disarmed_us)
        flight = _rederive(conn, org_id, facts, members, boot, clock)
        if facts.origin == "log" and not laid.laid:
            logs.delete_flight(conn, org_id, session_id, None)
            return None
        whole, spans = _merged(flight, laid)
        _attach(conn, org_id, session_id, laid)
        _replace_rows(conn, types, org_id, session_id, facts, members, flight, laid, whole)
        _say_sources(conn, org_id, session_id, facts, flight, laid, spans)
        if flight.hardware and facts.origin == "live":
            waiting = logs.learn_hardware(conn, org_id, facts.aircraft_id, flight.hardware, "stream")
            jobs.enqueue(conn, org_id, "log", dict.fromkeys(waiting, 0.0))
        is_complete = complete(facts, members, sessions.count_gaps(conn, org_id, session_id), flight.failed)
        settlement = _settlement(facts, members, boot, clock, whole, is_complete)
        sessions.settle_session(conn, org_id, session_id, settlement)
        _say_holes(conn, org_id, session_id, facts, flight, settlement, laid, whole)
    digests = [m.digest for m in members] + sorted({f.match.sha256 for f in laid.laid})
    return Settled(facts.aircraft_id, facts.state, [whole] if laid.laid else flight.grids, flight.offset_us,
                   facts.mav_type or flight.mav_type, digests)  # fmt: skip


def _dated(facts: SessionFacts, clock: TimeMapping, laid: LaidLogs) -> TimeMapping:
    """The live stream's mapping, moved to the clock that dates the flight; without a stream the logs' dates as is."""
    if laid.clock is None:
        return clock
    offset = 0 if facts.origin == "log" else clock.offset_us() + laid.live_shift_us
    source, uncertainty_us = laid.clock
    return TimeMapping(source, 0, offset, uncertainty_us)


def _merged(flight: Rederived, laid: LaidLogs) -> tuple[ChannelGrid, list[Span]]:
    """All rows on the recorder's clock, and what came from which source: the logs in order, then the stream."""
    whole = joined(flight.grids)
    if not laid.laid:
        return whole, []
    on_recorder = [replace(f.grid, tick_us=f.grid.tick_us - flight.offset_us) for f in laid.laid]
    return merge([*on_recorder, whole])


def _attach(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, laid: LaidLogs) -> None:
    """Write down which logs are part of the flight; flights that were known from these logs alone end in it."""
    if {(f.sha256, f.session_no) for f in logs.flight_logs(conn, org_id, session_id)} - laid.names:
        raise Changed("a log was attached meanwhile, or cannot be read any more")
    for name in sorted(laid.names):
        shared = logs.siblings(conn, org_id, session_id, *name)
        is_new = session_id not in logs.flights_of(conn, org_id, *name)
        for other in logs.flights_of(conn, org_id, *name):
            if other != session_id and other not in {s[0] for s in shared}:
                left = {f.sha256 for f in logs.flight_logs(conn, org_id, other)} - {n[0] for n in laid.names}
                logs.delete_flight(conn, org_id, other, session_id)
                jobs.enqueue(conn, org_id, "log", {log_id(sha256): 1.0 for sha256 in left})
        if is_new:
            jobs.enqueue(conn, org_id, "settle", {s[0]: 1.0 for s in shared})
    for f in laid.laid:
        logs.attach(conn, org_id, session_id, f.match)


def _say_sources(
    conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, facts: SessionFacts, flight: Rederived, laid: LaidLogs,
    spans: Sequence[Span],
) -> None:  # fmt: skip
    rows = []
    for number, s in enumerate(spans):
        log = laid.laid[s.source] if s.source < len(laid.laid) else None
        rows.append({
            "source_no": number, "kind": "live" if log is None else log.kind, "channels": s.channels,
            "sha256": None if log is None else log.match.sha256.hex(),
            "stream_id": str(facts.stream_id) if log is None else None, "grid_rows": s.rows,
            "from_utc_us": s.from_us + flight.offset_us, "to_utc_us": s.to_us + flight.offset_us,
        })  # fmt: skip
    logs.replace_sources(conn, org_id, session_id, rows)


def _say_holes(
    conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, facts: SessionFacts, flight: Rederived, s: Settlement,
    laid: LaidLogs, whole: ChannelGrid,
) -> None:  # fmt: skip
    boot_at_us = flight.boot_at_us if facts.origin == "live" else laid.boot_at_us
    live = joined(flight.grids).tick_us + flight.offset_us
    found = holes(live, whole.tick_us + flight.offset_us, (s.started_utc_us, s.ended_utc_us))
    is_live = facts.origin == "live"
    logs.set_merged(conn, org_id, session_id, boot_at_us, found.lost if is_live else 0, found.filled if is_live else 0)


def complete(facts: SessionFacts, members: Sequence[LedgerRow], gaps: int, failed: Sequence[BatchKey]) -> bool:
    """Whether all that the aircraft journaled of a closed flight is here, unaltered: every sequence from first to last,
    each naming the one before it, the last being the manifest's chain head, and no gap record."""
    if facts.first_seq is None or facts.last_seq is None or facts.chain_head is None or gaps or failed:
        return False
    chain = [m for m in members if m.stream_id == facts.stream_id and facts.first_seq <= m.seq <= facts.last_seq]
    if [m.seq for m in chain] != list(range(facts.first_seq, facts.last_seq + 1)):
        return False
    linked = all(b.prev_digest == a.digest for a, b in itertools.pairwise(chain))
    return bool(chain) and linked and chain[-1].digest == facts.chain_head


def _prepare_days(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> None:
    """The partitions of the flight's days, before the transaction: making one locks the default partition."""
    with tenant(conn, org_id):
        found = sessions.find_span(conn, org_id, session_id)
    if found is None:
        return
    days = {dt.datetime.fromtimestamp(t / 1e6, dt.UTC).date() for t in found if 0 < t < 4_000_000_000_000_000}
    if days and max(days) - min(days) <= dt.timedelta(days=7):
        chunks.ensure_days(conn, sorted(days))


def _clock_of(
    conn: Connection, org_id: uuid.UUID, facts: SessionFacts, members: Sequence[LedgerRow]
) -> tuple[uuid.UUID, TimeMapping]:
    """The flight's boot, and the best mapping that any batch of that boot carried (as the ledger has them)."""
    frames: dict[uuid.UUID, int] = {}
    for m in members:
        frames[m.boot_id] = frames.get(m.boot_id, 0) + m.frames
    boot = max(frames, key=lambda k: frames[k]) if any(frames.values()) else facts.boot_id
    return boot, ledger.best_clock(conn, org_id, facts.aircraft_id, boot, [m.stream_id for m in members])


def _in_order(members: Sequence[LedgerRow]) -> list[LedgerRow]:
    return sorted(members, key=lambda m: (m.covers, m.stream_id, m.seq))


def _rederive(
    conn: Connection, org_id: uuid.UUID, facts: SessionFacts, members: Sequence[LedgerRow], boot: uuid.UUID,
    clock: TimeMapping,
) -> Rederived:  # fmt: skip
    work = Rederivation(clock.offset_us(), facts.vehicle, facts.mav_autopilot or 0)
    with_frames = [m for m in _in_order(members) if m.boot_id == boot and m.frames]
    for batch in _batches(conn, org_id, with_frames):
        work.add(batch)
    return work.result


def _batches(conn: Connection, org_id: uuid.UUID, members: Sequence[LedgerRow]) -> Iterator[Batch]:
    for at in range(0, len(members), PAGE):
        keys = [(m.stream_id, m.seq) for m in members[at : at + PAGE]]
        envelopes = ledger.read_envelopes(conn, org_id, keys)
        for key in keys:
            if key in envelopes:
                yield read_batch(envelopes[key])


def _replace_rows(
    conn: Connection, types: RowTypes, org_id: uuid.UUID, session_id: uuid.UUID, facts: SessionFacts,
    members: Sequence[LedgerRow], flight: Rederived, laid: LaidLogs, whole: ChannelGrid,
) -> None:  # fmt: skip
    own = [(m.stream_id, m.seq) for m in members if m.session_id in (None, session_id)]
    ids: dict[str, Any] = {"org_id": org_id, "session_id": session_id, "aircraft_id": facts.aircraft_id}
    chunks.delete_chunks(conn, org_id, session_id)
    rows = [ids | {"settled": True} | row for row in chunk_rows([whole], [flight.offset_us])[0]]
    for at in range(0, len(rows), 20):
        chunks.insert_chunks(conn, types.telemetry_chunks.encode(rows[at : at + 20]))
    chunks.delete_events(conn, org_id, session_id, [k[0] for k in own], [k[1] for k in own])
    is_own = set(own)
    events: list[dict[str, Any]] = [
        ids | {
            "stream_id": key[0], "seq": key[1], "event_no": number, "at_us": e.at_us,
            "at_utc_us": e.at_us + flight.offset_us, "kind": e.kind, "severity": e.severity, "text": e.text,
            "value": e.value,
        }
        for (key, number), e in _events([(k, n, e) for k, n, e in flight.events if k in is_own], flight, laid)
    ]  # fmt: skip
    if laid.laid:
        chunks.delete_shared_events(conn, org_id, [(e["stream_id"], e["seq"], e["event_no"]) for e in events])
    if events:
        chunks.insert_events(conn, types.flight_events.encode(events))
    ledger.mark_derived(conn, org_id, flight.done, 0)
    ledger.mark_derived(conn, org_id, flight.failed, 1)


EventKey = tuple[BatchKey, int]
EVENTS_OF_SESSION = 20_000
EVENTS_OF_LOG = EVENTS_OF_SESSION * 100
"""Numbers of events behind the manifest that brought a log: by its record, the log's session, the event."""


def _events(
    live: Sequence[tuple[BatchKey, int, Event]], flight: Rederived, laid: LaidLogs
) -> list[tuple[EventKey, Event]]:
    """Events of all sources without doubles, on the recorder's clock."""
    own: list[tuple[EventKey, Event]] = [((key, number), e) for key, number, e in live]
    if not laid.laid:
        return own
    return merge_events([*(_log_events(f, flight.offset_us) for f in laid.laid), own])


def _log_events(log: LaidLog, offset_us: int) -> list[tuple[EventKey, Event]]:
    assert log.log.stream_id is not None and log.log.seq is not None and log.log.record_no is not None
    first = log.log.record_no * EVENTS_OF_LOG + log.match.session_no * EVENTS_OF_SESSION
    key = (log.log.stream_id, log.log.seq)
    told = [(i, e) for i, e in log.events if i < EVENTS_OF_SESSION]
    return [((key, first + i), replace(e, at_us=e.at_us - offset_us)) for i, e in told]


def _settlement(
    facts: SessionFacts, members: Sequence[LedgerRow], boot: uuid.UUID, clock: TimeMapping, whole: ChannelGrid,
    is_complete: bool,
) -> Settlement:  # fmt: skip
    offset = clock.offset_us()
    spans = [m.covers for m in members if m.boot_id == boot]
    spans = spans or ([(int(whole.tick_us[0]), int(whole.tick_us[-1]))] if len(whole.tick_us) else [(0, 0)])
    first = facts.armed_us if facts.armed_us is not None else min(s[0] for s in spans)
    last = facts.disarmed_us if facts.disarmed_us is not None else max(s[1] for s in spans)
    return Settlement(
        boot, int(clock.source), offset, clock.uncertainty_us, first + offset, max(first, last) + offset,
        len(whole.tick_us), extreme(whole, ("alt_rel_m",), np.max), extreme(whole, ("groundspeed_mps",), np.max),
        distance_m(whole), is_complete,
    )  # fmt: skip

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

from firmware_bridge.grid import ChannelGrid
from hub.ingest.chunks import chunk_rows
from hub.ingest.derive import extreme
from hub.ingest.table_rows import RowTypes
from hub.store import chunks, ledger, sessions
from hub.store.ledger import BatchKey, LedgerRow
from hub.store.sessions import SessionFacts, Settlement
from hub.store.tenant import tenant
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


def settle(conn: Connection, types: RowTypes, org_id: uuid.UUID, session_id: uuid.UUID) -> Settled | None:
    """Settle one session; None when there is none. Connection as dbx_worker, outside any transaction."""
    _prepare_days(conn, org_id, session_id)
    with tenant(conn, org_id, actor="worker"):
        facts = sessions.lock_session(conn, org_id, session_id)
        if facts is None:
            return None
        if facts.state == "live" and sessions.close_superseded(conn, org_id, session_id):
            facts = replace(facts, state="closed")
        members = ledger.session_batches(conn, org_id, session_id)
        boot, clock = _clock_of(conn, org_id, facts, members)
        flight = _rederive(conn, org_id, facts, members, boot, clock)
        whole = joined(flight.grids)
        _replace_rows(conn, types, org_id, session_id, facts, members, flight, whole)
        is_complete = complete(facts, members, sessions.count_gaps(conn, org_id, session_id), flight.failed)
        settlement = _settlement(facts, members, boot, clock, whole, is_complete)
        sessions.settle_session(conn, org_id, session_id, settlement)
    digests = [m.digest for m in members]
    return Settled(facts.aircraft_id, facts.state, flight.grids, flight.offset_us,
                   facts.mav_type or flight.mav_type, digests)  # fmt: skip


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
    members: Sequence[LedgerRow], flight: Rederived, whole: ChannelGrid,
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
        for key, number, e in flight.events
        if key in is_own
    ]  # fmt: skip
    if events:
        chunks.insert_events(conn, types.flight_events.encode(events))
    ledger.mark_derived(conn, org_id, flight.done, 0)
    ledger.mark_derived(conn, org_id, flight.failed, 1)


def _settlement(
    facts: SessionFacts, members: Sequence[LedgerRow], boot: uuid.UUID, clock: TimeMapping, whole: ChannelGrid,
    is_complete: bool,
) -> Settlement:  # fmt: skip
    offset = clock.offset_us()
    spans = [m.covers for m in members if m.boot_id == boot] or [(0, 0)]
    first = facts.armed_us if facts.armed_us is not None else min(s[0] for s in spans)
    last = facts.disarmed_us if facts.disarmed_us is not None else max(s[1] for s in spans)
    return Settlement(
        boot, int(clock.source), offset, clock.uncertainty_us, first + offset, max(first, last) + offset,
        len(whole.tick_us), extreme(whole, ("alt_rel_m",), np.max), extreme(whole, ("groundspeed_mps",), np.max),
        distance_m(whole), is_complete,
    )  # fmt: skip

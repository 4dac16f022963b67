"""One transaction for many batches of one organisation: all that the database gets of them, or nothing.

Everything hangs on the ledger row: what `ON CONFLICT DO NOTHING RETURNING` does not give back was committed before
and writes nothing else. Rows are locked in order of their ids (streams, then sessions, then aircraft), so that ingest
processes wait for each other but never deadlock.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from hub.ingest.admit import Admitted, Refusal, refuse
from hub.ingest.derive import Derived, make_rows
from hub.ingest.log_records import log_check, write_logs
from hub.ingest.table_rows import RowTypes, TableRows
from hub.store import alerts, chunks, jobs, ledger, models, records, sessions
from hub.store.ledger import BatchKey
from hub.store.sessions import SessionState
from hub.store.tenant import tenant
from shared.errors import Refused
from shared.records import DirectiveReport, Finding, Gap, SessionClose, SessionOpen
from shared.topics import Lane

SETTLE_CLOSED_S = 1.0
SETTLE_LATE_S = 5.0
"""Late data comes in bursts: wait a little before the flight is derived again."""
SETTLE_OPENED_S = 10.0
"""After the pre-roll has come."""


@dataclass(slots=True)
class Outcome:
    """committed: new in the ledger. duplicates: committed before: receipted again. refused: to quarantine.

    contradicted: those refused whose sequence is taken, with the digest that is committed instead: the receipt
    that says so lets an honest recorder notice that its store was put back.
    """

    committed: list[Admitted] = field(default_factory=list)
    duplicates: list[Admitted] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    contradicted: list[Admitted] = field(default_factory=list)


def commit(conn: psycopg.Connection[Any], types: RowTypes, org_id: uuid.UUID, found: Sequence[Derived]) -> Outcome:
    """Commit batches of one organisation. psycopg.Error: nothing of it is committed."""
    out = Outcome()
    found = _first_of_each(found, out)
    with tenant(conn, org_id, actor="ingest"):
        found = _keep(found, out, _stream_check(conn, types, org_id, found))
        found = _keep(found, out, _session_check(conn, org_id, found))
        found = _keep(found, out, log_check(conn, org_id, found))
        new = _enter(conn, types, org_id, found, out)
        if new:
            _write(conn, types, org_id, new)
            _raise_clones(conn, org_id, new)
    out.committed += [d.item for d in new]
    return out


def key_of(item: Admitted) -> BatchKey:
    """What a batch commits under."""
    return item.batch.stream, item.batch.seq


def _first_of_each(found: Sequence[Derived], out: Outcome) -> list[Derived]:
    """One batch per key: the same again is a duplicate, another one under the same key is refused."""
    first: dict[BatchKey, Derived] = {}
    for d in found:
        other = first.setdefault(key_of(d.item), d)
        if other is not d:
            if other.item.digest == d.item.digest:
                out.duplicates.append(d.item)
            else:
                out.refused.append(refuse(d.item, conflict(d.item)))
    return sorted(first.values(), key=lambda d: key_of(d.item))


def conflict(item: Admitted) -> Refused:
    """Two different batches signed under one sequence."""
    return Refused("sequence_conflict", f"batch {item.batch.seq} of stream {item.batch.stream} with another digest")


def _keep(found: Sequence[Derived], out: Outcome, check: Callable[[Derived], Refused | None]) -> list[Derived]:
    kept = []
    for d in found:
        error = check(d)
        if error is None:
            kept.append(d)
        else:
            out.refused.append(refuse(d.item, error))
    return kept


def _stream_check(
    conn: psycopg.Connection[Any], types: RowTypes, org_id: uuid.UUID, found: Sequence[Derived]
) -> Callable[[Derived], Refused | None]:
    """Bind new streams to their aircraft; a stream that another aircraft has is refused."""
    rows = TableRows(org_id, found).streams()
    mine = ledger.upsert_streams(conn, types.streams.encode(rows)) if rows else set()
    owners = {r["stream_id"]: r["aircraft_id"] for r in rows}

    def check(d: Derived) -> Refused | None:
        stream = d.item.batch.stream
        if stream in mine and owners[stream] == d.item.key.aircraft_id:
            return None
        return Refused("stream_of_other_aircraft", f"stream {stream}")

    return check


def _session_check(
    conn: psycopg.Connection[Any], org_id: uuid.UUID, found: Sequence[Derived]
) -> Callable[[Derived], Refused | None]:
    """A session belongs to the aircraft that made it."""
    wanted = {s for d in found for s in _mentioned_sessions(d)}
    known = {k: v.aircraft_id for k, v in sessions.find_sessions(conn, org_id, [*wanted]).items()} if wanted else {}

    def check(d: Derived) -> Refused | None:
        mine = d.item.key.aircraft_id
        for session in _mentioned_sessions(d):
            if known.setdefault(session, mine) != mine:
                return Refused("session_of_other_aircraft", f"session {session}")
        return None

    return check


def named_sessions(d: Derived) -> set[uuid.UUID]:
    """The sessions that a batch adds to, opens or closes."""
    own = {d.item.batch.session} if d.item.batch.session else set()
    return own | {r.session for _, r in d.records if isinstance(r, (SessionOpen, SessionClose))}


def _mentioned_sessions(d: Derived) -> set[uuid.UUID]:
    """Also those that a finding or a gap speaks of."""
    spoken_of = {r.session for _, r in d.records if isinstance(r, (Finding, Gap)) and r.session is not None}
    return named_sessions(d) | spoken_of


def _enter(
    conn: psycopg.Connection[Any], types: RowTypes, org_id: uuid.UUID, found: Sequence[Derived], out: Outcome
) -> list[Derived]:
    """Put batches into the ledger; sorts those that were there into duplicates and conflicts."""
    if not found:
        return []
    entered = ledger.insert_batches(conn, types.ingest_batches.encode(TableRows(org_id, found).ledger()))
    old = [d for d in found if key_of(d.item) not in entered]
    digests = ledger.find_digests(conn, org_id, [key_of(d.item) for d in old]) if old else {}
    for d in old:
        held = digests.get(key_of(d.item))
        if held == d.item.digest:
            out.duplicates.append(d.item)
        else:
            out.refused.append(refuse(d.item, conflict(d.item)))
            out.contradicted += [] if held is None else [replace(d.item, digest=held)]
    return [d for d in found if key_of(d.item) in entered]


def _write(conn: psycopg.Connection[Any], types: RowTypes, org_id: uuid.UUID, new: Sequence[Derived]) -> None:
    """Everything that follows from batches that are new in the ledger."""
    rows = TableRows(org_id, new)
    states = sessions.upsert_sessions(conn, types.flight_sessions.encode(s)) if (s := rows.sessions()) else {}
    if states.keys() != {s for d in new for s in named_sessions(d)}:
        raise SessionRace("a session was made by another aircraft meanwhile")
    _retime(new, states)
    crossing = _crossing(conn, org_id, new)
    with conn.pipeline():
        ledger.insert_envelopes(conn, types.batch_envelopes.encode(rows.envelopes()))
        if crossing:
            ledger.mark_derived(conn, org_id, [*crossing], 2)
        if made := rows.chunks(except_for=crossing):
            chunks.insert_chunks(conn, types.telemetry_chunks.encode(made))
        if events := rows.events():
            chunks.insert_events(conn, types.flight_events.encode(events))
        if gaps := rows.gaps():
            records.insert_gaps(conn, types.gaps.encode(gaps))
        if states_of_aircraft := rows.newest(int(time.time() * 1e6)):
            records.upsert_states(conn, types.aircraft_state.encode(states_of_aircraft))
        if findings := rows.findings():
            records.insert_findings(conn, types.findings.encode(findings))
        if reports := rows.model_reports():
            models.insert_reports(conn, types.model_reports.encode(reports))
        _write_records(conn, org_id, new)
        _ask_to_settle(conn, org_id, new, states, {d.item.batch.session for d in new if key_of(d.item) in crossing})
        write_logs(conn, org_id, new)


class SessionRace(RuntimeError):
    """Two aircraft made the same session at once; trying again finds whose it is."""


def _retime(new: Sequence[Derived], states: dict[uuid.UUID, SessionState]) -> None:
    """All rows of a session have one clock offset, the one that its row names: derive anew what assumed another."""
    wrong = []
    for d in new:
        state = states.get(d.item.batch.session) if d.item.batch.session else None
        if state is not None and state.clock_offset_us != d.offset_us and d.grid is not None:
            d.offset_us = state.clock_offset_us
            wrong.append(d)
    make_rows(wrong)


def _crossing(conn: psycopg.Connection[Any], org_id: uuid.UUID, new: Sequence[Derived]) -> set[BatchKey]:
    """Batches that claim time which another batch of their session has: settling sorts them out."""
    keys = [key_of(d.item) for d in new if d.chunks]
    return ledger.overlapping(conn, org_id, keys) if keys else set()


def _write_records(conn: psycopg.Connection[Any], org_id: uuid.UUID, new: Sequence[Derived]) -> None:
    rules: list[tuple[str | None, str]] | None = None
    for d in new:
        aircraft = d.item.key.aircraft_id
        for _, r in d.records:
            if isinstance(r, DirectiveReport):
                state = r.state if r.state in ("enacted", "refused", "superseded") else "refused"
                records.report_directive(conn, org_id, aircraft, r.version, state, r.detail)
            elif isinstance(r, Finding):
                rules = alerts.finding_rules(conn, org_id) if rules is None else rules
                alerts.raise_finding(conn, org_id, rules, str(r.finding), r, aircraft, r.session)


def _ask_to_settle(
    conn: psycopg.Connection[Any], org_id: uuid.UUID, new: Sequence[Derived], states: dict[uuid.UUID, SessionState],
    crossing: set[uuid.UUID | None],
) -> None:  # fmt: skip
    closed = {r.session for d in new for _, r in d.records if isinstance(r, SessionClose)}
    opened = {r.session for d in new for _, r in d.records if isinstance(r, SessionOpen)}
    late = {s for s in crossing if s is not None}
    for d in new:
        state = states.get(d.item.batch.session) if d.item.batch.session else None
        if state is None:
            continue
        better = d.item.batch.best_clock()
        is_better = better.source > state.clock_source and better.offset_us() != state.clock_offset_us
        if state.state == "closed" or is_better:
            late.add(state.session_id)
    begun = {d.item.batch.stream for d in new if d.item.batch.lane != Lane.bulk and _begins(d)}
    orphans = sessions.live_elsewhere(conn, org_id, begun) if begun else []
    delays = dict.fromkeys(opened, SETTLE_OPENED_S) | dict.fromkeys([*late, *orphans], SETTLE_LATE_S)
    jobs.enqueue(conn, org_id, "settle", delays | dict.fromkeys(closed, SETTLE_CLOSED_S))


def _begins(d: Derived) -> bool:
    """Whether a recorder says that it flies, or that it goes on with another store."""
    return any(isinstance(r, SessionOpen) or (isinstance(r, Gap) and r.reason == "store_reset") for _, r in d.records)


def _raise_clones(conn: psycopg.Connection[Any], org_id: uuid.UUID, new: Sequence[Derived]) -> None:
    """An older stream of a key goes on although a newer one has begun."""
    streams = {d.item.batch.stream for d in new if d.item.batch.lane != Lane.bulk}
    for aircraft, stream, newer in ledger.revived_streams(conn, org_id, sorted(streams)):
        alerts.raise_alert(
            conn, org_id, f"clone:{stream}:{newer}", "clone", "critical",
            f"two recorders send with one identity: stream {stream} goes on although {newer} has begun;"
            " either the key was copied or an old store was put back", aircraft,
        )  # fmt: skip

"""Flight sessions: made by the first batch or record that names them, filled in by records, replaced by settling."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from hub.store.rows import RowArray

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class SessionState:
    """What ingest must know of a session before it may add rows to it."""

    session_id: uuid.UUID
    aircraft_id: uuid.UUID
    clock_offset_us: int
    clock_source: int
    state: str


def find_sessions(conn: Connection, org_id: uuid.UUID, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, SessionState]:
    """The sessions that exist."""
    rows = conn.execute(
        "SELECT session_id, aircraft_id, clock_offset_us, clock_source, state FROM flight_sessions"
        " WHERE org_id = %s AND session_id = ANY (%s)",
        (org_id, [*ids]),
    )
    return {r[0]: SessionState(*r) for r in rows.fetchall()}


_RECORD_COLUMNS = (
    "last_seq, last_us, disarmed_us, close_reason, manifest_batches, manifest_frames, manifest_bytes,"
    " frames_by_message, wire_lost, junk_bytes, bad_crc, chain_head, first_seq, first_us, armed_us, sysid, compid,"
    " mav_type, mav_autopilot"
)
_FILL = ", ".join(f"{c} = coalesce(excluded.{c}, s.{c})" for c in _RECORD_COLUMNS.split(", "))
_BATCH_COLUMNS = (
    "org_id, session_id, aircraft_id, stream_id, boot_id, state, opened, clock_source, clock_offset_us,"
    " clock_uncertainty_us, started_utc_us, ended_utc_us, firmware, grid_rows, max_alt_rel_m, max_groundspeed_mps"
)
_UPSERT = f"""
INSERT INTO flight_sessions AS s ({_BATCH_COLUMNS}, {_RECORD_COLUMNS})
SELECT {_BATCH_COLUMNS}, {_RECORD_COLUMNS} FROM unnest(%b::flight_sessions[]) ORDER BY session_id
ON CONFLICT (org_id, session_id) DO UPDATE SET last_seen_at = now(), {_FILL},
    state = CASE WHEN excluded.state = 'closed' THEN 'closed' WHEN s.close_reason = 'silent' THEN 'live'
        ELSE s.state END,
    opened = s.opened OR excluded.opened,
    started_utc_us = CASE WHEN excluded.opened THEN excluded.started_utc_us WHEN s.opened THEN s.started_utc_us
        ELSE least(s.started_utc_us, excluded.started_utc_us) END,
    ended_utc_us = CASE WHEN excluded.state = 'closed' THEN excluded.ended_utc_us WHEN s.state = 'closed'
        AND s.close_reason <> 'silent' THEN s.ended_utc_us ELSE greatest(s.ended_utc_us, excluded.ended_utc_us) END,
    firmware = CASE WHEN excluded.firmware <> '' THEN excluded.firmware ELSE s.firmware END,
    grid_rows = s.grid_rows + excluded.grid_rows,
    max_alt_rel_m = greatest(s.max_alt_rel_m, excluded.max_alt_rel_m),
    max_groundspeed_mps = greatest(s.max_groundspeed_mps, excluded.max_groundspeed_mps)
WHERE s.aircraft_id = excluded.aircraft_id
RETURNING session_id, aircraft_id, clock_offset_us, clock_source, state
"""  # noqa: S608


def upsert_sessions(conn: Connection, rows: RowArray) -> dict[uuid.UUID, SessionState]:
    """Make or extend sessions, locking their rows; one that belongs to another aircraft is left alone, not returned.

    The clock offset of a session that exists is not changed: only settling does that, for all its rows at once.
    """
    return {r[0]: SessionState(*r) for r in conn.execute(_UPSERT, (rows,)).fetchall()}


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What settling must know of a session: what its records say."""

    aircraft_id: uuid.UUID
    stream_id: uuid.UUID
    boot_id: uuid.UUID
    state: str
    first_seq: int | None
    last_seq: int | None
    armed_us: int | None
    disarmed_us: int | None
    mav_type: int | None
    mav_autopilot: int | None
    vehicle: tuple[int, int] | None
    manifest_batches: int | None
    chain_head: bytes | None
    origin: str = "live"


_FACTS = """SELECT aircraft_id, stream_id, boot_id, state, first_seq, last_seq, armed_us, disarmed_us, mav_type,
    mav_autopilot, sysid, compid, manifest_batches, chain_head, origin FROM flight_sessions
    WHERE org_id = %s AND session_id = %s"""


def find_facts(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> SessionFacts | None:
    """The session; None when there is none."""
    return _facts(conn.execute(_FACTS, (org_id, session_id)).fetchone())


def lock_session(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> SessionFacts | None:
    """The session, locked against ingest until the transaction ends; None when there is none."""
    return _facts(conn.execute(_FACTS + " FOR UPDATE", (org_id, session_id)).fetchone())


def _facts(row: tuple[Any, ...] | None) -> SessionFacts | None:
    if row is None:
        return None
    sysid, compid, manifest_batches, chain_head, origin = row[10:]
    vehicle = None if sysid is None or compid is None else (int(sysid), int(compid))
    return SessionFacts(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        row[9],
        vehicle,
        manifest_batches,
        None if chain_head is None else bytes(chain_head),
        origin,
    )


def count_gaps(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> int:
    """Gap records that touch the session: they name it, or sequences of its stream within it."""
    row = conn.execute(
        "SELECT count(*) FROM flight_sessions s JOIN gaps g ON g.org_id = s.org_id AND g.aircraft_id = s.aircraft_id"
        " AND (g.session_id = s.session_id OR (g.stream_id = s.stream_id AND g.first_seq <= s.last_seq"
        " AND g.last_seq >= s.first_seq)) WHERE s.org_id = %s AND s.session_id = %s",
        (org_id, session_id),
    ).fetchone()
    assert row is not None
    return int(row[0])


@dataclass(frozen=True, slots=True)
class Settlement:
    """What settling found, to be written to the session's row."""

    boot_id: uuid.UUID
    clock_source: int
    clock_offset_us: int
    clock_uncertainty_us: int
    started_utc_us: int
    ended_utc_us: int
    grid_rows: int
    max_alt_rel_m: float | None
    max_groundspeed_mps: float | None
    distance_m: float | None
    complete: bool


def settle_session(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, s: Settlement) -> None:
    """Write what settling found, and give records that were dated by another clock mapping their new dates."""
    conn.execute(
        "UPDATE flight_sessions SET settled_at = now(), boot_id = %s, clock_source = %s, clock_offset_us = %s,"
        " clock_uncertainty_us = %s, started_utc_us = %s, ended_utc_us = %s, grid_rows = %s, max_alt_rel_m = %s,"
        " max_groundspeed_mps = %s, distance_m = %s, complete = %s WHERE org_id = %s AND session_id = %s",
        (s.boot_id, s.clock_source, s.clock_offset_us, s.clock_uncertainty_us, s.started_utc_us, s.ended_utc_us,
         s.grid_rows, s.max_alt_rel_m, s.max_groundspeed_mps, s.distance_m, s.complete, org_id, session_id),
    )  # fmt: skip
    conn.execute(
        "UPDATE findings SET start_utc_us = start_us + %(o)s, end_utc_us = end_us + %(o)s"
        " WHERE org_id = %(org)s AND session_id = %(s)s AND start_utc_us <> start_us + %(o)s",
        {"o": s.clock_offset_us, "org": org_id, "s": session_id},
    )


_SUPERSEDED = """
SELECT EXISTS (SELECT FROM flight_sessions s JOIN gaps g ON g.org_id = s.org_id AND g.aircraft_id = s.aircraft_id
        AND g.stream_id = s.stream_id AND g.record_stream_id <> s.stream_id AND g.reason = 'store_reset'
    WHERE s.org_id = %(org)s AND s.session_id = %(session)s AND s.state = 'live')
OR EXISTS (SELECT FROM flight_sessions s
    JOIN streams o ON o.org_id = s.org_id AND o.stream_id = s.stream_id
    JOIN streams n ON n.org_id = o.org_id AND n.key_id = o.key_id AND n.first_seen_at > o.first_seen_at AND n.is_live
    WHERE s.org_id = %(org)s AND s.session_id = %(session)s AND s.state = 'live'
    AND (EXISTS (SELECT FROM gaps g WHERE g.org_id = n.org_id AND g.record_stream_id = n.stream_id
            AND g.reason = 'store_reset')
        OR EXISTS (SELECT FROM flight_sessions f WHERE f.org_id = n.org_id AND f.stream_id = n.stream_id AND f.opened)))
"""


def close_superseded(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> bool:
    """Close a live session (locked) whose recorder has gone on with another store: nobody is left to close it. A
    closing record that comes all the same, with batches saved from the old store, replaces this. Whether it was so."""
    ids = {"org": org_id, "session": session_id}
    if conn.execute(_SUPERSEDED, ids).fetchone() != (True,):
        return False
    conn.execute(
        "UPDATE flight_sessions SET state = 'closed', close_reason = 'store_reset'"
        " WHERE org_id = %(org)s AND session_id = %(session)s",
        ids,
    )
    return True


def live_elsewhere(conn: Connection, org_id: uuid.UUID, stream_ids: Iterable[uuid.UUID]) -> list[uuid.UUID]:
    """Live sessions of the aircraft of these streams that are on other streams."""
    rows = conn.execute(
        "SELECT DISTINCT s.session_id FROM streams n JOIN flight_sessions s ON s.org_id = n.org_id"
        " AND s.aircraft_id = n.aircraft_id AND s.stream_id <> n.stream_id AND s.state = 'live'"
        " WHERE n.org_id = %s AND n.stream_id = ANY (%s)",
        (org_id, sorted(set(stream_ids))),
    )
    return [session for (session,) in rows.fetchall()]


def close_silent(conn: Connection, org_id: uuid.UUID, silent_s: float) -> list[uuid.UUID]:
    """Close live sessions of which nothing has come for `silent_s`: the aircraft may be lost. More data reopen them."""
    rows = conn.execute(
        "UPDATE flight_sessions SET state = 'closed', close_reason = 'silent' WHERE org_id = %s AND state = 'live'"
        " AND last_seen_at < now() - make_interval(secs => %s) RETURNING session_id",
        (org_id, silent_s),
    )
    return [session for (session,) in rows.fetchall()]


def find_span(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> tuple[int, int] | None:
    """(started, ended) in us since 1970 UTC; None when there is no such session."""
    row = conn.execute(
        "SELECT started_utc_us, ended_utc_us FROM flight_sessions WHERE org_id = %s AND session_id = %s",
        (org_id, session_id),
    ).fetchone()
    return (int(row[0]), int(row[1])) if row else None

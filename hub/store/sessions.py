"""Flight sessions: made by the first batch or record that names them, filled in by records, replaced by settling."""

import uuid
from collections.abc import Sequence
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
    "last_seq, last_us, disarmed_us, close_reason, manifest_batches, manifest_frames, manifest_bytes, frames_by_message,"
    " wire_lost, junk_bytes, bad_crc, chain_head, first_seq, first_us, armed_us, sysid, compid, mav_type, mav_autopilot"
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
    state = CASE WHEN excluded.state = 'closed' THEN 'closed' ELSE s.state END,
    opened = s.opened OR excluded.opened,
    started_utc_us = CASE WHEN excluded.opened THEN excluded.started_utc_us WHEN s.opened THEN s.started_utc_us
        ELSE least(s.started_utc_us, excluded.started_utc_us) END,
    ended_utc_us = CASE WHEN excluded.state = 'closed' THEN excluded.ended_utc_us WHEN s.state = 'closed' THEN s.ended_utc_us
        ELSE greatest(s.ended_utc_us, excluded.ended_utc_us) END,
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

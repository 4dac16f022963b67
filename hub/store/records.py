"""What records say: gaps, findings, reports on directives; and the newest state of an aircraft."""

import uuid
from typing import Any

import psycopg

from hub.store.rows import RowArray

Connection = psycopg.Connection[Any]

_GAP_COLUMNS = (
    "org_id, record_stream_id, record_seq, record_no, aircraft_id, stream_id, session_id, reason, first_seq, last_seq,"
    " digests, frames, size_bytes, from_us, to_us, from_utc_us, to_utc_us, detail"
)
_INSERT_GAPS = f"INSERT INTO gaps ({_GAP_COLUMNS}) SELECT {_GAP_COLUMNS} FROM unnest(%b::gaps[])"  # noqa: S608
_FINDING_COLUMNS = (
    "org_id, finding_id, aircraft_id, session_id, source, kind, severity, score, threshold, start_us, end_us,"
    " start_utc_us, end_utc_us, model, feature_version, evidence, shap"
)
_GROWING = ("kind", "severity", "score", "end_us", "start_utc_us", "end_utc_us", "evidence")
"""What is known better when a finding has ended."""
_INSERT_FINDINGS = (
    f"INSERT INTO findings AS f ({_FINDING_COLUMNS}) SELECT {_FINDING_COLUMNS} FROM unnest(%b::findings[])"  # noqa: S608
    " ORDER BY finding_id ON CONFLICT (org_id, finding_id) DO UPDATE SET"
    f" {', '.join(f'{c} = excluded.{c}' for c in _GROWING)}"
    " WHERE f.aircraft_id = excluded.aircraft_id AND f.source = excluded.source"
    " AND (excluded.end_us, excluded.score) > (f.end_us, f.score)"
)
_STATE_COLUMNS = (
    "sysid, compid, mav_type, mav_autopilot, armed, flight_mode, lat_deg, lon_deg, alt_msl_m, alt_rel_m,"
    " groundspeed_mps, heading_deg, battery_v, battery_remaining_pct"
)
_KEEP = ", ".join(f"{c} = coalesce(excluded.{c}, s.{c})" for c in _STATE_COLUMNS.split(", "))
_IF_NEWER = ", ".join(
    f"{c} = CASE WHEN excluded.at_utc_us >= s.at_utc_us THEN excluded.{c} ELSE s.{c} END"
    for c in ("stream_id", "boot_id", "session_id")
)
_UPSERT_STATE = f"""
INSERT INTO aircraft_state AS s (org_id, aircraft_id, stream_id, boot_id, session_id, at_utc_us, firmware,
    {_STATE_COLUMNS})
SELECT org_id, aircraft_id, stream_id, boot_id, session_id, at_utc_us, firmware, {_STATE_COLUMNS}
FROM unnest(%b::aircraft_state[]) ORDER BY aircraft_id
ON CONFLICT (org_id, aircraft_id) DO UPDATE SET seen_at = now(), {_IF_NEWER},
    at_utc_us = greatest(excluded.at_utc_us, s.at_utc_us),
    firmware = CASE WHEN excluded.firmware <> '' THEN excluded.firmware ELSE s.firmware END, {_KEEP}
WHERE excluded.at_utc_us >= s.at_utc_us OR excluded.at_utc_us = 0
"""  # noqa: S608


def insert_gaps(conn: Connection, rows: RowArray) -> None:
    """Add gap records of batches that were just entered."""
    conn.execute(_INSERT_GAPS, (rows,))


def insert_findings(conn: Connection, rows: RowArray) -> None:
    """Add findings, each at most once in `rows`. One that is known is told anew when this says more of it (a later end
    or a higher score): begin and end may come in any order, and again. Another aircraft's stays as it is."""
    conn.execute(_INSERT_FINDINGS, (rows,))


def delete_hub_findings(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> None:
    """Take away what the hub itself found in a session, before it looks again."""
    conn.execute("DELETE FROM findings WHERE org_id = %s AND session_id = %s AND source = 'hub'", (org_id, session_id))


def upsert_states(conn: Connection, rows: RowArray) -> None:
    """The newest of each aircraft; what is older than what is known changes nothing. at_utc_us 0: only seen."""
    conn.execute(_UPSERT_STATE, (rows,))


def report_directive(
    conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID, version: int, state: str, detail: str
) -> None:
    """What the aircraft says became of a directive. Its first answer counts: it hears a directive again until then."""
    conn.execute(
        "UPDATE directives SET state = %s, reported_at = now(), report_detail = %s"
        " WHERE org_id = %s AND aircraft_id = %s AND version = %s AND state = 'issued'",
        (state, detail.replace("\0", "")[:1000], org_id, aircraft_id, version),
    )

"""Recorded logs as they are written: state, what is in them, whose they are, which flights they are part of."""

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from hub.store.log_arrivals import DeliveryRow

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class LogRow:
    """A log. stream_id, seq, record_no: the manifest that it was assembled by, None before."""

    sha256: bytes
    state: str
    is_whole: bool
    is_read: bool
    format: str
    name: str
    size_bytes: int | None
    stream_id: uuid.UUID | None
    seq: int | None
    record_no: int | None
    aircraft_id: uuid.UUID | None
    assigned_aircraft_id: uuid.UUID | None
    part_of: bytes | None
    hardware_ids: list[str]
    mav_type: int | None
    mav_autopilot: int | None
    firmware: str
    damaged_bytes: int
    last_received_s: float
    """Seconds since the newest of it came."""


_LOG = """SELECT l.sha256, l.state, l.whole_at IS NOT NULL, l.read_at IS NOT NULL, l.format, l.name, l.size_bytes,
    l.stream_id, l.seq, l.record_no, l.aircraft_id, l.assigned_aircraft_id, l.part_of, l.hardware_ids, l.mav_type,
    l.mav_autopilot, l.firmware, l.damaged_bytes, extract(epoch FROM now() - greatest(l.first_seen_at,
        (SELECT max(d.received_at) FROM log_deliveries d WHERE d.org_id = l.org_id AND d.sha256 = l.sha256),
        (SELECT max(b.received_at) FROM log_parts p JOIN ingest_batches b ON b.org_id = p.org_id
            AND b.stream_id = p.stream_id AND b.seq = p.seq WHERE p.org_id = l.org_id AND p.sha256 = l.sha256)))::float8
    FROM logs l WHERE l.org_id = %s AND """


def find_by_id(conn: Connection, org_id: uuid.UUID, log_id: uuid.UUID) -> LogRow | None:
    """The log that a job names."""
    row = conn.execute(_LOG + "l.log_id = %s", (org_id, log_id)).fetchone()
    return None if row is None else LogRow(*row)


def find_logs(conn: Connection, org_id: uuid.UUID, names: Collection[bytes]) -> dict[bytes, LogRow]:
    """Logs by their SHA-256."""
    rows = conn.execute(_LOG + "l.sha256 = ANY (%s)", (org_id, [*names])).fetchall()
    return {bytes(r[0]): LogRow(*r) for r in rows}


def set_state(conn: Connection, org_id: uuid.UUID, sha256: bytes, state: str, reason: str = "") -> None:
    """What became of a log."""
    conn.execute(
        "UPDATE logs SET state = %s, reason = %s WHERE org_id = %s AND sha256 = %s",
        (state, reason.replace("\0", "")[:1000], org_id, sha256),
    )


def set_whole(conn: Connection, org_id: uuid.UUID, d: DeliveryRow, size_bytes: int, fingerprint: bytes) -> None:
    """All bytes are here and are what their name says: from this delivery."""
    conn.execute(
        "UPDATE logs SET state = 'whole', reason = '', whole_at = now(), size_bytes = %s, packed_bytes = %s,"
        " format = %s, name = %s, origin = %s, importer_id = %s, imported_utc_us = %s, stream_id = %s, seq = %s,"
        " record_no = %s, fingerprint = %s WHERE org_id = %s AND sha256 = %s",
        (size_bytes, d.packed_bytes, d.format, d.name, d.origin, d.importer_id, d.imported_utc_us, d.stream_id, d.seq,
         d.record_no, fingerprint, org_id, d.sha256),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What reading a log gave. survey, damage: as JSON."""

    format: str
    first_utc_us: int | None
    last_utc_us: int | None
    clock_source: int
    firmware: str
    vehicle: str
    mav_type: int
    mav_autopilot: int
    hardware_ids: list[str]
    damaged_bytes: int
    survey: str
    damage: str


def set_facts(conn: Connection, org_id: uuid.UUID, sha256: bytes, f: LogFacts) -> None:
    """Write what reading gave."""
    conn.execute(
        "UPDATE logs SET read_at = now(), format = %s, first_utc_us = %s, last_utc_us = %s, clock_source = %s,"
        " firmware = %s, vehicle = %s, mav_type = %s, mav_autopilot = %s, hardware_ids = %s, damaged_bytes = %s,"
        " survey = %s::jsonb, damage = %s::jsonb WHERE org_id = %s AND sha256 = %s",
        (*(getattr(f, name) for name in LogFacts.__slots__), org_id, sha256),
    )


def set_failed(conn: Connection, org_id: uuid.UUID, sha256: bytes, reason: str) -> None:
    """Whole, but nobody here can read it."""
    conn.execute("UPDATE logs SET read_at = now() WHERE org_id = %s AND sha256 = %s", (org_id, sha256))
    set_state(conn, org_id, sha256, "failed", reason)


def set_aircraft(
    conn: Connection, org_id: uuid.UUID, sha256: bytes, aircraft_id: uuid.UUID | None, reason: str
) -> None:
    """Whose a log is; None: not known, and why."""
    conn.execute("UPDATE logs SET aircraft_id = %s WHERE org_id = %s AND sha256 = %s", (aircraft_id, org_id, sha256))
    set_state(conn, org_id, sha256, "unassigned" if aircraft_id is None else "parsed", reason)


def assign(conn: Connection, org_id: uuid.UUID, sha256: bytes, aircraft_id: uuid.UUID | None, by: str) -> None:
    """Whose a log is, as a person says; the worker does what follows from it."""
    conn.execute(
        "UPDATE logs SET assigned_aircraft_id = %s, assigned_by = %s WHERE org_id = %s AND sha256 = %s",
        (aircraft_id, by, org_id, sha256),
    )


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session of a log, dated by the log's own clock. boot_at_us: see migration 0008."""

    session_no: int
    start_utc_us: int
    end_utc_us: int
    clock_source: int
    clock_uncertainty_us: int
    boot_at_us: int | None
    grid_rows: int
    inferred: bool
    why: str


def replace_sessions(conn: Connection, org_id: uuid.UUID, sha256: bytes, rows: Sequence[SessionRow]) -> None:
    """The sessions of a log, in place of those that were known; those that still are keep their flights."""
    numbers = [r.session_no for r in rows]
    conn.execute(
        "DELETE FROM log_sessions WHERE org_id = %s AND sha256 = %s AND NOT session_no = ANY (%s)",
        (org_id, sha256, numbers),
    )
    for r in rows:
        conn.execute(
            "INSERT INTO log_sessions VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (org_id, sha256, *(getattr(r, name) for name in SessionRow.__slots__)),
        )


def session_rows(conn: Connection, org_id: uuid.UUID, sha256: bytes) -> list[SessionRow]:
    """The sessions of a log."""
    columns = ", ".join(SessionRow.__slots__)
    rows = conn.execute(
        f"SELECT {columns} FROM log_sessions WHERE org_id = %s AND sha256 = %s ORDER BY session_no",  # noqa: S608
        (org_id, sha256),
    )
    return [SessionRow(*r) for r in rows.fetchall()]


# --- hardware ---------------------------------------------------------------------------------------------------------


def hardware_owners(conn: Connection, org_id: uuid.UUID, ids: Sequence[str]) -> set[uuid.UUID]:
    """The aircraft that are known by any of these hardware ids."""
    rows = conn.execute(
        "SELECT DISTINCT aircraft_id FROM aircraft_hardware WHERE org_id = %s AND hardware_id = ANY (%s)",
        (org_id, [*ids]),
    )
    return {found for (found,) in rows.fetchall()}


def learn_hardware(
    conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID, ids: Collection[str], learned_from: str
) -> list[uuid.UUID]:
    """Remember whose these are; the ids of the logs that waited for somebody to say so."""
    new = [
        hardware
        for hardware in sorted(ids)
        if conn.execute(
            "INSERT INTO aircraft_hardware (org_id, hardware_id, aircraft_id, learned_from) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING RETURNING hardware_id",
            (org_id, hardware, aircraft_id, learned_from),
        ).fetchone()
    ]
    if not new:
        return []
    rows = conn.execute(
        "SELECT log_id FROM logs WHERE org_id = %s AND state = 'unassigned' AND hardware_ids && %s::text[]",
        (org_id, new),
    )
    return [found for (found,) in rows.fetchall()]


def aircraft_kinds(conn: Connection, org_id: uuid.UUID, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """aircraft -> kind, of those that exist."""
    rows = conn.execute(
        "SELECT aircraft_id, kind FROM aircraft_registry WHERE org_id = %s AND aircraft_id = ANY (%s)", (org_id, [*ids])
    )
    return dict(rows.fetchall())


# --- the same log in parts --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Relative:
    """A log that may hold another, or be held by it."""

    sha256: bytes
    size_bytes: int
    damaged_bytes: int
    fingerprint: bytes
    part_of: bytes | None


_RELATIVE = "o.sha256, o.size_bytes, o.damaged_bytes, o.fingerprint, o.part_of"


def relative(conn: Connection, org_id: uuid.UUID, sha256: bytes) -> Relative | None:
    """A whole log, as its relatives see it."""
    row = conn.execute(
        f"SELECT {_RELATIVE} FROM logs o WHERE org_id = %s AND sha256 = %s AND whole_at IS NOT NULL",  # noqa: S608
        (org_id, sha256),
    ).fetchone()
    return None if row is None else Relative(*row)


def relatives(conn: Connection, org_id: uuid.UUID, sha256: bytes, most: int = 100) -> list[Relative]:
    """Whole logs of the same format that may be the same recording: nobody said that they are of other hardware or of
    another aircraft. Those nearest in time first."""
    rows = conn.execute(
        f"SELECT {_RELATIVE} FROM logs l JOIN logs o ON o.org_id = l.org_id"  # noqa: S608
        " AND o.sha256 <> l.sha256 AND o.format = l.format AND o.whole_at IS NOT NULL AND o.part_of IS NULL"
        " AND (o.hardware_ids && l.hardware_ids OR o.hardware_ids = '{}' OR l.hardware_ids = '{}')"
        " WHERE l.org_id = %s AND l.sha256 = %s"
        " ORDER BY abs(coalesce(o.first_utc_us, 0) - coalesce(l.first_utc_us, 0)), o.first_seen_at DESC LIMIT %s",
        (org_id, sha256, most),
    )
    return [Relative(*r) for r in rows.fetchall()]


def set_part_of(conn: Connection, org_id: uuid.UUID, sha256: bytes, whole: bytes) -> None:
    """This log is held by another; so are those that it holds."""
    conn.execute(
        "UPDATE logs SET part_of = %(whole)s WHERE org_id = %(org)s AND (sha256 = %(part)s OR part_of = %(part)s)",
        {"whole": whole, "org": org_id, "part": sha256},
    )


def parts_of(conn: Connection, org_id: uuid.UUID, sha256: bytes) -> list[bytes]:
    """The logs that this one holds."""
    rows = conn.execute("SELECT sha256 FROM logs WHERE org_id = %s AND part_of = %s ORDER BY sha256", (org_id, sha256))
    return [bytes(name) for (name,) in rows.fetchall()]


# --- flights ----------------------------------------------------------------------------------------------------------


GPS_SLACK_US = 15_000_000
STAMP_SLACK_US = 12 * 3_600_000_000
"""How far apart two dates of one flight may be: by GPS both, or by a computer's clock."""
MOST_DATED = 20
MOST_UNDATED = 4
"""Sessions of logs that are read to see whether they belong to a flight. Reading a log takes as long as it is large; of
those without dates only the newest are tried."""
_ATTACHED = """
SELECT f.sha256, f.session_no FROM flight_logs f WHERE f.org_id = %(org)s AND f.session_id = %(session)s
UNION ALL
SELECT c.sha256, c.session_no FROM (
    SELECT l.sha256, s.session_no, row_number() OVER (PARTITION BY s.clock_source = 0 OR x.clock_source = 0
        ORDER BY CASE WHEN s.clock_source = 0 OR x.clock_source = 0 THEN -extract(epoch FROM l.read_at)
            ELSE abs(s.start_utc_us - x.started_utc_us) END, l.sha256, s.session_no) AS place,
        s.clock_source = 0 OR x.clock_source = 0 AS undated
    FROM flight_sessions x JOIN logs l ON l.org_id = x.org_id AND l.aircraft_id = x.aircraft_id AND l.part_of IS NULL
        AND l.state = 'parsed'
    JOIN log_sessions s ON s.org_id = l.org_id AND s.sha256 = l.sha256
    LEFT JOIN LATERAL (SELECT bool_or(o.origin = 'live') AS live, bool_or(o.session_id = x.session_id) AS own
        FROM flight_logs f JOIN flight_sessions o ON o.org_id = f.org_id AND o.session_id = f.session_id
        WHERE f.org_id = l.org_id AND f.sha256 = l.sha256 AND f.session_no = s.session_no) t ON true
    WHERE x.org_id = %(org)s AND x.session_id = %(session)s AND t.own IS NOT TRUE
        AND (t.live IS NULL OR x.origin = 'live')
        AND CASE WHEN s.clock_source = 0 OR x.clock_source = 0 THEN t.live IS NOT TRUE
            ELSE s.start_utc_us <= x.ended_utc_us + slack AND s.end_utc_us >= x.started_utc_us - slack END
) c WHERE c.place <= CASE WHEN c.undated THEN %(undated)s ELSE %(dated)s END
""".replace("slack", "(CASE WHEN t.live OR s.clock_source = 3 AND x.clock_source = 3 THEN %(gps)s ELSE %(stamp)s END)")
_LIMITS = {"gps": GPS_SLACK_US, "stamp": STAMP_SLACK_US, "dated": MOST_DATED, "undated": MOST_UNDATED}


def attached(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> list[tuple[bytes, int]]:
    """The log sessions that are part of a flight, and those that may be: of its aircraft, near it in time, and not of
    another flight yet (but of one that is known from logs alone, or that ended just before this one)."""
    rows = conn.execute(_ATTACHED, _LIMITS | {"org": org_id, "session": session_id})
    return [(bytes(r[0]), int(r[1])) for r in rows.fetchall()]


def candidates(conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID, s: SessionRow) -> list[uuid.UUID]:
    """Flights of an aircraft that a log's session may be part of: live ones first, nearest in time first; without dates
    the newest."""
    rows = conn.execute(
        "SELECT session_id FROM flight_sessions WHERE org_id = %(org)s AND aircraft_id = %(aircraft)s"
        " AND CASE WHEN clock_source = 0 OR %(source)s = 0 THEN true"
        " WHEN clock_source = 3 AND %(source)s = 3"
        " THEN started_utc_us <= %(end)s + %(gps)s AND ended_utc_us >= %(start)s - %(gps)s"
        " ELSE started_utc_us <= %(end)s + %(stamp)s AND ended_utc_us >= %(start)s - %(stamp)s END"
        " ORDER BY origin, CASE WHEN clock_source = 0 OR %(source)s = 0 THEN -extract(epoch FROM last_seen_at)"
        " ELSE abs(started_utc_us - %(start)s) END, session_id LIMIT %(dated)s",
        _LIMITS | {"org": org_id, "aircraft": aircraft_id, "source": s.clock_source, "start": s.start_utc_us,
                   "end": s.end_utc_us},
    )  # fmt: skip
    return [found for (found,) in rows.fetchall()]


@dataclass(frozen=True, slots=True)
class FlightLog:
    """How a log's session is part of a flight (migration 0008)."""

    sha256: bytes
    session_no: int
    method: str
    offset_us: int
    agreement: float | None


def flight_logs(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> list[FlightLog]:
    """The log sessions of a flight."""
    rows = conn.execute(
        "SELECT sha256, session_no, method, offset_us, agreement FROM flight_logs"
        " WHERE org_id = %s AND session_id = %s ORDER BY sha256, session_no",
        (org_id, session_id),
    )
    return [FlightLog(bytes(r[0]), int(r[1]), r[2], int(r[3]), r[4]) for r in rows.fetchall()]


def attach(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, f: FlightLog) -> None:
    """Make a log's session part of a flight, or say anew how it lies on it."""
    conn.execute(
        "INSERT INTO flight_logs (org_id, session_id, sha256, session_no, method, offset_us, agreement)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (org_id, session_id, sha256, session_no)"
        " DO UPDATE SET method = excluded.method, offset_us = excluded.offset_us, agreement = excluded.agreement",
        (org_id, session_id, f.sha256, f.session_no, f.method, f.offset_us, f.agreement),
    )


def detach(
    conn: Connection, org_id: uuid.UUID, sha256: bytes, except_for_aircraft: uuid.UUID | None = None
) -> list[uuid.UUID]:
    """Take a log out of its flights (but those of one aircraft); the flights that it was part of."""
    rows = conn.execute(
        "DELETE FROM flight_logs f USING flight_sessions s WHERE f.org_id = %s AND f.sha256 = %s"
        " AND s.org_id = f.org_id AND s.session_id = f.session_id AND s.aircraft_id IS DISTINCT FROM %s"
        " RETURNING f.session_id",
        (org_id, sha256, except_for_aircraft),
    )
    return sorted({found for (found,) in rows.fetchall()})


def flights_of(conn: Connection, org_id: uuid.UUID, sha256: bytes, session_no: int) -> list[uuid.UUID]:
    """The flights that a log's session is part of."""
    rows = conn.execute(
        "SELECT session_id FROM flight_logs WHERE org_id = %s AND sha256 = %s AND session_no = %s ORDER BY session_id",
        (org_id, sha256, session_no),
    )
    return [found for (found,) in rows.fetchall()]


def siblings(
    conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, sha256: bytes, session_no: int
) -> list[tuple[uuid.UUID, int, int]]:
    """(flight, started, ended) of the other flights that share a log's session: a lost link makes two of one."""
    rows = conn.execute(
        "SELECT s.session_id, s.started_utc_us, s.ended_utc_us FROM flight_logs f JOIN flight_sessions s"
        " ON s.org_id = f.org_id AND s.session_id = f.session_id WHERE f.org_id = %s AND f.sha256 = %s"
        " AND f.session_no = %s AND f.session_id <> %s AND s.origin = 'live' ORDER BY s.started_utc_us",
        (org_id, sha256, session_no, session_id),
    )
    return [(r[0], int(r[1]), int(r[2])) for r in rows.fetchall()]


def create_flight(
    conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, log: LogRow, s: SessionRow, boot_id: uuid.UUID
) -> None:
    """A flight that is known from a log alone."""
    conn.execute(
        "INSERT INTO flight_sessions (org_id, session_id, aircraft_id, stream_id, boot_id, state, origin, clock_source,"
        " clock_uncertainty_us, started_utc_us, ended_utc_us, mav_type, mav_autopilot, firmware, close_reason)"
        " VALUES (%s, %s, %s, %s, %s, 'closed', 'log', %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (org_id, session_id, log.aircraft_id, log.stream_id, boot_id, s.clock_source, s.clock_uncertainty_us,
         s.start_utc_us, s.end_utc_us, log.mav_type, log.mav_autopilot, log.firmware, "log"),
    )  # fmt: skip


def delete_flight(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, heir: uuid.UUID | None) -> None:
    """Take away a flight that was known from logs alone; its alerts go to the flight that it turned out to be."""
    ids = (org_id, session_id)
    conn.execute("DELETE FROM flight_events WHERE org_id = %s AND session_id = %s", ids)
    conn.execute("DELETE FROM findings WHERE org_id = %s AND session_id = %s", ids)
    conn.execute("UPDATE alerts SET session_id = %s WHERE org_id = %s AND session_id = %s", (heir, *ids))
    conn.execute("DELETE FROM flight_sessions WHERE org_id = %s AND session_id = %s AND origin = 'log'", ids)


def replace_sources(
    conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Where a flight's rows come from."""
    conn.execute("DELETE FROM flight_sources WHERE org_id = %s AND session_id = %s", (org_id, session_id))
    if rows:
        conn.execute(
            "INSERT INTO flight_sources (org_id, session_id, source_no, kind, sha256, stream_id, channels, from_utc_us,"
            " to_utc_us, grid_rows) SELECT %s, %s, r.source_no, r.kind, decode(r.sha256, 'hex'), r.stream_id,"
            " r.channels, r.from_utc_us, r.to_utc_us, r.grid_rows FROM jsonb_to_recordset(%s::jsonb) AS r"
            " (source_no integer, kind text, sha256 text, stream_id uuid, channels text[],"
            " from_utc_us bigint, to_utc_us bigint, grid_rows bigint)",
            (org_id, session_id, json.dumps([*rows])),
        )


def set_merged(
    conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, boot_at_us: int | None, lost: int, filled: int
) -> None:
    """What merging found of a flight."""
    conn.execute(
        "UPDATE flight_sessions SET boot_at_us = %s, lost_rows = %s, filled_rows = %s"
        " WHERE org_id = %s AND session_id = %s",
        (boot_at_us, lost, filled, org_id, session_id),
    )


def lock_aircraft(conn: Connection, aircraft_id: uuid.UUID) -> None:
    """Until `unlock_aircraft`: nobody else makes flights of this aircraft's logs. Outside transactions."""
    conn.execute("SELECT pg_advisory_lock(hashtextextended('logs ' || %s::text, 0))", (aircraft_id,))


def unlock_aircraft(conn: Connection, aircraft_id: uuid.UUID) -> None:
    """Let others."""
    conn.execute("SELECT pg_advisory_unlock(hashtextextended('logs ' || %s::text, 0))", (aircraft_id,))

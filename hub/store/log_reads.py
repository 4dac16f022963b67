"""Recorded logs as the API reads them: lists, detail, how they came, the flights that they are part of."""

import uuid
from dataclasses import dataclass
from typing import Any

from hub.store.query import Query, scalar


@dataclass(frozen=True, slots=True)
class LogView:
    """A log. Times are us since 1970 UTC. received_bytes: of its packed form, as far as it came."""

    sha256: bytes
    state: str
    reason: str
    first_seen_utc_us: int
    whole_utc_us: int | None
    format: str
    name: str
    origin: str
    size_bytes: int | None
    packed_bytes: int | None
    received_bytes: int
    importer_id: uuid.UUID | None
    importer_name: str | None
    imported_utc_us: int | None
    aircraft_id: uuid.UUID | None
    aircraft_name: str | None
    assigned_aircraft_id: uuid.UUID | None
    part_of: bytes | None
    first_utc_us: int | None
    last_utc_us: int | None
    clock_source: int
    firmware: str
    vehicle: str
    hardware_ids: list[str]
    damaged_bytes: int
    deliveries: int
    flights: list[uuid.UUID]


@dataclass(frozen=True, slots=True)
class LogContent:
    """What reading it gave, as JSON."""

    survey: dict[str, Any]
    damage: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """How a log came once."""

    name: str
    origin: str
    importer_id: uuid.UUID
    importer_name: str | None
    aircraft_id: uuid.UUID | None
    imported_utc_us: int
    received_utc_us: int
    stream_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class LogSessionView:
    """A session of a log and the flight that it is part of (None: of none)."""

    session_no: int
    start_utc_us: int
    end_utc_us: int
    clock_source: int
    inferred: bool
    why: str
    flight_id: uuid.UUID | None
    method: str | None
    offset_us: int | None
    agreement: float | None


@dataclass(frozen=True, slots=True)
class FlightLogView:
    """A log that is part of a flight."""

    sha256: bytes
    name: str
    format: str
    session_no: int
    method: str
    offset_us: int
    agreement: float | None


@dataclass(frozen=True, slots=True)
class SourceView:
    """Rows of a flight that came from one source."""

    kind: str
    sha256: bytes | None
    log_name: str | None
    stream_id: uuid.UUID | None
    channels: list[str]
    from_utc_us: int
    to_utc_us: int
    rows: int


_US = "(extract(epoch FROM {}) * 1000000)::bigint"
_LOG = f"""SELECT l.sha256, l.state, l.reason, {_US.format("l.first_seen_at")}, {_US.format("l.whole_at")}, l.format,
    coalesce(nullif(l.name, ''), d.name, ''), coalesce(nullif(l.origin, ''), d.origin, ''),
    coalesce(l.size_bytes, d.size_bytes), coalesce(l.packed_bytes, d.packed_bytes),
    CASE WHEN l.whole_at IS NOT NULL THEN l.packed_bytes ELSE coalesce((SELECT max(p.sum) FROM
        (SELECT sum(p.size_bytes)::bigint AS sum FROM log_parts p WHERE p.org_id = $1 AND p.sha256 = l.sha256
        GROUP BY p.stream_id) p), 0) END,
    coalesce(l.importer_id, d.importer_id), i.name, coalesce(l.imported_utc_us, d.imported_utc_us),
    l.aircraft_id, a.name, l.assigned_aircraft_id, l.part_of, l.first_utc_us, l.last_utc_us, l.clock_source,
    l.firmware, l.vehicle, l.hardware_ids, l.damaged_bytes,
    (SELECT count(*) FROM log_deliveries m WHERE m.org_id = $1 AND m.sha256 = l.sha256),
    ARRAY(SELECT DISTINCT f.session_id FROM flight_logs f WHERE f.org_id = $1 AND f.sha256 = l.sha256 ORDER BY 1)
FROM logs l
LEFT JOIN LATERAL (SELECT m.* FROM log_deliveries m WHERE m.org_id = $1 AND m.sha256 = l.sha256
    ORDER BY m.received_at, m.stream_id, m.seq, m.record_no LIMIT 1) d ON true
LEFT JOIN aircraft_registry i ON i.org_id = $1 AND i.aircraft_id = coalesce(l.importer_id, d.importer_id)
LEFT JOIN aircraft_registry a ON a.org_id = $1 AND a.aircraft_id = l.aircraft_id"""  # noqa: S608

LIST_LOGS = Query(
    "list_logs",
    f"""{_LOG} WHERE l.org_id = $1 AND l.part_of IS NULL
    AND ($2::text IS NULL OR l.state = $2) AND ($3::uuid IS NULL OR l.aircraft_id = $3)
    AND ($4::bigint IS NULL OR (l.first_seen_at, l.sha256)
        < (timestamptz 'epoch' + $4 * interval '1 us', decode($5::text, 'hex')))
    ORDER BY l.first_seen_at DESC, l.sha256 DESC LIMIT $6::bigint""",
    LogView,
)
"""Newest first, without parts of others. $2 state, $3 aircraft; $4, $5: time and name of the row before."""

GET_LOG = Query("get_log", f"{_LOG} WHERE l.org_id = $1 AND l.sha256 = $2::bytea", LogView)

LOG_CONTENT = Query(
    "log_content", "SELECT survey, damage FROM logs WHERE org_id = $1 AND sha256 = $2::bytea", LogContent
)  # fmt: skip

LOG_DELIVERIES = Query(
    "log_deliveries",
    f"""SELECT d.name, d.origin, d.importer_id, a.name, d.aircraft_id, d.imported_utc_us, {_US.format("d.received_at")},
        d.stream_id
    FROM log_deliveries d LEFT JOIN aircraft_registry a ON a.org_id = $1 AND a.aircraft_id = d.importer_id
    WHERE d.org_id = $1 AND d.sha256 = $2::bytea ORDER BY d.received_at, d.stream_id, d.seq, d.record_no LIMIT 200""",  # noqa: S608
    DeliveryView,
)

LOG_SESSIONS = Query(
    "log_sessions",
    """SELECT s.session_no, s.start_utc_us, s.end_utc_us, s.clock_source, s.inferred, s.why, f.session_id, f.method,
        f.offset_us, f.agreement
    FROM log_sessions s LEFT JOIN flight_logs f ON f.org_id = $1 AND f.sha256 = s.sha256 AND f.session_no = s.session_no
    WHERE s.org_id = $1 AND s.sha256 = $2::bytea ORDER BY s.session_no, f.session_id""",
    LogSessionView,
)

LOG_PARTS_OF = Query(
    "logs_that_are_parts",
    "SELECT sha256 FROM logs WHERE org_id = $1 AND part_of = $2::bytea ORDER BY sha256 LIMIT 200",
    scalar,
)

FLIGHT_LOGS = Query(
    "logs_of_flight",
    """SELECT f.sha256, l.name, l.format, f.session_no, f.method, f.offset_us, f.agreement FROM flight_logs f
    JOIN logs l ON l.org_id = $1 AND l.sha256 = f.sha256
    WHERE f.org_id = $1 AND f.session_id = $2::uuid ORDER BY f.attached_at, f.sha256, f.session_no""",
    FlightLogView,
)

FLIGHT_SOURCES = Query(
    "sources_of_flight",
    """SELECT s.kind, s.sha256, l.name, s.stream_id, s.channels, s.from_utc_us, s.to_utc_us, s.grid_rows
    FROM flight_sources s LEFT JOIN logs l ON l.org_id = $1 AND l.sha256 = s.sha256
    WHERE s.org_id = $1 AND s.session_id = $2::uuid ORDER BY s.source_no""",
    SourceView,
)


@dataclass(frozen=True, slots=True)
class FleetRow:
    """An aircraft as a station must know it."""

    aircraft_id: uuid.UUID
    name: str
    registration: str | None
    serial_number: str | None
    hardware_ids: list[str]


DEVICE_FLEET = Query(
    "device_fleet",
    """SELECT a.aircraft_id, a.name, a.registration, a.serial_number, ARRAY(SELECT h.hardware_id
        FROM aircraft_hardware h WHERE h.org_id = $1 AND h.aircraft_id = a.aircraft_id ORDER BY 1)
    FROM aircraft_registry a WHERE a.org_id = $1 AND a.kind = 'aircraft' AND a.retired_at IS NULL
    AND (a.aircraft_id = $2::uuid OR EXISTS (SELECT FROM aircraft_registry s WHERE s.org_id = $1
        AND s.aircraft_id = $2::uuid AND s.kind = 'station'))
    ORDER BY a.name, a.aircraft_id LIMIT 10000""",
    FleetRow,
)
"""$2: whose device asks: a station gets all, an aircraft itself."""

WHOLE_LOGS = Query(
    "whole_logs",
    f"""SELECT sha256, size_bytes, {_US.format("whole_at")} FROM logs
    WHERE org_id = $1 AND sha256 = ANY ($2::bytea[]) AND whole_at IS NOT NULL ORDER BY sha256""",  # noqa: S608
    lambda sha256, size_bytes, whole_utc_us: (bytes(sha256), int(size_bytes), int(whole_utc_us)),
)
"""Of the logs $2 those whose bytes are all here: (sha256, size, since when)."""

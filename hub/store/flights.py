"""Flights as they are read: list, detail, events, findings, analysis, gaps. Times are us since 1970 UTC."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hub.store.query import Query


@dataclass(frozen=True, slots=True)
class FlightRow:
    """A flight as the list shows it."""

    id: UUID
    aircraft_id: UUID
    aircraft_name: str
    state: str
    started_utc_us: int
    ended_utc_us: int
    clock_source: int
    complete: bool
    findings: int
    risk_level: str | None
    max_alt_rel_m: float | None
    distance_m: float | None
    max_groundspeed_mps: float | None
    mav_type: int | None
    mav_autopilot: int | None
    firmware: str
    missing_batches: int
    origin: str


@dataclass(frozen=True, slots=True)
class FlightDetail:
    """What the detail adds. Manifest fields are None until the aircraft's closing record came."""

    stream_id: UUID
    boot_id: UUID
    first_seq: int | None
    last_seq: int | None
    clock_offset_us: int
    clock_uncertainty_us: int
    close_reason: str | None
    manifest_frames: int | None
    manifest_batches: int | None
    wire_lost: dict[str, int] | None
    junk_bytes: int | None
    bad_crc: int | None
    grid_rows: int
    last_seen_utc_us: int
    settled_utc_us: int | None
    lost_rows: int
    filled_rows: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened in a flight. key: (seq, event_no), for paging."""

    at_utc_us: int
    kind: str
    severity: str
    text: str
    value: float | None
    seq: int
    event_no: int


@dataclass(frozen=True, slots=True)
class FindingRow:
    """What a model or a rule says of a span of the flight."""

    id: UUID
    source: str
    kind: str
    severity: str
    score: float
    threshold: float
    start_utc_us: int
    end_utc_us: int
    model: str
    evidence: list[dict[str, Any]]
    shap: list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True)
class AnalysisRow:
    """The newest analysis of a flight."""

    analysed_utc_us: int
    detected_aircraft_type: str
    aircraft_confidence: float
    anomaly_detected: bool
    risk_score: float
    risk_level: str
    shap_values: Any
    report: str
    model: str
    feature_version: int


# While it flies, as the crow flies from batch to batch: settling writes what the track says.
_FLOWN = """SELECT sum(111195 * |/ ((p.to_lat - p.lat) ^ 2
        + (least(abs(p.to_lon - p.lon), 360 - abs(p.to_lon - p.lon)) * cosd(p.lat)) ^ 2))
    FROM (SELECT b.lat_deg lat, b.lon_deg lon, lead(b.lat_deg) OVER w to_lat, lead(b.lon_deg) OVER w to_lon
        FROM ingest_batches b WHERE b.org_id = $1 AND b.session_id = s.session_id AND b.lat_deg IS NOT NULL
            AND b.lon_deg IS NOT NULL WINDOW w AS (ORDER BY b.covers_to_us)) p"""
# Sequences of the flight that neither are in the ledger nor lie under a gap record; of one that flies, so far.
# The bound: whatever sequences an aircraft invents, the range has an end that can be written.
_MISSING = """SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest((
    SELECT CASE WHEN s.first_seq <= n.last_seq THEN int8multirange(int8range(s.first_seq, n.last_seq, '[]')) END
        - coalesce((SELECT range_agg(int8range(b.seq, b.seq, '[]')) FROM ingest_batches b
            WHERE b.org_id = $1 AND b.stream_id = s.stream_id AND b.seq BETWEEN s.first_seq AND n.last_seq), '{}')
        - coalesce((SELECT range_agg(int8range(g.first_seq, least(g.last_seq, n.last_seq), '[]')) FROM gaps g
            WHERE g.org_id = $1 AND g.stream_id = s.stream_id
                AND g.first_seq <= least(g.last_seq, n.last_seq)), '{}')
    FROM (SELECT least(1::bigint << 53, coalesce(s.last_seq, (SELECT max(b.seq) FROM ingest_batches b
        WHERE b.org_id = $1 AND b.session_id = s.session_id AND b.stream_id = s.stream_id))) last_seq) n)) r"""
_FLIGHT = f"""s.session_id, s.aircraft_id, a.name, s.state, s.started_utc_us, s.ended_utc_us, s.clock_source,
    s.complete,
    (SELECT count(*) FROM findings f WHERE f.org_id = $1 AND f.session_id = s.session_id),
    (SELECT m.risk_level FROM ml_analysis_results m WHERE m.org_id = $1 AND m.session_id = s.session_id
        ORDER BY m.created_at DESC LIMIT 1),
    s.max_alt_rel_m, CASE WHEN s.state = 'live' THEN ({_FLOWN}) ELSE s.distance_m END,
    s.max_groundspeed_mps, s.mav_type, s.mav_autopilot, s.firmware, CASE WHEN s.complete THEN 0 ELSE ({_MISSING}) END,
    s.origin"""  # noqa: S608
_FROM = """FROM flight_sessions s
    JOIN aircraft_registry a ON a.org_id = $1 AND a.aircraft_id = s.aircraft_id"""

LIST_FLIGHTS = Query(
    "list_flights",
    f"""SELECT {_FLIGHT} {_FROM} WHERE s.org_id = $1
    AND ($2::text IS NULL OR s.state = $2) AND ($3::uuid IS NULL OR s.aircraft_id = $3)
    AND ($4::bigint IS NULL OR s.ended_utc_us >= $4) AND ($5::bigint IS NULL OR s.started_utc_us < $5)
    AND ($6::text IS NULL OR s.state < $6
        OR (s.state = $6 AND (s.started_utc_us < $7::bigint
            OR (s.started_utc_us = $7::bigint AND s.session_id > $8::uuid))))
    ORDER BY s.state DESC, s.started_utc_us DESC, s.session_id LIMIT $9::bigint""",
    FlightRow,
)
"""Live first, then newest. $2 state, $3 aircraft, $4 from, $5 to, $6-$8 state, start and id of the row before."""

GET_FLIGHT = Query(
    "get_flight", f"SELECT {_FLIGHT} {_FROM} WHERE s.org_id = $1 AND s.session_id = $2::uuid", FlightRow
)  # fmt: skip

GET_DETAIL = Query(
    "get_flight_detail",
    """SELECT stream_id, boot_id, first_seq, last_seq, clock_offset_us, clock_uncertainty_us, close_reason,
    manifest_frames, manifest_batches, wire_lost, junk_bytes, bad_crc, grid_rows,
    (extract(epoch FROM last_seen_at) * 1000000)::bigint, (extract(epoch FROM settled_at) * 1000000)::bigint,
    lost_rows, filled_rows
    FROM flight_sessions WHERE org_id = $1 AND session_id = $2::uuid""",
    FlightDetail,
)

EVENTS = Query(
    "flight_events_page",
    """SELECT at_utc_us, kind, severity, text, value, seq, event_no FROM flight_events
    WHERE org_id = $1 AND session_id = $2::uuid
    AND ($3::bigint IS NULL OR (at_utc_us, seq, event_no) > ($3::bigint, $4::bigint, $5::integer))
    ORDER BY at_utc_us, seq, event_no LIMIT $6::bigint""",
    EventRow,
)

FINDINGS = Query(
    "flight_findings_page",
    """SELECT finding_id, source, kind, severity, score, threshold, start_utc_us, end_utc_us, model, evidence, shap
    FROM findings WHERE org_id = $1 AND session_id = $2::uuid
    AND ($3::bigint IS NULL OR (start_utc_us, finding_id) > ($3::bigint, $4::uuid))
    ORDER BY start_utc_us, finding_id LIMIT $5::bigint""",
    FindingRow,
)

ANALYSIS = Query(
    "flight_analysis",
    """SELECT (extract(epoch FROM created_at) * 1000000)::bigint, detected_aircraft_type, aircraft_confidence,
    anomaly_detected, risk_score, risk_level, shap_values, ai_report_content, model_version, feature_version
    FROM ml_analysis_results WHERE org_id = $1 AND session_id = $2::uuid ORDER BY created_at DESC LIMIT 1""",
    AnalysisRow,
)

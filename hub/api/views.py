"""Rows as the JSON that hub/api/shapes.py promises. Pure."""

import base64
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.modes import autopilot_name, mode_name, vehicle_class
from hub.store.aircraft import AircraftRow, DeviceKeyRow
from hub.store.committed import Committed, GapRow
from hub.store.flights import AnalysisRow, EventRow, FlightRow
from hub.store.log_reads import FlightLogView, LogSessionView, LogView, SourceView
from hub.store.telemetry import STEP_US
from shared.channels import BY_NAME
from shared.clock import ClockSource
from shared.ids import key_id


def aircraft_view(a: AircraftRow) -> dict[str, Any]:
    """shapes.Aircraft."""
    known = a.mav_type is not None and a.mav_autopilot is not None
    return {
        "id": a.id,
        "kind": a.kind,
        "name": a.name,
        "registration": a.registration,
        "serial_number": a.serial_number,
        "airframe": a.airframe,
        "notes": a.notes,
        "created_utc_us": a.created_utc_us,
        "retired_utc_us": a.retired_utc_us,
        "vehicle_type": vehicle_class(a.mav_type) if a.mav_type is not None else None,
        "autopilot": autopilot_name(a.mav_autopilot) if a.mav_autopilot is not None else None,
        "firmware": a.firmware or None,
        "last_seen_utc_us": a.last_seen_utc_us,
        "online": a.online,
        "newest": None if a.at_utc_us is None else _newest(a, known),
    }


def _newest(a: AircraftRow, known: bool) -> dict[str, Any]:
    mode = (
        mode_name(a.mav_autopilot or 0, a.mav_type or 0, a.flight_mode) if known and a.flight_mode is not None else None
    )
    return {
        "at_utc_us": a.at_utc_us,
        "lat_deg": short(a.lat_deg, 7),
        "lon_deg": short(a.lon_deg, 7),
        "alt_msl_m": short(a.alt_msl_m),
        "alt_rel_m": short(a.alt_rel_m),
        "groundspeed_mps": short(a.groundspeed_mps),
        "heading_deg": short(a.heading_deg),
        "battery_v": short(a.battery_v),
        "battery_remaining_pct": short(a.battery_remaining_pct),
        "armed": a.armed,
        "mode": mode,
        "flight_id": a.session_id,
    }


def device_key_view(k: DeviceKeyRow) -> dict[str, Any]:
    """shapes.DeviceKey."""
    return asdict(k) | {"key_id": k.key_id.hex(), "public_key": base64.b64encode(k.public_key).decode()}


def hub_key_view(raw: bytes) -> dict[str, str]:
    """shapes.HubKey."""
    return {"key_id": key_id(raw).hex(), "public_key": base64.b64encode(raw).decode()}


def flight_view(f: FlightRow) -> dict[str, Any]:
    """shapes.Flight."""
    return {
        "id": f.id,
        "origin": f.origin,
        "aircraft_id": f.aircraft_id,
        "aircraft_name": f.aircraft_name,
        "vehicle_type": "unknown" if f.mav_type is None else vehicle_class(f.mav_type),
        "autopilot": "unknown" if f.mav_autopilot is None else autopilot_name(f.mav_autopilot),
        "firmware": f.firmware,
        "state": f.state,
        "started_utc_us": f.started_utc_us,
        "ended_utc_us": f.ended_utc_us,
        "duration_s": round((f.ended_utc_us - f.started_utc_us) / 1e6, 3),
        "clock_source": ClockSource(f.clock_source).name,
        "complete": f.complete,
        "missing_batches": f.missing_batches,
        "findings": f.findings,
        "risk_level": f.risk_level,
        "max_alt_rel_m": short(f.max_alt_rel_m),
        "distance_m": short(f.distance_m, 1),
        "max_groundspeed_mps": short(f.max_groundspeed_mps),
    }


def log_view(row: LogView) -> dict[str, Any]:
    """shapes.Log."""
    named = {"sha256": row.sha256.hex(), "part_of": None if row.part_of is None else row.part_of.hex()}
    return asdict(row) | named | {"clock_source": ClockSource(row.clock_source).name}


def log_session_view(s: LogSessionView) -> dict[str, Any]:
    """shapes.LogSessionShape."""
    return asdict(s) | {"clock_source": ClockSource(s.clock_source).name, "agreement": short(s.agreement)}


def flight_log_view(f: FlightLogView) -> dict[str, Any]:
    """shapes.FlightLog."""
    return asdict(f) | {"sha256": f.sha256.hex(), "agreement": short(f.agreement)}


def source_views(sources: Sequence[SourceView], stream_id: UUID, f: FlightRow, rows: int) -> list[dict[str, Any]]:
    """shapes.FlightSource; of a flight without a log its stream alone."""
    if not sources:
        whole = {"from_utc_us": f.started_utc_us, "to_utc_us": f.ended_utc_us, "rows": rows}
        return [{"kind": "live", "sha256": None, "name": None, "stream_id": stream_id, "channels": None} | whole]
    return [
        {
            "kind": s.kind, "sha256": None if s.sha256 is None else s.sha256.hex(), "name": s.log_name,
            "stream_id": s.stream_id, "channels": s.channels, "from_utc_us": s.from_utc_us, "to_utc_us": s.to_utc_us,
            "rows": s.rows,
        }
        for s in sources
    ]  # fmt: skip


def event_view(e: EventRow) -> dict[str, Any]:
    """shapes.Event."""
    return {"at_utc_us": e.at_utc_us, "kind": e.kind, "severity": e.severity, "text": e.text, "value": e.value}


def analysis_view(a: AnalysisRow) -> dict[str, Any]:
    """shapes.Analysis."""
    return asdict(a) | {"aircraft_confidence": short(a.aircraft_confidence, 4), "risk_score": short(a.risk_score, 4)}


def gap_view(g: GapRow) -> dict[str, Any]:
    """shapes.GapShape."""
    names = ("reason", "frames", "first_seq", "last_seq", "from_utc_us", "to_utc_us", "detail")
    return {n: getattr(g, n) for n in names}


def missing_ranges(
    committed: Committed, gaps: list[GapRow], first_seq: int | None, last_seq: int | None
) -> list[tuple[int, int]]:
    """Sequences of [first_seq, last_seq] that neither are committed nor lie under a gap record."""
    if first_seq is None or last_seq is None:
        return []
    holes = [(int(a), int(b)) for a, b in committed.holes]
    if committed.first_seq is None or committed.last_seq is None:
        holes = [(first_seq, last_seq)]
    else:
        holes += [(first_seq, committed.first_seq - 1), (committed.last_seq + 1, last_seq)]
    for gap in gaps:
        if gap.first_seq is not None and gap.last_seq is not None:
            holes = [part for hole in holes for part in _without(hole, (gap.first_seq, gap.last_seq))]
    return sorted((a, b) for a, b in holes if a <= b)


def _without(hole: tuple[int, int], gap: tuple[int, int]) -> list[tuple[int, int]]:
    if gap[1] < hole[0] or gap[0] > hole[1]:
        return [hole]
    return [(hole[0], gap[0] - 1), (gap[1] + 1, hole[1])]


def bands_view(
    time_utc_us: NDArray[np.int64], stored: dict[str, NDArray[Any]], autopilot: int, vehicle_type: int
) -> dict[str, Any]:
    """shapes.Bands from the channels `armed` and `flight_mode`; a span ends where the next begins."""
    modes = [
        {"from_utc_us": a, "to_utc_us": b, "mode": mode_name(autopilot, vehicle_type, v)}
        for a, b, v in _runs(time_utc_us, stored["flight_mode"], BY_NAME["flight_mode"].missing)
    ]
    armed = _runs(time_utc_us, stored["armed"], BY_NAME["armed"].missing)
    return {"armed": [{"from_utc_us": a, "to_utc_us": b} for a, b, v in armed if v == 1], "modes": modes}


def _runs(t: NDArray[np.int64], values: NDArray[Any], missing: int) -> list[tuple[int, int, int]]:
    """(from, to, value) of each run of one value; absent samples and pauses of more than 5 s end a run."""
    if len(t) == 0:
        return []
    starts = np.flatnonzero(np.diff(values, prepend=values[0]) != 0)
    pauses = np.flatnonzero(np.diff(t, prepend=t[0]) > 5_000_000)
    edges = np.unique(np.concatenate([[0], starts, pauses]))
    ends = np.concatenate([edges[1:] - 1, [len(t) - 1]])
    rows = zip(t[edges].tolist(), (t[ends] + STEP_US).tolist(), values[edges].tolist(), strict=True)
    return [row for row in rows if row[2] != missing]


def short(value: float | None, places: int = 2) -> float | None:
    """Rounded to what is worth sending."""
    return None if value is None else round(value, places)

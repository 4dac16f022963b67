"""Events of a flight, from message columns: arming, modes, texts, failsafes, take-off, landing, GPS, home, reboots.

Batch by batch; `EventState` carries what the next batch needs (a text whose last chunk is still to come, the mode).
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.columns import Columns, MessageColumns, fields
from firmware_bridge.vehicle import HEARTBEAT, STATUSTEXT, Change, VehicleTracker, transitions

EventKind = Literal[
    "armed", "disarmed", "mode", "statustext", "failsafe", "landed", "takeoff", "gps", "home", "reboot"
]  # fmt: skip
Severity = Literal["critical", "error", "warning", "info", "debug"]

GPS_RAW_INT = 24
MAX_EVENTS = 1_000
"""Events of one batch; a vehicle that says more says nothing (the last event tells how many were left out)."""
_FIX_3D = 3
_CRITICAL, _EMERGENCY = 5, 6  # MAV_STATE
_CHUNK = 50
_CHUNK_WAIT_US = 5_000_000
_MAX_CHUNKS = 8
_SEVERITIES: tuple[Severity, ...] = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_FAILSAFE = re.compile(r"fail-?safe", re.IGNORECASE)
_NOT_NOW = re.compile(r"^(PreArm|Arm|Preflight)\b|\b(off|cleared|ended|disabled|resolved)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Event:
    """at_us: recorder's clock. value: mode number, fix type, altitude of home (m) ...; None where there is none."""

    at_us: int
    kind: EventKind
    severity: Severity
    text: str = ""
    value: float | None = None


@dataclass(slots=True)
class _Partial:
    """Chunks of a text so far."""

    at_us: int
    severity: int
    chunks: dict[int, bytes]


@dataclass(slots=True)
class EventState:
    """What goes from batch to batch; one per stream, in batch order."""

    tracker: VehicleTracker = field(default_factory=VehicleTracker)
    has_fix: bool | None = None
    had_fix: bool = False
    is_critical: bool = False
    partial: dict[int, _Partial] = field(default_factory=dict)


def flight_events(block: Columns, vehicle: tuple[int, int] | None, state: EventState) -> list[Event]:
    """The block's events in order of time; updates `state`. vehicle: (sysid, compid), None: found by HEARTBEAT."""
    if vehicle is not None and state.tracker.vehicle is None:
        state.tracker.latched = vehicle
    was_armed = bool(state.tracker.vehicle and state.tracker.vehicle.armed)
    events = [e for c in state.tracker.update(block) if (e := _of_change(c, was_armed)) is not None]
    if state.tracker.vehicle is None:
        return []
    source = (state.tracker.vehicle.sysid, state.tracker.vehicle.compid)
    for group in block.groups:
        read = _READERS.get(group.msgid)
        if read is not None and (group.sysid, group.compid) == source and len(group.rows):
            events += read(group, block.time_us[group.rows], state)
    events.sort(key=lambda e: e.at_us)
    return _bounded(events)


def _of_change(c: Change, was_armed: bool) -> Event | None:
    match c.kind:
        case "armed" | "disarmed" | "landed" | "takeoff" | "mode" | "home":
            return Event(c.at_us, c.kind, "info", c.text, c.value)
        case "reboot":
            return Event(c.at_us, "reboot", "critical" if was_armed else "warning", c.text, c.value)
        case _:
            return None


def _gps(group: MessageColumns, time_us: NDArray[np.int64], state: EventState) -> list[Event]:
    fix = fields(group)["fix_type"]
    has_fix = fix >= _FIX_3D
    before = state.has_fix
    out = []
    for i in transitions(has_fix, has_fix[0] if before is None else before):
        gained = "GPS fix regained" if state.had_fix or before or has_fix[:i].any() else "GPS fix acquired"
        text, severity = (gained, _SEVERITIES[6]) if has_fix[i] else ("GPS fix lost", _SEVERITIES[4])
        out.append(Event(int(time_us[i]), "gps", severity, text, float(fix[i])))
    state.has_fix = bool(has_fix[-1])
    state.had_fix |= bool(has_fix.any())
    return out


def _system_status(group: MessageColumns, time_us: NDArray[np.int64], state: EventState) -> list[Event]:
    """ArduPilot and PX4 say CRITICAL or EMERGENCY in HEARTBEAT while a failsafe acts; on the ground it means less."""
    beats = fields(group)
    status = beats["system_status"]
    is_critical = ((status == _CRITICAL) | (status == _EMERGENCY)) & (beats["base_mode"] & 128 != 0)
    before, state.is_critical = state.is_critical, bool(is_critical[-1])
    return [
        Event(int(time_us[i]), "failsafe", "critical", "system status critical", float(status[i]))
        for i in transitions(is_critical, before)
        if is_critical[i]
    ]


def _texts(group: MessageColumns, time_us: NDArray[np.int64], state: EventState) -> list[Event]:
    rows = fields(group)
    out: list[Event] = []
    columns = (time_us, rows["severity"], rows["text"], rows["id"], rows["chunk_seq"])
    for at, severity, raw, text_id, chunk in zip(*(c.tolist() for c in columns), strict=True):
        if text_id == 0:
            out += _text_event(at, severity, raw)
            continue
        out += _close_stale(state, at)
        partial = state.partial.setdefault(text_id, _Partial(at, severity, {}))
        partial.chunks[chunk] = raw
        if len(raw) < _CHUNK or len(partial.chunks) >= _MAX_CHUNKS:
            del state.partial[text_id]
            out += _joined(partial)
    if len(time_us):
        out += _close_stale(state, int(time_us[-1]))
    return out


def _joined(p: _Partial) -> list[Event]:
    """The whole text; "..." stands for a chunk that was lost."""
    chunks = [p.chunks.get(i, b"...") for i in range(min(max(p.chunks) + 1, 2 * _MAX_CHUNKS))]
    return _text_event(p.at_us, p.severity, b"".join(chunks))


def _close_stale(state: EventState, now_us: int) -> list[Event]:
    """Texts whose last chunk never came."""
    out: list[Event] = []
    for text_id in [k for k, p in state.partial.items() if abs(now_us - p.at_us) > _CHUNK_WAIT_US]:
        out += _joined(state.partial.pop(text_id))
    return out


def _text_event(at_us: int, severity: int, raw: bytes) -> list[Event]:
    text, kind = _read(raw)
    return [Event(at_us, kind, severity_of(severity), text, float(severity))] if text else []


@lru_cache(2048)  # vehicles say the same again and again
def _read(raw: bytes) -> tuple[str, EventKind]:
    text = clean_text(raw)
    return text, "failsafe" if is_failsafe_text(text) else "statustext"


def is_failsafe_text(text: str) -> bool:
    """Whether a vehicle's text says that a failsafe acts now."""
    return _FAILSAFE.search(text) is not None and _NOT_NOW.search(text) is None


def severity_of(level: int) -> Severity:
    """MAV_SEVERITY, 0 (emergency) to 7 (debug), as an event's severity."""
    return _SEVERITIES[min(max(level, 0), 7)]


def clean_text(raw: bytes) -> str:
    """A vehicle's text as one printable line: without colours, control characters and NULs."""
    text = _ANSI.sub("", raw.decode("utf-8", "replace"))
    return _CONTROL.sub(" ", text).strip()


def _bounded(events: list[Event]) -> list[Event]:
    if len(events) <= MAX_EVENTS:
        return events
    kept = events[: MAX_EVENTS - 1]
    left_out = len(events) - len(kept)
    return [*kept, Event(kept[-1].at_us, "statustext", "warning", f"{left_out} more events left out", float(left_out))]


_READERS: dict[int, Any] = {HEARTBEAT: _system_status, GPS_RAW_INT: _gps, STATUSTEXT: _texts}

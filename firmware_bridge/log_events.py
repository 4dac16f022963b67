"""Events of a DataFlash or ULog, of the kinds and words of `events.py`; and the states that channels hold.

Portion by portion; what the next portion needs is kept in `LogEvents`. Source: ArduPilot `AP_Logger.h` (LogEvent,
LogErrorSubsystem), PX4 `msg/VehicleStatus.msg`.
"""

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.events import MAX_EVENTS, Event, EventKind, Severity, clean_text, is_failsafe_text, severity_of
from firmware_bridge.log_arming import Arming, Said, armed_at, changes
from firmware_bridge.log_grid import State
from firmware_bridge.log_rows import History, SourceRows
from firmware_bridge.log_sources import TableSource
from firmware_bridge.log_tables import LogFormat, Portion
from firmware_bridge.modes import ARDUPILOT, PX4, mode_name, px4_custom_mode

_LANDED, _FLYING = 18, 28  # LogEvent LAND_COMPLETE, NOT_LANDED
_ON_GROUND, _IN_AIR = 1, 2
_SUBSYSTEMS = {
    2: "radio", 3: "compass", 5: "failsafe: radio", 6: "failsafe: battery", 7: "failsafe: GPS", 8: "failsafe: GCS",
    9: "failsafe: fence", 10: "flight mode refused", 11: "GPS", 12: "crash check", 13: "flip", 15: "parachute",
    16: "EKF check", 17: "failsafe: EKF", 18: "barometer", 19: "CPU", 20: "failsafe: ADS-B", 21: "terrain",
    22: "navigation", 23: "failsafe: terrain", 24: "EKF primary", 25: "thrust loss", 26: "failsafe: sensors",
    27: "failsafe: leak", 28: "pilot input", 29: "failsafe: vibration", 30: "internal error",
    31: "failsafe: dead reckoning",
}  # fmt: skip
_GRAVE = (12, 16, 25, 30)
_FIX_3D = 3
_REPEAT_US = 1_000_000
_LONG_AGO_US = -(1 << 60)
"""What an event ends held ever since."""
_LAST_NAV_COMMAND = 95  # MAV_CMD_NAV_LAST: what lies above does not become the mission's current item
_TABBED = re.compile(r"\t.*", re.S)  # PX4 puts the event's words behind a tab, once more


@dataclass(slots=True)
class LogEvents:
    """Of one boot. vehicle_type: MAV_TYPE, for mode names."""

    format: LogFormat
    vehicle_type: int
    arming: Arming = field(default_factory=Arming)
    _last: dict[str, float] = field(default_factory=dict)
    _said: dict[str, int] = field(default_factory=dict)

    def read(self, portion: Portion, history: History) -> tuple[list[Event], list[State]]:
        """The portion's events in order of time, and states (the history has taken it already)."""
        events = self._texts(portion)
        more, states = self._ulog(history) if self.format == "ulog" else self._dataflash(history)
        armed, state = self._armed(portion, history)
        events = sorted(events + more + armed, key=lambda e: e.at_us)
        return events[:MAX_EVENTS], states + state

    def _texts(self, portion: Portion) -> list[Event]:
        out = []
        for t in portion.texts:
            text = clean_text(_TABBED.sub("", t.text).encode())
            if text and t.time_us - self._said.get(text, -_REPEAT_US - 1) > _REPEAT_US:
                kind: EventKind = "failsafe" if is_failsafe_text(text) else "statustext"
                out.append(Event(t.time_us, kind, severity_of(t.severity), text, float(t.severity)))
                self._said[text] = t.time_us
        if len(self._said) > MAX_EVENTS:
            self._said.clear()
        return out

    def _armed(self, portion: Portion, history: History) -> tuple[list[Event], list[State]]:
        known = len(self.arming.said())
        self.arming.read(self.format, history, portion.texts)
        said = self.arming.said()
        new = said[known:] if known <= len(said) else []
        events = [_arming_event(s) for i, s in enumerate(new, known) if s.is_event or i or s.armed]
        if not said:
            return [], []
        first = [Said(_LONG_AGO_US, not said[0].armed, False)] if said[0].is_event and not known else []
        return events, [State("armed", *armed_at(first + new))] if new else []

    def _changes(self, name: str, rows: SourceRows, values: NDArray[np.float64]) -> list[tuple[int, float, float]]:
        """(time, value, value before) of each change of a series, over portions; nothing before is NaN."""
        out = []
        good = np.flatnonzero(np.isfinite(values))
        for i in good[changes(values[good])].tolist():
            before = self._last.get(name, float("nan"))
            if values[i] != before:
                out.append((int(rows.time_us[i]), float(values[i]), before))
                self._last[name] = float(values[i])
        return out

    def _dataflash(self, history: History) -> tuple[list[Event], list[State]]:
        events: list[Event] = []
        states: list[State] = []
        for rows in history.rows(TableSource("MODE", ())):
            modes = rows.value("ModeNum", "Mode")
            events += self._modes(rows, modes, ARDUPILOT)
            states.append(State("flight_mode", rows.time_us, modes))
        for rows in history.rows(TableSource("EV", (), needs=("Id",))):
            more, landed = self._landings(rows)
            events += more
            states.append(landed)
        for rows in history.rows(TableSource("STAT", (), needs=("isFlying",))):
            flying = np.where(rows.value("isFlying") > 0, _IN_AIR, _ON_GROUND).astype(np.float64)
            states.append(State("landed_state", rows.time_us, flying))
        for rows in history.rows(TableSource("MISE", (), needs=("CNum", "CId"))):
            is_nav = rows.value("CId") <= _LAST_NAV_COMMAND
            states.append(State("mission_seq", rows.time_us[is_nav], rows.value("CNum")[is_nav]))
        for rows in history.rows(TableSource("ERR", (), needs=("Subsys", "ECode"))):
            pairs = zip(rows.time_us.tolist(), rows.value("Subsys"), rows.value("ECode"), strict=True)
            events += [_error_event(at, int(s), int(c)) for at, s, c in pairs]
        for rows in history.rows(TableSource("GPS", (), needs=("Status",))):
            events += self._fixes(rows, rows.value("Status"))
        return events, states

    def _ulog(self, history: History) -> tuple[list[Event], list[State]]:
        events: list[Event] = []
        states: list[State] = []
        for rows in history.rows(TableSource("vehicle_status", (), needs=("nav_state",))):
            nav = rows.value("nav_state")
            modes = np.array([px4_custom_mode(int(n)) for n in nav], np.float64)
            events += self._modes(rows, modes, PX4)
            states.append(State("flight_mode", rows.time_us, modes))
            for at, is_on, before in self._changes("failsafe", rows, rows.value("failsafe")):
                if is_on and before == before:
                    events.append(Event(at, "failsafe", "critical", "failsafe", 1.0))
        for rows in history.rows(TableSource("mission_result", (), needs=("seq_current",))):
            states.append(State("mission_seq", rows.time_us, rows.value("seq_current")))
        for rows in history.rows(TableSource("vehicle_land_detected", (), needs=("landed",))):
            for at, landed, before in self._changes("landed", rows, rows.value("landed")):
                if before == before:
                    events.append(Event(at, "landed" if landed else "takeoff", "info", "", 1.0 if landed else 2.0))
        for name in ("vehicle_gps_position", "sensor_gps"):
            if found := history.rows(TableSource(name, (), needs=("fix_type",))):
                events += self._fixes(found[0], found[0].value("fix_type"))
                break
        return events, states

    def _modes(self, rows: SourceRows, modes: NDArray[np.float64], autopilot: int) -> list[Event]:
        return [
            Event(at, "mode", "info", mode_name(autopilot, self.vehicle_type, int(mode)), mode)
            for at, mode, _ in self._changes("mode", rows, modes)
        ]

    def _landings(self, rows: SourceRows) -> tuple[list[Event], State]:
        ids = rows.value("Id")
        keep = np.isin(ids, (_LANDED, _FLYING))
        times, landed = rows.time_us[keep], ids[keep] == _LANDED
        events = []
        for at, is_down in zip(times.tolist(), landed.tolist(), strict=True):
            if self._last.get("landed", None) != is_down and (not is_down or "landed" in self._last):
                state = float(_ON_GROUND if is_down else _IN_AIR)
                events.append(Event(at, "landed" if is_down else "takeoff", "info", "", state))
            if "landed" not in self._last and len(times):
                times, landed = np.append(_LONG_AGO_US, times), np.append(not is_down, landed)
            self._last["landed"] = is_down
        return events, State("landed_state", times, np.where(landed, _ON_GROUND, _IN_AIR).astype(np.float64))

    def _fixes(self, rows: SourceRows, fix: NDArray[np.float64]) -> list[Event]:
        out = []
        has_fix = np.where(np.isfinite(fix), fix >= _FIX_3D, np.nan).astype(np.float64)
        for at, is_good, before in self._changes("fix", rows, has_fix):
            if before != before:
                self._last["had_fix"] = is_good
                continue
            gained = "GPS fix regained" if self._last.get("had_fix") else "GPS fix acquired"
            self._last["had_fix"] = 1.0
            text, severity = (gained, severity_of(6)) if is_good else ("GPS fix lost", severity_of(4))
            out.append(Event(at, "gps", severity, text, is_good))
        return out


def _arming_event(said: Said) -> Event:
    return Event(said.time_us, "armed" if said.armed else "disarmed", "info")


def _error_event(at_us: int, subsystem: int, code: int) -> Event:
    name = _SUBSYSTEMS.get(subsystem, f"subsystem {subsystem}")
    is_grave = name.startswith("failsafe") or subsystem in _GRAVE
    if code == 0:
        return Event(at_us, "statustext", "info", f"{name} resolved", float(subsystem))
    severity: Severity = "critical" if is_grave else "warning"
    kind: EventKind = "failsafe" if is_grave else "statustext"
    return Event(at_us, kind, severity, f"{name} ({code})", float(subsystem))

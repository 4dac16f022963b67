"""When a log's vehicle was armed, by what the log says of it; and where it says nothing, whether it moved."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.log_rows import History, SourceRows, Times
from firmware_bridge.log_sources import DATAFLASH, ULOG, TableSource
from firmware_bridge.log_tables import NO_TIME, LogFormat, Text

EV_ARMED, EV_DISARMED = 10, 11
_EV_AUTO_ARMED = 15  # comes on the ground too, hundreds of times before arming: only the last resort
_PX4_ARMED = 2
_TEXTS = {"Arming motors": True, "Throttle armed": True, "Disarming motors": False, "Throttle disarmed": False}
_MOVING = {"groundspeed_mps": 3.0, "throttle_pct": 20.0}
_LEAST_MOVING_S = 3
_MAX_CHANGES = 2_000
_JUST_US = 3_000_000
"""A log that begins so soon after arming says when its flight began."""


@dataclass(frozen=True, slots=True)
class Said:
    """The log said at time_us that the vehicle is (a state) or becomes (an event) armed or disarmed.

    since_us: since when a state holds, where the log knows (NO_TIME: it does not).
    """

    time_us: int
    armed: bool
    is_event: bool
    since_us: int = NO_TIME


@dataclass(frozen=True, slots=True)
class Cycle:
    """Armed from start_us to end_us of the log's clock. why: what of it the log does not say; "" when it says all."""

    start_us: int
    end_us: int
    why: str


@dataclass(slots=True)
class Arming:
    """One boot's word on arming. by: what each kind of evidence said. moving_s: some seconds in which it moved.
    auto_us: when ArduCopter first took itself for flying (EV 15)."""

    by: dict[str, list[Said]] = field(default_factory=dict)
    moving_s: set[int] = field(default_factory=set)
    auto_us: int | None = None

    def said(self) -> list[Said]:
        """What the best evidence says, in order of time, changes alone."""
        best = next((self.by[k] for k in _ORDER if self.by.get(k)), [])
        out: list[Said] = []
        for s in sorted(best, key=lambda s: s.time_us):
            if not out or out[-1].armed != s.armed:
                out.append(s)
        return out

    def tell(self, kind: str, said: Sequence[Said]) -> list[Said]:
        """New evidence; of it what changes this kind's last word."""
        known = self.by.setdefault(kind, [])
        changes = []
        for s in said:
            if (not known or known[-1].armed != s.armed) and len(known) < _MAX_CHANGES:
                known.append(s)
                changes.append(s)
        return changes

    def read(self, log_format: LogFormat, history: History, texts: Sequence[Text]) -> None:
        """A portion of a DataFlash or ULog (already taken by the history)."""
        for kind, table, name in _EVIDENCE[log_format]:
            for rows in history.rows(TableSource(table, (), needs=(name,))):
                self.tell(kind, _said(kind, name, rows))
                if name == "Id" and self.auto_us is None:
                    auto = rows.time_us[rows.value(name) == _EV_AUTO_ARMED]
                    self.auto_us = int(auto[0]) if len(auto) else None
        self.tell("text", [Said(t.time_us, _TEXTS[t.text.strip()], True) for t in texts if t.text.strip() in _TEXTS])
        if len(self.moving_s) < _LEAST_MOVING_S:
            self._watch(log_format, history)

    def _watch(self, log_format: LogFormat, history: History) -> None:
        for source in _MOTION["ulog" if log_format == "ulog" else "dataflash"]:
            for rows in history.rows(source):
                at = 0
                for column in source.columns:
                    for values in column.compute(rows):
                        limit = _MOVING.get(column.targets[0][0])
                        if limit is not None:
                            seconds = rows.time_us[np.nan_to_num(values) > limit] // 1_000_000
                            self.moving_s.update(np.unique(seconds)[:_LEAST_MOVING_S].tolist())
                        at += 1

    def cycles(self, first_us: int, last_us: int) -> list[Cycle]:
        """The flights of a boot whose data span first_us .. last_us."""
        said = [s for s in self.said() if s.time_us != NO_TIME]
        if not said:
            moved = len(self.moving_s) >= _LEAST_MOVING_S and last_us > first_us
            start = first_us if self.auto_us is None else min(max(self.auto_us, first_us), last_us)
            return [Cycle(start, last_us, "no arming in the log, but it moved")] if moved else []
        return _cycles(said, first_us, last_us)


_ORDER = ("heartbeat", "event", "vehicle_status", "actuator_armed", "stat", "text")
_EVIDENCE: dict[str, tuple[tuple[str, str, str], ...]] = {
    "dataflash": (
        ("event", "ARM", "ArmState"),
        ("event", "EV", "Id"),
        ("stat", "STAT", "Armed"),
        ("stat", "STAT", "ArmS"),
    ),
    "ulog": (("vehicle_status", "vehicle_status", "arming_state"), ("actuator_armed", "actuator_armed", "armed")),
}
_EVIDENCE["dataflash-text"] = _EVIDENCE["dataflash"]
_MOTION: dict[str, tuple[TableSource, ...]] = {
    name: tuple(
        TableSource(s.table, kept, s.instance, s.primary, s.needs)
        for s in table
        if (kept := tuple(c for c in s.columns if c.targets[0][0] in _MOVING))
    )
    for name, table in (("dataflash", DATAFLASH), ("ulog", ULOG))
}


def _said(kind: str, name: str, rows: SourceRows) -> list[Said]:
    """The changes that one table's rows tell."""
    values, since, times = rows.value(name), rows.value("armed_time"), rows.time_us
    if name == "Id":
        keep = np.isin(values, (EV_ARMED, EV_DISARMED))
        values, since, times = values[keep], since[keep], times[keep]
    armed = values == {"Id": EV_ARMED, "arming_state": _PX4_ARMED, "ArmS": _PX4_ARMED}.get(name, 1)
    return [
        Said(int(times[i]), bool(armed[i]), kind == "event", int(since[i]) if since[i] > 0 else NO_TIME)
        for i in changes(armed)
    ]


def changes(values: NDArray[np.generic]) -> list[int]:
    """Indexes of the first value and of each that differs from the one before."""
    if not len(values):
        return []
    return [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()]


def _cycles(said: list[Said], first_us: int, last_us: int) -> list[Cycle]:
    out: list[Cycle] = []
    start: tuple[int, str] | None = None
    for i, s in enumerate(said):
        at = min(max(s.time_us, first_us), last_us)
        if s.armed:
            start = (at, "") if i or s.is_event or s.since_us >= first_us - _JUST_US else (at, "starts armed")
        else:
            if i == 0 and s.is_event:
                start = (first_us, "starts armed")
            if start is not None and at > start[0]:
                out.append(Cycle(start[0], at, start[1]))
            start = None
    if start is not None and last_us > start[0]:
        why = ", ".join(filter(None, (start[1], "ends armed")))
        out.append(Cycle(start[0], last_us, why))
    return out


def armed_at(said: Sequence[Said]) -> tuple[Times, NDArray[np.float64]]:
    """The same as times and values of the channel `armed`."""
    return np.array([s.time_us for s in said], np.int64), np.array([s.armed for s in said], np.float64)

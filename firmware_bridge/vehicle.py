"""The vehicle behind the frames: which source is the autopilot, and what it says of itself.

Found by HEARTBEAT, not by sysid: ground stations use any id (also the vehicle's), companions and scripts the vehicle's
sysid with another component, PX4 may be component 241. Other systems' messages never touch the state.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.boot_clock import REBOOT_MS, TIMED
from firmware_bridge.columns import Columns, MessageColumns, columns_of, field, fields
from firmware_bridge.modes import ARDUPILOT, INVALID, PX4, QUADPLANE_MODES, is_vehicle_type, mode_name, vehicle_class
from shared.frames import Frames

HEARTBEAT, PARAM_VALUE, AUTOPILOT_VERSION, HOME_POSITION, EXTENDED_SYS_STATE, STATUSTEXT = 0, 22, 148, 242, 245, 253
TRACKED = frozenset({HEARTBEAT, PARAM_VALUE, AUTOPILOT_VERSION, HOME_POSITION, EXTENDED_SYS_STATE, STATUSTEXT, *TIMED})
"""Message ids that the tracker reads."""
ARMED_BIT = 128
_ON_GROUND, _IN_AIR, _TAKEOFF, _LANDING = 1, 2, 3, 4
_NO_VEHICLE_COMPIDS = frozenset({68, *range(190, 200), *range(154, 162), *range(100, 107)})
_BANNER = re.compile(
    r"\b(Ardu(?:Copter|Plane|Rover|Sub)|APM:?(?:Copter|Plane|Rover)|AntennaTracker|Blimp|PX4)\s+[Vv]?(\d+\.\d+\S*)"
)

ChangeKind = Literal["vehicle", "armed", "disarmed", "mode", "landed", "takeoff", "home", "firmware", "reboot"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something the vehicle said that was not so before: at_us (recorder's clock), value (mode number, ...), text."""

    at_us: int
    kind: ChangeKind
    value: float | None = None
    text: str = ""


@dataclass(slots=True)
class Vehicle:
    """What is known of the vehicle so far; None or "" where it has not said.

    home: latitude deg, longitude deg, altitude above mean sea level m. boots: reboots seen.
    """

    sysid: int
    compid: int
    autopilot: int = 0
    vehicle_type: int = 0
    armed: bool | None = None
    base_mode: int = 0
    custom_mode: int | None = None
    landed_state: int | None = None
    home: tuple[float, float, float] | None = None
    firmware: str = ""
    is_quadplane: bool = False
    boot_ms: int | None = None
    boots: int = 0

    @property
    def mode(self) -> str:
        """The flight mode's name; "" before the first HEARTBEAT."""
        return "" if self.custom_mode is None else mode_name(self.autopilot, self.vehicle_type, self.custom_mode)

    @property
    def vehicle_class(self) -> str:
        """See modes.vehicle_class."""
        return vehicle_class(self.vehicle_type, self.is_quadplane)


def find_vehicle(columns: Columns) -> tuple[int, int] | None:
    """(sysid, compid) of the autopilot with the most HEARTBEATs; None when there is none.

    An autopilot is no GCS, gimbal, radio or companion by type, does not say autopilot INVALID, and speaks from an
    address that is nobody else's. A known firmware goes before an unknown, component 1 before others.
    """
    best: tuple[bool, bool, int] = (False, False, 0)
    found = None
    for group in columns.groups:
        if group.msgid != HEARTBEAT or group.compid in _NO_VEHICLE_COMPIDS or not group.sysid or not group.compid:
            continue
        beats = fields(group)
        autopilot = beats["autopilot"]
        is_autopilot = (autopilot != INVALID) & _IS_VEHICLE[beats["type"]]
        count = int(is_autopilot.sum())
        is_known = bool((is_autopilot & ((autopilot == ARDUPILOT) | (autopilot == PX4))).any())
        rank = (is_known, group.compid == 1, count)
        if count and rank > best:
            best, found = rank, (group.sysid, group.compid)
    return found


_IS_VEHICLE = np.array([is_vehicle_type(t) for t in range(256)])


@dataclass(slots=True)
class VehicleTracker:
    """Follows one vehicle through frames or blocks: the first autopilot found, or `latched` (sysid, compid)."""

    latched: tuple[int, int] | None = None
    vehicle: Vehicle | None = None

    def update(self, seen: Frames | Columns) -> list[Change]:
        """What changed, in order of time. Messages of other systems are passed over."""
        columns = columns_of(seen, only=TRACKED) if isinstance(seen, Frames) else seen
        changes: list[Change] = []
        if self.vehicle is None:
            source = self.latched or find_vehicle(columns)
            if source is None:
                return []
            self.vehicle = Vehicle(*source)
        vehicle = self.vehicle
        mine = [
            g
            for g in columns.groups
            if g.msgid in TRACKED and (g.sysid, g.compid) == (vehicle.sysid, vehicle.compid) and len(g.rows)
        ]
        changes += _reboots(vehicle, mine, columns.time_us)
        by_id = {g.msgid: g for g in mine}
        for msgid, read in _READERS.items():
            if msgid in by_id:
                changes += read(vehicle, fields(by_id[msgid]), columns.time_us[by_id[msgid].rows])
        changes.sort(key=lambda c: c.at_us)
        return changes


def transitions(values: NDArray[Any], before: Any) -> list[int]:
    """Indexes at which a series differs from the value before it (the first: from `before`)."""
    if len(values) == 0:
        return []
    changed: list[int] = ((values[1:] != values[:-1]).nonzero()[0] + 1).tolist()
    return [0, *changed] if before is None or values[0] != before else changed


def _heartbeats(v: Vehicle, beats: NDArray[np.void], time_us: NDArray[np.int64]) -> list[Change]:
    is_own = (beats["autopilot"] != INVALID) & _IS_VEHICLE[beats["type"]]
    if not is_own.all():
        beats, time_us = beats[is_own], time_us[is_own]
    if len(beats) == 0:
        return []
    out: list[Change] = []
    last = beats[-1]
    if v.armed is None:
        out.append(Change(int(time_us[0]), "vehicle", float(last["type"]), vehicle_class(int(last["type"]))))
    v.autopilot, v.vehicle_type = int(last["autopilot"]), int(last["type"])
    v.is_quadplane |= (
        v.vehicle_type == 1
        and v.autopilot == ARDUPILOT
        and not QUADPLANE_MODES.isdisjoint(np.unique(beats["custom_mode"]).tolist())
    )
    armed = beats["base_mode"] & ARMED_BIT != 0
    for i in transitions(armed, bool(v.armed)):
        out.append(Change(int(time_us[i]), "armed" if armed[i] else "disarmed"))
    for i in transitions(beats["custom_mode"], v.custom_mode):
        mode = int(beats["custom_mode"][i])
        out.append(Change(int(time_us[i]), "mode", float(mode), mode_name(v.autopilot, v.vehicle_type, mode)))
    v.armed, v.base_mode, v.custom_mode = bool(armed[-1]), int(last["base_mode"]), int(last["custom_mode"])
    return out


def _landed(v: Vehicle, states: NDArray[np.void], time_us: NDArray[np.int64]) -> list[Change]:
    landed = states["landed_state"]
    v.is_quadplane |= v.vehicle_type == 1 and bool((states["vtol_state"] > 0).any())
    out: list[Change] = []
    before = v.landed_state
    for i in transitions(landed, before):
        now = int(landed[i])
        if now == _ON_GROUND and before in (_IN_AIR, _TAKEOFF, _LANDING):
            out.append(Change(int(time_us[i]), "landed", float(now)))
        elif now in (_IN_AIR, _TAKEOFF) and before == _ON_GROUND:
            out.append(Change(int(time_us[i]), "takeoff", float(now)))
        before = now or before
    v.landed_state = before
    return out


def _home(v: Vehicle, homes: NDArray[np.void], time_us: NDArray[np.int64]) -> list[Change]:
    out: list[Change] = []
    for i in range(len(homes)):
        h = homes[i]
        home = (int(h["latitude"]) * 1e-7, int(h["longitude"]) * 1e-7, int(h["altitude"]) * 1e-3)
        if v.home is None or _has_moved(v.home, home):
            text = f"home at {home[0]:.7f}, {home[1]:.7f}, {home[2]:.2f} m"
            out.append(Change(int(time_us[i]), "home", home[2], text))
            v.home = home
    return out


def _has_moved(a: tuple[float, float, float], b: tuple[float, float, float]) -> bool:
    """Further than the estimator's own wander: about 2 m over ground or 5 m in height."""
    return abs(a[0] - b[0]) > 2e-5 or abs(a[1] - b[1]) > 2e-5 or abs(a[2] - b[2]) > 5


def _parameters(v: Vehicle, values: NDArray[np.void], time_us: NDArray[np.int64]) -> list[Change]:
    q_enable = values["param_value"][values["param_id"] == b"Q_ENABLE"]
    v.is_quadplane |= bool((q_enable > 0).any())
    return []


def _version(v: Vehicle, versions: NDArray[np.void], time_us: NDArray[np.int64]) -> list[Change]:
    number = int(versions["flight_sw_version"][-1])
    if not number:
        return []
    kind = {0: "dev", 64: "alpha", 128: "beta", 192: "rc", 255: ""}.get(number & 0xFF, f"+{number & 0xFF}")
    text = f"{number >> 24}.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}{'-' + kind if kind else ''}"
    return _learn_firmware(v, f"PX4 {text}" if v.autopilot == PX4 else text, int(time_us[-1]))


def _banner(v: Vehicle, texts: NDArray[np.void], time_us: NDArray[np.int64]) -> list[Change]:
    out: list[Change] = []
    for i, raw in enumerate(texts["text"].tolist()):
        match = _BANNER.search(raw.decode("utf-8", "replace"))
        if match:
            out += _learn_firmware(v, f"{match[1].replace('APM:', 'Ardu')} {match[2]}", int(time_us[i]))
    return out


def _learn_firmware(v: Vehicle, firmware: str, at_us: int) -> list[Change]:
    """The banner names the vehicle's kind besides the number, so a bare number never replaces it."""
    if firmware == v.firmware or (v.firmware[:1].isalpha() and not firmware[:1].isalpha()):
        return []
    v.firmware = firmware
    return [Change(at_us, "firmware", None, firmware)]


def _reboots(v: Vehicle, groups: list[MessageColumns], time_us: NDArray[np.int64]) -> list[Change]:
    """time_boot_ms falling back; what was said before a reboot holds no longer."""
    timed = [g for g in groups if g.msgid in TIMED]
    if not timed:
        return []
    rows = np.concatenate([g.rows for g in timed])
    boot_ms = np.concatenate([field(g, "time_boot_ms") for g in timed]).astype(np.int64)
    order = np.argsort(rows, kind="stable")
    rows, boot_ms = rows[order], boot_ms[order]
    before = np.concatenate([boot_ms[:1] if v.boot_ms is None else [v.boot_ms], boot_ms[:-1]])
    fell = (boot_ms < before - REBOOT_MS).nonzero()[0]
    fell = fell[boot_ms[fell] < before[fell] // 2 + REBOOT_MS]
    v.boot_ms = int(boot_ms[-1])
    v.boots += len(fell)
    return [Change(int(time_us[rows[i]]), "reboot", float(boot_ms[i]), "the autopilot has restarted") for i in fell]


_READERS: dict[int, Any] = {
    HEARTBEAT: _heartbeats,
    EXTENDED_SYS_STATE: _landed,
    HOME_POSITION: _home,
    STATUSTEXT: _banner,
    AUTOPILOT_VERSION: _version,
    PARAM_VALUE: _parameters,
}

"""What a MAVLink log (tlog, raw dump) says of its vehicle: found by HEARTBEAT among all who speak in it.

Every source whose HEARTBEAT could be an autopilot's is followed; which one is the vehicle is decided when the log, or
the boot, is read. One per boot of the recorder.
"""

from dataclasses import dataclass, field

import numpy as np

from firmware_bridge.boot_clock import TIMED
from firmware_bridge.columns import FrameColumns, columns_of, fields
from firmware_bridge.events import clean_text
from firmware_bridge.log_arming import Arming, Said
from firmware_bridge.log_clock import LogClock
from firmware_bridge.log_identity import Identity, ids_of_uid
from firmware_bridge.log_tables import Parameter, Portion, Text
from firmware_bridge.modes import ARDUPILOT, PX4
from firmware_bridge.vehicle import (
    AUTOPILOT_VERSION,
    HEARTBEAT,
    PARAM_VALUE,
    STATUSTEXT,
    TRACKED,
    VehicleTracker,
    find_vehicle,
)
from shared.frames import Frames

Address = tuple[int, int]
SYSTEM_TIME = 2
_READ = TRACKED | {SYSTEM_TIME}
_MAX_SOURCES = 32
_INT32 = 6  # MAV_PARAM_TYPE


@dataclass(slots=True)
class Follower:
    """One source that may be the vehicle, during one boot of the recorder.

    reboots: when it was last heard before each, and first after. boot_ms: first and last (time_us, time_boot_ms).
    """

    tracker: VehicleTracker
    clock: LogClock
    beats: int = 0
    arming: Arming = field(default_factory=Arming)
    reboots: list[tuple[int, int]] = field(default_factory=list)
    boot_ms: list[tuple[int, int]] = field(default_factory=list)
    heard_us: int | None = None

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """The vehicle is the follower of the highest (see vehicle.find_vehicle)."""
        v = self.tracker.vehicle
        return (v is not None and v.autopilot in (ARDUPILOT, PX4), v is not None and v.compid == 1, self.beats)

    def read(self, columns: FrameColumns) -> None:
        """The next portion of the log."""
        is_first = self.tracker.vehicle is None
        for change in self.tracker.update(columns):
            if change.kind == "reboot":
                self.reboots.append((self._last_before(columns, change.at_us), change.at_us))
            elif change.kind == "vehicle" and is_first:
                self.arming.tell("heartbeat", [Said(change.at_us, False, False)])
            elif change.kind in ("armed", "disarmed"):
                self._tell(Said(change.at_us, change.kind == "armed", True))
        for g in columns.groups:
            if (g.sysid, g.compid) == self.tracker.latched and len(g.rows):
                time_us = columns.time_us[g.rows]
                if g.msgid == HEARTBEAT:
                    self.beats += len(g.rows)
                elif g.msgid == SYSTEM_TIME:
                    self.clock.add(time_us, fields(g)["time_unix_usec"].astype(np.int64))
                if g.msgid in TIMED:
                    ms = fields(g)["time_boot_ms"]
                    self.boot_ms += [(int(time_us[0]), int(ms[0])), (int(time_us[-1]), int(ms[-1]))]
        self.boot_ms = self.boot_ms[:2] + self.boot_ms[2:][-2:]
        if columns.n:
            self.heard_us = int(columns.time_us[-1])

    def _last_before(self, columns: FrameColumns, at_us: int) -> int:
        earlier = columns.time_us[columns.time_us < at_us]
        return int(earlier.max()) if len(earlier) else self.heard_us or at_us

    def _tell(self, said: Said) -> None:
        """A first HEARTBEAT that says armed is a state that began before the log, not an event."""
        known = self.arming.by.get("heartbeat", [])
        if said.armed and len(known) == 1 and not known[0].armed and known[0].time_us == said.time_us:
            known[0] = Said(said.time_us, True, False)
        else:
            self.arming.tell("heartbeat", [said])


@dataclass(slots=True)
class MavlinkBoot:
    """The sources heard in one boot of the recorder. latest_us: see LogClock."""

    latest_us: int
    followers: dict[Address, Follower] = field(default_factory=dict)

    def read(self, frames: Frames) -> FrameColumns:
        """The next portion; its tracked messages as columns."""
        columns = columns_of(frames, only=_READ)
        self._meet(columns)
        for follower in self.followers.values():
            follower.read(columns)
        return columns

    def _meet(self, columns: FrameColumns) -> None:
        """New sources with an autopilot's HEARTBEAT."""
        sources = {(g.sysid, g.compid) for g in columns.groups if g.msgid == HEARTBEAT}
        for source in sorted(sources - set(self.followers))[: _MAX_SOURCES - len(self.followers)]:
            mine = [g for g in columns.groups if (g.sysid, g.compid) == source]
            if find_vehicle(FrameColumns(columns.n, columns.time_us, mine)):
                self.followers[source] = Follower(VehicleTracker(source), LogClock(self.latest_us))


def chosen(boots: list[MavlinkBoot]) -> Address | None:
    """The vehicle's address over all boots of a log; None when no autopilot was heard."""
    best: dict[Address, tuple[bool, bool, int]] = {}
    for boot in boots:
        for source, follower in boot.followers.items():
            known, first, beats = follower.rank
            before = best.get(source, (False, False, 0))
            best[source] = (known or before[0], first, beats + before[2])
    return max(best, key=lambda s: best[s]) if best else None


def learn(identity: Identity, columns: FrameColumns, is_px4: bool = False) -> None:
    """What one source (the columns' only one) says of itself by texts, parameters and AUTOPILOT_VERSION.

    is_px4: it sends whole numbers as the bits of the float field.
    """
    portion = Portion()
    for g in columns.groups:
        if g.msgid == STATUSTEXT:
            portion.texts += [Text(0, 6, clean_text(raw)) for raw in fields(g)["text"].tolist()]
        elif g.msgid == PARAM_VALUE:
            rows = fields(g)
            values = rows["param_value"].astype(np.float64)
            if is_px4:
                bits = np.ascontiguousarray(rows["param_value"]).view("<i4")
                values = np.where(rows["param_type"] == _INT32, bits, values)
            portion.parameters += [
                Parameter(name.decode("latin-1"), value)
                for name, value in zip(rows["param_id"].tolist(), values.tolist(), strict=True)
            ]
        elif g.msgid == AUTOPILOT_VERSION and len(g.rows):
            last = fields(g)[-1]
            identity.add_ids(ids_of_uid(int(last["uid"]), np.asarray(last["uid2"], np.uint8).tobytes()))
    identity.read(portion)

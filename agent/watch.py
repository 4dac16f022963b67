"""What the frames say that recording depends on: arming, mode, reboot, GPS time; and where it was said. Pure."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from agent.session import Identity
from firmware_bridge.columns import columns_of, fields
from firmware_bridge.vehicle import TRACKED, VehicleTracker
from shared.frames import Frames

SYSTEM_TIME = 2
_READ = TRACKED | {SYSTEM_TIME}
Kind = Literal["armed", "disarmed", "mode", "reboot"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something changed, received at time_us. index: a batch that begins with the change begins at this frame.

    For "disarmed" it is the frame after: the telling frame still belongs to the flight.
    """

    index: int
    time_us: int
    kind: Kind


@dataclass(slots=True)
class Watch:
    """Follows the latched vehicle."""

    tracker: VehicleTracker = field(default_factory=VehicleTracker)
    heard_us: int | None = None

    @property
    def vehicle(self) -> Identity | None:
        """What the vehicle is; None before its first HEARTBEAT."""
        v = self.tracker.vehicle
        return None if v is None else Identity(v.sysid, v.compid, v.autopilot, v.vehicle_type, v.firmware)

    @property
    def is_armed(self) -> bool:
        return self.tracker.vehicle is not None and bool(self.tracker.vehicle.armed)

    @property
    def is_disarmed(self) -> bool:
        """Whether the vehicle said so; False as long as it has said nothing."""
        return self.tracker.vehicle is not None and self.tracker.vehicle.armed is False

    @property
    def mode(self) -> str:
        return self.tracker.vehicle.mode if self.tracker.vehicle else ""

    def update(self, frames: Frames) -> tuple[list[Sighting], list[tuple[int, int]]]:
        """(sightings in order, SYSTEM_TIME samples of the vehicle as (received us, UTC us))."""
        if not len(frames):
            return [], []
        columns = columns_of(frames, only=_READ)
        changes = self.tracker.update(columns)
        v = self.tracker.vehicle
        if v is None:
            return [], []
        mine = [g for g in columns.groups if (g.sysid, g.compid) == (v.sysid, v.compid)]
        if mine:
            self.heard_us = int(frames.time_us[max(int(g.rows[-1]) for g in mine)])
        samples = [
            (at, utc)
            for g in mine
            if g.msgid == SYSTEM_TIME
            for at, utc in zip(frames.time_us[g.rows].tolist(), fields(g)["time_unix_usec"].tolist(), strict=True)
        ]
        sightings = [
            Sighting(_index(frames, c.at_us, c.kind), c.at_us, c.kind)
            for c in changes
            if c.kind in ("armed", "disarmed", "mode", "reboot")
        ]
        return sorted(sightings, key=lambda s: s.index), samples


def _index(frames: Frames, at_us: int, kind: str) -> int:
    """The first frame received at at_us; for "disarmed" the first one after those."""
    at = np.flatnonzero(frames.time_us == at_us)
    return int(at[0]) if kind != "disarmed" else int(at[-1]) + 1

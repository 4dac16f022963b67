"""The one pass over a log's portions from which its survey is made: boots, clocks, arming, identity, counts, damage."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.columns import FrameColumns
from firmware_bridge.log_arming import Arming, Cycle
from firmware_bridge.log_clock import EARLIEST_US, LogClock, latest_us
from firmware_bridge.log_identity import Identity
from firmware_bridge.log_mavlink import Address, Follower, MavlinkBoot, chosen, learn
from firmware_bridge.log_moments import computer_moments, gps_moments, is_week_clock
from firmware_bridge.log_rows import History
from firmware_bridge.log_span import HOLE_US, Kind, Span
from firmware_bridge.log_tables import Damage, LogFormat, Portion
from firmware_bridge.modes import PX4
from shared.clock import UNKNOWN, ClockSource, TimeMapping

MAX_BOOTS = 1_000
MAX_DAMAGE = 10_000
"""Spans of damage that are listed; the last entry stands for all others."""
_MAX_TYPES = 10_000
_SPEED_RANGE = (0.8, 1.25)
"""Vehicle seconds per log second that are still a clock's own error and jitter."""


@dataclass(slots=True)
class BootReading:
    """One boot so far; the fields from `first_us` on are filled in at the end. begun_us: when a ULog says it began."""

    start: int
    latest_us: int
    end: int = 0
    span: Span = field(default_factory=Span)
    history: History = field(default_factory=History)
    arming: Arming = field(default_factory=Arming)
    mavlink: MavlinkBoot = field(init=False)
    gps: LogClock = field(init=False)
    computer: LogClock = field(init=False)
    begun_us: int = 0
    is_week_clock: bool = False
    first_us: int = 0
    last_us: int = 0
    mapping: TimeMapping = UNKNOWN
    boot_us: int | None = None
    speed: float = 1.0
    holes_us: int = 0
    cycles: list[Cycle] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mavlink = MavlinkBoot(self.latest_us)
        self.gps, self.computer = LogClock(self.latest_us), LogClock(self.latest_us)

    @property
    def duration_us(self) -> int:
        """Length without holes."""
        return max(self.last_us - self.first_us - self.holes_us, 0)


class LogReading:
    """See the module. boots, identity, compid are complete after `finish`."""

    def __init__(self, log_format: LogFormat) -> None:
        self.format = log_format
        self.boots: list[BootReading] = []
        self.messages: dict[str, int] = {}
        self.damage: list[Damage] = []
        self.texts = 0
        self.compid = 0
        self.identity = Identity(log_format)
        self._latest_us = latest_us()
        self._identities: dict[Address, Identity] = {}
        self._more_damage = 0

    def read(self, portion: Portion) -> None:
        """The next portion."""
        boot = self._boot(portion)
        for name, count in portion.counts.items():
            if name in self.messages or len(self.messages) < _MAX_TYPES:
                self.messages[name] = self.messages.get(name, 0) + count
        self._lose(portion.damage)
        self.texts += len(portion.texts)
        with np.errstate(all="ignore"):
            if self.format in ("tlog", "raw"):
                self._read_frames(boot, portion)
            else:
                self._read_tables(boot, portion)

    def finish(self, size_bytes: int, torn: str) -> None:
        """The log has ended after size_bytes; torn: why its packing ended too soon."""
        if self._more_damage:
            last = self.damage[-1]
            self.damage[-1] = replace(last, reason="more", detail=f"and {self._more_damage} further places")
        if torn:
            self.damage.append(Damage(size_bytes, 0, "packing", torn))
        if self.format in ("tlog", "raw"):
            self._settle_mavlink()
        else:
            self.identity.settle()
            for boot in self.boots:
                self._settle_tables(boot)
        self.boots = [b for b in self.boots if b.last_us > b.first_us or b.cycles] or self.boots[:1]

    def _boot(self, portion: Portion) -> BootReading:
        if not self.boots or (portion.is_new_boot and len(self.boots) < MAX_BOOTS):
            self.boots.append(BootReading(portion.start, self._latest_us))
        self.boots[-1].end = portion.end
        return self.boots[-1]

    def _lose(self, damage: list[Damage]) -> None:
        for d in damage:
            last = self.damage[-1] if self.damage else None
            if last and d.size and (last.offset + last.size, last.reason) == (d.offset, d.reason):
                self.damage[-1] = replace(last, size=last.size + d.size)  # it goes on over a portion's border
            elif len(self.damage) < MAX_DAMAGE:
                self.damage.append(d)
            else:
                last = self.damage[-1]
                self.damage[-1] = replace(last, size=max(d.offset + d.size - last.offset, last.size))
                self._more_damage += 1

    def _read_tables(self, boot: BootReading, portion: Portion) -> None:
        boot.history.take(portion)
        boot.span.add(((t.name, t.instance), t.time_us) for t in portion.tables)
        boot.gps.add(*gps_moments(self.format, boot.history))
        boot.is_week_clock |= self.format != "ulog" and is_week_clock(boot.history)
        boot.computer.add(*computer_moments(boot.history))
        boot.arming.read(self.format, boot.history, portion.texts)
        self.identity.read(portion)
        begun = portion.info.get("start_timestamp")
        boot.begun_us = begun if isinstance(begun, int) else boot.begun_us
        if self.format == "ulog" and not self.identity.vehicle_type:
            self.identity.vehicle_type = _px4_type(boot.history)

    def _settle_tables(self, boot: BootReading) -> None:
        boot.first_us, boot.last_us = boot.span.bounds()
        boot.holes_us = boot.span.holes_us
        if boot.first_us < boot.begun_us <= boot.last_us:
            boot.first_us = boot.begun_us
        boot.mapping = boot.gps.mapping()
        is_since_boot = boot.first_us < EARLIEST_US and not boot.is_week_clock
        if boot.mapping.source == ClockSource.unknown:
            by_computer = boot.computer.mapping()
            if by_computer.source != ClockSource.unknown:
                boot.mapping = replace(by_computer, source=ClockSource.log)
            elif boot.first_us >= EARLIEST_US:  # a simulator that stamps with its computer's wall clock
                boot.mapping = boot.gps.stamped(boot.first_us, boot.last_us)
        boot.boot_us = boot.first_us if is_since_boot and boot.last_us > boot.first_us else None
        boot.cycles = boot.arming.cycles(boot.first_us, boot.last_us)

    def _read_frames(self, boot: BootReading, portion: Portion) -> None:
        if portion.frames is None or not len(portion.frames):
            return
        columns = boot.mavlink.read(portion.frames)
        boot.span.add(_times(columns))
        for source in boot.mavlink.followers:
            mine = [g for g in columns.groups if (g.sysid, g.compid) == source]
            identity = self._identities.setdefault(source, Identity(self.format))
            vehicle = boot.mavlink.followers[source].tracker.vehicle
            is_px4 = vehicle is not None and vehicle.autopilot == PX4
            learn(identity, FrameColumns(columns.n, columns.time_us, mine), is_px4)

    def _settle_mavlink(self) -> None:
        source = chosen([b.mavlink for b in self.boots])
        if source is not None:
            self.identity = self._identities.get(source, self.identity)
            self.identity.sysid, self.compid = source
        settled: list[BootReading] = []
        for boot in self.boots:
            follower = boot.mavlink.followers.get(source) if source else None
            settled += self._settle_stamped(boot, follower)
            if follower is not None and follower.tracker.vehicle is not None:
                v = follower.tracker.vehicle
                self.identity.autopilot, self.identity.vehicle_type = v.autopilot, v.vehicle_type or 0
                self.identity.is_quadplane |= v.is_quadplane
                if v.firmware and not self.identity.version:
                    self.identity.version = v.firmware.split()[-1]
        self.identity.settle()
        self.boots = settled

    def _settle_stamped(self, boot: BootReading, follower: Follower | None) -> list[BootReading]:
        """The boots of the vehicle within one of the recorder."""
        boot.first_us, boot.last_us = boot.span.bounds()
        clock = follower.clock if follower else boot.gps
        mapping = clock.stamped(boot.first_us, boot.last_us) if self.format == "tlog" else clock.mapping()
        reboots = [r for r in (follower.reboots if follower else []) if boot.first_us < r[1] <= boot.last_us]
        reboots = reboots[:MAX_BOOTS]
        starts = [boot.first_us, *(at for _, at in reboots)]
        ends = [*(max(before, start) for (before, _), start in zip(reboots, starts, strict=False)), boot.last_us]
        between = sum(gap for a, b in zip(ends, starts[1:], strict=False) if (gap := b - a) > HOLE_US)
        out = []
        for i, (first, last) in enumerate(zip(starts, ends, strict=True)):
            part = BootReading(boot.start, boot.latest_us, boot.end)
            part.first_us, part.last_us, part.mapping = first, last, mapping
            part.holes_us = max(boot.span.holes_us - between, 0) if i == 0 else 0
            if follower is not None:
                part.boot_us, part.speed = _since_boot(follower, first) if not reboots else (None, 1.0)
                cycles = follower.arming.cycles(boot.first_us, boot.last_us)
                part.cycles = _within(cycles, first, last, is_rebooted=i < len(reboots))
            out.append(part)
        return out


def _times(columns: FrameColumns) -> Iterator[tuple[Kind, NDArray[np.int64]]]:
    """All frames as one kind: a recorder's stamps run on whatever comes."""
    yield ("", 0), columns.time_us


def _since_boot(follower: Follower, first_us: int) -> tuple[int | None, float]:
    """(vehicle's time since boot at first_us, vehicle seconds per log second)."""
    if len(follower.boot_ms) < 2:
        return None, 1.0
    (t0, ms0), (t1, ms1) = follower.boot_ms[0], follower.boot_ms[-1]
    speed = (ms1 - ms0) * 1000 / (t1 - t0) if t1 - t0 > 1_000_000 else 1.0
    speed = speed if not _SPEED_RANGE[0] < speed < _SPEED_RANGE[1] and speed > 0 else 1.0
    return max(round(ms0 * 1000 - (t0 - first_us) * speed), 0), speed


def _within(cycles: list[Cycle], first_us: int, last_us: int, is_rebooted: bool) -> list[Cycle]:
    """The flights that begin in a boot; one that a reboot ends has no disarming."""
    out = []
    for c in cycles:
        if first_us <= c.start_us < last_us:
            is_cut = is_rebooted and c.end_us >= last_us
            why = ", ".join(filter(None, (c.why, "ends with a reboot" if is_cut else "")))
            out.append(Cycle(c.start_us, min(c.end_us, last_us), why))
    return out


def _px4_type(history: History) -> int:
    """MAV_TYPE by vehicle_status; where that is 0, whether it is a rotary wing, a fixed wing or a VTOL."""
    for key, timed in history.current.items():
        if key[0] == "vehicle_status" and len(timed.time_us):
            last = timed.table.rows[-1]
            names = last.dtype.names
            told = int(last["system_type"]) if "system_type" in names else 0
            kind = int(last["vehicle_type"]) if "vehicle_type" in names else 0
            is_vtol = "is_vtol" in names and bool(last["is_vtol"])
            return told or (22 if is_vtol else {1: 2, 2: 1}.get(kind, 0))
    return 0

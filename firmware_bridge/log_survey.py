"""What a log is, found in one pass: format, firmware, vehicle, hardware, time, boots, sessions, counts, damage."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from firmware_bridge.log_reading import BootReading, LogReading
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_tables import Damage, LogFormat
from shared.clock import TimeMapping

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class LogBoot:
    """One power-up of the autopilot (or one appended session of a ULog) within a log.

    start, end: its bytes in the unpacked log. first_us, last_us: span of flight data on the log's own clock. clock: the
    mapping of that clock to UTC (source gps, log (a recorder's stamps), unknown). boot_us: time since the autopilot's
    boot at `first_us`, None when the log does not say; with it a log is laid over a live stream of the same boot.
    speed: seconds of the vehicle per second of the log (not 1 where a simulator ran fast under a wall clock).
    holes_us: of the span, without a message for minutes.
    """

    start: int
    end: int
    first_us: int
    last_us: int
    clock: TimeMapping
    boot_us: int | None = None
    speed: float = 1.0
    holes_us: int = 0


@dataclass(frozen=True, slots=True)
class LogSession:
    """Armed to disarmed, on the log's own clock. inferred: the log does not say so; `why` tells (it starts armed, ends
    armed, knows no arming at all)."""

    boot: int
    start_us: int
    end_us: int
    inferred: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """See the module. sha256: of the unpacked log. firmware: "ArduCopter", "PX4", "" unknown. autopilot, vehicle_type:
    MAV_AUTOPILOT, MAV_TYPE (0 unknown). vehicle: class name of `modes.vehicle_class`. messages: counts by type name.
    parameters: last value of each. compid: the vehicle's address in a MAVLink log is (sysid, compid). frame: as the
    firmware words it ("QUAD/X"). seconds: length of all boots without their holes."""

    format: LogFormat
    size_bytes: int
    sha256: bytes
    firmware: str = ""
    version: str = ""
    autopilot: int = 0
    vehicle_type: int = 0
    vehicle: str = ""
    vehicle_name: str = ""
    sysid: int = 0
    hardware_ids: tuple[str, ...] = ()
    boots: tuple[LogBoot, ...] = ()
    sessions: tuple[LogSession, ...] = ()
    messages: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, float] = field(default_factory=dict)
    damage: tuple[Damage, ...] = ()
    texts: int = 0
    compid: int = 0
    frame: str = ""
    seconds: float = 0.0


def survey(source: LogSource, progress: Progress | None = None) -> Survey:
    """All of it in one pass over the log. progress: called with the unpacked bytes read so far.

    Nothing that a log holds raises; Refused (log_too_large) and OSError as from LogSource.pieces.
    """
    reading = LogReading(source.format)
    digest, size = hashlib.sha256(), 0
    reader = source.reader()
    for piece in source.pieces():
        digest.update(piece)
        size += len(piece)
        for portion in reader.feed(piece):
            reading.read(portion)
        if progress is not None:
            progress(size)
    for portion in reader.finish():
        reading.read(portion)
    reading.finish(size, source.torn)
    return _survey(reading, size, digest.digest())


def _survey(r: LogReading, size_bytes: int, sha256: bytes) -> Survey:
    boots = tuple(_boot(b) for b in r.boots)
    sessions = tuple(
        LogSession(i, c.start_us, c.end_us, c.why != "", c.why) for i, b in enumerate(r.boots) for c in b.cycles
    )
    who = r.identity
    return Survey(
        r.format, size_bytes, sha256, who.firmware, who.version, who.autopilot, who.vehicle_type, who.vehicle, "",
        who.sysid, who.hardware_ids, boots, sessions, r.messages, who.parameters, tuple(r.damage), r.texts, r.compid,
        who.frame, sum(b.duration_us for b in r.boots) / 1e6,
    )  # fmt: skip


def _boot(b: BootReading) -> LogBoot:
    return LogBoot(b.start, b.end, b.first_us, b.last_us, b.mapping, b.boot_us, b.speed, b.holes_us)

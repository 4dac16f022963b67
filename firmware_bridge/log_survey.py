"""What a log is, found in one pass: format, firmware, vehicle, hardware, time, boots, sessions, counts, damage."""

from dataclasses import dataclass, field

from firmware_bridge.log_tables import Damage, LogFormat
from shared.clock import TimeMapping


@dataclass(frozen=True, slots=True)
class LogBoot:
    """One power-up of the autopilot (or one appended session of a ULog) within a log.

    start, end: its bytes in the unpacked log. first_us, last_us: span of flight data on the log's own clock. clock: the
    mapping of that clock to UTC (source gps, log (a recorder's stamps), unknown). boot_us: time since the autopilot's
    boot at `first_us`, None when the log does not say; with it a log is laid over a live stream of the same boot.
    """

    start: int
    end: int
    first_us: int
    last_us: int
    clock: TimeMapping
    boot_us: int | None = None


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
    parameters: last value of each."""

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

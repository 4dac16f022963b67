"""A recording that the demo plays: a telemetry log or ULog as the tlog that the agent's file link reads, and the proof
that what comes back from the hub is the same.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from firmware_bridge.logs import read_log
from firmware_bridge.tlog import read_tlog, write_tlog
from shared.frames import Frames


@dataclass(frozen=True, slots=True)
class DemoLog:
    """name: as given. path: what the agent plays. frames: what it holds. stamped: whether its times are UTC."""

    name: str
    path: Path
    frames: Frames
    stamped: bool
    bad_crc: int
    junk_bytes: int

    @property
    def raw_bytes(self) -> int:
        """Bytes of MAVLink."""
        return len(self.frames.data)

    @property
    def duration_s(self) -> float:
        times = self.frames.time_us
        return float(times[-1] - times[0]) / 1e6 if len(times) else 0.0


def open_demo_log(path: Path, work: Path) -> DemoLog:
    """Read a log; a ULog is first turned into the MAVLink that PX4's own streams send, as a tlog in `work`.

    Refused or OSError when it cannot be read; Refused("log_empty") when it holds no frame.
    """
    found = read_log(path)
    played = path
    if found.kind == "ulog":
        work.mkdir(parents=True, exist_ok=True)
        played = work / f"{path.name}.tlog"
        played.write_bytes(write_tlog(found.frames))
    is_stamped = found.kind != "raw"
    return DemoLog(path.name, played.resolve(), found.frames, is_stamped, found.bad_crc, found.junk_bytes)


def is_identical(log: DemoLog, exported: bytes) -> bool:
    """Whether the tlog from the hub holds exactly the log's frames with their times.

    Times of a log without stamps (a raw dump) are the vehicle's own: there every step between frames must agree.
    """
    if log.stamped:
        return exported == write_tlog(log.frames)
    back = read_tlog(exported).frames
    return back.data == log.frames.data and np.array_equal(np.diff(back.time_us), np.diff(log.frames.time_us))


def craft_name(log: DemoLog) -> str:
    """The name of the aircraft that flies a log: the file's, without what says how it is written."""
    return re.sub(r"(\.(tlog|raw|ulg|zst|gz))+$", "", log.name, flags=re.IGNORECASE)[:100]

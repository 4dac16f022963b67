"""Any recording that plays as MAVLink, told by its content: `.tlog`, raw dumps, PX4 ULog; plain, zstd or gzip."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from firmware_bridge.tlog import open_log, read_tlog
from firmware_bridge.ulog_scan import MAGIC
from shared.errors import Refused
from shared.frames import Frames

Kind = Literal["tlog", "raw", "ulog"]
_EARLIEST_UTC_US = 946_684_800_000_000
_DATAFLASH = b"\xa3\x95\x80"


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """frames: with time_us in UTC when is_utc, else since boot. source_bytes: the log's size, unpacked.

    junk_bytes, bad_crc: see TlogFile; both 0 for a ULog. segments: index of the first frame of each (a recorder or
    vehicle that started anew; times may run backwards there).
    """

    frames: Frames
    kind: Kind
    is_utc: bool
    source_bytes: int
    junk_bytes: int = 0
    bad_crc: int = 0
    segments: tuple[int, ...] = (0,)


def read_log(path: str | Path) -> Recording:
    """The recording in a file; OSError when it cannot be read.

    Refused: log_format (not a log that plays as MAVLink), log_empty, log_damaged, log_too_large.
    """
    return read_recording(open_log(path))


def read_recording(data: bytes) -> Recording:
    """The same for unpacked bytes."""
    if data.startswith(MAGIC):
        return _ulog(data)
    if data.startswith(_DATAFLASH) or data[:2048].lstrip().startswith(b"FMT,"):
        raise Refused("log_format", "a DataFlash log holds no MAVLink; give a .tlog, a raw MAVLink dump or a PX4 .ulg")
    log = read_tlog(data)
    if not len(log.frames):
        raise Refused("log_empty", "no MAVLink frame found")
    is_utc = log.stamped and int(log.frames.time_us.max()) > _EARLIEST_UTC_US
    kind: Kind = "tlog" if log.stamped else "raw"
    return Recording(log.frames, kind, is_utc, len(data), log.junk_bytes, log.bad_crc, log.segments)


def _ulog(data: bytes) -> Recording:
    from firmware_bridge.ulog_player import play_ulog

    flight = play_ulog(data)
    if not len(flight.frames):
        raise Refused("log_empty", "nothing in it to send")
    return Recording(flight.frames, "ulog", flight.is_utc, len(data))

"""What a recorded log is, told by its bytes alone: names lie, first bytes are lost, text stands before the log."""

import re
from itertools import pairwise

from firmware_bridge.framing import STX, frame_end
from firmware_bridge.log_tables import LogFormat

_ULOG_MAGIC = b"ULog\x01\x12\x35"
_ULOG_DEFINITION = re.compile(rb"F[a-z][a-z0-9_]{2,40}:[a-z0-9_\[\]; ]*?uint64_t timestamp;")
_FMT_RECORD = re.compile(rb"\xa3\x95\x80[\x00-\xff][\x03-\xff][A-Z][A-Z0-9]{1,3}\x00{0,2}(?=[a-zA-Z])")
_FMT_LINE = re.compile(rb"^[ \t]*FMT, *\d{1,3}, *\d{1,3}, *[A-Z][A-Z0-9]{0,3},", re.M)
_TEXT_LINE = re.compile(rb"^[A-Z][A-Z0-9]{1,3}, ?-?[\w.].*\r?$", re.M)
_STAMP_BYTES = 8
_FEWEST = {"records": 20, "lines": 5, "frames": 2}
"""What chance does not make in a window: DataFlash headers, text lines, MAVLink frames with a right CRC."""
_LATEST_US = 4_102_444_800_000_000


def sniff(window: bytes) -> LogFormat | None:
    """The format of the log that `window` (its first bytes, or any 64 KiB of it) was cut from; None: no sign of one."""
    if window.startswith(b"\xa3\x95") and _FMT_RECORD.match(window):
        return "dataflash"
    if window.startswith(_ULOG_MAGIC):
        return "ulog"
    frames = _frames(window)
    inside = sum(end - at for at, end in frames)
    is_mavlink = len(frames) >= _FEWEST["frames"] or (frames != [] and inside * 2 > len(window))
    if is_mavlink and inside * 3 > len(window):  # most of it: whatever else lies in their payloads
        return _stamped(window, frames)
    found = _other(window)
    if found is None and is_mavlink:
        return _stamped(window, frames)
    return found


def _other(window: bytes) -> LogFormat | None:
    if _FMT_RECORD.search(window):
        return "dataflash"
    if _ULOG_MAGIC in window or _ULOG_DEFINITION.search(window):
        return "ulog"
    if _FMT_LINE.search(window):
        return "dataflash-text"
    if window.count(b"\xa3\x95") >= _FEWEST["records"]:
        return "dataflash"
    lines = _TEXT_LINE.findall(window)
    if len(lines) >= _FEWEST["lines"] and sum(map(len, lines)) * 2 > len(window):
        return "dataflash-text"
    return None


def _frames(window: bytes) -> list[tuple[int, int]]:
    """(start, end) of frames with a right CRC, one behind the other."""
    out: list[tuple[int, int]] = []
    found = STX.search(window)
    while found:
        at = found.start()
        end = frame_end(window, at)
        if end > 0:
            out.append((at, end))
        found = STX.search(window, end if end > 0 else at + 1)
    return out


def _stamped(window: bytes, frames: list[tuple[int, int]]) -> LogFormat:
    """Whether a stamp stands before each frame, by the room between them; a single frame by the 8 bytes before it."""
    gaps = [b[0] - a[1] for a, b in pairwise(frames)]
    side_by_side, stamped = gaps.count(0), gaps.count(_STAMP_BYTES)
    if side_by_side != stamped:
        return "raw" if side_by_side > stamped else "tlog"
    at = frames[0][0]
    stamp = int.from_bytes(window[max(at - _STAMP_BYTES, 0) : at], "big") if at >= _STAMP_BYTES else _LATEST_US
    return "tlog" if stamp < _LATEST_US else "raw"

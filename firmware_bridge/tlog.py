"""Telemetry logs: `.tlog` (an 8-byte stamp before each frame) and raw byte dumps, read and written again byte for byte.

Alignment is never trusted: after damage, a missing start, or the zeros that some recorders leave between segments, the
next frame is found by magic and CRC, and the 8 bytes before it are its stamp. A raw dump has no stamps; its frames get
times from the vehicle's own clock (`boot_clock`).
"""

import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from firmware_bridge.boot_clock import boot_clock
from firmware_bridge.framing import Scanner, cut
from firmware_bridge.tlog_scan import StampedScanner
from firmware_bridge.tlog_stamps import BACKWARDS_US, SEGMENT_GAP, STAMP_BYTES, hold, own_stamps, read_stamps
from shared.errors import Refused
from shared.frames import Frames, join

MAX_LOG_BYTES = 4 << 30
"""Logs larger than this, unpacked, are refused (`log_too_large`)."""
MAX_RATIO, UNPACKED_FLOOR = 100, 64 << 20
"""No recording packs better than this: what does is made to fill our memory. Small files may, up to the floor."""
_SNIFF_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class TlogFile:
    """What a telemetry log holds.

    frames: with their stamps as time_us (us since 1970 for a tlog; us since the first boot seen for a raw dump).
    junk_bytes: bytes that are neither frame nor stamp, damaged frames included. bad_crc: damaged frames.
    segments: index of the first frame of each segment (a recorder's restart: 12 zero bytes, or the clock running back).
    stamped: False for a raw dump. swapped: the stamps were little-endian (QGroundControl of 2012).
    unstamped: frames without a stamp of their own; they have the stamp of the frame before.
    """

    frames: Frames
    junk_bytes: int
    bad_crc: int
    segments: tuple[int, ...]
    stamped: bool = True
    swapped: bool = False
    unstamped: int = 0


def open_log(path: str | Path, max_bytes: int = MAX_LOG_BYTES) -> bytes:
    """The bytes of a log, unpacked when it is zstd or gzip (told by content, not by name).

    Refused: log_too_large, log_damaged (the packing is). OSError when it cannot be read.
    """
    data = Path(path).read_bytes()
    max_bytes = min(max_bytes, UNPACKED_FLOOR + MAX_RATIO * len(data))
    try:
        if data[:4] == b"\x28\xb5\x2f\xfd":
            data = _unzstd(data, max_bytes + 1)
        elif data[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as unpacked:
                data = unpacked.read(max_bytes + 1)
    except (zstandard.ZstdError, EOFError, OSError) as e:
        raise Refused("log_damaged", f"{path}: {e}") from None
    if len(data) > max_bytes:
        raise Refused("log_too_large", f"{path}: more than {max_bytes} bytes")
    return data


def _unzstd(data: bytes, limit: int) -> bytes:
    unpacked = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read(limit)
    declared = zstandard.get_frame_parameters(data).content_size  # a stream of unknown size says -1: then a torn end is
    if declared != zstandard.CONTENTSIZE_UNKNOWN and len(unpacked) < min(declared, limit):  # not told from a whole one
        raise EOFError("the packed file is cut short")
    return unpacked


def read_tlog(data: bytes) -> TlogFile:
    """All frames of a tlog or raw dump, whatever lies between them. Never raises: no frames is a valid answer."""
    if is_raw(data):
        return _read_raw(data)
    found = StampedScanner().find(data, final=True)
    heads, tails, own = found.starts, found.ends, found.has_stamp
    stamps, swapped = read_stamps(data, heads, own)
    own = own_stamps(stamps, own, heads, np.append(-1, tails[:-1]))
    times = hold(stamps, own)
    frames = cut(data, heads, tails, times)
    unstamped = int((~own).sum())
    junk = len(data) - len(frames.data) - STAMP_BYTES * (len(frames) - unstamped)
    segments = _segments(data, heads, tails, times)
    return TlogFile(frames, junk, len(found.damaged), segments, True, swapped, unstamped)


def write_tlog(frames: Frames, offset_us: int = 0) -> bytes:
    """Frames as a tlog: 8-byte big-endian stamp (time_us + offset_us, us since 1970) and frame, one after the other."""
    n = len(frames)
    out = np.empty(len(frames.data) + STAMP_BYTES * n, np.uint8)
    at = frames.offsets[:-1] + STAMP_BYTES * np.arange(n)
    is_stamp = np.zeros(len(out), bool)
    is_stamp[(at[:, None] + np.arange(STAMP_BYTES)).ravel()] = True
    out[is_stamp] = (frames.time_us + offset_us).astype(">i8").view(np.uint8)
    out[~is_stamp] = np.frombuffer(frames.data, np.uint8)
    return out.tobytes()


def is_raw(data: bytes) -> bool:
    """Whether most frames at the start follow each other without room for a stamp."""
    has_stamp = StampedScanner().find(data[:_SNIFF_BYTES], final=True).has_stamp
    return int((~has_stamp).sum()) * 2 > len(has_stamp)


def _segments(
    data: bytes, heads: NDArray[np.int64], tails: NDArray[np.int64], times: NDArray[np.int64]
) -> tuple[int, ...]:
    """Indexes where a recorder started anew."""
    if len(heads) == 0:
        return ()
    wide = np.flatnonzero(heads[1:] - STAMP_BYTES - tails[:-1] >= len(SEGMENT_GAP)) + 1
    zeros = [i for i in wide.tolist() if data.startswith(SEGMENT_GAP, int(tails[i - 1]))]
    back = (np.flatnonzero(np.diff(times) < -BACKWARDS_US) + 1).tolist()
    return tuple(sorted({0, *zeros, *back}))


def _read_raw(data: bytes) -> TlogFile:
    scanner = Scanner()
    frames = join([scanner.feed(data, 0), scanner.finish()])
    times, resets = boot_clock(frames)
    frames = Frames(frames.data, frames.offsets, times)
    return TlogFile(frames, scanner.junk_bytes, scanner.bad_crc, resets, stamped=False)

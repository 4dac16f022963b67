"""Telemetry logs: `.tlog` (an 8-byte stamp before each frame) and raw byte dumps, read and written again byte for byte.

Alignment is never trusted: after damage, a missing start, or the zeros that some recorders leave between segments, the
next frame is found by magic and CRC, and the 8 bytes before it are its stamp. A raw dump has no stamps; its frames get
times from the vehicle's own clock (`boot_clock`).
"""

import gzip
import io
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from firmware_bridge.boot_clock import boot_clock
from firmware_bridge.framing import BAD, MORE, NONE, STX, Scanner, claimed_end, cut, frame_end, vouched
from shared.errors import Refused
from shared.frames import Frames, join

STAMP_BYTES = 8
MAX_LOG_BYTES = 4 << 30
"""Logs larger than this, unpacked, are refused (`log_too_large`)."""
MAX_RATIO, UNPACKED_FLOOR = 100, 64 << 20
"""No recording packs better than this: what does is made to fill our memory. Small files may, up to the floor."""
_SNIFF_BYTES = 1 << 16
_LATEST_US = 4_102_444_800_000_000
"""2100-01-01 UTC: no stamp is later."""
_SEGMENT_GAP = bytes(12)
_BACKWARDS_US = 1_000_000


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
    starts, ends, stamp_at, bad_crc, junk = _scan(data)
    heads, tails = np.frombuffer(starts, np.int64), np.frombuffer(ends, np.int64)
    own = np.frombuffer(stamp_at, np.int64) >= 0
    stamps, swapped = _stamps(data, heads, own)
    hunted = own.copy()
    hunted[1:] &= heads[1:] - STAMP_BYTES != tails[:-1]
    forged = hunted & ~_plausible(stamps)  # found behind damage, where the 8 bytes before a frame can be anything
    own &= ~forged
    times = _hold(stamps, own)
    junk += STAMP_BYTES * int(forged.sum())
    segments = _segments(data, heads, tails, times)
    return TlogFile(cut(data, starts, ends, times), junk, bad_crc, segments, True, swapped, int((~own).sum()))


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
    starts, _, stamp_at, _, _ = _scan(data[:_SNIFF_BYTES])
    return sum(at < 0 for at in stamp_at) * 2 > len(starts)


def _scan(data: bytes) -> "tuple[array[int], array[int], array[int], int, int]":
    """Frames of a tlog: starts, ends, positions of their stamps (-1: none), damaged frames, junk bytes."""
    starts, ends, stamp_at = array("q"), array("q"), array("q")
    add_start, add_end, add_stamp = starts.append, ends.append, stamp_at.append
    pos, size, bad_crc, junk = 0, len(data), 0, 0  # pos: where the next stamp is expected
    while pos < size:
        at = pos + STAMP_BYTES
        end = _whole_frame(data, at)
        if end == BAD:
            bad_crc += 1
            after = claimed_end(data, at)
            if frame_end(data, after + STAMP_BYTES) > 0:  # a sound header, a foreign CRC_EXTRA: step over it
                junk += after - pos
                pos = after
                continue
        if end <= 0:
            at, end, damaged = _hunt(data, pos, at if end == BAD else pos)
            bad_crc += damaged
            if end <= 0:
                junk += size - pos
                break
        has_stamp = at - STAMP_BYTES >= pos
        junk += at - pos - (STAMP_BYTES if has_stamp else 0)
        add_start(at)
        add_end(end)
        add_stamp(at - STAMP_BYTES if has_stamp else -1)
        pos = end
    return starts, ends, stamp_at, bad_crc, junk


def _whole_frame(data: bytes, at: int) -> int:
    """End of the frame at `at`, where a frame is expected; an unknown id counts when what follows vouches for it."""
    end = frame_end(data, at)
    if end < BAD:
        return -end if vouched(data, -end, STAMP_BYTES, final=True) > 0 else NONE
    return end if end != MORE else NONE


def _hunt(data: bytes, pos: int, suspect: int) -> tuple[int, int, int]:
    """The next frame with a right CRC that starts after a lost alignment: (start, end, damaged frames passed).

    pos: first byte not yet used. suspect: start of a damaged frame already counted, else pos.
    """
    damaged = 0
    suspect_end = claimed_end(data, suspect) if suspect > pos else -1
    found = STX.search(data, pos)
    while found:
        at = found.start()
        end = frame_end(data, at)
        if end > 0:
            return at, end, damaged
        if end == BAD and at >= suspect_end and at != suspect:
            damaged += 1
            suspect_end = claimed_end(data, at)
        found = STX.search(data, at + 1)
    return len(data), NONE, damaged


def _stamps(data: bytes, heads: NDArray[np.int64], own: NDArray[np.bool_]) -> tuple[NDArray[np.int64], bool]:
    """The 8 bytes before each frame as int64 (bits kept), and whether they are little-endian; 0 where not its own."""
    raw = np.zeros((len(heads), STAMP_BYTES), np.uint8)
    raw[own] = np.frombuffer(data, np.uint8)[heads[own, None] + np.arange(-STAMP_BYTES, 0)]
    big, little = raw.view(">i8")[:, 0].astype(np.int64), raw.view("<i8")[:, 0].astype(np.int64)
    swapped = int(_plausible(little).sum()) > int(_plausible(big).sum())
    return (little if swapped else big), swapped


def _plausible(stamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (stamps >= 0) & (stamps < _LATEST_US)


def _hold(stamps: NDArray[np.int64], own: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Times of all frames: frames without a stamp take the one before (those at the start: the first)."""
    if own.all() or not own.any():
        return stamps
    last = np.maximum.accumulate(np.where(own, np.arange(len(own)), -1))
    last[last < 0] = int(np.argmax(own))
    return stamps[last]


def _segments(
    data: bytes, heads: NDArray[np.int64], tails: NDArray[np.int64], times: NDArray[np.int64]
) -> tuple[int, ...]:
    """Indexes where a recorder started anew."""
    if len(heads) == 0:
        return ()
    wide = np.flatnonzero(heads[1:] - STAMP_BYTES - tails[:-1] >= len(_SEGMENT_GAP)) + 1
    zeros = [i for i in wide.tolist() if data.startswith(_SEGMENT_GAP, int(tails[i - 1]))]
    back = (np.flatnonzero(np.diff(times) < -_BACKWARDS_US) + 1).tolist()
    return tuple(sorted({0, *zeros, *back}))


def _read_raw(data: bytes) -> TlogFile:
    scanner = Scanner()
    frames = join([scanner.feed(data, 0), scanner.finish()])
    times, resets = boot_clock(frames)
    frames = Frames(frames.data, frames.offsets, times)
    return TlogFile(frames, scanner.junk_bytes, scanner.bad_crc, resets, stamped=False)

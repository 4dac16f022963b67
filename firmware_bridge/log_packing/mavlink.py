"""MAVLink logs as one block of `shared.codec` per segment: frames with their stamps; what is no frame, as raw frames.

Only the framing is looked at here: the block itself checks each frame, and keeps raw what it could not give back.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.log_packing.numbers import Cursor, require, varints
from firmware_bridge.log_packing.records import Ints
from shared.codec import decode_block, encode_block
from shared.frames import Frames

STAMP_BYTES = 8
_V1, _V2 = 0xFE, 0xFD
_LONGEST = STAMP_BYTES + 293


def encode(data: bytes, is_stamped: bool, is_last: bool) -> tuple[int, bytes]:
    """(bytes of the log that are in it, the segment's body). is_stamped: 8 bytes of big-endian time before each frame.

    Refused when it does not fit into a block.
    """
    lead = STAMP_BYTES if is_stamped else 0
    starts, ends = _frames(np.frombuffer(data, np.uint8), lead)
    end = len(data) if is_last else max(int(ends[-1]) if len(ends) else 0, len(data) - _LONGEST)
    begins, stamped = _items(starts - lead, ends, end)
    stamped &= is_stamped
    sizes = np.diff(begins, append=end) - STAMP_BYTES * stamped
    times = np.zeros(len(begins), np.int64)
    times[stamped] = _at_each_byte(data, ">i8")[begins[stamped]]
    times = times[np.maximum.accumulate(np.where(stamped, np.arange(len(times)), 0))]
    kept = np.ones(end, bool)
    _at_each_byte(kept, "V8")[begins[stamped]] = np.zeros(1, "V8")
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    runs = _runs(stamped)
    frames = Frames(np.frombuffer(data, np.uint8)[:end][kept].tobytes(), offsets, times)
    return end, varints([len(runs), *runs]) + encode_block(frames)


def _items(begins: Ints, ends: Ints, end: int) -> tuple[Ints, NDArray[np.bool_]]:
    """(where frames and what is between them begin, in order; which are frames)."""
    follows = np.concatenate((np.zeros(1, np.int64), ends))
    gaps = np.flatnonzero(np.concatenate((begins, np.array([end], np.int64))) > follows)
    return np.insert(begins, gaps, follows[gaps]), np.insert(np.ones(len(begins), bool), gaps, False)


def _at_each_byte(data: "bytes | bytearray | NDArray[Any]", dtype: str) -> "NDArray[Any]":
    """The 8 bytes at every place of data as one element."""
    return np.ndarray((max(len(data) - STAMP_BYTES + 1, 0),), dtype, data, strides=(1,))


def decode(body: bytes, size: int) -> bytes:
    """The `size` bytes of log in a body. Refused(packing_malformed), or what a block is refused for."""
    cursor = Cursor(body)
    runs = np.array([cursor.varint(size) for _ in range(cursor.varint(size + 1))], np.int64)
    frames = decode_block(cursor.rest()).frames()
    require(int(runs.sum()) == len(frames), "stamps")
    stamped = np.repeat(np.arange(len(runs)) % 2 == 0, runs)
    require(len(frames.data) + STAMP_BYTES * int(stamped.sum()) == size, "frames and stamps do not come to the size")
    sizes = np.diff(frames.offsets) + STAMP_BYTES * stamped
    begins = np.cumsum(sizes) - sizes
    out = np.empty(size, np.uint8)
    is_kept = np.ones(size, bool)
    _at_each_byte(is_kept, "V8")[begins[stamped]] = np.zeros(1, "V8")
    out[is_kept] = np.frombuffer(frames.data, np.uint8)
    _at_each_byte(out, ">i8")[begins[stamped]] = frames.time_us[stamped]
    return out.tobytes()


def _runs(stamped: NDArray[np.bool_]) -> list[int]:
    """How many have a stamp, how many then have none, and so on."""
    changes = np.flatnonzero(np.diff(stamped)) + 1
    bounds = np.concatenate((np.zeros(1, np.int64), changes, np.array([len(stamped)], np.int64)))
    runs: list[int] = np.diff(bounds).tolist()
    return runs if len(stamped) and stamped[0] else [0, *runs]


def _frames(buf: NDArray[np.uint8], lead: int) -> tuple[Ints, Ints]:
    """(starts, ends) of what is framed like MAVLink and followed by more of it (or by the end), none over another."""
    starts = np.flatnonzero((buf[lead:] == _V1) | (buf[lead:] == _V2)) + lead
    starts = starts[starts + 2 < len(buf)]
    is_v2 = buf[starts] == _V2
    ends = starts + buf[starts + 1] + np.where(is_v2, 12 + 13 * (buf[starts + 2] & 1).astype(np.int64), 8)
    whole = ends <= len(buf)
    starts, ends = starts[whole], ends[whole]
    after = np.minimum(ends + lead, len(buf) - 1)
    followed = (buf[after] == _V1) | (buf[after] == _V2) | (ends + lead >= len(buf))
    starts, ends = starts[followed], ends[followed]
    chosen = _chain(starts, ends, lead)
    return starts[chosen], ends[chosen]


def _chain(starts: Ints, ends: Ints, lead: int) -> Ints:
    """Those met when each is followed by the first that begins, with its stamp, at or behind its end."""
    after = starts.searchsorted(ends + lead)
    parts = []
    at = 0
    for jump in np.flatnonzero(after != np.arange(1, len(starts) + 1)).tolist():
        if jump >= at:
            parts.append(np.arange(at, jump + 1))
            at = int(after[jump])
    return np.concatenate([*parts, np.arange(at, len(starts))])

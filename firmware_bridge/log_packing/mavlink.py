"""Frames as one block of `shared.codec`: how MAVLink logs were packed at first; only read any more."""

import numpy as np

from firmware_bridge.log_packing.framed import at_each_byte
from firmware_bridge.log_packing.numbers import Cursor, require
from shared.codec import decode_block

STAMP_BYTES = 8


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
    at_each_byte(is_kept, "V8")[begins[stamped]] = np.zeros(1, "V8")
    out[is_kept] = np.frombuffer(frames.data, np.uint8)
    at_each_byte(out, ">i8")[begins[stamped]] = frames.time_us[stamped]
    return out.tobytes()

"""The body of a journal row: frames of about a second, packed cheaply, damage noticed.

Layout: zstd frame (level 1, with checksum) of: uint32 LE frame count n, then 8 n bytes: the receive times as deltas
(first: from 0), int64 LE, laid out in byte planes; then the frames' bytes (their headers say where each one ends).
"""

import struct

import numpy as np
import zstandard

from shared.errors import Refused
from shared.frames import Frames, no_frames

_HEAD = struct.Struct("<I")
_MAX_BYTES = 64 << 20
_LEVEL = 1


def pack(frames: Frames) -> bytes:
    """The frames as one journal body."""
    deltas = np.diff(frames.time_us, prepend=np.int64(0))
    planes = deltas.astype("<i8").view(np.uint8).reshape(-1, 8).T.tobytes()
    body = _HEAD.pack(len(frames)) + planes + frames.data
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(body)


def unpack(body: bytes) -> Frames:
    """The frames of a journal body. Refused("journal_torn") when a byte of it is wrong."""
    try:
        raw = zstandard.ZstdDecompressor().decompress(body, max_output_size=_MAX_BYTES)
        (n,) = _HEAD.unpack_from(raw)
        start = _HEAD.size + 8 * n
        deltas = np.frombuffer(raw, np.uint8, 8 * n, _HEAD.size).reshape(8, n).T.copy().view("<i8")[:, 0]
        return Frames(raw[start:], _offsets(raw, start, n), np.cumsum(deltas)) if n else no_frames()
    except (zstandard.ZstdError, ValueError, struct.error, IndexError) as e:
        raise Refused("journal_torn", str(e)[:200]) from None


def _offsets(raw: bytes, start: int, n: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Where each frame begins, by the length in its header (around the payload: 8, 12 or, signed, 25 bytes)."""
    offsets = np.zeros(n + 1, np.int64)
    pos = start
    for i in range(n):
        if raw[pos] == 0xFD:
            pos += 12 + raw[pos + 1] + (13 if raw[pos + 2] & 1 else 0)
        else:
            pos += 8 + raw[pos + 1]
        offsets[i + 1] = pos - start
    return offsets

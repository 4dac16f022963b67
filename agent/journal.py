"""The body of a journal row: frames of about a second, packed, damage noticed.

Layout: one letter, CRC-32 of what follows (4 bytes, little-endian), then
  C  a block of shared.codec: a fifth of the raw bytes for 2.6 ms of CPU; for an ordinary second
  Z  zstd level -3 of: uint32 LE frame count n, 8 n bytes of receive times (deltas, int64 LE, in byte planes), the
     frames' bytes; three fifths of the raw bytes in a tenth of the time; for a row so large that a log plays in a hurry
Most of what a recorder writes is its journal, so this decides how fast a card wears out.
"""

import struct
import zlib

import numpy as np
import zstandard
from numpy.typing import NDArray

from shared.codec import decode_block, encode_block
from shared.errors import Refused
from shared.frames import Frames, no_frames

LARGE_BYTES = 64 << 10
"""Raw bytes above which speed counts for more than size."""
MAX_FRAMES, MAX_BYTES = 1 << 20, 64 << 20
_LEVEL = -3
_HEAD = struct.Struct("<cI")
_COUNT = struct.Struct("<I")


def pack(frames: Frames) -> bytes:
    """The frames as one journal body."""
    if len(frames.data) > LARGE_BYTES:
        kind, body = b"Z", _quick(frames)
    else:
        kind, body = b"C", encode_block(frames)
    return _HEAD.pack(kind, zlib.crc32(body)) + body


def unpack(row: bytes) -> Frames:
    """The frames of a journal body. Refused("journal_torn") when a byte of it is wrong."""
    try:
        kind, crc = _HEAD.unpack_from(row)
        body = row[_HEAD.size :]
        if zlib.crc32(body) != crc:
            raise ValueError("checksum")
        if kind == b"C":
            return decode_block(body, max_frames=MAX_FRAMES, max_bytes=MAX_BYTES).frames()
        if kind == b"Z":
            return _from_quick(body)
        raise ValueError("kind")
    except (zstandard.ZstdError, ValueError, struct.error, IndexError) as e:
        raise Refused("journal_torn", str(e)[:200]) from None


def _quick(frames: Frames) -> bytes:
    deltas = np.diff(frames.time_us, prepend=np.int64(0))
    planes = deltas.astype("<i8").view(np.uint8).reshape(-1, 8).T.tobytes()
    return zstandard.ZstdCompressor(level=_LEVEL).compress(_COUNT.pack(len(frames)) + planes + frames.data)


def _from_quick(body: bytes) -> Frames:
    raw = zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_BYTES)
    (n,) = _COUNT.unpack_from(raw)
    if not n:
        return no_frames()
    start = _COUNT.size + 8 * n
    deltas = np.frombuffer(raw, np.uint8, 8 * n, _COUNT.size).reshape(8, n).T.copy().view("<i8")[:, 0]
    return Frames(raw[start:], _offsets(raw, start, n), np.cumsum(deltas))


def _offsets(raw: bytes, start: int, n: int) -> NDArray[np.int64]:
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

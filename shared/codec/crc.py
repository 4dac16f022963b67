"""CRC-16/MCRF4XX of many frames in a few numpy calls.

The checksum is linear over GF(2): it is the XOR of what each byte contributes, and that depends only on the byte and
on how many bytes follow it. So: one table look-up per byte, one XOR-reduction per frame.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

_FAR = 300
"""More than the longest covered part of a frame (9 header bytes, 255 of payload, CRC_EXTRA)."""


@cache
def _tables() -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """contribution[(k << 8) | byte]: of a byte with k - 1 bytes after it, 0 for k = 0; start[k]: of the seed 0xFFFF."""
    step = np.arange(256, dtype=np.uint16)
    for _ in range(8):
        step = np.where(step & 1, step >> 1 ^ 0x8408, step >> 1).astype(np.uint16)
    contribution = np.zeros((_FAR + 1, 256), np.uint16)
    start = np.full(_FAR + 1, 0xFFFF, np.uint16)
    contribution[1] = step
    for k in range(1, _FAR):
        now = contribution[k]
        contribution[k + 1] = now >> 8 ^ step[now & 0xFF]
    for k in range(_FAR):
        start[k + 1] = start[k] >> 8 ^ step[start[k] & 0xFF]
    return contribution.ravel(), start


def frame_crcs(
    data: NDArray[np.uint8], lengths: NDArray[np.int64], covered: NDArray[np.int64], extra: NDArray[np.uint8]
) -> NDArray[np.uint16]:
    """CRC of each frame.

    data: the frames one after the other; lengths: of each, at least 1, together len(data); covered: bytes after the
    STX that the CRC covers (header and payload), at most 264; extra: CRC_EXTRA of each.
    """
    contribution, start = _tables()
    ends = np.cumsum(lengths)
    starts = ends - lengths
    after: NDArray[np.int32] = np.repeat((starts + covered + 2).astype(np.int32), lengths)
    after -= np.arange(len(data), dtype=np.int32)
    np.maximum(after, 0, out=after)
    after[after == 1] = 0
    after <<= 8
    after |= data
    crc = np.bitwise_xor.reduceat(contribution.take(after), starts)
    crc ^= contribution[(covered + 2) << 8 | data[starts]]
    crc ^= contribution[256 | extra.astype(np.int64)]
    return crc ^ start[covered + 1]

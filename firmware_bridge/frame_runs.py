"""Frames that follow each other, found for a whole buffer at once: what a scanner finds one by one, only sooner.

Every byte that could begin a frame of a known id, whose length leads to another such byte (or to the end), is found by
numpy; the CRC of each is then checked. A frame that is not here may be one all the same: that is for a scanner to say.
"""

from dataclasses import dataclass

import numpy as np
from fastcrc import crc16
from numpy.typing import NDArray

from shared.layouts import LAYOUTS

Ints = NDArray[np.int64]

_KNOWN = max(LAYOUTS) + 1
_EXTRA = np.full(_KNOWN + 1, -1, np.int64)
_MOST = np.full(_KNOWN + 1, -1, np.int64)
for _msgid, _layout in LAYOUTS.items():
    _EXTRA[_msgid], _MOST[_msgid] = _layout.crc_extra, _layout.size


def crc_table() -> list[int]:
    """CRC-16/MCRF4XX of one byte."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8408 if crc & 1 else crc >> 1
        table.append(crc)
    return table


_TABLE = np.array(crc_table(), np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class FrameRuns:
    """heads, ends int64 [n]: sound frames of a buffer. stops int64: index behind the last frame of each run."""

    heads: Ints
    ends: Ints
    stops: Ints

    def at(self, pos: int) -> tuple[int, int]:
        """(i, j): frames i .. j - 1 follow each other from pos on; i == j when none is known to begin there."""
        i = int(self.heads.searchsorted(pos))
        if i == len(self.heads) or int(self.heads[i]) != pos:
            return i, i
        return i, int(self.stops[self.stops.searchsorted(i, side="right")])


def frame_runs(data: bytes, gap: int) -> FrameRuns:
    """The runs of frames with `gap` bytes between them (a tlog's stamps)."""
    buf = np.frombuffer(data, np.uint8)
    heads, tails, ends, extra = _plausible(buf, gap)
    crc = crc16.mcrf4xx
    found = np.array([crc(data[a:b]) for a, b in zip((heads + 1).tolist(), tails.tolist(), strict=True)], np.int64)
    told = buf[tails] | buf[tails + 1].astype(np.int64) << 8
    is_sound = (found >> 8) ^ _TABLE[(found ^ extra) & 255] == told
    heads, ends = heads[is_sound], ends[is_sound]
    stops = np.append(np.flatnonzero(heads[1:] != ends[:-1] + gap) + 1, len(heads))
    return FrameRuns(heads, ends, stops)


def _plausible(buf: NDArray[np.uint8], gap: int) -> tuple[Ints, Ints, Ints, Ints]:
    """(start, end of payload, end, CRC_EXTRA) of what could be frames by their headers and by what follows."""
    n = len(buf)
    is_magic = buf - np.uint8(0xFD) < 2
    heads = np.flatnonzero(is_magic[: max(0, n - 11)])  # a last short frame is left to the scanner
    is_v1, size = buf[heads] == 0xFE, buf[heads + 1].astype(np.int64)
    flags = np.where(is_v1, 0, buf[heads + 2])
    tails = heads + size + np.where(is_v1, 6, 10)
    ends = tails + 2 + 13 * (flags == 1)
    after = ends + gap
    fits = (ends <= n) & (flags <= 1)
    fits &= (after >= n) | is_magic[np.minimum(after, n - 1)]
    heads, tails, ends, is_v1, size = heads[fits], tails[fits], ends[fits], is_v1[fits], size[fits]
    low = buf[np.where(is_v1, heads + 5, heads + 7)].astype(np.int64)
    high = buf[heads + 8].astype(np.int64) << 8 | buf[heads + 9].astype(np.int64) << 16
    msgid = np.minimum(np.where(is_v1, low, low | high), _KNOWN)
    known = size <= _MOST[msgid]
    return heads[known], tails[known], ends[known], _EXTRA[msgid[known]]

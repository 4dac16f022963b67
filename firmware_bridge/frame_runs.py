"""Frames that follow each other, found for a whole buffer at once: what a scanner finds one by one, only sooner.

Every byte that could begin a frame of a known id, whose length leads to another such byte (or to the end), is found by
numpy; the CRC of each is then checked. A frame that is not here may be one all the same: that is for a scanner to say.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.frame_crc import are_right
from shared.layouts import LAYOUTS

Ints = NDArray[np.int64]

_KNOWN = max(LAYOUTS) + 1
_EXTRA = np.full(_KNOWN + 1, -1, np.int64)
_MOST = np.full(_KNOWN + 1, -1, np.int64)
for _msgid, _layout in LAYOUTS.items():
    _EXTRA[_msgid], _MOST[_msgid] = _layout.crc_extra, _layout.size


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
    heads, tails, ends, msgid = _plausible(buf, gap)
    right = are_right(data, heads, tails, ends, _EXTRA[msgid], msgid, gap)
    heads, ends = heads[right], ends[right]
    stops = np.append(np.flatnonzero(heads[1:] != ends[:-1] + gap) + 1, len(heads))
    return FrameRuns(heads, ends, stops)


def _plausible(buf: NDArray[np.uint8], gap: int) -> tuple[Ints, Ints, Ints, Ints]:
    """(start, end of payload, end, message id) of what could be frames by their headers and by what follows."""
    n = len(buf)
    is_magic = buf - np.uint8(0xFD) < 2
    heads = np.flatnonzero(is_magic[: max(0, n - 11)])  # a last short frame is left to the scanner
    is_v1, size, flags = buf[heads] == 0xFE, buf[heads + 1], buf[heads + 2]
    extra = np.where(is_v1, 8, 12 + 13 * (flags == 1))
    ends = heads + size + extra
    fits = (is_v1 | (flags <= 1)) & is_magic[np.minimum(ends + gap, n - 1)] | (ends + gap >= n)
    fits &= ends <= n
    heads, ends, is_v1, size, extra = heads[fits], ends[fits], is_v1[fits], size[fits], extra[fits]
    low = buf[heads + np.where(is_v1, 5, 7)].astype(np.int64)
    high = buf[heads + 8].astype(np.int64) << 8 | buf[heads + 9].astype(np.int64) << 16
    msgid = np.minimum(np.where(is_v1, low, low | high), _KNOWN)
    known = (size <= _MOST[msgid]) & (is_v1 | (buf[heads + 2] <= 1))
    tails = heads + size + np.where(is_v1, 6, 10)
    return heads[known], tails[known], ends[known], msgid[known]

"""Which logs hold others: a log cut in chunks where its content says so, each chunk known by 8 bytes of its digest.

The same bytes are cut in the same places wherever they stand, so that a prefix, a tail, or a log with its middle cut
out has the chunks of the whole one, but for those at its cuts. Bounded memory; about 0.2 GB/s.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Prints = NDArray[np.uint64]
_MASK = np.uint64((1 << 12) - 1)
"""A boundary every 4 KiB on average."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
MOST_BYTES = 1 << 16
"""Of a chunk: content without boundaries (zeros) is cut here."""
_WINDOW = 8
_LEAST_BYTES = 64
"""From one place that looks like a boundary to the next: content that repeats itself would be cut everywhere."""
_CONTEXT = _LEAST_BYTES + _WINDOW
_MARK = np.uint64(0x5A5)
CUTS = 4
"""Chunks that a part may have of its own: beginning, end, and where its middle was cut."""
_SHARE = 0.97


class Fingerprint:
    """`feed` a log's bytes in any pieces; `result` is 8 bytes per chunk, in order."""

    def __init__(self) -> None:
        self._before = b""
        self._open = b""
        self._prints: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """The next bytes."""
        context, data = len(self._before), self._before + self._open + piece
        start = context
        for stop in [*(b for b in _boundaries(data).tolist() if b > context), len(data)]:
            while stop - start > MOST_BYTES:
                self._add(data[start : start + MOST_BYTES])
                start += MOST_BYTES
            if stop < len(data):
                self._add(data[start:stop])
                start = stop
        self._before, self._open = data[max(0, start - _CONTEXT) : start], data[start:]

    def result(self) -> bytes:
        """The fingerprint of all that was fed."""
        return b"".join([*self._prints, *([_print(self._open)] if self._open else [])])

    def _add(self, chunk: bytes) -> None:
        if chunk:
            self._prints.append(_print(chunk))


def _print(chunk: bytes) -> bytes:
    return hashlib.blake2b(chunk, digest_size=8).digest()


def _boundaries(data: bytes) -> NDArray[np.int64]:
    """Where a chunk ends: behind 8 bytes whose hash says so."""
    found = []
    for shift in range(_WINDOW):
        count = (len(data) - shift) // _WINDOW
        if count > 0:
            words = np.frombuffer(data, "<u8", count, shift)
            mixed = (words ^ (words >> np.uint64(29))) * _FACTOR
            found.append(np.flatnonzero((mixed >> np.uint64(40)) & _MASK == _MARK) * _WINDOW + shift + _WINDOW)
    places = np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
    return places[np.diff(places, prepend=-_LEAST_BYTES) >= _LEAST_BYTES]


def holds(whole: bytes, part: bytes) -> bool:
    """Whether the log of one fingerprint holds (nearly) all that the log of the other does."""
    a, b = np.frombuffer(whole, "<u8"), np.frombuffer(part, "<u8")
    if not len(a) or not len(b):
        return False
    missing = int((~np.isin(b, a)).sum())
    return missing <= max(min(CUTS, len(b) - 2), (1 - _SHARE) * len(b)) if len(b) > 2 else missing == 0

"""The span of a boot's data on the log's own clock, without strays, and the holes in it.

Strays are single messages far from their kind: topics retained from long before the log, a sample from the future, a
stamp that damage made. What counts is where messages of one kind follow each other within seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_DENSE_US = 5_000_000
HOLE_US = 300_000_000
"""What is longer without any message is no part of the log's duration."""
_MAX_KINDS = 4_096
_FEW = 20
"""Fewer in a row are no run: PX4 retains up to 16 samples of a queue from before the log."""
Kind = tuple[str, int]
Run = tuple[int, int, int]
"""First stamp, last stamp, how many."""


@dataclass(slots=True)
class Span:
    """Of one boot. low, high: of all stamps. holes_us: length of all holes within first_us .. last_us."""

    first_us: int | None = None
    last_us: int | None = None
    low: int | None = None
    high: int | None = None
    holes_us: int = 0
    _count: int = 0
    _runs: dict[Kind, Run] = field(default_factory=dict)

    def add(self, times: Iterable[tuple[Kind, NDArray[np.int64]]]) -> None:
        """The times of a portion, in the order of the log, by kind of message."""
        before, low, high = self.last_us, None, None
        busiest: NDArray[np.int64] = np.zeros(0, np.int64)
        for kind, t in times:
            t = t[t > 0]  # NO_TIME, and stamps of 0: not known when
            if not len(t):
                continue
            busiest = t if len(t) > len(busiest) else busiest
            self._count += len(t)
            self.low, self.high = _least(self.low, int(t.min())), _most(self.high, int(t.max()))
            dense, run = _dense(t, self._runs.get(kind))
            if dense is not None:
                low, high = _least(low, dense[0]), _most(high, dense[1])
            if len(self._runs) < _MAX_KINDS or kind in self._runs:
                self._runs[kind] = run
        if low is None or high is None:
            return
        self.first_us, self.last_us = _least(self.first_us, low), _most(self.last_us, high)
        gaps = np.diff(busiest[(busiest >= low) & (busiest <= high)])
        self.holes_us += int(gaps[gaps > HOLE_US].sum())
        if before is not None and low - before > HOLE_US:
            self.holes_us += low - before

    def bounds(self) -> tuple[int, int]:
        """(first, last); of all stamps when there are too few of each kind to tell strays; (0, 0) without any stamp."""
        if self.first_us is None or self.last_us is None:
            return (0, 0) if self.low is None or self.high is None else (self.low, self.high)
        return self.first_us, self.last_us

    @property
    def duration_us(self) -> int:
        """Length of the span without its holes."""
        first, last = self.bounds()
        return max(last - first - self.holes_us, 0)


def _dense(t: NDArray[np.int64], run: Run | None) -> tuple[tuple[int, int] | None, Run]:
    """First and last of the stamps in runs of at least _FEW, each within seconds of the one before; None: no such run.

    run: the one that the kind's earlier stamps ended with. Also the one that these end with.
    """
    start_us, newest, count = run or (int(t[0]), int(t[0]) - 1, 0)
    steps = np.diff(t, prepend=newest)
    cuts = np.flatnonzero((steps < 0) | (steps > _DENSE_US))
    starts = np.concatenate([[0], cuts])
    ends = np.concatenate([cuts, [len(t)]])
    sizes = ends - starts
    sizes[0] += count
    firsts = t[np.minimum(starts, len(t) - 1)]
    firsts[0] = start_us
    lasts = np.where(ends > 0, t[ends - 1], newest)
    long = (sizes >= _FEW) & (lasts > firsts)
    found = (int(firsts[long].min()), int(lasts[long].max())) if long.any() else None
    return found, (int(firsts[-1]), int(t[-1]), int(sizes[-1]))


def _least(a: int | None, b: int) -> int:
    return b if a is None else min(a, b)


def _most(a: int | None, b: int) -> int:
    return b if a is None else max(a, b)

"""The span of a boot's data on the log's own clock, without strays, and the holes in it.

Strays are single messages far from their kind: topics retained from long before the log, a sample from the future, a
stamp that damage made. What counts is where two messages of one kind follow each other within seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.log_tables import NO_TIME

_DENSE_US = 5_000_000
HOLE_US = 300_000_000
"""What is longer without any message is no part of the log's duration."""
_MAX_KINDS = 4_096
_FEW = 8
Kind = tuple[str, int]


@dataclass(slots=True)
class Span:
    """Of one boot. low, high: of all stamps. holes_us: length of all holes within first_us .. last_us."""

    first_us: int | None = None
    last_us: int | None = None
    low: int | None = None
    high: int | None = None
    holes_us: int = 0
    _count: int = 0
    _newest: dict[Kind, int] = field(default_factory=dict)

    def add(self, times: Iterable[tuple[Kind, NDArray[np.int64]]]) -> None:
        """The times of a portion, in the order of the log, by kind of message."""
        before, low, high = self.last_us, None, None
        busiest: NDArray[np.int64] = np.zeros(0, np.int64)
        for kind, t in times:
            t = t[t != NO_TIME]
            if not len(t):
                continue
            busiest = t if len(t) > len(busiest) else busiest
            self._count += len(t)
            self.low, self.high = _least(self.low, int(t.min())), _most(self.high, int(t.max()))
            if (dense := _dense(t, self._newest.get(kind))) is not None:
                low, high = _least(low, dense[0]), _most(high, dense[1])
            if len(self._newest) < _MAX_KINDS or kind in self._newest:
                self._newest[kind] = int(t[-1])
        if low is None or high is None:
            return
        self.first_us, self.last_us = _least(self.first_us, low), _most(self.last_us, high)
        gaps = np.diff(busiest[(busiest >= low) & (busiest <= high)])
        self.holes_us += int(gaps[gaps > HOLE_US].sum())
        if before is not None and low - before > HOLE_US:
            self.holes_us += low - before

    def bounds(self) -> tuple[int, int]:
        """(first, last); of all stamps when there are too few to tell strays; (0, 0) without any stamp."""
        if self.first_us is None or self.last_us is None or self._count < _FEW:
            return (0, 0) if self.low is None or self.high is None else (self.low, self.high)
        return self.first_us, self.last_us

    @property
    def duration_us(self) -> int:
        """Length of the span without its holes."""
        first, last = self.bounds()
        return max(last - first - self.holes_us, 0)


def _dense(t: NDArray[np.int64], before: int | None) -> tuple[int, int] | None:
    """First and last of the stamps that have a neighbour of their kind within seconds; None: none has."""
    steps = np.diff(t) if before is None else np.diff(t, prepend=before)
    near = np.flatnonzero((steps > 0) & (steps <= _DENSE_US))
    if not len(near):
        return None
    ends = t[near + 1] if before is None else t[near]
    return int((ends - steps[near]).min()), int(ends.max())


def _least(a: int | None, b: int) -> int:
    return b if a is None else min(a, b)


def _most(a: int | None, b: int) -> int:
    return b if a is None else max(a, b)


def overlaps(first: Sequence[int], second: Sequence[int]) -> bool:
    """Whether two spans [a, b) have something in common."""
    return first[0] < second[1] and second[0] < first[1]

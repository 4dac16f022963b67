"""From scores once a second to findings: some of the last few windows above the threshold, or one far above it."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rule:
    """An episode begins when `windows` of the last `of` are above the threshold, or one is above the critical one;
    while it lasts it is raised again at most every `quiet_s`."""

    windows: int = 3
    of: int = 5
    quiet_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Episode:
    """Windows that ended from first_us to last_us were above the threshold; peak_us: end of the worst; score: its."""

    first_us: int
    last_us: int
    peak_us: int
    score: float


class Persistence:
    """Watches the scores of one flight. Pure: time comes with the scores."""

    def __init__(self, threshold: float, critical: float, rule: Rule) -> None:
        self._threshold = threshold
        self._critical = critical
        self._rule = rule
        self._recent: deque[tuple[int, float] | None] = deque(maxlen=rule.of)
        self._raised_us: int | None = None

    def update(self, at_us: int, score: float | None) -> Episode | None:
        """Take the score of the window that ended at `at_us` (None: not in flight); an episode if one is to be raised.

        No episode is raised at a window that is not in flight.
        """
        self._recent.append((at_us, score) if score is not None and score > self._threshold else None)
        hits = [hit for hit in self._recent if hit is not None]
        quiet = self._raised_us is not None and 0 <= at_us - self._raised_us <= self._rule.quiet_s * 1e6
        if score is None or quiet or (len(hits) < self._rule.windows and score <= self._critical):
            return None
        self._raised_us = at_us
        peak_us, peak = max(hits, key=lambda hit: hit[1])
        return Episode(hits[0][0], hits[-1][0], peak_us, peak)


def persistent(scores: Scores, looked_at: NDArray[np.bool_], rule: Rule) -> Scores:
    """[w]: the threshold below which each window would raise an episode: the n-th largest of the last m scores."""
    padded = np.concatenate([np.full(rule.of - 1, -np.inf), np.where(looked_at, scores, -np.inf)])
    last = np.sort(np.lib.stride_tricks.sliding_window_view(padded, rule.of), axis=1)
    return np.where(looked_at, last[:, -rule.windows], -np.inf)

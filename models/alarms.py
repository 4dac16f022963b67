"""Counting alarms as the aircraft would raise them, and the threshold that keeps the false ones few."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.persistence import Persistence, Rule, Scores, persistent

HEADROOM = 0.01
"""Of score, added to the threshold: other sites and airframes than those seen are never quite as quiet."""
MARGIN = 0.03
"""Of score, between the worst that was seen of healthy flights and what is raised at once."""


class Limits(NamedTuple):
    """Scores above which a window counts, and above which it is raised at once."""

    threshold: float
    critical: float


def alarms(
    end_us: NDArray[np.int64], scores: Scores, looked_at: NDArray[np.bool_], limits: Limits, rule: Rule
) -> list[int]:
    """When episodes are raised in the windows looked at (their ends, us); the others count as not in flight."""
    watch = Persistence(limits.threshold, limits.critical, rule)
    windows = zip(end_us.tolist(), scores.tolist(), looked_at.tolist(), strict=True)
    return [at for at, score, look in windows if watch.update(at, score if look else None) is not None]


def calibrate(
    flights: Sequence[tuple[NDArray[np.int64], Scores, NDArray[np.bool_]]], per_hour: float, rule: Rule
) -> Limits:
    """HEADROOM above the lowest threshold with at most `per_hour` alarms an hour; flights: (end_us, scores, healthy).

    The critical limit is MARGIN above the highest healthy score: there one window is enough. ValueError when there is
    no healthy window.
    """
    hours = sum(int(healthy.sum()) for _, _, healthy in flights) / 3600
    levels = np.concatenate([persistent(s, healthy, rule) for _, s, healthy in flights])
    candidates = np.unique(levels[np.isfinite(levels)])
    if not len(candidates):
        raise ValueError("no healthy window to calibrate on")
    critical = max(float(s[healthy].max()) for _, s, healthy in flights if healthy.any()) + MARGIN
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        count = sum(len(alarms(e, s, h, Limits(float(candidates[middle]), critical), rule)) for e, s, h in flights)
        low, high = (low, middle) if count <= per_hour * hours else (middle + 1, high)
    threshold = float(candidates[low]) + HEADROOM
    return Limits(threshold, max(threshold, critical))

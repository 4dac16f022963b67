"""From scores once a second to episodes: what lasts, or is far above the threshold, with begin, end and peak."""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rule:
    """An episode begins when `windows` of the last `of` scores are above the threshold, or one is above the critical
    one. It ends when none was for `quiet_s`; what begins sooner belongs to it."""

    windows: int = 2
    of: int = 3
    quiet_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Episode:
    """Scores above the threshold from first_us to last_us; peak_us: the worst's time; score: the worst. is_open: it has
    begun and may go on."""

    first_us: int
    last_us: int
    peak_us: int
    score: float
    is_open: bool


class Persistence:
    """Watches the scores of one flight. Pure: time comes with the scores."""

    def __init__(self, threshold: float, critical: float, rule: Rule) -> None:
        self._threshold = threshold
        self._critical = critical
        self._rule = rule
        self._recent: deque[tuple[int, float] | None] = deque(maxlen=rule.of)
        self._open: Episode | None = None

    @property
    def is_open(self) -> bool:
        """Whether an episode has begun and not ended."""
        return self._open is not None

    def update(self, at_us: int, score: float | None) -> Episode | None:
        """Take the score at `at_us` (None: not in flight). Gives the episode that begins now (`is_open`) or has
        ended."""
        is_hit = score is not None and score > self._threshold
        self._recent.append((at_us, float(score or 0)) if is_hit else None)
        if self._open is not None:
            return self._follow(at_us, score if is_hit else None)
        hits = [hit for hit in self._recent if hit is not None]
        if not is_hit or (len(hits) < self._rule.windows and float(score or 0) <= self._critical):
            return None
        peak_us, peak = max(hits, key=lambda hit: hit[1])
        self._open = Episode(hits[0][0], at_us, peak_us, peak, True)
        return self._open

    def _follow(self, at_us: int, score: float | None) -> Episode | None:
        found = self._open
        assert found is not None
        if score is not None:
            is_worse = score > found.score
            self._open = replace(found, last_us=at_us, score=max(score, found.score),
                                 peak_us=at_us if is_worse else found.peak_us)  # fmt: skip
            return None
        if 0 <= at_us - found.last_us <= self._rule.quiet_s * 1e6:
            return None
        return self.finish()

    def finish(self) -> Episode | None:
        """The flight is over: the episode that was open."""
        found, self._open = self._open, None
        self._recent.clear()
        return replace(found, is_open=False) if found is not None else None


def episodes(at_us: NDArray[np.int64], scores: Scores, looked_at: NDArray[np.bool_], threshold: float, critical: float,
             rule: Rule) -> list[Episode]:  # fmt: skip
    """All episodes of a flight: scores [w] at at_us [w], those not looked at count as not in flight."""
    watch = Persistence(threshold, critical, rule)
    steps = zip(at_us.tolist(), scores.tolist(), looked_at.tolist(), strict=True)
    found = [watch.update(at, score if look else None) for at, score, look in steps] + [watch.finish()]
    return [e for e in found if e is not None and not e.is_open]

"""Trends of one quantity over an airframe's flights: a robust level, the newest change, a slow growth.

Pure. All quantities are positive and compared as ratios, so everything is judged on logarithms. A change point is
the split
with the largest two-sample t; it counts when that is larger than FALSE_ALARM of steady, independent, normal series ever
reach, each time such a series is looked at (`limit`: simulated, with the same clipping of outliers). A step must
moreover fit better than a
straight line, else the line is reported as a rate. Below LEAST_CHANGE nothing is reported, however certain.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]
FALSE_ALARM = 0.001
LEAST_FLIGHTS = 8
MOST_FLIGHTS = 120
LEAST_SEGMENT = 3
"""Flights on either side of a change."""
LEAST_CHANGE = 0.1
"""Smallest change that is worth a word, relative."""
_LIMITS = ((8, 14.51), (10, 10.77), (12, 8.98), (16, 7.03), (24, 5.57), (40, 4.8), (70, 4.55), (120, 4.4))
"""(flights, |t| of the best split that FALSE_ALARM of 200,000 steady series exceeded)."""
_OUTLIER = 4.0
"""Robust standard deviations from its four neighbours beyond which a flight is an outlier."""


@dataclass(frozen=True, slots=True)
class Trend:
    """flights: how many tell. baseline: median before a change (without one: of all); spread: robust standard
    deviation about
    it; latest: median of the last three. changed_at: index (into what was given) of the first flight after the
    newest change;
    before, after: medians about it. rate_per_10h: of a slow trend, per 10 flight hours."""

    flights: int
    baseline: float
    spread: float
    latest: float
    changed_at: int | None = None
    before: float | None = None
    after: float | None = None
    rate_per_10h: float | None = None


def trend(hours: Array, values: Array) -> Trend | None:
    """hours [n]: flight hours of the airframe up to each flight, ascending; values [n]: NaN where a flight does not
    tell.
    None when fewer than LEAST_FLIGHTS do."""
    told = np.flatnonzero(np.isfinite(values) & (values > 0))[-MOST_FLIGHTS:]
    if len(told) < LEAST_FLIGHTS:
        return None
    x, logs = values[told], clipped(np.log(values[told])[None])[0]
    first, at = _newest_change(hours[told], logs)
    if at is not None:
        before, after = float(np.median(x[first:at])), float(np.median(x[at:]))
        return Trend(len(told), before, _spread(x[first:at]), _latest(x), int(told[at]), before, after)
    rate = _rate(hours[told][first:], x[first:], logs[first:])
    return Trend(len(told), float(np.median(x[first:])), _spread(x[first:]), _latest(x), rate_per_10h=rate)


def _newest_change(hours: Array, logs: Array) -> tuple[int, int | None]:
    """(begin of the steady span before the newest change, first index after it): splits again behind each step;
    (begin, None)
    when the newest span is steady or a line."""
    begin, found = 0, None
    while len(logs) - begin >= LEAST_FLIGHTS:
        rest = logs[begin:]
        split = step(rest)
        if split is None or _line_error(hours[begin:], rest) < _step_error(rest, split):
            break
        if abs(np.median(rest[split:]) - np.median(rest[:split])) < np.log1p(LEAST_CHANGE):
            break
        begin, found = begin + split, (begin, begin + split)
    return found if found is not None else (0, None)


def step(logs: Array) -> int | None:
    """First index after the likeliest step of [n], or None when steady series show as much."""
    t = split_statistic(logs[None])[0]
    at = int(t.argmax())
    return at + LEAST_SEGMENT if t[at] > limit(len(logs)) else None


def split_statistic(x: Array) -> Array:
    """|t| of each split [.., n - 2 * LEAST_SEGMENT + 1] of series [.., n] after LEAST_SEGMENT, ... flights."""
    n = x.shape[-1]
    k = np.arange(LEAST_SEGMENT, n - LEAST_SEGMENT + 1)
    x = x - x.mean(axis=-1, keepdims=True)
    total = np.cumsum(x, axis=-1)[..., k - 1]
    between = total**2 * n / (k * (n - k))  # sum of squares that the split explains
    within = np.maximum((x * x).sum(axis=-1, keepdims=True) - between, 1e-12)
    return np.asarray(np.sqrt(between / (within / (n - 2))))


def clipped(x: Array) -> Array:
    """Series [.., n] with lone outliers drawn to what their neighbours allow."""
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(2, 2)], mode="reflect")
    middle = np.median(sliding_window_view(padded, 5, axis=-1), axis=-1)
    scale = 1.4826 * np.median(np.abs(x - middle), axis=-1, keepdims=True)
    reach = _OUTLIER * np.maximum(scale, 1e-9)
    return np.asarray(np.clip(x, middle - reach, middle + reach))


def limit(n: int) -> float:
    """The |t| that the best split of FALSE_ALARM of steady series of n flights exceeds."""
    lengths, limits = zip(*_LIMITS, strict=True)
    return float(np.exp(np.interp(np.log(n), np.log(lengths), np.log(limits))))


def _step_error(logs: Array, at: int) -> float:
    return float(((logs[:at] - logs[:at].mean()) ** 2).sum() + ((logs[at:] - logs[at:].mean()) ** 2).sum())


def _line_error(hours: Array, logs: Array) -> float:
    slope = _slope(hours, logs)
    return float(((logs - logs.mean() - slope * (hours - hours.mean())) ** 2).sum())


def _slope(hours: Array, y: Array) -> float:
    off = hours - hours.mean()
    spread = float((off * off).sum())
    return float((off * y).sum()) / spread if spread > 0 else 0.0


def _rate(hours: Array, x: Array, logs: Array) -> float | None:
    """Change per 10 h of a line that is as sure as a step must be and worth a word over the span; else None."""
    off = hours - hours.mean()
    slope, n = _slope(hours, logs), len(logs)
    noise = np.sqrt(_line_error(hours, logs) / max(n - 2, 1) / max(float((off * off).sum()), 1e-12))
    is_sure = abs(slope) > limit(n) * max(float(noise), 1e-12)
    if n < LEAST_FLIGHTS or not is_sure or abs(slope) * float(np.ptp(hours)) < np.log1p(LEAST_CHANGE):
        return None
    return float(np.median(x)) * slope * 10


def _spread(x: Array) -> float:
    return float(1.4826 * np.median(np.abs(x - np.median(x))))


def _latest(x: Array) -> float:
    return float(np.median(x[-3:]))

"""Whether a log and a flight are the same flight, and how far their clocks are apart. Pure.

By time since the autopilot's boot first, by content second, by UTC third. What two sources say of position, attitude
and altitude where they overlap must agree in any case, and it alone can decide when a clock is not known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.grid import TICK_US, ChannelGrid
from shared.channels import BY_NAME
from shared.clock import ClockSource

Method = Literal["origin", "boot", "content", "utc"]
Floats = NDArray[np.float64]
GPS_TOLERANCE_US = 5_000_000
"""GPS time is right to well below a second; the latency of links and the seconds of a first fix come on top."""
STAMP_TOLERANCE_US = 12 * 3_600_000_000
"""A computer's clock may be wrong by its time zone."""
LEAST_OVERLAP = 100
"""Ticks (10 s) on which two sources must be comparable before their content decides anything."""
_DECIDES = 0.8
"""Correlation over all comparable channels from which content alone is believed."""
_DISTINCT = 0.03
_SIGNALS = ("roll_rad", "pitch_rad", "yaw_rad", "alt_rel_m", "groundspeed_mps")
_MOVES = {"roll_rad": 0.01, "pitch_rad": 0.01, "yaw_rad": 0.1, "alt_rel_m": 0.5, "groundspeed_mps": 0.5}
"""Standard deviation from which a signal says anything of time."""
_NEAR = {"roll_rad": 0.06, "pitch_rad": 0.06, "yaw_rad": 0.2, "alt_rel_m": 6.0, "groundspeed_mps": 2.0}
_NEAR_M = 60.0
_ALIKE = 0.5
"""Correlation from which two movements at one offset are taken for the same: a part of a second off lowers it."""
_METRES_PER_DEGREE = 111_195.0


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One source's rows on its own clock: us since 1970 UTC if its clock is known, since anything if not.

    boot_at_us: when on that clock the autopilot was powered up; None when the source does not say.
    """

    grid: ChannelGrid
    clock: ClockSource
    uncertainty_us: int = -1
    boot_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """offset_us: what is added to the log's time to get the flight's. agreement: share of what can be compared that
    agrees, 0..1; None when nothing can."""

    offset_us: int
    method: Method
    agreement: float | None


def align(log: Line, flight: Line) -> Match | None:
    """How a log lies on a flight; None when it is not the same flight, or when nobody can say that it is."""
    if len(log.grid.tick_us) == 0 or len(flight.grid.tick_us) == 0:
        return None
    return _by_boot(log, flight) or _by_content(log, flight) or _by_utc(log, flight)


def _by_boot(log: Line, flight: Line) -> Match | None:
    """The same time since boot; that it is the same boot, UTC or content must say."""
    if log.boot_at_us is None or flight.boot_at_us is None:
        return None
    offset = flight.boot_at_us - log.boot_at_us
    is_dated = _are_dated(log, flight)
    if not _overlap(log, flight, offset) or (is_dated and abs(offset) > _tolerance(log, flight)):
        return None
    found = agreement(log.grid, flight.grid, offset)
    is_told_by_utc = is_dated and abs(offset) <= GPS_TOLERANCE_US + _uncertainty(log, flight)
    least = 0.5 if is_told_by_utc else 0.75
    if found is None:
        return Match(offset, "boot", None) if is_told_by_utc else None
    if found.share < least or (not is_told_by_utc and not found.is_moving):
        return None
    return Match(offset, "boot", found.share)


def _by_content(log: Line, flight: Line) -> Match | None:
    """The offset at which their movements are the same, within what their clocks allow."""
    limit = _tolerance(log, flight) if _are_dated(log, flight) else None
    found = correlate(log.grid, flight.grid, limit)
    if found is None:
        return None
    agreed = agreement(log.grid, flight.grid, found)
    if agreed is None or agreed.share < 0.6:
        return None
    return Match(found, "content", agreed.share)


def _by_utc(log: Line, flight: Line) -> Match | None:
    """The same time by two clocks that can be believed, and nothing said against it."""
    if not _are_dated(log, flight) or _tolerance(log, flight) > GPS_TOLERANCE_US + _uncertainty(log, flight):
        return None
    if not _overlap(log, flight, 0):
        return None
    found = agreement(log.grid, flight.grid, 0)
    if found is not None and found.share < 0.5:
        return None
    return Match(0, "utc", None if found is None else found.share)


def _are_dated(log: Line, flight: Line) -> bool:
    return ClockSource.unknown not in (log.clock, flight.clock)


def _uncertainty(log: Line, flight: Line) -> int:
    return sum(min(max(line.uncertainty_us, 0), STAMP_TOLERANCE_US) for line in (log, flight))


def _tolerance(log: Line, flight: Line) -> int:
    is_gps = log.clock == flight.clock == ClockSource.gps
    return _uncertainty(log, flight) + (GPS_TOLERANCE_US if is_gps else STAMP_TOLERANCE_US)


def _overlap(log: Line, flight: Line, offset_us: int) -> bool:
    a, b = log.grid.tick_us + offset_us, flight.grid.tick_us
    return bool(a[0] <= b[-1] and b[0] <= a[-1])


@dataclass(frozen=True, slots=True)
class Agreement:
    """share: of the comparable quantities, those that agree. is_moving: some move enough to tell flights apart."""

    share: float
    is_moving: bool


def agreement(log: ChannelGrid, flight: ChannelGrid, offset_us: int) -> Agreement | None:
    """What two grids say of the same things at the same time; None when fewer than LEAST_OVERLAP ticks compare."""
    ticks = log.tick_us + round(offset_us / TICK_US) * TICK_US
    ticks = (ticks + TICK_US // 2) // TICK_US
    theirs = (flight.tick_us + TICK_US // 2) // TICK_US
    _, mine_at, their_at = np.intersect1d(ticks, theirs, assume_unique=False, return_indices=True)
    votes, moving = [], False
    for name in _SIGNALS:
        both = _both(log, flight, name, mine_at, their_at)
        if both is not None:
            is_near = float(np.median(np.abs(_difference(name, *both)))) <= _NEAR[name]
            a, b = (_difference(name, x, np.full_like(x, np.median(x))) for x in both)
            is_moving = bool(max(np.std(a), np.std(b)) > 2 * _MOVES[name])
            votes.append(is_near and (not is_moving or _correlation(a, b) >= _ALIKE))
            moving |= is_moving
    distance = _distance_m(log, flight, mine_at, their_at)
    if distance is not None:
        votes += [distance <= _NEAR_M] * 2
    return Agreement(sum(votes) / len(votes), moving) if votes else None


def _correlation(a: Floats, b: Floats) -> float:
    spread = float(np.std(a) * np.std(b))
    return float(np.mean((a - a.mean()) * (b - b.mean()))) / spread if spread else 0.0


def _both(
    log: ChannelGrid, flight: ChannelGrid, name: str, mine_at: NDArray[np.intp], their_at: NDArray[np.intp]
) -> tuple[Floats, Floats] | None:
    if name not in log.values or name not in flight.values:
        return None
    a, b = _physical(log, name)[mine_at], _physical(flight, name)[their_at]
    known = np.isfinite(a) & np.isfinite(b)
    return (a[known], b[known]) if known.sum() >= LEAST_OVERLAP else None


def _difference(name: str, a: Floats, b: Floats) -> Floats:
    if name == "yaw_rad":
        return np.arctan2(np.sin(a - b), np.cos(a - b))
    return a - b


def _distance_m(
    log: ChannelGrid, flight: ChannelGrid, mine_at: NDArray[np.intp], their_at: NDArray[np.intp]
) -> float | None:
    lat = _both(log, flight, "lat_deg", mine_at, their_at)
    lon = _both(log, flight, "lon_deg", mine_at, their_at)
    if lat is None or lon is None or len(lat[0]) != len(lon[0]):
        return None
    east = (lon[0] - lon[1]) * np.cos(np.radians(lat[0]))
    return float(np.median(np.hypot(lat[0] - lat[1], east))) * _METRES_PER_DEGREE


def _physical(grid: ChannelGrid, name: str) -> Floats:
    stored = grid.values[name]
    values = stored.astype(np.float64) * BY_NAME[name].scale
    values[stored == BY_NAME[name].missing] = np.nan
    return values


def correlate(log: ChannelGrid, flight: ChannelGrid, limit_us: int | None) -> int | None:
    """What to add to the log's time so that its movements are the flight's, us; None when there is no distinct such
    offset (within `limit_us`)."""
    a0, b0 = int(log.tick_us[0]), int(flight.tick_us[0])
    pairs = list(_pairs(log, flight))
    if not pairs:
        return None
    found = [_normalised(a, b, _MOVES[name]) for name, a, b in pairs]
    total, weight = sum(s for s, _ in found), sum(w.astype(np.float64) for _, w in found)
    lags = np.arange(len(found[0][0])) - (len(pairs[0][1]) - 1)
    score: Floats = np.where(weight >= 2, total / np.maximum(weight, 1), -1.0)
    if limit_us is not None:
        score[np.abs(lags * TICK_US + b0 - a0) > limit_us] = -1.0
    best = int(np.argmax(score))
    around = np.abs(lags - lags[best]) <= 30
    rival = float(np.max(np.where(around, -1.0, score)))
    if score[best] < _DECIDES or score[best] - rival < _DISTINCT:
        return None
    return b0 - a0 + round((int(lags[best]) + _vertex(score, best)) * TICK_US)


def _pairs(log: ChannelGrid, flight: ChannelGrid) -> Iterator[tuple[str, Floats, Floats]]:
    for name in _SIGNALS:
        if name not in log.values or name not in flight.values:
            continue
        a, b = _spread(log, name), _spread(flight, name)
        if name == "yaw_rad":
            yield name, np.sin(a), np.sin(b)
            yield name, np.cos(a), np.cos(b)
        else:
            yield name, a, b


MOST_TICKS = 1 << 18
"""Of one source in a correlation: 7 hours. Longer ones are compared by their beginning."""


def _spread(grid: ChannelGrid, name: str) -> Floats:
    """A channel on consecutive ticks, NaN where it has no value."""
    at = (grid.tick_us - grid.tick_us[0] + TICK_US // 2) // TICK_US
    out = np.full(int(min(at[-1] + 1, MOST_TICKS)), np.nan)
    is_in = at < len(out)
    out[at[is_in]] = _physical(grid, name)[is_in]
    return out


def _normalised(a: Floats, b: Floats, moves: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Correlation coefficient of `a` moved by each lag -(len(a) - 1) .. len(b) - 1 with `b`, over the ticks that both
    have; and where there are enough of those, and both move."""
    size = 1 << int(len(a) + len(b) - 1).bit_length()
    known_a, known_b = np.isfinite(a), np.isfinite(b)
    a = np.where(known_a, a - _mean(a), 0.0)
    b = np.where(known_b, b - _mean(b), 0.0)

    def lagged(x: Floats, y: Floats) -> Floats:
        product = np.fft.rfft(x[::-1], size) * np.fft.rfft(y, size)
        return np.fft.irfft(product, size)[: len(a) + len(b) - 1]

    ones_a, ones_b = known_a.astype(np.float64), known_b.astype(np.float64)
    n = np.maximum(np.rint(lagged(ones_a, ones_b)), 1)
    sum_a, sum_b = lagged(a, ones_b), lagged(ones_a, b)
    var_a = lagged(a * a, ones_b) / n - (sum_a / n) ** 2
    var_b = lagged(ones_a, b * b) / n - (sum_b / n) ** 2
    covariance = lagged(a, b) / n - sum_a * sum_b / n**2
    least = max(LEAST_OVERLAP, 0.25 * min(known_a.sum(), known_b.sum()))
    is_sound = (n >= least) & (var_a > moves**2) & (var_b > moves**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = covariance / np.sqrt(var_a * var_b)
    return np.where(is_sound, score, 0.0), is_sound


def _mean(x: Floats) -> float:
    known = x[np.isfinite(x)]
    return float(known.mean()) if len(known) else 0.0


def _vertex(score: Floats, at: int) -> float:
    """Where between its neighbours a peak is highest, in steps from `at`."""
    if not 0 < at < len(score) - 1:
        return 0.0
    left, mid, right = (float(s) for s in score[at - 1 : at + 2])
    bend = left - 2 * mid + right
    return 0.0 if bend >= 0 or min(left, right) < 0 else float(np.clip((left - right) / (2 * bend), -0.5, 0.5))

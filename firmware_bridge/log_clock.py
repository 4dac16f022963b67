"""How a log's own clock maps to UTC: GPS time with its leap seconds and roll-over, and one robust mapping per boot.

A log of GPS time tells many moments twice: on its own clock and in UTC. Most of them agree; what does not (before the
receiver knew the time, damage, a clock that was set in between) is left out; where less than half agree nothing is
known. A wall clock before 2010 or in the future was never set by anybody who knows: unknown rather than wrong.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.log_tables import NO_TIME
from shared.clock import UNKNOWN, ClockSource, TimeMapping

Times = NDArray[np.int64]

GPS_EPOCH_S = 315_964_800
"""1980-01-06 00:00:00 UTC in seconds since 1970."""
WEEK_MS = 604_800_000
ROLLOVER_WEEKS = 1024
EARLIEST_US = 1_262_304_000_000_000
"""2010-01-01: no log of these formats is older."""
_A_DAY_US = 86_400_000_000
_ALLOWED_FUTURE_US = 2 * _A_DAY_US
_BUILT_US = 1_735_689_600_000_000
"""2025-01-01: a computer whose own clock says less than this cannot tell what is in the future."""
_LATEST_US = 4_102_444_800_000_000
_AGREE_US = (2_500_000, 60_000_000)
"""Offsets this near to each other are one clock: transport delay, drift over hours, a leap second learned late; and,
where most do not agree so well, a log's clock that runs at another pace (boards of 2014, simulators)."""
_KEPT = 8_192
_LEAST_US = 1_000
_MOST_CLUSTERS = 16
STAMPS_AGREE_US = 2_000_000
"""A recorder's stamps that GPS time confirms this well stand as they are."""

# GPS minus UTC from these days on (days since 1970, seconds). IERS Bulletin C 1 to 70; none was announced since.
_LEAPS = np.array([
    (4199, 1), (4564, 2), (4929, 3), (5660, 4), (6574, 5), (7305, 6), (7670, 7), (8217, 8), (8582, 9), (8947, 10),
    (9496, 11), (10043, 12), (10592, 13), (13149, 14), (14245, 15), (15522, 16), (16617, 17), (17167, 18),
], np.int64)  # fmt: skip
_LEAP_AT_US = (_LEAPS[:, 0] * 86_400 - GPS_EPOCH_S + _LEAPS[:, 1]) * 1_000_000  # on the GPS scale


def gps_to_utc_us(week: NDArray[Any], week_ms: NDArray[Any]) -> Times:
    """GPS weeks since 1980 and ms of the week as us since 1970 UTC, leap seconds taken off."""
    gps_us = (week.astype(np.int64) * WEEK_MS + week_ms.astype(np.int64)) * 1000
    return gps_us + GPS_EPOCH_S * 1_000_000 - np.searchsorted(_LEAP_AT_US, gps_us, side="right") * 1_000_000


def full_weeks(week: NDArray[Any]) -> Times:
    """Weeks since 1980 of a receiver that counts modulo 1024, or is a roll-over behind; 0 (no time) stays 0.

    The years that logs can be from span less than 1024 weeks, so only one reading is possible.
    """
    weeks = week.astype(np.int64)
    first = (EARLIEST_US // 1_000_000 - GPS_EPOCH_S) // (WEEK_MS // 1000)
    behind = -((weeks - first) // ROLLOVER_WEEKS)
    return np.where((weeks > 0) & (weeks < first), weeks + behind * ROLLOVER_WEEKS, weeks)


def latest_us(now_us: int | None = None) -> int:
    """What lies later is the future. now_us: this computer's clock (None: asked), if it can be believed."""
    now = time.time_ns() // 1000 if now_us is None else now_us
    return now + _ALLOWED_FUTURE_US if now > _BUILT_US else _LATEST_US


@dataclass(slots=True)
class LogClock:
    """The moments of one boot that are known on both clocks, and what follows from them.

    latest_us: see `latest_us()`.
    """

    latest_us: int
    _times: list[Times] = field(default_factory=list)
    _offsets: list[Times] = field(default_factory=list)
    _count: int = 0

    def add(self, time_us: Times, utc_us: Times) -> None:
        """These moments of the log's clock were these in UTC (us since 1970); implausible ones are passed over."""
        good = (time_us != NO_TIME) & self.is_plausible(utc_us)
        if good.any():
            self._times.append(time_us[good])
            self._offsets.append(utc_us[good] - time_us[good])
            self._count += int(good.sum())
            if self._count > 2 * _KEPT:
                self._thin()

    def is_plausible(self, utc_us: Times) -> NDArray[np.bool_]:
        """Whether a clock that says this may have been set by somebody who knows."""
        return (utc_us >= EARLIEST_US) & (utc_us <= self.latest_us)

    def mapping(self) -> TimeMapping:
        """GPS time's word on the log's clock; UNKNOWN when there is none, or no agreement."""
        if not self._count:
            return UNKNOWN
        times, offsets = np.concatenate(self._times), np.concatenate(self._offsets)
        agree = next((a for w in _AGREE_US if 2 * int((a := _largest_cluster(offsets, w)).sum()) > len(offsets)), None)
        if agree is None:
            return UNKNOWN
        offset = int(np.median(offsets[agree]))
        low, high = np.percentile(offsets[agree], (5, 95))
        middle = int(np.median(times[agree]))
        return TimeMapping(ClockSource.gps, middle, middle + offset, max(int(high - low) // 2, _LEAST_US))

    def stamped(self, first_us: int, last_us: int) -> TimeMapping:
        """The same for a log whose clock is a recorder's wall clock, from first to last stamp.

        Stamps that GPS time confirms, or that nothing contradicts, stand; else GPS time corrects them.
        """
        gps = self.mapping()
        span = np.array([first_us, last_us], np.int64)
        is_set = bool(self.is_plausible(span).all())
        if gps.utc_us is not None and not (is_set and abs(gps.offset_us()) <= STAMPS_AGREE_US + gps.uncertainty_us):
            return gps
        if not is_set:
            return UNKNOWN
        return TimeMapping(ClockSource.log, first_us, first_us, 0 if gps.utc_us is None else abs(gps.offset_us()))

    def _thin(self) -> None:
        self._times = [np.concatenate(self._times)[::2]]
        self._offsets = [np.concatenate(self._offsets)[::2]]
        self._count = len(self._times[0])


def _largest_cluster(offsets: Times, width_us: int) -> NDArray[np.bool_]:
    """[n]: the most offsets that lie within width_us of each other; of equals the one seen last."""
    ordered = np.sort(offsets)
    sizes = np.searchsorted(ordered, ordered + width_us, side="right") - np.arange(len(ordered))
    lows = np.unique(ordered[sizes == sizes.max()])[-_MOST_CLUSTERS:]
    inside = [(offsets >= low) & (offsets <= low + width_us) for low in lows]
    return max(inside, key=lambda i: int(np.flatnonzero(i)[-1]))

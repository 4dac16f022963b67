"""Tables of a log to canonical channels on the 10 Hz grid: the rule of `grid.py`, fed portion by portion.

Of each source only the newest message of a tick is kept, so the work and the memory follow the flight's length, not the
log's rates. A value is held until its channel's `stale_s` is over; nothing is interpolated. What a log says once, when
it changes (armed, mode), holds until it says otherwise, in ticks in which anything is heard at all.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.grid import HOLD_US, TICK_US, ChannelGrid, Ints
from firmware_bridge.log_arming import changes
from firmware_bridge.log_rows import History, SourceRows, Times
from firmware_bridge.log_sources import TableSource
from firmware_bridge.sources import Target
from shared.channels import BY_NAME

HOLD_TICKS = HOLD_US // TICK_US
WINDOW_TICKS = 6_000
"""Ticks that are worked out together: ten minutes."""
_LATE_US = 5_000_000
"""How late, in a log's order, a message of another table may stand."""


@dataclass(slots=True, eq=False)
class Kept:
    """What one source gave so far that is not worked off: times [k] and stored values [targets, k]."""

    targets: tuple[Target, ...]
    times: list[Times] = field(default_factory=list)
    values: list[NDArray[np.int64]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What a log says when it changes: from each of time_us [k] on `values` [k] of a channel hold."""

    channel: str
    time_us: Times
    values: NDArray[np.float64]


class TableGrid:
    """The grid of one flight: ticks in (first_us, last_us] of the log's clock. offset_us: to UTC, 0 when unknown."""

    def __init__(self, sources: tuple[TableSource, ...], first_us: int, last_us: int, offset_us: int) -> None:
        self._sources, self._offset_us = sources, offset_us
        self._first, self._last = (first_us + offset_us) // TICK_US + 1, (last_us + offset_us) // TICK_US
        self._from_us, self._to_us = first_us - HOLD_US, last_us
        self._kept = [Kept(tuple(t for c in s.columns for t in c.targets)) for s in sources]
        self._states: dict[str, State] = {}
        self._heard = np.zeros(0, np.int64)
        self._grids: list[ChannelGrid] = []

    def tell(self, states: list[State]) -> None:
        """What the portion to be added says of states, also before the flight."""
        for s in states:
            at = changes(s.values)
            s = State(s.channel, s.time_us[at], s.values[at])
            old = self._states.get(s.channel)
            if old is not None:
                s = State(s.channel, np.append(old.time_us, s.time_us), np.append(old.values, s.values))
                order = np.argsort(s.time_us, kind="stable")
                s = State(s.channel, s.time_us[order], s.values[order])
            self._states[s.channel] = s

    def add(self, history: History) -> None:
        """The next portion of the boot (already taken by the history)."""
        spans = [t.time_us for t in history.current.values()]
        if not any(t[-1] > self._from_us and t[0] <= self._to_us for t in spans):
            return
        for source, kept in zip(self._sources, self._kept, strict=True):
            for rows in history.rows(source):
                self._keep(source, kept, rows)
        times = np.concatenate([self._tick_of(t[(t > self._from_us) & (t <= self._to_us)]) for t in spans])
        self._heard = np.union1d(self._heard, times)
        self._work_off((history.last_us - _LATE_US + self._offset_us) // TICK_US, WINDOW_TICKS)

    def finish(self) -> list[ChannelGrid]:
        """What is still open; all grids of the flight, in order, without rows in which nothing was heard."""
        self._work_off(self._last, 1)
        return self._grids

    def _tick_of(self, time_us: Times) -> Times:
        """The first tick at which a message of this time is known."""
        return -((-(time_us + self._offset_us)) // TICK_US)

    def _keep(self, source: TableSource, kept: Kept, rows: SourceRows) -> None:
        t = rows.timed.time_us
        wanted = (t > self._from_us) & (t <= self._to_us)
        if source.primary is not None:
            wanted &= rows.in_charge(source)
        index = np.flatnonzero(wanted)
        if not len(index):
            return
        tick = self._tick_of(t[index])
        newest = np.append(tick[1:] != tick[:-1], True)
        rows = SourceRows(rows.history, rows.timed, index[newest])
        values = np.empty((len(kept.targets), len(rows.time_us)), np.int64)
        at = 0
        for column in source.columns:
            for physical in column.compute(rows):
                values[at] = stored(kept.targets[at][0], physical)
                at += 1
        kept.times.append(rows.time_us)
        kept.values.append(values)

    def _work_off(self, known_to: int, fewest: int) -> None:
        """Evaluate the ticks that no later message can change, when there are at least `fewest`."""
        alive = self._alive(min(known_to, self._last))
        while len(alive) >= fewest:
            ticks, alive = alive[:WINDOW_TICKS], alive[WINDOW_TICKS:]
            grid = self._window(ticks)
            if len(grid.tick_us):
                self._grids.append(grid)
            self._first = int(ticks[-1]) + 1
        self._heard = self._heard[self._heard >= self._first - HOLD_TICKS]

    def _alive(self, last: int) -> Times:
        """Ticks from the first open one to `last` at which something was heard within HOLD_US."""
        if not len(self._heard):
            return self._heard
        cuts = np.flatnonzero(np.diff(self._heard) > HOLD_TICKS)
        starts = np.maximum(np.append(self._heard[0], self._heard[cuts + 1]), self._first)
        ends = np.minimum(np.append(self._heard[cuts], self._heard[-1]) + HOLD_TICKS, last)
        runs = [np.arange(a, b + 1) for a, b in zip(starts.tolist(), ends.tolist(), strict=True) if a <= b]
        return np.concatenate(runs) if runs else np.zeros(0, np.int64)

    def _window(self, ticks: Times) -> ChannelGrid:
        out: dict[str, Ints] = {}
        for source_kept in reversed(self._kept):
            _lay(source_kept, ticks, self._offset_us, out)
        for state in self._states.values():
            at = np.searchsorted(state.time_us, ticks * TICK_US - self._offset_us, side="right") - 1
            if (at >= 0).any():
                _column(state.channel, len(ticks), out)[at >= 0] = stored(state.channel, state.values)[at[at >= 0]]
        is_row = np.zeros(len(ticks), bool)
        for name, values in out.items():
            given = values != BY_NAME[name].missing
            is_row |= given if given.ndim == 1 else given.any(axis=1)
        known = {n: v[is_row] for n, v in out.items()}
        known = {n: v for n, v in known.items() if (v != BY_NAME[n].missing).any()}
        return ChannelGrid((ticks * TICK_US - self._offset_us)[is_row], {n: known[n] for n in BY_NAME if n in known})


def _column(name: str, length: int, out: dict[str, Ints]) -> Ints:
    channel = BY_NAME[name]
    if name not in out:
        shape = (length,) if channel.size == 1 else (length, channel.size)
        out[name] = np.full(shape, channel.missing, channel.dtype)
    return out[name]


def _lay(kept: Kept, ticks: Times, offset_us: int, out: dict[str, Ints]) -> None:
    """Put what one source gives over what less trusted ones gave; keep its last row and what lies ahead."""
    if not kept.times:
        return
    times, values = np.concatenate(kept.times), np.concatenate(kept.values, axis=1)
    if (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[:, order]
    tick_us = ticks * TICK_US - offset_us
    at = np.searchsorted(times, tick_us, side="right") - 1
    age = tick_us - times[np.maximum(at, 0)]
    for (name, index), row in zip(kept.targets, values, strict=True):
        channel = BY_NAME[name]
        given = (at >= 0) & (age <= int(channel.stale_s * 1e6))
        given[given] = row[at[given]] != channel.missing
        if given.any():
            column = _column(name, len(ticks), out)
            (column if channel.size == 1 else column[:, index])[given] = row[at[given]]
    first = max(int(np.searchsorted(times, tick_us[-1], side="right")) - 1, 0)
    kept.times, kept.values = [times[first:]], [values[:, first:]]


@cache
def _limits(name: str) -> tuple[float, float]:
    """The least and greatest stored integer of a channel."""
    c = BY_NAME[name]
    limits = np.iinfo(c.dtype)
    return max(np.ceil(c.low / c.scale - 1e-6), limits.min + 1), min(np.floor(c.high / c.scale + 1e-6), limits.max)


def stored(name: str, physical: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.int64]:
    """[m]: physical values as the channel stores them, missing where they are not believable."""
    low, high = _limits(name)
    raw = np.rint(np.asarray(physical, np.float64) * (1.0 / BY_NAME[name].scale))
    good = (raw >= low) & (raw <= high)
    return np.where(good, np.where(good, raw, 0).astype(np.int64), BY_NAME[name].missing)

"""One flight from many sources: rows, where each came from, and events without doubles. Pure.

The better source wins, channel by channel and tick by tick; what it lacks is filled from the next. In this order:

| source    | what                                                       | why                                      |
|-----------|------------------------------------------------------------|------------------------------------------|
| onboard   | the autopilot's own log: DataFlash (binary, text), ULog    | full rate, no radio in between           |
| telemetry | a ground station's recording: tlog, raw MAVLink            | whole where the live link was not        |
| live      | the aircraft's stream, as its recorder sent it             | there at once; fills what logs leave out |
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.events import Event
from firmware_bridge.grid import TICK_US, ChannelGrid, Ints
from shared.channels import BY_NAME, CHANNELS

Kind = Literal["onboard", "telemetry", "live"]
RANK: dict[Kind, int] = {"onboard": 0, "telemetry": 1, "live": 2}
KIND_OF_FORMAT: dict[str, Kind] = {
    "dataflash": "onboard", "dataflash-text": "onboard", "ulog": "onboard", "tlog": "telemetry", "raw": "telemetry"
}  # fmt: skip
PAUSE_TICKS = 150
"""A source that is away for less than this (15 s) has one span of provenance, with as many rows as are its own."""
MOST_SPANS = 1_000
LEAST_HOLE = 5
SAME_EVENT_US = 2_500_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of some channels that came from one source: those between from_us and to_us (of the flight's ticks)."""

    source: int
    channels: tuple[str, ...]
    from_us: int
    to_us: int
    rows: int


def merge(grids: Sequence[ChannelGrid]) -> tuple[ChannelGrid, list[Span]]:
    """Grids on common ticks, best first, as one with each tick once; and which source gave what."""
    ticks = np.unique(np.concatenate([g.tick_us for g in grids])) if grids else np.zeros(0, np.int64)
    places = [np.searchsorted(ticks, g.tick_us) for g in grids]
    values: dict[str, Ints] = {}
    spans: dict[tuple[int, int, int, int], list[str]] = {}
    for channel in CHANNELS:
        givers = [i for i, g in enumerate(grids) if channel.name in g.values]
        if not givers:
            continue
        out, source = _fill(channel.name, ticks, [(i, places[i], grids[i].values[channel.name]) for i in givers])
        values[channel.name] = out
        for run in _runs(source, ticks):
            spans.setdefault(run, []).append(channel.name)
    return ChannelGrid(ticks, values, sensed=_sensed(grids, places, len(ticks))), _listed(spans)


def _sensed(
    grids: Sequence[ChannelGrid], places: Sequence[NDArray[np.intp]], rows: int
) -> dict[str, NDArray[np.float64]]:
    """What only the analysis reads, by the same rule."""
    out: dict[str, NDArray[np.float64]] = {}
    for grid, at in zip(grids, places, strict=True):
        for name, values in grid.sensed.items():
            held = out.setdefault(name, np.full(rows, np.nan))
            held[at] = np.where(np.isfinite(held[at]), held[at], values)
    return out


def _fill(
    name: str, ticks: NDArray[np.int64], parts: Iterable[tuple[int, NDArray[np.intp], Ints]]
) -> tuple[Ints, NDArray[np.int8]]:
    """One channel from its sources, and per row the index of the source (-1: none has a value)."""
    channel = BY_NAME[name]
    shape = (len(ticks), channel.size) if channel.size > 1 else (len(ticks),)
    out: Ints = np.full(shape, channel.missing, channel.dtype)
    source = np.full(len(ticks), -1, np.int8)
    for index, at, stored in parts:
        has_value = (stored != channel.missing).any(axis=1) if stored.ndim > 1 else stored != channel.missing
        take = has_value & (source[at] < 0)
        out[at[take]] = stored[take]
        source[at[take]] = index
    return out, source


def _runs(source: NDArray[np.int8], ticks: NDArray[np.int64]) -> Iterable[tuple[int, int, int, int]]:
    """(source, from_us, to_us, rows) of each span in which a source gives rows without a longer pause."""
    for index in np.unique(source[source >= 0]).tolist():
        at = np.flatnonzero(source == index)
        breaks = np.flatnonzero(np.diff(ticks[at]) > PAUSE_TICKS * TICK_US) + 1
        for a, b in pairwise([0, *breaks.tolist(), len(at)]):
            yield index, int(ticks[at[a]]), int(ticks[at[b - 1]]), b - a


def _listed(spans: dict[tuple[int, int, int, int], list[str]]) -> list[Span]:
    """In order of source and time; too many of them are drawn together, one per source and channel."""
    if len(spans) > MOST_SPANS:
        drawn: dict[tuple[int, str], list[tuple[int, int, int]]] = {}
        for (source, first, last, rows), names in spans.items():
            for name in names:
                drawn.setdefault((source, name), []).append((first, last, rows))
        spans = {}
        for (source, name), runs in drawn.items():
            whole = (source, min(r[0] for r in runs), max(r[1] for r in runs), sum(r[2] for r in runs))
            spans.setdefault(whole, []).append(name)
    return [Span(s, tuple(names), a, b, rows) for (s, a, b, rows), names in sorted(spans.items())]


@dataclass(frozen=True, slots=True)
class Holes:
    """Ticks from the first to the last of a flight that its live stream has no row for, and those of them that a log
    has."""

    lost: int
    filled: int


def holes(live: NDArray[np.int64], merged: NDArray[np.int64], span_us: tuple[int, int]) -> Holes:
    """Of the ticks in span_us (first, last), what the live stream lacks and what of it is there all the same. Less than
    LEAST_HOLE ticks in a row are no hole."""
    first, last = -(-span_us[0] // TICK_US), span_us[1] // TICK_US
    if last < first:
        return Holes(0, 0)
    heard, have = (np.unique(np.rint(t / TICK_US).astype(np.int64)) for t in (live, merged))
    edges = np.concatenate([[first - 1], heard[(heard >= first) & (heard <= last)], [last + 1]])
    missing = np.diff(edges) - 1
    is_hole = missing >= LEAST_HOLE
    extra = np.setdiff1d(have[(have >= first) & (have <= last)], heard)
    filled = is_hole[np.searchsorted(edges, extra) - 1].sum() if len(extra) else 0
    return Holes(int(missing[is_hole].sum()), int(filled))


def within(grid: ChannelGrid, window_us: tuple[int, int]) -> ChannelGrid:
    """The rows at window_us[0] <= tick < window_us[1]."""
    keep = (grid.tick_us >= window_us[0]) & (grid.tick_us < window_us[1])
    if keep.all():
        return grid
    sensed = {k: v[keep] for k, v in grid.sensed.items()}
    return ChannelGrid(grid.tick_us[keep], {k: v[keep] for k, v in grid.values.items()}, sensed=sensed)


def merge_events(sources: Sequence[Sequence[tuple[T, Event]]]) -> list[tuple[T, Event]]:
    """Events of several sources, best first, in order of time: what two sources tell is told once, as the better one
    tells it (with the other's severity where it knows none). T: whatever goes with an event."""
    kept: list[tuple[T, Event]] = []
    for source in sources:
        better = _Better([event for _, event in kept])
        new = [(with_it, e) for with_it, e in sorted(source, key=lambda k: k[1].at_us) if not better.has_told(e)]
        kept = [(with_it, e) for (with_it, _), e in zip(kept, better.events, strict=True)]
        kept = sorted([*kept, *new], key=lambda k: k[1].at_us)
    return kept


_STATES = {"armed": "arming", "disarmed": "arming", "takeoff": "air", "landed": "air", "mode": "mode", "gps": "gps"}
"""Events that say what is so from then on: who begins to listen later tells as news what was so already."""


class _Better:
    """What better sources have told: `events`, in order of time."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self._places: dict[tuple[str, object], list[int]] = {}
        self._states: dict[str, list[tuple[int, tuple[str, object]]]] = {}
        for i, e in enumerate(events):
            self._places.setdefault(_subject(e), []).append(i)
            self._hold(e)

    def has_told(self, event: Event) -> bool:
        """Whether this is no news; each event of a better source stands for one event of the other, a state for any."""
        places = self._places.get(_subject(event), [])
        near = [i for i in places if abs(self.events[i].at_us - event.at_us) <= SAME_EVENT_US]
        if near:
            nearest = min(near, key=lambda i: abs(self.events[i].at_us - event.at_us))
            places.remove(nearest)
            self._grade(nearest, event)
            return True
        if self._is_so(event):
            return True
        self._hold(event)
        return False

    def _grade(self, place: int, event: Event) -> None:
        """DataFlash keeps no severity of a text."""
        told = self.events[place]
        if told.kind == "statustext" and told.severity == "info" != event.severity:
            self.events[place] = replace(told, kind=event.kind, severity=event.severity, value=event.value)

    def _hold(self, event: Event) -> None:
        if event.kind in _STATES:
            insort(self._states.setdefault(_STATES[event.kind], []), (event.at_us, _subject(event)), key=lambda s: s[0])

    def _is_so(self, event: Event) -> bool:
        """Whether the newest that was told of this state is just that."""
        told = self._states.get(_STATES.get(event.kind, ""), [])
        at = bisect_right(told, event.at_us, key=lambda s: s[0])
        return at > 0 and told[at - 1][1] == _subject(event)


def _subject(event: Event) -> tuple[str, object]:
    """What an event is about, however a source words it."""
    match event.kind:
        case "statustext" | "failsafe":
            return "text", " ".join(event.text.lower().split())
        case "mode":
            return "mode", event.text.lower() or event.value
        case "gps":
            return "gps", event.value is not None and event.value >= 3
        case _:
            return event.kind, None

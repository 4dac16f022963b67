"""A log's flights as the live path would have given them: channels on the 10 Hz grid in UTC ticks, and events.

A second pass over the log, portion by portion; what is kept is the flights' grids. DataFlash and ULog go through
`log_sources` and `log_grid`, MAVLink logs through the live path's own `grid.to_grid` and `events.flight_events`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from firmware_bridge.columns import FrameColumns, columns_of
from firmware_bridge.events import Event, EventState, flight_events
from firmware_bridge.grid import Carry, ChannelGrid, GridInput, carry_of, to_grid
from firmware_bridge.log_arming import NO_ARMING
from firmware_bridge.log_events import LogEvents
from firmware_bridge.log_grid import State, TableGrid
from firmware_bridge.log_rows import History
from firmware_bridge.log_sensed import DATAFLASH_SENSED, ULOG_SENSED, TableSensed
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_sources import DATAFLASH, ULOG
from firmware_bridge.log_survey import LogBoot, LogSession, Progress, Survey
from firmware_bridge.log_tables import Portion
from firmware_bridge.sensed import SENSED_SOURCES, SensedReader
from firmware_bridge.sources import SOURCES
from firmware_bridge.vehicle import TRACKED
from shared.frames import Frames

PREROLL_US = 30_000_000
"""What goes before arming, as in a live session."""
MAX_FLIGHT_EVENTS = 20_000
_HOLE_US = 60_000_000
_READ = TRACKED | {s.msgid for s in SOURCES} | {24} | SENSED_SOURCES.keys()


@dataclass(frozen=True, slots=True, eq=False)
class LogFlight:
    """One session of a log.

    grids: consecutive, `tick_us` on the log's clock, whole tenths of a second in UTC. events: in order, on the log's
    clock. offset_us: what to add to both for UTC; 0 when it is not known (`boot.clock.source`).
    """

    session: LogSession
    boot: LogBoot
    grids: list[ChannelGrid]
    events: list[Event]
    offset_us: int


def derive(source: LogSource, survey: Survey, progress: Progress | None = None) -> list[LogFlight]:
    """The flights of `survey.sessions`, in their order. progress: called with the unpacked bytes read so far.

    Nothing that a log holds raises; Refused (log_too_large) and OSError as from LogSource.pieces.
    """
    if not survey.sessions:
        return []
    is_mavlink = survey.format in ("tlog", "raw")
    flights = [_Flight(i, survey) for i in range(len(survey.sessions))]
    boot: _FrameBoot | _TableBoot | None = None
    for portion in _portions(source, progress):
        if boot is None or portion.is_new_boot:
            boot = _FrameBoot(survey) if is_mavlink else _TableBoot(survey)
        with np.errstate(all="ignore"):
            boot.read(portion, [f for f in flights if f.is_in(portion)])
    return [f.finish() for f in flights]


def _portions(source: LogSource, progress: Progress | None) -> Iterator[Portion]:
    reader, size = source.reader(), 0
    for piece in source.pieces():
        yield from reader.feed(piece)
        size += len(piece)
        if progress is not None:
            progress(size)
    yield from reader.finish()


class _Flight:
    """One flight in the making."""

    def __init__(self, number: int, survey: Survey) -> None:
        self.session = survey.sessions[number]
        self.boot = survey.boots[self.session.boot]
        self.offset_us = self.boot.clock.offset_us()
        before = survey.sessions[number - 1] if number else None
        ends = before.end_us if before and before.boot == self.session.boot else self.boot.first_us - 1
        self.first_us = max(self.session.start_us - PREROLL_US, ends)
        self.last_us = self.session.end_us
        self.covered_us = self.first_us
        self.grids: list[ChannelGrid] = []
        self.events: list[Event] = []
        self.carry: Carry | None = None
        self.sensed = SensedReader()
        sources = ULOG if survey.format == "ulog" else DATAFLASH
        self.tables = TableGrid(sources, self.first_us, self.last_us, self.offset_us)
        if self.session.why == NO_ARMING:  # as inferred as the flight itself; without it nothing in it is flying
            self.tables.tell([State("armed", np.array([self.session.start_us]), np.array([1.0]))])
        sensed = ULOG_SENSED if survey.format == "ulog" else DATAFLASH_SENSED
        self.table_sensed = TableSensed(sensed, self.first_us, self.last_us, self.offset_us)

    def is_in(self, portion: Portion) -> bool:
        """Whether the portion may hold some of the flight: it lies in the flight's boot."""
        return self.boot.start < portion.end and portion.start < max(self.boot.end, self.boot.start + 1)

    def note(self, events: list[Event]) -> None:
        """Keep the events of the flight."""
        room = MAX_FLIGHT_EVENTS - len(self.events)
        self.events += [e for e in events if self.first_us < e.at_us <= self.last_us][:room]

    def take(self, columns: FrameColumns, vehicle: tuple[int, int], autopilot: int) -> None:
        """A stretch of a MAVLink log without a long hole."""
        first, last = int(columns.time_us.min()), int(columns.time_us.max())
        upto = min(last, self.last_us)
        if upto <= self.covered_us or first > self.last_us:
            return
        covers = (max(self.covered_us, first - 1), upto)
        item = GridInput(columns, vehicle, covers, self.offset_us, autopilot, self.carry)
        grid = to_grid([item])[0]
        sensed = self.sensed.read(columns, vehicle, grid.tick_us)
        self.grids += [replace(grid, sensed=sensed)] if len(grid.tick_us) else []
        self.carry, self.covered_us = carry_of(item), upto

    def finish(self) -> LogFlight:
        """When the log is read."""
        grids = [*self.grids, *(replace(g, sensed=self.table_sensed.read(g.tick_us)) for g in self.tables.finish())]
        self.events.sort(key=lambda e: e.at_us)
        return LogFlight(self.session, self.boot, grids, self.events, self.offset_us)


@dataclass(slots=True)
class _TableBoot:
    """One boot of a DataFlash or ULog."""

    survey: Survey
    history: History = field(default_factory=History)
    events: LogEvents = field(init=False)

    def __post_init__(self) -> None:
        self.events = LogEvents(self.survey.format, self.survey.vehicle_type)

    def read(self, portion: Portion, flights: list[_Flight]) -> None:
        """The next portion and the flights that it may be part of."""
        self.history.take(portion)
        events, states = self.events.read(portion, self.history)
        for flight in flights:
            flight.tables.tell(states)
            flight.tables.add(self.history)
            flight.table_sensed.add(self.history)
            flight.note(events)


@dataclass(slots=True)
class _FrameBoot:
    """One boot of a MAVLink log."""

    survey: Survey
    state: EventState = field(default_factory=EventState)

    def read(self, portion: Portion, flights: list[_Flight]) -> None:
        """The next portion and the flights that it may be part of."""
        if portion.frames is None or not len(portion.frames):
            return
        vehicle = (self.survey.sysid, self.survey.compid)
        for frames in _stretches(portion.frames):
            columns = columns_of(frames, only=_READ)
            events = flight_events(columns, vehicle, self.state)
            for flight in flights:
                flight.take(columns, vehicle, self.survey.autopilot)
                flight.note(events)


def _stretches(frames: Frames) -> Iterator[Frames]:
    """Frames cut at holes, so that nobody makes ticks for hours in which nothing was heard."""
    cuts = np.flatnonzero(np.abs(np.diff(frames.time_us)) > _HOLE_US) + 1
    edges = [0, *cuts.tolist(), len(frames.time_us)]
    if len(edges) == 2:
        yield frames
        return
    for a, b in pairwise(edges):
        start, end = int(frames.offsets[a]), int(frames.offsets[b])
        yield Frames(frames.data[start:end], frames.offsets[a : b + 1] - start, frames.time_us[a:b])

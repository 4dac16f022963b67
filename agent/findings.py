"""Findings on board: the last seconds of channels, judged once a second while the aircraft flies.

Pure: frames and times come in, findings go out. Nothing is computed on the ground. A finding is sent when its episode
begins and again, under the same id, when it has ended.
"""

import itertools
import uuid
from collections import deque

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.columns import FrameColumns, columns_of
from firmware_bridge.grid import MAX_TICKS, TICK_US, Carry, ChannelGrid, GridInput, carry_of, to_grid
from firmware_bridge.sensed import SENSED_SOURCES, SensedReader
from firmware_bridge.sources import SOURCES
from firmware_bridge.vehicle import Vehicle, VehicleTracker
from shared.features import HOP_S, FeatureStream, Vector, airframe
from shared.frames import Frames
from shared.ids import new_id
from shared.persistence import Episode, Persistence
from shared.records import Finding
from shared.scoring import Bundle, Nominal
from shared.timeline import physical

_SOURCE_IDS = frozenset(s.msgid for s in SOURCES) | frozenset(SENSED_SOURCES)
_HOP_US = HOP_S * 1_000_000
KIND_VECTORS = 5
"""Vectors from an episode's begin on that its kind is named by."""


class FindingEngine:
    """Watches one vehicle. `scored` counts vectors, `newest_score` is the last one's (None on the ground)."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._tracker = VehicleTracker()
        self.scored = 0
        self._was_armed = False
        self._session: uuid.UUID | None = None
        self._reset()

    def _reset(self) -> None:
        self.newest_score: float | None = None
        self._carry: Carry | None = None
        self._covered_us: int | None = None
        self._begin_flight()

    def _begin_flight(self) -> None:
        """What is known of the flight's own past begins anew (also behind a hole in the data)."""
        self._sensed = SensedReader()
        self._stream = FeatureStream()
        self._next_us: int | None = None
        self._aircraft = ""
        self._watch: Persistence | None = None
        self._finding_id = new_id()
        self._vectors: deque[tuple[int, Vector]] = deque(maxlen=KIND_VECTORS)
        self._worst: tuple[float, Vector] | None = None

    def update(
        self, frames: Frames, vehicle: tuple[int, int] | None, armed: bool, session: uuid.UUID | None,
        until_us: int | None = None,
    ) -> list[Finding]:  # fmt: skip
        """Take the frames since the last call, up to `until_us` (recorder's clock; None: the last frame's time).

        vehicle: (sysid, compid) of the autopilot. armed, session: now, at the end of these frames. Called about once a
        second; frames of many seconds at once give what as many calls would. Disarmed, or a class of aircraft that the
        model does not know: what was open ends, and the flight's past begins anew.
        """
        known = self._follow(frames, vehicle)
        is_due, self._was_armed = armed or self._was_armed, armed
        if known is None or not is_due:
            ended = self._end()
            self._reset()
            return ended
        self._session = session or self._session
        columns = columns_of(frames, _SOURCE_IDS)
        grid = self._grid(frames, columns, known, until_us)
        sensed = self._sensed.read(columns, (known.sysid, known.compid), grid.tick_us)
        findings: list[Finding] = []
        values = {**physical(grid.values), **sensed}
        for first, last in _runs(grid.tick_us):
            if self._next_us is not None and int(grid.tick_us[first]) != self._next_us:
                findings += self._end()
                self._begin_flight()
            self._next_us = int(grid.tick_us[last - 1]) + TICK_US
            part = {name: x[first:last] for name, x in values.items()}
            ends, vectors, flying = self._stream.push(part)
            for end, vector, is_flying in zip(ends.tolist(), vectors, flying.tolist(), strict=True):
                at_us = int(grid.tick_us[first + end - 1])
                findings += self._score(known, at_us, vector if is_flying else None, part)
        return findings

    def _follow(self, frames: Frames, address: tuple[int, int] | None) -> Vehicle | None:
        """The vehicle at the address, when the model knows its class."""
        if address != self._tracker.latched:
            self._tracker = VehicleTracker(latched=address)
            self._was_armed, self._session = False, None
            self._reset()
        if address is None:
            return None
        self._tracker.update(frames)
        vehicle = self._tracker.vehicle
        is_known = vehicle is not None and self._bundle.nominal(vehicle.vehicle_class) is not None
        return vehicle if is_known else None

    def _grid(self, frames: Frames, columns: FrameColumns, vehicle: Vehicle, until_us: int | None) -> ChannelGrid:
        """The new ticks. A clock that ran back, or that leapt, begins anew."""
        newest = int(frames.time_us.max()) if len(frames) else self._covered_us or 0
        until = newest if until_us is None else max(until_us, newest)
        start = self._covered_us
        if start is None or not 0 <= until - start <= MAX_TICKS * TICK_US:
            self._reset()
            start = int(frames.time_us.min()) - 1 if len(frames) else until
        item = GridInput(
            columns, (vehicle.sysid, vehicle.compid), (start, until), autopilot=vehicle.autopilot, carry=self._carry
        )
        self._carry, self._covered_us = carry_of(item), until
        return to_grid([item])[0]

    def _score(
        self, vehicle: Vehicle, at_us: int, vector: Vector | None, part: dict[str, NDArray[np.floating]]
    ) -> list[Finding]:
        """Judge one vector (None: not in flight); the findings that begin or end with it."""
        if vector is None:
            self.newest_score = None
            return self._take(self._watch.update(at_us, None)) if self._watch else []
        if self._aircraft != "quadplane":  # an aeroplane that has shown its lift motors stays a quadplane
            aircraft = airframe(vehicle.vehicle_class, part)
            self._watch = self._watch if aircraft == self._aircraft else None
            self._aircraft = aircraft
        nominal = self._bundle.nominal(self._aircraft)
        if nominal is None:
            return []
        if self._watch is None:
            self._watch = Persistence(nominal.threshold, nominal.critical, self._bundle.rule)
        self.newest_score = self._bundle.score(vector, nominal)
        self.scored += 1
        self._remember(at_us, vector, self.newest_score, nominal)
        return self._take(self._watch.update(at_us, self.newest_score))

    def _remember(self, at_us: int, vector: Vector, score: float, nominal: Nominal) -> None:
        """The first vectors of what may be an episode, and its worst."""
        if self._watch is not None and not self._watch.is_open:
            if score <= nominal.threshold:
                return
            self._vectors = deque((v for v in self._vectors if at_us - v[0] < 5 * _HOP_US), KIND_VECTORS)
            self._worst = None if not self._vectors else self._worst
        if len(self._vectors) < KIND_VECTORS and score > nominal.threshold:
            self._vectors.append((at_us, vector))
        if self._worst is None or score > self._worst[0]:
            self._worst = (score, vector)

    def _take(self, episode: Episode | None) -> list[Finding]:
        """The finding of an episode that begins or has ended."""
        nominal = self._bundle.nominal(self._aircraft)
        if episode is None or nominal is None or self._worst is None:
            return []
        if episode.is_open:
            self._finding_id = new_id()
        vectors = np.stack([v for _, v in self._vectors])
        found = self._bundle.finding(nominal, episode, vectors, self._worst[1], self._session, self._finding_id)
        if not episode.is_open:
            self._vectors.clear()
            self._worst = None
        return [found]

    def _end(self) -> list[Finding]:
        return self._take(self._watch.finish()) if self._watch is not None else []


def _runs(tick_us: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The ticks without a hole among them: (first, last + 1) of each run."""
    edges = [0, *(np.flatnonzero(np.diff(tick_us) != TICK_US) + 1).tolist(), len(tick_us)]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]

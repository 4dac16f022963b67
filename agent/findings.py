"""Findings on board: the last seconds of channels, judged once a second while the aircraft flies.

Pure: frames and times come in, findings go out. Nothing is computed on the ground. The features are computed once; the
active model judges them, and beside it another one that is on trial (`agent.models`), whose findings are only counted.
"""

import itertools
import uuid

import numpy as np
from numpy.typing import NDArray

from agent.judge import Judge
from agent.models_trial import Trial
from firmware_bridge.columns import FrameColumns, columns_of
from firmware_bridge.grid import MAX_TICKS, TICK_US, Carry, ChannelGrid, GridInput, carry_of, to_grid
from firmware_bridge.sensed import SENSED_SOURCES, SensedReader
from firmware_bridge.sources import SOURCES
from firmware_bridge.vehicle import Vehicle, VehicleTracker
from shared.features import HOP_S, FeatureStream, Vector, airframe
from shared.frames import Frames
from shared.records import Finding
from shared.scoring import Bundle
from shared.timeline import physical

_SOURCE_IDS = frozenset(s.msgid for s in SOURCES) | frozenset(SENSED_SOURCES)
_HOP_US = HOP_S * 1_000_000
_LIFT = "motor_output_us"


class FindingEngine:
    """Watches one vehicle. `active` judges and its findings are raised; `other`, where there is one, is compared."""

    def __init__(self, bundle: Bundle, other: Bundle | None = None, trial: Trial | None = None) -> None:
        self._tracker = VehicleTracker()
        self._was_armed = False
        self.use(bundle, other, trial)

    def use(self, bundle: Bundle, other: Bundle | None = None, trial: Trial | None = None) -> None:
        """Judge by this bundle from now on, beside another one. Not in flight: what is open is forgotten."""
        self.active = Judge(bundle)
        self.other = None if other is None else Judge(other)
        self.trial = trial or Trial()
        self._reset()

    @property
    def scored(self) -> int:
        """Vectors that the active model judged."""
        return self.active.scored

    def _reset(self) -> None:
        self._session: uuid.UUID | None = None
        self._carry: Carry | None = None
        self._covered_us: int | None = None
        self._begin_flight()

    def _begin_flight(self) -> None:
        """What is known of the flight's own past begins anew (also behind a hole in the data)."""
        self._sensed = SensedReader()
        self._stream = FeatureStream()
        self._next_us: int | None = None
        self._lift = _Lift()

    def update(
        self, frames: Frames, vehicle: tuple[int, int] | None, armed: bool, session: uuid.UUID | None,
        until_us: int | None = None,
    ) -> list[Finding]:  # fmt: skip
        """Take the frames since the last call, up to `until_us` (recorder's clock; None: the last frame's time).

        vehicle: (sysid, compid) of the autopilot. armed, session: now, at the end of these frames. Called about once a
        second; frames of many seconds at once give what as many calls would. Disarmed, another flight, or a class of
        aircraft that the model does not know: what was open ends, and the flight's past begins anew.
        """
        ended = self._follow(frames, vehicle, session)
        known = self._known()
        is_due, self._was_armed = armed or self._was_armed, armed
        if known is None or not is_due:
            return ended + self.finish()
        self._session = session or self._session
        columns = columns_of(frames, _SOURCE_IDS)
        grid, cut = self._grid(frames, columns, known, until_us)
        sensed = self._sensed.read(columns, (known.sysid, known.compid), grid.tick_us)
        found = ended + cut + self._look(known, grid.tick_us, {**physical(grid.values), **sensed})
        return found if armed else found + self.finish()

    def finish(self) -> list[Finding]:
        """The flight, or this process, is over: what was open ends."""
        ended = self._end()
        self._reset()
        return ended

    def _follow(self, frames: Frames, address: tuple[int, int] | None, session: uuid.UUID | None) -> list[Finding]:
        """Hear the vehicle at the address; what ends because it is another one, or another flight."""
        is_other = address != self._tracker.latched
        is_new_flight = session is not None and self._session not in (None, session)
        ended = self.finish() if is_other or is_new_flight else []
        if is_other:
            self._tracker = VehicleTracker(latched=address)
            self._was_armed = False
        if address is not None:
            self._tracker.update(frames)
        return ended

    def _known(self) -> Vehicle | None:
        """The vehicle, when a model knows its class."""
        vehicle = self._tracker.vehicle if self._tracker.latched is not None else None
        judges = (self.active, self.other)
        knows = vehicle is not None and any(j and j.bundle.nominal(vehicle.vehicle_class) for j in judges)
        return vehicle if knows else None

    def _grid(
        self, frames: Frames, columns: FrameColumns, vehicle: Vehicle, until_us: int | None
    ) -> tuple[ChannelGrid, list[Finding]]:
        """The new ticks. A clock that ran back, or that leapt, ends what was open and begins anew."""
        newest = int(frames.time_us.max()) if len(frames) else self._covered_us or 0
        until = newest if until_us is None else max(until_us, newest)
        start, ended = self._covered_us, []
        if start is not None and 0 < start - until <= _HOP_US:
            until = start  # a little out of order
        if start is None or not 0 <= until - start <= MAX_TICKS * TICK_US:
            session = self._session
            ended = self.finish()
            self._session = session
            start = int(frames.time_us.min()) - 1 if len(frames) else until
        item = GridInput(
            columns, (vehicle.sysid, vehicle.compid), (start, until), autopilot=vehicle.autopilot, carry=self._carry
        )
        self._carry, self._covered_us = carry_of(item), until
        return to_grid([item])[0], ended

    def _look(
        self, vehicle: Vehicle, tick_us: NDArray[np.int64], values: dict[str, NDArray[np.floating]]
    ) -> list[Finding]:
        """Judge all whole seconds of these ticks. Behind a hole everything begins anew."""
        findings: list[Finding] = []
        for first, last in _runs(tick_us):
            if self._next_us is not None and int(tick_us[first]) != self._next_us:
                findings += self._end()
                self._begin_flight()
            self._next_us = int(tick_us[last - 1]) + TICK_US
            part = {name: x[first:last] for name, x in values.items()}
            ends, vectors, flying = self._stream.push(part)
            classes = self._lift.classes(vehicle.vehicle_class, part.get(_LIFT), last - first, ends)
            for aircraft, end, vector, is_flying in zip(classes, ends.tolist(), vectors, flying.tolist(), strict=True):
                findings += self._judge(aircraft, int(tick_us[first + end - 1]), vector, is_flying)
        return findings

    def _judge(self, aircraft: str, at_us: int, vector: Vector, is_flying: bool) -> list[Finding]:
        found = self.active.judge(aircraft, at_us, vector, self._session, is_flying)
        if self.other is not None:
            self.other.judge(aircraft, at_us, vector, self._session, is_flying)
            if is_flying:
                self.trial = self.trial.after(self.active.is_open, self.other.is_open)
        return found

    def _end(self) -> list[Finding]:
        if self.other is not None:
            self.trial = self.trial.ended()
            self.other.end()
        return self.active.end()


class _Lift:
    """Whether an aeroplane is a quadplane: its outputs, over the flight so far (`shared.features.airframe`)."""

    def __init__(self) -> None:
        self._ticks = self._together = 0

    def classes(
        self, vehicle_class: str, outputs: NDArray[np.floating] | None, ticks: int, ends: NDArray[np.int64]
    ) -> list[str]:
        """The class of aircraft at each end (ticks counted from the first of these)."""
        if vehicle_class != "plane":
            return [vehicle_class] * len(ends)
        is_lift = np.zeros(ticks, bool)
        if outputs is not None:
            is_lift[:] = [airframe("plane", {_LIFT: row[None]}) == "quadplane" for row in outputs]
        so_far = self._together + np.cumsum(is_lift)
        total = self._ticks + np.arange(1, ticks + 1)
        self._together, self._ticks = self._together + int(is_lift.sum()), self._ticks + ticks
        return ["quadplane" if so_far[e - 1] * 2 > total[e - 1] else "plane" for e in ends.tolist()]


def _runs(tick_us: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The ticks without a hole among them: (first, last + 1) of each run."""
    edges = [0, *(np.flatnonzero(np.diff(tick_us) != TICK_US) + 1).tolist(), len(tick_us)]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]

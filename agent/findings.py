"""Findings on board: the last ten seconds of channels, scored once a second while the aircraft flies.

Pure: frames and times come in, findings go out. Nothing is computed on the ground.
"""

import itertools
import uuid
from collections import deque

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.columns import columns_of
from firmware_bridge.grid import MAX_TICKS, TICK_US, Carry, ChannelGrid, GridInput, carry_of, to_grid
from firmware_bridge.sources import SOURCES
from firmware_bridge.vehicle import Vehicle, VehicleTracker
from shared.channels import CHANNELS
from shared.features import (
    FLYING_SHARE,
    HOP_S,
    WINDOW_TICKS,
    Vector,
    airframe,
    flying_ticks,
    window_features,
)
from shared.frames import Frames
from shared.persistence import Persistence
from shared.records import Finding
from shared.scoring import Bundle, Nominal
from shared.timeline import Stored, physical

_SOURCE_IDS = frozenset(s.msgid for s in SOURCES)
_HOP_US = HOP_S * 1_000_000


class FindingEngine:
    """Watches one vehicle. `scored` counts windows, `newest_score` is the last one's (None on the ground)."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._tracker = VehicleTracker()
        self.scored = 0
        self._was_armed = False
        self._session: uuid.UUID | None = None
        self._reset()

    def _reset(self) -> None:
        self.newest_score: float | None = None
        self._ring = _Ring()
        self._carry: Carry | None = None
        self._covered_us: int | None = None
        self._aircraft = ""
        self._watch: Persistence | None = None
        self._vectors: deque[tuple[int, Vector]] = deque(maxlen=self._bundle.rule.of)

    def update(
        self, frames: Frames, vehicle: tuple[int, int] | None, armed: bool, session: uuid.UUID | None,
        until_us: int | None = None,
    ) -> list[Finding]:  # fmt: skip
        """Take the frames since the last call, up to `until_us` (recorder's clock; None: the last frame's time).

        vehicle: (sysid, compid) of the autopilot. armed, session: now, at the end of these frames. Called about once a
        second; frames of many seconds at once give what as many calls would. Disarmed, or a class of aircraft that the
        model does not know: nothing, and the window begins anew.
        """
        known = self._follow(frames, vehicle)
        is_due, self._was_armed = armed or self._was_armed, armed
        if known is None or not is_due:
            self._reset()
            return []
        self._session = session or self._session
        grid = self._grid(frames, known, until_us)
        findings = []
        for first, last in _seconds(grid.tick_us):
            part = {name: values[first:last] for name, values in grid.values.items()}
            self._ring.push(grid.tick_us[first:last], part)
            if int(grid.tick_us[last - 1]) % _HOP_US == 0:
                found = self._score(known)
                findings += [found] if found else []
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

    def _grid(self, frames: Frames, vehicle: Vehicle, until_us: int | None) -> ChannelGrid:
        """The new ticks. A clock that ran back, or that leapt, begins anew."""
        newest = int(frames.time_us.max()) if len(frames) else self._covered_us or 0
        until = newest if until_us is None else max(until_us, newest)
        start = self._covered_us
        if start is None or not 0 <= until - start <= MAX_TICKS * TICK_US:
            self._reset()
            start = int(frames.time_us.min()) - 1 if len(frames) else until
        item = GridInput(
            columns_of(frames, _SOURCE_IDS), (vehicle.sysid, vehicle.compid), (start, until),
            autopilot=vehicle.autopilot, carry=self._carry,
        )  # fmt: skip
        self._carry, self._covered_us = carry_of(item), until
        return to_grid([item])[0]

    def _score(self, vehicle: Vehicle) -> Finding | None:
        """Score the window in the ring, if it is whole and in flight."""
        at_us, channels = self._ring.newest_us, self._ring.values
        is_flying = self._ring.is_full and flying_ticks(channels).mean() >= FLYING_SHARE
        if not is_flying:
            self.newest_score = None
            return self._raise(at_us, None)
        if self._aircraft != "quadplane":  # an aeroplane that has shown its lift motors stays a quadplane
            aircraft = airframe(vehicle.vehicle_class, channels)
            self._watch = self._watch if aircraft == self._aircraft else None
            self._aircraft = aircraft
        nominal = self._bundle.nominal(self._aircraft)
        if nominal is None:
            return None
        vector = window_features(channels)
        self.newest_score = self._bundle.score(vector, nominal)
        self.scored += 1
        self._vectors.append((at_us, vector))
        return self._raise(at_us, self.newest_score, nominal)

    def _raise(self, at_us: int, score: float | None, nominal: Nominal | None = None) -> Finding | None:
        if self._watch is None:
            if nominal is None:
                return None
            self._watch = Persistence(nominal.threshold, nominal.critical, self._bundle.rule)
        episode = self._watch.update(at_us, score)
        if episode is None or nominal is None:
            return None
        worst = next((v for t, v in self._vectors if t == episode.peak_us), self._vectors[-1][1])
        return self._bundle.finding(nominal, episode, worst, self._session)


def _seconds(tick_us: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The ticks cut behind each whole second and at each gap: (first, last + 1) of each part."""
    is_last = tick_us % _HOP_US == 0
    is_last[:-1] |= np.diff(tick_us) != TICK_US
    edges = [0, *(np.flatnonzero(is_last) + 1).tolist(), len(tick_us)]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


class _Ring:
    """The newest WINDOW_TICKS ticks of every channel, without a gap."""

    def __init__(self) -> None:
        self.newest_us = 0
        self._count = 0
        self.values: dict[str, NDArray[np.floating]] = {
            c.name: np.full(
                WINDOW_TICKS if c.size == 1 else (WINDOW_TICKS, c.size), np.nan,
                np.float32 if c.dtype == "int16" else np.float64,
            )
            for c in CHANNELS
        }  # fmt: skip

    @property
    def is_full(self) -> bool:
        return self._count >= WINDOW_TICKS

    def push(self, tick_us: NDArray[np.int64], stored: Stored) -> None:
        """Put at most a second of new ticks in. After a gap the window has to fill again."""
        n = len(tick_us)
        if int(tick_us[-1]) - self.newest_us != n * TICK_US:
            self._count = 0
        new = physical(stored)
        for name, ring in self.values.items():
            ring[:-n] = ring[n:].copy()
            ring[-n:] = new.get(name, np.nan)
        self._count += n
        self.newest_us = int(tick_us[-1])

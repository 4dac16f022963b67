"""A flight derived again from its envelopes: one clock mapping, held values carried from batch to batch.

Pure but for reading time: envelopes in, grids and events out. Memory grows with the flight's rows, not with its frames.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.boot_clock import TIMED, boot_times
from firmware_bridge.columns import fields
from firmware_bridge.events import Event, EventState, flight_events
from firmware_bridge.grid import Carry, ChannelGrid, GridInput, carry_of, to_grid
from firmware_bridge.log_identity import ids_of_uid
from firmware_bridge.sensed import SensedReader
from firmware_bridge.vehicle import AUTOPILOT_VERSION
from hub.ingest.admit import MAX_BLOCK_BYTES, MAX_FRAMES
from hub.ingest.derive import vehicle_of
from shared import batch as batches
from shared.batch import Batch
from shared.channels import BY_NAME
from shared.codec import Block, decode_block
from shared.envelope import peek
from shared.errors import Refused

BatchKey = tuple[uuid.UUID, int]


@dataclass(slots=True)
class Rederived:
    """What a flight's frames say. failed: batches whose columns cannot be read; their rows are missing. boots_us:
    per batch, when on the recorder's clock the autopilot was powered up. hardware: its ids (docs/architecture.md)."""

    offset_us: int
    grids: list[ChannelGrid] = field(default_factory=list)
    events: list[tuple[BatchKey, int, Event]] = field(default_factory=list)
    failed: list[BatchKey] = field(default_factory=list)
    done: list[BatchKey] = field(default_factory=list)
    mav_type: int = 0
    boots_us: list[int] = field(default_factory=list)
    hardware: set[str] = field(default_factory=set)

    @property
    def boot_at_us(self) -> int | None:
        """By the batches' clocks; the middle one, so that neither delays nor one odd batch decide."""
        return sorted(self.boots_us)[len(self.boots_us) // 2] if self.boots_us else None


def read_batch(envelope: bytes) -> Batch:
    """A batch from the store, whose envelope was verified when it came in."""
    return batches.decode(peek(envelope)[1])


class Rederivation:
    """Takes a flight's batches in order of time; `result` is complete after the last."""

    def __init__(self, offset_us: int, vehicle: tuple[int, int] | None, autopilot: int) -> None:
        self.result = Rederived(offset_us)
        self._vehicle = vehicle
        self._autopilot = autopilot
        self._carry: Carry | None = None
        self._events = EventState()
        self._sensed = SensedReader()
        self._until_us: int | None = None

    def add(self, batch: Batch) -> None:
        """One more batch, later than all before it. Time that an earlier one covered stays the earlier one's."""
        key = (batch.stream, batch.seq)
        try:
            block = decode_block(batch.columns, MAX_FRAMES, MAX_BLOCK_BYTES) if batch.columns else None
            if block is not None and block.n:
                self._add_block(key, batch, block)
        except (Refused, ValueError, ArithmeticError, LookupError):
            self.result.failed.append(key)
        else:
            self.result.done.append(key)

    def _add_block(self, key: BatchKey, batch: Batch, block: Block) -> None:
        seen = vehicle_of(block, self._vehicle or batch.vehicle)
        if seen is None:
            return
        source = (seen.sysid, seen.compid)
        if seen.mav_type:
            self.result.mav_type = seen.mav_type
        self._autopilot = seen.autopilot or self._autopilot
        self._identify(block, source)
        first_us, last_us = batch.covers
        first_us = first_us if self._until_us is None else max(first_us, self._until_us)
        self._until_us = max(last_us, first_us)
        if last_us > first_us:
            item = GridInput(
                block, source, (first_us, last_us), self.result.offset_us, self._autopilot, self._carry
            )  # fmt: skip
            grid = to_grid([item])[0]
            self._carry = carry_of(item)
            sensed = self._sensed.read(block, source, grid.tick_us)
            if len(grid.tick_us):
                self.result.grids.append(replace(grid, sensed=sensed))
        for number, event in enumerate(flight_events(block, source, self._events)):
            self.result.events.append((key, number, event))

    def _identify(self, block: Block, source: tuple[int, int]) -> None:
        """When the autopilot was powered up, and which chip it is."""
        delays = []
        for group in block.groups:
            if (group.sysid, group.compid) != source or not len(group.rows):
                continue
            if group.msgid in TIMED:
                rows, boot_ms = boot_times([group])
                delays += [int((block.time_us[rows] - 1000 * boot_ms).min())] if len(rows) else []
            elif group.msgid == AUTOPILOT_VERSION:
                version = fields(group)[-1]
                self.result.hardware |= {*ids_of_uid(int(version["uid"]), version["uid2"].tobytes())}
        if delays:
            self.result.boots_us.append(min(delays))


def joined(grids: Sequence[ChannelGrid]) -> ChannelGrid:
    """Consecutive grids as one; ticks that do not ascend are dropped, so that no timestamp occurs twice."""
    if not grids:
        return ChannelGrid(np.zeros(0, np.int64), {})
    ticks = np.concatenate([g.tick_us for g in grids])
    keep = np.ones(len(ticks), np.bool_)
    keep[1:] = ticks[1:] > np.maximum.accumulate(ticks)[:-1]
    names = dict.fromkeys(name for g in grids for name in g.values)
    values = {name: np.concatenate([_values(g, name) for g in grids])[keep] for name in names}
    seen = dict.fromkeys(name for g in grids for name in g.sensed)
    sensed = {name: np.concatenate([g.sensed.get(name, _unseen(g)) for g in grids])[keep] for name in seen}
    return ChannelGrid(ticks[keep], values, sensed=sensed)


def _unseen(grid: ChannelGrid) -> NDArray[np.float64]:
    return np.full(len(grid.tick_us), np.nan)


def _values(grid: ChannelGrid, name: str) -> NDArray[np.signedinteger]:
    """A channel's rows; all missing where the grid lacks it."""
    channel = BY_NAME[name]
    if name in grid.values:
        return grid.values[name]
    shape = (len(grid.tick_us), channel.size) if channel.size > 1 else (len(grid.tick_us),)
    return np.full(shape, channel.missing, channel.dtype)


METRES_PER_DEGREE = 111_195.0
LONGEST_STEP_M = 500.0
"""Further than that in a second is a jump of the estimator, not flight."""


def distance_m(grid: ChannelGrid) -> float | None:
    """Length of the track over ground, from one position a second; None without positions."""
    if "lat_deg" not in grid.values or "lon_deg" not in grid.values:
        return None
    lat, lon = grid.values["lat_deg"], grid.values["lon_deg"]
    known = (lat != BY_NAME["lat_deg"].missing) & (lon != BY_NAME["lon_deg"].missing)
    second = grid.tick_us[known] // 1_000_000
    if len(second) == 0:
        return None
    first = np.concatenate([[True], np.diff(second) > 0])
    lat_deg, lon_deg = lat[known][first] / 1e7, lon[known][first] / 1e7
    north = np.diff(lat_deg) * METRES_PER_DEGREE
    east = np.diff(lon_deg) * METRES_PER_DEGREE * np.cos(np.radians(lat_deg[:-1]))
    steps = np.hypot(north, east)
    return float(steps[(steps < LONGEST_STEP_M) & (steps > 0.2)].sum())

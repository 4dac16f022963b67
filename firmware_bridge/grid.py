"""Message columns of many batches to canonical channels on the 10 Hz grid, in one go.

What costs is numpy calls, not values: so the same message type of all inputs is laid together, found by one binary
search on composite keys (input, time), scaled and checked as one matrix, and gathered once. A value is held until the
channel's `stale_s` is over; nothing is interpolated. Rows exist only where the vehicle was heard in the last HOLD_US.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.columns import Columns, MessageColumns
from firmware_bridge.modes import PX4
from firmware_bridge.sources import SOURCES, Linear, Source
from firmware_bridge.vehicle import find_vehicle
from shared.channels import CHANNELS, GRID_HZ, Channel
from shared.layouts import LAYOUTS

TICK_US = 1_000_000 // GRID_HZ
HOLD_US = int(max(c.stale_s for c in CHANNELS) * 1e6)
"""The longest time that any channel's value is held."""
MAX_TICKS = 36_000
"""Rows of one input: an hour. Ticks beyond are not made (`ChannelGrid.is_cut`): no honest batch is that long."""

Ints = NDArray[np.signedinteger]
_SPAN_BITS = 42
_SPAN = 1 << _SPAN_BITS  # 50 days in us: composite key = input << _SPAN_BITS | time since the input's base
_MARGIN_US = 2 * HOLD_US  # a sample older than that is stale, wherever in the key it ends up


@dataclass(frozen=True, slots=True, eq=False)
class Carry:
    """The last message of each type before a batch: msgid -> (time_us, payload uint8 [1, size])."""

    last: dict[int, tuple[int, NDArray[np.uint8]]]


@dataclass(frozen=True, slots=True, eq=False)
class GridInput:
    """One batch.

    block: a codec Block or any Columns. vehicle: (sysid, compid) of the autopilot; None: found by HEARTBEAT.
    covers: (from_us, to_us] on the recorder's clock. offset_us: recorder's clock to UTC, 0 when unknown.
    autopilot: MAV_AUTOPILOT (a few messages mean other things on PX4). carry: see `carry_of`.
    """

    block: Columns
    vehicle: tuple[int, int] | None
    covers: tuple[int, int]
    offset_us: int = 0
    autopilot: int = 0
    carry: Carry | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ChannelGrid:
    """tick_us: int64 [r], recorder's clock; whole multiples of 100 ms in UTC when the offset is known.

    values: channel -> stored integers of the channel's dtype, [r] or [r, size]; `channel.missing` where absent. A
    channel that is absent in all rows is left out. is_cut: ticks beyond MAX_TICKS were not made. sensed: what only the
    analysis looks at (`firmware_bridge.sensed`), where somebody read it: physical float64 [r].
    """

    tick_us: NDArray[np.int64]
    values: dict[str, Ints]
    is_cut: bool = False
    sensed: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def _rows_of_channels() -> dict[str, int]:
    """Matrix row of each channel's first element; channels of one dtype lie together."""
    rows, at = {}, 0
    for dtype in ("int16", "int32", "int64"):
        for c in CHANNELS:
            if c.dtype == dtype:
                rows[c.name] = at
                at += c.size
    return rows


_ROW = _rows_of_channels()
_BY_ROW: list[Channel] = [c for c in sorted(CHANNELS, key=lambda c: _ROW[c.name]) for _ in range(c.size)]
_MISSING = np.array([c.missing for c in _BY_ROW], np.float64)[:, None]
"""Stored integers are computed as float64, which has all of them exactly."""


class _Plan:
    """A Source with its constants as arrays: one row per value that it gives."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.layout = LAYOUTS[source.msgid]
        targets = [t for column in source.columns for t in column.targets]
        self.rows = np.array([_ROW[name] + index for name, index in targets])
        channels = [_BY_ROW[r] for r in self.rows]
        scale = np.array([c.scale for c in channels])
        factors: list[float] = []
        for column in source.columns:
            factors += [column.factor] if isinstance(column, Linear) else [1.0] * len(column.targets)
        self.gain = (np.array(factors) / scale)[:, None]
        limits = [np.iinfo(c.dtype) for c in channels]
        low = [max(np.ceil(c.low / c.scale - 1e-6), i.min + 1) for c, i in zip(channels, limits, strict=True)]
        high = [min(np.floor(c.high / c.scale + 1e-6), i.max) for c, i in zip(channels, limits, strict=True)]
        self.low, self.high = np.array(low)[:, None], np.array(high)[:, None]
        self.missing = _MISSING[self.rows]
        self.stale_us = np.array([int(c.stale_s * 1e6) for c in channels], np.int64)[:, None]
        self.longest_us = int(self.stale_us.max())
        self.is_uniform = int(self.stale_us.min()) == self.longest_us

    def stored(self, payload: NDArray[np.uint8]) -> NDArray[np.float64]:
        """[values, m + 1]: stored integers of m messages, missing where the message says nothing believable; and of
        none."""
        record = payload.view(self.layout.dtype)[:, 0]
        out = np.empty((len(self.rows), len(payload) + 1))
        raw = out[:, :-1]
        at = 0
        for column in self.source.columns:
            if isinstance(column, Linear):
                values = record[column.field]
                raw[at] = values if column.element is None else values[:, column.element]
                if column.absent is not None:
                    raw[at][raw[at] == column.absent] = np.nan
                at += 1
            else:
                for values in column.compute(record):
                    raw[at] = values
                    at += 1
        raw *= self.gain
        np.rint(raw, out=raw)
        is_good = raw >= self.low
        is_good &= raw <= self.high
        np.copyto(raw, self.missing, where=np.logical_not(is_good, out=is_good))
        out[:, -1:] = self.missing
        return out


_PLANS = tuple(_Plan(s) for s in SOURCES)
_SOURCE_IDS = frozenset(s.msgid for s in SOURCES)


def carry_of(item: GridInput) -> Carry:
    """What the batch after this one needs so that held values cross the border."""
    last = dict(item.carry.last) if item.carry else {}
    for group in _groups_of(item):
        last[group.msgid] = (int(item.block.time_us[group.rows[-1]]), group.payload[-1:].copy())
    return Carry({k: v for k, v in last.items() if v[0] > item.covers[1] - HOLD_US})


def chained(inputs: Sequence[GridInput]) -> list[GridInput]:
    """Consecutive batches of one boot, each with the carry of the one before."""
    out: list[GridInput] = []
    for item in inputs:
        out.append(replace(item, carry=carry_of(out[-1])) if out else item)
    return out


def to_grid(inputs: Sequence[GridInput]) -> list[ChannelGrid]:
    """The channels of all inputs, in their order.

    Damaged or hostile blocks give odd values within the channels' ranges, never an error.
    """
    with np.errstate(all="ignore"):
        return _Grid(inputs).grids()


def _groups_of(item: GridInput) -> Iterable[MessageColumns]:
    source = item.vehicle or find_vehicle(item.block)
    if source is None:
        return []
    sysid, compid = source
    return [
        g
        for g in item.block.groups
        if g.msgid in _SOURCE_IDS and g.sysid == sysid and g.compid == compid and len(g.rows)
    ]


class _Grid:
    """One evaluation: the inputs' messages by type, their ticks, and the matrix [channel elements, ticks]."""

    def __init__(self, inputs: Sequence[GridInput]) -> None:
        self.inputs = inputs
        self.groups = [_groups_of(item) for item in inputs]
        ticks = [self._ticks(item, bool(groups)) for item, groups in zip(inputs, self.groups, strict=True)]
        self.is_cut = [cut for _, cut in ticks]
        self.edges = np.concatenate([[0], np.cumsum([len(t) for t, _ in ticks])])
        self.base = [min(max(item.covers[0] - _MARGIN_US, -(1 << 62)), 1 << 62) for item in inputs]
        self.tick_us = np.concatenate([t for t, _ in ticks]) if ticks else np.zeros(0, np.int64)
        self.tick_key = self._keys([t for t, _ in ticks])
        self.out = np.empty((len(_MISSING), len(self.tick_us)))
        self.out[:] = _MISSING
        self.is_written = np.zeros(len(_MISSING), np.bool_)
        self._lay_messages()

    @staticmethod
    def _ticks(item: GridInput, has_vehicle: bool) -> tuple[NDArray[np.int64], bool]:
        """The ticks that the input owns, from its first message to HOLD_US after its last; (ticks, whether cut)."""
        first_us, last_us = item.covers
        time_us = item.block.time_us
        if not has_vehicle and item.carry is None:
            return np.zeros(0, np.int64), False
        known = [t for t, _ in item.carry.last.values()] if item.carry else []
        if len(time_us):
            known += [int(time_us.min()), int(time_us.max())]
        if not known:
            return np.zeros(0, np.int64), False
        first_us, last_us = max(first_us, min(known) - 1), min(last_us, max(known) + HOLD_US)
        first, last = (first_us + item.offset_us) // TICK_US + 1, (last_us + item.offset_us) // TICK_US
        count = min(last - first + 1, MAX_TICKS)
        if count <= 0:
            return np.zeros(0, np.int64), False
        start = first * TICK_US - item.offset_us
        return start + TICK_US * np.arange(count, dtype=np.int64), last - first + 1 > MAX_TICKS

    def _keys(self, times: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Composite keys of one time array per input."""
        keys = [self._keys_of(i, t) for i, t in enumerate(times)]
        return np.concatenate(keys) if keys else np.zeros(0, np.int64)

    def _keys_of(self, i: int, time_us: NDArray[np.int64]) -> NDArray[np.int64]:
        base = self.base[i]
        return np.minimum(np.maximum(time_us, base), base + _SPAN - 1) + ((i << _SPAN_BITS) - base)

    def _lay_messages(self) -> None:
        """For each type its parts in the inputs' order: (whether of PX4, keys, payloads), what is carried first."""
        self.parts: dict[int, list[tuple[bool, NDArray[np.int64], NDArray[np.uint8]]]] = {}
        for i, item in enumerate(self.inputs):
            is_px4, time_key = item.autopilot == PX4, self._keys_of(i, item.block.time_us)
            for msgid, (time_us, payload) in (item.carry.last if item.carry else {}).items():
                key = (i << _SPAN_BITS) + min(max(time_us - self.base[i], 0), _SPAN - 1)
                self.parts.setdefault(msgid, []).append((is_px4, np.array([key], np.int64), payload))
            for g in self.groups[i]:
                self.parts.setdefault(g.msgid, []).append((is_px4, time_key[g.rows], g.payload))

    def grids(self) -> list[ChannelGrid]:
        if len(self.tick_us):
            for plan in reversed(_PLANS):
                self._apply(plan)
        return self._cut()

    def _apply(self, plan: _Plan) -> None:
        """Put what one source gives over what less trusted ones gave."""
        keys, payload = self._messages(plan)
        if len(keys) == 0:
            return
        at = np.searchsorted(keys, self.tick_key, side="right") - 1
        np.maximum(at, 0, out=at)
        age = self.tick_key - keys[at]  # of another input, or of none: beyond any stale_us, or negative
        is_fresh = (age >= 0) & (age <= plan.longest_us)
        if not is_fresh.any():
            return
        at[~is_fresh] = len(keys)  # none
        values = plan.stored(payload).take(at, axis=1)
        if not plan.is_uniform:
            np.copyto(values, plan.missing, where=age > plan.stale_us)
        if self.is_written[plan.rows].any():
            before = self.out[plan.rows]
            np.copyto(values, before, where=values == plan.missing)
        self.out[plan.rows] = values
        self.is_written[plan.rows] = True

    def _messages(self, plan: _Plan) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Keys ascending and payloads of all messages of the plan's source, over all inputs."""
        kinds = {"any": (False, True), "px4": (True,), "ardupilot": (False,)}[plan.source.firmware]
        parts = [(key, payload) for is_px4, key, payload in self.parts.get(plan.source.msgid, ()) if is_px4 in kinds]
        if not parts:
            return np.zeros(0, np.int64), np.zeros((0, plan.layout.size), np.uint8)
        keys = np.concatenate([key for key, _ in parts])
        payload = np.empty((len(keys), plan.layout.size + 7 & ~7), np.uint8)[:, : plan.layout.size]  # aligned fields
        np.concatenate([p for _, p in parts], out=payload)
        return _sorted(keys, payload, plan)

    def _cut(self) -> list[ChannelGrid]:
        """One ChannelGrid per input; rows in which nothing was heard are left out."""
        is_given = self.out != _MISSING
        is_row = is_given.any(axis=0)
        if not is_row.all():
            self.edges = np.concatenate([[0], np.cumsum(is_row)])[self.edges]
            self.tick_us, self.out, is_given = self.tick_us[is_row], self.out[:, is_row], is_given[:, is_row]
        columns = self._typed()
        edges = self.edges.tolist()
        is_known = np.array([is_given[:, a:b].any(axis=1) for a, b in pairwise(edges)])
        grids = []
        for i, (a, b) in enumerate(pairwise(edges)):
            known = is_known[i].tolist()
            values = {
                name: columns[name][a:b]
                for name, row, size in _SLOTS
                if known[row] or (size > 1 and any(known[row : row + size]))
            }
            grids.append(ChannelGrid(self.tick_us[a:b], values, self.is_cut[i]))
        return grids

    def _typed(self) -> dict[str, Ints]:
        """Each channel over all ticks in its own dtype: [ticks] or [ticks, size]."""
        blocks = {d: self.out[a:b].astype(d) for d, a, b in _BLOCKS}
        return {c.name: _column(blocks[c.dtype], _ROW[c.name] - _FIRST[c.dtype], c.size) for c in CHANNELS}


_SLOTS = tuple((c.name, _ROW[c.name], c.size) for c in CHANNELS)
_FIRST: dict[str, int] = {d: min(_ROW[c.name] for c in CHANNELS if c.dtype == d) for d in ("int16", "int32", "int64")}
_BLOCKS = tuple((d, _FIRST[d], _FIRST[d] + sum(c.size for c in CHANNELS if c.dtype == d)) for d in _FIRST)


def _column(block: Ints, row: int, size: int) -> Ints:
    return block[row] if size == 1 else np.ascontiguousarray(block[row : row + size].T)


def _sorted(
    keys: NDArray[np.int64], payload: NDArray[np.uint8], plan: _Plan
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Only the rows that count, in key order."""
    if plan.source.keep is not None:
        field, value = plan.source.keep
        is_kept = payload.view(plan.layout.dtype)[:, 0][field] == value
        if not is_kept.all():
            keys, payload = keys[is_kept], payload[is_kept]
    if len(keys) > 1 and (keys[1:] < keys[:-1]).any():
        order = np.argsort(keys, kind="stable")
        keys, payload = keys[order], payload[order]
    return keys, payload

"""From admitted batches to what the database keeps of them; many at once, because what costs is numpy calls.

One bad batch never stops the others: when a step fails on all, it is done again one by one, and what fails alone is
either refused (hostile: `Refused`) or committed without its derived rows and flagged (`Derived.error`).
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.events import Event
from firmware_bridge.grid import Carry, ChannelGrid, GridInput, to_grid
from firmware_bridge.vehicle import HEARTBEAT, find_vehicle
from hub.ingest.admit import MAX_BLOCK_BYTES, MAX_FRAMES, Admitted, Refusal, refuse
from hub.ingest.chunks import chunk_rows
from hub.ingest.live_carry import LiveCarry
from hub.ingest.live_events import LiveEvents
from shared.batch import Batch
from shared.channels import BY_NAME
from shared.codec import Block, decode_blocks
from shared.codec.container import unpacked_bytes
from shared.errors import Refused
from shared.records import Record, from_map

LONGEST_US = 1 << 60
"""Times further from 0 than this (36,000 years) are hostile; below it sums of two cannot overflow."""
DECODED_TOGETHER = (32_000, 512 << 10)
"""Frames, and bytes of unpacked sections, that are decoded in one go: nine 30 s batches, a hundred 2 s ones."""
SessionKey = tuple[uuid.UUID, uuid.UUID]
"""(org_id, session_id)."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class Derived:
    """One batch and what follows from it.

    offset_us: what was added to the recorder's clock. chunks: rows of telemetry_chunks without their ids. newest:
    last values for aircraft_state. summary: aggregates for the ledger. carry: what holds from the batch before. error:
    why rows are missing, None if none are.
    """

    item: Admitted
    offset_us: int
    block: Block | None = None
    grid: ChannelGrid | None = None
    chunks: list[dict[str, Any]] = field(default_factory=list)
    grid_rows: int = 0
    newest: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, float | None] = field(default_factory=dict)
    vehicle: "VehicleId | None" = None
    carry: Carry | None = None
    events: list[Event] = field(default_factory=list)
    records: list[tuple[int, Record]] = field(default_factory=list)
    error: str | None = None

    @property
    def span_utc_us(self) -> tuple[int, int]:
        """The batch's span in us since 1970 UTC (of the recorder's clock while that is unknown)."""
        a, b = self.item.batch.covers
        return a + self.offset_us, b + self.offset_us


@dataclass(frozen=True, slots=True)
class VehicleId:
    """What a HEARTBEAT says: address, MAV_TYPE, MAV_AUTOPILOT."""

    sysid: int
    compid: int
    mav_type: int
    autopilot: int


def derive(
    items: Sequence[Admitted], offsets: Mapping[SessionKey, int], live: LiveEvents, carry: LiveCarry
) -> tuple[list[Derived], list[Refusal]]:
    """Everything that follows from `items`. offsets: clock offset of the sessions that have rows already, us."""
    found, refusals = [], []
    for item, block in zip(items, _open(items), strict=True):
        if isinstance(block, Refused):
            refusals.append(refuse(item, block))
        else:
            found.append(_start(item, block, offsets))
    with_frames = [d for d in found if d.block is not None and d.block.n]
    for d in with_frames:
        d.vehicle = _one(lambda d: vehicle_of(d.block, d.item.batch.vehicle), d)
    for d in sorted(found, key=lambda d: d.item.batch.seq):
        _one(lambda d: _carry_on(d, carry), d)
    with_vehicle = [d for d in with_frames if d.vehicle]
    make_rows(with_vehicle)
    for d in with_vehicle:
        _one(lambda d: _tell(d, live), d)
    return found, refusals


def make_rows(found: Sequence[Derived]) -> None:
    """Fill in grid, chunks, aggregates and newest values. Called again when a session's offset turns out another."""
    for d, grid in zip(found, _all_or_each(lambda ds: to_grid([grid_input(d) for d in ds]), found), strict=True):
        if isinstance(grid, Exception):
            d.error = f"grid: {type(grid).__name__}: {grid}"[:500]
        else:
            d.grid = grid
            _one(_sum_up, d)
    in_flight = [d for d in found if d.grid is not None and d.item.batch.session is not None]
    for d, rows in zip(in_flight, _all_or_each(_chunks, in_flight), strict=True):
        if isinstance(rows, Exception):
            d.error = f"chunks: {type(rows).__name__}: {rows}"[:500]
        else:
            d.chunks = rows


def grid_input(d: Derived) -> GridInput:
    """The batch as the grid takes it."""
    assert d.block is not None and d.vehicle is not None
    source = (d.vehicle.sysid, d.vehicle.compid)
    return GridInput(d.block, source, d.item.batch.covers, d.offset_us, d.vehicle.autopilot, d.carry)


def _carry_on(d: Derived, carry: LiveCarry) -> None:
    org_id, b = d.item.key.org_id, d.item.batch
    if d.vehicle is not None:
        d.carry = carry.before(org_id, b.stream, b.seq, b.boot, (d.vehicle.sysid, d.vehicle.compid))
    if d.vehicle is not None or d.block is None or not d.block.n:
        carry.seen(org_id, b.stream, b.seq, b.boot, grid_input(d) if d.vehicle is not None else None)


def vehicle_of(block: Block | None, latched: tuple[int, int] | None) -> VehicleId | None:
    """The autopilot of a block: the latched address, else the one found; type 0 without its HEARTBEAT."""
    source = latched or (find_vehicle(block) if block is not None else None)
    if source is None or block is None:
        return None
    for group in block.groups:
        if group.msgid == HEARTBEAT and (group.sysid, group.compid) == source and len(group.rows):
            beat = group.payload[-1]  # custom_mode u32, type, autopilot, base_mode, system_status, mavlink_version
            return VehicleId(*source, int(beat[4]), int(beat[5]))
    return VehicleId(*source, 0, 0)


def check_times(item: Admitted) -> None:
    """Refused("time_out_of_range") when a span or a clock mapping lies beyond any calendar."""
    batch = item.batch
    times = [*batch.covers, *(t for m in batch.clock for t in (m.mono_us, m.utc_us or 0, m.uncertainty_us))]
    if any(abs(t) > LONGEST_US for t in times):
        raise Refused("time_out_of_range", f"covers {batch.covers}")


def _open(items: Sequence[Admitted]) -> list[Block | Refused | None]:
    """The block of each batch; None where it has no columns, Refused where they are not what was said."""
    at = [i for i, item in enumerate(items) if item.batch.columns]
    blocks = dict(zip(at, _all_or_each(_decode, [items[i].batch for i in at]), strict=True))
    return [_checked(item, blocks.get(i)) for i, item in enumerate(items)]


def _decode(batches: list[Batch]) -> list[Block]:
    """The blocks of batches, in portions: fewer cost more calls, more leave the processor's cache, and what a portion
    may cost is known before it is unpacked."""
    blocks: list[Block] = []
    for part in portions(batches, lambda b: (b.counts.frames, unpacked_bytes(b.columns)), DECODED_TOGETHER):
        most = max(b.counts.frames for b in part)
        blocks += decode_blocks([b.columns for b in part], min(most, MAX_FRAMES), MAX_BLOCK_BYTES)
    return blocks


def portions(items: Sequence[T], cost: Callable[[T], tuple[int, ...]], most: tuple[int, ...]) -> Iterator[list[T]]:
    """Consecutive items, as many as cost at most `most` together (at least one)."""
    part: list[T] = []
    total = [0] * len(most)
    for item in items:
        added = cost(item)
        total = [a + b for a, b in zip(total, added, strict=True)]
        if part and any(a > b for a, b in zip(total, most, strict=True)):
            yield part
            part, total = [], [*added]
        part.append(item)
    if part:
        yield part


def _checked(item: Admitted, block: Block | Exception | None) -> Block | Refused | None:
    if isinstance(block, Refused):
        return block
    if isinstance(block, Exception):
        return Refused("block_malformed", f"{type(block).__name__}: {block}"[:200])
    frames = 0 if block is None else block.n
    if frames != item.batch.counts.frames:
        return Refused("frame_count", f"{frames} frames, said to be {item.batch.counts.frames}")
    try:
        check_times(item)
    except Refused as e:
        return e
    return block


def _start(item: Admitted, block: Block | None, offsets: Mapping[SessionKey, int]) -> Derived:
    batch = item.batch
    known = offsets.get((item.key.org_id, batch.session)) if batch.session else None
    d = Derived(item, batch.best_clock().offset_us() if known is None else known, block)
    for i, body in enumerate(batch.records):
        try:
            record = from_map(body)
        except Refused as e:
            d.error = str(e)
        else:
            if record is not None:
                d.records.append((i, record))
    return d


def _tell(d: Derived, live: LiveEvents) -> None:
    assert d.block is not None and d.vehicle is not None
    batch, source = d.item.batch, (d.vehicle.sysid, d.vehicle.compid)
    d.events = live.of(d.item.key.org_id, batch.stream, batch.seq, d.block, source)


def _chunks(found: Sequence[Derived]) -> list[list[dict[str, Any]]]:
    return chunk_rows([d.grid for d in found if d.grid is not None], [d.offset_us for d in found])


def _sum_up(d: Derived) -> None:
    grid = d.grid
    assert grid is not None
    d.grid_rows = len(grid.tick_us)
    if d.grid_rows:
        d.newest = newest_values(grid)
        d.summary = {
            "lat_deg": d.newest["lat_deg"],
            "lon_deg": d.newest["lon_deg"],
            "alt_rel_m_max": extreme(grid, ("alt_rel_m",), np.max),
            "groundspeed_mps_max": extreme(grid, ("groundspeed_mps",), np.max),
            "battery_v_min": extreme(grid, ("battery_v",), np.min),
            "battery_remaining_pct_min": extreme(grid, ("battery_remaining_pct",), np.min),
            "vibe_mps2_max": extreme(grid, ("vibe_x_mps2", "vibe_y_mps2", "vibe_z_mps2"), np.max),
        }


_NEWEST = ("lat_deg", "lon_deg", "alt_msl_m", "alt_rel_m", "groundspeed_mps", "heading_deg", "battery_v",
           "battery_remaining_pct", "flight_mode", "armed")  # fmt: skip


def newest_values(grid: ChannelGrid) -> dict[str, Any]:
    """Physical values of the grid's last row; None where absent."""
    out: dict[str, Any] = {}
    for name in _NEWEST:
        values = grid.values.get(name)
        stored = BY_NAME[name].missing if values is None else int(values[-1])
        out[name] = None if stored == BY_NAME[name].missing else physical(name, stored)
    out["armed"] = None if out["armed"] is None else bool(out["armed"])
    out["flight_mode"] = None if out["flight_mode"] is None else int(out["flight_mode"])
    return out


def physical(name: str, stored: float) -> float:
    """The physical value of a channel's stored integer, rounded as SQL's views round it."""
    scale = BY_NAME[name].scale
    return stored if scale == 1 else stored / round(1 / scale)


def extreme(grid: ChannelGrid, names: Sequence[str], of: Callable[[NDArray[Any]], Any]) -> float | None:
    """The greatest or least physical value over some channels; None when all are absent."""
    best = []
    for name in names:
        values = grid.values.get(name)
        if values is not None:
            known = values[values != BY_NAME[name].missing]
            if len(known):
                best.append(physical(name, int(of(known))))
    return None if not best else float(of(np.array(best)))


def json_text(value: Any, depth: int = 8) -> str:
    """JSON that jsonb takes: no NaN, no NUL, no lone surrogates, bytes in hex, nothing deeper than `depth`."""
    return json.dumps(_plain(value, depth), allow_nan=False)


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else str(value)[:100]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, bytes):
        return value.hex()
    if depth and isinstance(value, Mapping):
        return {str(_plain(k, 0)): _plain(v, depth - 1) for k, v in value.items()}
    if depth and isinstance(value, (list, tuple)):
        return [_plain(v, depth - 1) for v in value]
    return str(value)[:100].replace("\0", "")


def _one(step: Callable[[Derived], R], d: Derived) -> R | None:
    """One step on one batch; a failure is written down, not raised."""
    try:
        return step(d)
    except Exception as e:  # whatever a poison batch provokes: it must not stop the others
        d.error = f"{type(e).__name__}: {e}"[:500]
        d.chunks, d.grid_rows = [], 0
        return None


def _all_or_each(step: Callable[[list[T]], Sequence[R]], items: Sequence[T]) -> Sequence[R | Exception]:
    """The step on all at once; when that fails, on each alone, giving its exception where it fails."""
    if not items:
        return []
    try:
        return [*step([*items])]
    except Exception as e:
        if len(items) == 1:
            return [e]
    return [out for item in items for out in _all_or_each(step, [item])]

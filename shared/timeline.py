"""Channel grids of many batches as one time line of physical values, ready for windows."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.channels import BY_NAME, GRID_HZ
from shared.features import WINDOW_TICKS

TICK_US = 1_000_000 // GRID_HZ
Stored = Mapping[str, NDArray[np.integer]]
Sensed = Mapping[str, NDArray[np.floating]]
"""What `shared.channels.SENSED` names, physical."""


def physical(stored: Stored) -> dict[str, NDArray[np.floating]]:
    """Stored integers as physical floats, NaN where missing; unknown names are left out."""
    values: dict[str, NDArray[np.floating]] = {}
    for name, array in stored.items():
        channel = BY_NAME.get(name)
        if channel is not None:
            wide = np.dtype(np.float32 if channel.dtype == "int16" else np.float64)
            value: NDArray[np.floating] = array.astype(wide) * wide.type(channel.scale)
            value[array == channel.missing] = np.nan
            values[name] = value
    return values


def timeline(
    parts: Sequence[tuple[NDArray[np.int64], Stored, Sensed]],
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.floating]]]:
    """(tick_us, stored values, sensed values) of consecutive batches, in order, as one: int64 [n], name -> float
    [n(, size)].

    A gap is filled with absent ticks, at most a window's worth, so that no window looks across it unawares. Ticks that
    run backwards or occur again are dropped.
    """
    ticks = np.concatenate([t for t, _, _ in parts]) if parts else np.zeros(0, np.int64)
    keep = _ascending(ticks)
    ticks = ticks[keep]
    missed = np.minimum(np.diff(ticks) // TICK_US - 1, WINDOW_TICKS)
    at = np.arange(len(ticks)) + np.concatenate([[0], np.cumsum(missed)])[: len(ticks)]
    total = int(at[-1]) + 1 if len(at) else 0
    edges = np.concatenate([[0], np.cumsum([len(t) for t, _, _ in parts])]).astype(np.int64)
    channels: dict[str, NDArray[np.floating]] = {}
    position = np.full(len(keep), -1, np.int64)
    position[keep] = at
    for (_, stored, sensed), first, last in zip(parts, edges[:-1], edges[1:], strict=True):
        rows = position[first:last]
        for name, values in {**physical(stored), **sensed}.items():
            if name not in channels:
                channels[name] = np.full((total, *values.shape[1:]), np.nan, values.dtype)
            channels[name][rows[rows >= 0]] = values[rows >= 0]
    return _fill(ticks, at, total), channels


def _ascending(ticks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[n]: ticks later than all before them."""
    keep = np.ones(len(ticks), bool)
    if len(ticks) > 1:
        keep[1:] = ticks[1:] > np.maximum.accumulate(ticks)[:-1]
    return keep


def _fill(ticks: NDArray[np.int64], at: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """The time of every row; rows put into a gap count on from the tick before it."""
    if not total:
        return np.zeros(0, np.int64)
    before = np.searchsorted(at, np.arange(total), side="right") - 1
    filled: NDArray[np.int64] = ticks[before] + (np.arange(total) - at[before]) * TICK_US
    return filled

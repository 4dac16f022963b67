"""Frames as message columns without the codec's detour through bytes: what live windows, trackers and readers work on.

A `shared.codec` Block has the same shape; everything in this package takes either.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.frames import Frames
from shared.layouts import LAYOUTS

_HEADER = 12  # bytes from a frame's start in which every header lies


class MessageColumns(Protocol):
    """All messages of one (msgid, sysid, compid): rows int32 [m], their positions, ascending; payload uint8 [m, size],
    zero-extended to the full length of the layout."""

    @property
    def msgid(self) -> int: ...
    @property
    def sysid(self) -> int: ...
    @property
    def compid(self) -> int: ...
    @property
    def rows(self) -> NDArray[np.int32]: ...
    @property
    def payload(self) -> NDArray[np.uint8]: ...


class Columns(Protocol):
    """Messages as columns: n of them, received at time_us int64 [n] (recorder's clock)."""

    @property
    def n(self) -> int: ...
    @property
    def time_us(self) -> NDArray[np.int64]: ...
    @property
    def groups(self) -> Sequence[MessageColumns]: ...


@dataclass(frozen=True, slots=True, eq=False)
class FrameGroup:
    """See MessageColumns."""

    msgid: int
    sysid: int
    compid: int
    rows: NDArray[np.int32]
    payload: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class FrameColumns:
    """See Columns."""

    n: int
    time_us: NDArray[np.int64]
    groups: list[FrameGroup]


def fields(group: MessageColumns) -> NDArray[np.void]:
    """The group's fields by name, [m], without a copy. KeyError for a message without a layout."""
    return group.payload.view(LAYOUTS[group.msgid].dtype)[:, 0]


def field(group: MessageColumns, name: str) -> NDArray[Any]:
    """One field of the group, [m], without a copy: quicker than all. KeyError for a message without it."""
    found = LAYOUTS[group.msgid].dtype.fields
    assert found is not None
    dtype, offset = found[name][:2]
    return group.payload[:, offset : offset + dtype.itemsize].view(dtype)[:, 0]


def header(frames: Frames) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(key, payload start, payload length) of each frame; key = msgid << 16 | sysid << 8 | compid.

    -1 as key of what is no MAVLink frame (a block may hold anything that somebody sealed).
    """
    at, size = frames.offsets[:-1], np.diff(frames.offsets)
    is_sound = int(size.min()) >= _HEADER
    data = np.frombuffer(frames.data if is_sound else frames.data + bytes(_HEADER), np.uint8)
    stx = data[at]
    is_v1 = stx == 0xFE
    source = at + np.where(is_v1, 3, 5)
    ids = at + np.where(is_v1, 5, 7)
    key = (data[ids].astype(np.int64) << 16) | (data[source].astype(np.int64) << 8) | data[source + 1]
    long = np.flatnonzero(~is_v1)
    key[long] |= (data[at[long] + 8].astype(np.int64) << 24) | (data[at[long] + 9].astype(np.int64) << 32)
    start, length = at + np.where(is_v1, 6, 10), data[at + 1].astype(np.int64)
    is_frame = (is_v1 | (stx == 0xFD)) & (start - at + length + 2 <= size)
    key[~is_frame] = -1
    return key, start, length


def columns_of(frames: Frames, only: Collection[int] | None = None) -> FrameColumns:
    """The frames as columns, of the message ids in `only` (None: all). Unknown ids are as wide as their longest."""
    groups: list[FrameGroup] = []
    if len(frames):
        key, start, length = header(frames)
        order = _sorted(key)
        ordered = key[order]
        data = np.frombuffer(frames.data, np.uint8)
        edges = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), len(order)]
        for (a, b), k in zip(pairwise(edges), ordered[edges[:-1]].tolist(), strict=True):
            if k >= 0 and (only is None or k >> 16 in only):
                groups.append(_group(data, k, order[a:b], start, length))
    return FrameColumns(len(frames), frames.time_us, groups)


def _sorted(key: NDArray[np.int64]) -> NDArray[np.int64]:
    """Stable order of the keys; by radix, 16 bits at a time, where they are as small as they nearly always are."""
    if int(key.min()) < 0 or int(key.max()) >> 32:
        return np.argsort(key, kind="stable")
    by_source = np.argsort(key.astype(np.uint16), kind="stable")
    return by_source[np.argsort((key >> 16).astype(np.uint16)[by_source], kind="stable")]


def _group(
    data: NDArray[np.uint8], k: int, rows: NDArray[np.int64], start: NDArray[np.int64], length: NDArray[np.int64]
) -> FrameGroup:  # fmt: skip
    lengths = length[rows]
    layout = LAYOUTS.get(k >> 16)
    width = layout.size if layout else int(lengths.max())
    at = np.arange(width)
    first = start[rows]
    if width and int(first[-1]) + width <= len(data):  # rows copied whole, by a view of the data at every byte
        every = np.ndarray((len(data) - width + 1,), np.dtype((np.void, width)), data, 0, (1,))
        payload = every[first].view(np.uint8).reshape(len(rows), width)
    else:
        payload = data.take(first[:, None] + at, mode="clip")
    shortest = int(lengths.min())
    if shortest < width:
        payload[:, shortest:] *= at[shortest:] < lengths[:, None]
    return FrameGroup(k >> 16, k >> 8 & 0xFF, k & 0xFF, rows.astype(np.int32), payload)

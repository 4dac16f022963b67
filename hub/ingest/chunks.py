"""Grids as rows of `telemetry_chunks`: runs of consecutive ticks, each channel one SQL array.

The rows of all grids of a group lie side by side in one matrix per dtype and are encoded in a handful of numpy calls:
calls cost, not bytes. What remains per batch and channel is one slice of bytes.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.grid import TICK_US, ChannelGrid
from shared.channels import CHANNELS, Channel

MAX_ROWS = 1000
"""Rows of one chunk: 100 s."""

Ints = NDArray[np.signedinteger]
Values = Mapping[str, Ints]
Piece = tuple[Values, int, int]
"""Rows start .. stop - 1 of a grid's values."""
_BY_DTYPE: dict[str, list[Channel]] = {
    d: [c for c in CHANNELS if c.dtype == d] for d in ("int16", "int32", "int64") if any(c.dtype == d for c in CHANNELS)
}
_ELEMENT_OIDS = {2: 21, 4: 23, 8: 20}
_pack_head = struct.Struct(">iiiii").pack


def chunk_rows(grids: Sequence[ChannelGrid], offsets_us: Sequence[int]) -> list[list[dict[str, Any]]]:
    """Per grid its chunks: t0_utc_us, t1_utc_us, n, and the bytes of one SQL array per channel that has data.

    offsets_us: what is added to each grid's ticks to get UTC.
    """
    pieces: list[Piece] = []
    out: list[list[dict[str, Any]]] = []
    for grid, offset_us in zip(grids, offsets_us, strict=True):
        rows = []
        for a, b in runs(grid.tick_us):
            pieces.append((grid.values, a, b))
            t0, t1 = int(grid.tick_us[a]) + offset_us, int(grid.tick_us[b - 1]) + offset_us
            rows.append({"t0_utc_us": t0, "t1_utc_us": t1, "n": b - a})
        out.append(rows)
    for row, arrays in zip((row for rows in out for row in rows), encode_channels(pieces), strict=True):
        row |= arrays
    return out


def runs(tick_us: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """[start, stop) of consecutive ticks, at most MAX_ROWS each."""
    if len(tick_us) == 0:
        return
    breaks = (np.flatnonzero(np.diff(tick_us) != TICK_US) + 1).tolist()
    for a, b in zip([0, *breaks], [*breaks, len(tick_us)], strict=True):
        for start in range(a, b, MAX_ROWS):
            yield start, min(start + MAX_ROWS, b)


def encode_channels(pieces: Sequence[Piece]) -> list[dict[str, bytes]]:
    """Per piece each channel as a binary SQL array; absent samples are NULL, absent channels left out.

    Of a sized channel the elements up to the last that has data, one after the other.
    """
    out: list[dict[str, bytes]] = [{} for _ in pieces]
    edges = np.concatenate([[0], np.cumsum([b - a for _, a, b in pieces])]).astype(np.int64)
    for dtype, channels in _BY_DTYPE.items():
        present = [c for c in channels if any(c.name in values for values, _, _ in pieces)]
        if present:
            _encode(np.dtype(dtype), present, pieces, edges, out)
    return out


def _encode(
    dtype: np.dtype[Any], present: list[Channel], pieces: Sequence[Piece], edges: NDArray[np.int64],
    out: list[dict[str, bytes]],
) -> None:  # fmt: skip
    """All channels of one dtype of all pieces."""
    matrix = _laid_out(dtype, present, pieces, int(edges[-1]))
    absent = matrix == present[0].missing
    counts = np.add.reduceat(absent, edges[:-1], axis=1, dtype=np.int64)
    is_used = _used(present, counts < np.diff(edges))
    body, starts = _elements(matrix, absent, np.where(is_used, counts, 0), edges)
    cells, sizes = counts.tolist(), np.diff(edges).tolist()
    oid = _ELEMENT_OIDS[dtype.itemsize]
    at = 0
    for channel in present:
        size, name = channel.size, channel.name
        for p, n in enumerate(sizes):
            used = size
            while used and cells[at + used - 1][p] == n:
                used -= 1
            if used == 1:
                first = starts[at][p]
                out[p][name] = _head(cells[at][p] > 0, oid, n) + body[first[0] : first[1]]
            elif used:
                rows = range(at, at + used)
                parts = [body[starts[r][p][0] : starts[r][p][1]] for r in rows]
                out[p][name] = _head(any(cells[r][p] for r in rows), oid, used * n) + b"".join(parts)
        at += size


@lru_cache(4096)
def _head(has_null: bool, oid: int, count: int) -> bytes:
    return _pack_head(1, int(has_null), oid, count, 1)


def _laid_out(dtype: np.dtype[Any], present: list[Channel], pieces: Sequence[Piece], total: int) -> Ints:
    """[elements, rows of all pieces]."""
    matrix = np.empty((sum(c.size for c in present), total), dtype)
    nothing = np.full((max(b - a for _, a, b in pieces), 16), present[0].missing, dtype)
    at = 0
    for c in present:
        parts = [
            values[c.name][a:b] if c.name in values else _nothing(nothing, b - a, c.size) for values, a, b in pieces
        ]
        if c.size == 1:
            np.concatenate(parts, out=matrix[at])
        else:
            matrix[at : at + c.size] = np.concatenate(parts).T
        at += c.size
    return matrix


def _nothing(nothing: Ints, n: int, size: int) -> Ints:
    return nothing[:n, 0] if size == 1 else nothing[:n, :size]


def _used(present: list[Channel], has_data: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[elements, pieces]: which cells go into an array: those with data, and what lies before such in a sized
    channel."""
    is_used = has_data.copy()
    at = 0
    for c in present:
        if c.size > 1:
            part = has_data[at : at + c.size]
            is_used[at : at + c.size] = np.logical_or.accumulate(part[::-1], axis=0)[::-1]
        at += c.size
    return is_used


def _elements(
    matrix: Ints, absent: NDArray[np.bool_], nulls: NDArray[np.int64], edges: NDArray[np.int64]
) -> tuple[bytes, list[list[tuple[int, int]]]]:
    """Each value as its size and big-endian bytes, a NULL as a size of -1 and no value; and where each cell [element,
    piece] lies in that. nulls: absent values of each cell; 0 also for cells that nobody looks at, which are left as
    they are."""
    width = matrix.dtype.itemsize
    elements = np.empty(matrix.shape, np.dtype([("size", ">i4"), ("value", f">i{width}")]))
    elements["size"], elements["value"] = width, matrix
    sizes = np.diff(edges) * (4 + width) - width * nulls
    stops = np.cumsum(sizes).reshape(sizes.shape)
    places: list[list[tuple[int, int]]] = np.stack([stops - sizes, stops], axis=2).tolist()
    whole = nulls.sum(axis=1) == 0
    if whole.all():
        return elements.tobytes(), places
    absent &= np.repeat(nulls > 0, np.diff(edges), axis=1)
    elements["size"][absent] = -1
    return b"".join(_compacted(elements, absent, set(whole.nonzero()[0].tolist()))), places


def _compacted(elements: NDArray[np.void], absent: NDArray[np.bool_], whole: set[int]) -> Iterator[bytes]:
    """The rows of `elements` without the values that are absent; `whole`: rows in which none is. Runs of either kind
    are handled at once."""
    units = elements.dtype.itemsize // 2
    start, count = 0, len(elements)
    while start < count:
        is_whole = start in whole
        stop = start + 1
        while stop < count and (stop in whole) == is_whole:
            stop += 1
        part = elements[start:stop]
        if is_whole:
            yield part.tobytes()
        else:
            keep = np.repeat(~absent[start:stop], units).reshape(*part.shape, units)
            keep[..., :2] = True
            yield part.view(">u2").reshape(keep.shape)[keep].tobytes()
        start = stop

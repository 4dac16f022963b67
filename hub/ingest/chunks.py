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
_NULLS = b"\xff" * (4 * MAX_ROWS)
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
    cells = _Cells(_laid_out(dtype, present, pieces, int(edges[-1])), present[0].missing, edges)
    oid = _ELEMENT_OIDS[dtype.itemsize]
    at = 0
    for channel in present:
        for p, n in enumerate(cells.sizes):
            used = channel.size
            while used and cells.nulls[at + used - 1][p] == n:
                used -= 1
            if used:
                rows = range(at, at + used)
                head = _head(any(cells.nulls[r][p] for r in rows), oid, used * n)
                out[p][channel.name] = b"".join([head, *(part for r in rows for part in cells.parts(r, p))])
        at += channel.size


class _Cells:
    """Each value of a matrix [elements, rows of all pieces] as its size and its big-endian bytes; a cell is what an
    element has in a piece.

    NULL is a size of -1 and no value. Those at the head of a cell, as most are (nothing was heard yet), cost nothing:
    the bytes taken begin after them.
    """

    def __init__(self, matrix: Ints, missing: int, edges: NDArray[np.int64]) -> None:
        width = matrix.dtype.itemsize
        self._elements = np.empty(matrix.shape, np.dtype([("size", ">i4"), ("value", f">i{width}")]))
        self._elements["size"], self._elements["value"] = width, matrix
        self._bytes = self._elements.view(np.uint8).reshape(-1).data
        self._absent = matrix == missing
        self._edges: list[int] = edges.tolist()
        counts = np.add.reduceat(self._absent.view(np.int8), edges[:-1], axis=1, dtype=np.int16)  # at most MAX_ROWS
        self.sizes: list[int] = np.diff(edges).tolist()
        self.nulls: list[list[int]] = counts.tolist()
        self._torn = self._find_torn(edges)

    def _find_torn(self, edges: NDArray[np.int64]) -> set[tuple[int, int]]:
        """Cells in which a NULL comes after a value."""
        later = self._absent[:, 1:] & ~self._absent[:, :-1]
        row, before = np.divmod(np.flatnonzero(later), max(later.shape[1], 1))
        piece = np.searchsorted(edges, before + 1, side="right") - 1
        within = edges[piece] <= before
        return {*zip(row[within].tolist(), piece[within].tolist(), strict=True)}

    def parts(self, row: int, piece: int) -> list[bytes | memoryview]:
        """The bytes of a cell."""
        nulls, start, stop = self.nulls[row][piece], self._edges[piece], self._edges[piece + 1]
        if (row, piece) in self._torn:
            return [_torn(self._elements[row, start:stop], self._absent[row, start:stop])]
        size, total = self._elements.itemsize, self._edges[-1]
        values = self._bytes[(row * total + start + nulls) * size : (row * total + stop) * size]
        return [_NULLS[: 4 * nulls], values] if nulls else [values]


def _torn(elements: NDArray[np.void], absent: NDArray[np.bool_]) -> bytes:
    """The bytes of elements, without the values of those that are absent."""
    elements = elements.copy()
    elements["size"][absent] = -1
    units = elements.dtype.itemsize // 2
    keep = np.repeat(~absent, units).reshape(-1, units)
    keep[:, :2] = True
    return elements.view(">u2")[keep.reshape(-1)].tobytes()


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

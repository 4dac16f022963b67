"""A batch's grid as rows of `telemetry_chunks`: runs of consecutive ticks, each channel one SQL array.

All channels of one dtype are laid in one matrix and encoded in a handful of calls: calls cost, not bytes.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.grid import TICK_US, ChannelGrid
from shared.channels import CHANNELS, Channel

MAX_ROWS = 1000
"""Rows of one chunk: 100 s."""

Ints = NDArray[np.signedinteger]
_BY_DTYPE: dict[str, list[Channel]] = {
    d: [c for c in CHANNELS if c.dtype == d] for d in ("int16", "int32", "int64") if any(c.dtype == d for c in CHANNELS)
}
_ELEMENT_OIDS = {2: 21, 4: 23, 8: 20}
_pack_head = struct.Struct(">iiiii").pack


def chunk_rows(grid: ChannelGrid, offset_us: int) -> list[dict[str, Any]]:
    """The chunks of `grid`: t0_utc_us, t1_utc_us, n, and the bytes of one SQL array per channel that has data."""
    rows = []
    for a, b in runs(grid.tick_us):
        t0, t1 = int(grid.tick_us[a]) + offset_us, int(grid.tick_us[b - 1]) + offset_us
        rows.append({"t0_utc_us": t0, "t1_utc_us": t1, "n": b - a} | encode_channels(grid.values, a, b))
    return rows


def runs(tick_us: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """[start, stop) of consecutive ticks, at most MAX_ROWS each."""
    if len(tick_us) == 0:
        return
    breaks = (np.flatnonzero(np.diff(tick_us) != TICK_US) + 1).tolist()
    for a, b in zip([0, *breaks], [*breaks, len(tick_us)], strict=True):
        for start in range(a, b, MAX_ROWS):
            yield start, min(start + MAX_ROWS, b)


def encode_channels(values: Mapping[str, Ints], start: int, stop: int) -> dict[str, bytes]:
    """Rows start .. stop - 1 of each channel as a binary SQL array; absent samples NULL, absent channels left out."""
    out: dict[str, bytes] = {}
    for dtype, channels in _BY_DTYPE.items():
        present = [(c, values[c.name][start:stop]) for c in channels if c.name in values]
        if present:
            out |= _encode(dtype, present, stop - start)
    return out


def _encode(dtype: str, present: list[tuple[Channel, Ints]], n: int) -> dict[str, bytes]:
    """All channels of one dtype. Of a sized channel the elements up to the last that has data, one after the other."""
    matrix = np.empty((sum(c.size for c, _ in present), n), dtype)
    at = 0
    for channel, value in present:
        matrix[at : at + channel.size] = value.T
        at += channel.size
    absent = matrix == present[0][0].missing
    counts = np.count_nonzero(absent, axis=1).tolist()
    width = matrix.dtype.itemsize
    body = _elements(matrix, absent, [0 < k < n for k in counts])
    out, at = {}, 0
    null = b"\xff\xff\xff\xff" * n
    for channel, _ in present:
        used = channel.size
        while used and counts[at + used - 1] == n:
            used -= 1
        if used:
            rows = range(at, at + used)
            head = _pack_head(1, int(any(counts[i] for i in rows)), _ELEMENT_OIDS[width], used * n, 1)
            out[channel.name] = head + b"".join(null if counts[i] == n else body[i] for i in rows)
        at += channel.size
    return out


def _elements(matrix: Ints, absent: NDArray[np.bool_], has_holes: list[bool]) -> list[bytes]:
    """Per row its values, each as size and big-endian bytes; in rows with holes a NULL is a size of -1 and no value."""
    width = matrix.dtype.itemsize
    elements = np.empty(matrix.shape, np.dtype([("size", ">i4"), ("value", f">i{width}")]))
    elements["size"], elements["value"] = width, matrix
    whole = elements.tobytes()
    step = elements.itemsize * matrix.shape[1]
    rows = [whole[i * step : (i + 1) * step] for i in range(len(matrix))]
    if any(has_holes):
        at = np.flatnonzero(has_holes)
        holes, part = absent[at], elements[at]
        part["size"][holes] = -1
        units = part.view(">u2").reshape(*part.shape, 2 + width // 2)
        keep = np.repeat(~holes, 2 + width // 2).reshape(units.shape)
        keep[..., :2] = True
        compact = units[keep].tobytes()
        ends = np.cumsum(step - width * np.count_nonzero(holes, axis=1)).tolist()
        for i, start, stop in zip(at.tolist(), [0, *ends], ends, strict=False):
            rows[i] = compact[start:stop]
    return rows

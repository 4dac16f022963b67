"""Columns back to records: the inverse of `encode`, for bytes that nobody vouches for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from firmware_bridge.log_packing.encode import FIXED, PLAIN, REPEATS, SECOND, XOR
from firmware_bridge.log_packing.numbers import Cursor, Flat, from_planes, order_width, require, unzigzag
from firmware_bridge.log_packing.records import MAX_COLUMNS, WIDTHS, Ints, Rows, Run, Slot


def decode(content: bytes, size: int) -> bytes:
    """The `size` bytes of log that a columns segment holds. Refused(packing_malformed)."""
    cursor = Cursor(content)
    slots, counts = _table(cursor, size)
    lengths = [cursor.varint(size) for _ in range(cursor.varint(size))]
    sizes = [s.size for s in slots]
    total = sum(n * s for n, s in zip(counts, sizes, strict=True)) + sum(lengths)
    require(total == size, "records and raw spans do not come to the size")
    modes = [np.frombuffer(cursor.take(_column_count(slots, w)), np.uint8).tolist() for w in WIDTHS]
    require(all(m <= FIXED for of_width in modes for m in of_width), "mode")
    layouts = [_columns_of(w, slots, counts, m) for w, m in zip(WIDTHS, modes, strict=True)]
    fixed = [[cursor.take(c.size) for c in layout if c.mode == FIXED] for layout in layouts]
    entries = sum(counts) + len(lengths)
    width = order_width(len(slots))
    order = from_planes(cursor.take(entries * width), width).astype(np.int64)
    rows = [np.empty((n, s), np.uint8) for n, s in zip(counts, sizes, strict=True)]
    for w, layout, values in zip(WIDTHS, layouts, fixed, strict=True):
        varying = sum(c.length for c in layout if c.mode != FIXED)
        _fill(rows, w, layout, iter(values), from_planes(cursor.take(varying * w), w))
    raw = cursor.rest()
    require(len(raw) == sum(lengths), "raw bytes")
    return _placed(order, rows, counts, lengths, raw, size)


def _table(cursor: Cursor, size: int) -> tuple[list[Slot], list[int]]:
    slots, counts = [], []
    columns = 0
    for _ in range(cursor.varint(MAX_COLUMNS)):
        count = cursor.varint(size)
        slot = Slot(tuple(_run(cursor, size) for _ in range(cursor.varint(MAX_COLUMNS))))
        columns += slot.columns
        require(columns <= MAX_COLUMNS, "too many columns")
        require(count > 0 and 0 < slot.size <= size, "slot")
        slots.append(slot)
        counts.append(count)
    return slots, counts


def _run(cursor: Cursor, size: int) -> Run:
    code = cursor.take(1)[0]
    require(code < 2 * REPEATS, "run")
    count = cursor.varint(size)
    repeat = cursor.varint(size) if code & REPEATS else 1
    require(count > 0 and repeat > 0, "run")
    return Run(WIDTHS[code % REPEATS], count, repeat)


@dataclass(frozen=True, slots=True)
class _Column:
    """One column. slot: its index. at: its offset in the record. length: its values."""

    slot: int
    at: int
    repeat: int
    size: int
    length: int
    mode: int


def _column_count(slots: list[Slot], width: int) -> int:
    return sum(run.count for slot in slots for _, run in slot.at[width])


def _columns_of(width: int, slots: list[Slot], counts: list[int], modes: list[int]) -> list[_Column]:
    out = []
    mode = iter(modes)
    for i, (slot, n) in enumerate(zip(slots, counts, strict=True)):
        for offset, run in slot.at[width]:
            size = width * run.repeat
            ats = range(offset, offset + run.size, size)
            out += [_Column(i, at, run.repeat, size, n * run.repeat, next(mode)) for at in ats]
    return out


def _fill(rows: list[Rows], width: int, layout: list[_Column], fixed: Iterator[bytes], values: Flat) -> None:
    """Write all columns of a width into the records."""
    start = 0
    for c in layout:
        table = rows[c.slot]
        if c.mode == FIXED:
            table[:, c.at : c.at + c.size] = np.frombuffer(next(fixed), np.uint8)
            continue
        column = _restored(values[start : start + c.length], c.mode)
        start += c.length
        place = np.ndarray((len(table), c.repeat), f"<u{width}", table, c.at, (table.shape[1], width))
        place[:] = column.reshape(-1, c.repeat)


def _restored(values: Flat, mode: int) -> Flat:
    if mode == PLAIN:
        return values
    if mode == XOR:
        return np.bitwise_xor.accumulate(values)
    steps = unzigzag(values)
    if mode == SECOND:
        head = steps[0].copy()
        steps[0] = 0
        steps = np.cumsum(steps, dtype=steps.dtype)
        steps[0] = head
    return np.cumsum(steps, dtype=steps.dtype)


def _placed(
    order: Ints, rows: list[Rows], counts: list[int], lengths: list[int], raw: bytes, size: int
) -> bytes:  # fmt: skip
    """The records and raw spans in the order of the log."""
    require(np.bincount(order, minlength=len(rows) + 1).tolist() == [len(lengths), *counts], "order")
    sizes = np.array([0] + [r.shape[1] for r in rows], np.int64)[order]
    sizes[order == 0] = lengths
    starts = np.cumsum(sizes) - sizes
    out = bytearray(size)
    for i, table in enumerate(rows):
        n = table.shape[1]
        at_each_byte = np.ndarray((size - n + 1,), f"V{n}", out, strides=(1,))
        at_each_byte[starts[order == i + 1]] = table.view(f"V{n}")[:, 0]
    done = 0
    for start, length in zip(starts[order == 0].tolist(), lengths, strict=True):
        out[start : start + length] = raw[done : done + length]
        done += length
    return bytes(out)

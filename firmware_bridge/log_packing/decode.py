"""Columns back to records: the inverse of `encode`, for bytes that nobody vouches for."""

from dataclasses import dataclass

import numpy as np

from firmware_bridge.log_packing.encode import DELTA, FIXED, REPEATS, SECOND, XOR
from firmware_bridge.log_packing.numbers import Cursor, Flat, from_planes, order_width, require, unzigzag
from firmware_bridge.log_packing.records import MAX_COLUMNS, WIDTHS, Ints, Rows, Run, Slot


def decode(content: bytes, size: int) -> bytes:
    """The `size` bytes of log that a columns segment holds. Refused(packing_malformed)."""
    found = read_columns(Cursor(content), size, size)
    sizes = np.array([0] + [r.shape[1] for r in found.rows], np.int64)[found.order]
    starts = found.starts(sizes, size)
    by_slot = starts[np.argsort(found.order, kind="stable")]
    out = bytearray(size)
    at = len(found.lengths)
    for table in found.rows:
        count, n = table.shape
        at_each_byte = np.ndarray((size - n + 1,), f"V{n}", out, strides=(1,))
        at_each_byte[by_slot[at : at + count]] = table.view(f"V{n}")[:, 0]
        at += count
    found.put_raw(out, starts)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Columns:
    """What section 3 of docs/log-packing.md holds. order: of each record the slot from 1, of each raw span 0. rows: the
    records of each slot. lengths: of the raw spans; raw: their bytes."""

    order: Ints
    rows: list[Rows]
    lengths: list[int]
    raw: bytes

    def starts(self, sizes: Ints, size: int) -> Ints:
        """Where in the log each item of the order begins. sizes: of each record, 0 for raw spans (they are filled in).

        Refused unless all of them come to `size`.
        """
        sizes[self.order == 0] = self.lengths
        ends = np.cumsum(sizes)
        require((int(ends[-1]) if len(ends) else 0) == size, "records and raw spans do not come to the size")
        return ends - sizes

    def put_raw(self, out: bytearray, starts: Ints) -> None:
        """Write the raw spans into the log."""
        done = 0
        for start, length in zip(starts[self.order == 0].tolist(), self.lengths, strict=True):
            out[start : start + length] = self.raw[done : done + length]
            done += length


def read_columns(cursor: Cursor, size: int, most: int, ordered: int | None = None) -> Columns:
    """The columns of a segment of `size` bytes of log, whose records come to at most `most` bytes.

    ordered: so many slots are named by the order; those behind are no records of the log (None: all are).
    Refused(packing_malformed).
    """
    slots, counts = _table(cursor, size)
    ordered = len(slots) if ordered is None else ordered
    lengths = [cursor.varint(size) for _ in range(cursor.varint(size))]
    sizes = [s.size for s in slots]
    require(sum(n * s for n, s in zip(counts, sizes, strict=True)) <= most and sum(lengths) <= size, "too much")
    layouts = [_Layout.of(w, slots, counts) for w in WIDTHS]
    for layout in layouts:
        layout.modes = np.frombuffer(cursor.take(len(layout.lengths)), np.uint8)
        require(not (layout.modes > FIXED).any(), "mode")
    fixed = [cursor.take(layout.fixed_bytes()) for layout in layouts]
    width = order_width(len(slots))
    entries = sum(counts[:ordered]) + len(lengths)
    order = from_planes(cursor.take(entries * width), width).astype(np.int64)
    named = np.bincount(order, minlength=ordered + 1).tolist()
    require(named == [len(lengths), *counts[:ordered]], "order")
    rows = [np.empty((n, s), np.uint8) for n, s in zip(counts, sizes, strict=True)]
    for layout, same in zip(layouts, fixed, strict=True):
        w = layout.width
        layout.fill(rows, same, from_planes(cursor.take(layout.varying() * w), w))
    raw = cursor.rest()
    require(len(raw) == sum(lengths), "raw bytes")
    return Columns(order, rows, lengths, raw)


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


@dataclass(slots=True)
class _Layout:
    """All columns of one width. lengths: their values; repeats: of those, in one record. runs: (slot, offset, run)."""

    width: int
    lengths: Ints
    repeats: Ints
    runs: list[tuple[int, int, Run]]
    modes: Rows

    @staticmethod
    def of(width: int, slots: list[Slot], counts: list[int]) -> "_Layout":
        runs = [(i, offset, run) for i, slot in enumerate(slots) for offset, run in slot.at[width]]
        fields = [run.count for _, _, run in runs]
        repeats = np.repeat(np.array([run.repeat for _, _, run in runs], np.int64), fields)
        rows = np.repeat(np.array([counts[i] for i, _, _ in runs], np.int64), fields)
        return _Layout(width, rows * repeats, repeats, runs, np.zeros(0, np.uint8))

    def fixed_bytes(self) -> int:
        """What the columns that never change take."""
        return int(self.repeats[self.modes == FIXED].sum()) * self.width

    def varying(self) -> int:
        """How many entries the other columns have."""
        return int(self.lengths[self.modes != FIXED].sum())

    def fill(self, rows: list[Rows], fixed: bytes, entries: Flat) -> None:
        """Write all columns into the records."""
        is_fixed = self.modes == FIXED
        values = _restored(entries, self.lengths[~is_fixed], self.modes[~is_fixed])
        same = np.frombuffer(fixed, f"<u{self.width}")
        at, at_fixed, column = 0, 0, 0
        for slot, offset, run in self.runs:
            table = rows[slot]
            size, n = self.width * run.repeat, len(table)
            shape, strides = (run.count, n, run.repeat), (size, table.shape[1], self.width)
            place = np.ndarray(shape, f"<u{self.width}", table, offset, strides)
            fixed_here = is_fixed[column : column + run.count]
            column += run.count
            varying = np.flatnonzero(~fixed_here)
            end, end_fixed = at + len(varying) * n * run.repeat, at_fixed + int(fixed_here.sum()) * run.repeat
            if at_fixed == end_fixed:
                place[:] = values[at:end].reshape(shape)
            else:
                place[varying] = values[at:end].reshape(len(varying), n, run.repeat)
                place[fixed_here] = same[at_fixed:end_fixed].reshape(-1, 1, run.repeat)
            at, at_fixed = end, end_fixed


def _restored(entries: Flat, lengths: Ints, modes: Rows) -> Flat:
    """The values of columns laid one after the other."""
    mode = np.repeat(modes, lengths)
    out = entries.copy()
    is_xor = mode == XOR
    out[is_xor] = _scanned(np.bitwise_xor, entries[is_xor], lengths[modes == XOR])
    has_steps = (mode == DELTA) | (mode == SECOND)
    out[has_steps] = unzigzag(entries[has_steps])
    is_second, seconds = mode == SECOND, lengths[modes == SECOND]
    changes = out[is_second]
    heads = np.cumsum(seconds) - seconds
    first = changes[heads]
    changes[heads] = 0
    changes = _scanned(np.add, changes, seconds)
    changes[heads] = first
    out[is_second] = changes
    out[has_steps] = _scanned(np.add, out[has_steps], lengths[(modes == DELTA) | (modes == SECOND)])
    return out


def _scanned(step: np.ufunc, values: Flat, lengths: Ints) -> Flat:
    """step accumulated within each column (+ or XOR: what came before the column is taken out again)."""
    if not len(values):
        return values
    total = step.accumulate(values, dtype=values.dtype)
    heads = np.cumsum(lengths) - lengths
    before = np.zeros(len(lengths), values.dtype)
    before[1:] = total[heads[1:] - 1]
    undo = np.bitwise_xor if step is np.bitwise_xor else np.subtract
    return np.asarray(undo(total, np.repeat(before, lengths)))

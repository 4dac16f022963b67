"""Records to columns: fields of one width laid one column after the other, each by the prediction that suits it best.

All columns of a width go through numpy together: a call per column would cost more than its bytes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.log_packing.numbers import Flat, order_width, planes, varints, zigzag
from firmware_bridge.log_packing.records import WIDTHS, Ints, Records, Rows, Slot

PLAIN, DELTA, SECOND, XOR, FIXED = range(5)
"""Modes of a column: as it is; less the value before; the same twice; XOR with the value before; always the same."""
REPEATS = 0x04
"""Flag of a run's code: its repeat follows."""


def encode(data: bytes, records: Records) -> bytes:
    """The content of a columns segment (docs/log-packing.md), not compressed."""
    by_slot = np.argsort(records.slot, kind="stable")
    counts = np.bincount(records.slot, minlength=len(records.slots))
    ends = np.cumsum(counts).tolist()
    rows = [
        _gather(data, records.starts[by_slot[end - n : end]], slot.size)
        for slot, n, end in zip(records.slots, counts.tolist(), ends, strict=True)
    ]
    sizes = np.array([s.size for s in records.slots], np.int64)
    between = spans_between(data, records.starts, records.starts + sizes[records.slot], records.end)
    return content(records.slots, rows, records.slot, between)


@dataclass(frozen=True, slots=True)
class Between:
    """The raw spans: before which record each lies, how long each is, the bytes of all."""

    at: Ints
    lengths: list[int]
    raw: bytes


def spans_between(data: bytes, starts: Ints, ends: Ints, end: int) -> Between:
    """What lies between records data[starts[i] : ends[i]], before the first and up to `end`."""
    begins, ends = np.concatenate((starts, [end])), np.concatenate(([0], ends))
    at = np.flatnonzero(begins != ends)
    raw = b"".join(data[a:b] for a, b in zip(ends[at].tolist(), begins[at].tolist(), strict=True))
    return Between(at, (begins - ends)[at].tolist(), raw)


def content(slots: list[Slot], rows: list[Rows], slot: NDArray[np.intp], between: Between) -> bytes:
    """Section 3 of docs/log-packing.md. slot: of each record, in the order of the log."""
    coded = [_columns(w, slots, rows) for w in WIDTHS]
    head = [len(slots), *_table(slots, [len(r) for r in rows]), len(between.lengths), *between.lengths]
    order = np.insert(slot + 1, between.at, 0).astype(f"<u{order_width(len(slots))}")
    sections = [varints(head), *(c.modes for c in coded), *(c.fixed for c in coded), planes(order)]
    return b"".join([*sections, *(c.planes for c in coded), between.raw])


def _table(slots: list[Slot], counts: list[int]) -> list[int]:
    out: list[int] = []
    for slot, n in zip(slots, counts, strict=True):
        out += n, len(slot.runs)
        for run in slot.runs:
            code = WIDTHS.index(run.width)
            out += [code, run.count] if run.repeat == 1 else [code | REPEATS, run.count, run.repeat]
    return out


def _gather(data: bytes, starts: Ints, size: int) -> Rows:
    """The records as rows, uint8 [n, size]: one copy per record."""
    at_each_byte = np.ndarray((len(data) - size + 1,), f"V{size}", data, strides=(1,))
    return at_each_byte[starts].view(np.uint8).reshape(-1, size)


@dataclass(frozen=True, slots=True)
class _Coded:
    """All columns of one width. modes: one byte each. fixed: one record's worth of each that never changes."""

    modes: bytes
    fixed: bytes
    planes: bytes


def _columns(width: int, slots: list[Slot], rows: list[Rows]) -> _Coded:
    parts: list[Flat] = []
    lengths: list[int] = []
    repeats: list[int] = []
    known: dict[int, bytes] = {}
    for slot, table in zip(slots, rows, strict=True):
        for offset, run in slot.at[width]:
            size = width * run.repeat
            if run.is_fixed:
                at = range(offset, offset + run.size, size)
                known |= {len(lengths) + i: table[0, o : o + size].tobytes() for i, o in enumerate(at)}
            else:
                shape, strides = (run.count, len(table), run.repeat), (size, slot.size, width)
                parts.append(np.ndarray(shape, f"<u{width}", table, offset, strides).ravel())
            lengths += [0 if run.is_fixed else len(table) * run.repeat] * run.count
            repeats += [run.repeat] * run.count
    return _predict(np.concatenate(parts), lengths, repeats, known) if parts else _all_known(known)


def _all_known(known: dict[int, bytes]) -> _Coded:
    return _Coded(bytes([FIXED] * len(known)), b"".join(known.values()), b"")


def _predict(flat: Flat, lengths: list[int], repeats: list[int], known: dict[int, bytes]) -> _Coded:
    """Choose each column's mode. Columns of length 0 are those in `known`."""
    length = np.array(lengths, np.int64)
    varying = np.flatnonzero(length)
    heads = (np.cumsum(length) - length)[varying]
    delta = _restarted(np.subtract, flat, flat, heads)
    is_fixed = np.bitwise_or.reduceat(_without(delta, heads), heads) == 0
    seconds = heads[length[varying] > 1] + 1
    second = _restarted(np.subtract, delta, flat, heads)
    second[seconds] = delta[seconds]
    tried = [flat, zigzag(delta), zigzag(second), _restarted(np.bitwise_xor, flat, flat, heads)]
    cost = [np.add.reduceat(np.log2(t.astype(np.float32) + np.float32(1)), heads) for t in tried]
    mode = np.where(is_fixed, FIXED, np.argmin(cost, axis=0))
    modes = np.full(len(length), FIXED, np.uint8)
    modes[varying] = mode
    chosen = []
    for column, m, start in zip(varying.tolist(), mode.tolist(), heads.tolist(), strict=True):
        if m == FIXED:
            known[column] = flat[start : start + repeats[column]].tobytes()
        else:
            chosen.append(tried[m][start : start + lengths[column]])
    values = np.concatenate(chosen) if chosen else flat[:0]
    return _Coded(modes.tobytes(), b"".join(known[c] for c in sorted(known)), planes(values))


def _restarted(step: np.ufunc, values: Flat, first: Flat, heads: Ints) -> Flat:
    """step(value, the one before); at the head of each column the value of `first` itself."""
    out = np.empty_like(values)
    step(values[1:], values[:-1], out=out[1:])
    out[heads] = first[heads]
    return out


def _without(delta: Flat, heads: Ints) -> Flat:
    """A copy with zeros at the heads."""
    out = delta.copy()
    out[heads] = 0
    return out

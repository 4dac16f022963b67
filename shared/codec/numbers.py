"""Modes, tokens and raw bits to the numbers of the columns, for many blocks at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec import bits, floats, series
from shared.codec.columns import Columns
from shared.codec.container import Parts, joined, require
from shared.codec.content import Bytes, ramp, spans, stable_order
from shared.codec.pairs import SLOTS
from shared.codec.series import Ragged
from shared.codec.table import ELEMENTS, FLOAT

MAX_SPLIT = 48
SPARE = bytes(24)
"""Room after bytes that are read eight at a time."""
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Columns as decoded: `value` of the varying ones (stream order), then one number per constant one.

    at, step: per column of Columns, where its values are and how far apart (0: constant).
    """

    value: Ints
    at: Ints
    step: Ints

    def of(self, columns: Columns, which: Ints) -> Ints:
        """The values of columns `which`, one column after the other."""
        rows = columns.rows[which]
        return self.value[self.at[which].repeat(rows) + ramp(rows) * self.step[which].repeat(rows)]


@dataclass(frozen=True, slots=True, eq=False)
class Varying:
    """Columns that are not constant, in stream order; column: index in Columns; the rest from their modes."""

    column: Ints
    block: Ints
    rag: Ragged
    order: Ints
    pair: Ints
    form: Ints
    top: Ints
    p: Ints
    is_float: NDArray[np.bool_]


def varying(parts: list[Parts], columns: Columns, block: Ints, max_bytes: int) -> Varying:
    """What the modes say. block: of each column."""
    mode = joined([p.modes for p in parts]).astype(np.int64)
    counts = np.bincount(block, minlength=len(parts)).tolist()
    require([len(p.modes) for p in parts] == counts, "modes")
    require(int(mode.max(initial=0)) <= 3 * (1 + SLOTS) * floats.FORMS, "modes")
    column = mode.nonzero()[0]
    element, mode = columns.element[column], mode[column] - 1
    form, pair, order = mode // (3 * (1 + SLOTS)), mode // 3 % (1 + SLOTS), mode % 3
    is_float = (element >= 0) & (ELEMENTS.kind[element] == FLOAT)
    require((is_float | (form == 0)).all(), "float form")
    can = (element >= 0) & (ELEMENTS.pair_msgid[element, np.maximum(pair - 1, 0)] >= 0)
    require(((pair == 0) | can & ~(is_float & (form == 0))).all(), "pair")
    p = joined([x.splits for x in parts]).astype(np.int64)
    counts = np.bincount(block[column], minlength=len(parts)).tolist()
    require([len(x.splits) for x in parts] == counts and int(p.max(initial=0)) <= MAX_SPLIT, "splits")
    top = np.zeros(len(column), np.int64)
    tops = joined([x.tops for x in parts])
    fixed = (form == floats.FIXED).nonzero()[0]
    counts = np.bincount(block[column[fixed]], minlength=len(parts)).tolist()
    require([len(x.tops) for x in parts] == counts, "tops")
    top[fixed] = tops
    values = np.bincount(block[column], columns.rows[column], len(parts))
    require(int(values.max(initial=0)) <= max(max_bytes // 4, 1), "too many values")
    stream = stable_order(block[column] << 1 | (p > 0))
    column = column[stream]
    rag = Ragged.of(columns.rows[column])
    order, pair, form, top, p = (x[stream] for x in (order, pair, form, top, p))
    return Varying(column, block[column], rag, order, pair, form, top, p, is_float[stream])


def _raw_bits(sections: list[bytes], size: Ints, per_block: Ints) -> NDArray[np.uint64]:
    """Raw values of `size` bits from the bit strings of all blocks; per_block: how many values each block has."""
    end = size.cumsum()
    last = per_block.cumsum()
    bounds = np.where(last > 0, end[last - 1], 0) if len(end) else np.zeros_like(last)
    used = bounds.copy()
    used[1:] -= bounds[:-1]
    lengths = np.array([len(s) for s in sections], np.int64)
    require((lengths == (used + 7) >> 3).all(), "raw bits")
    begin = (lengths.cumsum() - lengths) * 8 - (bounds - used)
    data = joined(sections, SPARE)
    at = end - size
    at += begin[0] if len(sections) == 1 else begin.repeat(per_block)
    return bits.unpack(data, at, size)


def _tokens(sections: list[bytes], raw: list[bytes], p: Bytes, per_block: Ints) -> Ints:
    """Numbers from tokens and raw bits; p: of each number. Most numbers have no raw bits: they are their tokens."""
    token = joined(sections)
    require([len(s) for s in sections] == per_block.tolist(), "tokens")
    require(int(token.max(initial=0)) <= bits.MAX_TOKEN, "token")
    size = bits.EXTRA.take(token)
    size += p
    require(int(size.max(initial=0)) < 64, "token")
    value = bits.SMALL.take(token)
    long = size.nonzero()[0]
    edges = np.searchsorted(long, per_block.cumsum())
    bit_count = size[long].astype(np.int64)
    found = _raw_bits(raw, bit_count, np.diff(edges, prepend=0))
    value[long] = bits.from_tokens(token[long], found, p[long].astype(np.int64))
    return value


def series_values(parts: list[Parts], v: Varying) -> Ints:
    """Numbers of the varying columns: residuals summed up."""
    rag, blocks = v.rag, len(parts)
    columns = np.bincount(v.block, minlength=blocks)
    counts = np.concatenate([columns, np.bincount(v.block, rag.rows, blocks).astype(np.int64)])
    p = np.concatenate([np.zeros(len(v.p), np.uint8), v.p.astype(np.uint8).repeat(rag.rows)])
    tokens = [*(x.heads for x in parts), *(x.tokens for x in parts)]
    numbers = _tokens(tokens, [*(x.head_bits for x in parts), *(x.value_bits for x in parts)], p, counts)
    value = numbers[len(v.p) :]
    if not len(v.p):
        return value
    head = np.empty(len(v.p), np.int64)
    head[stable_order(v.column)] = numbers[: len(v.p)]  # heads travel in column order, values in stream order
    head <<= v.p
    first = value[rag.starts] + head
    second = (v.order == 2).nonzero()[0]
    if len(second):
        value[rag.starts[second]] = 0
        at, part = spans(rag.starts[second], rag.rows[second]), Ragged.of(rag.rows[second])
        value[at] = series.sums(value[at], part)
    value[rag.starts] = first
    flat = v.order == 0
    total = series.sums(value, rag)
    if not flat.any():
        return total
    value += np.repeat(np.where(flat, head, 0), rag.rows)
    value[rag.starts] = first
    return np.where(flat.repeat(rag.rows), value, total)


def constants(parts: list[Parts], columns: Columns, constant: Ints, block: Ints) -> tuple[Bytes, Ints]:
    """(bytes, numbers) of the constant columns."""
    width = columns.width[constant]
    sizes = np.bincount(block[constant], weights=width, minlength=len(parts)).astype(np.int64)
    require([len(p.constants) for p in parts] == sizes.tolist(), "constants")
    data = joined([p.constants for p in parts], SPARE)
    shift = 64 - 8 * width
    number = (bits.windows(data).take(width.cumsum() - width) << shift.view(np.uint64)).view(np.int64) >> shift
    return data[: len(data) - len(SPARE)], number

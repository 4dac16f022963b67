"""Modes, tokens and raw bits to the numbers of the columns, for many blocks at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec import bits, floats
from shared.codec.columns import Columns
from shared.codec.container import Parts, joined, require
from shared.codec.content import Bytes, ramp, stable_order
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
    """Columns that are not constant, those that are decoded alike side by side; column: index in Columns; the rest from
    their modes.

    rank: their order in the stream, which is by block, those with raw bits (p > 0) last. kinds: where each kind of
    column begins and the last ends; kinds 0, 1, 2 are those without raw bits by their order of differences, 3, 4, 5
    those with raw bits, of order 2, 1, 0.
    """

    column: Ints
    block: Ints
    rag: Ragged
    order: Ints
    pair: Ints
    form: Ints
    top: Ints
    p: Ints
    is_float: NDArray[np.bool_]
    rank: Ints
    kinds: list[int]

    def values(self, first: int, last: int) -> slice:
        """Where the values of the columns of kinds first .. last lie."""
        edges = (self.kinds[first], self.kinds[last + 1])
        return slice(*(int(self.rag.starts[k]) if k < len(self.p) else int(self.rag.rows.sum()) for k in edges))

    def columns(self, first: int, last: int) -> slice:
        """The columns of kinds first .. last."""
        return slice(self.kinds[first], self.kinds[last + 1])


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
    rank = np.empty_like(column)
    rank[stable_order(block[column] << 1 | (p > 0))] = np.arange(len(column))
    kind = np.where(p > 0, 5 - order, order)
    alike = stable_order(kind)
    kinds = np.searchsorted(kind[alike], np.arange(7)).tolist()
    column = column[alike]
    order, pair, form, top, p, rank = (x[alike] for x in (order, pair, form, top, p, rank))
    rag = Ragged.of(columns.rows[column])
    return Varying(column, block[column], rag, order, pair, form, top, p, is_float[alike], rank, kinds)


def begins(size: Ints, rank: Ints, block: Ints, at: Ints) -> tuple[Ints, Ints]:
    """Bit positions at which columns begin that follow each other by `rank`, block by block; and bits per block.

    size: bits of each column; at: where each block's first begins.
    """
    order = np.argsort(rank)
    size, block = size[order], block[order]
    used = np.bincount(block, size, len(at)).astype(np.int64)
    begin = np.empty_like(size)
    begin[order] = size.cumsum() - size + (at - (used.cumsum() - used))[block]
    return begin, used


def _sections(sections: list[bytes]) -> tuple[Bytes, Ints, Ints]:
    """Bits of all blocks: (bytes with room to spare, length of each in bytes, where each begins in bits)."""
    lengths = np.array([len(s) for s in sections], np.int64)
    return joined(sections, SPARE), lengths, (lengths.cumsum() - lengths) * 8


def _heads(parts: list[Parts], v: Varying) -> Ints:
    """The first number of each varying column."""
    token = joined([x.heads for x in parts])
    counts = np.bincount(v.block, minlength=len(parts)).tolist()
    require([len(x.heads) for x in parts] == counts and int(token.max(initial=0)) <= bits.MAX_TOKEN, "tokens")
    big = (token >= bits.LITERAL).nonzero()[0]
    size = bits.EXTRA[token[big]].astype(np.int64)
    require(int(size.max(initial=0)) < 64, "token")
    block = np.repeat(np.arange(len(parts)), counts)[big]
    data, lengths, start = _sections([x.head_bits for x in parts])
    at, used = begins(size, big, block, start)
    require((lengths == (used + 7) >> 3).all(), "raw bits")
    number = bits.SMALL[token]
    number[big] = bits.from_tokens(token[big], bits.unpack(data, at, size), np.zeros_like(size))
    head = np.empty_like(number)
    head[np.argsort(v.column)] = number  # heads travel in column order
    return head


def _in_order(parts: list[Parts], v: Varying) -> bytes:
    """The tokens, column by column in v's order."""
    tokens = [x.tokens for x in parts]
    rows = v.rag.rows
    counts = np.bincount(v.block, rows, len(parts)).tolist()
    require([len(s) for s in tokens] == counts, "tokens")
    stream = np.argsort(v.rank)
    ends = np.empty_like(rows)
    ends[stream] = rows[stream].cumsum()
    starts = ends - rows
    runs = (starts[1:] != ends[:-1]).nonzero()[0]
    starts, ends = np.append(starts[:1], starts[runs + 1]), np.append(ends[runs], ends[-1:])
    data = b"".join(tokens)
    return b"".join([data[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)])


def _residuals(parts: list[Parts], v: Varying) -> Ints:
    """Residuals of all varying columns from their tokens and raw bits.

    Raw bits have the big tokens of the columns that else have none (p = 0), and all tokens of the others.
    """
    tokens, rows, split = _in_order(parts, v), v.rag.rows, v.values(3, 5)
    token = np.frombuffer(tokens, np.uint8)
    require(int(token.max()) <= bits.MAX_TOKEN, "token")
    size = np.frombuffer(bytearray(tokens.translate(bits.EXTRA_BYTES)), np.uint8)
    p = v.p[v.columns(3, 5)].repeat(rows[v.columns(3, 5)])
    size[split] += p.astype(np.uint8)
    require(int(size.max()) < 64, "token")
    big = (token >= bits.LITERAL).nonzero()[0]
    alone = int(np.searchsorted(big, split.start))
    edges = np.append(v.rag.starts, len(token))
    edges = np.where(edges < split.start, np.searchsorted(big[:alone], edges), edges - (split.start - alone))
    raw = _raw(parts, v, np.concatenate([size[big[:alone]], size[split]]), edges)
    value = np.frombuffer(tokens.translate(bits.SMALL_BYTES), np.int8).astype(np.int64)
    value[split] <<= p
    value[split] |= raw[alone:].view(np.int64)
    within = big[alone:] - split.start
    raw = np.concatenate([raw[:alone], raw[alone:][within]])
    value[big] = bits.from_tokens(token[big], raw, np.concatenate([np.zeros(alone, np.int64), p[within]]))
    return value


def _raw(parts: list[Parts], v: Varying, size: Bytes, edges: Ints) -> NDArray[np.uint64]:
    """Raw values of `size` bits; edges: where those of each column begin, and the last end."""
    end = size.cumsum(dtype=np.int64)
    bounds = np.append(0, end)[edges]
    data, lengths, start = _sections([x.value_bits for x in parts])
    begin, used = begins(bounds[1:] - bounds[:-1], v.rank, v.block, start)
    require((lengths == (used + 7) >> 3).all(), "raw bits")
    end -= size
    end += (begin - bounds[:-1]).repeat(edges[1:] - edges[:-1])
    return bits.unpack(data, end, size)


def _sum_up(value: Ints, rows: Ints) -> None:
    """Running sums within columns of `rows` values, in place."""
    if len(rows):
        starts = rows.cumsum() - rows
        value[starts[1:]] -= np.add.reduceat(value, starts)[:-1]
        value.cumsum(out=value)


def series_values(parts: list[Parts], v: Varying) -> Ints:
    """Numbers of the varying columns: residuals summed up."""
    rag = v.rag
    head = _heads(parts, v)
    if not len(v.p):
        require(not any(x.tokens or x.value_bits for x in parts), "tokens")
        return head
    value = _residuals(parts, v)
    head <<= v.p
    first = value[rag.starts] + head
    second, differenced = v.columns(2, 3), v.columns(1, 4)
    value[rag.starts[second]] = 0
    _sum_up(value[v.values(2, 3)], rag.rows[second])
    value[rag.starts[differenced]] = first[differenced]
    _sum_up(value[v.values(1, 4)], rag.rows[differenced])
    for kind in (0, 5):
        columns = v.columns(kind, kind)
        value[v.values(kind, kind)] += head[columns].repeat(rag.rows[columns])
    return value


def constants(parts: list[Parts], columns: Columns, constant: Ints, block: Ints) -> tuple[Bytes, Ints]:
    """(bytes, numbers) of the constant columns."""
    width = columns.width[constant]
    sizes = np.bincount(block[constant], weights=width, minlength=len(parts)).astype(np.int64)
    require([len(p.constants) for p in parts] == sizes.tolist(), "constants")
    data = joined([p.constants for p in parts], SPARE)
    shift = 64 - 8 * width
    number = (bits.windows(data).take(width.cumsum() - width) << shift.view(np.uint64)).view(np.int64) >> shift
    return data[: len(data) - len(SPARE)], number

"""Blocks back to columns, many at once: numpy's cost is per call, so the columns of all blocks are decoded together."""

from dataclasses import dataclass

import numpy as np
import zstandard
from numpy.typing import NDArray

from shared.codec import bits, clocks, floats, series
from shared.codec.block import Block, MessageGroup
from shared.codec.columns import Columns, Slots, columns_of, text_spans
from shared.codec.container import Parts, index_width, read, read_varint
from shared.codec.content import Bytes, Groups, ramp, spans, stable_order
from shared.codec.encode import clock_columns, heads
from shared.codec.pairs import SLOTS
from shared.codec.parse import SIGNATURE_BYTES, SIGNED, V1
from shared.codec.remainder import check, group_index, groups_of
from shared.codec.predict import Newest, numeric, prediction, source_columns
from shared.codec.series import Ragged
from shared.codec.table import CLOCK_MS, ELEMENTS, FLOAT, KNOWN, SIZE, layout_index
from shared.errors import Refused

MAX_FRAMES = 200_000
MAX_BYTES = 16 << 20
Ints = NDArray[np.int64]
_SPARE = bytes(24)
MAX_SPLIT = 48


def decode_block(data: bytes, max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES) -> Block:
    """Parse a block. Refused: block_malformed, block_version, block_too_large."""
    return decode_blocks([data], max_frames, max_bytes)[0]


def decode_blocks(blocks: list[bytes], max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES) -> list[Block]:
    """Many blocks at once (0.2 ms each in tens of 2 s batches instead of 0.8); the limits hold for each block.

    Refused as in `decode_block` when any of them is bad: decode them one by one then, to find which.
    """
    if not blocks:
        return []
    try:
        parts = [read(b, max_frames, max_bytes) for b in blocks]
        return _decode(parts, max_bytes)
    except Refused:
        raise
    except (zstandard.ZstdError, ValueError, IndexError, OverflowError, MemoryError, TypeError) as e:
        raise Refused("block_malformed", str(e)[:200]) from None


def _require(holds: object, what: str) -> None:
    if not holds:
        raise Refused("block_malformed", what)


def _bytes(sections: list[bytes], spare: bytes = b"") -> Bytes:
    return np.frombuffer(b"".join(sections) + spare, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """Who is where: slots, the slot of each frame in wire order (all blocks one after the other), and group order."""

    slots: Slots
    slot: Ints
    order: Ints


def _decode(parts: list[Parts], max_bytes: int) -> list[Block]:
    frame = _slots(parts, max_bytes)
    slots = frame.slots
    columns = columns_of(slots)
    payload = np.zeros(int((slots.rows * slots.width).sum()), np.uint8)
    time = _decode_columns(parts, frame, columns, payload, max_bytes)
    starts, lengths = text_spans(slots)
    text = _bytes([p.text for p in parts])
    _require(len(text) == int(lengths.sum()), "text")
    payload[spans(starts, lengths)] = text
    return _cut(parts, frame, payload, time)


def _cut(parts: list[Parts], frame: _Frame, payload: Bytes, time: Ints) -> list[Block]:
    """One Block per block, as views of what was decoded together."""
    slots = frame.slots
    columns = (slots.block, slots.msgid, slots.sysid, slots.compid, slots.rows, slots.width)
    groups: list[list[MessageGroup]] = [[] for _ in parts]
    frames = np.append(0, np.cumsum([p.frames for p in parts])).tolist()
    rows_of = (frame.order - np.repeat(frames[:-1], [p.frames for p in parts])).astype(np.int32)
    at = row = 0
    for block, msgid, sysid, compid, rows, width in zip(*(x.tolist() for x in columns), strict=True):
        if msgid >= 0:
            payloads = payload[at : at + rows * width].reshape(rows, width)
            groups[block].append(MessageGroup(msgid, sysid, compid, rows_of[row : row + rows], payloads))
        at, row = at + rows * width, row + rows
    edges = (
        np.append(0, np.cumsum(np.bincount(slots.block, slots.rows * slots.width, len(parts))))
        .astype(np.int64)
        .tolist()
    )
    made = []
    for i, p in enumerate(parts):
        made.append(Block(p.frames, time[frames[i] : frames[i + 1]], groups[i], p, payload[edges[i] : edges[i + 1]]))
    _check(parts, frame, made)
    return made


def _check(parts: list[Parts], frame: _Frame, blocks: list[Block]) -> None:
    """That the frames of every block can be put together again."""
    slots = frame.slots
    ends = np.cumsum(np.bincount(slots.block, minlength=len(parts))).tolist()
    start = 0
    for p, block, end in zip(parts, blocks, ends, strict=True):
        raw = int(start < end and slots.msgid[start] < 0)
        part = slice(start + raw, end)
        groups = Groups(*(x[part] for x in (slots.msgid, slots.sysid, slots.compid, slots.rows, slots.width)))
        check(p, groups, int(slots.rows[start]) if raw else 0, block._payload)
        start = end


def _slots(parts: list[Parts], max_bytes: int) -> _Frame:
    n = np.array([p.frames for p in parts], np.int64)
    index, has_raw = [], []
    for p in parts:
        index.append(group_index(p))
        has_raw.append(not index[-1].all())
    counts = [np.bincount(i, minlength=p.groups + 1) for i, p in zip(index, parts, strict=True)]
    _require(all(len(c) == p.groups + 1 for c, p in zip(counts, parts, strict=True)), "group index")
    _require(all(int(c[1:].min(initial=1)) > 0 for c in counts), "empty group")
    tables = [_table(p, bool(raw)) for p, raw in zip(parts, has_raw, strict=True)]
    sizes = np.array([p.groups + raw for p, raw in zip(parts, has_raw, strict=True)], np.int64)
    base = sizes.cumsum() - sizes + np.array(has_raw, np.int64) - 1
    sysid, compid, msgid, width = (np.concatenate(c) for c in zip(*tables, strict=True))
    rows = np.concatenate([c if raw else c[1:] for c, raw in zip(counts, has_raw, strict=True)])
    layout = layout_index(msgid)
    width = np.where(KNOWN[layout], SIZE[layout], width)
    slots = Slots(np.repeat(np.arange(len(parts)), sizes), msgid, sysid, compid, layout, rows, width)
    keys = slots.source() << 25 | (msgid + 1)
    _require((np.diff(keys) > 0).all(), "groups out of order")
    _require(int((rows * width).sum()) <= max_bytes * len(parts), "payload")
    slot = np.concatenate(index) + base.repeat(n)
    return _Frame(slots, slot, stable_order(slot))


def _table(p: Parts, has_raw: bool) -> tuple[Ints, Ints, Ints, Ints]:
    """sysid, compid, msgid and width (0 where the layout gives it) of a block's slots."""
    table = np.frombuffer(p.table, np.uint8).astype(np.int64)
    g = p.groups
    _require(len(table) >= 5 * g, "groups")
    sysid, compid, low, middle, high = table[: 5 * g].reshape(5, g)
    msgid = low | middle << 8 | high << 16
    unknown = layout_index(msgid) < 0
    _require(len(table) == 5 * g + int(unknown.sum()), "groups")
    width = np.zeros(g, np.int64)
    width[unknown] = table[5 * g :]
    if not has_raw:
        return sysid, compid, msgid, width
    zero = np.zeros(1, np.int64)
    return (
        *(np.concatenate([zero, x]) for x in (sysid, compid)),
        np.concatenate([zero - 1, msgid]),
        np.concatenate([zero, width]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Numbers:
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
class _Varying:
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


def _varying(parts: list[Parts], columns: Columns, block: Ints, max_bytes: int) -> _Varying:
    """What the modes say. block: of each column."""
    mode = _bytes([p.modes for p in parts]).astype(np.int64)
    counts = np.bincount(block, minlength=len(parts)).tolist()
    _require([len(p.modes) for p in parts] == counts, "modes")
    _require(int(mode.max(initial=0)) <= 3 * (1 + SLOTS) * floats.FORMS, "modes")
    column = mode.nonzero()[0]
    element, mode = columns.element[column], mode[column] - 1
    form, pair, order = mode // (3 * (1 + SLOTS)), mode // 3 % (1 + SLOTS), mode % 3
    is_float = (element >= 0) & (ELEMENTS.kind[element] == FLOAT)
    _require((is_float | (form == 0)).all(), "float form")
    can = (element >= 0) & (ELEMENTS.pair_msgid[element, np.maximum(pair - 1, 0)] >= 0)
    _require(((pair == 0) | can & ~(is_float & (form == 0))).all(), "pair")
    p = _bytes([x.splits for x in parts]).astype(np.int64)
    counts = np.bincount(block[column], minlength=len(parts)).tolist()
    _require([len(x.splits) for x in parts] == counts and int(p.max(initial=0)) <= MAX_SPLIT, "splits")
    top = np.zeros(len(column), np.int64)
    tops = _bytes([x.tops for x in parts])
    fixed = (form == floats.FIXED).nonzero()[0]
    counts = np.bincount(block[column[fixed]], minlength=len(parts)).tolist()
    _require([len(x.tops) for x in parts] == counts, "tops")
    top[fixed] = tops
    _require(int(columns.rows[column].sum()) <= max(max_bytes // 4, 1) * len(parts), "too many values")
    stream = stable_order(block[column] << 1 | (p > 0))
    column = column[stream]
    rag = Ragged.of(columns.rows[column])
    return _Varying(column, block[column], rag, *(x[stream] for x in (order, pair, form, top, p, is_float)))


def _raw_bits(sections: list[bytes], size: Ints, per_block: Ints) -> NDArray[np.uint64]:
    """Raw values of `size` bits from the bit strings of all blocks; per_block: how many values each block has."""
    end = size.cumsum()
    bounds = np.append(0, end)[np.append(0, per_block.cumsum())]
    used = np.diff(bounds)
    lengths = np.array([len(s) for s in sections], np.int64)
    _require((lengths == (used + 7) >> 3).all(), "raw bits")
    begin = (lengths.cumsum() - lengths) * 8 - bounds[:-1]
    data = _bytes(sections, _SPARE)
    at = end - size
    at += begin[0] if len(sections) == 1 else begin.repeat(per_block)
    return bits.unpack(data, at, size)


def _tokens(sections: list[bytes], raw: list[bytes], p: Ints, per_block: Ints) -> Ints:
    """Numbers from tokens and raw bits; p: of each number."""
    token = _bytes(sections)
    _require([len(s) for s in sections] == per_block.tolist(), "tokens")
    _require(int(token.max(initial=0)) <= bits.MAX_TOKEN, "token")
    size = bits.EXTRA.take(token) + p
    _require(int(size.max(initial=0)) < 64, "token")
    return bits.from_tokens(token, _raw_bits(raw, size, per_block), p)


def _values(parts: list[Parts], v: _Varying) -> Ints:
    """Numbers of the varying columns: residuals summed up."""
    rag, blocks = v.rag, len(parts)
    columns = np.bincount(v.block, minlength=blocks)
    zero = np.zeros(len(v.p), np.int64)
    # heads travel in column order, values in stream order
    by_column = stable_order(v.column)
    head = np.empty(len(v.p), np.int64)
    head[by_column] = _tokens([x.heads for x in parts], [x.head_bits for x in parts], zero, columns)
    head <<= v.p
    count = np.bincount(v.block, weights=rag.rows, minlength=blocks).astype(np.int64)
    value = _tokens([x.tokens for x in parts], [x.value_bits for x in parts], v.p.repeat(rag.rows), count)
    if not len(head):
        return value
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


def _constants(parts: list[Parts], columns: Columns, constant: Ints, block: Ints) -> tuple[Bytes, Ints]:
    """(bytes, numbers) of the constant columns."""
    width = columns.width[constant]
    sizes = np.bincount(block[constant], weights=width, minlength=len(parts)).astype(np.int64)
    _require([len(p.constants) for p in parts] == sizes.tolist(), "constants")
    data = _bytes([p.constants for p in parts], _SPARE)
    shift = 64 - 8 * width
    number = (bits.windows(data).take(width.cumsum() - width) << shift.view(np.uint64)).view(np.int64) >> shift
    return data[: len(data) - len(_SPARE)], number


def _decode_columns(parts: list[Parts], frame: _Frame, columns: Columns, payload: Bytes, max_bytes: int) -> Ints:
    """Decode all columns into `payload`; returns receive times in wire order."""
    block = frame.slots.block[columns.slot]
    v = _varying(parts, columns, block, max_bytes)
    at, step = np.full(len(columns.rows), -1), np.zeros(len(columns.rows), np.int64)
    at[v.column], step[v.column] = v.rag.starts, 1
    constant = (step == 0).nonzero()[0]
    data, number = _constants(parts, columns, constant, block)
    value = _values(parts, v)
    at[constant] = len(value) + np.arange(len(constant))
    numbers = _Numbers(np.concatenate([value, number]), at, step)
    _fill(payload, frame.slots, columns, constant, data)
    low = _Low(parts)
    plain = np.flatnonzero((v.pair == 0) & (columns.element[v.column] >= 0))
    _scatter(payload, columns, v, plain, low.finish(v, value, plain))
    time = _times(parts, frame, columns, numbers, payload)
    targets = v.pair.nonzero()[0]
    if len(targets):
        _predict(payload, frame, columns, v, value, targets)
        _scatter(payload, columns, v, targets, low.finish(v, value, targets))
    low.check_spent()
    return time


class _Low:
    """Reads mantissa bits below the step of fixed-point floats: plain columns first, then predicted ones."""

    def __init__(self, parts: list[Parts]) -> None:
        self._lengths = np.array([len(p.low_bits) for p in parts], np.int64)
        self._data = _bytes([p.low_bits for p in parts], _SPARE)
        self._at = (self._lengths.cumsum() - self._lengths) * 8
        self._spent = np.zeros(len(parts), np.int64)

    def finish(self, v: _Varying, value: Ints, which: Ints) -> Ints:
        """The field bits of columns `which` of v; value: decoded numbers of all."""
        rows = v.rag.rows[which]
        out = value[spans(v.rag.starts[which], rows)]
        part = Ragged.of(rows)
        form = v.form[which]
        fixed = (form == floats.FIXED).nonzero()[0]
        if len(fixed):
            at = spans(part.starts[fixed], rows[fixed])
            out[at] = self._fixed(v, which[fixed], rows[fixed], out[at])
        other = np.flatnonzero((form != floats.FIXED) & v.is_float[which])
        if len(other):
            at = spans(part.starts[other], rows[other])
            out[at] = floats.to_bits(out[at], form[other].repeat(rows[other]))
        return out

    def _fixed(self, v: _Varying, which: Ints, rows: Ints, number: Ints) -> Ints:
        size = floats.low_sizes(number)
        block = v.block[which]
        starts = rows.cumsum() - rows
        used = np.zeros(len(self._at), np.int64)
        np.add.at(used, block, np.add.reduceat(size, starts))
        begin = used.cumsum() - used
        shift = self._at + self._spent - begin
        self._spent += used
        _require((self._spent <= self._lengths * 8).all(), "raw bits")
        at = size.cumsum() - size + shift[block].repeat(rows)
        return floats.from_fixed(number, v.top[which].repeat(rows), bits.unpack(self._data, at, size), size)

    def check_spent(self) -> None:
        """All bits must have been used."""
        _require((self._lengths == (self._spent + 7) >> 3).all(), "raw bits")


def _fill(payload: Bytes, slots: Slots, columns: Columns, constant: Ints, data: Bytes) -> None:
    """Write constant fields into every row: build one row per slot, then repeat it."""
    width = columns.width[constant]
    base = slots.width.cumsum() - slots.width
    offset = base[columns.slot[constant]] + columns.at[constant] - slots.start[columns.slot[constant]]
    field = columns.element[constant] >= 0
    template = np.zeros(int(slots.width.sum()), np.uint8)
    begin = width.cumsum() - width
    template[spans(offset[field], width[field])] = data[spans(begin[field], width[field])]
    at = row = 0
    for rows, size in zip(slots.rows.tolist(), slots.width.tolist(), strict=True):
        payload[at : at + rows * size].reshape(rows, size)[:] = template[row : row + size]
        at, row = at + rows * size, row + size


def _write(payload: Bytes, at: Ints, width: int, value: Ints) -> None:
    """Store the low `width` bytes of each value at byte positions `at`."""
    view: NDArray[np.uint64] = np.ndarray((len(payload) - width + 1,), f"<u{width}", payload, strides=(1,))
    view[at] = value.astype(view.dtype)


def _scatter(payload: Bytes, columns: Columns, v: _Varying, which: Ints, value: Ints) -> None:
    """Write columns `which` of v into the payloads; value: theirs, one column after the other."""
    column = v.column[which]
    rows = columns.rows[column]
    at = columns.at[column].repeat(rows) + ramp(rows) * columns.stride[column].repeat(rows)
    width = np.repeat(columns.width[column].astype(np.int8), rows)
    for w in (1, 2, 4, 8):
        these = (width == w).nonzero()[0]
        if len(these):
            _write(payload, at[these], w, value[these])


def _times(parts: list[Parts], frame: _Frame, columns: Columns, numbers: _Numbers, payload: Bytes) -> Ints:
    """Resolve the senders' clocks (into `payload`) and the receive times (returned, wire order)."""
    slots = frame.slots
    modes = _bytes([p.clocks for p in parts])
    counts = np.bincount(slots.block, minlength=len(parts)).tolist()
    _require([len(p.clocks) for p in parts] == counts and int(modes.max(initial=0)) <= 6, "clock modes")
    begin = slots.rows.cumsum() - slots.rows
    block = np.repeat(np.arange(len(parts)), [p.frames for p in parts])
    time = np.empty(len(frame.slot), np.int64)
    time[frame.order] = numbers.of(columns, np.flatnonzero(columns.element < 0))
    start = np.array([p.start_us for p in parts], np.int64)
    resets = heads(block)
    timed = clock_columns(columns)
    mode = modes[columns.slot[timed]] & 3
    _require(int(np.count_nonzero(modes)) == int(np.count_nonzero(modes[columns.slot[timed]])), "clock modes")
    timed, mode = timed[mode > 0], mode[mode > 0]
    _require(not (modes[modes & 3 == 0] & 4).any() and not (modes & 3 == 3).any(), "clock modes")
    if len(timed):
        slot, rows = columns.slot[timed], columns.rows[timed]
        wire = frame.order[spans(begin[slot], rows)]
        true = _clock_chain(slots, columns, numbers, timed, mode, wire, payload)
        follows = np.repeat(modes[slot] & 4 > 0, rows)
        time[wire[follows]] += true[follows]
        resets[wire[follows]] = True
    time[resets] += start[block[resets]]
    return series.sums(time, Ragged.of(np.diff(np.append(resets.nonzero()[0], len(time)))))


def _clock_chain(
    slots: Slots, columns: Columns, numbers: _Numbers, timed: Ints, mode: Ints, wire: Ints, payload: Bytes
) -> Ints:
    """True times (us) of all frames of the clock columns `timed`; chained fields are written into the payloads."""
    rows = columns.rows[timed]
    ms = np.repeat(ELEMENTS.clock[columns.element[timed]] == CLOCK_MS, rows)
    x = numbers.of(columns, timed)
    anchor = np.repeat(mode == clocks.ANCHOR, rows)
    shift = np.repeat(64 - 8 * columns.width[timed], rows).view(np.uint64)
    x = np.where(anchor, ((x.view(np.uint64) << shift) >> shift).view(np.int64), x)
    source = np.repeat(slots.source()[columns.slot[timed]], rows)
    chain = np.lexsort((wire, source))
    true = np.empty_like(x)
    true[chain] = clocks.times(x[chain], ms[chain], heads(source[chain]), anchor[chain])
    field = np.where(ms, true // 1000, true)
    at = columns.at[timed].repeat(rows) + ramp(rows) * columns.stride[timed].repeat(rows)
    width = columns.width[timed].repeat(rows)
    for w in (4, 8):
        these = np.flatnonzero(~anchor & (width == w))
        if len(these):
            _write(payload, at[these], w, field[these])
    return true


def _predict(payload: Bytes, frame: _Frame, columns: Columns, v: _Varying, value: Ints, targets: Ints) -> None:
    """Add what their sources predict to the columns `targets` of v."""
    newest = Newest(frame.slots, frame.order)
    padded = np.concatenate([payload, np.zeros(8, np.uint8)])
    for pair in range(SLOTS):
        which = targets[v.pair[targets] == pair + 1]
        target = v.column[which]
        if not len(target):
            continue
        source = source_columns(frame.slots, columns, target, pair)
        _require((source >= 0).all(), "pair without source")
        rows = columns.rows[target]
        row = newest.rows(columns.slot[target], columns.slot[source])
        at = columns.at[source].repeat(rows) + row * columns.stride[source].repeat(rows)
        number = numeric(padded, at, columns.element[source].repeat(rows))
        scale = np.where(v.is_float[which], floats.scale_of(v.form[which], v.top[which]), 1.0)
        value[spans(v.rag.starts[which], rows)] += prediction(number, columns.element[target], pair, scale, rows)

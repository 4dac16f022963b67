"""Frames to a block."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec import bits, clocks, floats, series
from shared.codec.columns import Columns, Slots, columns_of, text_spans
from shared.codec.content import Bytes, Content, by_rule, ramp, spans, split, stable_order
from shared.codec.container import Parts, write
from shared.codec.predict import Newest, numeric, prediction, source_columns
from shared.codec.series import Ragged
from shared.codec.pairs import SLOTS
from shared.codec.table import CLOCK_MS, ELEMENTS, FLOAT
from shared.frames import Frames

Ints = NDArray[np.int64]
_HEAD_BITS = 24
"""What a column's head costs, roughly, when coding by difference is weighed against a clock chain."""
_WORTH_IT = 12
"""Bits that a pair must save to be used."""
_SHARP = 1.0
"""How far below the mean bit length a column's residuals are split: low bits are kept raw."""
_MAX_P = 48


@dataclass(frozen=True, slots=True, eq=False)
class _Values:
    """All columns' numbers: raw (unsigned), value (signed, clocks and receive times already differenced)."""

    ragged: Ragged
    raw: Ints
    value: Ints


@dataclass(frozen=True, slots=True, eq=False)
class _Low:
    """Mantissa bits below the step of fixed-point floats, per value."""

    low: NDArray[np.uint64]
    low_size: Ints


def encode_block(frames: Frames) -> bytes:
    """The block of `frames`."""
    c = split(frames)
    slots, order = _slots(c), stable_order(c.group)
    columns = columns_of(slots)
    values = _gather(c, slots, columns)
    modes = _clocks(c, slots, columns, values, order)
    parts = Parts.of(c, slots, modes, _seq(c), by_rule(c))
    _code(parts, c.payload, slots, columns, values, order)
    starts, lengths = text_spans(slots)
    parts.text = c.payload[spans(starts, lengths)].tobytes()
    return write(parts)


def _slots(c: Content) -> Slots:
    g = c.groups
    raw = [1] if len(c.raw_length) else []
    parts = (
        ([-1], g.msgid),
        ([0], g.sysid),
        ([0], g.compid),
        ([-1], g.layout()),
        ([len(c.raw_length)], g.rows),
        ([0], g.width),
    )
    columns = [np.concatenate([np.array(head if raw else [], np.int64), rest]) for head, rest in parts]
    return Slots(np.zeros(len(columns[0]), np.int64), *columns)


def _gather(c: Content, slots: Slots, columns: Columns) -> _Values:
    ragged = Ragged.of(columns.rows)
    frames = len(c.group)
    element = slice(len(slots.rows), None)
    rows = columns.rows[element]
    at = columns.at[element].repeat(rows) + ramp(rows) * columns.stride[element].repeat(rows)
    padded = np.concatenate([c.payload, np.zeros(8, np.uint8)])
    shift = np.repeat(64 - 8 * columns.width[element], rows)
    top = (bits.windows(padded).take(at) << shift.view(np.uint64)).view(np.int64)
    value = np.empty(frames + len(at), np.int64)
    raw = np.empty(frames + len(at), np.int64)
    value[frames:] = top >> shift
    raw[frames:] = (top.view(np.uint64) >> shift.view(np.uint64)).view(np.int64)
    raw[:frames] = 0
    return _Values(ragged, raw, value)


def _seq(c: Content) -> NDArray[np.uint8]:
    """Wire sequence numbers, less what each sender's next one should be; wire order."""
    source = (c.groups.sysid << 8 | c.groups.compid)[c.group[c.group > 0] - 1]
    order = stable_order(source)
    seq, source = c.seq[order], source[order]
    before = np.roll(seq, 1)
    before[np.flatnonzero(np.diff(source, prepend=-1))] = 0
    out = np.empty_like(seq)
    out[order] = seq - before - np.uint8(1)
    return out


def _best_size(values: Ints, ragged: Ragged) -> Ints:
    """Size in bits of each column under the best order."""
    first = series.differences(values, ragged)
    means = series.means(values, ragged)
    sizes = [series.size_in_bits(values - means.repeat(ragged.rows), ragged)]
    sizes += [series.size_in_bits(d, ragged) for d in (first, series.second_differences(first, ragged))]
    return np.min(sizes, axis=0)


def _clocks(c: Content, slots: Slots, columns: Columns, values: _Values, order: Ints) -> NDArray[np.uint8]:
    """Difference clock columns and receive times in place; returns per slot: clock mode | 4 where receive times follow it."""
    modes = np.zeros(len(slots.rows), np.uint8)
    time = c.time_us
    elapsed = np.diff(time, prepend=time[:1])
    values.value[: len(order)] = elapsed[order]
    timed = clock_columns(columns)
    if not len(timed):
        return modes
    rows = columns.rows[timed]
    at, rag = spans(values.ragged.starts[timed], rows), Ragged.of(rows)
    frame = spans((slots.rows.cumsum() - slots.rows)[columns.slot[timed]], rows)
    clock = np.repeat(ELEMENTS.clock[columns.element[timed]], rows)
    own, wire = values.raw[at], order[frame]
    source = np.repeat(slots.source()[columns.slot[timed]], rows)
    width = columns.width[timed].repeat(rows)
    true = _unwrapped(own, clock, width, wire, source)
    mode = _clock_modes(own, true, clock == CLOCK_MS, wire, source, rag, width)
    chain = np.lexsort((wire, source))
    chain = chain[mode.repeat(rows)[chain] > 0]
    x = own.copy()
    x[chain] = clocks.differences(true[chain], clock[chain] == CLOCK_MS, heads(source[chain]))
    chained = np.repeat(mode == clocks.CHAINED, rows)
    values.value[at[chained]] = x[chained]
    modes[columns.slot[timed]] = mode
    _receive_times(modes, values, frame, wire, time, true, elapsed, rag, columns.slot[timed], mode)
    return modes


def _receive_times(
    modes: NDArray[np.uint8], values: _Values, frame: Ints, wire: Ints, time: Ints, true: Ints, elapsed: Ints,
    rag: Ragged, slot: Ints, mode: Ints,
) -> None:  # fmt: skip
    """Code a slot's receive times against its own clock where that is shorter than against the frame before."""
    offset = time[wire] - time[0] - true
    follows = (_best_size(offset, rag) + _HEAD_BITS < _best_size(elapsed[wire], rag)) & (mode > 0)
    modes[slot[follows]] |= 4
    chosen = follows.repeat(rag.rows)
    values.value[frame[chosen]] = offset[chosen]


def clock_columns(columns: Columns) -> Ints:
    """The clock column of each slot that has one."""
    timed = np.flatnonzero((columns.element >= 0) & (ELEMENTS.clock[columns.element] > 0))
    return timed[heads(columns.slot[timed])]


def heads(keys: Ints) -> NDArray[np.bool_]:
    """Where a run of equal keys begins."""
    out = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=out[1:])
    return out


def _unwrapped(own: Ints, clock: Ints, width: Ints, wire: Ints, source: Ints) -> Ints:
    """Clock fields as us. A 32-bit us field, which wraps after 71 minutes, is taken near the sender's other clocks."""
    true = np.where(clock == CLOCK_MS, own * 1000, own)
    narrow = (clock != CLOCK_MS) & (width == 4)
    if not narrow.any() or narrow.all():
        return true
    order = np.lexsort((wire, source))
    known = np.where(narrow[order], 0, np.arange(1, len(order) + 1))
    near = np.maximum(np.maximum.accumulate(known) - 1, known.nonzero()[0][0])
    reference = np.empty_like(true)
    reference[order] = true[order][near]
    return np.where(narrow, reference + series.sign_extend(own - reference, np.int64(32)), true)


def _clock_modes(
    own: Ints, true: Ints, is_ms: NDArray[np.bool_], wire: Ints, source: Ints, rag: Ragged, width: Ints
) -> Ints:
    """Per clock column: APART, ANCHOR or CHAINED."""
    sane = (true >= 0) & (true < 1 << 52)
    joins = np.logical_and.reduceat(sane, rag.starts)
    order = np.lexsort((wire, source))
    for _ in range(2):
        chain = order[joins.repeat(rag.rows)[order]]
        x = np.zeros_like(own)
        x[chain] = clocks.differences(true[chain], is_ms[chain], heads(source[chain]))
        before = np.logical_not(heads(source[chain]))
        backward = np.zeros(len(own), np.int64)
        backward[chain] = before & (x[chain] < 0)
        joins &= np.add.reduceat(backward, rag.starts) * 4 <= rag.rows
    chained = _best_size(x, rag)
    anchored = _best_size(own, rag) + _HEAD_BITS
    exact = np.logical_and.reduceat(true == np.where(is_ms, own * 1000, own), rag.starts)
    return np.where(joins, np.where((anchored < chained) & exact, clocks.ANCHOR, clocks.CHAINED), clocks.APART)


def _code(parts: Parts, payload: Bytes, slots: Slots, columns: Columns, values: _Values, order: Ints) -> None:
    """Constants, modes, tokens and raw bits of all columns."""
    ragged = values.ragged
    if not len(ragged.rows):
        return
    same = values.value == values.value[ragged.starts].repeat(ragged.rows)
    constant = np.logical_and.reduceat(same, ragged.starts)
    parts.constants = _constants(values.value[ragged.starts][constant], columns.width[constant])
    mode = np.zeros(len(constant), np.uint8)
    v = np.flatnonzero(~constant)
    if len(v):
        mode[v] = _code_varying(parts, payload, slots, columns, values, order, v)
    parts.modes = mode.tobytes()


def _constants(value: Ints, width: Ints) -> bytes:
    at = width.cumsum() - width
    raw = value.astype("<i8").view(np.uint8).reshape(-1, 8)
    return raw[np.repeat(np.arange(len(value)), width), ramp(width)].tobytes() if len(at) else b""


def _code_varying(
    parts: Parts, payload: Bytes, slots: Slots, columns: Columns, values: _Values, order: Ints, v: Ints
) -> NDArray[np.uint8]:
    rag = Ragged.of(columns.rows[v])
    at = spans(values.ragged.starts[v], rag.rows)
    value = values.value[at]
    element = columns.element[v]
    form, top, scale = np.zeros(len(v), np.int64), np.zeros(len(v), np.int64), np.ones(len(v))
    width = columns.width[v].copy()
    is_float = (element >= 0) & (ELEMENTS.kind[element] == FLOAT)
    low = _Low(np.zeros(len(value), np.uint64), np.zeros(len(value), np.int64))
    if is_float.any():
        chosen = is_float.repeat(rag.rows)
        numbers = floats.to_numbers(value[chosen], Ragged.of(rag.rows[is_float]).starts, rag.rows[is_float])
        form[is_float], top[is_float], value[chosen] = numbers.form, numbers.top, numbers.value
        low.low[chosen], low.low_size[chosen] = numbers.low, numbers.low_size
        scale[is_float] = floats.scale_of(numbers.form, numbers.top)
        width[is_float & (form != floats.ORDERED)] = 8
        parts.tops = top[form == floats.FIXED].astype(np.uint8).tobytes()
    shift = np.repeat(64 - 8 * width, rag.rows)
    choice = _Choice(value, rag, shift)
    _try_pairs(choice, payload, slots, columns, v, scale, order)
    _write_tokens(parts, choice, low)
    return (1 + choice.order + 3 * (choice.pair + (1 + SLOTS) * form)).astype(np.uint8)


class _Choice:
    """For every varying column, the cheapest way found so far: order of differences, pair used, residuals, head."""

    def __init__(self, value: Ints, rag: Ragged, shift: Ints) -> None:
        self.rag = rag
        self.shift = shift
        self.value = value
        self.pair = np.zeros(len(rag.rows), np.int64)
        self.order, self.size, self.residual, self.head = _orders(value, rag, shift)

    def offer(self, columns: Ints, pair: int, value: Ints) -> None:
        """Take `value` (after prediction) for those of `columns` where it is enough shorter."""
        rag = Ragged.of(self.rag.rows[columns])
        at = spans(self.rag.starts[columns], rag.rows)
        order, size, residual, head = _orders(value, rag, self.shift[at])
        better = size + _WORTH_IT < self.size[columns]
        taken = columns[better]
        self.pair[taken], self.order[taken], self.size[taken] = pair, order[better], size[better]
        self.head[taken] = head[better]
        values = better.repeat(rag.rows)
        self.residual[at[values]] = residual[values]


def _orders(value: Ints, rag: Ragged, shift: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """(order, size, residuals, head) of the best of no, first and second differences; per column, per value for residuals."""
    means = series.sign_extend(series.means(value, rag), shift[rag.starts])
    zeroth = series.sign_extend(value - means.repeat(rag.rows), shift)
    first = series.differences(value, rag)
    second = series.sign_extend(series.second_differences(first, rag), shift)
    first = series.sign_extend(first, shift)
    sizes = np.stack([series.size_in_bits(r, rag) for r in (zeroth, first, second)])
    order = np.argmin(sizes, axis=0)
    spread = order.repeat(rag.rows)
    residual = np.where(spread == 0, zeroth, np.where(spread == 1, first, second))
    head = np.where(order == 0, means, value[rag.starts])
    return order, sizes.min(axis=0), residual, head


def _try_pairs(
    choice: _Choice, payload: Bytes, slots: Slots, columns: Columns, v: Ints, scale: NDArray[np.float64], order: Ints
) -> None:
    rag = choice.rag
    plain = choice.value
    newest = Newest(slots, order)
    padded = np.concatenate([payload, np.zeros(8, np.uint8)])
    varies = np.zeros(len(columns.element) + 1, np.bool_)
    varies[v] = True
    for pair in range(SLOTS):
        source = source_columns(slots, columns, v, pair)
        target = np.flatnonzero(varies[source] & (scale != 0))
        source = source[target]
        if not len(target):
            continue
        rows = rag.rows[target]
        row = newest.rows(columns.slot[v[target]], columns.slot[source])
        at = columns.at[source].repeat(rows) + row * columns.stride[source].repeat(rows)
        number = numeric(padded, at, columns.element[source].repeat(rows))
        guess = prediction(number, columns.element[v[target]], pair, scale[target], rows)
        choice.offer(target, pair + 1, plain[spans(rag.starts[target], rows)] - guess)


def _write_tokens(parts: Parts, choice: _Choice, low: _Low) -> None:
    rag = choice.rag
    p = np.clip(np.floor(choice.size / rag.rows - _SHARP).astype(np.int64), 0, _MAX_P)
    parts.splits = p.astype(np.uint8).tobytes()
    heads_kept = choice.head >> p
    token, raw, size = bits.to_tokens(heads_kept, np.zeros_like(p))
    parts.heads, parts.head_bits = token.tobytes(), bits.pack(raw, size)
    rest = choice.head - (heads_kept << p)
    residual = choice.residual + np.repeat(np.where(choice.order == 0, rest, 0), rag.rows)
    residual[rag.starts] = np.where(choice.order > 0, rest, residual[rag.starts])
    stream = np.argsort(p > 0, kind="stable")
    at = spans(rag.starts[stream], rag.rows[stream])
    token, raw, size = bits.to_tokens(residual[at], p[stream].repeat(rag.rows[stream]))
    parts.tokens, parts.value_bits = token.tobytes(), bits.pack(raw, size)
    low_at = np.concatenate(
        [
            at[np.repeat(choice.pair[stream] == 0, rag.rows[stream])],
            at[np.repeat(choice.pair[stream] > 0, rag.rows[stream])],
        ]
    )
    parts.low_bits = bits.pack(low.low[low_at], low.low_size[low_at])

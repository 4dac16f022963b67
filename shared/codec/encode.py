"""Frames to a block."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec import bits, floats
from shared.codec.choice import Choice, try_pairs
from shared.codec.clocking import Values, difference_clocks
from shared.codec.columns import Columns, Slots, columns_of, text_spans
from shared.codec.container import MAX_BYTES, MAX_FRAMES, MAX_VALUES, Parts, write
from shared.codec.content import Bytes, Content, by_rule, ramp, spans, split, stable_order
from shared.codec.pairs import SLOTS
from shared.codec.series import Ragged
from shared.codec.table import ELEMENTS, FLOAT
from shared.frames import Frames

Ints = NDArray[np.int64]
_SHARP = 1.0
"""How far below the mean bit length a column's residuals are split: low bits are kept raw."""
_MAX_P = 48


@dataclass(frozen=True, slots=True, eq=False)
class _Low:
    """Mantissa bits below the step of fixed-point floats, per value."""

    low: NDArray[np.uint64]
    low_size: Ints


def encode_block(frames: Frames) -> bytes:
    """The block of `frames`. ValueError when they are more than a decoder takes in one block: cut them up."""
    c = split(frames)
    if len(frames) > MAX_FRAMES or len(frames.data) > MAX_BYTES or len(c.payload) > MAX_BYTES:
        raise ValueError(f"{len(frames)} frames of {len(frames.data)} bytes are too much for one block")
    slots, order = _slots(c), stable_order(c.group)
    columns = columns_of(slots)
    values = _gather(c, slots, columns)
    modes = difference_clocks(c, slots, columns, values, order)
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
        ([0], g.width),
    )
    columns = [np.concatenate([np.array(head if raw else [], np.int64), rest]) for head, rest in parts]
    return Slots(np.zeros(len(columns[0]), np.int64), *columns)


def _gather(c: Content, slots: Slots, columns: Columns) -> Values:
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
    return Values(ragged, raw, value)


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


def _code(parts: Parts, payload: Bytes, slots: Slots, columns: Columns, values: Values, order: Ints) -> None:
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
    parts: Parts, payload: Bytes, slots: Slots, columns: Columns, values: Values, order: Ints, v: Ints
) -> NDArray[np.uint8]:
    rag = Ragged.of(columns.rows[v])
    if int(rag.rows.sum()) > MAX_VALUES:
        raise ValueError("too many changing values for one block")
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
    choice = Choice(value, rag, shift)
    try_pairs(choice, payload, slots, columns, v, scale, order)
    _write_tokens(parts, choice, low)
    return (1 + choice.order + 3 * (choice.pair + (1 + SLOTS) * form)).astype(np.uint8)


def _write_tokens(parts: Parts, choice: Choice, low: _Low) -> None:
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

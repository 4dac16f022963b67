"""Numbers of columns to the fields of payloads and to receive times: clocks, pairs, floats, scatter."""

import numpy as np
from numpy.typing import NDArray

from shared.codec import bits, clocks, floats, series
from shared.codec.columns import Columns, Slots, clock_columns, heads
from shared.codec.container import Parts, joined, require
from shared.codec.content import Bytes, ramp, spans
from shared.codec.membership import Membership
from shared.codec.numbers import SPARE, Numbers, Varying, constants, series_values, varying
from shared.codec.pairs import SLOTS
from shared.codec.predict import Newest, numeric, prediction, source_columns
from shared.codec.series import Ragged
from shared.codec.table import CLOCK_MS, ELEMENTS

Ints = NDArray[np.int64]


def decode_columns(parts: list[Parts], frame: Membership, columns: Columns, payload: Bytes, max_bytes: int) -> Ints:
    """Decode all columns into `payload`; returns receive times in wire order."""
    block = frame.slots.block[columns.slot]
    v = varying(parts, columns, block, max_bytes)
    at, step = np.full(len(columns.rows), -1), np.zeros(len(columns.rows), np.int64)
    at[v.column], step[v.column] = v.rag.starts, 1
    constant = (step == 0).nonzero()[0]
    data, number = constants(parts, columns, constant, block)
    value = series_values(parts, v)
    at[constant] = len(value) + np.arange(len(constant))
    numbers = Numbers(np.concatenate([value, number]), at, step)
    _fill(payload, frame.slots, columns, constant, data)
    low = _Low(parts)
    plain = np.flatnonzero((v.pair == 0) & (columns.element[v.column] >= 0))
    low.finish(v, value, plain)
    _scatter(payload, columns, v, plain, value)
    time = _times(parts, frame, columns, numbers, payload)
    targets = v.pair.nonzero()[0]
    if len(targets):
        _predict(payload, frame, columns, v, value, targets)
        low.finish(v, value, targets)
        _scatter(payload, columns, v, targets, value)
    low.check_spent()
    return time


class _Low:
    """Reads mantissa bits below the step of fixed-point floats: plain columns first, then predicted ones."""

    def __init__(self, parts: list[Parts]) -> None:
        self._lengths = np.array([len(p.low_bits) for p in parts], np.int64)
        self._data = joined([p.low_bits for p in parts], SPARE)
        self._at = (self._lengths.cumsum() - self._lengths) * 8
        self._spent = np.zeros(len(parts), np.int64)

    def finish(self, v: Varying, value: Ints, which: Ints) -> None:
        """Turn the decoded numbers of the float columns among `which` of v into field bits, in place."""
        form = v.form[which]
        fixed = which[form == floats.FIXED]
        if len(fixed):
            rows = v.rag.rows[fixed]
            at = spans(v.rag.starts[fixed], rows)
            value[at] = self._fixed(v, fixed, rows, value[at])
        other = which[(form != floats.FIXED) & v.is_float[which]]
        if len(other):
            rows = v.rag.rows[other]
            at = spans(v.rag.starts[other], rows)
            value[at] = floats.to_bits(value[at], v.form[other].repeat(rows))

    def _fixed(self, v: Varying, which: Ints, rows: Ints, number: Ints) -> Ints:
        size = floats.low_sizes(number)
        block = v.block[which]
        starts = rows.cumsum() - rows
        used = np.zeros(len(self._at), np.int64)
        np.add.at(used, block, np.add.reduceat(size, starts))
        begin = used.cumsum() - used
        shift = self._at + self._spent - begin
        self._spent += used
        require((self._spent <= self._lengths * 8).all(), "raw bits")
        at = size.cumsum() - size + shift[block].repeat(rows)
        return floats.from_fixed(number, v.top[which].repeat(rows), bits.unpack(self._data, at, size), size)

    def check_spent(self) -> None:
        """All bits must have been used."""
        require((self._lengths == (self._spent + 7) >> 3).all(), "raw bits")


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


def _scatter(payload: Bytes, columns: Columns, v: Varying, which: Ints, value: Ints) -> None:
    """Write columns `which` of v into the payloads; value: field bits of all columns of v."""
    widths = columns.width[v.column[which]]
    for width in (1, 2, 4, 8):
        these = which[widths == width]
        if not len(these):
            continue
        column = v.column[these]
        rows, stride = columns.rows[column], columns.stride[column]
        starts = rows.cumsum() - rows
        index = np.arange(int(rows.sum()))
        at = index * stride.repeat(rows)
        at += (columns.at[column] - starts * stride).repeat(rows)
        index += (v.rag.starts[these] - starts).repeat(rows)
        _write(payload, at, width, value[index])


def _times(parts: list[Parts], frame: Membership, columns: Columns, numbers: Numbers, payload: Bytes) -> Ints:
    """Resolve the senders' clocks (into `payload`) and the receive times (returned, wire order)."""
    slots = frame.slots
    modes = joined([p.clocks for p in parts])
    counts = np.bincount(slots.block, minlength=len(parts)).tolist()
    require([len(p.clocks) for p in parts] == counts and int(modes.max(initial=0)) <= 6, "clock modes")
    begin = slots.rows.cumsum() - slots.rows
    block = np.repeat(np.arange(len(parts)), [p.frames for p in parts])
    time = np.empty(len(frame.slot), np.int64)
    time[frame.order] = numbers.of(columns, np.flatnonzero(columns.element < 0))
    start = np.array([p.start_us for p in parts], np.int64)
    resets = heads(block)
    timed = clock_columns(columns)
    mode = modes[columns.slot[timed]] & 3
    require(int(np.count_nonzero(modes)) == int(np.count_nonzero(modes[columns.slot[timed]])), "clock modes")
    timed, mode = timed[mode > 0], mode[mode > 0]
    require(not (modes[modes & 3 == 0] & 4).any() and not (modes & 3 == 3).any(), "clock modes")
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
    slots: Slots, columns: Columns, numbers: Numbers, timed: Ints, mode: Ints, wire: Ints, payload: Bytes
) -> Ints:
    """True times (us) of all frames of the clock columns `timed`; chained fields are written into the payloads."""
    rows = columns.rows[timed]
    ms = np.repeat(ELEMENTS.clock[columns.element[timed]] == CLOCK_MS, rows)
    x = numbers.of(columns, timed)
    anchor = np.repeat(mode == clocks.ANCHOR, rows)
    shift = np.repeat(64 - 8 * columns.width[timed], rows).view(np.uint64)
    x = np.where(anchor, ((x.view(np.uint64) << shift) >> shift).view(np.int64), x)
    source = np.repeat(slots.source()[columns.slot[timed]], rows)
    chain = np.argsort(source << 32 | wire)  # no two frames share a place on the wire
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


def _predict(payload: Bytes, frame: Membership, columns: Columns, v: Varying, value: Ints, targets: Ints) -> None:
    """Add what their sources predict to the columns `targets` of v."""
    newest = Newest(frame.slots, frame.order)
    padded = np.concatenate([payload, np.zeros(8, np.uint8)])
    for pair in range(SLOTS):
        which = targets[v.pair[targets] == pair + 1]
        target = v.column[which]
        if not len(target):
            continue
        source = source_columns(frame.slots, columns, target, pair)
        require((source >= 0).all(), "pair without source")
        rows = columns.rows[target]
        row = newest.rows(columns.slot[target], columns.slot[source])
        at = columns.at[source].repeat(rows) + row * columns.stride[source].repeat(rows)
        number = numeric(padded, at, columns.element[source].repeat(rows))
        scale = np.where(v.is_float[which], floats.scale_of(v.form[which], v.top[which]), 1.0)
        value[spans(v.rag.starts[which], rows)] += prediction(number, columns.element[target], pair, scale, rows)

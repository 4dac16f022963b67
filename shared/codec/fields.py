"""Numbers of columns to the fields of payloads and to receive times: clocks, pairs, floats, scatter."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.codec import bits, clocks, floats, series
from shared.codec.columns import Columns, Slots, clock_columns, heads
from shared.codec.container import Parts, joined, require
from shared.codec.content import Bytes, lengths, ramp, spans, stable_order, upto
from shared.codec.membership import Membership
from shared.codec.numbers import SPARE, Numbers, Varying, begins, constants, series_values, varying
from shared.codec.pairs import SLOTS
from shared.codec.predict import Newest, numeric, prediction, source_columns
from shared.codec.series import Ragged
from shared.codec.table import CLOCK_MS, ELEMENTS

Ints = NDArray[np.int64]


def decode_columns(
    parts: list[Parts], frame: Membership, columns: Columns, payload: Bytes, payloads: list[Bytes], max_bytes: int
) -> Ints:
    """Decode all columns into `payload`, where those of each slot lie as `payloads`; returns receive times in wire
    order."""
    block = frame.slots.block[columns.slot]
    v = varying(parts, columns, block, max_bytes)
    at, step = np.full(len(columns.rows), -1), np.zeros(len(columns.rows), np.int64)
    at[v.column], step[v.column] = v.rag.starts, 1
    constant = (step == 0).nonzero()[0]
    data, number = constants(parts, columns, constant, block)
    value = series_values(parts, v)
    at[constant] = len(value) + np.arange(len(constant))
    numbers = Numbers(np.concatenate([value, number]), at, step)
    _fill(payloads, frame.slots, columns, constant, data)
    low = _Low(parts)
    _scatter(payload, columns, v, ((v.pair == 0) & (columns.element[v.column] >= 0)).nonzero()[0], value, low)
    time = _times(parts, frame, columns, numbers, payload)
    targets = v.pair.nonzero()[0]
    if len(targets):
        _predict(payload, frame, columns, v, value, targets)
        _scatter(payload, columns, v, targets, value, low)
    low.check_spent()
    return time


class _Low:
    """Reads mantissa bits below the step of fixed-point floats: plain columns first, then predicted ones."""

    def __init__(self, parts: list[Parts]) -> None:
        self._lengths = np.array([len(p.low_bits) for p in parts], np.int64)
        self._data = joined([p.low_bits for p in parts], SPARE)
        self._at = (self._lengths.cumsum() - self._lengths) * 8
        self._spent = np.zeros(len(parts), np.int64)

    def floats(self, v: Varying, which: Ints, number: Ints, rows: Ints, starts: Ints) -> NDArray[np.uint32]:
        """float32 bits of the fixed-point columns `which` of v; number: theirs, `rows` of each, from `starts`."""
        size = floats.low_sizes(number)
        per_column: Ints = np.add.reduceat(size, starts, dtype=np.int64)
        begin, used = begins(per_column, v.rank[which], v.block[which], self._at + self._spent)
        self._spent += used
        require((self._spent <= self._lengths * 8).all(), "raw bits")
        at = size.cumsum(dtype=np.int64)
        at -= size
        at += (begin - (per_column.cumsum() - per_column)).repeat(rows)
        low = bits.unpack_short(self._data, at, size)
        return floats.from_fixed(number, v.top[which].repeat(rows), low, size)

    def check_spent(self) -> None:
        """All bits must have been used."""
        require((self._lengths == (self._spent + 7) >> 3).all(), "raw bits")


def _fill(payloads: list[Bytes], slots: Slots, columns: Columns, constant: Ints, data: Bytes) -> None:
    """Write constant fields into every row: build one row per slot, then repeat it."""
    width = columns.width[constant]
    base = slots.width.cumsum() - slots.width
    offset = base[columns.slot[constant]] + columns.at[constant] - slots.start[columns.slot[constant]]
    field = columns.element[constant] >= 0
    template = np.zeros(int(slots.width.sum()), np.uint8)
    begin = width.cumsum() - width
    template[spans(offset[field], width[field])] = data[spans(begin[field], width[field])]
    ends = slots.width.cumsum().tolist()
    for rows, start, end in zip(payloads, [0, *ends], ends, strict=False):
        rows[:] = template[start:end]


def _write(payload: Bytes, at: Ints, width: int, value: NDArray[np.integer], is_askew: bool) -> None:
    """Store the low `width` bytes of each value at byte positions `at`; numpy writes aligned ones several times
    faster."""
    dtype = np.dtype(f"<u{width}")
    if is_askew:
        view: NDArray[Any] = np.ndarray((len(payload) - width + 1,), dtype, payload, strides=(1,))
    else:
        view, at = payload.view(dtype), at >> (width.bit_length() - 1)
    view[at] = value.astype(dtype, copy=False)


def _words(payload: Bytes, at: Ints, is_askew: bool) -> NDArray[np.uint64]:
    """The bytes from positions `at` on, little-endian; if not askew, up to the next multiple of 8 only."""
    if is_askew:
        return bits.windows(payload)[at]
    words: NDArray[np.uint64] = payload.view("<u8")[at >> 3]
    return words >> ((at & 7) << 3).view(np.uint64)


_ASKEW, _FIXED, _FLOAT = 16, 32, 64


def _scatter(payload: Bytes, columns: Columns, v: Varying, which: Ints, value: Ints, low: _Low) -> None:
    """Write columns `which` of v into the payloads, all alike at once; value: numbers of all columns of v."""
    kind = _kinds(columns, v, which)
    alike = stable_order(kind)
    which, kind = which[alike], kind[alike]
    column, rows = v.column[which], v.rag.rows[which]
    starts, stride = rows.cumsum() - rows, columns.stride[column]
    count = upto(int(rows.sum()))
    number = value[(v.rag.starts[which] - starts).repeat(rows) + count]
    at = stride.repeat(rows)
    at *= count
    at += (columns.at[column] - starts * stride).repeat(rows)
    cuts = [0, *((kind[1:] != kind[:-1]).nonzero()[0] + 1).tolist(), len(kind)]
    for first, last in itertools.pairwise(cuts if len(kind) else []):
        same, begin, k = slice(first, last), int(starts[first]), int(kind[first])
        some = slice(begin, int(starts[last]) if last < len(kind) else len(at))
        field: NDArray[np.integer] = number[some]
        if k & _FIXED:
            field = low.floats(v, which[same], number[some], rows[same], starts[same] - begin)
        elif k & _FLOAT:
            field = floats.to_bits(number[some], v.form[which[same]].repeat(rows[same]))
        _write(payload, at[some], k & 15, field, bool(k & _ASKEW))


def _kinds(columns: Columns, v: Varying, which: Ints) -> Ints:
    """What has to be done alike: width of the field | _ASKEW | _FIXED or _FLOAT."""
    column, is_float = v.column[which], v.is_float[which]
    width = columns.width[column]
    fixed = is_float & (v.form[which] == floats.FIXED)
    kind: Ints = width | np.where(fixed, _FIXED, is_float * _FLOAT)
    askew = (columns.at[column] & (width - 1)) != 0
    if askew.any():
        askew[fixed] = askew[fixed].any()  # all at once: their low bits follow each other
        kind |= askew * _ASKEW
    return kind


def _times(parts: list[Parts], frame: Membership, columns: Columns, numbers: Numbers, payload: Bytes) -> Ints:
    """Resolve the senders' clocks (into `payload`) and the receive times (returned, wire order)."""
    slots = frame.slots
    modes = joined([p.clocks for p in parts])
    counts = np.bincount(slots.block, minlength=len(parts)).tolist()
    require([len(p.clocks) for p in parts] == counts and int(modes.max(initial=0)) <= 6, "clock modes")
    begin = slots.rows.cumsum() - slots.rows
    block = np.repeat(np.arange(len(parts)), [p.frames for p in parts])
    time = np.empty(len(frame.slot), np.int64)
    time[frame.order] = numbers.of(columns, (columns.element < 0).nonzero()[0])
    start = np.array([p.start_us for p in parts], np.int64)
    resets = heads(block)
    timed = clock_columns(columns)
    mode = modes[columns.slot[timed]] & 3
    require(int(np.count_nonzero(modes)) == int(np.count_nonzero(modes[columns.slot[timed]])), "clock modes")
    narrow_first = np.argsort(columns.width[timed], kind="stable")
    narrow_first = narrow_first[mode[narrow_first] > 0]
    timed, mode = timed[narrow_first], mode[narrow_first]
    require(not (modes[modes & 3 == 0] & 4).any() and not (modes & 3 == 3).any(), "clock modes")
    if len(timed):
        slot, rows = columns.slot[timed], columns.rows[timed]
        wire = frame.order[spans(begin[slot], rows)]
        true = _clock_chain(slots, columns, numbers, timed, mode, wire, payload, len(time))
        follows = np.repeat(modes[slot] & 4 > 0, rows)
        wire = wire[follows]
        time[wire] += true[follows]
        resets[wire] = True
    at = resets.nonzero()[0]
    time[at] += start[block[at]]
    return series.sums(time, Ragged(lengths(at, len(time)), at))


def _clock_chain(
    slots: Slots, columns: Columns, numbers: Numbers, timed: Ints, mode: Ints, wire: Ints, payload: Bytes, frames: int
) -> Ints:
    """True times (us) of all frames of the clock columns `timed`, narrow ones first; their fields are written into the
    payloads. wire: where the frames are among all `frames`."""
    rows = columns.rows[timed]
    ms = np.repeat(ELEMENTS.clock[columns.element[timed]] == CLOCK_MS, rows)
    x = numbers.of(columns, timed)
    anchor = np.repeat(mode == clocks.ANCHOR, rows)
    shift = np.repeat(64 - 8 * columns.width[timed], rows).view(np.uint64)
    if anchor.any():
        x = np.where(anchor, ((x.view(np.uint64) << shift) >> shift).view(np.int64), x)
    source = np.repeat(slots.source()[columns.slot[timed]], rows)
    chain = _chain(source, wire, frames)
    true = np.empty_like(x)
    true[chain] = clocks.times(x[chain], ms[chain], heads(source[chain]), anchor[chain])
    field = np.where(ms, true // 1000, true)
    at = columns.at[timed].repeat(rows) + ramp(rows) * columns.stride[timed].repeat(rows)
    wide = int(rows[columns.width[timed] == 4].sum())
    for width, some in ((4, slice(wide)), (8, slice(wide, None))):
        _write(payload, at[some], width, field[some], bool((at[some] & (width - 1)).any()))
    return true


def _chain(source: Ints, wire: Ints, frames: int) -> Ints:
    """The order by sender, then by place on the wire, of which no two share one; `frames` there are."""
    place = np.full(frames, -1)
    place[wire] = np.arange(len(wire))
    by_place = place[(place >= 0).nonzero()[0]]
    sender = source[by_place]
    if (sender[1:] >= sender[:-1]).all():
        return by_place
    return by_place[np.argsort(sender, kind="stable")]


def _predict(payload: Bytes, frame: Membership, columns: Columns, v: Varying, value: Ints, targets: Ints) -> None:
    """Add what their sources predict to the columns `targets` of v."""
    newest = Newest(frame.slots, frame.order)
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
        is_askew = bool(((columns.at[source] & 7) + columns.width[source] > 8).any())
        number = numeric(_words(payload, at, is_askew), columns.element[source].repeat(rows))
        scale = np.where(v.is_float[which], floats.scale_of(v.form[which], v.top[which]), 1.0)
        value[spans(v.rag.starts[which], rows)] += prediction(number, columns.element[target], pair, scale, rows)

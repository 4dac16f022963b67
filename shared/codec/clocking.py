"""The encoder's choice for clocks and receive times: which groups join a sender's chain, and how."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec import clocks, series
from shared.codec.columns import Columns, Slots, clock_columns, heads
from shared.codec.content import Content, spans
from shared.codec.series import Ragged
from shared.codec.table import CLOCK_MS, ELEMENTS

Ints = NDArray[np.int64]
_HEAD_BITS = 24
"""What a column's head costs, roughly, when coding by difference is weighed against a clock chain."""
_NARROW = 1 << 29
"""Below this, x and its second differences fit the 32 bits of a narrow clock column, and so the state stays exact."""


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """All columns' numbers: raw (unsigned), value (signed, clocks and receive times already differenced)."""

    ragged: Ragged
    raw: Ints
    value: Ints


def _best_size(values: Ints, ragged: Ragged) -> Ints:
    """Size in bits of each column under the best order."""
    first = series.differences(values, ragged)
    means = series.means(values, ragged)
    sizes = [series.size_in_bits(values - means.repeat(ragged.rows), ragged)]
    sizes += [series.size_in_bits(d, ragged) for d in (first, series.second_differences(first, ragged))]
    best: Ints = np.min(sizes, axis=0)
    return best


def difference_clocks(c: Content, slots: Slots, columns: Columns, values: Values, order: Ints) -> NDArray[np.uint8]:
    """Difference clock columns and receive times in place; returns per slot: clock mode | 4 where receive times
    follow it."""
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
    mode = _clock_modes(own, true, clock == CLOCK_MS, wire, source, rag)
    x = _chain(mode, true, clock == CLOCK_MS, wire, source, rag, columns.width[timed])
    chained = np.repeat(mode == clocks.CHAINED, rows)
    values.value[at[chained]] = x[chained]
    modes[columns.slot[timed]] = mode
    _receive_times(modes, values, frame, wire, time, true, elapsed, rag, columns.slot[timed], mode)
    return modes


def _chain(
    mode: Ints, true: Ints, is_ms: NDArray[np.bool_], wire: Ints, source: Ints, rag: Ragged, width: Ints
) -> Ints:
    """x of the frames in the chain; columns too narrow to hold theirs are put APART in `mode`. width: per column."""
    order = np.lexsort((wire, source))
    while True:
        chain = order[mode.repeat(rag.rows)[order] > 0]
        first, anchor = heads(source[chain]), np.repeat(mode == clocks.ANCHOR, rag.rows)[chain]
        x = np.zeros_like(true)
        x[chain] = clocks.differences(true[chain], is_ms[chain], first, clocks.origins(true[chain], first, anchor))
        fits = np.logical_and.reduceat(np.abs(x) < _NARROW, rag.starts)
        narrow = (mode == clocks.CHAINED) & (width < 8) & ~fits
        if not narrow.any():
            return x
        mode[narrow] = clocks.APART


def _receive_times(
    modes: NDArray[np.uint8], values: Values, frame: Ints, wire: Ints, time: Ints, true: Ints, elapsed: Ints,
    rag: Ragged, slot: Ints, mode: Ints,
) -> None:  # fmt: skip
    """Code a slot's receive times against its own clock where that is shorter than against the frame before."""
    offset = time[wire] - time[0] - true
    follows = (_best_size(offset, rag) + _HEAD_BITS < _best_size(elapsed[wire], rag)) & (mode > 0)
    modes[slot[follows]] |= 4
    chosen = follows.repeat(rag.rows)
    values.value[frame[chosen]] = offset[chosen]


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


def _clock_modes(own: Ints, true: Ints, is_ms: NDArray[np.bool_], wire: Ints, source: Ints, rag: Ragged) -> Ints:
    """Per clock column: APART, ANCHOR or CHAINED."""
    sane = (true >= 0) & (true < 1 << 52)
    joins = np.logical_and.reduceat(sane, rag.starts)
    order = np.lexsort((wire, source))
    for _ in range(2):
        chain = order[joins.repeat(rag.rows)[order]]
        x = np.zeros_like(own)
        first = heads(source[chain])
        x[chain] = clocks.differences(true[chain], is_ms[chain], first, true[chain][first])
        backward = np.zeros(len(own), np.int64)
        backward[chain] = x[chain] < 0
        joins &= np.add.reduceat(backward, rag.starts) * 4 <= rag.rows
    chained = _best_size(x, rag)
    anchored = _best_size(own, rag) + _HEAD_BITS
    exact = np.logical_and.reduceat(true == np.where(is_ms, own * 1000, own), rag.starts)
    return np.where(joins, np.where((anchored < chained) & exact, clocks.ANCHOR, clocks.CHAINED), clocks.APART)

"""Predicting a column from another message's (shared.codec.pairs), alike in encoder and decoder."""

import numpy as np
from numpy.typing import NDArray

from shared.codec.columns import Columns, Slots
from shared.codec.content import spans
from shared.codec.table import ELEMENTS, FLOAT

Ints = NDArray[np.int64]
_LIMIT = float(1 << 53)


class Newest:
    """Finds, for rows of one group, the newest row of another at or before them (the first where none is before)."""

    def __init__(self, slots: Slots, order: Ints) -> None:
        """order: position in the block of every frame, in group order."""
        self._rows = slots.rows
        self._begin = slots.rows.cumsum() - slots.rows
        self._span = len(order) + 1
        self._wire = order
        self._keys = np.repeat(np.arange(len(slots.rows)), slots.rows) * self._span + order

    def rows(self, target: Ints, source: Ints) -> Ints:
        """Row of the source slot for every row of the target slot, for each pair of slots, one after the other."""
        code = (target * len(self._rows) + source).tolist()
        distinct = {c: i for i, c in enumerate(dict.fromkeys(code))}
        back = np.array([distinct[c] for c in code])
        target, source = np.divmod(np.array(list(distinct)), len(self._rows))
        lengths = self._rows[target]
        wire = self._wire[spans(self._begin[target], lengths)]
        found = np.searchsorted(self._keys, source.repeat(lengths) * self._span + wire, side="right") - 1
        row: Ints = np.maximum(found - self._begin[source].repeat(lengths), 0)
        starts = lengths.cumsum() - lengths
        return row[spans(starts[back], lengths[back])]


def source_columns(slots: Slots, columns: Columns, target: Ints, pair: int) -> Ints:
    """The column that predicts each column of `target` by slot `pair` of the table; -1 where there is none."""
    element = columns.element[target]
    msgid = ELEMENTS.pair_msgid[element, pair]
    keys = slots.source() << 25 | (slots.msgid + 1)
    wanted = slots.source()[columns.slot[target]] << 25 | (msgid + 1)
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    there = (element >= 0) & (msgid >= 0) & (keys[found] == wanted)
    return np.where(there, columns.first[found] + ELEMENTS.pair_element[element, pair], -1)


def numeric(word: NDArray[np.uint64], element: Ints) -> NDArray[np.float64]:
    """The numbers of fields; word: the bytes from each on, little-endian; element: of each."""
    shift = 64 - 8 * ELEMENTS.width[element]
    top = word << shift.view(np.uint64)
    unsigned = top >> shift.view(np.uint64)
    number = np.where(ELEMENTS.is_signed[element], (top.view(np.int64) >> shift).astype(np.float64), unsigned)
    is_float = ELEMENTS.kind[element] == FLOAT
    if is_float.any():
        with np.errstate(invalid="ignore"):  # a signalling NaN
            number[is_float] = unsigned[is_float].astype(np.uint32).view(np.float32)
    return number


def prediction(number: NDArray[np.float64], element: Ints, pair: int, scale: NDArray[np.float64], rows: Ints) -> Ints:
    """What a pair predicts, in the target column's integers. number: the source's, per value; element, scale: per
    column."""
    factor = np.repeat(ELEMENTS.pair_scale[element, pair], rows)
    with np.errstate(all="ignore"):
        guess = np.rint(number * factor * scale.repeat(rows))
    guess = np.where(np.abs(guess) < _LIMIT, guess, 0.0)
    return guess.astype(np.int64)

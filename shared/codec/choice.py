"""The encoder's choice for ordinary columns: order of differences, and prediction by another column."""

import numpy as np
from numpy.typing import NDArray

from shared.codec import bits, series
from shared.codec.columns import Columns, Slots
from shared.codec.content import Bytes, spans
from shared.codec.pairs import SLOTS
from shared.codec.predict import Newest, numeric, prediction, source_columns
from shared.codec.series import Ragged

Ints = NDArray[np.int64]
_WORTH_IT = 12
"""Bits that a pair must save to be used."""


class Choice:
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
    """(order, size, residuals, head) of the best of no, first and second differences; per column, per value for
    residuals."""
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


def try_pairs(
    choice: Choice, payload: Bytes, slots: Slots, columns: Columns, v: Ints, scale: NDArray[np.float64], order: Ints
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
        number = numeric(bits.windows(padded)[at], columns.element[source].repeat(rows))
        guess = prediction(number, columns.element[v[target]], pair, scale[target], rows)
        choice.offer(target, pair + 1, plain[spans(rag.starts[target], rows)] - guess)

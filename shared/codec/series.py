"""Ragged series: many columns of numbers in one array, differenced, summed and measured without a loop over columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec.bits import bit_length

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Columns of `rows` values each (at least 1), one after the other; starts: where each begins."""

    rows: Ints
    starts: Ints

    @staticmethod
    def of(rows: Ints) -> "Ragged":
        return Ragged(rows, rows.cumsum() - rows)


def sign_extend(values: Ints, shift: Ints | np.int64) -> Ints:
    """Keep the low 64 - shift bits of each value, as a signed number."""
    return (values << shift) >> shift


def differences(values: Ints, ragged: Ragged) -> Ints:
    """First differences; 0 at the head of each column."""
    out = np.empty_like(values)
    np.subtract(values[1:], values[:-1], out=out[1:])
    out[ragged.starts] = 0
    return out


def second_differences(first: Ints, ragged: Ragged) -> Ints:
    """Differences of differences; 0 at a column's head, then the first difference, then second ones."""
    out = np.empty_like(first)
    np.subtract(first[1:], first[:-1], out=out[1:])
    out[ragged.starts] = 0
    return out


def sums(values: Ints, ragged: Ragged) -> Ints:
    """Running sums within each column."""
    total = values.cumsum()
    base = total[ragged.starts]
    base -= values[ragged.starts]
    total -= base.repeat(ragged.rows)
    return total


def means(values: Ints, ragged: Ragged) -> Ints:
    """Rounded mean of each column, computed round its first value so that it cannot overflow for sane columns."""
    head = values[ragged.starts]
    offsets: Ints = np.add.reduceat(values - head.repeat(ragged.rows), ragged.starts)
    return head + offsets // ragged.rows


def size_in_bits(residuals: Ints, ragged: Ragged) -> Ints:
    """Sum of the bit lengths of each column's residuals: what a column costs, near enough to compare."""
    lengths: Ints = bit_length(np.abs(residuals))
    sizes: Ints = np.add.reduceat(lengths, ragged.starts)
    return sizes

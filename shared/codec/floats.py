"""Float columns as integers that predict well, bit-exact. All arrays are flat, with one entry per value.

Three forms, chosen per column:
- ORDERED: the bits as an integer that sorts like the number. Works for everything.
- FIXED: the number cut off at a step of 2**(top - 150), `top` being the column's largest exponent field: an integer
of at most
  24 bits plus, for smaller numbers, the mantissa bits below the step (their count follows from the integer).
- decimal: the number is k / 10**d or k * 10**-d in float arithmetic, for one d, as sensors in centimetres and the
like are.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Unsigned = NDArray[np.unsignedinteger]

ORDERED, FIXED, DECIMAL = 0, 1, 2
DECIMALS = ((1.0, True), (10.0, True), (100.0, True), (1000.0, True), (10.0, False), (100.0, False), (1000.0, False))
"""Forms 2, 3, ...: (scale, whether the number is k * float32(1 / scale), else k / scale)."""
FORMS = DECIMAL + len(DECIMALS)
_SCALES = np.array([s for s, _ in DECIMALS])
_STEPS = np.array([1 / s for s, _ in DECIMALS], np.float32)
_MULTIPLIES = np.array([m for _, m in DECIMALS])
_LIMIT = 1 << 30


class Numbers(NamedTuple):
    """Float columns as integers. form, top: per column; value: per value; low, low_size: mantissa bits below the
    step."""

    form: Ints
    top: Ints
    value: Ints
    low: NDArray[np.uint64]
    low_size: Ints


def ordered(bits: Ints) -> Ints:
    """Sign-extended float32 bits to integers in the numbers' order."""
    return np.where(bits < 0, ~(bits & 0x7FFFFFFF), bits)


def from_ordered(value: Ints) -> Ints:
    """The inverse of `ordered`, as unsigned 32 bits."""
    return np.where(value < 0, ~value | 0x80000000, value) & 0xFFFFFFFF


def scale_of(form: Ints, top: Ints) -> NDArray[np.float64]:
    """Integer per unit of the number, for FIXED and decimal columns; 0 for ORDERED (which nothing predicts)."""
    decimal = _SCALES[np.maximum(form - DECIMAL, 0)]
    return np.where(form == FIXED, np.ldexp(1.0, (150 - top).astype(np.int32)), np.where(form >= DECIMAL, decimal, 0.0))


def to_numbers(bits: Ints, starts: Ints, rows: Ints) -> Numbers:
    """Choose a form for every column and convert. bits: sign-extended float32 bits; starts, rows: the columns'
    values."""
    form, top, shift = _fixed_form(bits, starts, rows)
    value = ordered(bits)
    low, low_size = np.zeros(len(bits), np.uint64), np.zeros(len(bits), np.int64)
    for kind in range(len(DECIMALS)):
        _try_decimal(kind, bits, starts, rows, form, value)
    fixed = np.repeat(form == FIXED, rows)
    shift = np.where(fixed & (bits != 0), shift, 0)
    mantissa = (bits & 0x7FFFFF) | 0x800000
    cut = np.where(bits == 0, 0, mantissa >> shift)
    value[fixed] = np.where(bits < 0, -cut, cut)[fixed]
    low_size[:] = shift
    low[:] = (mantissa & ((1 << shift) - 1)).view(np.uint64)
    return Numbers(form, top, value, low, low_size)


def _fixed_form(bits: Ints, starts: Ints, rows: Ints) -> tuple[Ints, Ints, Ints]:
    exponent = bits >> 23 & 0xFF
    top = np.maximum.reduceat(exponent, starts)
    shift = top.repeat(rows) - exponent
    fits = (bits == 0) | ((exponent > 0) & (exponent < 255) & (shift < 24))
    return np.where(np.logical_and.reduceat(fits, starts), FIXED, ORDERED), top, shift


def _decimal(kind: int, number: NDArray[np.float32]) -> tuple[Ints, NDArray[np.bool_]]:
    scale, multiplies = DECIMALS[kind]
    with np.errstate(all="ignore"):
        k = np.rint(number.astype(np.float64) * scale)
        k = np.where(np.abs(k) < _LIMIT, k, 0.0) + 0.0  # a negative zero would lose its sign
        back = k.astype(np.float32) * np.float32(1 / scale) if multiplies else (k / scale).astype(np.float32)
    return k.astype(np.int64), back.view(np.int32) == number.view(np.int32)


def _try_decimal(kind: int, bits: Ints, starts: Ints, rows: Ints, form: Ints, value: Ints) -> None:
    """Give form DECIMAL + kind to the columns that it holds exactly. The ends are tried first: most columns fail
    there."""
    ends = np.stack([bits[starts], bits[starts + rows // 2], bits[starts + rows - 1]])
    good = _decimal(kind, ends.astype(np.int32).view(np.float32))[1].all(axis=0) & (form < DECIMAL)
    if not good.any():
        return
    chosen = good.repeat(rows)
    k, exact = _decimal(kind, bits[chosen].astype(np.int32).view(np.float32))
    columns = good.nonzero()[0]
    lengths = rows[columns]
    at = lengths.cumsum() - lengths
    good[columns] = np.logical_and.reduceat(exact, at)
    form[good] = DECIMAL + kind
    value[good.repeat(rows)] = k[good[columns].repeat(lengths)]


def low_sizes(value: Ints) -> NDArray[np.int32]:
    """How many mantissa bits lie below the step, for values of FIXED columns: 24 less the value's own, 0 for 0."""
    size: NDArray[np.int32] = np.abs(value).astype(np.float32).view(np.int32)
    size >>= 23
    np.subtract(150, size, out=size)
    np.maximum(size, 0, out=size)
    np.minimum(size, 24, out=size)
    size *= value != 0
    return size


def from_fixed(value: Ints, top: Ints, low: Unsigned, low_size: NDArray[np.integer]) -> NDArray[np.uint32]:
    """float32 bits of values of FIXED columns; top: per value."""
    shift = low_size.astype(np.uint32)
    bits: NDArray[np.uint32] = np.abs(value).astype(np.uint32)
    bits <<= shift
    bits |= low.astype(np.uint32, copy=False)
    bits &= np.uint32(0x7FFFFF)
    exponent = top.astype(np.uint32)
    exponent -= shift
    exponent <<= np.uint32(24)  # only its low 8 bits count
    exponent >>= np.uint32(1)
    bits |= exponent
    bits |= (value < 0) * np.uint32(1 << 31)
    bits *= value != 0
    return bits


def to_bits(value: Ints, form: Ints) -> Ints:
    """float32 bits (unsigned) of values of ORDERED and decimal columns; form: per value."""
    kind = np.maximum(form - DECIMAL, 0)
    with np.errstate(all="ignore"):
        product = value.astype(np.float32) * _STEPS[kind]
        quotient = (value.astype(np.float64) / _SCALES[kind]).astype(np.float32)
    decimal = np.where(_MULTIPLIES[kind], product, quotient).view(np.uint32).astype(np.int64)
    return np.where(form == ORDERED, from_ordered((value << 32) >> 32), decimal)

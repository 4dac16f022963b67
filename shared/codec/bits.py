"""Numbers as tokens and raw bits.

A residual r is split at bit p of its column: q = r >> p goes, zigzagged, into a token of one byte (zstd sees those),
the low p bits are kept raw. Tokens below 16 are the number itself; above, a token names the bit length and the
second-highest bit of the number, and the bits below those are raw too. Raw bits are packed LSB first.
"""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

LITERAL = 16
SHORT = 25
"""Bits that lie in four bytes wherever in the first of them they begin."""
MAX_TOKEN = LITERAL + 2 * (64 - 5) + 1
_TOKENS = np.arange(256)
_BIG = np.maximum(_TOKENS - LITERAL, 0)
EXTRA = np.where(_TOKENS < LITERAL, 0, _BIG // 2 + 3).astype(np.uint8)
"""Raw bits of each token, without its column's p."""
SMALL: Ints = (_TOKENS >> 1) ^ -(_TOKENS & 1)
"""The number of each token that has no raw bits."""
EXTRA_BYTES, SMALL_BYTES = EXTRA.tobytes(), np.where(_TOKENS < LITERAL, SMALL, 0).astype(np.int8).tobytes()
"""The same as tables for bytes.translate; in SMALL_BYTES the larger tokens are 0."""
_BASE = np.where(_TOKENS < LITERAL, _TOKENS, 0).astype(np.uint64)
_BASE[LITERAL : MAX_TOKEN + 1] = [(2 + t % 2) << (t // 2 + 3) for t in range(MAX_TOKEN + 1 - LITERAL)]


def bit_length(values: Ints) -> Ints:
    """Bits of each non-negative number (exact below 2**53, at most one too many above); 0 for 0."""
    exponent: Ints = (values.astype(np.float64).view(np.int64) >> 52) - 1022
    return np.maximum(exponent, 0, out=exponent)


def to_tokens(residuals: Ints, p: Ints) -> tuple[Bytes, NDArray[np.uint64], Ints]:
    """Tokens, raw values and how many bits each raw value has; p: per residual."""
    q = residuals >> p
    u = (q << 1) ^ (q >> 63)
    raw = residuals & ((1 << p) - 1)
    token, size = u.astype(np.uint8), p
    big = np.flatnonzero(u.view(np.uint64) >= LITERAL)
    if len(big):
        token, extra, low = _big_tokens(token, u[big].view(np.uint64), big)
        raw[big] |= (low << p[big].astype(np.uint64)).view(np.int64)
        size = p.copy()
        size[big] += extra
    return token, raw.view(np.uint64), size


def _big_tokens(token: Bytes, u: NDArray[np.uint64], big: Ints) -> tuple[Bytes, Ints, NDArray[np.uint64]]:
    high = (u >> np.uint64(32)).view(np.int64)
    n = np.where(high > 0, bit_length(high) + 32, bit_length((u & np.uint64(0xFFFFFFFF)).view(np.int64)))
    extra = n - 2
    token[big] = LITERAL + 2 * (n - 5) + ((u >> extra.astype(np.uint64)) & np.uint64(1)).view(np.int64)
    return token, extra, u & ((np.uint64(1) << extra.astype(np.uint64)) - np.uint64(1))


def from_tokens(token: Bytes, raw: NDArray[np.uint64], p: Ints) -> Ints:
    """Residuals back."""
    u = (_BASE.take(token) | (raw >> p.view(np.uint64))).view(np.int64)
    q = ((u >> 1) & 0x7FFFFFFFFFFFFFFF) ^ -(u & 1)
    return (q << p) | (raw.view(np.int64) & ((1 << p) - 1))


def pack(raw: NDArray[np.uint64], size: Ints) -> bytes:
    """Raw values of 0 .. 63 bits each as a bit string, LSB first, padded with zeros to whole bytes."""
    end = size.cumsum()
    total = int(end[-1]) if len(end) else 0
    if not total:
        return b""
    used = size.nonzero()[0]
    raw, at = raw[used], (end - size)[used]
    shift = (at & 63).view(np.uint64)
    word = at >> 6
    first = np.flatnonzero(np.diff(word, prepend=-1))
    words = np.zeros((total >> 6) + 2, np.uint64)
    words[word[first]] = np.bitwise_or.reduceat(raw << shift, first)
    spills = np.flatnonzero((at & 63) + size[used] > 64)
    words[word[spills] + 1] |= raw[spills] >> (np.uint64(64) - shift[spills])
    return words.astype("<u8", copy=False).tobytes()[: (total + 7) >> 3]


def windows(data: Bytes) -> NDArray[np.uint64]:
    """A view of the 8 little-endian bytes at every position of `data`, which must have 8 bytes to spare."""
    return np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))


def unpack_short(data: Bytes, at: Ints, size: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Values of at most SHORT bits at bit positions `at`; `data` has at least 4 bytes to spare after the last."""
    near = np.ndarray((len(data) - 3,), "<u4", data, strides=(1,))
    value: NDArray[np.uint32] = near.take(at >> 3)
    value >>= at.astype(np.uint32) & np.uint32(7)
    mask = np.left_shift(np.uint32(1), size.astype(np.uint32))
    mask -= np.uint32(1)
    value &= mask
    return value


def unpack(data: Bytes, at: Ints, size: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Values of `size` bits (0 .. 63) at bit positions `at`; `data` has at least 16 bytes to spare after the last."""
    value = unpack_short(data, at, size).astype(np.uint64)
    long = (size > SHORT).nonzero()[0]
    if len(long):
        value[long] = _unpack_long(data, at[long], size[long].astype(np.uint64))
    return value


def _unpack_long(data: Bytes, at: Ints, size: NDArray[np.uint64]) -> NDArray[np.uint64]:
    wide = windows(data)
    byte = at >> 3
    shift = (at & 7).view(np.uint64)
    value: NDArray[np.uint64] = wide[byte] >> shift
    spills = (size > 56).nonzero()[0]
    if len(spills):
        value[spills] |= _top(wide, byte[spills], shift[spills])
    value &= (np.uint64(1) << size) - np.uint64(1)
    return value


def _top(wide: NDArray[np.uint64], byte: Ints, shift: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The bits above 64 - shift of a value that begins `shift` bits into `byte`."""
    return np.where(shift > 0, wide[byte + 8] << (np.uint64(64) - np.maximum(shift, np.uint64(1))), np.uint64(0))

"""Numbers as bytes: varints, zigzag, byte planes."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from shared.errors import Refused

Flat = NDArray[np.unsignedinteger]
MALFORMED = "packing_malformed"


def require(condition: object, what: str) -> None:
    """Refused(packing_malformed) unless the condition holds."""
    if not condition:
        raise Refused(MALFORMED, what)


def varints(numbers: Iterable[int]) -> bytes:
    """Each number, at least 0, as LEB128."""
    out = bytearray()
    for n in numbers:
        while n > 0x7F:
            out.append(n & 0x7F | 0x80)
            n >>= 7
        out.append(n)
    return bytes(out)


def zigzag(values: Flat) -> Flat:
    """Small numbers of either sign (two's complement) as small numbers."""
    bits = values.dtype.itemsize * 8
    signed = values.view(f"i{bits // 8}")
    return ((signed << 1) ^ (signed >> (bits - 1))).view(values.dtype)


def unzigzag(values: Flat) -> Flat:
    """The inverse of zigzag."""
    one = values.dtype.type(1)
    return (values >> one) ^ (~(values & one) + one)


def planes(values: Flat) -> bytes:
    """The lowest byte of all values, then the next, ..."""
    return values.view(np.uint8).reshape(-1, values.dtype.itemsize).T.tobytes()


def from_planes(data: bytes, width: int) -> Flat:
    """The inverse of planes."""
    return np.frombuffer(data, np.uint8).reshape(width, -1).T.copy().view(f"<u{width}")[:, 0]


def order_width(slots: int) -> int:
    """Bytes of an entry of the order: of 0 (raw) to `slots`."""
    return 1 if slots < 256 else 2


class Cursor:
    """Reads bytes from front to back. Refused when there are too few."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def varint(self, most: int) -> int:
        """The next number, at most `most`."""
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                require(value <= most, "number too large")
                return value
        raise Refused(MALFORMED, "number too long")

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        require(size <= len(self._data) - self._at, "too short")
        self._at += size
        return self._data[self._at - size : self._at]

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

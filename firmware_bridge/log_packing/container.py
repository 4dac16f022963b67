"""The packed form as a stream: a header, segments of about 1 MiB of log each, an end (docs/log-packing.md)."""

import struct
from collections.abc import Callable, Iterable, Iterator

import zstandard

from firmware_bridge.log_packing import mavlink
from firmware_bridge.log_packing.dataflash import DataFlashSplitter
from firmware_bridge.log_packing.decode import decode
from firmware_bridge.log_packing.encode import encode
from firmware_bridge.log_packing.numbers import MALFORMED, require
from firmware_bridge.log_packing.records import MAX_COLUMNS, Splitter
from firmware_bridge.log_packing.ulog import ULogSplitter
from firmware_bridge.log_tables import LogFormat
from shared.errors import Refused

MAGIC = b"DBXL\x01"
SEGMENT_BYTES = 1 << 20
"""Of log in a segment, about."""
MOST_BYTES = 4 << 20
"""Of log in a segment, at most."""
PLAIN, COLUMNS, FRAMES, END = range(4)
_HEAD = struct.Struct("<BII")
_TOTAL = struct.Struct("<Q")
_LEVEL, _TEXT_LEVEL, _SHORT_LEVEL = 3, 9, 19
_SHORT_BYTES = 64 << 10
"""A segment with less is worth trying both ways."""
_SPARE_BYTES = 64 << 10

Segment = tuple[int, int, bytes]
"""(kind, bytes of log, body)"""


def pack(pieces: Iterable[bytes], format: LogFormat) -> Iterator[bytes]:
    """A log, in pieces of any size, as its packed form: header, one bytes object per segment, end.

    Any bytes come back whole, whatever their format is said to be. The same bytes give the same packed form, however
    they are cut into pieces. Memory: a few segments.
    """
    packer = _PACKERS[format]()
    left = b""
    total = 0
    yield MAGIC
    for piece, is_last in _portions(pieces):
        data = left + piece
        kind, size, body = packer(data, is_last)
        left = data[size:]
        total += size
        if size:
            yield _HEAD.pack(kind, size, len(body)) + body
    yield _HEAD.pack(END, 0, _TOTAL.size) + _TOTAL.pack(total)


def unpack(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The log in a packed form that comes in pieces of any size, segment by segment. Memory: a segment or two.

    Refused(packing_malformed): not a packed form, damaged, too long or cut short; what was sound before it was given.
    """
    stream = _Stream(pieces)
    require(stream.take(len(MAGIC)) == MAGIC, "no packed log of version 1")
    total = 0
    while True:
        kind, size, length = _HEAD.unpack(stream.take(_HEAD.size))
        require(kind <= END and size <= MOST_BYTES and length <= MOST_BYTES, "segment")
        body = stream.take(length)
        if kind == END:
            break
        data = _unpacked(kind, size, body)
        total += len(data)
        yield data
    require(size == 0 and length == _TOTAL.size and _TOTAL.unpack(body)[0] == total, "end")
    require(stream.is_ended(), "bytes behind the end")


def _portions(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Portions of SEGMENT_BYTES and one shorter (it may be empty): (bytes, whether it is the last)."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) > SEGMENT_BYTES:
            yield bytes(waiting[:SEGMENT_BYTES]), False
            del waiting[:SEGMENT_BYTES]
    yield bytes(waiting), True


Packer = Callable[[bytes, bool], Segment]


def _plain(level: int) -> Packer:
    return lambda data, is_last: (PLAIN, len(data), zstandard.compress(data, level))


def _columns(splitter: Splitter) -> Packer:
    def packed(data: bytes, is_last: bool) -> Segment:
        records = splitter.split(data, is_last)
        data = data[: records.end]
        if not 0 < sum(s.columns for s in records.slots) <= MAX_COLUMNS:
            return PLAIN, len(data), zstandard.compress(data, _LEVEL)
        body = zstandard.compress(encode(data, records), _LEVEL)
        plain = zstandard.compress(data, _SHORT_LEVEL) if len(data) < _SHORT_BYTES else None
        if plain is not None and len(plain) <= len(body):
            return PLAIN, len(data), plain
        return COLUMNS, len(data), body

    return packed


def _frames(is_stamped: bool) -> Packer:
    def packed(data: bytes, is_last: bool) -> Segment:
        try:
            size, body = mavlink.encode(data, is_stamped, is_last)
        except Refused:  # more frames or wider ones than a block takes
            return PLAIN, len(data), zstandard.compress(data, _LEVEL)
        return FRAMES, size, body

    return packed


_PACKERS: dict[LogFormat, Callable[[], Packer]] = {
    "dataflash": lambda: _columns(DataFlashSplitter()),
    "ulog": lambda: _columns(ULogSplitter()),
    "dataflash-text": lambda: _plain(_TEXT_LEVEL),
    "tlog": lambda: _frames(is_stamped=True),
    "raw": lambda: _frames(is_stamped=False),
}


def _unpacked(kind: int, size: int, body: bytes) -> bytes:
    if kind == PLAIN:
        data = _decompressed(body, size)
        require(len(data) == size, "size of a plain segment")
        return data
    if kind == COLUMNS:
        return decode(_decompressed(body, 4 * size + _SPARE_BYTES), size)
    return mavlink.decode(body, size)


def _decompressed(body: bytes, most: int) -> bytes:
    """One zstd frame that declares its size, which is at most `most`."""
    try:
        declared = zstandard.get_frame_parameters(body).content_size
        require(declared <= most, "a segment declares too much")
        data = zstandard.ZstdDecompressor().decompress(body, declared, allow_extra_data=False)
    except zstandard.ZstdError as e:
        raise Refused(MALFORMED, str(e)) from None
    require(len(data) == declared, "a segment holds less than it declares")
    return data


class _Stream:
    """Reads a stream of pieces by sizes."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._waiting = bytearray()

    def take(self, size: int) -> bytes:
        """The next bytes. Refused when the stream ends before."""
        while len(self._waiting) < size:
            piece = next(self._pieces, None)
            require(piece is not None, "cut short")
            self._waiting += piece or b""
        out = bytes(self._waiting[:size])
        del self._waiting[:size]
        return out

    def is_ended(self) -> bool:
        """Whether nothing follows."""
        return not self._waiting and not any(self._pieces)

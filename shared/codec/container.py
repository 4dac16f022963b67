"""The bytes of a block: a format byte, the length of one zstd frame, that frame, raw bits (docs/wire.md, "Block")."""

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from shared.codec.columns import Slots
from shared.codec.content import Content
from shared.errors import Refused

FORMAT = 1
LEVEL, SHORT_LEVEL, SHORT = 9, 15, 8192
"""Short blocks are worth (and quick at) a higher level."""
MAX_WINDOW = 1 << 24
MAX_FRAMES = 200_000
MAX_BYTES = 16 << 20
"""Of the compressed sections once decompressed, and of the zero-extended payloads, of one block."""
MAX_VALUES = MAX_BYTES // 4
"""Numbers in columns that change, of one block."""
Ints = NDArray[np.int64]


@dataclass(slots=True)
class Parts:
    """The sections of a block, in their order on the wire. Those before `head_bits` are compressed together."""

    frames: int
    groups: int
    start_us: int
    table: bytes
    order: bytes
    heads_of_frames: bytes
    lengths: bytes
    sequence: bytes
    clocks: bytes
    raw_lengths: bytes
    rest: bytes
    modes: bytes = b""
    splits: bytes = b""
    tops: bytes = b""
    constants: bytes = b""
    text: bytes = b""
    heads: bytes = b""
    tokens: bytes = b""
    head_bits: bytes = b""
    value_bits: bytes = b""
    low_bits: bytes = b""

    @staticmethod
    def of(c: Content, slots: Slots, clocks: NDArray[np.uint8], seq: NDArray[np.uint8], by_rule: Ints) -> "Parts":
        """All that is not columns."""
        g = c.groups
        unknown = g.width[g.layout() < 0]
        table = [g.sysid, g.compid, g.msgid & 0xFF, g.msgid >> 8 & 0xFF, g.msgid >> 16, unknown]
        head = c.head
        uniform = len(head) > 0 and bool((head == head[0]).all())
        kept = head[:1] if uniform else head
        lengths = (c.length - by_rule).astype(np.uint8)
        return Parts(
            frames=len(c.group),
            groups=len(g.rows),
            start_us=int(c.time_us[0]) if len(c.time_us) else 0,
            table=b"".join(x.astype(np.uint8).tobytes() for x in table),
            order=planes(c.group, index_width(len(g.rows))),
            heads_of_frames=b"".join((kept >> s).astype(np.uint8).tobytes() for s in (16, 8, 0)),
            lengths=lengths.tobytes() if lengths.any() else b"",
            sequence=seq.tobytes(),
            clocks=clocks.tobytes(),
            raw_lengths=b"".join(varint(x) for x in c.raw_length.tolist()),
            rest=b"".join(x.tobytes() for x in (c.tail, c.crc, c.signature, c.raw)),
        )


COMPRESSED = (
    "table", "order", "heads_of_frames", "lengths", "sequence", "clocks", "modes", "splits", "tops", "constants",
    "text", "raw_lengths", "rest", "heads", "tokens",
)  # fmt: skip
BITS = ("head_bits", "value_bits", "low_bits")


def index_width(groups: int) -> int:
    """Bytes of a group index."""
    return 1 if groups < 1 << 8 else 2 if groups < 1 << 16 else 3


def planes(values: Ints, width: int) -> bytes:
    """The low `width` bytes of all values, byte plane by byte plane, lowest first."""
    return b"".join((values >> (8 * i)).astype(np.uint8).tobytes() for i in range(width))


def varint(value: int) -> bytes:
    """LEB128 of a non-negative integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, position after it) of a LEB128 number of at most 10 bytes."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Refused("block_malformed", "number")
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


@cache
def _dictionary() -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(Path(__file__).with_name("dictionary_v1.bin").read_bytes())


class _PerThread(threading.local):
    """zstd contexts: they keep their tables between calls, and may not be shared between threads."""

    def __init__(self) -> None:
        self.compressors = {k: zstandard.ZstdCompressor(level=k, dict_data=_dictionary()) for k in (LEVEL, SHORT_LEVEL)}
        self.decompressor = zstandard.ZstdDecompressor(dict_data=_dictionary(), max_window_size=MAX_WINDOW)


_contexts = _PerThread()


def compress(body: bytes) -> bytes:
    """One zstd frame with declared size, made with the dictionary."""
    return _contexts.compressors[SHORT_LEVEL if len(body) < SHORT else LEVEL].compress(body)


def decompress(compressed: bytes, max_bytes: int) -> bytes:
    """The body of one zstd frame. Refused: block_too_large by its declared size, block_malformed."""
    try:
        declared = zstandard.frame_content_size(compressed)
        if not 0 <= declared <= max_bytes:
            raise Refused("block_too_large", f"{declared} bytes, at most {max_bytes}")
        return _contexts.decompressor.decompress(compressed, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as e:
        raise Refused("block_malformed", str(e)[:200]) from None


def inner(parts: Parts) -> bytes:
    """What goes into the zstd frame."""
    sections = [getattr(parts, name) for name in COMPRESSED]
    start = parts.start_us << 1 ^ parts.start_us >> 63
    numbers = [parts.frames, parts.groups, start, *(len(s) for s in sections[:-1])]
    numbers += [len(getattr(parts, name)) for name in BITS[:-1]]
    return b"".join([*(varint(n) for n in numbers), *sections])


def write(parts: Parts) -> bytes:
    """The block."""
    body = inner(parts)
    compressed = compress(body)
    return b"".join([bytes([FORMAT]), varint(len(compressed)), compressed, *(getattr(parts, name) for name in BITS)])


def read(data: bytes, max_frames: int, max_bytes: int) -> Parts:
    """The sections; nothing about their contents is checked yet. Refused: block_version, block_malformed,
    block_too_large."""
    if data[:1] != bytes([FORMAT]):
        raise Refused("block_version", f"format {data[:1].hex()}, this code reads {FORMAT}")
    size, at = read_varint(data, 1)
    compressed = data[at : at + size]
    if len(compressed) != size:
        raise Refused("block_malformed", "cut short")
    body = decompress(compressed, max_bytes)
    return _sections(body, data[at + size :], max_frames)


def unpacked_bytes(data: bytes) -> int:
    """What the compressed sections of a block say that they hold; 0 where that cannot be read (`read` refuses it)."""
    try:
        size, at = read_varint(data, 1)
        return max(0, zstandard.frame_content_size(data[at : at + min(size, 32)]))
    except (Refused, zstandard.ZstdError):
        return 0


def _sections(body: bytes, bit_data: bytes, max_frames: int) -> Parts:
    numbers, at = [], 0
    for _ in range(2 + len(COMPRESSED) + len(BITS) - 1):
        value, at = read_varint(body, at)
        numbers.append(value)
    frames, groups, start, *lengths = numbers
    if frames > max_frames:
        raise Refused("block_too_large", f"{frames} frames, at most {max_frames}")
    values: dict[str, bytes] = {}
    for name, length in zip(COMPRESSED, [*lengths[: len(COMPRESSED) - 1], None], strict=True):
        values[name] = body[at:] if length is None else _take(body, at, length)
        at += length or 0
    at = 0
    for name, length in zip(BITS, [*lengths[len(COMPRESSED) - 1 :], None], strict=True):
        values[name] = bit_data[at:] if length is None else _take(bit_data, at, length)
        at += length or 0
    return Parts(frames=frames, groups=groups, start_us=(start >> 1) ^ -(start & 1), **values)


def require(holds: object, what: str) -> None:
    """Refused("block_malformed") unless it holds."""
    if not holds:
        raise Refused("block_malformed", what)


def joined(sections: list[bytes], spare: bytes = b"") -> NDArray[np.uint8]:
    """The same section of all blocks as one array."""
    return np.frombuffer(b"".join(sections) + spare, np.uint8)


def _take(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise Refused("block_malformed", "a section is cut short")
    return data[at : at + length]

"""The ULog messages that are no data: facts, parameters and their defaults, texts."""

import re
import struct
from dataclasses import dataclass, field
from typing import Any

from firmware_bridge.log_tables import NO_TIME, Text

_NUMBERS = {
    "int8_t": "<b", "uint8_t": "<B", "int16_t": "<h", "uint16_t": "<H", "int32_t": "<i", "uint32_t": "<I",
    "int64_t": "<q", "uint64_t": "<Q", "float": "<f", "double": "<d", "bool": "<?", "char": "<c",
}  # fmt: skip
_NUMBERS_READ = {kind: struct.Struct(code) for kind, code in _NUMBERS.items()}
_PARAMETERS = {b"int32_t": struct.Struct("<i"), b"float": struct.Struct("<f")}
_KEY = re.compile(rb"([A-Za-z_]\w*(?:\[\d+\])?) (\S+)")
_LATEST_US = 1 << 62
_MOST_INFO_BYTES = 8 << 20

Pair = tuple[str, str, Any]


def pair(body: bytes, at: int = 0) -> Pair | None:
    """(type, key, value) of an I, P, M or Q message whose key begins at `at`; None where it is damaged. A char array
    is a str, a number a number, anything else its bytes."""
    end = at + 1 + body[at]
    match = _KEY.fullmatch(body, at + 1, end) if end <= len(body) else None
    if not match:
        return None
    kind, key = match[1].decode("utf-8", "replace"), match[2].decode("utf-8", "replace")
    if kind.startswith("char["):
        return kind, key, body[end:].decode("utf-8", "ignore")
    if kind in _NUMBERS_READ:
        number = _NUMBERS_READ[kind]
        return (kind, key, number.unpack_from(body, end)[0]) if len(body) - end == number.size else None
    return kind, key, body[end:]


def parameter(body: bytes, at: int = 0) -> tuple[str, float] | None:
    """(name, value) of a P or Q message whose key begins at `at`; None where it is damaged."""
    end = at + 1 + body[at]
    kind, _, name = body[at + 1 : end].partition(b" ")
    number = _PARAMETERS.get(kind)
    if number is None or len(body) - end != number.size or not name or b" " in name:
        return None
    return name.decode("utf-8", "replace"), float(number.unpack_from(body, end)[0])


def text(body: bytes, at: int, is_tagged: bool) -> Text | None:
    """A logged message; its tag (the process that said it) is not kept. None where it is damaged."""
    head = 3 if is_tagged else 1
    level = body[0] - ord("0")
    time_us = int.from_bytes(body[head : head + 8], "little")
    words = body[head + 8 :].decode("utf-8", "ignore")
    return Text(time_us if time_us < _LATEST_US else NO_TIME, level, words, at) if 0 <= level <= 7 else None


@dataclass(slots=True, eq=False)
class Facts:
    """Facts told in several messages: key -> list of values, each a list of its pieces, as pyulog has them."""

    multiple: dict[str, list[list[Any]]] = field(default_factory=dict)
    _bytes: int = 0

    def add(self, body: bytes) -> tuple[str, list[list[Any]]] | None:
        """Takes an M message; its key and all of its values so far. None where it is damaged or too much."""
        found = pair(body, 1)
        self._bytes += len(body)
        if not found or self._bytes > _MOST_INFO_BYTES:
            return None
        values = self.multiple.setdefault(found[1], [])
        if body[0] and values:
            values[-1].append(found[2])
        else:
            values.append([found[2]])
        return found[1], values

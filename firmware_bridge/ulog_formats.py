"""What a ULog says of its topics: formats, nested and padded, and which topic each message id stands for."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KINDS: dict[str, np.dtype[Any]] = {
    "int8_t": np.dtype("i1"), "uint8_t": np.dtype("u1"), "int16_t": np.dtype("<i2"), "uint16_t": np.dtype("<u2"),
    "int32_t": np.dtype("<i4"), "uint32_t": np.dtype("<u4"), "int64_t": np.dtype("<i8"), "uint64_t": np.dtype("<u8"),
    "float": np.dtype("<f4"), "double": np.dtype("<f8"), "bool": np.dtype("i1"), "char": np.dtype("S1"),
}  # fmt: skip
_FIELD = re.compile(r"([A-Za-z_]\w*)(?:\[(\d{1,5})\])? ([A-Za-z_]\w*)")
_PADDING = "_padding"
_DEEPEST = 8
_MOST_BYTES = 65535
_MOST_FIELDS = 16_384
_MOST_FORMATS = 4_096
_MOST_TOPICS = 65_536

FormatField = tuple[str, int | None, str]
"""(type, elements (None: no array), name)."""


def parse_format(body: bytes) -> tuple[str, list[FormatField]] | None:
    """`name:type field;type[n] field;...` of an F message; None where it is damaged."""
    name, colon, words = body.decode("utf-8", "replace").partition(":")
    fields: list[FormatField] = []
    for word in filter(None, words.split(";")):
        match = _FIELD.fullmatch(word)
        if not match:
            return None
        fields.append((match[1], int(match[2]) if match[2] else None, match[3]))
    return (name, fields) if colon and name and fields else None


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's instance as subscribed. dtype: None where its format is missing or damaged. least, most: bytes of its
    data messages' bodies (the id included), without and with padding at the end."""

    name: str
    instance: int
    dtype: np.dtype[np.void] | None
    least: int = 0
    most: int = -1

    @property
    def has_time(self) -> bool:
        """Whether its messages carry a timestamp that can be read."""
        return (
            self.dtype is not None and "timestamp" in (self.dtype.names or ()) and self.dtype["timestamp"].kind in "iu"
        )


@dataclass(slots=True, eq=False)
class Topics:
    """Formats and subscriptions so far. which [65536]: message id -> index in `all`, -1 before its subscription; least,
    most [65536]: bytes of its body; since [65536]: where in the log it was subscribed."""

    formats: dict[str, list[FormatField]] = field(default_factory=dict)
    all: list[Topic] = field(default_factory=list)
    which: NDArray[np.int64] = field(default_factory=lambda: np.full(65536, -1, np.int64))
    least: NDArray[np.int64] = field(default_factory=lambda: np.zeros(65536, np.int64))
    most: NDArray[np.int64] = field(default_factory=lambda: np.full(65536, -1, np.int64))
    since: NDArray[np.int64] = field(default_factory=lambda: np.zeros(65536, np.int64))
    _dtypes: dict[str, tuple[np.dtype[np.void] | None, int]] = field(default_factory=dict)
    _index: dict[Topic, int] = field(default_factory=dict)

    def copy(self) -> "Topics":
        """As it is now, whatever this one takes in."""
        arrays = (self.which.copy(), self.least.copy(), self.most.copy(), self.since.copy())
        return Topics(dict(self.formats), list(self.all), *arrays, dict(self._dtypes), dict(self._index))

    def define(self, body: bytes) -> bool:
        """Takes an F message; False where it cannot be read."""
        parsed = parse_format(body)
        if parsed is None or len(self.formats) >= _MOST_FORMATS:
            return False
        if self.formats.get(parsed[0]) != parsed[1]:
            self.formats[parsed[0]] = parsed[1]
            self._dtypes.clear()
        return True

    def is_known(self, body: bytes) -> bool:
        """Whether an A message subscribes an id that stands for another topic already."""
        index = int(self.which[body[1] | body[2] << 8])
        return index >= 0 and (self.all[index].name, self.all[index].instance) != _subscribed(body)

    def subscribe(self, body: bytes, at: int) -> bool:
        """Takes an A message that stands at `at`; False where its topic's format is missing or damaged."""
        msg_id = body[1] | body[2] << 8
        name, instance = _subscribed(body)
        dtype, whole = self._dtype(name)
        topic = Topic(name, instance, dtype, 2 + dtype.itemsize, 2 + whole) if dtype else Topic(name, instance, None)
        index = self._index.setdefault(topic, len(self.all))
        if int(self.which[msg_id]) == index:
            return dtype is not None
        if index >= _MOST_TOPICS:
            return False
        if index == len(self.all):
            self.all.append(topic)
        self.which[msg_id], self.since[msg_id] = index, at
        self.least[msg_id], self.most[msg_id] = topic.least, topic.most
        return dtype is not None

    def is_sound(self, msg_id: int, size: int) -> bool:
        """Whether a data message of this id can have a body of `size` bytes."""
        return bool(self.least[msg_id] <= size <= self.most[msg_id])

    def _dtype(self, name: str) -> tuple[np.dtype[np.void] | None, int]:
        if name not in self._dtypes:
            self._dtypes[name] = _layout(name, self.formats)
        return self._dtypes[name]


def _subscribed(body: bytes) -> tuple[str, int]:
    return body[3:].decode("utf-8", "replace"), body[0]


def _layout(name: str, formats: dict[str, list[FormatField]]) -> tuple[np.dtype[np.void] | None, int]:
    """(dtype of a topic's rows without padding at the end, bytes with it); (None, 0) where it cannot be read."""
    flat: list[tuple[str, np.dtype[Any], int]] = []
    try:
        whole = _flatten("", name, formats, flat, 0, 0)
        while flat and flat[-1][0].startswith(_PADDING):
            flat.pop()
        end = flat[-1][2] + flat[-1][1].itemsize if flat else 0
        kept = [f for f in flat if not f[0].rpartition(".")[2].startswith(_PADDING)]
        names, kinds, offsets = [f[0] for f in kept], [f[1] for f in kept], [f[2] for f in kept]
        if not kept:
            return None, 0
        return np.dtype({"names": names, "formats": kinds, "offsets": offsets, "itemsize": end}), whole
    except (KeyError, ValueError):
        return None, 0


def _flatten(
    prefix: str, name: str, formats: dict[str, list[FormatField]], out: list[tuple[str, np.dtype[Any], int]],
    offset: int, depth: int,
) -> int:  # fmt: skip
    """Adds the fields of a type from `offset` on; the end. KeyError: unknown; ValueError: no such type can be."""
    if depth > _DEEPEST:
        raise ValueError("types nest too deeply")
    for kind, count, field_name in formats[name]:
        basic = _KINDS.get(kind)
        if basic is not None:
            dtype = _array(basic, count)
            out.append((prefix + field_name, dtype, offset))
            offset += dtype.itemsize
        else:
            for i in _elements(count):
                label = f"{prefix}{field_name}." if count is None else f"{prefix}{field_name}[{i}]."
                offset = _flatten(label, kind, formats, out, offset, depth + 1)
        if offset > _MOST_BYTES or len(out) > _MOST_FIELDS:
            raise ValueError("the type is larger than a message")
    return offset


def _array(dtype: np.dtype[Any], count: int | None) -> np.dtype[Any]:
    if count is None:
        return dtype
    return np.dtype(f"S{len(_elements(count))}") if dtype.kind == "S" else np.dtype((dtype, (len(_elements(count)),)))


def _elements(count: int | None) -> range:
    if count is None:
        return range(1)
    if not 1 <= count <= _MOST_BYTES:  # of nothing at all there could be any number
        raise ValueError("no array is of this size")
    return range(count)

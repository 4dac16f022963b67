"""Records of a ULog: data messages by subscription, as its own format messages lay them out.

Nothing here has to be right for the log to come back whole: what is not understood stays raw.
"""

import re

import numpy as np

from firmware_bridge.log_packing.records import Records, Run, Shape, Slot, of_kinds, runs_of
from firmware_bridge.ulog_scan import DATA, FILE_HEADER, HEADER, MAGIC, scan

_WIDTH = {
    "int8_t": 1, "uint8_t": 1, "bool": 1, "char": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4,
    "float": 4, "int64_t": 8, "uint64_t": 8, "double": 8,
}  # fmt: skip
_FIELD = re.compile(r"(\w+)(?:\[(\d{1,5})\])? \w+")
_HEAD = (Run(2, is_fixed=True), Run(1, is_fixed=True), Run(2, is_fixed=True))
"""Size, type and message id: the same in all data messages of a slot."""
_LEAST = 4
_ODD = 1 << 16
"""The kind of messages of another size than the first of their id: they stay raw."""
_LONGEST = HEADER + 65535
_MOST_FIELDS = 2000
_DEEPEST = 8
_SERIES = 16
"""From so many entries on an array of 2-byte integers is a series of samples, not so many fields."""


class ULogSplitter:
    """See the module."""

    def __init__(self) -> None:
        self._formats: dict[str, str] = {}
        self._format_of: dict[int, str] = {}
        self._shapes: dict[str, list[Shape]] = {}
        self._slots: dict[tuple[int, int], Slot] = {}
        """By message id and size of the body."""

    def split(self, data: bytes, is_last: bool) -> Records:
        """See records.Splitter."""
        found = scan(data, FILE_HEADER if data.startswith(MAGIC) else 0)
        for at, size, kind in zip(
            *(x[found.kind != DATA].tolist() for x in (found.at, found.size, found.kind)), strict=True
        ):
            self._learn(kind, data[at + HEADER : at + HEADER + size])
        is_data = found.kind == DATA
        starts, size, kind = found.at[is_data], found.size[is_data], found.msg_id[is_data]
        ids, first, which = np.unique(kind, return_index=True, return_inverse=True)
        slots = {i: self._slot(i, s) for i, s in zip(ids.tolist(), size[first].tolist(), strict=True)}
        kind = np.where(size == size[first][which], kind, _ODD)
        end = len(data) if is_last else max(found.end, len(data) - _LONGEST)
        return of_kinds(starts, kind, slots, _LEAST, end)

    def _learn(self, kind: int, body: bytes) -> None:
        if kind == ord("F"):
            name, _, fields = body.decode("latin-1").partition(":")
            self._formats[name] = fields
            self._shapes.clear()
            self._slots.clear()
        elif kind == ord("A") and len(body) >= 3:
            self._format_of[body[1] | body[2] << 8] = body[3:].decode("latin-1")
            self._slots.clear()

    def _slot(self, msg_id: int, size: int) -> Slot:
        if (msg_id, size) not in self._slots:
            shapes = self._fields(self._format_of.get(msg_id, ""), 0)
            self._slots[msg_id, size] = slot_of(shapes, size)
        return self._slots[msg_id, size]

    def _fields(self, name: str, depth: int) -> list[Shape]:
        """(width, repeat) of the fields of a format, one after the other, as far as they are understood."""
        if name in self._shapes or depth > _DEEPEST:
            return self._shapes.get(name, [])
        self._shapes[name] = []  # so that a format within itself ends
        out: list[Shape] = []
        for text in self._formats.get(name, "").split(";"):
            match = _FIELD.fullmatch(text)
            if match is None or len(out) > _MOST_FIELDS:
                break
            kind, count = match[1], int(match[2] or 1)
            if kind in _WIDTH:
                out += _array(kind, count)
            else:
                out += self._fields(kind, depth + 1) * min(count, _MOST_FIELDS)
        self._shapes[name] = out[:_MOST_FIELDS]
        return self._shapes[name]


def _array(kind: str, count: int) -> list[Shape]:
    width = _WIDTH[kind]
    if kind == "char" or (width == 2 and count >= _SERIES) or count > _MOST_FIELDS:
        return [(width, count)]
    return [(width, 1)] * count


def slot_of(shapes: list[Shape], size: int) -> Slot:
    """A data message of `size` bytes: its head, the fields as far as they fit, the rest as bytes."""
    return Slot((*_HEAD, *runs_of(shapes, size - 2)))

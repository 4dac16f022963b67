"""Layouts of MAVLink messages: the frozen table `layouts_v1.json`, part of the wire contract (docs/wire.md).

Dialects ardupilotmega and common; payload offsets in wire order, little-endian, extensions last.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

VERSION = 1
_WIDTHS = {"S": 1, "u1": 1, "i1": 1, "u2": 2, "i2": 2, "u4": 4, "i4": 4, "f4": 4, "u8": 8, "i8": 8, "f8": 8}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a payload. kind: numpy code (`S` for char); count: elements (1 for a scalar); offset in bytes."""

    name: str
    kind: str
    count: int
    offset: int
    is_array: bool

    @property
    def width(self) -> int:
        """Bytes per element."""
        return _WIDTHS[self.kind]


@dataclass(frozen=True)
class Layout:
    """A message type. size: payload bytes with extensions; min_size: without (what MAVLink 1 sends)."""

    msgid: int
    name: str
    crc_extra: int
    size: int
    min_size: int
    fields: tuple[Field, ...]

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """Packed little-endian structured dtype of `size` bytes, field names in wire order; char arrays are `S`."""
        return np.dtype([_dtype_item(f) for f in self.fields])


def _dtype_item(field: Field) -> Any:
    if field.kind == "S":
        return (field.name, f"S{field.count}")
    return (field.name, f"<{field.kind}", (field.count,)) if field.is_array else (field.name, f"<{field.kind}")


def _read(msgid: str, row: list[Any]) -> Layout:
    name, crc_extra, size, min_size, fields = row
    return Layout(
        int(msgid), name, crc_extra, size, min_size,
        tuple(Field(f, kind, max(1, count), offset, count > 0) for f, kind, count, offset in fields),
    )  # fmt: skip


def _load() -> Mapping[int, Layout]:
    table = json.loads(Path(__file__).with_name("layouts_v1.json").read_text())
    return MappingProxyType({int(k): _read(k, row) for k, row in table["messages"].items()})


LAYOUTS: Mapping[int, Layout] = _load()
"""Message id -> layout."""

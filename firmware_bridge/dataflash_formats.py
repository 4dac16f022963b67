"""DataFlash formats: what FMT messages say of each message type, and what FMTU, UNIT and MULT say of its fields.

A message is A3 95, the type, then its fields packed little-endian as the type's FMT says; no checksum. FMT describes
itself (type 128, 89 bytes). Source: ArduPilot, libraries/AP_Logger (LogStructure.h, README.md).
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\xa3\x95"
FMT_TYPE, FMT_SIZE = 128, 89
HEAD_BYTES = 3

FIELD: dict[str, Any] = {
    "a": ("<i2", (32,)),
    "b": "i1",
    "B": "u1",
    "g": "<f2",
    "h": "<i2",
    "H": "<u2",
    "i": "<i4",
    "I": "<u4",
    "f": "<f4",
    "d": "<f8",
    "n": "S4",
    "N": "S16",
    "Z": "S64",
    "c": "<i2",
    "C": "<u2",
    "e": "<i4",
    "E": "<u4",
    "L": "<i4",
    "M": "u1",
    "q": "<i8",
    "Q": "<u8",
}
"""numpy's type of each format character."""
GAIN = {"c": 0.01, "C": 0.01, "e": 0.01, "E": 0.01, "L": 1e-7}
"""The scalings that a format character implies: hundredths, and degrees of latitude and longitude in 1e-7."""
PREFIX = {0.0: "", 1.0: "", 1e-1: "d", 1e-2: "c", 1e-3: "m", 1e-6: "µ", 1e-9: "n"}
_FMT = np.dtype([("type", "u1"), ("size", "u1"), ("name", "S4"), ("chars", "S16"), ("columns", "S64")])


@dataclass(frozen=True)
class Format:
    """One FMT. size: of a whole message, head included. chars: one format character for each of `columns`."""

    type: int
    size: int
    name: str
    chars: str
    columns: tuple[str, ...]

    @cached_property
    def described_size(self) -> int:
        """Size of a message as its format characters tell it; 0 when one of them is unknown."""
        if not all(c in FIELD for c in self.chars):
            return 0
        return HEAD_BYTES + sum(int(np.dtype(FIELD[c]).itemsize) for c in self.chars)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The fields after the head, as far as they fit the size and their characters are known."""
        names, types, offsets, offset = [], [], [], 0
        for char, name in zip(self.chars, self.columns, strict=False):
            if char not in FIELD:
                break
            field_type = np.dtype(FIELD[char])
            if offset + field_type.itemsize > self.size - HEAD_BYTES:
                break
            if name and name not in names:
                names.append(name)
                types.append(field_type)
                offsets.append(offset)
            offset += field_type.itemsize
        return np.dtype({"names": names, "formats": types, "offsets": offsets, "itemsize": self.size - HEAD_BYTES})

    @cached_property
    def gain(self) -> dict[str, float]:
        """The implied scalings of fields."""
        return {n: GAIN[c] for c, n in zip(self.chars, self.columns, strict=False) if c in GAIN}


FMT = Format(FMT_TYPE, FMT_SIZE, "FMT", "BBnNZ", ("Type", "Length", "Name", "Format", "Columns"))


def words(raw: bytes) -> str:
    """Text up to the first NUL; UTF-8, or Latin-1 where it is not that."""
    raw = raw.split(b"\0", 1)[0]
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def parse_fmt(body: bytes) -> Format | None:
    """The format that the body (86 bytes) of an FMT message defines; None when it cannot be one."""
    row = np.frombuffer(body, _FMT, 1)[0]
    name = words(body[2:6])
    is_name = bool(name) and name.isascii() and name.isprintable()
    if not is_name or row["size"] < HEAD_BYTES:
        return None
    columns = words(body[22:86])
    return Format(int(row["type"]), int(row["size"]), name, words(body[6:22]), tuple(columns.split(",")))


def repaired_fmt(raw: bytes, data: bytes) -> Format | None:
    """The format of an FMT body that a conversion of line ends changed: an LF grew to CR LF, or one byte is gone.

    Only type and length can hold such bytes. data: the bytes around; which byte was taken out is the one they lack.
    """
    gone = [byte for byte in (b"\n", b"\r") if byte not in data]
    bodies = [raw.replace(b"\r\n", b"\n"), *(raw[:at] + byte + raw[at:] for byte in gone for at in (0, 1))]
    found = [parse_fmt(body) for body in bodies if len(body) == FMT_SIZE - HEAD_BYTES]
    return next((f for f in found if f and f.size == f.described_size), None)


@dataclass
class Formats:
    """The formats in force at one place of a log, by type; and the units of their fields.

    sizes int64 [256]: size of a message of each type, 0 for a type that no FMT has defined yet.
    """

    by_type: dict[int, Format] = field(default_factory=lambda: {FMT_TYPE: FMT})
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    _unit_ids: dict[int, tuple[str, str]] = field(default_factory=dict)
    _labels: dict[str, str] = field(default_factory=dict)
    _multipliers: dict[str, float] = field(default_factory=dict)
    _units: dict[Format, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for format_ in self.by_type.values():
            self.sizes[format_.type] = format_.size

    def define(self, format_: Format) -> None:
        """Puts a format in force."""
        self.by_type[format_.type] = format_
        self.sizes[format_.type] = format_.size

    def copy(self) -> "Formats":
        """The same formats, to be changed on their own."""
        copied = Formats(dict(self.by_type))
        copied._unit_ids, copied._labels = dict(self._unit_ids), dict(self._labels)
        copied._multipliers = dict(self._multipliers)
        return copied

    def add(self, other: "Formats") -> None:
        """Puts formats in force for the types that have none yet."""
        for format_ in other.by_type.values():
            if format_.type not in self.by_type:
                self.define(format_)

    def set_units(self, type_: int, units: str, multipliers: str) -> None:
        """What an FMTU says of the fields of a type: a unit's and a multiplier's letter for each."""
        self._unit_ids[type_] = units, multipliers
        self._units.clear()

    def set_label(self, letter: str, label: str) -> None:
        """What a UNIT says."""
        self._labels[letter] = label
        self._units.clear()

    def set_multiplier(self, letter: str, factor: float) -> None:
        """What a MULT says; rounded, because single-precision values were logged as doubles."""
        self._multipliers[letter] = float(f"{factor:.7g}")
        self._units.clear()

    def instance_field(self, format_: Format) -> str | None:
        """The field that tells instances of the type apart (FMTU's '#'), if it holds whole numbers."""
        index = self._unit_ids.get(format_.type, ("", ""))[0].find("#")
        name = format_.columns[index] if 0 <= index < len(format_.columns) else ""
        is_field = name in (format_.dtype.names or ())
        return name if is_field and format_.dtype[name].kind in "iu" else None

    def units(self, format_: Format) -> dict[str, str]:
        """The unit of each field that has one, its multiplier as a prefix ("cm/s"), as pymavlink names it."""
        if format_ not in self._units:
            self._units[format_] = self._find_units(format_)
        return self._units[format_]

    def _find_units(self, format_: Format) -> dict[str, str]:
        units, multipliers = self._unit_ids.get(format_.type, ("", ""))
        scaled = {name for char, name in zip(format_.chars, format_.columns, strict=False) if char in GAIN}
        out = {}
        for at, (name, unit) in enumerate(zip(format_.columns, units, strict=False)):
            label = self._labels.get(unit, "")
            factor = self._multipliers.get(multipliers[at : at + 1])
            if label and factor is not None and name not in scaled:
                label = PREFIX[factor] + label if factor in PREFIX else f"{factor:.4g} {label}"
            if label:
                out[name] = label
        return out

"""The lines of a text DataFlash log, found and parsed by columns: `NAME, value, value, ...`, one message a line.

Lines of one type are joined and read in one go; only where that fails is a line looked at alone, so that one bad line
costs itself and no other.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.dataflash_formats import GAIN, Format, words
from firmware_bridge.dataflash_tables import distinct

STRINGS = {"n": 4, "N": 16, "Z": 64, "M": 16, "a": 256}
"""Format characters that are words in a text log: M is a mode's name or its number."""
FLOATS = "fdg" + "".join(GAIN)
EXACT = 2.0**53
"""Above, a double holds no longer every whole number."""
POWERS = np.array([10.0**n for n in range(23)])
"""Powers of ten that a double holds exactly."""


@dataclass(frozen=True)
class TextFormat(Format):
    """A format whose values stand as text, scaled already: numbers with a fraction are float64, whole ones int64."""

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """See Format; characters that are not known are words."""
        names = [name for name in self.columns[: len(self.chars)] if name]
        named = {name: self.column_type(self.chars[self.columns.index(name)]) for name in names}
        return np.dtype(list(named.items()))

    @cached_property
    def gain(self) -> dict[str, float]:
        """Nothing is left to scale."""
        return {}

    @staticmethod
    def column_type(char: str) -> str:
        """numpy's type of a format character in a text log."""
        if char in FLOATS:
            return "f8"
        return f"S{STRINGS.get(char, 64)}" if char in STRINGS or char not in "bBhHiIqQ" else "i8"


FMT_TEXT = TextFormat(128, 89, "FMT", "BBnNZ", ("Type", "Length", "Name", "Format", "Columns"))


def parse_fmt_line(body: bytes) -> TextFormat | None:
    """What an FMT line (without its `FMT,`) defines; None when it cannot define anything."""
    tokens = [words(token.strip()) for token in body.split(b",", 4)]
    if len(tokens) < 4 or not tokens[0].isdecimal() or not tokens[1].isdecimal():
        return None
    name, chars = tokens[2], tokens[3]
    if not name or len(name) > 8 or not name.isascii() or not name.isprintable() or len(chars) > 16:
        return None
    if name == "FMT":
        return FMT_TEXT
    columns = tuple(column.strip() for column in tokens[4].split(",")) if len(tokens) > 4 else ()
    return TextFormat(int(tokens[0][:3]) & 255, int(tokens[1][:3]) & 255, name, chars, columns)


class Lines:
    """The lines of a block that are not blank. starts, ends int64 [n]: without the line break; next int64 [n]: where
    the next one begins; commas int64 [n]: how many; body int64 [n]: where the text behind the first comma begins.
    names: the different names that lines begin with, b"" for one of more than 8 bytes; named int64 [n]: which."""

    def __init__(self, block: bytes) -> None:
        self.block = block
        buf = np.frombuffer(block, np.uint8)
        breaks = np.flatnonzero((buf == 10) | (buf == 13))
        starts, ends = np.concatenate([[0], breaks + 1]), np.concatenate([breaks, [len(buf)]])
        which = ends > starts
        self.starts, self.ends = starts[which], ends[which]
        self.next = np.concatenate([self.starts[1:], [len(buf)]]) if len(self.starts) else self.starts
        commas = np.flatnonzero(buf == 44)
        first, last = np.searchsorted(commas, self.starts), np.searchsorted(commas, self.ends)
        self.commas = last - first
        name_end = np.where(self.commas > 0, np.concatenate([commas, [0]])[first], self.ends)
        self.body = np.minimum(name_end + 1, self.ends)
        self.names, self.named = self._names(name_end - self.starts)

    def __len__(self) -> int:
        return len(self.starts)

    def _names(self, lengths: NDArray[np.int64]) -> tuple[list[bytes], NDArray[np.int64]]:
        padded = self.block + bytes(8)
        words8: NDArray[np.uint64] = np.ndarray((len(self.block) + 1,), "<u8", padded, 0, (1,))
        masks = np.array([(1 << 8 * n) - 1 for n in range(9)] + [0], np.uint64)
        keyed = words8[self.starts] & masks[np.minimum(lengths, 9)]
        keys = distinct(keyed)
        names = [int(key).to_bytes(8, "little").rstrip(b"\0").removeprefix(b"\xef\xbb\xbf") for key in keys]
        return names, np.searchsorted(keys, keyed)

    def bodies(self, which: NDArray[np.int64]) -> list[bytes]:
        """The text behind the first comma of some lines."""
        block = self.block
        return [block[a:b] for a, b in zip(self.body[which].tolist(), self.ends[which].tolist(), strict=True)]


def parse(
    bodies: list[bytes], commas: NDArray[np.int64], format_: TextFormat
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Lines of one format as rows, and which of the lines could be read (the rows of the others hold nothing).

    commas: how many each line has, that behind the name included.
    """
    size = len(format_.chars)
    rows = np.zeros(len(bodies), format_.dtype)
    good = commas == size if size else commas <= 1
    regular = bodies if good.all() else [body for body, is_good in zip(bodies, good, strict=True) if is_good]
    if size and regular:
        columns = _columns(regular, format_)
        if columns is None:
            good[:] = False
        which = slice(None) if len(regular) == len(bodies) else good
        for name, values in (columns or {}).items():
            rows[name][which] = values
    for index in np.flatnonzero(~good & (commas >= size)).tolist():
        row = _parse_alone(bodies[index], format_)
        if row is not None:
            rows[index], good[index] = row, True
    return rows, good


def _named(format_: TextFormat) -> list[tuple[int, str, str]]:
    """Place, name and character of each field."""
    places = ((format_.columns.index(name), name) for name in format_.dtype.names or ())
    return [(place, name, format_.chars[place]) for place, name in places]


def _columns(bodies: list[bytes], format_: TextFormat) -> dict[str, NDArray[Any]] | None:
    """Regular lines as columns; None when one of them holds what cannot be read."""
    joined, size = b",".join(bodies), len(format_.chars)
    try:
        if any(kind.kind == "S" for kind, *_ in (format_.dtype.fields or {}).values()):
            tokens = joined.split(b",")
            columns = {n: _column(tokens[i::size], format_.dtype[n]) for i, n, _ in _named(format_)}
        else:
            values = numbers(joined).reshape(-1, size)
            columns = {n: values[:, i] for i, n, _ in _named(format_)}
    except ValueError:
        return None
    whole = [values for name, values in columns.items() if format_.dtype[name].kind == "i"]
    is_exact = all(bool(((np.abs(values) < EXACT) & (values == np.rint(values))).all()) for values in whole)
    return columns if is_exact and all(len(v) == len(bodies) for v in columns.values()) else None


def _column(tokens: list[bytes], kind: np.dtype[Any]) -> NDArray[Any]:
    if kind.kind == "S":
        return np.array([token.strip() for token in tokens], kind)
    return np.array([float(token) for token in tokens])


def numbers(joined: bytes) -> NDArray[np.float64]:
    """Decimal numbers between commas, float64 [n], each the double nearest to what is written. ValueError: not numbers.

    Digits are read as whole numbers and divided by their power of ten, which is exact for fewer than 16 digits and
    three times as fast as reading them as fractions; what does not go that way (nan, exponents) is read plainly.
    """
    if b",," in joined or b" ," in joined or b"\t" in joined or joined[-1:] in (b",", b" "):
        raise ValueError("an empty field")  # numpy would take it for a number
    try:
        whole = np.fromstring(joined.replace(b".", b""), np.int64, sep=",")
    except ValueError:
        return np.fromstring(joined, sep=",")
    values = whole.astype(np.float64)
    buf = np.frombuffer(joined, np.uint8)
    dots, ends = np.flatnonzero(buf == ord(".")), np.append(np.flatnonzero(buf == ord(",")), len(buf))
    token = np.searchsorted(ends, dots)
    places = ends[token] - dots - 1
    if (token[1:] == token[:-1]).any() or places.max(initial=0) >= len(POWERS) or (np.abs(values) >= EXACT).any():
        return np.fromstring(joined, sep=",")
    values[token] /= POWERS[places]
    return values


def _parse_alone(body: bytes, format_: TextFormat) -> tuple[Any, ...] | None:
    """One line; what is too much is left out, or belongs to the last field where that is words.

    A fraction that cannot be read is nan, unless half of the fields are; a whole number must be one.
    """
    size = len(format_.chars)
    tokens = body.split(b",", size - 1) if format_.chars[-1:] in STRINGS else body.split(b",")
    try:
        row = [_value(tokens[place].strip(), format_.dtype[name]) for place, name, _ in _named(format_)]
    except (ValueError, IndexError):
        return None
    unread = sum(value is None for value in row)
    return tuple(np.nan if value is None else value for value in row) if 2 * unread < len(row) else None


def _value(token: bytes, kind: np.dtype[Any]) -> bytes | float | int | None:
    if kind.kind == "S":
        return token
    if kind.kind == "f":
        try:
            return float(token)
        except ValueError:
            return None
    value = int(token)
    if not -(2**63) <= value < 2**63:
        raise ValueError(value)
    return value

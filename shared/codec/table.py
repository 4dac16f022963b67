"""The layouts as arrays, so that the columns of many groups are found in a few numpy calls.

An element is one number of a payload: a scalar field or one entry of an array field. Char arrays, and arrays of 16 or
more bytes, are text: kept row by row, not as columns. The pseudo-layout UNKNOWN has 255 one-byte elements.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec.pairs import PAIRS, SLOTS
from shared.layouts import LAYOUTS, Field, Layout

Ints = NDArray[np.int64]

UNKNOWN = -1
"""Index of a message that has no layout (the arrays below have an entry for it, their last)."""
TEXT_FROM = 16
INTEGER, FLOAT = 0, 1
NO_CLOCK, CLOCK_MS, CLOCK_US = 0, 1, 2

_IDS = np.array(sorted(LAYOUTS), np.int64)
_LAYOUTS = [LAYOUTS[int(i)] for i in _IDS]


def is_text(field: Field) -> bool:
    """Whether a field is kept as text."""
    return field.kind == "S" or (field.width == 1 and field.count >= TEXT_FROM)


def clock_of(field: Field) -> int:
    """Whether a field is the sender's clock, and in which unit."""
    if field.name == "time_boot_ms" and field.kind == "u4":
        return CLOCK_MS
    return CLOCK_US if field.name == "time_usec" and field.kind in ("u4", "u8") else NO_CLOCK


@dataclass(frozen=True, slots=True, eq=False)
class Elements:
    """All elements of all layouts. start, count: per layout. The rest per element.

    clock: NO_CLOCK, CLOCK_MS or CLOCK_US. is_signed: two's complement. pair_msgid, pair_element, pair_scale:
    [elements, SLOTS], what may predict it (docs/wire.md); msgid -1 where nothing does.
    """

    start: Ints
    count: Ints
    offset: Ints
    width: Ints
    kind: Ints
    clock: Ints
    is_signed: NDArray[np.bool_]
    pair_msgid: Ints
    pair_element: Ints
    pair_scale: NDArray[np.float64]


def _elements() -> Elements:
    rows: list[tuple[int, int, int, int, bool]] = []
    start: list[int] = []
    counts: list[int] = []
    at: dict[tuple[str, str, int], tuple[int, int]] = {}
    for layout in _LAYOUTS:
        start.append(len(rows))
        for f in layout.fields:
            for e in range(0 if is_text(f) else f.count):
                at[layout.name, f.name, e] = (layout.msgid, len(rows) - start[-1])
                number = FLOAT if f.kind == "f4" else INTEGER
                rows.append((f.offset + e * f.width, f.width, number, clock_of(f), f.kind[0] != "u"))
        counts.append(len(rows) - start[-1])
    start.append(len(rows))
    rows += [(i, 1, INTEGER, NO_CLOCK, False) for i in range(255)]
    offset, widths, kind, clock, signed = (np.array(c, np.int64) for c in zip(*rows, strict=True))
    n = len(rows)
    found = Elements(
        np.array(start), np.array([*counts, 0]), offset, widths, kind, clock, signed > 0,
        np.full((n, SLOTS), -1), np.zeros((n, SLOTS), np.int64), np.zeros((n, SLOTS)),
    )  # fmt: skip
    index = {layout.name: i for i, layout in enumerate(_LAYOUTS)}
    for (message, field), sources in PAIRS.items():
        element = found.start[index[message]] + at[message, field, 0][1]
        for slot, (ref_message, ref_field, scale) in enumerate(sources):
            found.pair_msgid[element, slot], found.pair_element[element, slot] = at[ref_message, ref_field, 0]
            found.pair_scale[element, slot] = scale
    return found


def _texts(layout: Layout) -> list[tuple[int, int]]:
    return [(f.offset, f.count) for f in layout.fields if is_text(f)]


ELEMENTS = _elements()
CRC_EXTRA = np.array([x.crc_extra for x in _LAYOUTS] + [0], np.uint8)
KNOWN = np.array([True] * len(_LAYOUTS) + [False])
SIZE = np.array([x.size for x in _LAYOUTS] + [0], np.int64)
MIN_SIZE = np.array([x.min_size for x in _LAYOUTS] + [0], np.int64)
TEXTS: tuple[list[tuple[int, int]], ...] = (*(_texts(x) for x in _LAYOUTS), [])
"""Per layout: (offset, length) of its text fields."""
HAS_TEXT = np.array([bool(x) for x in TEXTS])


def layout_index(msgid: Ints) -> Ints:
    """Position of each message id in the arrays of this module, UNKNOWN where it has no layout."""
    at = np.minimum(_IDS.searchsorted(msgid), len(_IDS) - 1)
    return np.where(_IDS[at] == msgid, at, UNKNOWN)

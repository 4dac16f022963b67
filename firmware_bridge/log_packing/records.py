"""Records of one size and one make: what a log is cut into before its fields become columns.

A *slot* is one kind of record in a segment (a DataFlash message of one instance, a ULog subscription); all its records
have one size and one list of fields. What no slot covers stays as raw bytes between the records.
"""

from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Rows = NDArray[np.uint8]
"""Records of one slot, one per row."""
Shape = tuple[int, int]
"""(width, repeat) of a field."""
WIDTHS = (1, 2, 4, 8)
MAX_COLUMNS = 16_384
"""Of a segment."""


@dataclass(frozen=True, slots=True)
class Run:
    """`count` fields side by side, each of `repeat` little-endian values of `width` bytes, each one column.

    is_fixed: known to be the same in all records of the slot.
    """

    width: int
    count: int = 1
    repeat: int = 1
    is_fixed: bool = False

    @property
    def size(self) -> int:
        return self.width * self.count * self.repeat


@dataclass(slots=True, eq=False)
class Slot:
    """One kind of record: its runs cover it without a hole. at: per width, the runs with their offsets."""

    runs: tuple[Run, ...]
    size: int = 0
    columns: int = 0
    at: dict[int, list[tuple[int, Run]]] = field(default_factory=lambda: {w: [] for w in WIDTHS})

    def __post_init__(self) -> None:
        for run in self.runs:
            self.at[run.width].append((self.size, run))
            self.size += run.size
            self.columns += run.count


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Where the records of a segment begin (ascending, none overlaps the next) and of which slot each is.

    end: bytes of the buffer that this speaks of; what follows belongs to the next segment.
    """

    starts: Ints
    slot: NDArray[np.intp]
    slots: list[Slot]
    end: int


def runs_of(shapes: list[Shape], size: int) -> list[Run]:
    """Runs that cover `size` bytes: fields as far as they fit, the rest as bytes of one column."""
    left = size
    runs: list[Run] = []
    for (width, repeat), same in groupby(shapes):
        wanted = len(list(same))
        count = min(wanted, left // (width * repeat)) if repeat else 0
        runs += [Run(width, count, repeat)] if count else []
        left -= count * width * repeat
        if count < wanted:
            break
    return [*runs, Run(1, 1, left)] if left else runs


class Splitter(Protocol):
    """Finds the records of one log, buffer after buffer; keeps what the format says on the way."""

    def split(self, data: bytes, is_last: bool) -> Records:
        """data: the log from where the last answer ended. is_last: nothing follows."""


def of_kinds(starts: Ints, kind: Ints, slots: dict[int, Slot], least: int, end: int) -> Records:
    """Records by their kind (0..65535); kinds that are rarer than `least` stay raw.

    slots: of each kind that may become columns.
    """
    counts = np.bincount(kind, minlength=1)
    kinds = [k for k in np.flatnonzero(counts >= least).tolist() if k in slots]
    number = np.full(len(counts), -1, np.intp)
    number[kinds] = np.arange(len(kinds))
    slot = number[kind]
    kept = slot >= 0
    return Records(starts[kept], slot[kept], [slots[k] for k in kinds], end)

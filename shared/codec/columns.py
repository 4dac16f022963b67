"""The columns of a block: which there are follows from its groups alone, so nothing about them travels.

Column order: for every group (0 = raw frames, if any, then the others) one column of receive times; then for every
group, in order, its elements in payload order. A column is `rows` numbers of `width` bytes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec.content import ramp, spans
from shared.codec.table import ELEMENTS, HAS_TEXT, TEXTS

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """The groups of one or more blocks, raw frames included. Per slot: block, msgid (-1: raw), sysid, compid, layout,
    rows, width of a payload, stride: from one payload to the next in the payload bytes, start: where its payloads begin
    there."""

    block: Ints
    msgid: Ints
    sysid: Ints
    compid: Ints
    layout: Ints
    rows: Ints
    width: Ints
    stride: Ints

    @property
    def start(self) -> Ints:
        sizes = self.rows * self.stride
        begin: Ints = sizes.cumsum() - sizes
        return begin

    def source(self) -> Ints:
        """A number that tells senders apart: block, sysid and compid."""
        return self.block << 16 | self.sysid << 8 | self.compid


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """All columns. slot: group; element: index in ELEMENTS, -1 for receive times; at, stride: where in the payload
    bytes."""

    slot: Ints
    element: Ints
    rows: Ints
    width: Ints
    at: Ints
    stride: Ints
    first: Ints
    """Per slot: its first element's column."""


def columns_of(slots: Slots) -> Columns:
    """The columns of all slots; blocks one after the other."""
    counts = np.where(slots.layout >= 0, ELEMENTS.count[slots.layout], np.where(slots.msgid < 0, 0, slots.width))
    slot = np.repeat(np.arange(len(counts)), counts)
    element = spans(ELEMENTS.start[slots.layout], counts)
    times = np.arange(len(counts))
    first = counts.cumsum() - counts
    block = np.concatenate([slots.block, slots.block[slot]])
    slot, element = np.concatenate([times, slot]), np.concatenate([np.full(len(times), -1), element])
    if len(slots.block) and slots.block[0] != slots.block[-1]:
        order = np.argsort(block, kind="stable")
        slot, element = slot[order], element[order]
        position = np.argsort(order, kind="stable")
        first = position.take(first + len(times), mode="clip")
    else:
        first = first + len(times)
    width = np.where(element < 0, 8, ELEMENTS.width[element])
    at = slots.start[slot] + np.where(element < 0, 0, ELEMENTS.offset[element])
    return Columns(slot, element, slots.rows[slot], width, at, slots.stride[slot], first)


def text_spans(slots: Slots) -> tuple[Ints, Ints]:
    """(start, length) of every text field of every row in the payload bytes, in order of slot, field, row."""
    slot = HAS_TEXT[slots.layout].nonzero()[0].tolist()
    found = [(g, offset, length) for g in slot for offset, length in TEXTS[int(slots.layout[g])]]
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    g, offset, length = (np.array(x) for x in zip(*found, strict=True))
    rows = slots.rows[g]
    starts = np.repeat(slots.start[g] + offset, rows) + ramp(rows) * slots.stride[g].repeat(rows)
    return starts, length.repeat(rows)


def clock_columns(columns: Columns) -> Ints:
    """The clock column of each slot that has one."""
    timed = np.flatnonzero((columns.element >= 0) & (ELEMENTS.clock[columns.element] > 0))
    return timed[heads(columns.slot[timed])]


def heads(keys: Ints) -> NDArray[np.bool_]:
    """Where a run of equal keys begins."""
    out = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=out[1:])
    return out

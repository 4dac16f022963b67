"""Where the messages of a DataFlash log are: one vectorised look for heads, then a walk along their chain.

A head is A3 95 and a type. A message ends where its FMT says, and there the next head stands: in a sound log nearly
every head is followed by the next one, so the chain is checked for all heads at once, and Python looks only at FMT
messages, at heads that chance put in a payload, and at damage. After damage the walk takes up the chain again only at
a message of a known type that another head (or the end of the log) follows exactly.
A message that no head follows is most likely damaged itself: it is kept only where what follows shows that the damage
began behind it (`_Walk._is_whole`).
Speed on 2 shared cores: docs/logs.md.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.dataflash_formats import (
    FMT_SIZE,
    FMT_TYPE,
    HEAD_BYTES,
    MAGIC,
    Format,
    Formats,
    parse_fmt,
    repaired_fmt,
)

MAX_SIZE = 255
LOOK_AHEAD = 2 * MAX_SIZE + HEAD_BYTES
"""Bytes behind a broken message that must be there to judge it."""
SHORTEST_FILL = 16
"""From this many bytes on a hole is called by what fills it: zeros, erased (flash never written)."""


@dataclass(frozen=True, slots=True, eq=False)
class Scanned:
    """The messages of a piece, in order. Everything in bytes [0, end) is in a message or in `damage`.

    types uint8 [n]; at int64 [n]: where each begins in the piece; sizes int64 [n]: head included. kinds int32 [n]: the
    type, or from 256 where an FMT within the piece changed the type's format; formats: what each kind is.
    damage: (start, end, reason), ascending. synced: a message is expected at `end`.
    """

    types: NDArray[np.uint8]
    at: NDArray[np.int64]
    sizes: NDArray[np.int64]
    kinds: NDArray[np.int32]
    formats: dict[int, Format]
    damage: list[tuple[int, int, str]]
    end: int
    synced: bool


def scan(data: bytes, formats: Formats, synced: bool = False, final: bool = True) -> Scanned:
    """The messages in `data`; `formats` is taken up and left as the FMT messages in it say.

    synced: data begins where a message ended. final: the log ends with data; else `end` is less than its size where
    more bytes are needed (by at most LOOK_AHEAD + MAX_SIZE), and the next piece begins there.
    """
    return _Walk(data, formats, final).scan(synced)


def find_heads(data: bytes) -> NDArray[np.int64]:
    """Where A3 95 stands with a type behind it."""
    buf = np.frombuffer(data, np.uint8)
    return np.flatnonzero((buf[:-2] == MAGIC[0]) & (buf[1:-1] == MAGIC[1]))


class _Walk:
    """One pass along the chain. Index i speaks of the i-th head; `chained[i]`: the next head stands where i ends."""

    def __init__(self, data: bytes, formats: Formats, final: bool) -> None:
        self.data, self.formats, self.final = data, formats, final
        self.heads = find_heads(data)
        self.n = len(self.heads)
        self.types = np.frombuffer(data, np.uint8)[self.heads + 2]
        self.sizes = formats.sizes[self.types]
        self.kinds = self.types.astype(np.int32)
        self.known = dict(formats.by_type)
        self.chained = bytearray(self.n + 1)  # one more: an empty buffer makes no array
        self._links = np.frombuffer(self.chained, np.bool_)[: self.n]
        self._links[:-1] = (self.heads[:-1] + self.sizes[:-1] == self.heads[1:]) & (self.types[:-1] != FMT_TYPE)
        self.at, self.size = memoryview(self.heads.data), memoryview(self.sizes.data)
        self.runs: list[tuple[int, int]] = []
        self.damage: list[tuple[int, int, str]] = []

    def scan(self, synced: bool) -> Scanned:
        end = 0
        if synced and self._is_head(0):
            index = 0
        else:
            index, end = self._resync(0)
            self._lost(0, end, "bad_header")
        while index >= 0:
            index, end, synced = self._follow(index)
        return self._result(end, synced)

    def _result(self, end: int, synced: bool) -> Scanned:
        types, at, sizes, kinds = (_joined(v, self.runs) for v in (self.types, self.heads, self.sizes, self.kinds))
        return Scanned(types, at, sizes, kinds, self.known, self.damage, end, synced)

    def _follow(self, first: int) -> tuple[int, int, bool]:
        """Goes from a message along the chain to where it stops; (the next message or -1, end of what is decided,
        whether a message is expected there)."""
        last = self.chained.find(0, first)
        self._take(first, last)
        at, size = self.at[last], self.size[last]
        end = at + size
        if size == 0:
            return self._lose(last, "unknown_type")
        if not self.final and end + HEAD_BYTES > len(self.data):
            return -1, at, True
        if end > len(self.data):
            return self._lose(last, "torn_end")
        if end == len(self.data) or self._is_head(end):
            self._take(last, last + 1)
            if self.types[last] == FMT_TYPE:
                self._define(last)
            return (self._index(end, last) if end < len(self.data) else -1), end, True
        return self._broken(last, end)

    def _broken(self, last: int, end: int) -> tuple[int, int, bool]:
        """No head follows the message `last`, which ends at `end`."""
        if not self.final and end + LOOK_AHEAD > len(self.data):
            return -1, self.at[last], True
        if self._corrected(last):
            return last, self.at[last], True
        found, resumed = self._resync(last + 1)
        if found >= 0 and resumed < end:
            return self._lose_to(last, resumed, "bad_length", found)
        if not self._is_whole(last, end, resumed):
            return self._lose_to(last, resumed, "bad_header", found)
        self._take(last, last + 1)
        if self.types[last] == FMT_TYPE:
            self._define(last)
            found, resumed = self._resync(bisect_left(self.at, end, last + 1, self.n))
        self._lost(end, resumed, "torn_end" if MAGIC.startswith(self.data[end:]) else "bad_header")
        return found, resumed, found >= 0

    def _is_whole(self, last: int, end: int, resumed: int) -> bool:
        """Whether a message with damage behind it, [end, resumed), ends before the damage begins.

        So it is when the gap is another message that lost its head (of a known size, something of the head left or all
        three bytes overwritten alike, and no head elsewhere in it); when it is a hole (zeros, erased) and the message
        does not run out in more of the same than the last one of its kind did; and when hardly anything follows.
        """
        gap = self.data[end:resumed]
        if len(gap) <= len(MAGIC) and resumed == len(self.data):
            return MAGIC.startswith(gap)
        if len(gap) in self.formats.sizes and self._had_head(gap):
            return not self._begins(last + 1, resumed)
        if named_fill(gap, "") == "":
            return False
        filler = gap[-1:]
        message = self._message(last)
        before = np.flatnonzero(self.kinds[:last] == self.kinds[last])
        usual = self._message(int(before[-1])) if len(before) else b""
        return _run_out(message, filler) <= _run_out(usual, filler)

    def _had_head(self, gap: bytes) -> bool:
        is_left = gap[0] == MAGIC[0] or gap[1] == MAGIC[1] or self.formats.sizes[gap[2]] == len(gap)
        return bool(is_left) or len(set(gap[:HEAD_BYTES])) == 1

    def _begins(self, index: int, before: int) -> bool:
        """Whether the head `index` stands before a place, and its type is known."""
        return index < self.n and self.at[index] < before and self.size[index] > 0

    def _message(self, index: int) -> bytes:
        return self.data[self.at[index] : self.at[index] + self.size[index]]

    def _lose(self, index: int, reason: str) -> tuple[int, int, bool]:
        found, resumed = self._resync(index + 1)
        if reason == "torn_end" and found >= 0:
            reason = "bad_length"
        return self._lose_to(index, resumed, reason, found)

    def _lose_to(self, index: int, resumed: int, reason: str, found: int) -> tuple[int, int, bool]:
        self._lost(self.at[index], resumed, reason)
        if self.types[index] == FMT_TYPE and found >= 0:
            raw = self.data[self.at[index] + HEAD_BYTES : resumed]
            format_ = repaired_fmt(raw, self.data) if len(raw) <= FMT_SIZE else None
            if format_ is not None and format_.type not in self.formats.by_type:
                self._apply(format_, found)
        return found, resumed, found >= 0

    def _resync(self, index: int) -> tuple[int, int]:
        """The first message from `index` on that a head follows, or -1; and its place, or how far none can be."""
        size = len(self.data)
        for found in range(index, self.n):
            length, at = self.size[found], self.at[found]
            end = at + length
            if length == 0:
                continue
            if end + HEAD_BYTES > size and not self.final:
                return -1, at
            if self._is_head(end) or end == size:
                return found, at
        return -1, size if self.final else max(size - len(MAGIC), 0)

    def _corrected(self, index: int) -> bool:
        """An FMT whose length contradicts its own format characters: the chain tells which of them is right."""
        format_ = self.known[int(self.kinds[index])]
        size = format_.described_size
        if size in (0, format_.size) or not self._is_head(self.at[index] + size):
            return False
        self._apply(Format(format_.type, size, format_.name, format_.chars, format_.columns), index)
        return True

    def _define(self, index: int) -> None:
        at = self.at[index]
        format_ = parse_fmt(self.data[at + HEAD_BYTES : at + self.size[index]])
        if format_ is None or format_.type == FMT_TYPE or format_ == self.formats.by_type.get(format_.type):
            return
        self._apply(format_, index + 1)

    def _apply(self, format_: Format, index: int) -> None:
        """Puts a format in force for the heads from `index` on."""
        is_first = format_.type not in self.formats.by_type
        kind = format_.type if is_first else max(256, max(self.known) + 1)
        self.known[kind] = format_
        self.formats.define(format_)
        order, starts = self._by_type
        which = order[starts[format_.type] : starts[format_.type + 1]]
        which = which[np.searchsorted(which, index) :]
        self.sizes[which] = format_.size
        self.kinds[which] = kind
        which = which[which < self.n - 1]
        self._links[which] = self.heads[which] + format_.size == self.heads[which + 1]

    @cached_property
    def _by_type(self) -> tuple[NDArray[np.int64], list[int]]:
        """The heads in the order of their types, and where each type begins there."""
        counts = np.bincount(self.types, minlength=256)
        return np.argsort(self.types, kind="stable"), [0, *np.cumsum(counts).tolist()]

    def _is_head(self, at: int) -> bool:
        return self.data[at : at + 2] == MAGIC and at + HEAD_BYTES <= len(self.data)

    def _index(self, at: int, after: int) -> int:
        if self.at[after + 1] == at:
            return after + 1
        return bisect_left(self.at, at, after + 1, self.n)

    def _take(self, first: int, end: int) -> None:
        if self.runs and self.runs[-1][1] == first:
            self.runs[-1] = (self.runs[-1][0], end)
        elif end > first:
            self.runs.append((first, end))

    def _lost(self, start: int, end: int, reason: str) -> None:
        if end > start:
            self.damage.append((start, end, named_fill(self.data[start:end], reason)))


def _joined(values: NDArray[Any], runs: list[tuple[int, int]]) -> NDArray[Any]:
    if len(runs) == 1:
        return values[slice(*runs[0])]
    return np.concatenate([values[:0], *(values[first:end] for first, end in runs)])


def _run_out(message: bytes, filler: bytes) -> int:
    """How many bytes of filler a message ends with."""
    return len(message) - len(message.rstrip(filler))


def named_fill(lost: bytes, reason: str) -> str:
    """The reason for lost bytes: what fills most of them says more than how they begin (a hole begins anywhere)."""
    for byte, word in ((b"\0", "zeros"), (b"\xff", "erased")):
        if len(lost) >= SHORTEST_FILL and lost.count(byte) > len(lost) * 7 // 8:
            return word
    return reason

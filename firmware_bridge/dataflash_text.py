"""The reader of text DataFlash logs (.log): lines instead of messages, the rest as in dataflash.py.

Before the first FMT stand free lines (the firmware's name, the board, free memory): they are given as texts.
"""

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.dataflash import BLOCK_BYTES, BlockReader
from firmware_bridge.dataflash_formats import Format, words
from firmware_bridge.dataflash_lines import FMT_TEXT, Lines, TextFormat, parse, parse_fmt_line
from firmware_bridge.dataflash_scan import Scanned, named_fill
from firmware_bridge.dataflash_tables import Group
from firmware_bridge.log_tables import NO_TIME, LogFormat, Text

FREE_BYTES = 1 << 16
"""Free lines are looked for in so much of a log's start."""
LONGEST_TEXT = 512
MAX_FORMATS = 1024
"""More in one block are no log's: firmware has 256 at most."""
UNKNOWN, FREE, BAD = -1, -2, -3
"""Kinds of lines that are no messages: no FMT names their type, before the first FMT, not to be read."""


class DataFlashTextReader(BlockReader):
    """A LogReader (log_tables.py) of text DataFlash."""

    format: LogFormat = "dataflash-text"

    def __init__(self, block_bytes: int = BLOCK_BYTES) -> None:
        super().__init__(block_bytes)
        self._by_name: dict[bytes, TextFormat] = {b"FMT": FMT_TEXT}
        self._is_free = True  # no FMT yet

    def _scan(self, block: bytes, final: bool) -> tuple[Scanned, list[Group]]:
        end = len(block) if final else (max(block.rfind(b"\n"), block.rfind(b"\r")) + 1 or len(block))
        lines = Lines(block[:end])
        kinds, formats = self._kinds(lines)
        found = []
        for kind, format_ in enumerate(formats):
            which = np.flatnonzero(kinds == kind)
            if len(which):
                rows, good = parse(lines.bodies(which), lines.commas[which], format_)
                kinds[which[~good]] = BAD
                found.append((format_, which[good], rows[good]))
        self._hear(lines, kinds)
        number = np.cumsum(kinds >= 0) - 1
        groups = [Group(format_, number[which], rows) for format_, which, rows in found if len(which)]
        return _scanned(lines, kinds, formats, end), groups

    def _detail(self, block: bytes, at: int, reason: str) -> str:
        return words(block[at : at + 8].split(b",")[0]) if reason == "unknown_type" else ""

    def _kinds(self, lines: Lines) -> tuple[NDArray[np.int64], list[TextFormat]]:
        """The kind of each line: a place in the list of formats, or why it has none. FMT lines come into force."""
        formats = list(self._by_name.values())
        places = {name: place for place, name in enumerate(self._by_name)}
        kinds = np.array([places.get(name, UNKNOWN) for name in lines.names], np.int64)[lines.named]
        for index in np.flatnonzero(kinds == 0).tolist():
            format_ = parse_fmt_line(lines.bodies(np.array([index]))[0])
            if format_ is None or len(formats) > MAX_FORMATS:
                kinds[index] = BAD
            elif format_ != self._by_name.get(format_.name.encode()):
                which = np.array([name == format_.name.encode() for name in lines.names])[lines.named]
                if format_.name.encode() in self._by_name:
                    which[:index] = False  # lines before keep the format they had
                self._by_name[format_.name.encode()] = format_
                self._formats.define(format_)
                kinds[which] = len(formats)
                formats.append(format_)
        self._free_lines(lines, kinds)
        return kinds, formats

    def _free_lines(self, lines: Lines, kinds: NDArray[np.int64]) -> None:
        if not self._is_free:
            return
        fmt = np.flatnonzero(kinds == 0)
        first = int(fmt[0]) if len(fmt) else len(lines)
        is_early = lines.starts[:first] + self._base < FREE_BYTES
        kinds[:first][is_early & (kinds[:first] == UNKNOWN)] = FREE
        self._is_free = not len(fmt) and self._base < FREE_BYTES

    def _hear(self, lines: Lines, kinds: NDArray[np.int64]) -> None:
        """Keeps what free lines say."""
        for index in np.flatnonzero(kinds == FREE).tolist():
            start, end = int(lines.starts[index]), int(lines.ends[index])
            if text := words(lines.block[start : min(end, start + LONGEST_TEXT)]).strip():
                self._said.append(Text(NO_TIME, 6, text, self._base + start))


def _scanned(lines: Lines, kinds: NDArray[np.int64], formats: list[TextFormat], end: int) -> Scanned:
    is_message = kinds >= 0
    at, kind = lines.starts[is_message], kinds[is_message].astype(np.int32)
    types = np.array([format_.type for format_ in formats], np.uint8)[kind]
    named: dict[int, Format] = dict(enumerate(formats))
    return Scanned(types, at, lines.next[is_message] - at, kind, named, _damage(lines, kinds), end, True)


def _damage(lines: Lines, kinds: NDArray[np.int64]) -> list[tuple[int, int, str]]:
    """Runs of lines that could not be read, by reason."""
    is_name = np.array([name.isalnum() for name in lines.names], np.bool_)[lines.named] & (lines.commas > 0)
    reason = np.where((kinds == UNKNOWN) & is_name, UNKNOWN, np.where((kinds == BAD) | (kinds == UNKNOWN), BAD, 0))
    edges = np.flatnonzero(np.diff(reason, prepend=0, append=0))
    out = []
    for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if reason[first]:
            start, stop = int(lines.starts[first]), int(lines.next[end - 1])
            word = "unknown_type" if reason[first] == UNKNOWN else "bad_text"
            out.append((start, stop, named_fill(lines.block[start:stop], word)))
    return out

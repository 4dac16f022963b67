"""DataFlash logs in blocks: scan, columns by type, clock, portions. Here the reader of binary logs (.BIN).

Blocks are cut by the log's own bytes, never by how they were fed; each is read on its own with what the blocks before
it left: formats, clock, parameters. Source: ArduPilot, libraries/AP_Logger.
"""

from bisect import bisect_left
from operator import itemgetter

import numpy as np

from firmware_bridge.dataflash_clock import Boot, Timeline, timeline
from firmware_bridge.dataflash_formats import FMT_TYPE, Formats
from firmware_bridge.dataflash_parameters import ParameterMemory
from firmware_bridge.dataflash_scan import Scanned, scan
from firmware_bridge.dataflash_tables import Group, groups_of, learn_units, tables_of, texts_of
from firmware_bridge.log_tables import Damage, LogFormat, Portion, Text

BLOCK_BYTES = 1 << 21


class BlockReader:
    """What the readers of binary and text logs share. block_bytes: how much is read at once (at least 4,096)."""

    def __init__(self, block_bytes: int = BLOCK_BYTES) -> None:
        self._formats = Formats()
        self._parameters = ParameterMemory()
        self._boot = Boot()
        self._block_bytes = block_bytes
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._base = 0  # offset in the log of what waits
        self._synced = False
        self._said: list[Text] = []  # texts of the block that stand in no message

    def _scan(self, block: bytes, final: bool) -> tuple[Scanned, list[Group]]:
        """The messages of a block, and their fields by format."""
        raise NotImplementedError

    def feed(self, data: bytes) -> list[Portion]:
        """See LogReader."""
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting < self._block_bytes:
            return []
        waiting, at, out = b"".join(self._pieces), 0, []
        while len(waiting) - at >= self._block_bytes:
            end, portions = self._read(waiting[at : at + self._block_bytes], final=False)
            out += portions
            at += end
        self._pieces, self._waiting = [waiting[at:]], len(waiting) - at
        return out

    def finish(self) -> list[Portion]:
        """See LogReader."""
        waiting = b"".join(self._pieces)
        self._pieces, self._waiting = [], 0
        return self._read(waiting, final=True)[1]

    def _read(self, block: bytes, final: bool) -> tuple[int, list[Portion]]:
        """Reads a block; how much of it is read, and what it gave."""
        scanned, groups = self._scan(block, final)
        learn_units(groups, self._formats)
        times = timeline(scanned, groups, self._formats, self._boot, None if final else len(block))
        is_held = times.kept < len(scanned.at)
        end = int(scanned.at[times.kept]) if is_held else scanned.end
        lost = sorted(d for d in scanned.damage + times.damage if d[0] < end)
        damage = [(a, Damage(self._base + a, b - a, why, self._detail(block, a, why))) for a, b, why in lost]
        portions = self._portions(scanned, groups, times, end, damage)
        self._synced = is_held or scanned.synced
        self._base += end
        return end, portions

    def _detail(self, block: bytes, at: int, reason: str) -> str:
        """More about damage at a place of the block."""
        raise NotImplementedError

    def _portions(
        self, scanned: Scanned, groups: list[Group], times: Timeline, end: int, damage: list[tuple[int, Damage]]
    ) -> list[Portion]:
        """The block's messages up to byte `end`, cut where boots begin."""
        bounds = [0, *times.cuts, times.kept]
        ends = [*scanned.at[times.cuts].tolist(), end]
        parts = _split(groups, times, bounds)
        out, start = [], 0
        for number, stop in enumerate(ends):
            if number:
                self._parameters.forget()
            if stop > start:
                portion = self._portion(parts[number], scanned, times)
                portion.start, portion.end = self._base + start, self._base + stop
                first, last = (bisect_left(damage, at, key=itemgetter(0)) for at in (start, stop))
                portion.damage = [lost for _, lost in damage[first:last]]
                portion.texts[:0] = [text for text in self._said if portion.start <= text.at < portion.end]
                portion.is_new_boot = number > 0
                out.append(portion)
            start = stop
        self._said.clear()
        return out

    def _portion(self, parts: list[tuple[Group, slice]], scanned: Scanned, times: Timeline) -> Portion:
        portion = Portion()
        for group, which in parts:
            name = group.format.name
            portion.counts[name] = portion.counts.get(name, 0) + which.stop - which.start
            tables = tables_of(group, which, times.time_us, scanned.at, self._formats)
            for table in tables:
                table.at[:] += self._base
                portion.texts += texts_of(table)
                portion.parameters += self._parameters.take(table)
            portion.tables += tables
        return portion


class DataFlashReader(BlockReader):
    """A LogReader (log_tables.py) of binary DataFlash.

    Messages of a type before its FMT are read in a second look when that FMT stands in the same block (the tail of one
    log before the head of another): only if much less is lost then.
    """

    format: LogFormat = "dataflash"

    def _scan(self, block: bytes, final: bool) -> tuple[Scanned, list[Group]]:
        before = self._formats.copy()
        scanned = scan(block, self._formats, self._synced, final)
        is_news = len(self._formats.by_type) > len(before.by_type)
        if is_news and scanned.damage and scanned.damage[0][0] < scanned.at[scanned.types == FMT_TYPE].max(initial=0):
            later = before.copy()
            later.add(self._formats)
            again = scan(block, later, self._synced, final)
            if _lost_bytes(again) < _lost_bytes(scanned) // 2:
                scanned, self._formats = again, later
        return scanned, groups_of(block, scanned)

    def _detail(self, block: bytes, at: int, reason: str) -> str:
        return f"type {block[at + 2]}" if reason == "unknown_type" else ""


def _lost_bytes(scanned: Scanned) -> int:
    return sum(end - start for start, end, _ in scanned.damage)


def _split(groups: list[Group], times: Timeline, bounds: list[int]) -> list[list[tuple[Group, slice]]]:
    """For each span of messages between bounds: the groups that have some there, and which."""
    has_dropped = times.dropped.any()
    if len(bounds) == 2 and times.kept == len(times.time_us) and not has_dropped:
        return [[(group, slice(0, len(group.index))) for group in groups]]
    parts: list[list[tuple[Group, slice]]] = [[] for _ in bounds[1:]]
    for group in groups:
        if has_dropped:
            kept = ~times.dropped[group.index]
            group = Group(group.format, group.index[kept], group.rows[kept])
        edges = np.searchsorted(group.index, bounds)
        for number in np.flatnonzero(np.diff(edges)).tolist():
            parts[number].append((group, slice(int(edges[number]), int(edges[number + 1]))))
    return parts

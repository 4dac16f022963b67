"""Times for the frames of a log, portion after portion: a telemetry log's stamps, or what the vehicle says."""

from dataclasses import dataclass

import numpy as np

from firmware_bridge.boot_clock import REBOOT_MS, TIMED
from firmware_bridge.columns import columns_of, fields
from firmware_bridge.framing import Found
from firmware_bridge.tlog_stamps import (
    BACKWARDS_US,
    SEGMENT_GAP,
    STAMP_BYTES,
    Flags,
    Ints,
    hold,
    own_stamps,
    read_stamps,
)  # fmt: skip
from shared.frames import Frames

_BOOT_SPAN = 1 << 43  # us, more than time_boot_ms can say
Source = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class FrameTimes:
    """time_us int64 [n]. own: which frames have a stamp of their own. anew: indexes of frames with which the clock
    began anew. is_known: times are known at all."""

    time_us: Ints
    own: Flags
    anew: list[int]
    is_known: bool


class StampTimes:
    """The stamps of a telemetry log. Their byte order is that of the first portion."""

    def __init__(self) -> None:
        self._swapped: bool | None = None
        self._last_us: int | None = None
        self._end = -1  # where in the log the last frame ends
        self._behind = b""  # the first bytes there

    def of(self, found: Found, frames: Frames, before: Ints) -> FrameTimes:
        """Times of the frames found. before: where the frame before each ends, in found.data."""
        own = found.has_stamp
        stamps, swapped = read_stamps(found.data, found.starts, own, self._swapped)
        self._swapped = swapped if own.any() else self._swapped
        own = own_stamps(stamps, own, found.starts, before)
        times = hold(stamps, own, self._last_us)
        anew = self._anew(found, before, times)
        if own.any() or self._last_us is not None:
            self._last_us = int(times[-1]) if len(times) else self._last_us
        return FrameTimes(times, own, anew, self._last_us is not None)

    def _anew(self, found: Found, before: Ints, times: Ints) -> list[int]:
        """Frames behind zeros that recorders leave where they start, and those whose clock ran back."""
        size, is_first = len(SEGMENT_GAP), self._end < 0
        seen = max(0, self._end + len(self._behind) - found.base)
        self._behind += found.data[seen : seen + size - len(self._behind)]
        previous = np.append(times[:1] if self._last_us is None else self._last_us, times[:-1])[: len(times)]
        anew = set(np.flatnonzero(times < previous - BACKWARDS_US).tolist())
        for i in np.flatnonzero(found.starts - STAMP_BYTES - before >= size).tolist():
            gap = self._behind if i == 0 else found.data[int(before[i]) : int(before[i]) + size]
            if gap == SEGMENT_GAP and not (i == 0 and is_first):
                anew.add(i)
        if len(found.ends):
            end = int(found.ends[-1])
            self._end, self._behind = found.base + end, found.data[end : end + size]
        return sorted(anew)


class BootTimes:
    """What the busiest source of the first timed portion says of its own time since boot, never running backwards but
    at a reboot."""

    def __init__(self) -> None:
        self._source: Source | None = None
        self._last_ms = -1

    def of(self, found: Found, frames: Frames, before: Ints) -> FrameTimes:
        """Times of the frames: each has the last time said, those before the first have that."""
        n = len(frames)
        own = np.zeros(n, bool)
        rows, boot_ms = self._said(frames)
        if not len(rows):
            return FrameTimes(np.full(n, max(self._last_ms, 0) * 1000, np.int64), own, [], self._last_ms >= 0)
        first = int(boot_ms[0]) if self._last_ms < 0 else self._last_ms
        steps = np.diff(boot_ms, prepend=first)
        previous = boot_ms - steps
        is_reboot = (steps < -REBOOT_MS) & (boot_ms < previous // 2 + REBOOT_MS)
        boot = np.cumsum(is_reboot)
        start = np.where(boot > 0, 0, first)  # of the boot that goes on
        clock = np.maximum.accumulate(np.maximum(boot_ms, start) * 1000 + boot * _BOOT_SPAN) - boot * _BOOT_SPAN
        last = np.searchsorted(rows, np.arange(n), side="right") - 1
        times = np.where(last >= 0, clock[np.maximum(last, 0)], first * 1000)
        self._last_ms = int(clock[-1]) // 1000
        return FrameTimes(times, own, rows[is_reboot].tolist(), True)

    def _said(self, frames: Frames) -> tuple[Ints, Ints]:
        """(rows, time_boot_ms) of the messages of the source that say it."""
        groups = columns_of(frames, only=TIMED).groups
        if self._source is None and groups:
            count: dict[Source, int] = {}
            for g in groups:
                count[g.sysid, g.compid] = count.get((g.sysid, g.compid), 0) + len(g.rows)
            self._source = max(count, key=lambda s: count[s])
        timed = [g for g in groups if (g.sysid, g.compid) == self._source]
        if not timed:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        rows = np.concatenate([g.rows for g in timed]).astype(np.int64)
        boot_ms = np.concatenate([fields(g)["time_boot_ms"].astype(np.int64) for g in timed])
        order = np.argsort(rows)
        return rows[order], boot_ms[order]

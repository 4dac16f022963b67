"""The time of each message of a DataFlash piece, and what the stamps betray: reboots, messages that damage made up."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.dataflash_formats import FMT_TYPE, Formats
from firmware_bridge.dataflash_scan import Scanned
from firmware_bridge.dataflash_tables import Group
from firmware_bridge.dataflash_time import fill, judge, stamps, time_field
from firmware_bridge.log_tables import NO_TIME

HELD_BYTES = 1 << 14
"""How much of a piece's end may be put off until more of the log tells whether its stamps are true."""


@dataclass(slots=True)
class Boot:
    """What earlier pieces of a boot left: its last true stamp, and whether anything of it was read."""

    last_us: int | None = None
    has_begun: bool = False


@dataclass(slots=True, eq=False)
class Timeline:
    """Of the n messages of a piece. time_us int64 [n]. cuts: the messages with which a boot begins. dropped bool [n]:
    messages beside damage whose stamps cannot be true: damage themselves. damage: (start, end, reason). kept: the
    messages from there on are put off to the next piece."""

    time_us: NDArray[np.int64]
    dropped: NDArray[np.bool_]
    kept: int
    cuts: list[int] = field(default_factory=list)
    damage: list[tuple[int, int, str]] = field(default_factory=list)


def timeline(scanned: Scanned, groups: list[Group], formats: Formats, boot: Boot, final_bytes: int | None) -> Timeline:
    """Times the messages of a piece that continues `boot`, which is taken on.

    final_bytes: size of the piece when more of the log follows, None when it is the last.
    """
    n = len(scanned.at)
    out = Timeline(_stamped(n, groups, formats), np.zeros(n, np.bool_), n)
    may_hold = None if final_bytes is None else _may_hold(scanned, final_bytes)
    headers = _headers(groups, boot.has_begun)
    for first, end in zip([0, *headers], [*headers, n], strict=True):
        if first in headers:
            out.cuts.append(first)
            boot.last_us = None
        _judge_span(out, scanned, (first, end), boot, may_hold if end == n else None)
    boot.has_begun |= out.kept > 0
    return out


def _stamped(n: int, groups: list[Group], formats: Formats) -> NDArray[np.int64]:
    has_clock = any(time_field(f) for f in formats.by_type.values())
    time_us = np.full(n, NO_TIME, np.int64)
    for group in groups:
        if found := time_field(group.format, has_clock):
            time_us[group.index] = stamps(group.rows, *found)
    return time_us


def _may_hold(scanned: Scanned, size: int) -> NDArray[np.bool_]:
    """The last messages of a piece, behind its last FMT (what that defined is in force already)."""
    may_hold = scanned.at > max(size - HELD_BYTES, 0)
    fmt = np.flatnonzero(scanned.types == FMT_TYPE)
    if len(fmt):
        may_hold[: fmt[-1] + 1] = False
    return may_hold


def _headers(groups: list[Group], has_begun: bool) -> list[int]:
    """Where a log begins: FMT describes FMT. Not the very first."""
    for group in groups:
        if group.format.type == FMT_TYPE:
            found: list[int] = group.index[group.rows["Type"] == FMT_TYPE].tolist()
            return [at for at in found if at or has_begun]
    return []


def _judge_span(
    out: Timeline, scanned: Scanned, span: tuple[int, int], boot: Boot, may_hold: NDArray[np.bool_] | None
) -> None:
    """Judges the messages of one header's span and gives untimed ones their time."""
    time_us = out.time_us[span[0] : span[1]]
    timed = np.flatnonzero(time_us != NO_TIME)
    verdict = judge(time_us[timed], boot.last_us, None if may_hold is None else may_hold[span[0] + timed])
    places = timed + span[0]
    if verdict.false:
        ends = scanned.at + scanned.sizes
        follows = np.append(np.insert(ends[:-1] == scanned.at[1:], 0, True), True)  # the n + 1 borders of messages
        for first, end in verdict.false:
            _reject(out, scanned, follows, places[first:end])
    out.cuts += places[verdict.boots].tolist()
    if verdict.held < len(timed):
        out.kept = int(places[verdict.held])
    fill(time_us, boot.last_us)
    boot.last_us = verdict.last_us


def _reject(out: Timeline, scanned: Scanned, follows: NDArray[np.bool_], places: NDArray[np.int64]) -> None:
    """A run of false stamps: beside damage its messages are lost; within a sound chain they only lose their stamp."""
    first, last = int(places[0]), int(places[-1])
    start, end = int(scanned.at[first]), int(scanned.at[last] + scanned.sizes[last])
    out.time_us[places] = NO_TIME
    if follows[first] and follows[last + 1]:
        end = start
    else:
        out.dropped[first : last + 1] = True
    out.damage.append((start, end, "bad_time"))

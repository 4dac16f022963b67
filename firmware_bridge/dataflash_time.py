"""The clock of a DataFlash log: which field tells it, which stamps cannot be true, where it began anew.

DataFlash has no checksums, so damage can put any time stamp into a chain of messages. Stamps are judged in runs between
jumps: a long run is true whatever it jumped over (a hole, a reboot); a short one only where it lies between what
stands before and behind it.
Source: pymavlink's DFReader for the fields; ArduPilot's logs of 2013 to 2025 for the jumps.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.dataflash_formats import Format
from firmware_bridge.log_tables import NO_TIME

JUMP_US = 3_000_000
"""Messages of a sound log are never this far from their neighbours but for a hole."""
TRUSTED_RUN = 8
"""So many stamps in agreement are no chance."""
LONGEST_HOLE_US = 3_600_000_000
LATEST_US = 40_000_000_000_000
"""An autopilot up for more than a year is damage."""


def time_field(format_: Format, has_clock: bool = True) -> tuple[str, int] | None:
    """The field of a type that tells the time since boot, and its microseconds; None when it has none.

    has_clock False: no type of the log tells it; then GPS time of week is the only clock.
    """
    names = format_.dtype.names or ()
    first = format_.columns[0] if names and names[0] == format_.columns[0] else ""
    found = None
    if first == "TimeUS":
        found = first, 1
    elif format_.name in ("GPS", "GPS2"):
        if "T" in names:
            found = "T", 1000
        elif not has_clock:
            found = next(((name, 1000) for name in ("TimeMS", "Time", "GMS") if name in names), None)
    elif first == "TimeMS" and not format_.name.startswith(("ACC", "GYR")):  # theirs is the sensor's own clock
        found = first, 1000
    elif format_.name == "TIME" and first == "StartTime":  # PX4's own logs of old: one TIME before each round
        found = first, 1
    return found if found and format_.dtype[found[0]].kind in "iu" else None


def stamps(rows: NDArray[Any], name: str, scale: int) -> NDArray[np.int64]:
    """A time field in us, int64; what is beyond all sense becomes one above LATEST_US."""
    raw = rows[name]
    limit = LATEST_US // scale + 1
    if raw.dtype.itemsize == 8 and len(raw) and (raw.max() > limit or raw.min() < 0):
        raw = np.clip(raw, 0, limit)
    return raw.astype(np.int64) * scale


@dataclass(slots=True)
class Judgement:
    """Of stamps int64 [n] in the order of messages. false: runs [a, b) that cannot be true. boots: where the clock
    began anew. held: from here on more of the log is needed, n when all is judged. last_us: the last true stamp."""

    held: int
    last_us: int | None
    false: list[tuple[int, int]] = field(default_factory=list)
    boots: list[int] = field(default_factory=list)


def judge(time_us: NDArray[np.int64], last_us: int | None, may_hold: NDArray[np.bool_] | None) -> Judgement:
    """Judges stamps that follow `last_us`. may_hold bool [n]: whether the messages from there on may be put off."""
    out = Judgement(len(time_us), last_us)
    if not len(time_us):
        return out
    edges = np.flatnonzero(np.abs(np.diff(time_us)) > JUMP_US) + 1
    is_continued = last_us is None or abs(int(time_us[0]) - last_us) <= JUMP_US
    if not len(edges) and is_continued and len(time_us) >= TRUSTED_RUN and time_us[0] <= LATEST_US:
        out.last_us = int(time_us[-1])
        return out
    runs = list(zip([0, *edges.tolist()], [*edges.tolist(), len(time_us)], strict=True))
    behind = _next_trusted(runs, time_us)
    for (first, end), next_us in zip(runs, behind, strict=True):
        if not _judge_run(out, (first, end), (int(time_us[first]), int(time_us[end - 1])), next_us, may_hold):
            break
    return out


def _judge_run(
    out: Judgement, run: tuple[int, int], span: tuple[int, int], next_us: int | None, may_hold: NDArray[np.bool_] | None
) -> bool:
    before = out.last_us
    is_trusted = run[1] - run[0] >= TRUSTED_RUN and span[1] <= LATEST_US
    if not is_trusted and next_us is None and may_hold is not None and may_hold[run[0]]:
        out.held = run[0]
        return False
    if not is_trusted and not _is_plausible(span, before, next_us):
        out.false.append(run)
        return True
    if before is not None and span[0] < before - JUMP_US:
        out.boots.append(run[0])
    out.last_us = span[1]
    return True


def _next_trusted(runs: list[tuple[int, int]], time_us: NDArray[np.int64]) -> list[int | None]:
    """For each run the first stamp of the next run that is long enough to be believed."""
    out: list[int | None] = []
    after: int | None = None
    for first, end in reversed(runs):
        out.append(after)
        if end - first >= TRUSTED_RUN and time_us[first] <= LATEST_US:
            after = int(time_us[first])
    return out[::-1]


def _is_plausible(span: tuple[int, int], before: int | None, after: int | None) -> bool:
    start, end = span
    if end > LATEST_US:
        return False
    follows = before is None or before - JUMP_US <= start <= before + LONGEST_HOLE_US
    if after is None:
        return follows
    leads = end <= after + JUMP_US
    if before is not None and after >= before - JUMP_US:
        return leads and start >= before - JUMP_US
    return leads or (follows and before is not None)


def fill(time_us: NDArray[np.int64], last_us: int | None) -> None:
    """Gives messages without a time (NO_TIME) that of the last one before them that has one, in place."""
    absent = np.flatnonzero(time_us == NO_TIME)
    if not len(absent):
        return
    present = np.flatnonzero(time_us != NO_TIME)
    source = np.searchsorted(present, absent) - 1
    known = np.concatenate([time_us[present], [NO_TIME if last_us is None else last_us]])
    time_us[absent] = known[source]  # -1: nothing before

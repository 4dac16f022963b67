"""Times for frames that have none: a raw dump knows only what the vehicle's messages say of their own time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.columns import MessageColumns, columns_of, field
from shared.frames import Frames
from shared.layouts import LAYOUTS

TIMED = frozenset(
    msgid
    for msgid, layout in LAYOUTS.items()
    if any(f.name == "time_boot_ms" and f.kind == "u4" for f in layout.fields)
)
"""Message ids with a `time_boot_ms`."""
REBOOT_MS = 2_000
"""time_boot_ms that falls back by more than this, to less than half: the vehicle has started anew."""


def boot_times(groups: Sequence[MessageColumns]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows, time_boot_ms) of all messages of TIMED groups, in the order of rows. A time of 0 says nothing and is left
    out: some messages are sent without it ever being filled in."""
    if not groups:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows = np.concatenate([g.rows for g in groups]).astype(np.int64)
    boot_ms = np.concatenate([field(g, "time_boot_ms") for g in groups]).astype(np.int64)
    order = np.argsort(rows, kind="stable")
    order = order[boot_ms[order] > 0]
    return rows[order], boot_ms[order]


def boot_clock(frames: Frames) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """(time_us int64 [N], index of the first frame of each boot), from time_boot_ms of the busiest source.

    Never running backwards; a reboot goes on where the boot before ended; 0 at the first frame with a time. A frame
    without a time of its own has the last one's. Frames that never say a time: all 0.
    """
    columns = columns_of(frames, only=TIMED)
    count: dict[tuple[int, int], int] = {}
    for g in columns.groups:
        count[g.sysid, g.compid] = count.get((g.sysid, g.compid), 0) + len(g.rows)
    if not count:
        return np.zeros(len(frames), np.int64), (0,) if len(frames) else ()
    source = max(count, key=lambda s: count[s])
    rows, boot_ms = boot_times([g for g in columns.groups if (g.sysid, g.compid) == source])
    if not len(rows):
        return np.zeros(len(frames), np.int64), (0,)
    steps = np.diff(boot_ms)
    is_reboot = (steps < -REBOOT_MS) & (boot_ms[1:] < boot_ms[:-1] // 2 + REBOOT_MS)
    forward = np.where(is_reboot, 0, steps)
    clock = np.maximum.accumulate(np.concatenate([[0], np.cumsum(forward)])) * 1000
    last = np.searchsorted(rows, np.arange(len(frames)), side="right") - 1
    boots = (rows[1:][is_reboot]).tolist()
    return clock[np.maximum(last, 0)].astype(np.int64), (0, *boots)

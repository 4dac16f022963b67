"""Times for frames that have none: a raw dump knows only what the vehicle's messages say of their own time."""

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.columns import columns_of, fields
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
    timed = [g for g in columns.groups if (g.sysid, g.compid) == source]
    rows = np.concatenate([g.rows for g in timed])
    boot_ms = np.concatenate([fields(g)["time_boot_ms"].astype(np.int64) for g in timed])
    order = np.argsort(rows)
    rows, boot_ms = rows[order], boot_ms[order]
    steps = np.diff(boot_ms)
    is_reboot = (steps < -REBOOT_MS) & (boot_ms[1:] < boot_ms[:-1] // 2 + REBOOT_MS)
    forward = np.where(is_reboot, 0, steps)
    clock = np.maximum.accumulate(np.concatenate([[0], np.cumsum(forward)])) * 1000
    last = np.searchsorted(rows, np.arange(len(frames)), side="right") - 1
    boots = (rows[1:][is_reboot]).tolist()
    return clock[np.maximum(last, 0)].astype(np.int64), (0, *boots)

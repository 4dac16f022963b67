"""Which frame belongs to which group: the first thing to know of blocks that are decoded together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec.columns import Slots
from shared.codec.container import Parts, require
from shared.codec.content import stable_order
from shared.codec.remainder import group_index
from shared.codec.table import KNOWN, SIZE, layout_index

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Membership:
    """Who is where: slots, the slot of each frame in wire order (all blocks one after the other), and group order."""

    slots: Slots
    slot: Ints
    order: Ints


def membership(parts: list[Parts], max_bytes: int) -> Membership:
    """From the group tables and indices of all blocks. Refused("block_malformed"); max_bytes: of payload, per block."""
    n = np.array([p.frames for p in parts], np.int64)
    index, has_raw = [], []
    for p in parts:
        index.append(group_index(p))
        has_raw.append(not index[-1].all())
    counts = [np.bincount(i, minlength=p.groups + 1) for i, p in zip(index, parts, strict=True)]
    require(all(len(c) == p.groups + 1 for c, p in zip(counts, parts, strict=True)), "group index")
    require(all(int(c[1:].min(initial=1)) > 0 for c in counts), "empty group")
    tables = [_table(p, bool(raw)) for p, raw in zip(parts, has_raw, strict=True)]
    sizes = np.array([p.groups + raw for p, raw in zip(parts, has_raw, strict=True)], np.int64)
    base = sizes.cumsum() - sizes + np.array(has_raw, np.int64) - 1
    sysid, compid, msgid, width = (np.concatenate(c) for c in zip(*tables, strict=True))
    rows = np.concatenate([c if raw else c[1:] for c, raw in zip(counts, has_raw, strict=True)])
    layout = layout_index(msgid)
    width = np.where(KNOWN[layout], SIZE[layout], width)
    block = np.repeat(np.arange(len(parts)), sizes)
    slots = Slots(block, msgid, sysid, compid, layout, rows, width, width + 7 & ~7)
    keys = slots.source() << 25 | (msgid + 1)
    require((np.diff(keys) > 0).all(), "groups out of order")
    sizes = np.bincount(slots.block, rows * width, len(parts))
    require(int(sizes.max(initial=0)) <= max_bytes, "payload")
    slot = np.concatenate(index) + base.repeat(n)
    return Membership(slots, slot, stable_order(slot))


def _table(p: Parts, has_raw: bool) -> tuple[Ints, Ints, Ints, Ints]:
    """sysid, compid, msgid and width (0 where the layout gives it) of a block's slots."""
    table = np.frombuffer(p.table, np.uint8).astype(np.int64)
    g = p.groups
    require(len(table) >= 5 * g, "groups")
    sysid, compid, low, middle, high = table[: 5 * g].reshape(5, g)
    msgid = low | middle << 8 | high << 16
    unknown = layout_index(msgid) < 0
    require(len(table) == 5 * g + int(unknown.sum()), "groups")
    width = np.zeros(g, np.int64)
    width[unknown] = table[5 * g :]
    if not has_raw:
        return sysid, compid, msgid, width
    first = [np.array([x], np.int64) for x in (0, 0, -1, 0)]
    sysid, compid, msgid, width = (
        np.concatenate([a, b]) for a, b in zip(first, (sysid, compid, msgid, width), strict=True)
    )
    return sysid, compid, msgid, width

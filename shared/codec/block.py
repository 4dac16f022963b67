"""Block: decoded columns of one batch."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared.codec.content import Content, merge
from shared.frames import Frames


@dataclass(frozen=True, slots=True, eq=False)
class MessageGroup:
    """All frames of one (msgid, sysid, compid) in a block; m frames.

    rows: int32 [m], their positions in the block, ascending. payload: uint8 [m, size], zero-extended to the full length of
    the layout, so that `payload.view(LAYOUTS[msgid].dtype)[:, 0]` gives the fields without a copy; where the message has no
    layout, as wide as the longest.
    """

    msgid: int
    sysid: int
    compid: int
    rows: NDArray[np.int32]
    payload: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Columns of `n` frames. time_us: int64 [n]. Frames that fit no group (damaged, not MAVLink) are in `frames()` only."""

    n: int
    time_us: NDArray[np.int64]
    groups: list[MessageGroup]
    _content: Content = field(repr=False)

    def frames(self) -> Frames:
        """The frames as they were encoded, byte for byte. Refused("block_malformed") when the block contradicts itself."""
        return merge(self._content)


def to_block(c: Content) -> Block:
    """Lay views of the content's payload out by group."""
    order = np.argsort(c.group, kind="stable").astype(np.int32)
    first = len(c.raw_length)
    groups, at = [], 0
    columns = zip(
        *(x.tolist() for x in (c.groups.msgid, c.groups.sysid, c.groups.compid, c.groups.rows, c.groups.width))
    )
    for msgid, sysid, compid, rows, width in columns:
        payload = c.payload[at : at + rows * width].reshape(rows, width)
        groups.append(MessageGroup(msgid, sysid, compid, order[first : first + rows], payload))
        first, at = first + rows, at + rows * width
    return Block(len(c.group), c.time_us, groups, c)

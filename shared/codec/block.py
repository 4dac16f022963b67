"""Block: decoded columns of one batch."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.codec.container import Parts
from shared.codec.content import merge
from shared.codec.remainder import content
from shared.frames import Frames


class MessageGroup(NamedTuple):
    """All frames of one (msgid, sysid, compid) in a block; m frames.

    rows: int32 [m], their positions in the block, ascending. payload: uint8 [m, size], zero-extended to the full
    length of the layout, so that `payload.view(LAYOUTS[msgid].dtype)[:, 0]` gives the fields without a copy; where
    the message has no layout, as wide as the longest. Each payload begins at a multiple of 8 bytes, so that most fields
    are aligned.
    """

    msgid: int
    sysid: int
    compid: int
    rows: NDArray[np.int32]
    payload: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Columns of `n` frames. time_us: int64 [n]. Frames that fit no group (damaged, not MAVLink) are in `frames()`
    only."""

    n: int
    time_us: NDArray[np.int64]
    groups: list[MessageGroup]
    _parts: Parts = field(repr=False)

    def payload(self) -> NDArray[np.uint8]:
        """The payloads of all groups, one after the other."""
        rows = [np.ascontiguousarray(g.payload).reshape(-1) for g in self.groups]
        return np.concatenate(rows) if rows else np.zeros(0, np.uint8)

    def frames(self) -> Frames:
        """The frames as they were encoded, byte for byte."""
        members = [(g.msgid, g.sysid, g.compid, len(g.rows), g.payload.shape[1]) for g in self.groups]
        return merge(content(self._parts, self.time_us, members, self.payload()))

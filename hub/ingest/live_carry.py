"""Values held across batches as they come: what the next batch of a stream still holds from the one before.

Advisory until the flight is settled: with several ingest processes, or batches out of order, nothing is carried and
the first rows of a batch lack the channels that come seldom.
"""

import uuid
from collections import OrderedDict
from dataclasses import dataclass

from firmware_bridge.grid import Carry, GridInput, carry_of

MOST_STREAMS = 2_000
"""About 15 kB each."""


@dataclass(slots=True)
class _Last:
    """The batch of a stream seen last. source: (sysid, compid) of its autopilot."""

    seq: int
    boot_id: uuid.UUID
    source: tuple[int, int] | None
    carry: Carry | None


class LiveCarry:
    """What the streams seen last hold."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[uuid.UUID, uuid.UUID], _Last] = OrderedDict()

    def before(
        self, org_id: uuid.UUID, stream_id: uuid.UUID, seq: int, boot_id: uuid.UUID, source: tuple[int, int]
    ) -> Carry | None:
        """What batch `seq` of a stream begins with; None unless the one before it was the last seen, of the same boot
        and vehicle."""
        last = self._last.get((org_id, stream_id))
        is_next = last is not None and (last.seq, last.boot_id, last.source) == (seq - 1, boot_id, source)
        return last.carry if last is not None and is_next else None

    def seen(
        self, org_id: uuid.UUID, stream_id: uuid.UUID, seq: int, boot_id: uuid.UUID, item: GridInput | None
    ) -> None:
        """Remember a batch. item: with its own carry; None for a batch without frames, which leaves what is held."""
        key = (org_id, stream_id)
        last = self._last.pop(key, None)
        if item is not None:
            last = _Last(seq, boot_id, item.vehicle, carry_of(item))
        elif last is not None and (last.seq, last.boot_id) == (seq - 1, boot_id):
            last.seq = seq
        else:
            last = None
        if last is not None:
            self._last[key] = last
        if len(self._last) > MOST_STREAMS:
            self._last.popitem(last=False)

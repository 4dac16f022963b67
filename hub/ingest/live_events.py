"""Events of batches as they come. A batch does not know what was before it: this remembers.

Advisory until the flight is settled: with several ingest processes, or batches out of order, the memory has holes;
then what merely held already when the batch began (armed, mode) is not told as an event.
"""

import uuid
from collections import OrderedDict

from firmware_bridge.events import Event, EventState, flight_events
from firmware_bridge.vehicle import HEARTBEAT
from shared.codec import Block

MOST_STREAMS = 5_000


class LiveEvents:
    """The event state of the streams seen last."""

    def __init__(self) -> None:
        self._states: OrderedDict[tuple[uuid.UUID, uuid.UUID], tuple[int, EventState]] = OrderedDict()

    def of(self, org_id: uuid.UUID, stream_id: uuid.UUID, seq: int, block: Block,
           source: tuple[int, int]) -> list[Event]:  # fmt: skip
        """The events of batch `seq` of a stream; source: (sysid, compid) of the autopilot."""
        key = (org_id, stream_id)
        last, state = self._states.pop(key, (0, EventState()))
        is_fresh = last != seq - 1
        if is_fresh:
            state = EventState()
        events = flight_events(block, source, state)
        self._states[key] = (seq, state)
        if len(self._states) > MOST_STREAMS:
            self._states.popitem(last=False)
        return _without_known(events, block, source) if is_fresh and seq > 1 else events


def _without_known(events: list[Event], block: Block, source: tuple[int, int]) -> list[Event]:
    """Without what the first HEARTBEAT says: it was so before."""
    firsts = [
        int(block.time_us[g.rows[0]])
        for g in block.groups
        if g.msgid == HEARTBEAT and (g.sysid, g.compid) == source and len(g.rows)
    ]
    return [e for e in events if not (e.kind in ("armed", "mode") and e.at_us in firsts)]

"""Frames that are none (anyone can seal any bytes) never break what reads columns."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.columns import columns_of
from firmware_bridge.events import EventState, flight_events
from firmware_bridge.packing import Outgoing, pack
from firmware_bridge.vehicle import VehicleTracker
from shared.frames import Frames
from shared.layouts import LAYOUTS
from tests.fix_frames import UNKNOWN_ID, mavlink_frame

READ = [0, 2, 22, 24, 30, 33, 148, 242, 245, 253]

whole = st.builds(
    mavlink_frame, msgid=st.sampled_from([*READ, UNKNOWN_ID]), payload=st.binary(min_size=1, max_size=80),
    sysid=st.sampled_from([1, 255]), version=st.sampled_from([1, 2]),
)  # fmt: skip
pieces = st.one_of(whole, whole.map(lambda f: f[: len(f) // 2]), st.binary(max_size=12), st.just(b"\xfd"))
times = st.one_of(st.integers(0, 10_000_000), st.integers(-(1 << 63), (1 << 63) - 1))


def frames_of(rows: list[tuple[bytes, int]]) -> Frames:
    offsets = np.concatenate([[0], np.cumsum([len(data) for data, _ in rows])]).astype(np.int64)
    return Frames(b"".join(data for data, _ in rows), offsets, np.array([t for _, t in rows], np.int64))


@settings(max_examples=250)
@given(st.lists(st.tuples(pieces, times), max_size=15))
def test_trackers_and_events_take_any_frames(rows: list[tuple[bytes, int]]) -> None:
    frames = frames_of(rows)
    columns = columns_of(frames)
    positions = [row for g in columns.groups for row in g.rows.tolist()]
    assert len(positions) == len(set(positions)) <= len(frames)
    VehicleTracker().update(frames)
    state = EventState()
    found = [*flight_events(columns, None, state), *flight_events(columns, (1, 1), state)]
    assert all("\x00" not in e.text for e in found)


@settings(max_examples=100)
@given(st.sampled_from(READ), st.integers(1, 5), st.data())
def test_packed_columns_come_back(msgid: int, count: int, data: st.DataObject) -> None:
    size = LAYOUTS[msgid].size
    payload = np.frombuffer(data.draw(st.binary(min_size=size * count, max_size=size * count)), np.uint8)
    frames = pack([Outgoing(msgid, payload.view(LAYOUTS[msgid].dtype), np.arange(count))], 3, 4)
    (group,) = columns_of(frames).groups
    assert (group.msgid, group.sysid, group.compid) == (msgid, 3, 4)
    assert group.payload.tobytes() == payload.tobytes()

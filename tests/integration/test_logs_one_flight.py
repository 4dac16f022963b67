"""One flight from its live stream and its logs: no holes, no doubles, and it is known what came from where."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge.logs import open_log
from firmware_bridge.tlog import read_tlog
from shared.clock import ClockSource, TimeMapping
from shared.frames import Frames
from shared.ids import new_id
from shared.records import SessionClose, SessionOpen
from shared.topics import Lane
from tests.fix_fleet import Recorder
from tests.fix_logs import LogHub

BATCH_US = 2_000_000
NAME = "f0010_copter-quad"


@dataclass(frozen=True)
class Recording:
    """One simulated flight as its ground station and as its autopilot recorded it."""

    frames: Frames
    tlog: bytes
    bin: bytes
    armed_utc_us: int
    disarmed_utc_us: int


@pytest.fixture(scope="module")
def recording(flight_data: Path) -> Recording:
    tlog = open_log(flight_data / "flights" / "tlog" / f"{NAME}.tlog.zst")
    log = open_log(flight_data / "flights" / "bin" / f"{NAME}.BIN.zst")
    frames = read_tlog(tlog).frames
    beats = [(int(t), f[10 + 6] & 128) for t, f in _heartbeats(frames)]
    armed = [t for t, is_armed in beats if is_armed]
    return Recording(frames, tlog, log, armed[0], armed[-1])


def _heartbeats(frames: Frames) -> Iterator[tuple[int, bytes]]:
    for i in range(len(frames)):
        f = frames[i]
        if f[0] == 0xFD and f[7:10] == b"\0\0\0" and f[5:7] == b"\x01\x01":
            yield int(frames.time_us[i]), f


def cut(frames: Frames, first_us: int, last_us: int, base_us: int) -> Frames:
    """Frames at (first, last], on a clock that begins at base."""
    a, b = np.searchsorted(frames.time_us, [first_us, last_us], side="right")
    start, end = int(frames.offsets[a]), int(frames.offsets[b])
    return Frames(frames.data[start:end], frames.offsets[a : b + 1] - start, frames.time_us[a:b] - base_us)


def fly(
    r: Recorder, rec: Recording, lost: Sequence[tuple[float, float]], is_dated: bool = True
) -> tuple[uuid.UUID, list[bytes]]:
    """The flight as a live stream without what falls in `lost` (seconds after arming): session, envelopes."""
    session = new_id()
    base = rec.armed_utc_us - 5_000_000
    r.clock = (TimeMapping(ClockSource.gps, 0, base, 1000),) if is_dated else ()
    r.at_us, first_seq = 0, r.seq + 1
    armed, end = rec.armed_utc_us - base, rec.disarmed_utc_us - base
    out = [r.seal(session=session, records=[SessionOpen(session, r.boot, armed, first_seq, 0, 1, 1, 3, 2, "")],
                  lane=Lane.alert)]  # fmt: skip
    while r.at_us < end:
        covers = (r.at_us, min(r.at_us + BATCH_US, end))
        r.at_us = covers[1]
        since_armed = (covers[0] - armed) / 1e6
        if not any(a <= since_armed < b for a, b in lost):
            out.append(r.seal(cut(rec.frames, base + covers[0], base + covers[1], base), covers, session))
    closing = SessionClose(
        session, "disarmed", first_seq, r.seq, len(out), r.frames, 0, {}, {}, 0, end, armed, end, r.prev
    )
    out.append(r.seal(session=session, records=[closing], lane=Lane.alert))
    return session, out


def ticks(log_hub: LogHub, org_id: uuid.UUID, flight: uuid.UUID) -> list[int]:
    query = (
        'SELECT (extract(epoch FROM "timestamp") * 1000000)::bigint FROM flight_state WHERE session_id = %s'
        ' ORDER BY "timestamp"'
    )
    return [t for (t,) in log_hub.hub.rows(org_id, query, flight)]


def flights(log_hub: LogHub, org_id: uuid.UUID) -> list[Any]:
    return log_hub.hub.rows(org_id, "SELECT session_id, origin FROM flight_sessions ORDER BY origin")


def rows_of(
    log_hub: LogHub, org_id: uuid.UUID, flight: uuid.UUID, since: int, until: int
) -> dict[int, tuple[Any, ...]]:
    return {
        t: row
        for t, row in zip(ticks(log_hub, org_id, flight), log_hub.telemetry(org_id, flight), strict=True)
        if since <= t <= until
    }


def test_a_log_fills_the_holes_of_the_live_stream(log_hub: LogHub, recording: Recording) -> None:
    alone = log_hub.hub.new_recorder()
    log_hub.take_in(
        alone.org_id, log_hub.deliver(log_hub.station(alone.org_id), recording.bin, aircraft=alone.aircraft_id)
    )
    ((by_log, origin),) = flights(log_hub, alone.org_id)
    assert origin == "log"

    r = log_hub.hub.new_recorder()
    session, envelopes = fly(r, recording, lost=[(20, 32), (60, 90)])
    log_hub.send(r.arrivals(envelopes))
    log_hub.settle(r.org_id, session)
    before = ticks(log_hub, r.org_id, session)
    log = log_hub.deliver(log_hub.station(r.org_id), recording.bin, aircraft=r.aircraft_id)
    log_hub.take_in(r.org_id, log)

    assert flights(log_hub, r.org_id) == [(session, "live")]
    after = ticks(log_hub, r.org_id, session)
    inside = [t for t in after if recording.armed_utc_us <= t <= recording.disarmed_utc_us]
    assert set(np.diff(inside).tolist()) == {100_000} and len(after) == len(set(after)) > len(before)
    (how,) = log_hub.hub.rows(r.org_id, "SELECT method, offset_us, agreement FROM flight_logs")
    assert how[0] == "boot" and how[2] == 1.0
    span = (recording.armed_utc_us + 1_000_000, recording.disarmed_utc_us - 1_000_000)
    merged, single = (rows_of(log_hub, o, f, *span) for o, f in ((r.org_id, session), (alone.org_id, by_log)))
    assert merged.keys() == single.keys()
    columns = range(len(next(iter(single.values()))))
    wrong = {c for t in single for c in columns if single[t][c] is not None and merged[t][c] != single[t][c]}
    assert not wrong
    assert log_hub.hub.rows(r.org_id, "SELECT lost_rows, filled_rows FROM flight_sessions") == [(420, 420)]

"""Logs whose clock jumps, whose vehicle restarts, that hold two vehicles: through the whole system."""

from typing import NamedTuple

import numpy as np
import pytest
from fastcrc import crc16

from agent.tally import headers
from firmware_bridge.tlog import write_tlog
from hub.demo_aircraft import Aircraft
from hub.demo_log import DemoLog, open_demo_log
from hub.store.tenant import tenant
from shared.frames import Frames, join
from shared.layouts import LAYOUTS
from tests.fix_recorder import frames_of
from tests.fix_system import Flight, System, flying

pytestmark = pytest.mark.slow
SECOND = 1_000_000
TEN_YEARS = 315_576_000 * SECOND


class Flown(NamedTuple):
    """One flight as the hub has it: seconds from start to end, why it was closed, rows of telemetry."""

    seconds: float
    reason: str
    rows: int


@pytest.fixture(scope="module")
def flight(system: System) -> tuple[Frames, int]:
    """The demo's copter (armed 45.9 s to 117.9 s), and the frame in the middle of its flight."""
    frames = system.log("copter").frames
    return frames, int(np.searchsorted(frames.time_us, frames.time_us[0] + 82 * SECOND))


def part(frames: Frames, first: int, stop: int | None = None, later_us: int = 0) -> Frames:
    """Frames [first, stop) with another clock."""
    cut = frames.slice(first, len(frames) if stop is None else stop)
    return Frames(cut.data, cut.offsets, cut.time_us + later_us)


def fly(system: System, name: str, frames: Frames) -> tuple[Aircraft, list[Flown]]:
    """Record the frames as a log, hold the invariants, give the flights in the order in which they were recorded."""
    path = system.demo.folder / f"{name}.tlog"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_tlog(frames))
    log: DemoLog = open_demo_log(path, system.demo.folder)
    aircraft = system.aircraft(name)
    with flying(Flight.of_log(aircraft, log, "max")) as flight:
        flight.finish()
    system.assert_whole(aircraft, log)
    sql = """SELECT ended_utc_us - started_utc_us, close_reason, grid_rows, complete FROM flight_sessions
        WHERE org_id = %s AND aircraft_id = %s ORDER BY first_seq"""
    with tenant(system.demo._conn, system.demo.owner.org_id, "test"):
        rows = system.demo._conn.execute(sql, (system.demo.owner.org_id, aircraft.aircraft_id)).fetchall()
    assert all(complete for *_, complete in rows)
    return aircraft, [Flown(us / 1e6, reason, n) for us, reason, n, _ in rows]


@pytest.mark.parametrize("back_us", [20 * SECOND, 522 * SECOND, TEN_YEARS])
def test_a_clock_that_runs_back_in_flight_costs_no_row_and_covers_no_time_twice(
    system: System, flight: tuple[Frames, int], back_us: int
) -> None:
    frames, middle = flight
    _, flights = fly(system, f"back-{back_us}", join([part(frames, 0, middle), part(frames, middle, None, -back_us)]))
    assert [f.reason for f in flights] == ["clock_reset", "disarmed"]
    assert sum(f.seconds for f in flights) == pytest.approx(72, abs=2)
    assert sum(f.rows for f in flights) >= 1150


@pytest.mark.parametrize("ahead_us", [3369 * SECOND, TEN_YEARS])
def test_a_hole_in_a_log_is_silence_and_no_time_in_the_air(
    system: System, flight: tuple[Frames, int], ahead_us: int
) -> None:
    frames, middle = flight
    _, flights = fly(system, f"ahead-{ahead_us}", join([part(frames, 0, middle), part(frames, middle, None, ahead_us)]))
    assert [f.reason for f in flights] == ["link_lost", "disarmed"]
    assert sum(f.seconds for f in flights) == pytest.approx(72, abs=2)
    assert sum(f.rows for f in flights) >= 1150


@pytest.mark.parametrize("stamp", [(1 << 63) - 1, -(1 << 62), 0])
def test_a_damaged_stamp_parts_a_flight_and_loses_neither_a_frame_nor_what_follows(
    system: System, flight: tuple[Frames, int], stamp: int
) -> None:
    frames, middle = flight
    cut = part(frames, middle - 1500, middle + 1500)
    times = cut.time_us.copy()
    times[1500] = stamp
    _, flights = fly(system, f"stamp{stamp}", Frames(cut.data, cut.offsets, times))
    assert sum(f.seconds for f in flights) == pytest.approx(24, abs=4)
    assert sum(f.rows for f in flights) >= 200


def test_a_reboot_in_flight_ends_one_flight_and_a_whole_one_follows(system: System, flight: tuple[Frames, int]) -> None:
    frames, middle = flight
    after = int(frames.time_us[middle] - frames.time_us[0]) + 2 * SECOND
    _, flights = fly(system, "rebooted", join([part(frames, 0, middle), part(frames, 0, None, after)]))
    assert [round(f.seconds) for f in flights] == [38, 72]


def test_a_log_may_start_and_end_armed(system: System, flight: tuple[Frames, int]) -> None:
    frames, middle = flight
    _, flights = fly(system, "armed-at-both-ends", part(frames, middle - 2000, middle + 2000))
    assert [f.reason for f in flights] == ["stopped"]
    assert flights[0].seconds == pytest.approx(32.5, abs=1)


def recoded(frame: bytes, sysid: int, is_old: bool) -> bytes:
    """The frame as another system sends it, in MAVLink 1 where that can say it."""
    msgid = int.from_bytes(frame[7:10], "little")
    layout = LAYOUTS[msgid]
    payload = frame[10:-2]
    if is_old and msgid < 256 and len(payload) <= layout.min_size:
        head = bytes((0xFE, layout.min_size, frame[4], sysid, frame[6], msgid))
        body = head + payload.ljust(layout.min_size, b"\0")
    else:
        body = frame[:5] + bytes((sysid,)) + frame[6:-2]
    return body + int(crc16.mcrf4xx(body[1:] + bytes((layout.crc_extra,)))).to_bytes(2, "little")


def test_a_second_vehicle_and_both_versions_of_mavlink_in_one_stream_are_not_mixed_up(
    system: System, flight: tuple[Frames, int]
) -> None:
    frames, _ = flight
    raw: list[bytes] = []
    times: list[int] = []
    for i in range(len(frames)):
        frame, at = frames[i], int(frames.time_us[i])
        is_plain = frame[0] == 0xFD and not frame[2] and int.from_bytes(frame[7:10], "little") in LAYOUTS
        raw.append(recoded(frame, frame[5], is_old=i % 2 == 0) if is_plain else frame)
        if is_plain and frame[5:7] == b"\1\1" and i < 12_000:  # its twin stays armed when this one lands
            raw.append(recoded(frame, 2, is_old=i % 3 == 0))
        times += [at] * (len(raw) - len(times))
    mixed = frames_of(raw, 0)
    assert {0xFE, 0xFD} <= {frame[0] for frame in raw}
    assert set(headers(mixed).sysid.tolist()) >= {1, 2}
    _, flights = fly(system, "two-vehicles", Frames(mixed.data, mixed.offsets, np.array(times, np.int64)))
    assert [(f.reason, round(f.seconds)) for f in flights] == [("disarmed", 72)]

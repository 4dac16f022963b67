"""A companion computer without a clock, GPS time that comes late and jumps: rows and files get the right dates."""

import contextlib
import socket
import time

import numpy as np
import pytest

from firmware_bridge.tlog import read_tlog
from hub.demo import free_port
from tests.fix_recorder import Talker
from tests.fix_system import Flight, System, flying, wait_until

pytestmark = pytest.mark.slow
SECOND = 1_000_000
GPS_START_US = 1_924_992_000_000_000
"""2031: what GPS says when the autopilot starts, unlike every clock of this machine."""
TEN_YEARS = 315_576_000 * SECOND
ARMS_S, FIX_S, LANDS_S, ENDS_S = 1.0, 5.0, 9.0, 11.0


def said(talker: Talker, at_s: float, number: int) -> list[bytes]:
    """What the autopilot says every 20 ms; its own clock counts them. GPS time from FIX_S on, twice ten years off."""
    frames = [talker.attitude()]
    if number % 25 == 0:
        frames.append(talker.heartbeat(armed=ARMS_S <= at_s < LANDS_S))
    if number % 10 == 0:
        wrong = {FIX_S + 1: TEN_YEARS, FIX_S + 2: -TEN_YEARS}.get(round(at_s, 1), 0)
        is_known = at_s >= FIX_S
        frames.append(talker.system_time(GPS_START_US + int(at_s * 1e6) + wrong if is_known else 0, number + 1))
    return frames


def test_gps_time_that_comes_in_flight_and_jumps_dates_the_flight_from_its_start(system: System) -> None:
    aircraft, port = system.aircraft("late-clock"), free_port("127.0.0.1")
    talker, sent = Talker(), 0
    flight = Flight.of_udp(aircraft, port)
    with flying(flight), contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as out:
        wait_until(lambda: flight.store.exists(), 30, "the store")
        time.sleep(1)
        began = time.monotonic()
        for number in range(int(ENDS_S * 50)):
            time.sleep(max(0.0, began + number * 0.02 - time.monotonic()))
            for frame in said(talker, number * 0.02, number):
                out.sendto(frame, ("127.0.0.1", port))
                sent += 1
        wait_until(lambda: system.facts(aircraft).frames == sent, 30, "every frame")
        flight.stop()
    facts = system.settled(aircraft)
    assert (facts.frames, facts.gaps, facts.duplicates, facts.unsettled) == (sent, 0, 0, 0)
    ((shown, report),) = system.flights(aircraft)
    assert (shown["state"], shown["complete"], report.is_whole, shown["clock_source"]) == ("closed", True, True, "gps")
    assert shown["started_utc_us"] == pytest.approx(GPS_START_US + ARMS_S * SECOND, abs=SECOND)
    assert shown["ended_utc_us"] == pytest.approx(GPS_START_US + LANDS_S * SECOND, abs=SECOND)
    rows = system.demo.api.call("GET", f"/v1/flights/{shown['id']}/telemetry?channels=roll_rad&resolution=raw")
    assert np.diff(rows["time_utc_us"]).min() > 0
    assert rows["time_utc_us"][0] == pytest.approx(GPS_START_US, abs=2 * SECOND)  # the pre-roll, before GPS was known
    (stream,) = system.exported(aircraft)
    times = read_tlog(stream).frames.time_us
    assert times[0] == pytest.approx(GPS_START_US, abs=SECOND)
    assert times[-1] == pytest.approx(GPS_START_US + ENDS_S * SECOND, abs=SECOND)

"""A recorder's store torn in flight, through the whole system: the hub shows the gap, and nobody calls it complete."""

import contextlib
import random
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from firmware_bridge.tlog import read_tlog
from hub.demo import free_port
from shared.frames import Frames
from tests.chaos.test_agent_torn_store import Damage, flip_bytes, truncate
from tests.chaos.test_system_kills import journaled
from tests.chaos.test_system_links import cuttable
from tests.fix_system import Flight, System, flying, wait_until

pytestmark = pytest.mark.slow


class Feed:
    """An autopilot that sends each frame of a recording once, over UDP."""

    def __init__(self, frames: Frames, port: int) -> None:
        self._frames, self._port, self.sent = frames, port, 0
        self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._out.sendto(self._frames[self.sent], ("127.0.0.1", self._port))
            self.sent += 1
            time.sleep(0.002)

    def close(self) -> None:
        self._out.close()


def tear(store: Path, damage: Damage) -> None:
    """Everything into the main file, where the damage goes."""
    with contextlib.closing(sqlite3.connect(store)) as conn:
        conn.execute("PRAGMA wal_checkpoint (TRUNCATE)")
    damage(store, random.Random(3))


@pytest.mark.parametrize("damage", [flip_bytes, truncate])
def test_a_store_torn_in_flight_leaves_a_flight_that_nobody_calls_complete(
    system: System, damage: Callable[[Path, random.Random], None]
) -> None:
    aircraft, port = system.aircraft(f"torn-{damage.__name__}"), free_port("127.0.0.1")
    frames = system.log("copter", 4700, 9000).frames  # arms 1.4 s after the first of them
    with cuttable(system) as (link, uplink), contextlib.closing(Feed(frames, port)) as feed:
        flight = Flight.of_udp(aircraft, port, uplink)
        with flying(flight):
            wait_until(lambda: flight.store.exists(), 30, "the store")
            time.sleep(1)
            feed.send(4)
            link.go_dark()
            feed.send(3)
            flight.kill()
        on_disk = Counter(body for _, body in journaled(flight))
        tear(flight.store, damage)
        link.come_back()
        with flying(flight):
            wait_until(lambda: list(flight.store.parent.glob("store.db.torn-*")) != [], 30, "the torn store set aside")
            time.sleep(1)
            feed.send(4)
            wait_until(lambda: system.facts(aircraft).sessions == 2 and not journaled(flight), 60, "an empty store")
            flight.stop()
    parts = [read_tlog(part).frames for part in system.exported(aircraft)]
    kept = Counter(part[i] for part in parts for i in range(len(part)))
    sent = Counter(frames[i] for i in range(feed.sent))
    assert not kept - sent, "a frame came twice, or was never sent"
    assert sum((on_disk - kept).values()) == 0 or system.facts(aircraft).gaps > 0, "lost without a word"
    wait_until(lambda: system.flights(aircraft)[0][0]["state"] == "closed", 30, "the end of the torn flight")
    (torn, proof), (live, live_proof) = system.flights(aircraft)
    told = torn["completeness"]
    assert (torn["close_reason"], torn["complete"], told["manifest"]) == ("store_reset", False, False)
    assert [gap["reason"] for gap in told["gaps"]] == ["store_reset"]
    assert told["statement"].startswith("Never closed by the aircraft (its recorder's store was damaged or replaced)")
    assert (live["state"], live["complete"]) == ("live", False)
    assert live["completeness"]["statement"].startswith("In the air, or not yet closed by the aircraft")
    for report in (proof, live_proof):
        assert (report.problems, report.is_proven, report.is_whole) == ([], False, False)
        assert any("no closing record" in text for text in report.not_proven)

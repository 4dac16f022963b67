"""kill -9 of everything, by real processes: a journaled frame is in the hub once or covered by a gap record."""

import contextlib
import random
import socket
import sqlite3
import time
from collections import Counter

import pytest

from agent.journal import unpack
from agent.store import envelope, journal_rows, outbox_rows
from firmware_bridge.tlog import read_tlog
from hub.demo import free_port
from shared.batch import decode
from shared.codec import decode_block
from shared.envelope import peek
from tests.fix_system import Flight, System, flying, wait_until

pytestmark = pytest.mark.slow
QUICK_LINK = "[uplink]\npuback_timeout_s = 2.0\nreceipt_timeout_s = 3.0\n"


def test_fifty_kills_of_the_agent_lose_nothing_that_was_journaled_and_double_nothing(system: System) -> None:
    log = system.log("copter")
    aircraft = system.aircraft("kill-agent")
    chance = random.Random(20)
    flight = Flight.of_log(aircraft, log, 12.0, QUICK_LINK)
    kills = 0
    while kills < 50:
        with flying(flight):
            time.sleep(chance.uniform(0.4, 1.6))
            if not flight.is_running():
                break
            flight.kill()
            kills += 1
    assert kills == 50, f"the log ended after {kills} kills: play it slower"
    flight.settings = Flight.of_log(aircraft, log, "max", QUICK_LINK).settings
    with flying(flight):
        flight.finish()
    system.assert_whole(aircraft, log)


def test_kills_of_ingest_broker_and_database_lose_nothing(system: System) -> None:
    log = system.log("plane")
    aircraft = system.aircraft("kill-hub")
    chance = random.Random(21)
    flight = Flight.of_log(aircraft, log, 2.5, QUICK_LINK)
    with flying(flight):
        for _ in range(3):
            time.sleep(chance.uniform(1.0, 2.5))
            system.kill("ingest")
            time.sleep(chance.uniform(0.5, 1.5))
            system.kill_broker(chance.uniform(0.0, 1.5))
            time.sleep(chance.uniform(0.5, 1.5))
            system.kill_postgres(chance.uniform(0.0, 1.5))
            system.kill("worker")
        assert flight.is_running(), "the log ended before the faults did: play it slower"
        flight.finish()
    system.assert_whole(aircraft, log)


def journaled(flight: Flight) -> set[tuple[int, bytes]]:
    """Every frame that is on the aircraft's disk now, journaled or sealed."""
    with contextlib.closing(sqlite3.connect(f"file:{flight.store}?mode=ro", uri=True)) as conn:
        parts = [unpack(row.body) for row in journal_rows(conn)]
        for row in outbox_rows(conn):
            body = envelope(conn, row.id)
            assert body is not None
            columns = decode(peek(body)[1]).columns
            if columns:
                parts.append(decode_block(columns).frames())
    return {(int(part.time_us[i]), part[i]) for part in parts for i in range(len(part))}


def test_what_a_live_link_brought_to_disk_before_each_kill_is_in_the_hub_once(system: System) -> None:
    aircraft = system.aircraft("kill-live")
    frames = system.log("copter").frames
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as out:
        port = free_port("127.0.0.1")
        flight = Flight.of_udp(aircraft, port, QUICK_LINK)
        sent, on_disk, chance = 0, set[tuple[int, bytes]](), random.Random(22)
        for _ in range(8):
            with flying(flight):
                until = time.monotonic() + chance.uniform(3.5, 6.0)
                while time.monotonic() < until:
                    out.sendto(frames[sent % len(frames)], ("127.0.0.1", port))
                    sent += 1
                    time.sleep(0.002)
                flight.kill()
            on_disk |= journaled(flight)
        with flying(flight):
            time.sleep(3)
            wait_until(lambda: not journaled(flight), 60, "an empty store")
            flight.stop()
    back = [read_tlog(part).frames for part in system.exported(aircraft)]
    kept = [f[i] for f in back for i in range(len(f))]
    assert len(on_disk) > 1000
    missing = Counter(body for _, body in on_disk)
    missing.subtract(kept)
    assert not +missing, f"{sum((+missing).values())} journaled frames are not in the hub"
    assert len(kept) <= sent
    facts = system.facts(aircraft)
    assert (facts.duplicates, facts.quarantined, facts.gaps) == (0, 0, 0)

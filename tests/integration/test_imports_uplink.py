"""Imported logs over real brokers: sent, receipted, gone on with; and never in the way of a flight."""

import contextlib
import itertools
import json
import signal
import socket
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from agent.store import outbox_ids
from firmware_bridge.tlog import open_log, read_tlog
from shared.topics import Lane
from tests.fix_agent import DEMO_LOG, Aircraft, run_agent, start_agent
from tests.fix_imports import logs_of, make_station, write_log
from tests.fix_system import Autopilot, wait_until

pytestmark = pytest.mark.slow
on_one_broker = pytest.mark.parametrize("broker", ["nats"], indirect=True)


def imported(aircraft: Aircraft, card: Path, *options: str) -> None:
    done = run_agent("import", card, "--config", aircraft.config(), *options)
    assert done.returncode == 0, done.stderr


def bulk(aircraft: Aircraft) -> dict:  # type: ignore[type-arg]
    return {key: found for key, found in aircraft.hub.batches.items() if found[0].lane == Lane.bulk}


def test_sync_sends_all_and_the_card_is_then_free_offline(aircraft: Aircraft) -> None:
    make_station(aircraft.folder / "identity")
    card = aircraft.folder / "card"
    paths = [write_log(card / f"{n}.BIN", 10 + n) for n in (1, 2)]
    imported(aircraft, card)
    done = run_agent("sync", "--config", aircraft.config(), "--timeout", "30", "--json")
    assert done.returncode == 0, done.stderr
    assert sorted(data for _, data in logs_of(bulk(aircraft)).values()) == sorted(p.read_bytes() for p in paths)
    said = json.loads(done.stdout)
    assert (said["logs"], said["waiting_batches"]) == (2, 0) and said["hub_trouble"]
    verdict = run_agent("card", card, "--config", aircraft.config(), "--json")
    assert verdict.returncode == 0
    assert {f["proof"] for f in json.loads(verdict.stdout)["files"]} == {"batch receipts"}


@on_one_broker
def test_a_sync_without_receipts_ends_in_time_and_the_next_one_goes_on(aircraft: Aircraft) -> None:
    card = aircraft.folder / "card"
    path = write_log(card / "1.BIN", 60, rate_hz=100)
    imported(aircraft, card)
    aircraft.hub.refuses = {1}
    config = aircraft.config()
    first = run_agent("sync", "--config", config, "--timeout", "4", "--json")
    assert first.returncode == 3 and json.loads(first.stdout)["waiting_batches"] == 1
    sent = len(aircraft.hub.arrivals)
    aircraft.hub.refuses = set()
    assert run_agent("sync", "--config", config, "--timeout", "30").returncode == 0
    assert len(aircraft.hub.arrivals) == sent + 1 and aircraft.hub.conflicts == 0
    ((_, data),) = logs_of(bulk(aircraft)).values()
    assert data == path.read_bytes()


@on_one_broker
def test_a_sync_without_a_network_says_so_and_leaves_everything_queued(aircraft: Aircraft) -> None:
    card = aircraft.folder / "card"
    write_log(card / "1.BIN")
    imported(aircraft, card)
    nowhere = aircraft.config(uplink={"host": "127.0.0.1", "port": 9})
    done = run_agent("sync", "--config", nowhere, "--timeout", "3")
    assert done.returncode == 3 and "wait" in done.stdout
    assert run_agent("sync", "--config", aircraft.config(), "--timeout", "30").returncode == 0


class SlowLink:
    """A TCP relay to the broker that passes so many bytes a second upwards."""

    def __init__(self, target: tuple[str, int], bytes_s: int) -> None:
        self._target, self._bytes_s = target, bytes_s
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                far = socket.create_connection(self._target)
                threading.Thread(target=self._pump, args=(near, far, self._bytes_s), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, 1 << 30), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, bytes_s: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                time.sleep(len(data) / bytes_s)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.close()


@on_one_broker
def test_on_a_slow_link_a_flight_is_not_delayed_by_imported_logs_and_both_arrive(aircraft: Aircraft) -> None:
    card = aircraft.folder / "card"
    path = write_log(card / "1.BIN", 240, rate_hz=200)
    imported(aircraft, card)
    frames = read_tlog(open_log(DEMO_LOG)).frames.slice(0, 6000)
    autopilot = Autopilot(frames, 500)
    link = SlowLink((aircraft.identity.mqtt_host, aircraft.identity.mqtt_port), 50_000)
    config = aircraft.config(
        link={"kind": "tcp", "host": "127.0.0.1", "port": autopilot.port},
        uplink={"host": "127.0.0.1", "port": link.port},
    )
    agent = start_agent("run", "--config", config)
    try:
        assert autopilot.is_done.wait(40)
        arrived = list(aircraft.hub.arrivals)
        wait_until(lambda: len(logs_of_or_none(aircraft)) == 1, 60, "the imported log")
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.communicate(timeout=20)
        autopilot.close()
        link.close()
    assert sum(b.lane == Lane.bulk for _, b in arrived) >= 3, "the link was idle at times, and the log used it"
    live = [at for at, b in arrived if b.lane == Lane.live]
    pauses = [b - a for a, b in itertools.pairwise(live)]
    assert len(live) >= 4 and max(pauses) < 2.0 + 32_768 / 50_000 + 1.5
    ((_, data),) = logs_of(bulk(aircraft)).values()
    assert data == path.read_bytes()
    with contextlib.closing(sqlite3.connect(aircraft.folder / "data" / "imports.db")) as conn:
        assert outbox_ids(conn) == set()


def logs_of_or_none(aircraft: Aircraft) -> dict:  # type: ignore[type-arg]
    """The logs whose every batch has come."""
    with contextlib.suppress(AssertionError):
        return logs_of(bulk(aircraft))
    return {}


@on_one_broker
def test_while_an_agent_runs_it_does_the_sending_and_sync_watches(aircraft: Aircraft) -> None:
    config = aircraft.config(link={"kind": "udp-server", "port": 0})
    agent = start_agent("run", "--config", config)
    try:
        wait_until(lambda: any(s.get("online") for s in aircraft.hub.states), 20, "the agent to come up")
        card = aircraft.folder / "card"
        write_log(card / "1.BIN", 30)
        imported(aircraft, card)
        done = run_agent("sync", "--config", config, "--timeout", "30", "--json")
        assert done.returncode == 0 and json.loads(done.stdout)["protocol"] == "the running agent"
        assert run_agent("card", card, "--config", config).returncode == 0
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.communicate(timeout=20)
    assert len(logs_of(bulk(aircraft))) == 1


@on_one_broker
def test_a_torn_file_of_imports_never_ends_the_recorder(aircraft: Aircraft) -> None:
    card = aircraft.folder / "card"
    write_log(card / "1.BIN", 30)
    imported(aircraft, card)
    file = aircraft.folder / "data" / "imports.db"
    data = bytearray(file.read_bytes())
    data[2048:16384] = bytes(len(data[2048:16384]))
    file.write_bytes(data)
    config = aircraft.config(link={"kind": "udp-server", "port": 0})
    agent = start_agent("run", "--config", config)
    try:
        wait_until(lambda: bool(list(file.parent.glob("imports.db.torn-*"))), 20, "the torn file to be set aside")
        wait_until(lambda: any(s.get("online") for s in aircraft.hub.states), 20, "the recorder to go on")
        assert agent.poll() is None
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.communicate(timeout=20)
    assert agent.returncode == 0
    assert run_agent("card", card, "--config", config).returncode == 1

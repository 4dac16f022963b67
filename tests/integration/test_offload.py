"""A real agent process fetches a scripted autopilot's logs over UDP, and stops when it is armed."""

import contextlib
import hashlib
import json
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import identity
from agent.imports import ImportQueue
from agent.store import envelope, outbox_rows
from firmware_bridge.columns import columns_of
from firmware_bridge.mavftp import Nak, Op
from shared import batch
from shared.codec import decode_block
from shared.envelope import peek
from tests.fix_agent import HubKey, settings_file, start_agent, write_identity
from tests.fix_dataflash import dataflash_log
from tests.fix_log_server import LogServer
from tests.fix_scripted_autopilot import Faults, ScriptedAutopilot
from tests.fix_system import wait_until
from tests.integration.test_agent_live import free_port

HEARTBEAT_S = 1.0
Begin = Callable[..., "Offloading"]


class Offloading:
    """An agent without a hub, and its autopilot."""

    def __init__(self, folder: Path, server: LogServer, **autopilot: Any) -> None:
        self.folder, self.server, self.port = folder, server, free_port()
        write_identity(folder / "identity", HubKey())
        self.config = settings_file(
            folder, link={"kind": "udp-server", "port": self.port}, uplink={"transport": "none"},
            offload={"enabled": True, "settle_s": 1},
        )  # fmt: skip
        self.autopilot = ScriptedAutopilot(self.port, server, **autopilot)
        self.agent = start_agent("run", "--config", self.config)

    def kill_and_start_again(self) -> None:
        self.agent.kill()
        self.agent.communicate()
        self.agent = start_agent("run", "--config", self.config)

    def queued(self) -> set[bytes]:
        """SHA-256 of the logs that wait for the hub, whole."""
        if not (self.folder / "data" / "imports.db").exists():
            return set()
        me = identity.load(self.folder / "identity")
        try:
            with contextlib.closing(ImportQueue(self.folder / "data", me)) as queue:
                return {row.log for row in queue.imports() if row.packed and row.origin == "offload"}
        except sqlite3.Error:  # it is being made
            return set()

    def known(self) -> dict[str, Any]:
        """What it remembers to have fetched."""
        path = self.folder / "data" / "offload" / "known.json"
        return dict(json.loads(path.read_text())["known"]) if path.exists() else {}

    def fetched(self) -> list[Path]:
        """Logs that lie there, not queued yet."""
        return [p for p in (self.folder / "data" / "offload" / "done").rglob("*") if p.is_file()]

    def batches(self) -> list[batch.Batch]:
        """What was recorded, after the agent's end."""
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "store.db")) as conn:
            return [batch.decode(peek(envelope(conn, row.id) or b"")[1]) for row in outbox_rows(conn)]

    def wait(self, is_true: Callable[[], bool], what: str) -> None:
        """Wait for something; what the agent said and was asked is shown when it does not come."""
        try:
            wait_until(is_true, 40, what)
        except AssertionError:
            print(self.end(), self.fetched(), self.known(), *self.server.requests[-20:], self.server.sessions, sep="\n")
            raise

    def end(self) -> str:
        """SIGTERM; what it said."""
        self.agent.send_signal(signal.SIGTERM)
        _, err = self.agent.communicate(timeout=30)
        self.autopilot.stop()
        return str(err)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    made: list[Offloading] = []

    def make(server: LogServer, **autopilot: Any) -> Offloading:
        made.append(Offloading(tmp_path, server, **autopilot))
        return made[-1]

    yield make
    for one in made:
        one.agent.kill()
        one.agent.communicate()
        one.autopilot.stop()


def some_logs(*seconds: float) -> dict[str, bytes]:
    return {f"/APM/LOGS/{i:08d}.BIN": dataflash_log(s, week=2340 + i) for i, s in enumerate(seconds, 1)}


def sha256(*logs: bytes) -> set[bytes]:
    return {hashlib.sha256(log).digest() for log in logs}


@pytest.mark.slow
def test_the_logs_of_a_disarmed_vehicle_are_queued_whole_the_newest_first(begin: Begin) -> None:
    server = LogServer(some_logs(4, 8) | {"/APM/LOGS/LASTLOG.TXT": b"2\n", "/APM/LOGS/rubbish.bin": b"no log at all"})
    run = begin(server, faults=Faults(loss=0.02, twice=0.02, late=0.05))
    logs = [data for path, data in server.files.items() if path.startswith("/APM/LOGS/0")]
    run.wait(lambda: run.queued() == sha256(*logs), "both logs in the queue")
    run.wait(lambda: len(run.known()) == 3 and not run.fetched(), "the end of what is no log")
    err = run.end()
    opened = [p.data.decode() for p in run.autopilot.ftp() if p.op == Op.OPEN and b".BIN" in p.data]
    assert opened[0].endswith("2.BIN") and opened[-1].endswith("1.BIN")
    assert "no flight log" in err and run.autopilot.is_idle()
    seen = {g.msgid for b in run.batches() if b.columns for g in columns_of(decode_block(b.columns).frames()).groups}
    assert {0, 30} <= seen and not seen & {110, 118, 120}, "a log's packets were recorded as telemetry"


@pytest.mark.slow
def test_arming_ends_it_within_a_heartbeat_and_disarming_goes_on(begin: Begin) -> None:
    server = LogServer(some_logs(30))
    run, log = begin(server, kbit_s=400), next(iter(server.files.values()))
    run.wait(lambda: sum(p.op == Op.READ for p in run.autopilot.ftp()) > 300, "a third of the log")
    run.autopilot.is_armed = True
    armed_s = time.monotonic()
    time.sleep(3 * HEARTBEAT_S)
    asked = [at for at, _ in run.autopilot.requests()]
    assert asked[-1] < armed_s + HEARTBEAT_S and run.autopilot.ended() and run.autopilot.is_idle()
    reads = sum(p.op == Op.READ for p in run.autopilot.ftp())
    run.autopilot.is_armed = False
    run.wait(lambda: run.queued() == sha256(log), "the whole log")
    again = sum(p.size for p in run.autopilot.ftp() if p.op == Op.READ) - len(log)
    assert reads > 300 and again < 40 * 239, "what was there was fetched again"
    run.end()
    closed = [r for b in run.batches() for r in b.records if r["type"] == "session_close"]
    assert len(closed) == 1 and closed[0]["wire_lost"] == {}, "what was left out is told as lost"


@pytest.mark.slow
def test_a_killed_agent_goes_on_where_its_disk_is(begin: Begin) -> None:
    server = LogServer(some_logs(60))
    run, log = begin(server, kbit_s=400), next(iter(server.files.values()))

    def is_half_saved() -> bool:
        saved = list((run.folder / "data" / "offload").glob("*.json"))
        return any(json.loads(p.read_text()).get("have", 0) > 50_000 for p in saved if p.name != "known.json")

    run.wait(is_half_saved, "a saved part")
    run.kill_and_start_again()
    server.requests.clear()
    run.wait(lambda: run.queued() == sha256(log), "the whole log")
    reads = [p.offset for p in run.autopilot.ftp() if p.op == Op.READ]
    assert min(reads) > 50_000 - 239, "it began anew"


@pytest.mark.slow
def test_an_agent_that_is_stopped_says_the_end_first(begin: Begin) -> None:
    server = LogServer(some_logs(20), naks={Op.LIST: [Nak.UNKNOWN_COMMAND]})
    run = begin(server, kbit_s=100)
    run.wait(lambda: server.is_downloading, "a log on its way")
    err = run.end()
    assert run.agent.returncode == 0 and "stopping" in err
    assert run.autopilot.ended() and run.autopilot.is_idle()

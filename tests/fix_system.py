"""Real processes for tests of faults: database, broker, hub, aircraft, and a link that can go dark."""

import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agent.store import envelope, outbox_rows
from firmware_bridge.tlog import read_tlog, write_tlog
from hub.demo import FLIGHTS, free_port, own_folder
from hub.demo_aircraft import Aircraft, enrol
from hub.demo_log import DemoLog, open_demo_log
from hub.demo_run import Demo, make_owner
from hub.settings import load
from hub.store.aircraft_facts import STREAMS, Facts
from hub.store.query import run
from hub.store.tenant import tenant
from hub.up import RunningHub
from hub.verify import verify
from hub.verify_report import Report
from shared.envelope import RECEIPT_TYPE, open_envelope
from shared.frames import Frames
from shared.receipt import decode_receipt

FOLDERS = 'data_dir = "."\n'


def wait_until(is_true: Callable[[], bool], limit_s: float, what: str) -> None:
    """Wait for a condition; AssertionError naming it when the limit passes."""
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:.0f} s"
        time.sleep(0.05)


class Autopilot:
    """A TCP port that sends frames as fast as asked to whoever connects, and loses none."""

    def __init__(self, frames: Frames, frames_s: float) -> None:
        self._frames, self._frames_s = frames, frames_s
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.is_done = threading.Event()
        threading.Thread(target=self._send, daemon=True).start()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            agent, _ = self._server.accept()
            for first in range(0, len(self._frames), 100):
                agent.sendall(self._frames.slice(first, min(first + 100, len(self._frames))).data)
                time.sleep(100 / self._frames_s)
            self.is_done.set()
            while agent.recv(65536):
                pass

    def close(self) -> None:
        self._server.close()


class LinkCut:
    """A TCP relay to the broker that can go dark without closing anything, as a lost radio link does."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._is_dark = threading.Event()
        self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def go_dark(self) -> None:
        """From now on no byte passes; connections stay up and silent."""
        self._is_dark.set()

    def come_back(self) -> None:
        """Bytes pass again, for connections old and new."""
        self._is_dark.clear()

    def close(self) -> None:
        self._is_closed = True
        self._server.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                near, _ = self._server.accept()
                far = socket.create_connection(self._target)
            except OSError:
                continue
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while self._is_dark.is_set() and not self._is_closed:
                    time.sleep(0.02)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@dataclass
class System:
    """A running hub with an organisation; aircraft are made and flown by the tests."""

    hub: RunningHub
    demo: Demo
    stop: threading.Event = field(default_factory=threading.Event)

    def aircraft(self, name: str) -> Aircraft:
        """An enrolled aircraft."""
        return enrol(self.demo.api, self.demo.folder / name, name)

    def log(self, name: str = "copter", first: int = 0, count: int | None = None) -> DemoLog:
        """A demo flight, or `count` of its frames from `first` on, as a log of its own."""
        whole = open_demo_log(FLIGHTS / f"{name}.tlog.zst", self.demo.folder)
        if count is None:
            return whole
        part = whole.frames.slice(first, first + count)
        path = self.demo.folder / f"{name}-{first}-{count}.tlog"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write_tlog(part))
        return open_demo_log(path, self.demo.folder)

    def facts(self, aircraft: Aircraft) -> Facts:
        """What the hub holds of the aircraft now."""
        return self.demo.facts(aircraft)

    def accounted(self, aircraft: Aircraft) -> int:
        """Frames in the hub, and frames that signed gap records own up to."""
        facts = self.facts(aircraft)
        return facts.frames + facts.gap_frames

    def settled(self, aircraft: Aircraft) -> Facts:
        """What the hub holds once every flight is settled and analysed."""
        return self.demo.wait_settled(aircraft)

    def flights(self, aircraft: Aircraft) -> list[tuple[dict[str, Any], Report]]:
        """Each flight as the API shows it, and what `dbx verify` says of its evidence; oldest first."""
        api, hub_key = self.demo.api, self.hub.installation.hub_key.public_key().public_bytes_raw()
        found = []
        for item in api.call("GET", f"/v1/flights?aircraft_id={aircraft.aircraft_id}")["items"]:
            evidence = api.download(f"/v1/flights/{item['id']}/evidence")
            found.append((api.call("GET", f"/v1/flights/{item['id']}"), verify(evidence, [hub_key])))
        return sorted(found, key=lambda f: str(f[0]["id"]))

    def assert_told_truly(self, aircraft: Aircraft) -> int:
        """The API's words and `dbx verify` agree on every closed flight; how many of them are not whole."""
        self.settled(aircraft)
        broken = 0
        for flight, report in self.flights(aircraft):
            told = flight["completeness"]
            what = flight["id"], told["statement"], report.problems, report.not_proven
            assert flight["state"] == "closed" and not report.problems, what
            assert report.is_whole == flight["complete"] == told["statement"].startswith("Complete"), what
            assert report.is_proven == told["manifest"], what
            if report.is_proven and not report.is_whole:
                assert "accounted for by signed records" in told["statement"], what
                assert any(text.startswith("accounted for") for text in report.proven), what
            broken += not report.is_whole
        return broken

    def exported(self, aircraft: Aircraft) -> list[bytes]:
        """Each stream of the aircraft as tlog, oldest first."""
        with tenant(self.demo._conn, self.demo.owner.org_id, "test"):
            streams = run(self.demo._conn, STREAMS, self.demo.owner.org_id, aircraft.aircraft_id)
        return [self.demo.api.download(f"/v1/streams/{stream}/stream.tlog") for stream in streams]

    def envelopes(self, aircraft: Aircraft) -> list[bytes]:
        """Every envelope of the aircraft as the hub received it, in order."""
        sql = """SELECT e.envelope FROM batch_envelopes e JOIN ingest_batches b USING (org_id, stream_id, seq)
            WHERE e.org_id = %s AND b.aircraft_id = %s ORDER BY e.stream_id, e.seq"""
        with tenant(self.demo._conn, self.demo.owner.org_id, "test"):
            rows = self.demo._conn.execute(sql, (self.demo.owner.org_id, aircraft.aircraft_id)).fetchall()
        return [bytes(row[0]) for row in rows]

    def quarantined(self, aircraft: Aircraft) -> list[str]:
        """Reasons of what was refused of the aircraft."""
        sql = "SELECT reason FROM quarantine WHERE org_id = %s AND aircraft_id = %s ORDER BY first_seen_at"
        with tenant(self.demo._conn, self.demo.owner.org_id, "test"):
            rows = self.demo._conn.execute(sql, (self.demo.owner.org_id, aircraft.aircraft_id)).fetchall()
        return [str(row[0]) for row in rows]

    def refused(self) -> list[str]:
        """Reasons of everything that was refused on the organisation's topics."""
        sql = "SELECT reason FROM quarantine WHERE org_id = %s"
        with tenant(self.demo._conn, self.demo.owner.org_id, "test"):
            rows = self.demo._conn.execute(sql, (self.demo.owner.org_id,)).fetchall()
        return [str(row[0]) for row in rows]

    def alerts(self) -> list[str]:
        """Kinds of the organisation's alerts."""
        with tenant(self.demo._conn, self.demo.owner.org_id, "test"):
            rows = self.demo._conn.execute(
                "SELECT kind FROM alerts WHERE org_id = %s", (self.demo.owner.org_id,)
            ).fetchall()
        return [str(row[0]) for row in rows]

    def receipted_digests(self, receipts: list[bytes]) -> dict[int, bytes]:
        """Sequence -> digest that signed receipts name."""
        public = self.hub.installation.hub_key.public_key()
        opened = [open_envelope(r, lambda _: public, RECEIPT_TYPE) for r in receipts]
        return {seq: named for o in opened for seq, named in decode_receipt(o.payload).committed().items()}

    def receipted(self, receipts: list[bytes]) -> set[int]:
        """The sequences that signed receipts name."""
        return set(self.receipted_digests(receipts))

    @staticmethod
    def outbox(flight: "Flight") -> list[bytes]:
        """What waits in an agent's outbox, in order."""
        with contextlib.closing(sqlite3.connect(f"file:{flight.store}?mode=ro", uri=True)) as conn:
            return [body for row in outbox_rows(conn) if (body := envelope(conn, row.id)) is not None]

    def assert_whole(self, aircraft: Aircraft, log: DemoLog) -> None:
        """Without loss: every frame of the log is in the hub exactly once, with its time; no gap, no row twice."""
        facts = self.settled(aircraft)
        assert b"".join(self.exported(aircraft)) == write_tlog(log.frames)
        assert (facts.frames, facts.gaps, facts.duplicates, facts.quarantined) == (len(log.frames), 0, 0, 0)
        assert facts.unsettled == 0

    def assert_accounted(self, aircraft: Aircraft, log: DemoLog) -> Facts:
        """With loss: what is in the hub is in the log, once; what is not is covered by signed gap records."""
        facts = self.settled(aircraft)
        back = [read_tlog(part).frames for part in self.exported(aircraft)]
        kept = [(int(f.time_us[i]), f[i]) for f in back for i in range(len(f))]
        recorded = {(int(log.frames.time_us[i]), log.frames[i]) for i in range(len(log.frames))}
        assert len(set(kept)) == len(kept), "a frame came twice"
        assert set(kept) <= recorded, "a frame came that was never recorded"
        assert facts.frames + facts.gap_frames == len(log.frames), "frames are missing without a gap record"
        assert facts.duplicates == 0
        return facts

    def kill_postgres(self, dark_s: float) -> None:
        """kill -9 the database server and start it again after a while."""
        assert self.hub.postgres
        self.hub.postgres.kill()
        time.sleep(dark_s)
        self.hub.start_postgres()
        self.demo.reconnect()

    def kill_broker(self, dark_s: float) -> None:
        """kill -9 the broker and start it again after a while."""
        broker = self.hub.installation.embedded_broker
        assert broker
        broker.kill()
        time.sleep(dark_s)
        broker.start()

    def kill(self, name: str) -> None:
        """kill -9 one process of the hub; its supervisor starts it again."""
        child = self.hub.children[name]
        assert child.process
        restarts = child.restarts
        child.process.send_signal(signal.SIGKILL)
        wait_until(lambda: child.restarts > restarts, 60, f"the restart of {name}")


@dataclass
class Flight:
    """An agent process that records into one aircraft's store; killed, restarted and waited for by the test."""

    aircraft: Aircraft
    settings: str
    once: bool = True
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of_log(cls, aircraft: Aircraft, log: DemoLog, speed: float | str, extra: str = "") -> "Flight":
        """Plays a log and ends when all of it is receipted. extra: more TOML sections."""
        pace = json.dumps(speed)
        link = f'[link]\nkind = "file"\npath = {json.dumps(str(log.path))}\nspeed = {pace}\n'
        return cls(aircraft, FOLDERS + link + extra)

    @classmethod
    def of_udp(cls, aircraft: Aircraft, port: int, extra: str = "") -> "Flight":
        """Listens for an autopilot on a UDP port until stopped."""
        return cls(aircraft, f'{FOLDERS}[link]\nkind = "udp-server"\nport = {port}\n' + extra, once=False)

    @classmethod
    def of_tcp(cls, aircraft: Aircraft, port: int, extra: str = "") -> "Flight":
        """Connects to an autopilot's TCP port until stopped."""
        link = f'[link]\nkind = "tcp"\nhost = "127.0.0.1"\nport = {port}\n'
        return cls(aircraft, FOLDERS + link + extra, once=False)

    @property
    def store(self) -> Path:
        return self.aircraft.folder / "store.db"

    @property
    def _toml(self) -> Path:
        return self.aircraft.folder / "agent.toml"

    def start(self) -> None:
        self._toml.write_text(self.settings)
        words = ["agent", "run", "--config", str(self._toml), *(["--once"] if self.once else [])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "shared.command", *words], stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()
        )

    def kill(self) -> None:
        """kill -9, as a power cut of the companion computer."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self, limit_s: float = 60) -> None:
        """SIGTERM, and wait for the end."""
        assert self.process
        self.process.terminate()
        self.process.wait(limit_s)

    def finish(self, limit_s: float = 180) -> None:
        """Wait until it ends by itself: everything receipted."""
        assert self.process
        assert self.process.wait(limit_s) == 0

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@contextlib.contextmanager
def flying(flight: Flight) -> Iterator[Flight]:
    """Started, and surely gone afterwards."""
    flight.start()
    try:
        yield flight
    finally:
        if flight.is_running():
            flight.kill()


@contextlib.contextmanager
def running_system(broker: str = "nats", ingest_processes: int = 1, release_keys: str = "") -> Iterator[System]:
    """A system in a folder of its own, gone afterwards."""
    with own_folder(None) as folder:
        settings = replace(
            load({"DBX_BROKER": broker}, str(folder)),
            data_dir=folder,
            api_port=free_port("127.0.0.1"),
            ingest_processes=ingest_processes,
            release_keys=release_keys,
        )
        stop = threading.Event()
        with RunningHub(settings) as hub, contextlib.closing(Demo(hub, make_owner(hub.installation), stop)) as demo:
            yield System(hub, demo, stop)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """One running system for a module's tests."""
    with running_system() as made:
        yield made

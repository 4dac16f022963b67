"""A live agent process: links, commands, directives, a broker that goes away, lanes."""

import json
import os
import pty
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.link import LinkReader, open_port
from agent.recorder_clock import now_us
from agent.settings import LinkSettings
from agent.source import LinkSource
from shared.frames import Frames, join
from shared.receipt import pack_directives
from shared.topics import Lane
from tests.fix_agent import Aircraft, HubKey, check_chain, run_agent, settings_file, start_agent, write_identity
from tests.fix_recorder import Talker


def wait_for(holds: Callable[[], object], timeout_s: float = 20) -> bool:
    until = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


class Autopilot:
    """Sends over UDP from a thread: HEARTBEAT at 1 Hz and 50 other frames a second."""

    def __init__(self, port: int) -> None:
        self.is_armed = False
        self.sent: list[bytes] = []
        self.heard = b""
        self._talker = Talker()
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            tick = 0
            while not self._stop.wait(0.02):
                beat = [self._talker.heartbeat(self.is_armed)] if tick % 50 == 0 else []
                for frame in (*beat, self._talker.attitude()):
                    out.sendto(frame, ("127.0.0.1", self._port))
                    self.sent.append(frame)
                tick += 1
                try:
                    self.heard += out.recv(65536)
                except OSError:
                    continue

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Flying:
    """An aircraft with its agent running and its autopilot talking."""

    def __init__(self, aircraft: Aircraft) -> None:
        port = free_port()
        self.aircraft = aircraft
        self.config = aircraft.config(
            link={"kind": "udp-server", "port": port}, uplink={"puback_timeout_s": 3, "receipt_timeout_s": 3}
        )
        self.agent = start_agent("run", "--config", self.config)
        self.autopilot = Autopilot(port)

    def stop(self) -> str:
        self.autopilot.stop()
        self.agent.send_signal(signal.SIGTERM)
        _, err = self.agent.communicate(timeout=30)
        return str(err)


@pytest.fixture
def flying(aircraft: Aircraft) -> Iterator[Flying]:
    made = Flying(aircraft)
    yield made
    made.autopilot.stop()
    if made.agent.poll() is None:
        made.agent.kill()
        made.agent.communicate()


def sessions(aircraft: Aircraft) -> list[str]:
    return [r["type"] for r in aircraft.hub.records() if r["type"].startswith("session")]


@pytest.mark.slow
def test_a_flight_over_udp_arrives_live_and_sigterm_ends_cleanly_with_everything_sent(flying: Flying) -> None:
    hub = flying.aircraft.hub
    assert hub.wait(2), "nothing arrives"
    flying.autopilot.is_armed = True
    assert wait_for(lambda: "session_open" in sessions(flying.aircraft))
    status = json.loads(run_agent("status", "--config", flying.config, "--json").stdout)
    assert status["is_running"] and status["link_open"]
    flying.autopilot.is_armed = False
    assert wait_for(lambda: "session_close" in sessions(flying.aircraft))
    err = flying.stop()
    assert flying.agent.returncode == 0, err
    sent, arrived = b"".join(flying.autopilot.sent), hub.frames().data
    assert arrived and sent.endswith(arrived[-400:]) and arrived in sent
    check_chain(hub.batches)
    assert all(b.lane in (Lane.alert, Lane.live) for b, _ in list(hub.batches.values())[2:])
    close = next(r for r in hub.records() if r["type"] == "session_close")
    assert close["wire_lost"] == {} and close["reason"] == "disarmed"
    assert hub.states[-1]["online"] is False and any(s["online"] for s in hub.states)
    assert sqlite3.connect(flying.aircraft.store).execute("SELECT count(*) FROM journal").fetchone() == (0,)
    assert b"\xfd\x09\x00\x00" in flying.autopilot.heard, "the agent says no HEARTBEAT"


@pytest.mark.slow
def test_directives_are_enacted_once_in_order_of_version_and_reported(flying: Flying) -> None:
    hub = flying.aircraft.hub
    assert hub.wait(1)
    hub.send_directive(3, "recording_policy", {"live_interval_s": 1})
    hub.send_directive(2, "recording_policy", {"record": "armed"})
    hub.send_directive(4, "self_destruct", {})
    hub.send_directive(5, "capture", {"before_s": 5, "after_s": 1})

    def reports() -> list[tuple[int, str]]:
        return [(r["version"], r["state"]) for r in hub.records() if r["type"] == "directive_report"]

    assert wait_for(lambda: len(reports()) >= 4), reports()
    assert sorted(reports()) == [(2, "superseded"), (3, "enacted"), (4, "refused"), (5, "enacted")]
    forged = HubKey().directive(flying.aircraft.identity.aircraft_id, 9, "recording_policy", {"record": "armed"})
    topic = f"dbx/v1/{flying.aircraft.identity.org_id}/{flying.aircraft.identity.aircraft_id}/down/directive"
    hub.client.client.publish(topic, forged, qos=1)
    hub.client.client.publish(topic, pack_directives([forged]), qos=1)
    before = len(hub.batches)
    assert hub.wait(before + 3) and len(reports()) == 4


@pytest.mark.slow
def test_a_backlog_never_delays_what_is_happening_now(aircraft: Aircraft) -> None:
    port = free_port()
    config = aircraft.config(
        link={"kind": "udp-server", "port": port}, recording={"backlog_interval_s": 1},
        uplink={"receipt_timeout_s": 600, "max_in_flight": 4},
    )  # fmt: skip
    offline = settings_file(
        aircraft.folder, link={"kind": "udp-server", "port": port}, recording={"backlog_interval_s": 1},
        uplink={"transport": "none"},
    )  # fmt: skip
    autopilot = Autopilot(port)
    agent = start_agent("run", "--config", offline)
    try:
        assert wait_for(lambda: aircraft.store.exists())
        time.sleep(8)
        agent.send_signal(signal.SIGTERM)
        agent.communicate(timeout=20)
        config = aircraft.config(link={"kind": "udp-server", "port": port}, uplink={"max_in_flight": 4})
        agent = start_agent("run", "--config", config)
        assert wait_for(lambda: any(b.lane == Lane.live for b, _ in list(aircraft.hub.batches.values())))
        live = [(at, b) for at, b in aircraft.hub.arrivals if b.lane == Lane.live]
        assert live[0][1].covers[1] > now_us() - 6_000_000
        assert wait_for(lambda: sum(b.lane == Lane.backlog for b, _ in list(aircraft.hub.batches.values())) >= 5)
    finally:
        autopilot.stop()
        agent.kill()
        agent.communicate()


@pytest.mark.slow
def test_a_broker_killed_and_started_again_loses_nothing(flying: Flying, request: pytest.FixtureRequest) -> None:
    broker = request.getfixturevalue("broker")
    hub = flying.aircraft.hub
    assert hub.wait(2)
    broker.kill()
    time.sleep(4)
    broker.start()
    hub.client.close()
    hub.client = hub._connect(broker)
    before = len(hub.batches)
    assert hub.wait(before + 3, 40)
    err = flying.stop()
    assert flying.agent.returncode == 0, err
    wanted = sqlite3.connect(flying.aircraft.store).execute("SELECT count(*) FROM outbox").fetchone()[0]
    sent, arrived = b"".join(flying.autopilot.sent), hub.frames().data
    assert wanted == 0 and arrived in sent
    check_chain(hub.batches)


def test_the_commands_answer_clearly_when_nothing_is_set_up(tmp_path: Path) -> None:
    config = settings_file(tmp_path)
    for verb, words in (("run", "not enrolled"), ("status", ""), ("stop", "")):
        done = run_agent(verb, "--config", config)
        assert done.returncode == 1 and words in done.stderr
    config.write_text('data_dir = "d"\n[link]\nkind = "pigeon"\n[uplink]\nport = -1\n')
    done = run_agent("doctor", "--config", config)
    assert done.returncode == 2 and "link.kind" in done.stderr and "uplink.port" in done.stderr


def test_the_doctor_names_each_precondition_and_fails_with_a_hint(tmp_path: Path) -> None:
    write_identity(tmp_path / "identity", HubKey())
    (tmp_path / "identity" / "signing.key").chmod(0o644)
    config = settings_file(tmp_path, link={"kind": "serial", "device": str(tmp_path / "no-such-tty")})
    done = run_agent("doctor", "--config", config, "--json")
    checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1 and {
        "rights",
        "disk",
        "store",
        "clock",
        "link",
        "identity",
        "certificate",
        "broker",
    } <= set(checks)
    assert "link.device" in checks["link"]["detail"] and "chmod 600" in checks["identity"]["detail"]
    assert not checks["broker"]["is_ok"] and checks["disk"]["is_ok"]


def test_two_agents_never_record_into_one_folder(tmp_path: Path) -> None:
    write_identity(tmp_path / "identity", HubKey())
    config = settings_file(tmp_path, link={"kind": "udp-server", "port": free_port()}, uplink={"transport": "none"})
    first = start_agent("run", "--config", config)
    try:
        assert wait_for((tmp_path / "data" / "status.json").exists)
        second = run_agent("run", "--config", config)
        assert second.returncode == 2 and "another agent" in second.stderr
        stopped = run_agent("stop", "--config", config, "--json")
        assert json.loads(stopped.stdout) == {"stopped": True}
        first.communicate(timeout=10)
        assert first.returncode == 0
    finally:
        first.kill()
        first.communicate()


def taken(source: LinkSource, count: int) -> Frames:
    parts: list[Frames] = []
    wait_for(lambda: parts.append(source.take().frames) or sum(map(len, parts)) >= count, 5)
    return join([p for p in parts if len(p)])


def reading(settings: LinkSettings) -> tuple[LinkReader, LinkSource, threading.Event]:
    reader, stop = LinkReader(settings, now_us), threading.Event()
    threading.Thread(target=reader.run, args=(stop,), daemon=True).start()
    assert wait_for(lambda: reader.is_open, 5)
    return reader, LinkSource(reader, now_us), stop


def test_a_serial_link_carries_frames_both_ways(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    tty.setraw(master)
    talker = Talker()
    raw = [talker.attitude() for _ in range(200)]
    reader, source, stop = reading(LinkSettings(kind="serial", device=os.ttyname(slave), baud=115200))
    os.write(master, b"garbage\xfd" + b"".join(raw))
    assert taken(source, 200).data == b"".join(raw)
    assert reader.send(b"hello") and os.read(master, 5) == b"hello"
    stop.set()
    assert wait_for(lambda: not reader.is_open, 5)
    os.close(master)
    os.close(slave)


def test_a_tcp_link_that_is_cut_is_opened_again_and_no_frame_is_mixed_up() -> None:
    talker = Talker()
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = LinkSettings(kind="tcp", port=server.getsockname()[1])
        reader, stop = LinkReader(settings, now_us), threading.Event()
        threading.Thread(target=reader.run, args=(stop,), daemon=True).start()
        source = LinkSource(reader, now_us)
        raw = [talker.attitude() for _ in range(50)]
        first, _ = server.accept()
        first.sendall(b"".join(raw[:25]) + raw[25][:9])
        assert len(taken(source, 25)) == 25
        first.close()
        second, _ = server.accept()
        second.sendall(b"".join(raw[26:]))
        assert taken(source, 24).data == b"".join(raw[26:])
        stop.set()
        second.close()


def test_the_link_never_waits_for_the_recorder(tmp_path: Path) -> None:
    reader, source, stop = reading(LinkSettings(kind="udp-server", port=0, queue_kb=64))
    port = reader._port.port  # type: ignore[union-attr]
    talker = Talker()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for _ in range(40):
            for _ in range(100):
                out.sendto(talker.attitude(), ("127.0.0.1", port))
            time.sleep(0.005)
    time.sleep(0.3)
    found = source.take()
    assert found.overflow is not None and found.overflow.size_bytes > 0
    assert len(found.frames.data) <= 65 << 10
    stop.set()


def test_a_link_that_cannot_be_opened_says_why() -> None:
    with pytest.raises(OSError, match="no-such"):
        open_port(LinkSettings(kind="serial", device="/dev/no-such-tty"))


def test_a_dying_thread_ends_the_process_with_its_name(tmp_path: Path) -> None:
    write_identity(tmp_path / "identity", HubKey())
    config = settings_file(tmp_path, link={"kind": "udp-server", "port": free_port()})
    program = (
        "import sys; from agent import uplink, cli\n"
        "uplink.Uplink.step = lambda *a: 1 / 0\n"
        f"sys.exit(cli.main(['run', '--config', {str(config)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "thread_name=uplink" in done.stderr

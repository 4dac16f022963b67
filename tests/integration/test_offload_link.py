"""An offload on a real UDP link, in this process: what makes it stop, and what a link and an autopilot do to it."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import offload as offloading
from agent.companion import Companion
from agent.link import LinkReader
from agent.offload import Offload
from agent.recorder_clock import now_us
from agent.settings import LinkSettings, OffloadSettings
from agent.source import LinkSource
from agent.watch import Watch
from firmware_bridge.log_request import LOG_DATA, LOG_REQUEST_DATA, LOG_REQUEST_END, LOG_REQUEST_LIST
from firmware_bridge.mavftp import FILE_TRANSFER_PROTOCOL, Nak, Op, Packet
from tests.fix_log_server import LogServer
from tests.fix_scripted_autopilot import Faults, ScriptedAutopilot
from tests.fix_system import wait_until
from tests.unit.test_mavftp import some_bytes

HEARTBEAT_S = 1.0
PATH = "/APM/LOGS/00000001.BIN"
PX4_PATH = "/fs/microsd/log/2026-05-01/10_00_00.ulg"


class Flying:
    """Link, pipeline's part and offload of an agent, and a scripted autopilot."""

    def __init__(self, folder: Path, server: LogServer, settings: dict[str, Any], autopilot: dict[str, Any]) -> None:
        self.folder, self.server = folder, server
        self.delivered: list[bytes] = []
        self.is_busy = False
        self.reader = LinkReader(LinkSettings(kind="udp-server", port=0), now_us)
        self.source, self.watch = LinkSource(self.reader, now_us), Watch()
        self.companion = Companion(self.source.send, "none")
        self.offload = Offload(
            OffloadSettings(**{"enabled": True, "settle_s": 0.3, "max_kb_s": 0} | settings), folder, self.companion.say,
            self._deliver, lambda: self.is_busy,
        )  # fmt: skip
        self.reader.tap = self.offload.tap
        self.recorded: set[int] = set()
        self.stop = threading.Event()
        self.threads = [
            threading.Thread(target=run, args=(self.stop,), daemon=True)
            for run in (self.reader.run, self._pipeline, self.offload.run)
        ]
        self.threads[0].start()
        wait_until(lambda: self.reader.is_open, 5, "the link")
        self.autopilot = ScriptedAutopilot(self.reader._port.port, server, **autopilot)  # type: ignore[union-attr]
        for thread in self.threads[1:]:
            thread.start()

    def _deliver(self, path: Path, may_go_on: Callable[[], bool]) -> bool:
        self.delivered.append(path.read_bytes())
        return may_go_on()

    def _pipeline(self, stop: threading.Event) -> None:
        """What agent.pipeline does for an offload."""
        while not stop.wait(0.05):
            frames, _ = self.offload.leave_out(self.source.take().frames)
            for sighting in self.watch.update(frames)[0]:
                if sighting.kind == "reboot":
                    self.offload.rebooted()
            if len(frames):
                self.recorded |= {int.from_bytes(frames[i][7:10], "little") for i in range(len(frames))}
            self.companion.every_second(self.watch.vehicle, is_healthy=False)
            self.offload.look(self.watch.vehicle, self.watch.is_disarmed)

    def wait(self, is_true: Callable[[], bool], what: str) -> None:
        try:
            wait_until(is_true, 30, what)
        except AssertionError:
            asked = [(p.op, p.offset) if isinstance(p, Packet) else p for _, p in self.server.requests[-15:]]
            print(self.offload.state, asked)
            raise

    def is_under_way(self) -> bool:
        return self.offload.state.log_bytes > 10_000

    def assert_stopped(self, since_s: float) -> None:
        """Nothing was asked after a heartbeat but the end, and nothing is open."""
        time.sleep(1.5 * HEARTBEAT_S)
        assert self.autopilot.ended() and self.autopilot.is_idle()
        asked = [at for at, _ in self.autopilot.requests()]
        assert asked[-1] <= since_s + HEARTBEAT_S, f"asked {asked[-1] - since_s:.1f} s after"

    def close(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.autopilot.stop()
        assert not {msgid for _, msgid in self.autopilot.requests()} - {
            FILE_TRANSFER_PROTOCOL, LOG_REQUEST_LIST, LOG_REQUEST_DATA, LOG_REQUEST_END,
        }, "something else was sent"  # fmt: skip


Begin = Callable[..., Flying]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Begins an offload of which the waits are short."""
    for name, seconds in (("STILL_S", 0.2), ("RETRY_S", 1.0), ("SESSION_S", 1.0), ("LINGER_S", 1.5)):
        monkeypatch.setattr(offloading, name, seconds)
    made: list[Flying] = []

    def make(server: LogServer, settings: dict[str, Any] | None = None, **autopilot: Any) -> Flying:
        made.append(Flying(tmp_path, server, settings or {}, autopilot))
        return made[-1]

    yield make
    for one in made:
        one.close()


def a_log(style: str, size: int = 80_000, **server: Any) -> tuple[LogServer, bytes]:
    data = some_bytes(size)
    return LogServer({PATH if style == "ardupilot" else PX4_PATH: data}, style, **server), data


KINDS = [("ardupilot", True), ("px4", True), ("ardupilot", False), ("px4", False)]


@pytest.mark.slow
@pytest.mark.parametrize(("style", "has_ftp"), KINDS)
def test_arming_ends_each_kind_within_a_heartbeat_and_it_goes_on_afterwards(
    begin: Begin, style: str, has_ftp: bool
) -> None:
    server, data = a_log(style, naks={} if has_ftp else {Op.LIST: [Nak.UNKNOWN_COMMAND]})
    run = begin(server, kbit_s=500, is_px4=style == "px4")
    run.wait(run.is_under_way, "the first bytes")
    run.autopilot.is_armed = True
    run.assert_stopped(time.monotonic())
    run.autopilot.is_armed = False
    run.wait(lambda: run.delivered == [data], "the whole log")
    assert run.offload.state.bytes_fetched < len(data) * 1.05, "what was there was fetched again"
    assert run.recorded == {0, 30}, "a log's packets were recorded"


@pytest.mark.slow
def test_an_attempt_to_arm_ends_it_too(begin: Begin) -> None:
    server, data = a_log("ardupilot", naks={Op.LIST: [Nak.UNKNOWN_COMMAND]})
    run = begin(server, {"settle_s": 1.8}, kbit_s=500)
    run.wait(run.is_under_way, "the first bytes")
    run.autopilot.say(253, {"severity": 2, "text": b"Arm: Downloading logs"})
    run.assert_stopped(time.monotonic())
    run.wait(lambda: run.delivered == [data], "the whole log")


def test_other_systems_neither_stop_nor_feed_it(begin: Begin) -> None:
    server, data = a_log("ardupilot", 60_000)
    run = begin(server, kbit_s=500)
    run.wait(lambda: run.offload.state.log_bytes > 2_000, "the first bytes")
    forged = {"payload": [0, 0, 1, int(Op.ACK), 200, int(Op.READ)] + [255] * 245, "target_system": 1}
    while not run.delivered:
        run.autopilot.say(0, {"type": 2, "autopilot": 3, "base_mode": 128, "mavlink_version": 3}, sysid=7, compid=1)
        run.autopilot.say(FILE_TRANSFER_PROTOCOL, forged, sysid=7, compid=1)
        run.autopilot.say(LOG_DATA, {"id": 1, "count": 90}, sysid=7, compid=1)
        run.autopilot.say(76, {"target_system": 7, "command": 400, "param1": 1}, sysid=255, compid=190)
        time.sleep(0.02)
    assert run.delivered == [data] and FILE_TRANSFER_PROTOCOL in run.recorded, "others' packets are recorded"


def test_an_autopilot_without_files_is_read_by_log_request(begin: Begin) -> None:
    server = LogServer({f"/x/{i}.BIN": some_bytes(5_000, i) for i in range(3)}, naks={Op.LIST: [Nak.UNKNOWN_COMMAND]})
    run = begin(server, faults=Faults(loss=0.03, seed=3))
    run.wait(lambda: len(run.delivered) == 3, "three logs")
    assert run.delivered == [some_bytes(5_000, i) for i in (2, 1, 0)] and run.autopilot.is_idle()


@pytest.mark.slow
def test_silence_and_a_reboot_are_survived(begin: Begin) -> None:
    server, data = a_log("px4", 100_000)
    run = begin(server, kbit_s=300, is_px4=True, idle_s=0.8)
    run.wait(run.is_under_way, "the first bytes")
    run.autopilot.is_silent = True
    run.wait(lambda: "HEARTBEAT" in run.offload.state.trouble, "a pause")
    run.autopilot.is_silent = False
    run.wait(lambda: run.offload.state.doing == "fetching", "going on")
    run.autopilot.reboot()
    run.wait(lambda: run.delivered == [data], "the whole log")


def test_a_log_that_is_being_written_is_left_alone_until_it_stands_still(begin: Begin) -> None:
    server, data = a_log("ardupilot", 5_000)
    grows = threading.Event()

    def grow() -> None:
        while not grows.wait(0.02):
            server.files[PATH] += b"x" * 50

    writer = threading.Thread(target=grow, daemon=True)
    writer.start()
    run = begin(server)
    run.wait(lambda: "being written" in run.offload.state.trouble, "a pause")
    assert not run.delivered and not any(p.op == Op.OPEN for p in run.autopilot.ftp())
    grows.set()
    writer.join()
    run.offload._next_s = 0.0
    run.wait(lambda: bool(run.delivered), "the log")
    assert run.delivered[0].startswith(data) and run.delivered == [server.files[PATH]]


def test_a_wrong_checksum_is_tried_again_and_given_up_after_three_times(begin: Begin) -> None:
    server, _ = a_log("ardupilot", 3_000, wrong_crc=True)
    run = begin(server)
    for times in (1, 2, 3, 3):
        run.wait(lambda: run.offload.state.doing == "waiting" and len(run.autopilot.ftp()) > 3, "a visit's end")
        opened = sum(p.op == Op.OPEN for p in run.autopilot.ftp())
        assert opened == times and not run.delivered
        before = len(run.autopilot.ftp())
        run.offload._next_s = 0.0
        run.wait(lambda before=before: len(run.autopilot.ftp()) > before, "another visit")


def test_a_claim_of_4_gb_is_left_on_the_autopilot(begin: Begin) -> None:
    server = LogServer({PATH: b"x" * 500, PATH.replace("1.B", "2.B"): b"y" * 500}, claims={PATH: 0xFFFFFFFF})
    run = begin(server)
    run.wait(lambda: run.delivered == [b"y" * 500], "the other log")
    run.wait(lambda: run.offload.state.doing == "waiting", "the visit's end")
    assert not any(p.op == Op.OPEN and p.data.endswith(b"1.BIN") for p in run.autopilot.ftp())


def test_each_log_is_fetched_once_whatever_restarts(begin: Begin) -> None:
    server, data = a_log("ardupilot", 3_000)
    run = begin(server)
    run.wait(lambda: run.delivered == [data] and run.offload.state.doing == "waiting", "the log")
    run.stop.set()
    server.requests.clear()
    again = begin(server)
    again.wait(lambda: len([p for p in again.autopilot.ftp() if p.op == Op.LIST]) > 1, "another visit")
    again.wait(lambda: again.offload.state.doing == "waiting", "its end")
    assert not again.delivered and not any(p.op == Op.OPEN for p in again.autopilot.ftp())


@pytest.mark.slow
def test_live_batches_that_wait_hold_it_up(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offloading, "BUSY_S", 0.5)
    server, data = a_log("px4")
    run = begin(server, kbit_s=500, is_px4=True)
    run.wait(run.is_under_way, "the first bytes")
    run.is_busy = True
    run.wait(lambda: "live batches" in run.offload.state.trouble, "a pause")
    assert run.autopilot.ended() and not run.delivered
    run.is_busy = False
    run.wait(lambda: run.delivered == [data], "the whole log")


def test_an_armed_vehicle_is_asked_nothing(begin: Begin) -> None:
    server, _ = a_log("ardupilot")
    run = begin(server)
    run.autopilot.is_armed = True
    time.sleep(2)
    before = len(run.autopilot.requests())
    time.sleep(1)
    assert len(run.autopilot.requests()) == before and not run.offload.state.bytes_fetched

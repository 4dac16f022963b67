"""Fetches the autopilot's logs over the link while it is disarmed, in a thread of its own.

It begins when the vehicle has been disarmed for `settle_s`, and stops at the first sign that this may change: an armed
HEARTBEAT, an arm command on the link, its answer, a refusal to arm, 3 s without a HEARTBEAT, a reboot. Then one
message ends what is open (TerminateSession or LOG_REQUEST_END), and nothing else is sent. What was fetched so far is
kept and gone on with later. Only FILE_TRANSFER_PROTOCOL, LOG_REQUEST_LIST, LOG_REQUEST_DATA and LOG_REQUEST_END are
ever sent.

The answers carry a log's bytes, and the log is kept as such: so they are left out of the recording (`leave_out`), and
counted (`frames_left_out`). The link's bytes reach this thread by `tap`, beside the recording and never before it.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.offload_files import Begun, Files, Remote
from agent.offload_signs import Address, is_data, listen, without_answers
from agent.offload_sources import Fetching, FtpLogs, Logs, RequestedLogs, Unavailable
from agent.session import Identity
from agent.settings import OffloadSettings
from firmware_bridge.framing import Scanner
from firmware_bridge.mavftp import Exchange, Message
from shared.frames import Frames

log = logging.getLogger("dbx.offload")
SILENCE_S = 3.0
"""Without a HEARTBEAT for so long nobody knows whether the vehicle is armed."""
STILL_S = 3.0
"""A log whose size is the same after this time is not being written."""
AGAIN_S = 1800.0
RETRY_S = 60.0
LATER_S = 300.0
LINGER_S = 3.0
"""For so long after an end answers are left out of the recording, and the end is said again when they go on."""
QUIET_S = 0.7
"""No data for so long: the end was heard."""
SESSION_S = 12.0
"""PX4 closes a session that is silent for 10 s: also one that an earlier run of ours left open."""
BUSY_S = 5.0
DELIVER_AGAIN_S = 10.0
SPARE_BYTES = 64 << 20
_POLL_S = 0.02
_REPEAT_S = 0.5
_MOST_CHUNKS = 1000


Deliver = Callable[[Path, Callable[[], bool]], bool]


class Yielded(Exception):
    """The autopilot is left alone for now, for this reason and so long (RETRY_S unless told)."""

    def __init__(self, why: str, for_s: float | None = None) -> None:
        super().__init__(why)
        self.for_s = RETRY_S if for_s is None else for_s


@dataclass(slots=True)
class OffloadState:
    """What `dbx agent status` shows of it."""

    doing: str = "waiting"
    log: str = ""
    log_bytes: int = 0
    log_size: int = 0
    logs_fetched: int = 0
    bytes_fetched: int = 0
    frames_left_out: int = 0
    trouble: str = ""


class _Wait:
    """An exchange that only lets time pass."""

    failure = ""

    def __init__(self, seconds: float) -> None:
        self.is_done = False
        self._until_s = time.monotonic() + seconds

    def due(self, now_s: float) -> list[Message]:
        self.is_done = now_s >= self._until_s
        return []

    def hear(self, msgid: int, fields: Any, now_s: float) -> None:
        """Nothing is expected."""

    def leave(self) -> list[Message]:
        return []


class Offload:
    """See the module. `tap` is called by the link's thread; `look`, `rebooted`, `leave_out` by the pipeline's.

    say: sends a message, numbered. deliver: takes a whole log over, for as long as the function that it is given says
    that it may; whether it has. is_busy: whether live batches wait for the hub.
    """

    def __init__(
        self, settings: OffloadSettings, folder: Path, say: Callable[[Message], bool],
        deliver: Deliver, is_busy: Callable[[], bool],
    ) -> None:  # fmt: skip
        """OSError when the folder cannot be made."""
        self.state = OffloadState()
        self._settings = settings
        self._files = Files(folder)
        self._say = say
        self._deliver = deliver
        self._is_busy = is_busy
        self._chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._scanner = Scanner()
        self._is_listening = False
        self._stop = threading.Event()
        self._vehicle: Identity | None = None
        self._quiet_s: float | None = None
        """Since when the vehicle is disarmed and nobody tried to arm it."""
        self._interrupt = ""
        self._next_s = 0.0
        self._beat_s = 0.0
        self._busy_s: tuple[float, float | None] = (0.0, None)
        self._hour = (0.0, 0)
        self._has_ftp = True
        self._deliver_s = 0.0
        self._left_out_until_s = 0.0

    # --- called by the link and the pipeline

    def tap(self, data: bytes) -> None:
        """The link's bytes; kept only while they are listened to."""
        if self._is_listening and self._chunks.qsize() < _MOST_CHUNKS:
            self._chunks.put(data)

    def look(self, vehicle: Identity | None, is_disarmed: bool) -> None:
        """What the vehicle is and says."""
        if vehicle is None or not is_disarmed:
            self._quiet_s = None
        elif self._quiet_s is None or vehicle.sysid != (self._vehicle or vehicle).sysid:
            self._quiet_s = self._next_s = time.monotonic()
        self._vehicle = vehicle

    def rebooted(self) -> None:
        """The vehicle rebooted: its sessions are gone, its logs may be others."""
        self._interrupt, self._quiet_s, self._has_ftp = "the autopilot rebooted", None, True

    def leave_out(self, frames: Frames) -> tuple[Frames, int]:
        """(what is recorded of these frames, how many answers to an offload are not)."""
        vehicle = self._vehicle
        if vehicle is None or not (self._is_listening or time.monotonic() < self._left_out_until_s):
            return frames, 0
        kept, count = without_answers(frames, (vehicle.sysid, vehicle.compid))
        self.state.frames_left_out += count
        return kept, count

    # --- its own thread

    def run(self, stop: threading.Event) -> None:
        """Fetch what is to be fetched whenever it may be, until stop."""
        self._stop = stop
        try:
            while not stop.wait(0.5):
                self._hand_over()
                if self._is_due():
                    self._visit()
        except Exception:  # whatever it is, recording matters more than fetching
            log.exception("offload ended by an error; recording goes on")
            self.state.doing, self.state.trouble = "ended", "an error of ours; see the log"

    def _is_due(self) -> bool:
        now_s, quiet_s = time.monotonic(), self._quiet_s
        return quiet_s is not None and now_s - quiet_s >= self._settings.settle_s and now_s >= self._next_s

    def _hand_over(self) -> None:
        """Whole logs go to the import; one that cannot be taken yet waits."""
        if time.monotonic() < self._deliver_s:
            return
        for path in self._files.waiting():
            if not self._may_work() or not self._deliver(path, self._may_work):
                self._deliver_s = time.monotonic() + DELIVER_AGAIN_S
                return
            self._files.taken(path)

    def _may_work(self) -> bool:
        """Whether there is time for other work than flying."""
        return self._quiet_s is not None and not self._stop.is_set()

    def _visit(self) -> None:
        """One conversation with the autopilot, from listing to the last log."""
        vehicle = self._vehicle
        if vehicle is None:
            return
        self._interrupt, self._beat_s, self._scanner = "", time.monotonic(), Scanner()
        self._is_listening = True
        try:
            self._fetch_logs(vehicle)
            self._next_s, self.state.trouble = time.monotonic() + AGAIN_S, ""
        except Yielded as why:
            self._next_s, self.state.trouble = time.monotonic() + why.for_s, str(why)
            log.info("offload paused", extra={"why": str(why)})
        except Unavailable:
            self._next_s, self.state.trouble = time.monotonic() + AGAIN_S, "the autopilot offers no logs"
        except OSError as e:
            self._next_s, self.state.trouble = time.monotonic() + RETRY_S, str(e)
            log.warning("offload: disk trouble", extra={"error": str(e)})
        finally:
            self._is_listening = False
            self._left_out_until_s = time.monotonic() + LINGER_S
            self.state.doing, self.state.log = "waiting", ""
            while not self._chunks.empty():
                self._chunks.get()

    def _fetch_logs(self, vehicle: Identity) -> None:
        self.state.doing = "listing"
        logs = self._logs(vehicle)
        before = set(logs.listed())
        self._talk(_Wait(STILL_S))
        listed = logs.listed()
        self._files.forget_others(listed)
        wanted = [r for r in listed if r in before and self._is_wanted(r)]
        for remote in wanted if self._settings.newest_first else reversed(wanted):
            self._fetch(logs, remote)
            self._hand_over()
        if any(r not in before for r in listed):
            raise Yielded("a log is still being written", LATER_S)

    def _logs(self, vehicle: Identity) -> Logs:
        """Over FTP where that works, else by the older protocol."""
        target, bytes_s = (vehicle.sysid, vehicle.compid), self._settings.max_kb_s * 1000
        if self._has_ftp:
            try:
                return FtpLogs(self._talk, target, vehicle.autopilot, self._settings.burst, bytes_s)
            except Unavailable:
                log.info("no logs over MAVLink FTP; using LOG_REQUEST")
                self._has_ftp = False
        return RequestedLogs(self._talk, target, vehicle.autopilot, bytes_s)

    def _is_wanted(self, remote: Remote) -> bool:
        if self._files.is_settled(remote) or not remote.size:
            return False
        if remote.size > self._settings.max_log_mb * 1e6:
            log.info("log left on the autopilot: too large", extra={"log": remote.place, "bytes": remote.size})
            return False
        return True

    def _fetch(self, logs: Logs, remote: Remote) -> None:
        if not self._files.has_room(remote.size, SPARE_BYTES):
            raise Yielded("no room on the disk", LATER_S)
        begun = self._files.begin(remote)
        state = self.state
        state.doing, state.log, state.log_size, state.log_bytes = "fetching", remote.place, remote.size, begun.have
        try:
            fetch = logs.fetch(remote, begun.have, begun.tail())
            self._read(fetch, begun)
            if fetch.failure:
                return self._failed(fetch.failure, begun)
            self._check(logs, begun)
        finally:
            begun.close()

    def _read(self, fetch: Fetching, begun: Begun) -> None:
        """Everything that comes is on disk in the end, however it ends."""
        try:
            self._talk(fetch, lambda: self._keep(fetch, begun))
        finally:
            self._keep(fetch, begun)
            begun.save(fetch.missing.prefix)

    def _keep(self, fetch: Fetching, begun: Begun) -> None:
        for offset, data in fetch.fresh:
            begun.write(offset, data)
            self.state.log_bytes += len(data)
            self.state.bytes_fetched += len(data)
            self._hour = (self._hour[0], self._hour[1] + len(data))
        fetch.fresh.clear()
        begun.save_now_and_then(fetch.missing.prefix)

    def _failed(self, why: str, begun: Begun) -> None:
        log.warning("log not fetched", extra={"log": begun.remote.place, "why": why})
        if why == "no_session":
            raise Yielded("all of the autopilot's file sessions are in use", SESSION_S)
        if why == "silent":
            raise Yielded("the autopilot does not answer")
        self._files.failed(begun)

    def _check(self, logs: Logs, begun: Begun) -> None:
        """The autopilot's checksum, when it gives one, must be ours."""
        self.state.doing = "checking"
        crc, sha256 = begun.sums()
        question = logs.checksum(begun.remote)
        if question is not None:
            self._talk(question)
        value = None if question is None else question.value
        if value is not None and value != crc:
            return self._failed("wrong checksum", begun)
        self._files.finish(begun, sha256)
        self.state.logs_fetched += 1
        facts = {"log": begun.remote.place, "bytes": begun.remote.size, "sha256": sha256, "checked": value is not None}
        log.info("log fetched", extra=facts)

    # --- talking

    def _talk(self, exchange: Exchange, keep: Callable[[], None] = lambda: None) -> None:
        """Carry an exchange to its end; Yielded when it must not go on. What it opened is closed in any case."""
        try:
            while not (exchange.is_done or exchange.failure):
                self._must_go_on()
                if not self._is_held_up():
                    for message in exchange.due(time.monotonic()):
                        self._say(message)
                self._listen(exchange)
                keep()
        except BaseException:
            self._leave(exchange)
            raise
        for message in exchange.leave() if exchange.failure else []:
            self._say(message)

    def _leave(self, exchange: Exchange) -> None:
        """End it with one message; again only when the autopilot has plainly not heard that."""
        messages = exchange.leave()
        heard_s = said_s = time.monotonic()
        until_s = said_s + LINGER_S
        for message in messages:
            self._say(message)
        while messages and time.monotonic() < min(until_s, heard_s + QUIET_S):
            if not self._hears_data():
                continue
            heard_s = time.monotonic()
            if heard_s - said_s >= _REPEAT_S:
                said_s = heard_s
                for message in messages:
                    self._say(message)

    def _hears_data(self) -> bool:
        """Whether data still come after the end."""
        frames, address = self._next_frames(), self._address()
        if frames is None or address is None:
            return False
        return any(is_data(*answer) for answer in listen(frames, address).answers)

    def _address(self) -> Address | None:
        vehicle = self._vehicle
        return None if vehicle is None else (vehicle.sysid, vehicle.compid)

    def _next_frames(self) -> Frames | None:
        """What came on the link, after at most a short wait."""
        try:
            return self._scanner.feed(self._chunks.get(timeout=_POLL_S), 0)
        except queue.Empty:
            return None

    def _listen(self, exchange: Exchange) -> None:
        """Hear what came. The first sign of arming ends all."""
        frames, address = self._next_frames(), self._address()
        if frames is None or address is None or not len(frames):
            return
        heard, now_s = listen(frames, address), time.monotonic()
        if heard.arming:
            self._quiet_s = None
            raise Yielded(heard.arming, self._settings.settle_s)
        self._beat_s = now_s if heard.beats else self._beat_s
        for msgid, fields in heard.answers:
            exchange.hear(msgid, fields, now_s)

    def _must_go_on(self) -> None:
        """Yielded when there is a reason to stop."""
        now_s = time.monotonic()
        if self._stop.is_set():
            raise Yielded("stopping")
        if self._interrupt:
            raise Yielded(self._interrupt)
        if self._quiet_s is None:
            raise Yielded("no longer disarmed", self._settings.settle_s)
        if now_s - self._beat_s > SILENCE_S:
            raise Yielded("no HEARTBEAT", SESSION_S)
        if now_s - self._hour[0] > 3600:
            self._hour = (now_s, 0)
        if self._hour[1] > self._settings.max_mb_per_hour * 1e6:
            raise Yielded("enough for this hour", LATER_S)

    def _is_held_up(self) -> bool:
        """Whether live batches wait: then nothing is asked for; Yielded when that goes on."""
        asked_s, since_s = self._busy_s
        now_s = time.monotonic()
        if now_s - asked_s >= 1:
            since_s = (since_s or now_s) if self._is_busy() else None
            self._busy_s = (now_s, since_s)
        if since_s is not None and now_s - since_s > BUSY_S:
            raise Yielded("live batches wait for the hub")
        return since_s is not None

    def status(self) -> dict[str, Any]:
        """For `dbx agent status`."""
        return asdict(self.state)

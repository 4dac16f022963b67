"""`dbx agent sync`: sends what is queued of imported logs, until the hub has receipted all of it.

First the hub is asked, over HTTPS where it can be reached, which logs it has whole: those are not sent. Then by MQTT,
or by HTTPS where the settings say so or MQTT does not get through. In the end the hub is asked again, for its word that
the logs are whole. While the recorder runs on this device it does the sending, behind its own lanes: sync only watches.
"""

import fcntl
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cbor2

from agent.https import HttpsUplink
from agent.hub_https import HubHttps
from agent.identity import Identity
from agent.imports import ImportQueue
from agent.imports_fleet import Fleet
from agent.imports_store import ImportState
from agent.settings import AgentSettings, UplinkSettings
from agent.uplink import Uplink
from shared.errors import Refused, plainly
from shared.receipt import MAX_LOGS

log = logging.getLogger("dbx.sync")
ASK_TIMEOUT_S = 10.0
MQTT_PATIENCE_S = 15.0
"""Without a connection so long, HTTPS is tried, when the hub answered there."""
WHOLE_PATIENCE_S = 30.0
"""How long the hub is given to put the last log together."""
_STEP_S = 0.1
_UNHEARD = (OSError, ValueError, LookupError, TypeError)


@dataclass(slots=True)
class SyncReport:
    """What a sync came to. logs: imported on this device; whole: those that the hub has, by its log receipt; known: of
    them, had before anything was sent; unfinished: their import was broken off. waiting_batches, waiting_bytes: without
    receipt still."""

    logs: int = 0
    whole: int = 0
    known: int = 0
    sent_batches: int = 0
    sent_bytes: int = 0
    waiting_batches: int = 0
    waiting_bytes: int = 0
    unassigned: int = 0
    unfinished: int = 0
    protocol: str = ""
    hub_trouble: str = ""
    uplink_trouble: str = ""
    seconds: float = 0.0

    def facts(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


class Sync:
    """One run. tell: called about twice a second with what is going on."""

    def __init__(
        self, settings: AgentSettings, identity: Identity, queue: ImportQueue, tell: Callable[[SyncReport], None]
    ) -> None:
        self.report = SyncReport()
        self._settings = settings
        self._identity = identity
        self._queue = queue
        self._tell = tell
        self._hub = HubHttps(identity, settings.uplink.hub_url, ASK_TIMEOUT_S)
        self._began_s = time.monotonic()

    def run(self, timeout_s: float) -> bool:
        """Whether all that was queued is receipted. sqlite3.Error when the disk refuses."""
        deadline_s = self._began_s + timeout_s
        self._learn_fleet()
        self.report.known = self._ask()
        queued = self._queue.waiting()
        if is_recording(self._settings.data_dir):
            self.report.protocol = "the running agent"
            self._watch(deadline_s, lambda: True)
        elif queued[0]:
            self._send(deadline_s)
        self._await_whole(min(deadline_s, time.monotonic() + WHOLE_PATIENCE_S))
        self._count(queued)
        self._queue.give_back()
        return self.report.waiting_batches == 0

    def _count(self, queued: tuple[int, int]) -> None:
        r, rows = self.report, self._queue.imports()
        r.logs, r.whole = len(rows), sum(row.receipt is not None for row in rows)
        r.unassigned = sum(row.aircraft is None for row in rows)
        r.unfinished = sum(row.state == ImportState.packing and row.receipt is None for row in rows)
        r.waiting_batches, r.waiting_bytes = self._queue.waiting()
        r.sent_batches, r.sent_bytes = max(queued[0] - r.waiting_batches, 0), max(queued[1] - r.waiting_bytes, 0)
        r.seconds = round(time.monotonic() - self._began_s, 3)

    # --- what the hub is asked over HTTPS

    def _learn_fleet(self) -> None:
        try:
            Fleet(self._queue).take(self._hub.get("/v1/device/fleet"))
        except _UNHEARD as e:
            self.report.hub_trouble = plainly(e)

    def _ask(self) -> int:
        """Ask which of the logs that we have no log receipt for are whole; how many are."""
        open_logs = [r.log for r in self._queue.imports() if r.receipt is None]
        found = 0
        try:
            for start in range(0, len(open_logs), MAX_LOGS):
                answer = self._hub.post("/v1/device/logs", cbor2.dumps(open_logs[start : start + MAX_LOGS]))
                found += len(self._queue.take_log_receipt(answer))
            self.report.hub_trouble = ""
        except (Refused, *_UNHEARD) as e:
            self.report.hub_trouble = plainly(e)
        return found

    def _await_whole(self, deadline_s: float) -> None:
        """Ask until the hub has put all logs together; not when it cannot be asked, or still waits for batches."""
        pause_s = 0.2
        while not self.report.hub_trouble and not self._queue.waiting()[0] and time.monotonic() < deadline_s:
            if not any(r.receipt is None and r.state == ImportState.queued for r in self._queue.imports()):
                return
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 2.0)
            self._ask()

    # --- sending

    def _send(self, deadline_s: float) -> None:
        uplink = self._uplink(self._settings.uplink.transport)
        if self._run(uplink, deadline_s, MQTT_PATIENCE_S if self._may_fall_back(uplink) else None):
            self._run(self._uplink("https"), deadline_s, None)

    def _may_fall_back(self, uplink: Uplink | HttpsUplink) -> bool:
        return isinstance(uplink, Uplink) and not self.report.hub_trouble

    def _uplink(self, transport: str) -> Uplink | HttpsUplink:
        settings: UplinkSettings = self._settings.uplink
        if transport == "https":
            return HttpsUplink(self._identity, settings, self._queue, dict)
        return Uplink(self._identity, settings, self._queue, lambda: {"online": True}, role="-sync")

    def _run(self, uplink: Uplink | HttpsUplink, deadline_s: float, patience_s: float | None) -> bool:
        """Send by this uplink. True when it did not connect within patience_s."""
        uplink.farewell_s = 0.0
        stop = threading.Event()
        thread = threading.Thread(target=uplink.run, args=(stop,), name="uplink", daemon=True)
        thread.start()
        give_up_s = None if patience_s is None else time.monotonic() + patience_s
        try:
            self._watch(deadline_s, lambda: self._goes_on(uplink, thread, give_up_s))
        finally:
            stop.set()
            uplink.wake()
            thread.join(timeout=10)
        self.report.uplink_trouble = uplink.trouble
        return give_up_s is not None and not uplink.protocol and self._queue.waiting()[0] > 0

    def _goes_on(self, uplink: Uplink | HttpsUplink, thread: threading.Thread, give_up_s: float | None) -> bool:
        self.report.protocol, self.report.uplink_trouble = uplink.protocol, uplink.trouble
        self._queue.settle()
        self._queue.drop_damaged(self._queue.damaged)
        lost = give_up_s is not None and not uplink.protocol and time.monotonic() > give_up_s
        return thread.is_alive() and not lost and not self._queue.suspect

    def _watch(self, deadline_s: float, goes_on: Callable[[], bool]) -> None:
        """Until nothing waits for a receipt."""
        queued = self._queue.waiting()
        said_s = 0.0
        while time.monotonic() < deadline_s and goes_on():
            if time.monotonic() - said_s > 0.5:
                said_s = time.monotonic()
                self._count(queued)
                self._tell(self.report)
            if not self._queue.waiting()[0]:
                return
            time.sleep(_STEP_S)


def is_recording(folder: Path) -> bool:
    """Whether an agent runs on this data folder."""
    path = folder / "lock"
    if not path.exists():
        return False
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

"""The agent process: threads (link, pipeline, uplink, health), their common end, and what the process says of itself.

A thread that dies stops the process with its name logged; the service manager starts it again, and nothing is lost that
was on disk. Stop (SIGTERM): close the link, drain to disk, one bounded last send, exit 0.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from agent import recovery, store
from agent.clock_model import ClockModel
from agent.companion import Companion
from agent.directives import Refusal, policy_from
from agent.findings import FindingEngine
from agent.https import HttpsUplink
from agent.hub_https import HubHttps
from agent.identity import Identity
from agent.imports_thread import ImportsThread
from agent.link import LinkReader
from agent.models import Models
from agent.models_shelf import Shelf
from agent.offload import Offload
from agent.offload_handover import take_over
from agent.pipeline import HURRIED_BYTES, Pipeline, clock_name
from agent.recorder import Recorder
from agent.recorder_clock import machine_boot, now_us
from agent.repeated import Repeated
from agent.sending import Outbox
from agent.settings import AgentSettings, FindingsSettings
from agent.source import LinkSource, LogSource
from agent.uplink import Uplink
from agent.version import VERSION
from agent.waiting import Now
from shared.errors import Refused
from shared.scoring import load_bundle, read_keys
from shared.stopping import stop_on_signals
from shared.topics import Lane

log = logging.getLogger("dbx.agent")
STEP_S = 0.1
STATUS_EVERY_S = 5.0
STATUS_FILE = "status.json"
MOST_LIVE_WAITING = 8
"""Live batches that may wait before an offload pauses."""


class AnyUplink(Protocol):
    """What the daemon needs of an uplink."""

    is_connected: bool
    is_live: bool
    trouble: str
    protocol: str
    reconnects: int
    unreceipted_oldest_s: int
    directives: "Any"

    def wake(self) -> None: ...
    def send_too(self, imports: Outbox) -> None: ...
    def run(self, stop: threading.Event) -> None: ...


class Daemon:
    """One run of the agent. `run` returns the process's exit status."""

    def __init__(self, settings: AgentSettings, identity: Identity) -> None:
        """Opens the store and the log file, when there is one. OSError, sqlite3.Error or Refused when that fails."""
        self.settings = settings
        self.identity = identity
        self.fatal = ""
        self.stop = threading.Event()
        self._end_link = threading.Event()
        self._end_uplink = threading.Event()
        self._threads: list[threading.Thread] = []
        self._status_trouble = Repeated(log, "status not written", "status written again")
        self._started_s = time.monotonic()
        self._written_at_start = written_bytes()
        self.reader: LinkReader | None = None
        self.log_source = self._open_log()
        self.clock = ClockModel()
        self.source = self._open_source()
        self.recorder = self._open_recorder()
        if self.log_source is not None:
            self.log_source.skip(self.recorder.state.position)
        self.uplink = self._make_uplink()
        self.models = self._make_models()
        self.engine = self.models.engine if self.models else make_engine(settings.findings)
        self.pipeline = self._make_pipeline()
        self.offload = self.pipeline.offload = self._make_offload()

    # --- parts

    def _open_log(self) -> LogSource | None:
        link = self.settings.link
        if link.kind != "file":
            return None
        return LogSource(Path(link.path), None if isinstance(link.speed, str) else float(link.speed))

    def _open_source(self) -> LinkSource | LogSource:
        if self.log_source is not None:
            self.clock = ClockModel(log=self.log_source.is_stamped)
            return self.log_source
        self.reader = LinkReader(self.settings.link, now_us)
        return LinkSource(self.reader, now_us)

    def _open_recorder(self) -> Recorder:
        epoch = self.log_source.epoch if self.log_source else machine_boot()
        now = Now(self.source.now_us(), now_us())
        recorder = recovery.start(
            self.settings.data_dir / "store.db", self.identity.signer, self.identity.find_own, self.clock,
            self.settings.recording.policy(), epoch, now,
        )  # fmt: skip
        remembered = recovery.remembered(recorder.store, "policy")
        if isinstance(remembered, dict):
            try:
                recorder.policy = policy_from(remembered, recorder.policy)
            except Refusal as e:
                log.warning("remembered policy ignored", extra={"why": e.why})
        return recorder

    def _make_uplink(self) -> AnyUplink | None:
        kind = self.settings.uplink.transport
        if kind == "none":
            return None
        make = HttpsUplink if kind == "https" else Uplink
        return make(self.identity, self.settings.uplink, self.recorder, self._state)

    def _make_pipeline(self) -> Pipeline:
        companion = Companion(self.source.send, self.settings.link.rate_profile)
        pipeline = Pipeline(
            self.source, self.recorder, self.clock, int(self.settings.link.lost_after_s * 1e6), companion,
            self.engine, self.settings.findings.statustext, self.models,
        )  # fmt: skip
        version = recovery.remembered(self.recorder.store, "directive")
        known = version if isinstance(version, int) else 0
        pipeline.directive_version = max(known, self.models.newest_version if self.models else 0)
        pipeline.is_hub_live = lambda: self.uplink is not None and self.uplink.is_live
        return pipeline

    def _make_models(self) -> Models | None:
        """None where the settings name a bundle of their own, or none, or when none can be loaded."""
        if self.settings.findings.bundle != "packaged":
            return None
        try:
            shelf = Shelf(self.settings.data_dir, trusted_keys(self.settings.findings.release_keys))
            loaded = shelf.open()
        except (OSError, Refused, ImportError, ValueError) as e:
            log.warning("no model can be loaded", extra={"error": str(e)})
            return None
        if loaded.trouble:
            log.error("another model than chosen", extra={"why": loaded.trouble, "model": loaded.active.name})
        return Models(shelf, loaded, HubHttps(self.identity, self.settings.uplink.hub_url).get)

    def _make_offload(self) -> Offload | None:
        """None without a link that may be written to."""
        settings = self.settings
        if not settings.offload.enabled or self.reader is None or not settings.link.is_writable:
            return None
        folder = settings.data_dir / "offload"
        take = partial(take_over, settings.data_dir, settings.identity_dir)
        offload = Offload(settings.offload, folder, self.pipeline.companion.say, take, self._is_live_waiting)
        self.reader.tap = offload.tap
        return offload

    def _is_live_waiting(self) -> bool:
        """Whether live batches wait though the hub is reached: the machine or its network has enough to do."""
        if self.uplink is None or not self.uplink.is_live:
            return False
        queued = self._queued()
        return sum(queued.get(lane, (0, 0))[0] for lane in (Lane.alert, Lane.live)) > MOST_LIVE_WAITING

    # --- running

    def run(self) -> int:
        """Run until SIGTERM, SIGINT or a thread's death."""
        self._install_signals()
        self._start_threads()
        log.info("recording", extra={"stream": str(self.recorder.state.chain.stream), "link": self.settings.link.kind})
        self._guard("pipeline", self._pipeline)()
        self._finish()
        return 1 if self.fatal else 0

    def run_once(self, timeout_s: float) -> int:
        """Play a log to its end; 0 when everything of it is sealed, sent and receipted, 3 when that takes too long."""
        self._install_signals()
        self._start_threads()
        deadline = time.monotonic() + timeout_s
        while not self.stop.is_set() and not self.source.is_ended and time.monotonic() < deadline:
            self._step()
        while not self.stop.is_set() and not self.pipeline.end_of_log() and time.monotonic() < deadline:
            time.sleep(STEP_S)
        self._wake()
        while not self.stop.is_set() and not self._is_done() and time.monotonic() < deadline:
            self.pipeline.apply_receipts()
            self._step()
            time.sleep(0.02)
        is_done = self._is_done()
        self._finish()
        return 1 if self.fatal else 0 if is_done else 3

    def _is_done(self) -> bool:
        return self.source.is_ended and (self.uplink is None or self.recorder.is_empty())

    def _pipeline(self) -> None:
        ended = False
        while not self.stop.is_set():
            self._step()
            if self.source.is_ended and not ended:
                ended = self.pipeline.end_of_log()
                self._wake()
                log.info("log played to its end")

    def _step(self) -> None:
        """One round; sleeps when there is nothing to do, or when a log would outrun the uplink."""
        batches = self.recorder.totals.batches
        if self.source.is_hurried and self.uplink is not None and self._is_outrun():
            self.pipeline.apply_receipts()
            time.sleep(0.02)
            return
        came = self.pipeline.step()
        if self.recorder.totals.batches != batches:
            self._wake()
        if self.uplink is not None:
            while self.uplink.directives:
                self.pipeline.directives.append(self.uplink.directives.popleft())
        if not (came and self.source.is_behind):
            self.stop.wait(STEP_S)

    def _is_outrun(self) -> bool:
        with self.recorder.store.lock:
            waiting = sum(size for _, size in store.queued(self.recorder.store.conn).values())
        return waiting > min(HURRIED_BYTES, self.recorder.policy.quota_bytes // 2)

    def _finish(self) -> None:
        self.stop.set()
        if self.models is not None:
            self.models.wake()
        self._join("offload")
        self.pipeline.companion.leave()
        self._end_link.set()
        self._join("link")
        self._guard("drain", self.pipeline.finish)()
        self._wake()
        self._end_uplink.set()
        self._join()
        self._guard("drain", self.pipeline.apply_receipts)()
        self._write_status(is_running=False)
        self.recorder.store.close()

    def _join(self, name: str = "") -> None:
        """Wait for a thread (or all) to end, within reason."""
        for thread in self._threads:
            if name in ("", thread.name):
                thread.join(timeout=10)

    def _wake(self) -> None:
        if self.uplink is not None:
            self.uplink.wake()

    def _start_threads(self) -> None:
        if self.reader is not None:
            self._thread("link", lambda: self.reader.run(self._end_link) if self.reader else None)
        if self.uplink is not None:
            uplink = self.uplink
            self._thread("uplink", lambda: uplink.run(self._end_uplink))
            imports = ImportsThread(self.settings.data_dir, self.identity, uplink)
            self._thread("imports", lambda: imports.run(self._end_uplink))
        if self.offload is not None:
            offload = self.offload
            self._thread("offload", lambda: offload.run(self.stop))
        if self.models is not None and self.uplink is not None:
            models = self.models
            self._thread("models", lambda: models.run(self.stop))
        self._thread("health", self._health)
        tell_service_manager("READY=1")

    def _thread(self, name: str, body: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._guard(name, body), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _guard(self, name: str, body: Callable[[], None]) -> Callable[[], None]:
        def guarded() -> None:
            try:
                body()
            except Exception:
                self.fatal = self.fatal or name
                log.exception("thread died", extra={"thread_name": name})
                self.stop.set()

        return guarded

    def _install_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            stop_on_signals(self.stop)

    # --- what it says of itself

    def _health(self) -> None:
        while not self.stop.is_set():
            self._write_status(is_running=True)
            tell_service_manager("WATCHDOG=1")
            self.stop.wait(STATUS_EVERY_S)

    def _state(self) -> dict[str, Any]:
        """The state topic's message (docs/architecture.md)."""
        state = self.recorder.state
        return {
            "online": True, "stream": str(state.chain.stream), "boot": str(state.boot),
            "session": str(state.session.session) if state.session else None, "agent_version": VERSION,
            "queued": {lane.name: n for lane, (n, _) in self._queued().items()}, "newest_seq": state.chain.next_seq - 1,
        }  # fmt: skip

    def _queued(self) -> "dict[Lane, tuple[int, int]]":
        opened = self.recorder.store
        with opened.lock:
            return store.queued(opened.conn)

    def status(self, is_running: bool) -> dict[str, Any]:
        """What `dbx agent status` shows."""
        uplink, reader, recorder = self.uplink, self.reader, self.recorder
        hours = max(time.monotonic() - self._started_s, 1.0) / 3600
        return self._state() | {
            "online": uplink.is_connected if uplink else False, "is_running": is_running, "pid": os.getpid(),
            "at_unix_s": int(time.time()), "link": self.settings.link.kind,
            "link_open": reader.is_open if reader else not self.source.is_ended,
            "link_trouble": reader.trouble if reader else "", "armed": self.pipeline.watch.is_armed,
            "mode": self.pipeline.watch.mode, "clock": clock_name(self.clock),
            "uplink_protocol": uplink.protocol if uplink else "none",
            "uplink_trouble": uplink.trouble if uplink else "",
            "reconnects": uplink.reconnects if uplink else 0,
            "unreceipted_oldest_s": uplink.unreceipted_oldest_s if uplink else 0,
            "store_bytes": recorder.store.size_bytes(),
            "quota_bytes": recorder.policy.quota_bytes, "write_trouble": recorder.write_failed, "fatal": self.fatal,
            "models": self._model_status(), "offload": self.offload.status() if self.offload else None,
            "disk_bytes_per_hour": int((written_bytes() - self._written_at_start) / hours),
        } | asdict(recorder.totals)  # fmt: skip

    def _model_status(self) -> dict[str, Any] | None:
        """None: no findings on board."""
        if self.models is not None:
            return self.models.status()
        bundle = self.engine.active.bundle if self.engine else None
        return {"model": bundle.name, "digest": bundle.digest.hex(), "stage": "own"} if bundle else None

    def _write_status(self, is_running: bool) -> None:
        path = self.settings.data_dir / STATUS_FILE
        try:
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(self.status(is_running)))
            fresh.replace(path)
            self._status_trouble.worked()
        except OSError as e:
            self._status_trouble.failed(str(e))

    def summary(self) -> dict[str, Any]:
        """What a run of one log came to (`run --once --summary FILE`)."""
        totals = asdict(self.recorder.totals)
        return totals | {
            "log": self.settings.link.path, "disk_bytes": written_bytes() - self._written_at_start,
            "streams": [str(self.recorder.state.chain.stream)], "seconds": round(time.monotonic() - self._started_s, 3),
            "fatal": self.fatal,
        }  # fmt: skip


def trusted_keys(further: str) -> list[bytes]:
    """The release keys of the program and those of a file of one's own. OSError, ValueError."""
    return read_keys() + (read_keys(further) if further else [])


def make_engine(wanted: FindingsSettings) -> FindingEngine | None:
    """The engine for a bundle file, or None (""). Said once when it cannot be had."""
    bundle = wanted.bundle
    if bundle in ("", "packaged"):
        log.info("no model bundle: no findings on board")
        return None
    try:
        return FindingEngine(load_bundle(bundle, trusted_keys(wanted.release_keys)))
    except (OSError, Refused, ImportError, ValueError) as e:
        log.warning("model bundle unusable: no findings on board", extra={"bundle": bundle, "error": str(e)})
        return None


def written_bytes() -> int:
    """Bytes that this process caused to be written to disk, by the kernel's count; 0 where it does not count."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
        found = dict(line.split(": ") for line in lines)
        return int(found["write_bytes"])
    except (OSError, KeyError, ValueError):
        return 0


def tell_service_manager(message: str) -> None:
    """sd_notify(3), where a service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            try:
                out.sendto(message.encode(), "\0" + address[1:] if address[0] == "@" else address)
            except OSError as e:
                log.debug("service manager not told", extra={"error": str(e)})

"""`dbx hub up`: the embedded servers and every process of the hub on one machine, watched and restarted.

Order: PostgreSQL, migrations, broker, then ingest, api and worker as processes of their own; stopped in the reverse
order. A process that dies is started again, after a pause that doubles up to 30 s while it keeps dying.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from hub.embedded import postgres
from hub.embedded.process import Lifeline, tail
from hub.installation import Installation
from hub.migrate import migrate
from hub.settings import DATABASE, HubSettings, environment
from shared.stopping import stop_on_signals

log = logging.getLogger("dbx.up")
READY_LIMIT_S = 120.0
STOP_LIMIT_S = 30.0
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0  # a process that ran this long is healthy: its next restart is at once


@dataclass
class Child:
    """One process of the hub: its name, its command, and how it fares."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    lifeline: Lifeline | None = None
    started_s: float = 0.0
    pause_s: float = 0.5
    restarts: int = field(default=0)

    def start(self) -> None:
        self.started_s = time.monotonic()
        with self.log.open("ab") if self.log else contextlib.nullcontext() as out:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.lifeline = Lifeline(self.process.pid, signal.SIGTERM)

    def stop(self) -> None:
        if self.lifeline:
            self.lifeline.cut()
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            log.warning("process killed: it did not stop in time", extra={"part": self.name})
            self.process.kill()
            self.process.wait()

    def restart_if_dead(self, stop: threading.Event) -> None:
        """Start it again when it has ended; the pause grows while it keeps ending soon."""
        if self.process is None or self.process.poll() is None:
            return
        if time.monotonic() - self.started_s > STEADY_S:
            self.pause_s = 0.5
        log.error("process ended; starting it again", extra={"part": self.name, "status": self.process.returncode})
        if self.lifeline:
            self.lifeline.cut()
        if not stop.wait(self.pause_s):
            self.pause_s = min(LONGEST_PAUSE_S, self.pause_s * 2)
            self.restarts += 1
            self.start()


class RunningHub:
    """The hub of one data folder, running. A context manager; `children` by name are there for tests of faults.

    log: where the processes' messages go; None: to our own standard error.
    """

    def __init__(self, settings: HubSettings, log: Path | None = None) -> None:
        self.log = log
        self.settings = settings
        self.installation = Installation(settings)
        self.postgres: postgres.EmbeddedPostgres | None = None
        self.children: dict[str, Child] = {}
        self._stop = threading.Event()
        self._watch: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            self.prepare()
            self._start_children()
            self._wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def prepare(self) -> None:
        """Servers up, database there and migrated; no process of ours yet."""
        if not self.settings.database_url:
            self.start_postgres()
            ensure_database(postgres.url(self.installation.postgres_dir))
        for name in migrate(self.installation.admin_url(), self.installation.role_passwords):
            log.info("migration applied", extra={"migration": name})
        if broker := self.installation.embedded_broker:
            broker.start()

    def start_postgres(self) -> None:
        """Start the embedded server, or find the one that runs."""
        self.postgres = postgres.start(self.installation.postgres_dir)

    def _start_children(self) -> None:
        counts = {"ingest": self.settings.ingest_processes, "api": 1, "worker": 1}
        for name, count in counts.items():
            for number in range(1, count + 1):
                title = name if count == 1 else f"{name}-{number}"
                command = [sys.executable, "-m", "shared.command", "hub", name, "--data", str(self.settings.data_dir)]
                self.children[title] = Child(title, command, {**os.environ, **environment(self.settings)}, self.log)
                self.children[title].start()
        self._watch = threading.Thread(target=self._restart_the_dead, name="watch", daemon=True)
        self._watch.start()

    def _restart_the_dead(self) -> None:
        while not self._stop.wait(0.25):
            for child in self.children.values():
                child.restart_if_dead(self._stop)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_LIMIT_S
        host = "127.0.0.1" if self.settings.api_host in ("0.0.0.0", "::") else self.settings.api_host  # noqa: S104
        address = f"http://{host}:{self.settings.api_port}/v1/health"
        while not _is_healthy(address):
            dead = [c.name for c in self.children.values() if c.restarts > 3]
            if dead or time.monotonic() > deadline:
                said = "\n" + tail(self.log) if self.log else " (see its messages above)"
                raise RuntimeError(f"the hub is not ready: {', '.join(dead) or address}{said}")
            time.sleep(0.05)

    def close(self) -> None:
        """Stop everything in the reverse order of starting. Harmless when repeated."""
        self._stop.set()
        if self._watch:
            self._watch.join()
        for child in self.children.values():  # ask all first, so that they end side by side
            if child.process and child.process.poll() is None:
                child.process.terminate()
        for child in self.children.values():
            child.stop()
        if broker := self.installation.embedded_broker:
            broker.stop()
        if self.postgres:
            self.postgres.stop()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def ensure_database(server_url: str, name: str = DATABASE) -> None:
    """Make the hub's database on the server where it is missing."""
    with psycopg.connect(server_url, autocommit=True) as conn:
        if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _is_healthy(address: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # ourselves are never behind a proxy
    try:
        with opener.open(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def until_signal() -> threading.Event:
    """An event that SIGINT and SIGTERM set."""
    stop = threading.Event()
    stop_on_signals(stop)
    return stop

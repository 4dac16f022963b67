"""The demo's aircraft: enrolled through the API with a code, flown by a real agent process that plays a recording."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from hub.demo_log import DemoLog
from hub.embedded.process import Lifeline, tail

STOP_LIMIT_S = 30.0


class DemoFailed(RuntimeError):
    """The demo cannot go on; the text says why."""


class HubApi:
    """The hub's API as the operator and the demo use it: one organisation's key."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """JSON in, JSON out. DemoFailed with the API's own words when it refuses."""
        answer = self._http.request(method, path, json=body)
        if answer.is_error:
            raise DemoFailed(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return dict(answer.json())

    def download(self, path: str) -> bytes:
        """A file."""
        answer = self._http.get(path)
        if answer.is_error:
            raise DemoFailed(f"GET {path}: {answer.status_code} {answer.text[:300]}")
        return answer.content

    def close(self) -> None:
        self._http.close()


@dataclass
class Aircraft:
    """One demo aircraft: its folder (identity, store) and its agent while it runs."""

    folder: Path
    aircraft_id: UUID
    process: subprocess.Popen[bytes] | None = None
    lifeline: Lifeline | None = None
    disk_bytes: int = 0
    """What the kernel counted as written to disk by the agent, up to its end."""
    _is_stopping: bool = False

    def start(self, log: DemoLog, speed: str) -> None:
        """Fly: the agent plays the log and ends by itself when the hub has receipted all of it."""
        self._is_stopping = False
        play = (
            "--log",
            str(log.path),
            "--speed",
            speed,
            "--once",
            "--timeout",
            "86400",
            "--summary",
            str(self._summary),
        )
        with self._log.open("wb") as out:
            self.process = subprocess.Popen(
                self.command("run", *play), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self.lifeline = Lifeline(self.process.pid, signal.SIGTERM)

    def has_ended(self) -> bool:
        """Whether the agent has ended; then `disk_bytes` says what it wrote. DemoFailed when it failed."""
        if self.process is None:
            return True
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if not pid:
            return False
        self.disk_bytes = usage.ru_oublock * 512
        self._ended(status)
        return True

    def _ended(self, status: int) -> None:
        assert self.process
        code = self.process.returncode = os.waitstatus_to_exitcode(status)
        self.process = None
        if self.lifeline:
            self.lifeline.cut()
        if code != 0 and not self._is_stopping:
            raise DemoFailed(f"the agent ended with status {code}:\n{tail(self._log)}")

    def stop(self) -> None:
        """Ask the agent to write what it has and end; harmless when it has ended."""
        if self.process is None:
            return
        self._is_stopping = True
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        deadline = time.monotonic() + STOP_LIMIT_S
        while not self.has_ended():
            if time.monotonic() > deadline:
                self.process.kill()
            time.sleep(0.02)

    def summary(self) -> dict[str, Any]:
        """What the agent said of its run at its end."""
        return dict(json.loads(self._summary.read_text()))

    @property
    def _summary(self) -> Path:
        return self.folder / "summary.json"

    @property
    def _log(self) -> Path:
        return self.folder / "agent.log"

    def command(self, verb: str, *words: str) -> list[str]:
        """The command line of an agent's verb for this aircraft."""
        return [sys.executable, "-m", "shared.command", "agent", verb, *words, "--data", str(self.folder)]


def enrol(api: HubApi, folder: Path, name: str) -> Aircraft:
    """Make an aircraft known, get a single-use code, and let the agent enrol with it. Done already: found again."""
    known = folder / "aircraft.json"
    if known.exists() and (folder / "identity" / "identity.json").exists():
        return Aircraft(folder, UUID(json.loads(known.read_text())["id"]))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = api.call("POST", "/v1/aircraft", {"name": name})
    code = api.call("POST", f"/v1/aircraft/{made['id']}/enrollment-codes", {})["code"]
    known.write_text(json.dumps({"id": made["id"]}))
    aircraft = Aircraft(folder, UUID(made["id"]))
    run = subprocess.run(aircraft.command("enroll", api.url, code), capture_output=True, text=True)
    if run.returncode != 0:
        raise DemoFailed(f"the agent could not enrol: {run.stderr.strip() or run.stdout.strip()}")
    return aircraft

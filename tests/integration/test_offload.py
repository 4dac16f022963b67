"""A real agent process fetches a scripted autopilot's logs over UDP, and stops when it is armed."""

import json
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.codec import decode_block
from tests.fix_agent import HubKey, settings_file, start_agent, write_identity
from tests.fix_log_server import LogServer
from tests.fix_scripted_autopilot import Faults, ScriptedAutopilot
from tests.fix_system import wait_until
from tests.integration.test_agent_live import free_port

SETTLE_S = 1.0
HEARTBEAT_S = 1.0


class Offloading:
    """An agent without a hub, and its autopilot."""

    def __init__(self, folder: Path, server: LogServer, **autopilot: Any) -> None:
        self.folder, self.port = folder, free_port()
        self.server = server
        write_identity(folder / "identity", HubKey())
        self.config = settings_file(
            folder, link={"kind": "udp-server", "port": self.port}, uplink={"transport": "none"},
            offload={"enabled": True, "settle_s": SETTLE_S},
        )  # fmt: skip
        self.autopilot = ScriptedAutopilot(self.port, server, **autopilot)
        self.agent = start_agent("run", "--config", self.config)

    def done(self) -> list[Path]:
        return [p for p in (self.folder / "data" / "offload" / "done").glob("*/*") if p.is_file()]

    def status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "data" / "status.json").read_text())
            return found
        except (OSError, ValueError):
            return {}

    def stop(self) -> str:
        if self.agent.poll() is None:
            self.agent.send_signal(signal.SIGTERM)
        _, err = self.agent.communicate(timeout=30)
        self.autopilot.stop()
        return str(err)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Any]:
    made: list[Offloading] = []

    def make(server: LogServer, **autopilot: Any) -> Offloading:
        made.append(Offloading(tmp_path, server, **autopilot))
        return made[-1]

    yield make
    for one in made:
        one.agent.kill()
        one.autopilot.stop()


def logs(*sizes: int) -> dict[str, bytes]:
    return {f"/APM/LOGS/{i:08d}.BIN": random.Random(i).randbytes(n) for i, n in enumerate(sizes, 1)}


def test_the_logs_of_a_disarmed_vehicle_arrive_whole_the_newest_first(begin: Any) -> None:
    server = LogServer(logs(3_000, 40_000))
    run = begin(server, faults=Faults(loss=0.02, twice=0.02, late=0.05))
    wait_until(lambda: len(run.done()) == 2, 40, "two logs")
    err = run.stop()
    assert {p.read_bytes() for p in run.done()} == set(server.files.values()), err
    print(err)

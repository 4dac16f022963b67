"""Two ingest processes and two workers side by side, killed in turn, on both brokers: still everything exactly once."""

import contextlib
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator

import pytest

from hub.settings import environment
from hub.up import Child
from tests.fix_system import Flight, System, flying, running_system

pytestmark = pytest.mark.slow
QUICK_LINK = "[uplink]\npuback_timeout_s = 2.0\nreceipt_timeout_s = 3.0\n"


@contextlib.contextmanager
def second_worker(system: System) -> Iterator[Child]:
    """One more worker beside the hub's own."""
    settings = system.hub.settings
    command = [sys.executable, "-m", "shared.command", "hub", "worker", "--data", str(settings.data_dir)]
    worker = Child("worker-2", command, {**os.environ, **environment(settings)})
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


@pytest.mark.parametrize("broker", ["nats", "mosquitto"])
def test_two_of_each_process_killed_in_turn_bring_every_frame_in_once(broker: str) -> None:
    if broker == "mosquitto" and not shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        pytest.skip("mosquitto is not installed")
    chance = random.Random(23)
    with running_system(broker, ingest_processes=2) as system, second_worker(system) as worker:
        logs = [system.log("copter"), system.log("heli")]
        aircraft = [system.aircraft(name) for name in ("first", "second")]
        flights = [Flight.of_log(a, log, 8.0, QUICK_LINK) for a, log in zip(aircraft, logs, strict=True)]
        with flying(flights[0]), flying(flights[1]):
            for name in ("ingest-1", "ingest-2", "worker", "ingest-1"):
                time.sleep(chance.uniform(0.5, 1.5))
                system.kill(name)
                assert worker.process
                worker.process.kill()
                worker.start()
            system.kill_broker(chance.uniform(0.0, 1.0))
            assert any(flight.is_running() for flight in flights), "the logs ended before the faults did"
            for flight in flights:
                flight.finish()
        for a, log in zip(aircraft, logs, strict=True):
            system.assert_whole(a, log)
            assert all(flight["complete"] and report.is_whole for flight, report in system.flights(a))

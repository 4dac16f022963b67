"""A model from `dbx models publish` to the aircraft and back into the hub's lists: real hub, real agent."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.scoring import packaged_bundle
from tests.fix_models import Released, ReleaseKey
from tests.fix_recorder import Talker
from tests.fix_system import Flight, System, flying, running_system, wait_until

pytestmark = pytest.mark.slow


class Vehicle:
    """An autopilot that says by UDP, five times a second, whether it is armed."""

    def __init__(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.is_armed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        talker = Talker()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not self._stop.wait(0.2):
                out.sendto(talker.heartbeat(self.is_armed) + talker.attitude(), ("127.0.0.1", self.port))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def releasing(release_key: ReleaseKey) -> Iterator[System]:
    """A system that trusts the tests' release key."""
    with running_system(release_keys=str(release_key.trusted)) as made:
        yield made


@pytest.fixture
def vehicle() -> Iterator[Vehicle]:
    made = Vehicle()
    yield made
    made.close()


def agent(system: System, vehicle: Vehicle, key: ReleaseKey, name: str) -> Flight:
    trusted = f"[findings]\nrelease_keys = {json.dumps(str(key.trusted))}\n"
    return Flight.of_udp(system.aircraft(name), vehicle.port, trusted)


def models(system: System, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DBX_API_KEY": system.demo.owner.key, "DBX_HUB_URL": system.demo.api.url}
    return subprocess.run(
        [sys.executable, "-m", "shared.command", "models", *map(str, words)], env=environment, text=True,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def publish(system: System, bundle: Released, stage: str, *aircraft: str) -> dict[str, Any]:
    named = ["--aircraft", *aircraft] if aircraft else []
    done = models(system, "publish", bundle.path, "--stage", stage, *named, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def running(system: System, name: str) -> dict[str, Any]:
    done = models(system, "releases", "--json")
    assert done.returncode == 0, done.stderr
    return next(a for a in json.loads(done.stdout)["aircraft"] if a["aircraft_name"] == name)


def status(flight: Flight, pid: int | None = None) -> dict[str, Any]:
    """What the agent says of its models; {} when it did not say it (or not this process)."""
    try:
        said = json.loads((flight.aircraft.folder / "status.json").read_text())
        return dict(said["models"]) if pid in (None, said["pid"]) else {}
    except (OSError, ValueError):
        return {}


def told(system: System, name: str, state: str) -> dict[str, Any]:
    """What the hub lists of the aircraft once its directive has this answer."""
    wait_until(lambda: running(system, name)["state"] == state, 60, f"{name} {state}")
    return running(system, name)


def test_a_model_goes_from_shadow_to_canary_to_the_fleet(
    releasing: System, vehicle: Vehicle, release_key: ReleaseKey
) -> None:
    bundle, packaged = release_key.bundle("97"), packaged_bundle()
    with flying(agent(releasing, vehicle, release_key, "stages")) as flight:
        publish(releasing, bundle, "shadow", "stages")
        seen = told(releasing, "stages", "enacted")
        assert (seen["active"], seen["other"], seen["stage"]) == (packaged.name, bundle.name, "shadow")
        vehicle.is_armed = True
        wait_until(lambda: json.loads((flight.aircraft.folder / "status.json").read_text())["armed"], 30, "armed")
        publish(releasing, bundle, "canary", "stages")
        wait_until(lambda: status(flight).get("wanted") == bundle.digest.hex(), 30, "the directive heard")
        time.sleep(2)
        assert status(flight)["stage"] == "shadow", "never switched while armed"
        vehicle.is_armed = False
        seen = told(releasing, "stages", "enacted")
        assert (seen["active"], seen["other"], seen["stage"]) == (bundle.name, packaged.name, "canary")
        made = publish(releasing, bundle, "fleet")
        assert str(flight.aircraft.aircraft_id) in made["told"]
        wait_until(lambda: running(releasing, "stages")["stage"] == "fleet", 60, "fleet")
        flight.kill()
        flight.start()
        process = flight.process
        assert process
        wait_until(lambda: status(flight, process.pid) != {}, 30, "the start after a kill")
        assert (status(flight)["stage"], status(flight)["digest"]) == ("fleet", bundle.digest.hex())
    listed = json.loads(models(releasing, "releases", "--json").stdout)["releases"]
    assert [r["stage"] for r in listed if r["model"] == bundle.name] == ["fleet", "canary", "shadow"]


def test_a_torn_bundle_falls_back_to_the_packaged_one_and_the_hub_is_told(
    releasing: System, vehicle: Vehicle, release_key: ReleaseKey
) -> None:
    bundle = release_key.bundle("98")
    flight = agent(releasing, vehicle, release_key, "torn")
    with flying(flight):
        publish(releasing, bundle, "canary", "torn")
        assert told(releasing, "torn", "enacted")["active"] == bundle.name
    path = flight.aircraft.folder / "models" / f"{bundle.digest.hex()}.bundle"
    path.write_bytes(path.read_bytes()[:-100])
    with flying(flight):
        wait_until(lambda: running(releasing, "torn")["active"] == packaged_bundle().name, 60, "the fall-back told")
        assert "not loaded" in running(releasing, "torn")["detail"]
        process = flight.process
        assert process
        wait_until(lambda: status(flight, process.pid).get("stage") == "packaged", 30, "the status")


def test_an_aircraft_that_does_not_trust_the_key_refuses(
    releasing: System, vehicle: Vehicle, release_key: ReleaseKey
) -> None:
    bundle = release_key.bundle("99")
    flight = Flight.of_udp(releasing.aircraft("strict"), vehicle.port)
    with flying(flight):
        publish(releasing, bundle, "canary", "strict")
        seen = told(releasing, "strict", "refused")
        assert "unknown_key" in seen["state_detail"]
        assert status(flight)["stage"] == "packaged"


def test_the_hub_refuses_what_no_aircraft_would_take(
    releasing: System, release_key: ReleaseKey, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.bundle"
    broken.write_bytes(release_key.bundle("96").data[:-1])
    releasing.aircraft("any")
    for words in (
        ["publish", broken, "--stage", "fleet"],
        ["publish", release_key.bundle("95", feature_version=1).path, "--stage", "fleet"],
        ["publish", release_key.bundle("96").path, "--stage", "canary"],
        ["publish", release_key.bundle("96").path, "--stage", "canary", "--aircraft", "nobody"],
    ):
        done = models(releasing, *words)
        assert done.returncode == 1
        assert done.stderr.startswith("dbx models publish:"), done.stderr

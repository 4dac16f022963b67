"""From a card in a field engineer's laptop into the hub, with real processes, and back to "this card may be wiped"."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from hub.demo_aircraft import Aircraft
from tests.fix_agent import run_agent
from tests.fix_imports import write_log
from tests.fix_system import System

pytestmark = pytest.mark.slow


@dataclass
class Laptop:
    """An enrolled station."""

    device: Aircraft

    def run(self, *args: str | Path, config: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """`dbx agent ...` to its end."""
        return run_agent(*args, "--config", config or self.device.folder / "agent.toml", timeout_s=120)

    def said(self, *args: str | Path) -> dict[str, Any]:
        """What a command says in JSON; it must exit 0."""
        done = self.run(*args, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        return dict(json.loads(done.stdout))


def enrol_station(system: System, name: str) -> Laptop:
    folder = system.demo.folder / name
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text('data_dir = "."\n[findings]\nbundle = ""\n')
    made = system.demo.api.call("POST", "/v1/aircraft", {"name": name, "kind": "station"})
    code = system.demo.api.call("POST", f"/v1/aircraft/{made['id']}/enrollment-codes", {})["code"]
    laptop = Laptop(Aircraft(folder, UUID(made["id"])))
    assert laptop.run("enroll", system.demo.api.url, code).returncode == 0
    return laptop


def test_a_card_goes_from_the_field_into_the_hub_and_may_then_be_wiped(system: System, tmp_path: Path) -> None:
    owner = system.aircraft("falke").aircraft_id
    laptop = enrol_station(system, "laptop-1")
    card = tmp_path / "card"
    flights = [(n, 60_000_000 * n, 205_200_000 + 900_000 * n) for n in (1, 2, 3)]
    logs = [write_log(card / f"{n}.BIN", 20 + n, start_us=us, week_ms=ms) for n, us, ms in flights]
    (card / "readme.txt").write_text("no log")
    assert laptop.run("card", card).returncode == 1
    assert laptop.said("import", card, "--aircraft", str(owner))["imported"] == 3
    assert laptop.run("card", card).returncode == 1
    sent = laptop.said("sync", "--timeout", "60")
    assert (sent["logs"], sent["whole"], sent["waiting_batches"], sent["hub_trouble"]) == (3, 3, 0, "")
    verdict = laptop.said("card", card)
    assert verdict["may_be_wiped"] and {f["proof"] for f in verdict["files"] if f["sha256"]} == {"log receipt"}
    found = system.demo.api.call("GET", "/v1/logs")["items"]
    assert {f["aircraft_id"] for f in found} == {str(owner)} and len(found) == 3
    for path in logs:
        name = next(f["sha256"] for f in verdict["files"] if f["file"].endswith(path.name))
        assert system.demo.api.download(f"/v1/logs/{name}/original") == path.read_bytes()


def test_what_a_colleague_brought_is_not_sent_again_and_the_fleet_is_learnt(system: System, tmp_path: Path) -> None:
    owner = system.aircraft("milan").aircraft_id
    first, second = enrol_station(system, "laptop-2"), enrol_station(system, "laptop-3")
    card = tmp_path / "card"
    write_log(card / "1.BIN", 31, texts=("ArduCopter V4.5.7 (2a3dc4b7)", "CubeOrange 00110022 33445566 77889900"))
    first.said("import", card, "--aircraft", str(owner))
    first.said("sync", "--timeout", "60")
    second.said("sync")
    said = second.said("import", card)
    assert said["files"][0]["aircraft"] == str(owner) and said["files"][0]["how"] == "known"
    sent = second.said("sync", "--timeout", "60")
    assert (sent["known"], sent["sent_batches"], sent["whole"]) == (1, 0, 1)
    assert second.said("card", card)["may_be_wiped"]


def test_logs_go_by_https_where_nothing_else_gets_out(system: System, tmp_path: Path) -> None:
    laptop = enrol_station(system, "laptop-4")
    config = laptop.device.folder / "agent.toml"
    config.write_text('data_dir = "."\n[findings]\nbundle = ""\n[uplink]\ntransport = "https"\n')
    card = tmp_path / "card"
    write_log(card / "1.BIN", 37)
    assert laptop.said("import", card)["unassigned"] == 1
    sent = laptop.said("sync", "--timeout", "60")
    assert (sent["protocol"], sent["whole"], sent["unassigned"]) == ("https", 1, 1)
    assert laptop.said("card", card)["may_be_wiped"]

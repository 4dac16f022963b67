"""Imports under kill -9 and on a full disk: in the end every log is queued whole, each byte once."""

import json
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.imports import ImportQueue
from shared.errors import Refused
from tests.chaos.test_agent_full_disk import fill, mounted
from tests.fix_agent import run_agent, start_agent
from tests.fix_imports import Station, logs_of, queued_batches, surveyed, write_log

pytestmark = pytest.mark.slow
SEED = 20261123


def killed(station: Station, card: Path, after_s: float) -> bool:
    """Import, and kill -9 so long after the first sign of it in the store. Whether it was still running then."""
    process = start_agent("import", card, "--config", station.config, stdout=subprocess.DEVNULL)
    seen = station.data / "imports.lock"
    seen.unlink(missing_ok=True)
    while not seen.exists() and process.poll() is None:
        time.sleep(0.001)
    time.sleep(after_s)
    is_running = process.poll() is None
    process.kill()
    process.communicate()
    return is_running


def test_an_import_killed_at_random_moments_ends_whole_and_never_doubled(station: Station) -> None:
    card = station.folder / "card"
    logs = [
        write_log(card / f"{n}.BIN", 200, rate_hz=400, start_us=60_000_000 * n, week_ms=100_000_000 * n)
        for n in (1, 2, 3, 4)
    ]
    rng = random.Random(SEED)
    kills = sum(killed(station, card, rng.uniform(0.0, 0.35)) for _ in range(6))
    assert kills >= 2, "the kills came too late to mean anything"
    done = run_agent("import", card, "--config", station.config, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["failed"] == 0
    queue = station.queue()
    found = logs_of(queued_batches(queue))
    assert sorted(data for _, data in found.values()) == sorted(p.read_bytes() for p in logs)
    before = queue.waiting()
    queue.close()
    again = run_agent("import", card, "--config", station.config)
    assert "nothing to do: all 4 logs are imported already" in again.stdout
    assert station.queue().waiting() == before


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    yield from mounted(tmp_path / "disk", "24m")


def noisy_log(path: Path, size: int) -> Path:
    """A log that does not pack: noise behind a short flight."""
    write_log(path, 5)
    with path.open("ab") as out:
        out.write(random.Random(SEED).randbytes(size))
    return path


def test_a_log_for_which_there_is_no_room_is_refused_and_room_is_left_to_others(station: Station, disk: Path) -> None:
    queue = ImportQueue(disk / "data", station.identity)
    with pytest.raises(Refused, match="disk_full"):
        for n in range(9):
            queue.add(*surveyed(noisy_log(station.folder / f"{n}.BIN", 3_000_000 + n)), None, "card")
    assert 1 <= n <= 5
    assert shutil.disk_usage(disk).free >= 8 << 20


def test_a_disk_that_is_full_to_the_last_byte_stops_an_import_which_goes_on_when_there_is_room(
    station: Station, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = noisy_log(station.folder / "1.BIN", 6_000_000)
    queue = ImportQueue(disk / "data", station.identity)
    filler = fill(disk, 5 << 20)
    with monkeypatch.context() as patch, pytest.raises(Refused, match="disk_full"):
        patch.setattr(ImportQueue, "make_room", lambda _self, _size: None)
        queue.add(*surveyed(path), None, "card")
    assert queue.waiting()[0] > 0
    filler.unlink()
    queue.close()
    again = ImportQueue(disk / "data", station.identity, keep_free_bytes=0)
    assert not again.was_torn and again.add(*surveyed(path), None, "card").is_new
    ((_, data),) = logs_of(queued_batches(again)).values()
    assert data == path.read_bytes()

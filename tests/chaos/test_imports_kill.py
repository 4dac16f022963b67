"""kill -9 in the middle of an import, again and again: in the end every log is queued whole, each byte once."""

import json
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.fix_agent import run_agent, start_agent
from tests.fix_imports import Station, logs_of, queued_batches, write_log

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

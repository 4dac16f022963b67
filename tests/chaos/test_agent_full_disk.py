"""A full disk: a small real file system, and a small quota under a real log. What is lost is said, the rest whole."""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.tlog import open_log, read_tlog
from shared.batch import Batch
from tests.chaos.test_agent_kill import read_store
from tests.fix_agent import DEMO_LOG, HubKey, run_agent, settings_file, write_identity
from tests.fix_recorder import Bench


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB; skips where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"may not mount a small file system here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def gaps(batches: dict[tuple[uuid.UUID, int], tuple[Batch, bytes]]) -> list[dict[str, Any]]:
    return [r for _, (b, _) in sorted(batches.items()) for r in b.records if r["type"] == "gap"]


def test_on_a_full_file_system_frames_wait_in_memory_and_are_written_when_there_is_room(small_disk: Path) -> None:
    bench = Bench(small_disk / "store.db")
    first = bench.fly(5)
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
    filler.write_bytes(bytes(free - 16_384))
    second = bench.fly(60, rate_hz=100)
    assert bench.recorder.write_failed
    filler.unlink()
    third = bench.fly(5)
    bench.recorder.finish(bench.now)
    assert len(bench.sealed_frames()) == len(first) + len(second) + len(third)
    assert not gaps(bench.batches())
    bench.recorder.store.close()


def test_frames_that_a_full_disk_and_a_full_memory_cost_are_counted_to_the_last_one(small_disk: Path) -> None:
    bench = Bench(small_disk / "store.db")
    bench.recorder.policy = replace(bench.recorder.policy, max_memory_bytes=30_000, quota_bytes=1 << 30)
    fed = len(bench.fly(220, rate_hz=400))  # more than the disk holds
    assert bench.recorder.totals.write_errors
    kept = len(bench.sealed_frames()) + len(bench.journaled_frames())
    unsaid = sum(loss.frames or 0 for loss in bench.recorder.losses.values())
    said = sum(g["frames"] for g in gaps(bench.batches()))
    in_memory = sum(len(f) for f in bench.recorder.unwritten())
    assert fed == kept + said + unsaid + in_memory
    bench.recorder.store.close()


def test_under_a_small_quota_every_frame_of_a_log_is_kept_or_named_in_a_gap_record(tmp_path: Path) -> None:
    write_identity(tmp_path / "identity", HubKey())
    config = settings_file(tmp_path, recording={"quota_mb": 0.25}, uplink={"transport": "none"})
    summary = tmp_path / "summary.json"
    log = read_tlog(open_log(DEMO_LOG)).frames
    for _ in range(4):
        done = run_agent(
            "run", "--config", config, "--log", DEMO_LOG, "--speed", "max", "--once", "--summary", summary
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    batches, frames = read_store(tmp_path / "data" / "store.db")
    said = gaps(batches)
    assert said and all(g["reason"] == "evicted" for g in said)
    assert len(frames) + sum(g["frames"] for g in said) == 4 * len(log)
    evicted = {g["first_seq"] + i: d for g in said for i, d in enumerate(g["digests"])}
    kept = {seq: digest for (_, seq), (_, digest) in batches.items()}
    everything = evicted | kept
    assert sorted(everything) == list(range(1, max(everything) + 1)) and not evicted.keys() & kept.keys()
    for (_, seq), (body, _) in batches.items():
        assert seq == 1 or body.prev == everything[seq - 1]
    assert json.loads(summary.read_text())["frames"] == len(log)

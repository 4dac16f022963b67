"""A full disk: a small real file system, and a small quota under a real log. What is lost is said, the rest whole."""

import contextlib
import json
import logging
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
from shared.receipt import make_receipt
from tests.chaos.test_agent_kill import read_store
from tests.fix_agent import DEMO_LOG, HubKey, check_chain, run_agent, settings_file, write_identity
from tests.fix_recorder import SECOND, Bench, sealed_frames


def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A small file system; skips where this user may not mount one."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"may not mount a small file system here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """2 MB."""
    yield from mounted(tmp_path / "disk", "2m")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """300 kB: less than any real disk has."""
    yield from mounted(tmp_path / "disk", "300k")


def gaps(batches: dict[tuple[uuid.UUID, int], tuple[Batch, bytes]]) -> list[dict[str, Any]]:
    return [r for _, (b, _) in sorted(batches.items()) for r in b.records if r["type"] == "gap"]


def fill(disk: Path, but_bytes: int = 0) -> Path:
    """Somebody else's file takes what is free."""
    filler = disk / "filler"
    stat = os.statvfs(disk)
    filler.write_bytes(bytes(max(stat.f_bavail * stat.f_bsize - but_bytes, 0)))
    return filler


def accounted(bench: Bench) -> int:
    """Frames that are on disk, in memory, or named in gap records, written or still to be written."""
    unsaid = sum(loss.frames or 0 for loss in bench.recorder.losses.values())
    said = sum(g["frames"] for g in gaps(bench.batches()))
    in_memory = sum(len(f) for f in bench.recorder.unwritten())
    return len(bench.sealed_frames()) + len(bench.journaled_frames()) + said + unsaid + in_memory


def test_a_disk_filled_for_a_moment_costs_no_frame(small_disk: Path) -> None:
    bench = Bench(small_disk / "store.db")
    fed = len(bench.fly(5))
    bench.recorder.room.give_up()
    filler = fill(small_disk)
    fed += len(bench.fly(4, rate_hz=100))
    assert bench.recorder.write_failed
    filler.unlink()
    fed += len(bench.fly(5))
    bench.recorder.finish(bench.now)
    assert len(bench.sealed_frames()) == fed
    assert not gaps(bench.batches())
    bench.recorder.store.close()


def test_a_disk_filled_by_somebody_else_and_freed_again_is_recorded_through_with_gap_records(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(small_disk / "store.db")
    bench.recorder.is_live = True
    fed = len(bench.fly(30, rate_hz=400))
    assert bench.recorder.room.has_reserve
    filler = fill(small_disk)
    with caplog.at_level(logging.INFO, "dbx.recorder"):
        for _ in range(4):  # each time somebody takes whatever room there is
            fed += len(bench.fly(60, rate_hz=100))
            with (small_disk / "more").open("ab") as more, contextlib.suppress(OSError):
                more.write(bytes(1 << 20))
        assert not bench.recorder.room.has_reserve and bench.recorder.totals.gaps
        assert accounted(bench) == fed
        filler.unlink()
        (small_disk / "more").unlink()
        fed += len(bench.fly(15, rate_hz=100))
    said = [r.getMessage() for r in caplog.records]
    assert said.count("writes fail") == said.count("writes work again") > 0
    assert "reserve made again" in said and not bench.recorder.write_failed
    bench.recorder.finish(bench.now)
    assert not bench.recorder.unwritten() and not bench.recorder.losses
    assert accounted(bench) == fed
    bench.recorder.store.close()


def test_receipts_free_a_disk_on_which_no_byte_is_left(small_disk: Path) -> None:
    bench = Bench(small_disk / "store.db")
    bench.recorder.is_live = True
    fed = bench.fly(40, rate_hz=400)
    fill(small_disk)
    held = bench.batches()
    known = {seq: digest for (_, seq), (_, digest) in held.items()}
    bench.recorder.receipts.append(make_receipt(bench.stream, known, 1))
    rest = bench.fly(15, rate_hz=100)
    assert not bench.batches().keys() & held.keys()
    bench.recorder.finish(bench.now)
    assert sealed_frames(held | bench.batches()).data == fed.data + rest.data
    check_chain(held | bench.batches())
    bench.recorder.store.close()


def test_a_recorder_starts_on_a_full_disk_with_the_room_of_its_reserve(small_disk: Path) -> None:
    bench = Bench(small_disk / "store.db")
    fed = len(bench.fly(20, rate_hz=200))
    bench.recorder.store.close()
    fill(small_disk)
    bench.epoch = uuid.uuid4()
    bench.start()
    fed += len(bench.fly(10))
    bench.recorder.finish(bench.now)
    assert abs(accounted(bench) - fed) <= 200  # what was only in memory when it was closed
    assert len({b.boot for b, _ in bench.batches().values() if b.columns}) == 2
    bench.recorder.store.close()


def test_a_log_ends_on_a_disk_hardly_larger_than_the_reserve_as_soon_as_receipts_come(tiny_disk: Path) -> None:
    bench = Bench(tiny_disk / "store.db")
    fed = len(bench.fly(60, rate_hz=400))
    assert bench.recorder.totals.gaps
    while bench.recorder.waiting.size_bytes < 120_000:
        fed += len(bench.fly(1, rate_hz=400))
    arrived = 0
    for _ in range(300):  # a hub that receipts whatever there is
        bench.now_us += SECOND // 10
        if bench.recorder.end_of_log(bench.now):
            break
        arrived += accounted(bench) - sum(len(f) for f in bench.recorder.unwritten()) - len(bench.journaled_frames())
        arrived -= sum(loss.frames or 0 for loss in bench.recorder.losses.values())
        known = {seq: digest for (_, seq), (_, digest) in bench.batches().items()}
        bench.recorder.receipts.append(make_receipt(bench.stream, known, 1))
        bench.recorder.apply_receipts(bench.now)
        assert not bench.batches()
    assert not bench.recorder.unwritten()
    assert arrived + accounted(bench) == fed
    bench.recorder.store.close()


def test_frames_that_a_full_disk_and_a_full_memory_cost_are_counted_to_the_last_one(small_disk: Path) -> None:
    bench = Bench(small_disk / "store.db")
    bench.recorder.policy = replace(bench.recorder.policy, max_memory_bytes=30_000, quota_bytes=1 << 30)
    fed = len(bench.fly(300, rate_hz=400))  # more than the disk holds
    assert bench.recorder.totals.write_errors
    assert fed == accounted(bench)
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

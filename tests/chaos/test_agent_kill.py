"""kill -9 of a real agent at random moments: every journaled frame is sealed exactly once, the chain is whole."""

import random
import sqlite3
import time
import uuid
from pathlib import Path

import pytest

from agent import journal
from firmware_bridge.tlog import open_log, read_tlog
from shared import batch as wire
from shared import envelope
from shared.codec import decode_block
from shared.frames import Frames, join
from tests.fix_agent import (
    DEMO_LOG,
    Aircraft,
    HubKey,
    check_chain,
    run_agent,
    settings_file,
    start_agent,
    write_identity,
)

KILLS = 12


def read_store(path: Path) -> tuple[dict[tuple[uuid.UUID, int], tuple[wire.Batch, bytes]], Frames]:
    """The batches of a store and its frames: those sealed in order, then those journaled."""
    conn = sqlite3.connect(path)
    sealed = [bytes(b) for (b,) in conn.execute("SELECT body FROM envelope ORDER BY id")]
    rows = [journal.unpack(bytes(b)) for (b,) in conn.execute("SELECT body FROM journal ORDER BY id")]
    conn.close()
    bodies = [(wire.decode(envelope.peek(e)[1]), envelope.digest(e)) for e in sealed]
    frames = [decode_block(b.columns).frames() for b, _ in bodies if b.columns]
    return {(b.stream, b.seq): (b, d) for b, d in bodies}, join(frames + rows)


@pytest.mark.slow
def test_kills_at_random_moments_lose_and_double_nothing_that_was_journaled(tmp_path: Path) -> None:
    """A log resumes where its journal ends, so nothing at all may be missing or twice in the end."""
    seed = random.randrange(1 << 30)
    moment = random.Random(seed)
    write_identity(tmp_path / "identity", HubKey())
    config = settings_file(tmp_path, uplink={"transport": "none"})
    store = tmp_path / "data" / "store.db"
    log = read_tlog(open_log(DEMO_LOG)).frames
    known: dict[tuple[uuid.UUID, int], bytes] = {}
    for _ in range(KILLS):
        agent = start_agent("run", "--config", config, "--log", DEMO_LOG, "--speed", "4", stdin=None)
        until = time.monotonic() + 20
        while not store.exists() and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.6 + moment.random())
        agent.kill()
        agent.communicate()
        batches, frames = read_store(store)
        assert log.data.startswith(frames.data), f"seed {seed}"
        check_chain(batches)
        assert all(batches[key][1] == digest for key, digest in known.items()), f"seed {seed}: a sealed batch changed"
        known = {key: digest for key, (_, digest) in batches.items()}
    done = run_agent("run", "--config", config, "--log", DEMO_LOG, "--speed", "max", "--once", timeout_s=120)
    assert done.returncode == 0, done.stderr
    batches, frames = read_store(store)
    check_chain(batches)
    assert frames.equals(log), f"seed {seed}"
    records = [r["type"] for _, (b, _) in sorted(batches.items()) for r in b.records]
    assert records.count("session_open") == records.count("session_close") == 1, f"seed {seed}"


@pytest.mark.slow
def test_kills_while_batches_are_sent_and_receipted_bring_every_frame_to_the_hub_exactly_once(
    aircraft: Aircraft,
) -> None:
    seed = random.randrange(1 << 30)
    moment = random.Random(seed)
    config = aircraft.config(recording={"live_interval_s": 1}, uplink={"receipt_timeout_s": 2})
    log = read_tlog(open_log(DEMO_LOG)).frames
    for _ in range(5):
        agent = start_agent("run", "--config", config, "--log", DEMO_LOG, "--speed", "1.4")
        time.sleep(2 + 2 * moment.random())
        agent.kill()
        agent.communicate()
    done = run_agent(
        "run", "--config", config, "--log", DEMO_LOG, "--speed", "max", "--once", "--timeout", "60", timeout_s=120
    )
    assert done.returncode == 0, done.stderr
    assert aircraft.hub.frames().equals(log), f"seed {seed}"
    assert aircraft.hub.conflicts == 0, f"seed {seed}: a sequence came with two digests"
    check_chain(aircraft.hub.batches)

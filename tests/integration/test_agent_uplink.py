"""A real agent process, real brokers, a hub that verifies and signs: what arrives is what was recorded."""

import contextlib
import itertools
import json
import sqlite3

from firmware_bridge.tlog import open_log, read_tlog
from tests.fix_agent import DEMO_LOG, Aircraft, check_chain, run_agent
from tests.fix_recorder import sealed_frames


def test_a_log_arrives_whole_and_leaves_the_outbox_only_on_receipts(aircraft: Aircraft) -> None:
    summary = aircraft.folder / "summary.json"
    config = aircraft.config()
    done = run_agent(
        "run",
        "--config",
        config,
        "--log",
        DEMO_LOG,
        "--speed",
        "max",
        "--once",
        "--timeout",
        "40",
        "--summary",
        summary,
    )
    assert done.returncode == 0, done.stderr
    log = read_tlog(open_log(DEMO_LOG))
    assert aircraft.hub.frames().equals(log.frames)
    check_chain(aircraft.hub.batches)
    facts = json.loads(summary.read_text())
    assert (facts["frames"], facts["sealed"], facts["receipted"]) == (
        len(log.frames),
        len(log.frames),
        facts["batches"],
    )
    assert sqlite3.connect(aircraft.store).execute("SELECT count(*) FROM outbox").fetchone() == (0,)


def test_without_receipts_nothing_is_deleted_and_the_run_says_so(aircraft: Aircraft) -> None:
    aircraft.hub.is_receipting = False
    config = aircraft.config()
    done = run_agent("run", "--config", config, "--log", DEMO_LOG, "--speed", "max", "--once", "--timeout", "4")
    assert done.returncode == 3, done.stderr
    kept = sqlite3.connect(aircraft.store).execute("SELECT count(*) FROM outbox").fetchone()[0]
    assert kept == len(aircraft.hub.batches) > 0


def test_a_batch_that_the_hub_refuses_is_sent_ever_more_rarely_and_holds_up_no_other(aircraft: Aircraft) -> None:
    aircraft.hub.refuses = {2}
    config = aircraft.config(uplink={"receipt_timeout_s": 1, "max_in_flight": 2})
    done = run_agent("run", "--config", config, "--log", DEMO_LOG, "--speed", "max", "--once", "--timeout", "12")
    assert done.returncode == 3, done.stderr
    assert aircraft.hub.frames().equals(read_tlog(open_log(DEMO_LOG)).frames)
    with contextlib.closing(sqlite3.connect(aircraft.store)) as conn:
        assert [key & 0xFFFF for (key,) in conn.execute("SELECT id FROM outbox")] == [2]
    sent_s = [at for at, body in aircraft.hub.arrivals if body.seq == 2]
    pauses = [b - a for a, b in itertools.pairwise(sent_s)]
    assert 2 <= len(pauses) <= 4 and pauses == sorted(pauses) and pauses[1] > 1.5 * pauses[0]
    status = json.loads((aircraft.folder / "data" / "status.json").read_text())
    assert 5 <= status["unreceipted_oldest_s"] <= 20


def test_after_an_old_copy_of_the_store_was_put_back_every_frame_still_reaches_the_hub_under_a_new_stream(
    aircraft: Aircraft,
) -> None:
    log = read_tlog(open_log(DEMO_LOG)).frames
    play = ("--log", DEMO_LOG, "--speed", "max", "--once", "--timeout", "40")
    offline = aircraft.config(uplink={"transport": "none"})
    assert run_agent("run", "--config", offline, *play).returncode == 0
    copy = aircraft.folder / "copy.db"
    with contextlib.closing(sqlite3.connect(aircraft.store)) as conn:
        conn.execute("VACUUM INTO ?", (str(copy),))
    config = aircraft.config()
    assert run_agent("run", "--config", config, *play).returncode == 0
    first = dict(aircraft.hub.batches)
    for part in aircraft.store.parent.glob("store.db*"):
        part.unlink()
    copy.rename(aircraft.store)
    done = run_agent("run", "--config", config, *play)
    assert done.returncode == 0, done.stderr
    (stream,) = {s for s, _ in first}
    fresh = {key: value for key, value in aircraft.hub.batches.items() if key[0] != stream}
    assert len({s for s, _ in fresh}) == 1 and {k: v for k, v in aircraft.hub.batches.items() if k in first} == first
    again = sealed_frames(fresh)  # what was contradicted comes after what was sealed meanwhile
    assert sealed_frames(first).data == log.data * 2
    assert sorted(again[i] for i in range(len(again))) == sorted(log[i] for i in range(len(log)))
    check_chain(aircraft.hub.batches)
    (gap,) = [r for _, (b, _) in sorted(fresh.items()) for r in b.records if r["type"] == "gap"]
    assert gap["reason"] == "store_reset" and gap["stream"] == stream.bytes and "put back" in gap["detail"]

"""A real agent process, real brokers, a hub that verifies and signs: what arrives is what was recorded."""

import json
import sqlite3

from firmware_bridge.tlog import open_log, read_tlog
from tests.fix_agent import DEMO_LOG, Aircraft, check_chain, run_agent


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

"""The recorder on a real SQLite file, with a clock that the test sets."""

import itertools
import sqlite3
import uuid
from dataclasses import replace

import pytest

from agent import store
from agent.session import Identity
from agent.waiting import Loss, Now
from shared.frames import join
from shared.receipt import make_receipt
from shared.records import Finding
from shared.topics import Lane
from tests.fix_agent import check_chain
from tests.fix_recorder import COPTER, SECOND, Bench, frames_of


def test_frames_are_on_disk_within_a_second_of_their_arrival(bench: Bench) -> None:
    fed = bench.fly(0.9)
    bench.fly(0.1, rate_hz=10)
    assert bench.journaled_frames().data.startswith(fed.slice(0, 40).data)


def test_live_batches_close_every_two_seconds_and_backlog_batches_every_thirty(bench: Bench) -> None:
    bench.recorder.is_live = True
    bench.fly(8)
    live = len(bench.batches())
    bench.recorder.is_live = False
    bench.fly(58)
    lanes = [b.lane for _, (b, _) in sorted(bench.batches().items())]
    assert (live == 4 and lanes == [Lane.live] * 4 + [Lane.backlog] * 2) or lanes.count(Lane.backlog) in (1, 2)
    assert all(b.covers[1] - b.covers[0] <= 30 * SECOND for b, _ in bench.batches().values())


def test_every_frame_is_sealed_once_in_order_and_the_chain_holds(bench: Bench) -> None:
    fed = bench.fly(65)
    bench.recorder.seal_now(bench.now)
    assert bench.sealed_frames().equals(fed)
    check_chain(bench.batches())
    assert len(bench.journaled_frames()) == 0


def test_batches_of_a_boot_cover_time_without_overlap(bench: Bench) -> None:
    bench.recorder.is_live = True
    bench.fly(9)
    covers = [b.covers for _, (b, _) in sorted(bench.batches().items())]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(covers))


def test_a_flight_has_its_own_batches_its_preroll_by_reference_and_a_manifest_that_counts_all(bench: Bench) -> None:
    bench.recorder.is_live = True
    before = bench.fly(40)
    bench.recorder.arm(COPTER, bench.now_us, bench.now)
    armed_us = bench.now_us
    flown = bench.fly(10)
    bench.recorder.disarm("disarmed", bench.now_us, bench.now)
    bench.fly(3)
    opened, closed = bench.records()
    batches = {seq: b for (_, seq), (b, _) in bench.batches().items()}
    own = [b for b in batches.values() if b.session and b.session.bytes == opened["session"] and b.columns]
    assert sum(b.counts.frames for b in own) == len(flown)
    assert armed_us - 33 * SECOND < opened["first_us"] < armed_us - 27 * SECOND
    span = [batches[s] for s in range(closed["first_seq"], closed["last_seq"] + 1)]
    assert closed["batches"] == len(span) and closed["first_seq"] == opened["first_seq"]
    assert closed["frames"] == sum(b.counts.frames for b in span) == sum(closed["frames_by_message"].values())
    assert closed["chain_head"] == bench.batches()[own[0].stream, closed["last_seq"]][1]
    assert closed["wire_lost"] == {} and len(before) > 0


def test_preroll_is_never_taken_from_another_flight(bench: Bench) -> None:
    for _ in range(2):
        bench.recorder.arm(COPTER, bench.now_us, bench.now)
        bench.fly(4)
        bench.recorder.disarm("disarmed", bench.now_us, bench.now)
    spans = [(r["first_seq"], r["last_seq"]) for r in bench.records() if r["type"] == "session_close"]
    assert spans[0][1] < spans[1][0]


def test_missing_wire_sequence_numbers_are_counted_per_source(bench: Bench) -> None:
    bench.recorder.arm(COPTER, bench.now_us, bench.now)
    raw = [bench.talker.attitude() for _ in range(100)]
    del raw[10:17], raw[50]
    bench.recorder.add(frames_of(raw, bench.now_us), bench.now)
    bench.recorder.disarm("disarmed", bench.now_us, bench.now)
    assert bench.records()[-1]["wire_lost"] == {"1/1": 8}


def test_a_restart_in_flight_goes_on_with_the_same_session(bench: Bench) -> None:
    bench.recorder.arm(COPTER, bench.now_us, bench.now)
    first = bench.fly(3.5)
    bench.recorder.store.close()  # as a kill would leave it: what was not journaled is gone
    bench.start()
    kept = bench.sealed_frames()
    second = bench.fly(4)
    bench.recorder.disarm("disarmed", bench.now_us, bench.now)
    assert first.data.startswith(kept.data) and len(first) - len(kept) <= 50
    assert [r["type"] for r in bench.records()] == ["session_open", "session_close"]
    assert bench.records()[1]["frames"] == len(kept) + len(second)
    check_chain(bench.batches())


def test_after_a_power_cut_the_flight_is_closed_as_reboot_and_times_belong_to_another_boot(bench: Bench) -> None:
    bench.recorder.arm(COPTER, bench.now_us, bench.now)
    bench.fly(5)
    boot = bench.recorder.state.boot
    bench.recorder.store.close()
    bench.epoch, bench.now_us = uuid.uuid4(), 3 * SECOND  # the monotonic clock began anew
    bench.start()
    bench.fly(4)
    bench.recorder.seal_now(bench.now)
    assert bench.records()[-1]["reason"] == "reboot"
    batches = [b for _, (b, _) in sorted(bench.batches().items()) if b.columns]
    assert batches[-1].boot != boot and batches[-1].covers[1] < 10 * SECOND
    assert {b.boot for b in batches[:-1]} == {boot}
    check_chain(bench.batches())


def test_a_receipt_deletes_only_what_has_its_digest(bench: Bench) -> None:
    bench.recorder.is_live = True
    bench.fly(8)
    known = {seq: digest for (_, seq), (_, digest) in bench.batches().items()}
    stream = bench.recorder.state.chain.stream
    lie = known | {2: bytes(32), 99: bytes(32)}
    bench.recorder.receipts.append(make_receipt(stream, {s: d for s, d in lie.items() if s != 3}, 1))
    bench.recorder.receipts.append(make_receipt(uuid.uuid4(), {3: known[3]}, 1))
    bench.recorder.apply_receipts(bench.now)
    assert {seq for _, seq in bench.batches()} == {2, 3}
    assert bench.recorder.totals.receipt_mismatch == 1


def test_sequence_and_chain_go_on_after_everything_was_receipted_and_the_agent_restarted(bench: Bench) -> None:
    bench.recorder.is_live = True
    bench.fly(6)
    held = bench.batches()
    stream = bench.recorder.state.chain.stream
    bench.recorder.receipts.append(make_receipt(stream, {s: d for (_, s), (_, d) in held.items()}, 1))
    bench.recorder.apply_receipts(bench.now)
    bench.recorder.store.close()
    bench.start().is_live = True
    bench.fly(4)
    check_chain(held | bench.batches())


def test_a_finding_goes_out_at_once_and_what_preceded_it_is_on_disk(bench: Bench) -> None:
    fed = bench.fly(0.3)
    finding = Finding(uuid.uuid4(), None, "vibration", "warning", 0.9, 0.5, 0, 1, "m", 1)
    bench.recorder.report((finding,), bench.now)
    assert bench.journaled_frames().data == fed.data
    (alert,) = [b for b, _ in bench.batches().values()]
    assert alert.lane == Lane.alert and alert.records[0]["kind"] == "vibration"


def test_damage_and_overflow_are_counted_and_owned_up_to(bench: Bench) -> None:
    bench.recorder.saw_damage(3, 120)
    bench.recorder.lost("link_overflow", Loss(None, 900, 5, 9, "slow"))
    bench.fly(2)
    bench.recorder.finish(bench.now)
    (batch,) = [b for b, _ in bench.batches().values() if b.columns]
    (gap,) = bench.records()
    assert (batch.counts.bad_crc, batch.counts.junk_bytes) == (3, 120)
    assert (gap["reason"], gap["size_bytes"], gap["from_us"], gap["to_us"]) == ("link_overflow", 900, 5, 9)
    assert "frames" not in gap


def test_over_the_quota_the_oldest_of_the_lowest_lane_go_with_their_digests_in_gap_records(bench: Bench) -> None:
    bench.recorder.is_live = True
    bench.fly(60, rate_hz=200)
    before = bench.batches()
    bench.recorder.store.shrink()
    bench.recorder.policy = replace(bench.recorder.policy, quota_bytes=bench.recorder.store.size_bytes() - 40_000)
    bench.recorder.keep_to_quota(bench.now)
    after = bench.batches()
    gone = {seq: digest for (_, seq), (_, digest) in before.items() if (bench.stream, seq) not in after}
    gaps = [r for r in bench.records() if r["type"] == "gap"]
    said = {g["first_seq"] + i: d for g in gaps for i, d in enumerate(g["digests"])}
    assert gone and said == gone and min(gone) == 1
    assert sum(g["frames"] for g in gaps) == sum(b.counts.frames for (_, s), (b, _) in before.items() if s in gone)


def test_flights_under_hold_and_pinned_batches_are_never_evicted(bench: Bench) -> None:
    bench.recorder.is_live = True
    bench.recorder.arm(COPTER, bench.now_us, bench.now)
    bench.fly(20, rate_hz=200)
    session = bench.recorder.state.session
    assert session is not None
    bench.recorder.disarm("disarmed", bench.now_us, bench.now)
    bench.recorder.holds = {session.session.bytes}
    pinned_from = bench.now_us
    bench.fly(10, rate_hz=200)
    bench.recorder.seal_now(bench.now)
    bench.recorder.pin(pinned_from, bench.now_us, bench.now)
    kept = set(bench.batches())
    bench.recorder.policy = replace(bench.recorder.policy, quota_bytes=1000)
    bench.recorder.keep_to_quota(bench.now)
    assert kept <= set(bench.batches()) and bench.recorder.is_full
    fed = bench.fly(3)
    bench.recorder.policy = replace(bench.recorder.policy, quota_bytes=1 << 30)
    bench.recorder.tick(bench.now)
    bench.fly(6)
    gap = bench.records()[-1]
    assert (gap["type"], gap["reason"], gap["frames"]) == ("gap", "write_failed", len(fed))


def test_a_damaged_envelope_is_taken_out_with_a_gap_record_that_keeps_the_chain(bench: Bench) -> None:
    bench.recorder.is_live = True
    bench.fly(4)
    with bench.recorder.store.lock:
        row = store.outbox_rows(bench.recorder.store.conn)[0]
    bench.recorder.damaged.append(row)
    bench.recorder.tick(bench.now)
    gap = bench.records()[-1]
    assert (gap["first_seq"], gap["digests"]) == (row.seq, [row.digest])
    assert (bench.stream, row.seq) not in bench.batches()


def test_only_flights_are_recorded_when_the_policy_says_so_with_their_preroll(bench: Bench) -> None:
    bench.recorder.policy = replace(bench.recorder.policy, record="armed")
    bench.fly(50)
    assert not bench.batches() and not len(bench.journaled_frames())
    bench.recorder.arm(COPTER, bench.now_us, bench.now)
    flown = bench.fly(5)
    bench.recorder.disarm("disarmed", bench.now_us, bench.now)
    sealed = bench.sealed_frames()
    assert sealed.data.endswith(flown.data)
    assert len(flown) + 29 * 50 <= len(sealed) <= len(flown) + 31 * 50


def test_when_the_log_of_writes_fails_frames_wait_in_memory_and_are_written_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench.fly(3)
    full = bench.recorder.store.conn.execute("PRAGMA page_count").fetchone()[0]
    bench.recorder.store.conn.execute(f"PRAGMA max_page_count = {full}")  # SQLite's own way to be full
    second = bench.fly(40, rate_hz=200)
    assert bench.recorder.write_failed
    bench.recorder.store.conn.execute("PRAGMA max_page_count = 1000000")
    third = bench.fly(3)
    bench.recorder.seal_now(bench.now)
    assert bench.sealed_frames().equals(join([first, second, third]))
    check_chain(bench.batches())


def test_what_no_longer_fits_in_memory_while_writes_fail_is_a_gap_record(bench: Bench) -> None:
    bench.recorder.policy = replace(bench.recorder.policy, max_memory_bytes=20_000)
    first = bench.fly(3)
    full = bench.recorder.store.conn.execute("PRAGMA page_count").fetchone()[0]
    bench.recorder.store.conn.execute(f"PRAGMA max_page_count = {full}")
    second = bench.fly(40, rate_hz=200)
    bench.recorder.store.conn.execute("PRAGMA max_page_count = 1000000")
    third = bench.fly(3)
    bench.recorder.seal_now(bench.now)
    bench.recorder.finish(bench.now)
    gaps = bench.records()
    sealed = bench.sealed_frames()
    assert gaps and {gap["reason"] for gap in gaps} == {"write_failed"}
    assert sum(gap["frames"] for gap in gaps) + len(sealed) == len(first) + len(second) + len(third)


def test_clock_jumps_of_ten_years_and_a_start_in_1970_change_no_recorder_time(bench: Bench) -> None:
    ten_years = 10 * 365 * 86_400 * SECOND
    utc = 1_790_000_000 * SECOND
    bench.recorder.is_live = True
    fed = []
    for wall in (5 * SECOND, utc, utc + ten_years, utc - ten_years, utc):
        bench.clock.observe_system(bench.now_us, wall, True, 100)
        fed.append(bench.fly(3))
    bench.recorder.seal_now(bench.now)
    assert bench.sealed_frames().equals(join(fed))
    covers = [b.covers for _, (b, _) in sorted(bench.batches().items())]
    assert covers == sorted(covers) and covers[-1][1] - covers[0][0] < 16 * SECOND


def test_the_same_sequence_is_never_given_twice_even_when_two_writers_try(bench: Bench) -> None:
    bench.fly(1)
    bench.recorder.seal_now(bench.now)
    with bench.recorder.store.lock:
        row = store.outbox_rows(bench.recorder.store.conn)[0]
    with pytest.raises(sqlite3.IntegrityError), bench.recorder.store.transaction() as conn:
        store.add_outbox(conn, row, b"other bytes")


def test_a_vehicle_that_is_another_after_the_flight_opens_another_flight(bench: Bench) -> None:
    bench.recorder.arm(COPTER, bench.now_us, Now(bench.now_us, bench.now_us))
    bench.fly(2)
    bench.recorder.disarm("link_lost", None, bench.now)
    bench.recorder.arm(Identity(2, 1, 12, 1), bench.now_us, bench.now)
    opened = [r for r in bench.records() if r["type"] == "session_open"]
    assert [(r["sysid"], r["autopilot"]) for r in opened] == [(1, 3), (2, 12)]

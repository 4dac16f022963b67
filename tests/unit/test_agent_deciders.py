"""The agent's pure parts: counting, watching, windows, eviction, sessions' persistence, what we say on the link."""

import itertools
import logging
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import budget
from agent.companion import Companion, Voice
from agent.directives import Refusal, policy_from
from agent.link import Inbox
from agent.policy import Policy
from agent.repeated import Repeated
from agent.sealing import Chain, split
from agent.session import Identity, OpenSession, RecorderState, pack_state, unpack_state
from agent.store import OutboxRow
from agent.tally import Tally, count
from agent.watch import Watch
from agent.window import Window
from firmware_bridge.columns import columns_of, fields
from firmware_bridge.framing import Scanner
from shared.frames import join
from shared.topics import Lane
from tests.fix_recorder import COPTER, SECOND, Talker, frames_of


def row(seq: int, lane: Lane = Lane.live, size: int = 100, stream_no: int = 1) -> OutboxRow:
    return OutboxRow(stream_no, seq, lane, size, 10, seq, seq + 1, False, None, bytes([seq % 256]) * 32)


def test_losses_on_the_wire_are_counted_over_the_wrap_and_between_batches() -> None:
    talker = Talker()
    raw = [talker.attitude() for _ in range(600)]
    first, newest = count(frames_of(raw[:250] + raw[255:300], 0), {})
    second, _ = count(frames_of(raw[303:], 0), newest)
    assert (first.wire_lost[1, 1], second.wire_lost[1, 1]) == (5, 3)


def test_a_late_frame_or_a_restart_of_the_sequence_counts_as_no_loss() -> None:
    talker = Talker()
    raw = [talker.attitude() for _ in range(100)]
    late = raw[:50] + raw[51:60] + [raw[50]] + raw[61:70]
    tally, _ = count(frames_of(late, 0), {})
    assert tally.wire_lost[1, 1] <= 12
    restarted, _ = count(frames_of([*raw[60:], Talker().attitude()], 0), {})
    assert restarted.wire_lost[1, 1] == 0


def test_several_systems_are_counted_apart() -> None:
    one, two = Talker(1), Talker(2)
    raw = [f for _ in range(10) for f in (one.attitude(), two.attitude())]
    tally, newest = count(frames_of(raw, 0), {})
    assert not tally.wire_lost and set(newest) == {(1, 1), (2, 1)} and tally.by_message == {30: 20}


def test_the_watch_says_where_arming_and_disarming_were_seen() -> None:
    talker, watch = Talker(), Watch()
    raw = [
        talker.heartbeat(),
        talker.attitude(),
        talker.heartbeat(True),
        talker.attitude(),
        talker.heartbeat(),
        talker.attitude(),
    ]
    sightings, _ = watch.update(frames_of(raw, 0))
    assert [(s.index, s.kind) for s in sightings if s.kind != "mode"] == [(2, "armed"), (5, "disarmed")]


def test_the_watch_hears_gps_time_of_its_vehicle_alone() -> None:
    talker, other, watch = Talker(1), Talker(7), Watch()
    raw = [talker.heartbeat(), talker.system_time(123, 5), other.system_time(999, 5)]
    _, samples = watch.update(frames_of(raw, 1000))
    assert samples == [(2000, 123)]


def test_a_reboot_is_seen_by_the_vehicles_clock_running_back() -> None:
    talker, watch = Talker(), Watch()
    watch.update(frames_of([talker.heartbeat(), talker.system_time(0, 900_000)], 0))
    sightings, _ = watch.update(frames_of([talker.system_time(0, 3_000)], SECOND))
    assert [s.kind for s in sightings] == ["reboot"]


def test_a_slow_lane_never_fills_the_window() -> None:
    window = Window(max_in_flight=4)
    sent = 0
    while window.has_room(Lane.backlog):
        sent += 1
        window.send(row(sent, Lane.backlog), 0.0)
    assert sent == 2 and window.has_room(Lane.live)


def test_without_a_puback_the_connection_is_stuck_and_the_batch_goes_again() -> None:
    window = Window(puback_timeout_s=15)
    window.send(row(1), 100.0)
    assert not window.is_stuck(114) and window.is_stuck(116)
    assert window.disconnected() == [row(1)] and not window.sent


def test_without_a_receipt_it_is_sent_again_after_longer_and_longer() -> None:
    window, now, waits = Window(receipt_timeout_s=60), 0.0, []
    for _ in range(6):
        window.send(row(1), now)
        window.ack(row(1).id, now)
        began = now
        while not window.overdue(now):
            now += 1
        waits.append(now - began)
    assert waits == sorted(waits) and waits[1] > 1.9 * waits[0] and waits[-1] <= 3601


def test_batches_without_receipt_hold_up_no_others_are_sent_hourly_at_last_and_their_age_is_known() -> None:
    window, now = Window(max_waiting=4, receipt_timeout_s=60), 0.0
    refused = [row(i) for i in range(1, 9)]
    waiting, sent_at = list(refused), []
    while now < 8 * 3600:
        waiting += window.overdue(now)
        while waiting and window.has_room(Lane.live):
            again = waiting.pop(0)
            window.send(again, now)
            window.ack(again.id, now)
            sent_at += [now] if again.id == refused[0].id else []
        now += 10
    pauses = [b - a for a, b in itertools.pairwise(sent_at)]
    assert window.has_room(Lane.live) and len(window.sent) == 8
    assert len(pauses) < 15 and pauses[-1] == pytest.approx(3600, abs=20)
    assert window.oldest_s(now) == now
    assert window.receipt(refused[0].id, refused[0].digest) and refused[0].id not in window.unreceipted()


def test_an_error_that_repeats_is_said_every_half_minute_with_its_count_and_once_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    trouble = Repeated(logging.getLogger("dbx.test"), "writes fail", "writes work again", lambda: now[0])
    with caplog.at_level(logging.INFO, "dbx.test"):
        for second in range(0, 65, 5):
            now[0] = second
            trouble.failed("full")
        trouble.worked()
        trouble.worked()
    said = [(r.getMessage(), vars(r)["times"]) for r in caplog.records]
    assert said == [("writes fail", 1), ("writes fail", 7), ("writes fail", 13), ("writes work again", 13)]


def test_only_the_right_digest_ends_the_waiting() -> None:
    window = Window()
    window.send(row(1), 0)
    assert not window.receipt(row(1).id, bytes(32)) and window.receipt(row(1).id, row(1).digest)


def test_eviction_takes_what_is_needed_and_no_more() -> None:
    rows = [row(i) for i in range(1, 10)]
    assert [r.seq for r in budget.choose(rows, 250)] == [1, 2, 3]


def test_gap_records_name_runs_of_one_stream_with_all_digests() -> None:
    streams = {1: uuid.uuid4(), 2: uuid.uuid4()}
    found = budget.gaps([row(2), row(1), row(5), row(6, stream_no=2)], streams)
    assert [(g.stream, g.first_seq, g.last_seq, g.digests) for g in found] == [
        (streams[1], 1, 2, [row(1).digest, row(2).digest]),
        (streams[1], 5, 5, [row(5).digest]),
        (streams[2], 6, 6, [row(6).digest]),
    ]


def test_a_full_inbox_drops_the_oldest_and_says_how_much() -> None:
    inbox = Inbox(1000)
    for i in range(15):
        inbox.put(i, bytes(100))
    chunks, dropped = inbox.take()
    assert [at for at, _ in chunks] == list(range(5, 15)) and dropped == (500, 0, 4)
    assert inbox.take() == ([], None)


sizes = st.lists(st.integers(1, 120), max_size=60)


@given(sizes, st.integers(100, 4000))
def test_split_keeps_every_frame_in_order_within_the_bound(counts: list[int], max_bytes: int) -> None:
    talker = Talker()
    frames = frames_of([talker.attitude() for _ in counts], 0)
    parts = split(frames, max_bytes)
    assert join(list(parts)).equals(frames)
    assert all(len(p.data) <= max_bytes or len(p) == 1 for p in parts)


small = st.integers(0, 2**31)


@given(small, small, st.dictionaries(st.integers(0, 9999), small, max_size=5), st.booleans(), st.none() | small)
def test_the_state_survives_its_packing(
    a: int, b: int, messages: dict[int, int], is_flying: bool, c: int | None
) -> None:
    state = RecorderState(
        Chain(1, uuid.uuid4(), a + 1, b"h" * 32), uuid.uuid4(), uuid.uuid4(), c, None, {(1, 1): 5}, b, c
    )
    if is_flying:
        tally = Tally(1, a, b, first_us=c, last_us=c)
        tally.by_message.update(messages)
        tally.wire_lost[1, 190] = a
        state.session = OpenSession(uuid.uuid4(), state.boot, COPTER, a, 1, b, tally)
    assert unpack_state(pack_state(state)) == state


def test_a_policy_with_a_wrong_value_is_refused_whole() -> None:
    for body in ({"record": "never"}, {"live_interval_s": 0}, {"backlog_interval_s": "x"}, {"live_interval_s": -1}):
        with pytest.raises(Refusal):
            policy_from(body, Policy())
    assert policy_from({"live_interval_s": 5}, Policy()).live_us == 5 * SECOND


def heard(sent: list[bytes]) -> list[tuple[int, int, int]]:
    """(message id, sysid, compid) of what was sent, by the bridge's scanner: CRC and lengths are right."""
    scanner = Scanner()
    frames = join([scanner.feed(b"".join(sent), 0), scanner.finish()])
    assert scanner.junk_bytes == 0
    groups = columns_of(frames).groups
    return [(g.msgid, g.sysid, g.compid) for g in groups for _ in g.rows]


def test_a_companion_says_heartbeat_as_component_191_of_the_vehicles_system_once_a_second() -> None:
    sent: list[bytes] = []
    companion = Companion(lambda data: bool(sent.append(data)) or True, "none")
    companion.every_second(None, True)
    for _ in range(3):
        companion.every_second(Identity(5, 1, 3, 2), True)
    assert heard(sent) == [(0, 5, 191)] * 3


def test_a_companion_that_is_at_fault_says_no_heartbeat() -> None:
    sent: list[bytes] = []
    Companion(lambda data: bool(sent.append(data)) or True, "none").every_second(COPTER, False)
    assert sent == []


def test_rates_are_asked_for_and_put_back_and_no_other_command_is_ever_sent() -> None:
    sent: list[bytes] = []
    companion = Companion(lambda data: bool(sent.append(data)) or True, "serial")
    for _ in range(30):
        companion.every_second(COPTER, True)
    companion.leave()
    commands = next(g for g in columns_of(Scanner().feed(b"".join(sent), 0)).groups if g.msgid == 76)
    asked = fields(commands)
    assert set(asked["command"].tolist()) == {511}
    wanted = [(m, i) for m, i in zip(asked["param1"].tolist(), asked["param2"].tolist(), strict=True)]
    half = len(wanted) // 2
    assert {m for m, _ in wanted[:half]} == {m for m, _ in wanted[half:]} and {i for _, i in wanted[half:]} == {0.0}
    assert {g.msgid for g in columns_of(Scanner().feed(b"".join(sent), 0)).groups} == {0, 76}


def test_a_text_for_the_pilot_is_cut_to_fifty_bytes() -> None:
    frames = Scanner().feed(Voice(1).statustext("critical", "ä" * 80), 0)
    (group,) = columns_of(frames).groups
    assert fields(group)["severity"].tolist() == [2] and fields(group)["text"].tolist() == [b"?" * 50]

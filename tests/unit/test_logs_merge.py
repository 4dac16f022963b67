"""Merging: the better source wins, holes are filled, events are told once. Aligning: by boot, by content, by UTC."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.events import Event
from firmware_bridge.grid import ChannelGrid
from hub.store.logs import FlightLog
from hub.worker.alignment import Line, align, correlate
from hub.worker.fingerprint import Fingerprint, holds
from hub.worker.merge import Holes, holes, merge, merge_events
from hub.worker.overlay import Candidate, lay
from shared.channels import BY_NAME
from shared.clock import ClockSource

T0 = 1_780_000_000_000_000
MISSING16, MISSING32 = BY_NAME["roll_rad"].missing, BY_NAME["alt_msl_m"].missing


def grid(ticks: Any, **values: Any) -> ChannelGrid:
    at = T0 + np.asarray(ticks, np.int64) * 100_000
    return ChannelGrid(at, {k: np.asarray(v, BY_NAME[k].dtype) for k, v in values.items()})


def flight(n: int = 600, seed: int = 1, first: int = 0) -> ChannelGrid:
    """Smooth movements that no other seed makes."""
    random = np.random.default_rng(seed)
    steps = random.normal(0, 400, (3, n))
    roll, pitch, alt = (np.convolve(s, np.ones(15) / 4, "same") for s in steps)
    return grid(
        range(first, first + n), roll_rad=roll, pitch_rad=pitch, alt_rel_m=np.cumsum(alt) / 30, lat_deg=[473977418] * n,
        lon_deg=[85455939] * n,
    )  # fmt: skip


def line(g: ChannelGrid, clock: ClockSource = ClockSource.gps, boot_at_us: int | None = None) -> Line:
    return Line(g, clock, 1000, boot_at_us)


def moved(g: ChannelGrid, by_us: int) -> ChannelGrid:
    return ChannelGrid(g.tick_us + by_us, g.values)


def test_the_better_source_wins_and_the_other_fills() -> None:
    onboard = grid([1, 2, 3], roll_rad=[10, MISSING16, 30])
    live = grid([2, 3, 4], roll_rad=[2, 3, 4], alt_msl_m=[20, MISSING32, 40])
    whole, spans = merge([onboard, live])
    assert whole.tick_us.tolist() == grid([1, 2, 3, 4], roll_rad=[0] * 4).tick_us.tolist()
    assert whole.values["roll_rad"].tolist() == [10, 2, 30, 4]
    assert whole.values["alt_msl_m"].tolist() == [MISSING32, 20, MISSING32, 40]
    assert [(s.source, s.channels, s.rows) for s in spans] == [
        (0, ("roll_rad",), 2), (1, ("alt_msl_m", "roll_rad"), 2)
    ]  # fmt: skip


@given(st.lists(st.tuples(st.sets(st.integers(0, 60), min_size=1), st.integers(0, 9)), min_size=1, max_size=4))
@settings(max_examples=60)
def test_each_tick_is_there_once_with_a_value_of_the_best_source_that_has_one(parts: list[Any]) -> None:
    grids = [grid(sorted(at), roll_rad=[100 * i + k for _ in at]) for i, (at, k) in enumerate(parts)]
    whole, spans = merge(grids)
    every = sorted(set().union(*(at for at, _ in parts)))
    assert whole.tick_us.tolist() == [T0 + t * 100_000 for t in every]
    best = [next(100 * i + k for i, (at, k) in enumerate(parts) if t in at) for t in every]
    assert whole.values["roll_rad"].tolist() == best
    assert sum(s.rows for s in spans) == len(every)


def test_merging_what_was_merged_changes_nothing() -> None:
    a, b = flight(100), flight(150, 2, 50)
    once, _ = merge([a, b])
    again, _ = merge([once, a, b])
    assert all((again.values[n] == once.values[n]).all() for n in once.values)


def test_holes_of_the_live_stream_are_counted_within_the_flight() -> None:
    heard = [0, 1, 2, 4, 5, 16, 17]
    live, whole = grid(heard, roll_rad=[0] * 7), grid(range(-5, 14), roll_rad=[0] * 19)
    assert holes(live.tick_us, whole.tick_us, (T0, T0 + 2_000_000)) == Holes(10, 8)
    assert holes(live.tick_us, whole.tick_us, (T0, T0 + 10_000_000)) == Holes(93, 8)
    assert holes(live.tick_us, whole.tick_us, (T0, T0 - 1)) == Holes(0, 0)


def event(at_s: float, kind: Any, text: str = "", severity: Any = "info", value: float | None = None) -> Event:
    return Event(T0 + round(at_s * 1e6), kind, severity, text, value)


def told(*sources: list[Event]) -> list[tuple[int, str, str]]:
    found = merge_events([[(i, e) for e in s] for i, s in enumerate(sources)])
    return [(i, e.kind, e.text) for i, e in found]


def test_what_two_sources_tell_is_told_once() -> None:
    log = [event(0, "armed"), event(5, "statustext", "Mission: 1 WP"), event(60, "disarmed")]
    live = [event(0.8, "armed"), event(5.1, "statustext", "mission: 1  WP"), event(30, "statustext", "Low battery")]
    assert told(log, live) == [
        (0, "armed", ""), (0, "statustext", "Mission: 1 WP"), (1, "statustext", "Low battery"), (0, "disarmed", "")
    ]  # fmt: skip


def test_a_text_that_was_said_twice_is_told_twice() -> None:
    twice = [event(1, "statustext", "PreArm: GPS"), event(2, "statustext", "PreArm: GPS")]
    assert len(told(twice, twice)) == 2 and len(told(twice[:1], twice)) == 2


def test_a_state_that_a_late_listener_takes_for_news_is_none() -> None:
    log = [event(0, "mode", "AUTO"), event(50, "mode", "RTL")]
    live = [event(20, "mode", "AUTO"), event(30, "mode", "LOITER"), event(40, "mode", "AUTO"), event(70, "mode", "RTL")]
    assert [t for _, _, t in told(log, live)] == ["AUTO", "LOITER", "AUTO", "RTL"]


def test_a_text_keeps_the_severity_that_one_source_knows() -> None:
    log, live = [event(1, "statustext", "Crash")], [event(1, "statustext", "Crash", "critical", 2.0)]
    ((_, found),) = merge_events([[(0, e) for e in log], [(1, e) for e in live]])
    assert (found.severity, found.value) == ("critical", 2.0)


def test_the_same_boot_is_aligned_by_the_time_since_boot() -> None:
    g = flight()
    found = align(line(moved(g, -40_000), boot_at_us=T0 - 60_000_000), line(g, boot_at_us=T0 - 59_960_000))
    assert found is not None and (found.method, found.offset_us, found.agreement) == ("boot", 40_000, 1.0)


def test_another_boot_of_the_same_age_is_not_the_same_flight() -> None:
    day = 86_400_000_000
    a, b = (
        line(flight(), boot_at_us=T0 - 60_000_000),
        line(moved(flight(seed=2), day), boot_at_us=T0 + day - 60_000_000),
    )
    assert align(a, b) is None
    undated = replace(a, clock=ClockSource.unknown)
    assert align(undated, b) is None


def test_an_undated_log_is_found_by_its_content() -> None:
    g = flight(900)
    rows = slice(200, 700)
    part = ChannelGrid(g.tick_us[rows] - T0 + 7_000_000, {k: v[rows] for k, v in g.values.items()})
    found = align(line(part, ClockSource.unknown), line(g))
    assert found is not None and found.method == "content" and abs(found.offset_us - (T0 - 7_000_000)) < 50_000


def test_a_computers_clock_that_is_hours_off_is_set_right_by_content() -> None:
    g = flight(900)
    found = align(line(moved(g, 7_200_000_000), ClockSource.log), line(g))
    assert found is not None and found.method == "content" and abs(found.offset_us + 7_200_000_000) < 50_000


def test_gps_time_is_not_argued_away_by_content() -> None:
    g = flight(900)
    assert align(line(moved(g, 3_600_000_000)), line(g)) is None


def test_still_aircraft_are_told_apart_by_nothing_but_time() -> None:
    still = grid(range(300), roll_rad=[10] * 300, pitch_rad=[20] * 300, alt_rel_m=[0] * 300)
    assert align(line(still, ClockSource.unknown), line(still)) is None
    found = align(line(still), line(still))
    assert found is not None and found.method == "utc"


def test_what_disagrees_is_not_merged_though_the_clocks_agree() -> None:
    here = flight()
    there = ChannelGrid(here.tick_us, flight(seed=3).values | {"lat_deg": here.values["lat_deg"] + 90_000})
    assert align(line(here), line(there)) is None


@given(st.integers(-300, 300), st.integers(0, 99))
@settings(max_examples=40)
def test_correlation_finds_the_offset_to_a_part_of_a_tick(shift: int, seed: int) -> None:
    g = flight(900, seed)
    found = correlate(g, moved(g, shift * 100_000), None)
    assert found is not None and abs(found - shift * 100_000) < 30_000


def test_the_best_clock_dates_the_flight_and_the_others_move() -> None:
    g = flight()
    live = line(moved(g, 50_000), ClockSource.log, T0 + 50_000)
    onboard = Candidate((b"a" * 32, 0), "onboard", line(g, ClockSource.gps, T0))
    ground = Candidate((b"b" * 32, 0), "telemetry", line(moved(g, -30_000), ClockSource.log, T0 - 30_000))
    found = lay(live, [ground, onboard])
    assert found.master == onboard.name and found.live_shift_us == -50_000
    assert found.shifts == {onboard.name: 0, ground.name: 30_000}


def test_an_undated_log_moves_onto_the_live_stream() -> None:
    g = flight()
    log = Candidate((b"a" * 32, 0), "onboard", Line(moved(g, -T0), ClockSource.unknown, -1, 5_000_000 - 0))
    found = lay(line(g, boot_at_us=T0 + 5_000_000), [log])
    assert found.master is None and found.live_shift_us == 0 and found.shifts == {log.name: T0}


def test_what_was_part_of_a_flight_stays_so() -> None:
    known = FlightLog(b"a" * 32, 0, "boot", 70_000, 1.0)
    log = Candidate((b"a" * 32, 0), "telemetry", line(flight(seed=9), ClockSource.log), known)
    assert lay(line(flight(seed=8)), [log]).shifts == {log.name: 70_000}


def prints(data: bytes, pieces: int = 50_000) -> bytes:
    f = Fingerprint()
    for at in range(0, len(data), pieces):
        f.feed(data[at : at + pieces])
    return f.result()


@pytest.mark.parametrize("pieces", [1000, 65_536, 10_000_000])
def test_a_fingerprint_does_not_depend_on_the_pieces(pieces: int) -> None:
    data = np.random.default_rng(1).bytes(300_000) + bytes(200_000)
    assert prints(data, pieces) == prints(data)


@pytest.mark.parametrize("part", [slice(0, 120_000), slice(90_001, None), slice(70_003, 200_007)])
def test_a_part_of_a_log_is_known_as_such_and_the_whole_is_no_part_of_it(part: slice) -> None:
    data = np.random.default_rng(2).bytes(400_000)
    assert holds(prints(data), prints(data[part])) and not holds(prints(data[part]), prints(data))


def test_a_log_with_its_middle_cut_out_is_a_part_and_another_log_is_none() -> None:
    data, other = np.random.default_rng(3).bytes(400_000), np.random.default_rng(4).bytes(100_000)
    assert holds(prints(data), prints(data[:150_000] + data[260_000:]))
    assert not holds(prints(data), prints(other)) and not holds(prints(data), b"") and not holds(b"", prints(data))

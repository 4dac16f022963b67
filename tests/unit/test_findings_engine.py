"""Findings on board, from recorded frames."""

import dataclasses
import itertools
import uuid
from collections.abc import Sequence

import numpy as np
import pytest

from agent.findings import FindingEngine
from agent.judge import Judge
from shared.features import NAMES
from shared.frames import Frames, join, no_frames
from shared.records import Finding, from_map, to_map
from shared.scoring import Bundle
from tests.fix_model_flights import MOTOR_STOPS_S

AUTOPILOT = (1, 1)
SESSION = uuid.UUID(int=7)
SECOND_US = 1_000_000


def seconds(frames: Frames, span_us: int = SECOND_US) -> Sequence[Frames]:
    """The frames cut behind each `span_us`."""
    edges = np.arange(frames.time_us[0] + span_us, frames.time_us[-1] + span_us, span_us)
    at = [0, *np.searchsorted(frames.time_us, edges, side="right").tolist()]
    return [frames.slice(a, b) for a, b in itertools.pairwise(at)]


def later(frames: Frames, by_us: int) -> Frames:
    return Frames(frames.data, frames.offsets, frames.time_us + by_us)


def fly(bundle: Bundle, parts: Sequence[Frames], armed: bool = True) -> tuple[FindingEngine, list[Finding]]:
    engine = FindingEngine(bundle)
    return engine, [f for part in parts for f in engine.update(part, AUTOPILOT, armed, SESSION)]


def shown(found: Sequence[Finding]) -> list[object]:
    """All of findings but their ids."""
    return [dataclasses.replace(f, finding=uuid.UUID(int=0)) for f in found]


def test_a_motor_that_stops_is_found_within_three_seconds(edge_bundle: Bundle, motor_failure: Frames) -> None:
    _, found = fly(edge_bundle, seconds(motor_failure))
    assert len(found) == 1
    after_s = (found[0].end_us - int(motor_failure.time_us[0])) / 1e6 - MOTOR_STOPS_S
    assert 0 < after_s < 3
    assert (found[0].kind, found[0].severity) == ("motor_fail", "critical")
    assert found[0].score > found[0].threshold
    assert found[0].session == SESSION
    assert found[0].model == edge_bundle.name
    assert any(e["feature"].startswith("rotors_a_slowest") for e in found[0].evidence)


def test_a_finding_comes_again_under_its_id_when_it_has_ended(edge_bundle: Bundle, motor_failure: Frames) -> None:
    engine, found = fly(edge_bundle, seconds(motor_failure))
    ended = engine.finish()
    assert [f.finding for f in ended] == [found[0].finding]
    assert ended[0].start_us == found[0].start_us
    assert ended[0].end_us > found[0].end_us
    assert ended[0].score >= found[0].score
    assert engine.finish() == []


def test_disarming_ends_a_finding_at_once(edge_bundle: Bundle, motor_failure: Frames) -> None:
    parts = seconds(motor_failure)
    engine, found = fly(edge_bundle, parts[:-2])
    ended = engine.update(parts[-2], AUTOPILOT, False, None)
    assert [(f.finding, f.session) for f in ended] == [(found[0].finding, SESSION)]
    assert engine.update(parts[-1], AUTOPILOT, False, None) == []


def test_another_flight_ends_what_was_open_in_the_one_before(edge_bundle: Bundle, motor_failure: Frames) -> None:
    parts = seconds(motor_failure)
    engine, found = fly(edge_bundle, parts[:-1])
    ended = engine.update(parts[-1], AUTOPILOT, True, uuid.UUID(int=8))
    assert [(f.finding, f.session) for f in ended] == [(found[0].finding, SESSION)]


def test_another_vehicle_ends_what_was_open(edge_bundle: Bundle, motor_failure: Frames) -> None:
    parts = seconds(motor_failure)
    engine, found = fly(edge_bundle, parts[:-1])
    assert [f.finding for f in engine.update(parts[-1], (2, 1), True, SESSION)] == [found[0].finding]


@pytest.mark.parametrize("leap_us", [-(10**15), 10**15, 8_000_000])
def test_a_clock_that_leaps_or_silence_ends_what_was_open(
    edge_bundle: Bundle, motor_failure: Frames, leap_us: int
) -> None:
    parts = seconds(motor_failure)
    engine, found = fly(edge_bundle, parts[:-1])
    ended = engine.update(later(parts[-1], leap_us), AUTOPILOT, True, SESSION)
    assert [f.finding for f in ended] == [found[0].finding]
    assert ended[0].end_us <= parts[-2].time_us[-1] + 2 * SECOND_US  # what was heard last is held so long


def test_frames_a_little_out_of_order_change_nothing(edge_bundle: Bundle, motor_failure: Frames) -> None:
    _, expected = fly(edge_bundle, seconds(motor_failure))
    late = later(motor_failure.slice(0, 1), 14_000_000)  # by 300 ms
    parts = seconds(motor_failure)
    at = next(i for i, p in enumerate(parts) if len(p) and p.time_us[-1] > late.time_us[0] + 300_000)
    _, found = fly(edge_bundle, [*parts[: at + 1], late, *parts[at + 1 :]])
    assert [f.start_us for f in found] == [f.start_us for f in expected]


def test_gusts_raise_nothing(edge_bundle: Bundle, gusty_flight: Frames) -> None:
    engine, found = fly(edge_bundle, seconds(gusty_flight))
    assert engine.scored >= 20
    assert found + engine.finish() == []


def test_a_finding_travels_as_a_record(edge_bundle: Bundle, motor_failure: Frames) -> None:
    engine, found = fly(edge_bundle, seconds(motor_failure))
    for finding in found + engine.finish():
        assert from_map(to_map(finding)) == finding
        assert 0 < len(finding.evidence) <= 10


def test_all_frames_at_once_give_the_same_findings(edge_bundle: Bundle, motor_failure: Frames) -> None:
    engine, expected = fly(edge_bundle, seconds(motor_failure))
    whole, found = fly(edge_bundle, [motor_failure])
    assert shown(found + whole.finish()) == shown(expected + engine.finish())
    assert whole.scored == engine.scored


def test_nothing_is_scored_while_disarmed(edge_bundle: Bundle, motor_failure: Frames) -> None:
    engine, found = fly(edge_bundle, seconds(motor_failure), armed=False)
    assert (engine.scored, found) == (0, [])


def test_frames_of_another_vehicle_are_not_looked_at(edge_bundle: Bundle, motor_failure: Frames) -> None:
    engine = FindingEngine(edge_bundle)
    assert [f for part in seconds(motor_failure) for f in engine.update(part, (2, 1), True, None)] == []
    assert engine.scored == 0


def test_silence_says_nothing(edge_bundle: Bundle, gusty_flight: Frames) -> None:
    engine, _ = fly(edge_bundle, seconds(gusty_flight))
    scored = engine.scored
    assert engine.update(no_frames(), AUTOPILOT, True, None) == []
    assert engine.scored == scored


def test_a_vehicle_that_the_model_does_not_know_is_left_alone(edge_bundle: Bundle) -> None:
    from tests.fix_fleet import frame

    raw = [frame(0, k, type=10, autopilot=3, base_mode=128, custom_mode=0, system_status=4) for k in range(20)]
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in raw])]).astype(np.int64)
    frames = Frames(b"".join(raw), offsets, np.arange(20, dtype=np.int64) * SECOND_US)
    engine, found = fly(edge_bundle, seconds(frames))
    assert (engine.scored, found) == (0, [])


def test_a_model_on_trial_is_compared_and_raises_nothing(edge_bundle: Bundle, motor_failure: Frames) -> None:
    _, expected = fly(edge_bundle, seconds(motor_failure))
    engine = FindingEngine(edge_bundle, other=edge_bundle)
    found = [f for part in seconds(motor_failure) for f in engine.update(part, AUTOPILOT, True, SESSION)]
    assert shown(found) == shown(expected)
    trial = engine.trial
    assert (trial.flown_s, trial.agreed_s) == (engine.scored, engine.scored)
    assert (trial.active, trial.other) == (1, 1)


def test_two_flights_in_a_row_have_findings_of_their_own(edge_bundle: Bundle, motor_failure: Frames) -> None:
    length_us = int(motor_failure.time_us[-1] - motor_failure.time_us[0])
    twice = join([motor_failure, later(motor_failure, length_us + 10 * SECOND_US)])
    engine, found = fly(edge_bundle, seconds(twice))
    found += engine.finish()
    assert len({f.finding for f in found}) == 2
    assert len(found) == 4


def judged(judge: Judge, bundle: Bundle, values: Sequence[float | None]) -> list[Finding]:
    """Seconds of a copter on which one feature is so many times the nominal range away (None: not in flight)."""
    nominal = bundle.nominal("copter")
    assert nominal is not None
    columns = [NAMES.index("tilt_peak"), NAMES.index("acc_rough_mean_8s")]
    found = []
    for at_s, value in enumerate(values):
        vector = nominal.medians.copy()
        vector[columns] += nominal.high[columns] * (value or 0)
        found += judge.judge("copter", at_s * SECOND_US, vector, SESSION, value is not None)
    return found


def test_seconds_on_the_ground_are_not_scored_and_let_an_episode_end(edge_bundle: Bundle) -> None:
    judge = Judge(edge_bundle)
    found = judged(judge, edge_bundle, [0.0] * 3 + [3.0] * 4 + [None] * 30)
    assert len(found) == 2
    assert found[1].end_us == 6 * SECOND_US
    assert judge.scored == 7
    assert not judge.is_open


def test_the_severity_of_an_ended_finding_is_that_of_its_worst_second(edge_bundle: Bundle) -> None:
    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    mild, bad = (nominal.threshold + nominal.critical) / 2, nominal.critical * 1.5
    found = judged(Judge(edge_bundle), edge_bundle, [mild] * 3 + [bad] + [0.0] * 30)
    assert [f.severity for f in found] == ["warning", "critical"]


def test_another_class_of_aircraft_ends_what_was_open(edge_bundle: Bundle) -> None:
    judge = Judge(edge_bundle)
    begun = judged(judge, edge_bundle, [5.0] * 4)
    nominal = edge_bundle.nominal("plane")
    assert nominal is not None
    ended = judge.judge("plane", 5 * SECOND_US, nominal.medians, SESSION)
    assert [f.finding for f in ended] == [f.finding for f in begun]

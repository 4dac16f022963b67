"""Findings on board, from recorded frames."""

import itertools
import uuid
from collections.abc import Sequence

import numpy as np
import pytest

from agent.findings import FindingEngine
from shared.frames import Frames, no_frames
from shared.records import Finding, from_map, to_map
from shared.scoring import Bundle
from tests.fix_model_flights import MOTOR_STOPS_S

AUTOPILOT = (1, 1)
SESSION = uuid.UUID(int=7)


def seconds(frames: Frames, span_us: int = 1_000_000) -> Sequence[Frames]:
    """The frames cut behind each `span_us`."""
    edges = np.arange(frames.time_us[0] + span_us, frames.time_us[-1] + span_us, span_us)
    at = [0, *np.searchsorted(frames.time_us, edges, side="right").tolist()]
    return [frames.slice(a, b) for a, b in itertools.pairwise(at)]


def fly(bundle: Bundle, parts: Sequence[Frames], armed: bool = True) -> tuple[FindingEngine, list[Finding]]:
    engine = FindingEngine(bundle)
    return engine, [f for part in parts for f in engine.update(part, AUTOPILOT, armed, SESSION)]


def test_a_motor_that_stops_is_found_within_three_seconds(edge_bundle: Bundle, motor_failure: Frames) -> None:
    _, found = fly(edge_bundle, seconds(motor_failure))
    assert found
    after_s = (found[0].end_us - int(motor_failure.time_us[0])) / 1e6 - MOTOR_STOPS_S
    assert 0 < after_s < 3
    assert found[0].severity == "critical"
    assert found[0].score > found[0].threshold
    assert found[0].session == SESSION
    assert {e["feature"] for e in found[0].evidence} & {"roll_error_peak", "roll_error_rms", "rotors_a_uneven_mean"}


def test_gusts_raise_nothing(edge_bundle: Bundle, gusty_flight: Frames) -> None:
    engine, found = fly(edge_bundle, seconds(gusty_flight))
    assert engine.scored >= 20
    assert found == []


def test_a_finding_travels_as_a_record(edge_bundle: Bundle, motor_failure: Frames) -> None:
    _, found = fly(edge_bundle, seconds(motor_failure))
    assert from_map(to_map(found[0])) == found[0]
    assert len(found[0].evidence) <= 10


@pytest.mark.parametrize("span_us", [300_000, 5_000_000])
def test_frames_in_smaller_or_larger_portions_give_the_same_findings(
    edge_bundle: Bundle, motor_failure: Frames, span_us: int
) -> None:
    _, expected = fly(edge_bundle, seconds(motor_failure))
    _, found = fly(edge_bundle, seconds(motor_failure, span_us))
    assert [(f.score, f.start_us, f.end_us, f.evidence) for f in found] == [
        (f.score, f.start_us, f.end_us, f.evidence) for f in expected
    ]


def test_nothing_is_scored_while_disarmed(edge_bundle: Bundle, motor_failure: Frames) -> None:
    engine, found = fly(edge_bundle, seconds(motor_failure), armed=False)
    assert (engine.scored, found) == (0, [])


def test_nothing_is_scored_in_the_first_ten_seconds_after_arming_or_a_gap(
    edge_bundle: Bundle, gusty_flight: Frames
) -> None:
    parts = seconds(gusty_flight)
    engine, _ = fly(edge_bundle, parts[:9])
    assert engine.scored == 0
    engine, _ = fly(edge_bundle, [*parts[:12], parts[25]])
    before = engine.scored
    for part in parts[26:33]:
        engine.update(part, AUTOPILOT, True, None)
    assert engine.scored == before
    assert engine.newest_score is None


def test_frames_of_another_vehicle_are_not_looked_at(edge_bundle: Bundle, motor_failure: Frames) -> None:
    engine = FindingEngine(edge_bundle)
    assert [f for part in seconds(motor_failure) for f in engine.update(part, (2, 1), True, None)] == []
    assert engine.scored == 0


def test_silence_and_a_clock_that_leaps_begin_the_window_anew(edge_bundle: Bundle, gusty_flight: Frames) -> None:
    engine = FindingEngine(edge_bundle)
    for part in seconds(gusty_flight):
        engine.update(part, AUTOPILOT, True, None)
    scored = engine.scored
    assert engine.update(no_frames(), AUTOPILOT, True, None) == []
    for leap_us in (-(10**15), 10**15):
        for part in seconds(gusty_flight)[:5]:
            leapt = Frames(part.data, part.offsets, part.time_us + leap_us)
            assert engine.update(leapt, AUTOPILOT, True, None) == []
    assert engine.scored == scored


def test_a_vehicle_that_the_model_does_not_know_is_left_alone(edge_bundle: Bundle) -> None:
    from tests.fix_fleet import frame

    raw = [frame(0, k, type=10, autopilot=3, base_mode=128, custom_mode=0, system_status=4) for k in range(20)]
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in raw])]).astype(np.int64)
    frames = Frames(b"".join(raw), offsets, np.arange(20, dtype=np.int64) * 1_000_000)
    engine, found = fly(edge_bundle, seconds(frames))
    assert (engine.scored, found) == (0, [])

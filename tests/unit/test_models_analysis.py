"""The hub's analysis of a flight: the same findings, explained."""

import itertools

import numpy as np
import pytest

from firmware_bridge.columns import columns_of
from firmware_bridge.grid import ChannelGrid, GridInput, chained, to_grid
from hub.worker.aircraft_type import detect
from hub.worker.analysis import Analyst, data_version, level_of
from hub.worker.explain import Explainer, expected_depth
from shared.errors import Refused
from shared.features import FEATURES
from shared.frames import Frames
from shared.scoring import Bundle, deviations

QUAD = 2


def grids(frames: Frames, span_us: int = 2_000_000) -> list[ChannelGrid]:
    """As ingest makes them: one per batch of span_us."""
    first, last = int(frames.time_us[0]) - 1, int(frames.time_us[-1])
    edges = [*range(first, last, span_us), last]
    at = np.searchsorted(frames.time_us, edges, side="right").tolist()
    parts = zip(at, at[1:], edges, edges[1:], strict=False)
    return to_grid(chained([GridInput(columns_of(frames.slice(a, b)), (1, 1), (s, e)) for a, b, s, e in parts]))


@pytest.fixture(scope="module")
def analyst(edge_bundle: Bundle) -> Analyst:
    return Analyst(edge_bundle)


@pytest.fixture(scope="module")
def explainer(edge_bundle: Bundle) -> Explainer:
    return Explainer(edge_bundle)


@pytest.mark.parametrize("aircraft", ["copter", "plane", "helicopter", "quadplane"])
def test_shap_values_and_base_add_up_to_the_logarithm_of_the_score(
    edge_bundle: Bundle, explainer: Explainer, aircraft: str
) -> None:
    nominal = edge_bundle.nominal(aircraft)
    assert nominal is not None
    random = np.random.default_rng(3)
    scales = np.where(np.isfinite(nominal.scales), nominal.scales, 0)
    for _ in range(20):
        vector = (nominal.medians + scales * random.standard_t(1.5, len(FEATURES))).astype(np.float32)
        values = explainer.explain(vector, nominal)
        total = explainer.base + sum(v["shap"] for v in values)
        assert total == pytest.approx(np.log2(edge_bundle.score(vector, nominal)), abs=1e-5)


def test_shap_values_belong_to_the_features_that_deviate_most(edge_bundle: Bundle, explainer: Explainer) -> None:
    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    random = np.random.default_rng(4)
    scales = np.where(np.isfinite(nominal.scales), nominal.scales, 0)
    vector = (nominal.medians + scales * random.normal(0, 5, len(FEATURES))).astype(np.float32)
    z = np.abs(deviations(vector[None], nominal)[0])
    largest = {FEATURES[i].name for i in np.argsort(-z)[:8]}
    assert {v["feature"] for v in explainer.explain(vector, nominal)} == largest


def test_the_expected_depth_is_that_of_the_paper() -> None:
    assert expected_depth(1) == 0
    assert expected_depth(2) == 1
    assert expected_depth(256) == pytest.approx(10.2448, abs=1e-3)


def test_a_model_that_is_no_isolation_forest_is_refused(edge_bundle: Bundle) -> None:
    from hub.worker.explain import read_trees

    with pytest.raises(Refused):
        read_trees(b"")


def test_a_motor_failure_is_found_named_and_reported(analyst: Analyst, motor_failure: Frames) -> None:
    result = analyst.analyse(grids(motor_failure), QUAD)
    assert result.anomaly_detected
    assert result.risk_level == "CRITICAL"
    assert 0.8 <= result.risk_score <= 1
    assert result.aircraft.name == "copter"
    assert 17 < result.findings[0].span_s[1] < 21
    assert result.findings[0].shap
    assert "threshold 0." in result.report
    assert "from roll_rad, roll_target_rad" in result.report


def test_gusts_are_no_anomaly(analyst: Analyst, gusty_flight: Frames) -> None:
    result = analyst.analyse(grids(gusty_flight), QUAD)
    assert not result.anomaly_detected
    assert result.risk_level in ("LOW", "MEDIUM")
    assert result.windows > 15
    assert "No finding" in result.report


def test_the_hub_finds_what_the_aircraft_found(analyst: Analyst, edge_bundle: Bundle, motor_failure: Frames) -> None:
    from agent.findings import FindingEngine

    engine = FindingEngine(edge_bundle)
    edges = np.arange(motor_failure.time_us[0] + 1e6, motor_failure.time_us[-1], 1e6)
    at = [0, *np.searchsorted(motor_failure.time_us, edges, side="right").tolist(), len(motor_failure)]
    on_board = [
        f for a, b in itertools.pairwise(at) for f in engine.update(motor_failure.slice(a, b), (1, 1), True, None)
    ]
    in_hub = [f.finding for f in analyst.analyse(grids(motor_failure), QUAD).findings]
    assert len(on_board) == len(in_hub) == 1
    assert abs(on_board[0].end_us - in_hub[0].end_us) < 1_000_000
    assert on_board[0].severity == in_hub[0].severity


def test_the_size_of_the_batches_changes_nothing(analyst: Analyst, motor_failure: Frames) -> None:
    small, large = (analyst.analyse(grids(motor_failure, span), QUAD) for span in (2_000_000, 30_000_000))
    assert small.worst_score == large.worst_score
    assert small.report == large.report


def test_a_flight_without_a_window_in_the_air_is_said_to_be_not_scored(analyst: Analyst, gusty_flight: Frames) -> None:
    result = analyst.analyse(grids(gusty_flight.slice(0, 300)), QUAD)
    assert (result.windows, result.risk_level, result.anomaly_detected) == (0, "LOW", False)
    assert "Not scored" in result.report
    assert "Not scored" in analyst.analyse([], 0).report


def test_a_class_that_the_model_does_not_know_is_not_scored(analyst: Analyst, gusty_flight: Frames) -> None:
    flying = grids(gusty_flight)
    for grid in flying:
        grid.values.pop("groundspeed_mps", None)
    result = analyst.analyse(flying, 10)
    assert result.scored_as == ""
    assert "does not know this class" in result.report


def test_the_aircraft_type_is_believed_when_the_flight_bears_it_out() -> None:
    n = 600
    hover = {"armed": np.ones(n), "alt_rel_m": np.full(n, 20.0), "groundspeed_mps": np.full(n, 0.5)}
    cruise = hover | {"groundspeed_mps": np.full(n, 18.0)}
    assert (detect(2, hover).name, detect(2, hover).confidence > 0.9) == ("copter", True)
    assert (detect(1, cruise).name, detect(1, cruise).confidence > 0.9) == ("plane", True)
    assert detect(1, hover).confidence < 0.5
    assert detect(0, hover).name == "copter"
    assert detect(0, cruise).name == "plane"
    assert detect(10, {"armed": np.ones(n)}).name == "rover"


def test_risk_levels_follow_the_limits() -> None:
    assert [level_of(r) for r in (0.0, 0.24, 0.25, 0.5, 0.8, 1.0)] == [
        "LOW", "LOW", "MEDIUM", "HIGH", "CRITICAL", "CRITICAL",
    ]  # fmt: skip


def test_the_data_version_depends_on_every_batch_and_their_order() -> None:
    a, b = bytes(32), bytes([1]) * 32
    assert len({data_version([a, b]), data_version([b, a]), data_version([a]), data_version([])}) == 4

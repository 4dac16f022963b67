"""The hub's analysis of a flight: the same findings as on board, explained by values that add up, told from facts."""

import itertools
import re
import uuid

import numpy as np
import pytest

from firmware_bridge.columns import columns_of
from firmware_bridge.grid import ChannelGrid, GridInput, chained, to_grid
from firmware_bridge.sensed import SensedReader
from hub.worker.analysis import Analyst, data_version, level_of
from hub.worker.explain import BASE, MOST, Explainer, read_trees
from hub.worker.inspect_first import KINDS
from hub.worker.result import AnalysisResult
from shared.errors import Refused
from shared.features import FEATURES
from shared.frames import Frames
from shared.scoring import NOVELTY, Bundle, Nominal, ratios
from shared.signals import CHANNELS_OF

QUAD = 2


def grids(frames: Frames, span_us: int = 2_000_000) -> list[ChannelGrid]:
    """As settling makes them: one per batch of span_us, with what only the analysis reads."""
    first, last = int(frames.time_us[0]) - 1, int(frames.time_us[-1])
    edges = [*range(first, last, span_us), last]
    at = np.searchsorted(frames.time_us, edges, side="right").tolist()
    parts = zip(at, at[1:], edges, edges[1:], strict=False)
    inputs = [GridInput(columns_of(frames.slice(a, b)), (1, 1), (s, e)) for a, b, s, e in parts]
    reader = SensedReader()
    found = zip(inputs, to_grid(chained(inputs)), strict=True)
    return [ChannelGrid(g.tick_us, g.values, sensed=reader.read(i.block, (1, 1), g.tick_us)) for i, g in found]


def odd_vectors(nominal: Nominal, n: int, seed: int) -> np.ndarray:
    """Vectors some of whose features are far from nominal."""
    random = np.random.default_rng(seed)
    high = np.where(np.isfinite(nominal.high), nominal.high, 0)
    return (nominal.medians + high * random.standard_t(1.5, (n, len(FEATURES)))).astype(np.float32)


@pytest.fixture(scope="module")
def analyst(edge_bundle: Bundle) -> Analyst:
    return Analyst(edge_bundle)


@pytest.fixture(scope="module")
def explainer(edge_bundle: Bundle) -> Explainer:
    return Explainer(edge_bundle)


@pytest.fixture(scope="module")
def failed(analyst: Analyst, motor_failure: Frames) -> AnalysisResult:
    return analyst.analyse(grids(motor_failure), QUAD)


@pytest.mark.parametrize("aircraft", ["copter", "plane", "helicopter", "quadplane"])
def test_shap_values_add_up_to_the_probability_of_the_kind(
    edge_bundle: Bundle, explainer: Explainer, aircraft: str
) -> None:
    nominal = edge_bundle.nominal(aircraft)
    assert nominal is not None
    for i, vector in enumerate(odd_vectors(nominal, 12, 3)):
        kind = edge_bundle.kinds[i % len(edge_bundle.kinds)]
        probability = edge_bundle.kind_probabilities(vector[None], nominal)[0, edge_bundle.kinds.index(kind)]
        assert sum(v["shap"] for v in explainer.explain(vector, nominal, kind)) == pytest.approx(probability, abs=1e-4)


def test_shap_values_name_the_strongest_first_then_the_others_then_the_base(
    edge_bundle: Bundle, explainer: Explainer
) -> None:
    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    values = explainer.explain(odd_vectors(nominal, 1, 4)[0], nominal, edge_bundle.kinds[0])
    named = [abs(v["shap"]) for v in values[:MOST]]
    assert named == sorted(named, reverse=True)
    assert [v["feature"] for v in values[MOST:]] == ["others", BASE]
    assert values[-1]["shap"] == pytest.approx(explainer.base(edge_bundle.kinds[0]))


def test_a_nominal_vector_has_the_base_as_its_probability(edge_bundle: Bundle, explainer: Explainer) -> None:
    nominal = edge_bundle.nominal("plane")
    assert nominal is not None
    assert not ratios(nominal.medians[None], nominal).any()
    for kind in edge_bundle.kinds[:3]:
        *values, base = explainer.explain(nominal.medians, nominal, kind)
        assert all(abs(v["shap"]) < 1e-9 for v in values)
        found = edge_bundle.kind_probabilities(nominal.medians[None], nominal)[0, edge_bundle.kinds.index(kind)]
        assert base["shap"] == pytest.approx(found, abs=1e-5)


def test_a_model_that_is_no_forest_is_refused() -> None:
    with pytest.raises(Refused):
        read_trees(b"", 3)


def test_a_motor_failure_is_found_named_and_reported(failed: AnalysisResult) -> None:
    assert failed.risk_level == "CRITICAL"
    assert 0.8 <= failed.risk_score <= 1
    assert failed.aircraft.name == "copter"
    (found,) = failed.findings
    assert found.finding.kind == "motor_fail"
    assert 17 < found.span_s[0] <= found.worst_s <= found.span_s[1]
    assert found.probability > 0.9
    assert f"Inspect first (motor failure, {found.span_s[0]:.0f}" in failed.report
    assert "motor_rpm" in failed.report


def test_every_number_of_a_report_is_a_fact_of_the_result(failed: AnalysisResult) -> None:
    numbers = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
    facts = [
        failed.aircraft.why, f"{failed.aircraft.confidence:.2f} {failed.windows} {failed.model}",
        f"{failed.worst_score:.2f} {failed.worst_s:.0f} {failed.threshold:.2f} {failed.risk_score:.2f}",
    ]  # fmt: skip
    by_name = {f.name: f for f in FEATURES}
    for found in failed.findings:
        f = found.finding
        facts.append(f"{f.score:.2f} {f.threshold:.2f} {found.worst_s:.0f} {found.kind_probability:.2f}")
        facts.append(f"{found.span_s[0]:.0f} {found.span_s[1]:.0f}")
        for e in f.evidence:
            feature = by_name[e["feature"]]
            facts.append(f"{feature.meaning} {feature.unit} {' '.join(CHANNELS_OF[feature.signal])}")
            facts.append(f"{e['value'] or 0:.3g} {e['nominal']:.3g} {abs(e['weight']):.1f} {abs(e['weight']):.0f}")
    known = {n for fact in facts for n in numbers.findall(fact)}
    assert set(numbers.findall(failed.report)) <= known


def test_every_sentence_on_evidence_names_value_nominal_and_channels(failed: AnalysisResult) -> None:
    told = [line for line in failed.report.split("\n") if line.startswith("- ")]
    assert told
    for line, item in zip(told, failed.findings[0].finding.evidence, strict=False):
        feature = next(f for f in FEATURES if f.name == item["feature"])
        assert line.startswith(f"- {feature.meaning}: {item['value']:.3g}")
        assert f"nominal {item['nominal']:.3g}" in line
        assert line.endswith(f"from {', '.join(CHANNELS_OF[feature.signal])}.")


def test_channels_are_known_of_every_feature() -> None:
    assert {f.signal for f in FEATURES} <= CHANNELS_OF.keys()
    assert all(CHANNELS_OF[f.signal] for f in FEATURES)


def test_words_and_what_to_inspect_are_known_of_every_kind(edge_bundle: Bundle) -> None:
    assert {*edge_bundle.kinds, NOVELTY} <= KINDS.keys()


def test_gusts_are_no_anomaly(analyst: Analyst, gusty_flight: Frames) -> None:
    result = analyst.analyse(grids(gusty_flight), QUAD)
    assert not result.anomaly_detected
    assert result.risk_level in ("LOW", "MEDIUM")
    assert result.windows == result.flying_s > 15
    assert "No finding" in result.report
    assert "Inspect first" not in result.report


def test_the_hub_finds_what_the_aircraft_found(
    failed: AnalysisResult, edge_bundle: Bundle, motor_failure: Frames
) -> None:
    from agent.findings import FindingEngine

    engine = FindingEngine(edge_bundle)
    edges = np.arange(motor_failure.time_us[0] + 1e6, motor_failure.time_us[-1], 1e6)
    at = [0, *np.searchsorted(motor_failure.time_us, edges, side="right").tolist(), len(motor_failure)]
    told = [f for a, b in itertools.pairwise(at) for f in engine.update(motor_failure.slice(a, b), (1, 1), True, None)]
    in_hub = failed.findings[0].finding
    assert {f.finding for f in told} == {told[0].finding}
    assert told[0].kind == in_hub.kind
    assert abs(told[0].start_us - in_hub.start_us) < 1_000_000
    assert told[-1].severity == in_hub.severity


def test_the_size_of_the_batches_changes_nothing(analyst: Analyst, motor_failure: Frames) -> None:
    small, large = (analyst.analyse(grids(motor_failure, span), QUAD) for span in (2_000_000, 30_000_000))
    assert small.worst_score == large.worst_score
    assert small.report == large.report


def test_a_flight_of_another_session_gives_findings_of_it(analyst: Analyst, motor_failure: Frames) -> None:
    session = uuid.uuid4()
    assert analyst.analyse(grids(motor_failure), QUAD, session).findings[0].finding.session == session


def test_a_flight_without_a_second_in_the_air_is_said_to_be_not_judged(analyst: Analyst, gusty_flight: Frames) -> None:
    result = analyst.analyse(grids(gusty_flight.slice(0, 60)), QUAD)
    assert (result.windows, result.risk_level, result.anomaly_detected) == (0, "LOW", False)
    assert "Not judged" in result.report
    assert "Not judged" in analyst.analyse([], 0).report


def test_a_log_that_knows_no_arming_is_judged_all_the_same(analyst: Analyst, motor_failure: Frames) -> None:
    unarmed = grids(motor_failure)
    for grid in unarmed:
        grid.values.pop("armed", None)
    assert analyst.analyse(unarmed, QUAD).findings[0].finding.kind == "motor_fail"


def test_another_model_has_another_version(analyst: Analyst, edge_bundle: Bundle) -> None:
    other = Bundle(edge_bundle.manifest, edge_bundle.onnx, bytes(32))
    assert analyst.version != Analyst(other).version
    assert analyst.version == Analyst(edge_bundle).version


def test_risk_levels_follow_the_limits() -> None:
    assert [level_of(r) for r in (0.0, 0.24, 0.25, 0.5, 0.8, 1.0)] == [
        "LOW", "LOW", "MEDIUM", "HIGH", "CRITICAL", "CRITICAL",
    ]  # fmt: skip


def test_the_data_version_depends_on_every_batch_and_their_order() -> None:
    a, b = bytes(32), bytes([1]) * 32
    assert len({data_version([a, b]), data_version([b, a]), data_version([a]), data_version([])}) == 4

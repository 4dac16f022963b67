"""An export of verdicts as training examples; hostile files are refused by line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dataset import Flight
from models.feedback import MOST_WIDER, read_feedback, widen
from shared.features import FEATURE_VERSION, FEATURES
from shared.scoring import Nominal, ratios, score_of

KINDS = {"motor_fail", "vibration"}


def line(**more: Any) -> dict[str, Any]:
    vectors = [[None, 1.5, *[0.25] * (len(FEATURES) - 2)]] * 12
    return {
        "organisation": "o1", "flight": "f1", "airframe": "a1", "verdict": "confirmed", "found_kind": "vibration",
        "kind": "motor_fail", "feature_version": FEATURE_VERSION, "aircraft_class": "copter", "vectors": vectors,
    } | more  # fmt: skip


def read(tmp_path: Path, *lines: Any) -> Any:
    path = tmp_path / "feedback.ndjson"
    path.write_text("".join(json.dumps(x) + "\n" for x in lines))
    return read_feedback(path, KINDS)


def test_a_confirmed_finding_is_a_fault_of_its_kind(tmp_path: Path) -> None:
    ((flight,), left_out) = read(tmp_path, line())
    assert (flight.fault, flight.aircraft, left_out) == ("motor_fail", "copter", 0)
    assert flight.faulty().all() and not flight.healthy().any()
    assert np.isnan(flight.vectors[0, 0]) and flight.vectors[0, 1] == 1.5


def test_a_rejected_finding_is_a_hard_negative(tmp_path: Path) -> None:
    ((flight,), _) = read(tmp_path, line(verdict="rejected"))
    assert (flight.fault, flight.hard_negative) == ("", "feedback")
    assert flight.healthy().all() and not flight.faulty().any()


def test_organisations_are_sites_of_their_own(tmp_path: Path) -> None:
    flights, _ = read(tmp_path, line(), line(organisation="o2"))
    assert len({f.site for f in flights}) == 2


@pytest.mark.parametrize(
    "more", [{"kind": "novelty"}, {"feature_version": FEATURE_VERSION - 1}, {"aircraft_class": "boat"}], ids=str
)
def test_what_cannot_be_learnt_from_is_left_out(tmp_path: Path, more: dict[str, Any]) -> None:
    assert read(tmp_path, line(**more)) == ([], 1)


@pytest.mark.parametrize("more", [{"verdict": "x"}, {"vectors": [[1.0]]}, {"vectors": []}, {"vectors": "x"}], ids=str)
def test_what_is_no_example_is_refused_with_its_line(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="line 2"):
        read(tmp_path, line(), line(**more))


def nominal() -> dict[str, Nominal]:
    ones = np.ones(len(FEATURES), np.float32)
    return {"copter": Nominal(0 * ones, ones, ones, 0.8, 1.3)}


def example(tmp_path: Path, verdict: str, value: float) -> Flight:
    ((flight,), _) = read(tmp_path, line(verdict=verdict, vectors=[[value] * len(FEATURES)] * 3))
    assert isinstance(flight, Flight)
    return flight


@pytest.mark.parametrize("value", [2.0, -2.0])
def test_what_was_rejected_is_not_raised_again(tmp_path: Path, value: float) -> None:
    flight = example(tmp_path, "rejected", value)
    before, after = nominal()["copter"], widen(nominal(), [flight])["copter"]
    assert score_of(ratios(flight.vectors, before)).min() > before.threshold
    assert score_of(ratios(flight.vectors, after)).max() < after.threshold


def test_no_number_of_verdicts_blinds_the_model(tmp_path: Path) -> None:
    flights = [example(tmp_path, "rejected", v) for v in (2.0, 50.0, 1e6)]
    assert widen(nominal(), flights)["copter"].high.max() <= MOST_WIDER


def test_a_confirmed_finding_widens_nothing(tmp_path: Path) -> None:
    after = widen(nominal(), [example(tmp_path, "confirmed", 9.0)])["copter"]
    assert after.high.max() == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(line())), inner, max_size=4),
    max_leaves=8,
)

spoilt_lines = st.tuples(st.sampled_from(sorted(line())), json_values).map(lambda p: line(**{p[0]: p[1]}))


def as_line(value: Any) -> bytes:
    return json.dumps(value).encode()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | json_values.map(as_line) | spoilt_lines.map(as_line))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "feedback.ndjson"
    path.write_bytes(data)
    try:
        flights, _ = read_feedback(path, KINDS)
    except ValueError:
        return
    assert all(f.vectors.shape[1] == len(FEATURES) for f in flights)

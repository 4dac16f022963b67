"""Training: parity, thresholds, what is held out."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.alarms import HEADROOM, alarms, calibrate
from models.cli import main
from models.dataset import Flight
from models.evaluate import cross_validate, out_of_site, thresholds
from models.export import PARITY_LIMIT, parity, release_key, to_onnx
from models.forest import RANKS, fit, fit_nominal
from shared.features import FEATURES, NAMES
from shared.persistence import Rule
from shared.scoring import deviations, load_bundle, read_keys, tail

RULE = Rule()
WINDOWS = 150


def flight(site: str, seed: int, fault: str = "", shift: float = 0.0, aircraft: str = "copter") -> Flight:
    """Normally distributed features; a fault moves six of them by `shift` from window 75 on."""
    vectors: NDArray[np.float32] = np.random.default_rng(seed).normal(0, 1, (WINDOWS, len(FEATURES))).astype(np.float32)
    end_us = np.arange(WINDOWS, dtype=np.int64) * 1_000_000
    if fault:
        vectors[75:, :6] += shift
    span = (75_000_000, 150_000_000) if fault else None
    return Flight(f"{site}{seed}", aircraft, site, fault, span, end_us, vectors, np.ones(WINDOWS, bool))


@pytest.fixture(scope="module")
def flights() -> list[Flight]:
    nominal = [flight(site, i * 10 + j) for i, site in enumerate(("oslo", "lima", "perth")) for j in range(4)]
    faulty = [flight(site, 90 + i, "broken", 60.0) for i, site in enumerate(("oslo", "lima", "perth"))]
    return nominal + faulty


def test_onnx_computes_what_scikit_learn_computes(flights: list[Flight]) -> None:
    model = fit(flights)
    inputs = np.concatenate([tail(deviations(f.vectors, model.nominal["copter"]), RANKS)[1] for f in flights])
    assert parity(model.forest, to_onnx(model.forest, RANKS), inputs) < PARITY_LIMIT


def test_a_model_that_differs_from_scikit_learn_is_not_exported(flights: list[Flight]) -> None:
    model, other = fit(flights), fit(flights, seed=2)
    inputs = tail(deviations(flights[0].vectors, model.nominal["copter"]), RANKS)[1]
    with pytest.raises(ValueError, match="differ"):
        parity(model.forest, to_onnx(other.forest, RANKS), inputs)


def test_training_is_repeatable_and_looks_at_nominal_flights_alone(flights: list[Flight]) -> None:
    first = fit(flights)
    second = fit([f for f in flights if not f.fault])
    np.testing.assert_array_equal(first.scores(flights[0]), second.scores(flights[0]))


def test_a_flight_is_scored_by_a_model_that_never_saw_its_site(flights: list[Flight]) -> None:
    odd = [flight("mars", 200 + i) for i in range(4)]
    for f in odd:
        f.vectors[:, :] += 500  # nominal there, unheard of elsewhere
    scores = out_of_site([*flights, *odd])
    assert min(float(s.min()) for s in scores[-4:]) > max(float(s.max()) for s in scores[:9])


def test_the_threshold_keeps_the_promised_rate_and_no_lower_one_would(flights: list[Flight]) -> None:
    scores = out_of_site(flights)
    given = [(f.end_us, s, f.healthy()) for f, s in zip(flights, scores, strict=True)]
    hours = sum(int(h.sum()) for _, _, h in given) / 3600
    limits = calibrate(given, 10.0, RULE)
    assert sum(len(alarms(*g, limits, RULE)) for g in given) <= 10.0 * hours
    lower = limits._replace(threshold=limits.threshold - HEADROOM - 1e-6)
    assert sum(len(alarms(*g, lower, RULE)) for g in given) > 10.0 * hours
    assert limits.critical >= limits.threshold


def test_without_a_healthy_window_there_is_no_threshold() -> None:
    with pytest.raises(ValueError, match="healthy"):
        calibrate([(np.arange(3), np.zeros(3), np.zeros(3, bool))], 1.0, RULE)


def test_cross_validation_counts_faults_and_false_alarms(flights: list[Flight]) -> None:
    figures = cross_validate(flights, RULE).summary()
    assert (figures["faults"], figures["faults_found"]) == (3, 3)
    assert figures["by_kind"] == {"broken": [3, 3]}
    assert figures["nominal_flights"] == 12
    assert figures["healthy_hours"] == pytest.approx((12 * 150 + 3 * 75) / 3600, abs=0.01)
    assert 0 <= figures["median_delay_s"] <= 5
    assert set(thresholds(flights, out_of_site(flights), RULE)) == {"copter"}


def test_a_feature_that_a_class_never_had_says_nothing_for_it() -> None:
    vectors = np.random.default_rng(0).normal(0, 1, (200, len(FEATURES))).astype(np.float32)
    vectors[:, 3] = np.nan
    nominal = fit_nominal({"copter": vectors})["copter"]
    assert np.isinf(nominal.scales[3])
    assert deviations(np.full((1, len(FEATURES)), 1e9, np.float32), nominal)[0, 3] == 0


def test_a_constant_feature_keeps_a_physical_scale() -> None:
    vectors = np.zeros((200, len(FEATURES)), np.float32)
    nominal = fit_nominal({"copter": vectors})["copter"]
    assert (nominal.scales > 0).all()
    assert nominal.scales[NAMES.index("gps_satellites_low")] >= 1


def test_the_release_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert release_key(folder).private_bytes_raw() == release_key(folder).private_bytes_raw()
    assert (folder / "release.key").stat().st_mode & 0o777 == 0o600


def test_train_and_show_from_the_command_line(
    tmp_path: Path, flight_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    (data / "tlog").mkdir(parents=True)
    lines = (flight_data / "flights" / "labels.csv").read_text().split("\n")
    copters = [line for line in lines[1:] if line.split(",")[1:2] == ["copter"]]
    chosen = sorted(copters, key=lambda line: line.split(",")[4])[:18]  # the nominal ones first
    (data / "labels.csv").write_text("\n".join([lines[0], *chosen]))
    for line in chosen:
        name = f"{line.split(',')[0]}.tlog.zst"
        (data / "tlog" / name).symlink_to(flight_data / "flights" / "tlog" / name)
    out, keys = tmp_path / "out" / "small.bundle", tmp_path / "keys"
    command = ["train", "--data", str(data), "--out", str(out), "--key-folder", str(keys)]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["faults"] > 0
    assert set(load_bundle(out, read_keys(out.parent / "release.pub")).classes) == {"copter"}
    assert main(["show", str(out)]) == 1, "another key than the packaged one signed it"
    assert main(["show"]) == 0
    assert main([*command[:-1], str(tmp_path / "other")]) == 1, "release.pub trusts the first key"


def test_a_folder_without_labels_is_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--data", str(tmp_path)]) == 1
    assert "labels.csv" in capsys.readouterr().err

"""Training: nominal ranges, thresholds, kinds, parity, what is held out."""

import datetime
import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from models.cli import main
from models.dataset import Flight
from models.evaluate import CRITICAL, PER_HOUR, choose_threshold, cross_validate, out_of_site, scores_by
from models.export import PARITY_LIMIT, parity, public_raw, release_key, to_onnx
from models.kinds import fit_kinds, kind_of
from models.limits import fit_limits
from models.train import train
from shared.features import FEATURES, NAMES
from shared.persistence import Rule, episodes
from shared.scoring import RANKS, kind_inputs, load_bundle, ratios, read_bundle, read_keys

WINDOWS, BEGINS = 150, 75
SITES = ("oslo", "lima", "perth")
TILT, BARO = NAMES.index("tilt_peak"), NAMES.index("baro_climb_error_floor")
VIBE, EKF = NAMES.index("vibe_x_floor"), NAMES.index("ekf_position_mean_1.5s")


def flight(site: str, seed: int, fault: str = "", aircraft: str = "copter", severity: float = 1.0) -> Flight:
    """Normally distributed features; a fault moves four of them far, which ones by its kind."""
    vectors: NDArray[np.float32] = np.random.default_rng(seed).normal(0, 1, (WINDOWS, len(FEATURES))).astype(np.float32)
    end_us = np.arange(WINDOWS, dtype=np.int64) * 1_000_000
    if fault:
        vectors[BEGINS:, [TILT, BARO] if fault == "broken" else [VIBE, EKF]] += 300.0
    span = ((BEGINS - 1) * 1_000_000, WINDOWS * 1_000_000) if fault else None
    return Flight(f"{site}{seed}", aircraft, "quad", site, fault, severity if fault else 0.0, "", "", span, end_us,
                  vectors, np.ones(WINDOWS, bool))  # fmt: skip


@pytest.fixture(scope="module")
def flights() -> list[Flight]:
    nominal = [flight(site, i * 10 + j) for i, site in enumerate(SITES) for j in range(4)]
    broken = [flight(site, 90 + i, "broken") for i, site in enumerate(SITES)]
    return nominal + broken + [flight(site, 190 + i, "shaken", severity=0.3) for i, site in enumerate(SITES)]


def test_the_nominal_range_holds_all_that_healthy_flights_did_for_two_seconds(flights: list[Flight]) -> None:
    nominal = fit_limits(flights)["copter"]
    for f in flights:
        shares = np.abs(ratios(f.vectors[f.healthy()], nominal))
        assert np.minimum(shares[1:], shares[:-1]).max() <= 1


def test_what_happens_in_a_fault_does_not_widen_the_nominal_range(flights: list[Flight]) -> None:
    with_faults = fit_limits(flights)["copter"]
    assert with_faults.high[TILT] < 20
    cut = [f for f in flights if not f.fault]
    assert with_faults.high[TILT] == pytest.approx(fit_limits(cut)["copter"].high[TILT], rel=0.5)


def test_a_site_that_is_unlike_the_others_widens_the_range_by_so_much(flights: list[Flight]) -> None:
    odd = [flight("mars", 300 + i) for i in range(2)]
    for f in odd:
        f.vectors[:, TILT] += 40
    assert fit_limits([*flights, *odd])["copter"].high[TILT] > 1.5 * 45


def test_a_constant_feature_keeps_a_physical_range_and_an_absent_one_says_nothing() -> None:
    still = flight("oslo", 0)
    still.vectors[:] = 0
    still.vectors[:, 3] = np.nan
    nominal = fit_limits([still])["copter"]
    assert np.isinf(nominal.high[3])
    assert np.isinf(nominal.low[3])
    others = np.arange(len(FEATURES)) != 3
    assert (nominal.high[others] > 0).all()
    assert nominal.low[NAMES.index("gps_satellites_mean_1.5s")] >= 3


def test_without_a_healthy_flight_of_a_class_there_is_no_range() -> None:
    grounded = flight("oslo", 1)
    grounded.flying[:] = False
    with pytest.raises(ValueError, match="healthy"):
        fit_limits([grounded])


def test_a_flight_is_scored_by_ranges_that_never_saw_its_site(flights: list[Flight]) -> None:
    odd = [flight("mars", 200 + i) for i in range(2)]
    for f in odd:
        f.vectors[:, [TILT, BARO]] += 500  # nominal there, unheard of elsewhere
    everything = [*flights, *odd]
    scores = scores_by(everything, out_of_site(everything))
    healthy = [s[f.healthy()].max() for f, s in zip(flights, scores, strict=False)]
    assert min(float(s.min()) for s in scores[-2:]) > max(healthy)


def test_the_threshold_keeps_the_promised_rate_and_no_lower_one_would() -> None:
    healthy = [flight(site, i * 100 + j) for i, site in enumerate(SITES) for j in range(20)]
    scores = [np.abs(np.random.default_rng(i).standard_cauchy(WINDOWS)) for i in range(len(healthy))]
    hours = len(healthy) * WINDOWS / 3600

    def alarms(threshold: float) -> int:
        return sum(
            len(episodes(f.end_us, s, f.healthy(), threshold, CRITICAL * threshold, Rule()))
            for f, s in zip(healthy, scores, strict=True)
        )

    threshold = choose_threshold(healthy, scores)
    assert threshold == 5.0 or alarms(threshold) <= PER_HOUR * hours
    assert alarms(threshold - 0.01) > PER_HOUR * hours


def test_cross_validation_counts_faults_kinds_delays_and_false_alarms(flights: list[Flight]) -> None:
    figures = cross_validate(flights).summary()
    assert figures["all"]["found"] == figures["all"]["faults"] == 6
    assert figures["severe"]["faults"] == 3
    assert figures["all"]["right_kind_of_found"] == 1.0
    assert 0 < figures["all"]["median_delay_s"] <= 3
    assert figures["by_kind"] == {"broken": "3 of 3", "shaken": "3 of 3"}
    assert figures["nominal_flights"] == 12
    assert figures["healthy_hours"] == pytest.approx((12 * WINDOWS + 6 * BEGINS) / 3600, abs=0.01)
    assert figures["false_alarms"] == 0


def test_a_fault_that_shows_nothing_is_missed() -> None:
    hidden = [flight(site, i, "broken") for i, site in enumerate(SITES)]
    for f in hidden:
        f.vectors[:] = np.random.default_rng(1).normal(0, 1, f.vectors.shape)
    seen = [flight(site, 50 + i, "broken") for i, site in enumerate(SITES)]
    found = {o.flight.name: o.is_found for o in cross_validate([*hidden, *seen]).outcomes}
    assert [found[f.name] for f in hidden] == [False] * 3
    assert [found[f.name] for f in seen] == [True] * 3


def test_onnx_computes_what_scikit_learn_computes(flights: list[Flight]) -> None:
    forest = fit_kinds(flights, out_of_site(flights))
    limits = fit_limits(flights)
    inputs = np.concatenate([kind_inputs(ratios(f.vectors, limits["copter"])) for f in flights])
    assert parity(forest, to_onnx(forest, len(FEATURES) + RANKS), inputs) < PARITY_LIMIT


def test_a_model_that_differs_from_scikit_learn_is_not_exported(flights: list[Flight]) -> None:
    ranges = out_of_site(flights)
    forest, other = fit_kinds(flights, ranges), fit_kinds(flights, ranges, seed=2)
    inputs = kind_inputs(ratios(flights[-1].vectors, ranges[-1]["copter"]))
    with pytest.raises(ValueError, match="differ"):
        parity(forest, to_onnx(other, len(FEATURES) + RANKS), inputs)


def test_the_signed_bundle_judges_as_the_evaluation_did(flights: list[Flight]) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    packed, manifest, _ = train(flights, key, datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    bundle = read_bundle(packed, [public_raw(key)])
    forest, nominal = fit_kinds(flights, out_of_site(flights)), bundle.classes["copter"]
    for f in flights:
        if f.fault:
            vectors = f.vectors[BEGINS : BEGINS + 5]
            assert bundle.kind(vectors, nominal)[0] == f.fault == kind_of(forest, ratios(vectors, nominal))[0]
            assert bundle.score(vectors[0], nominal) > nominal.critical
    assert manifest["trained_utc"] == "2026-01-01T00:00:00+00:00"


def test_the_release_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert release_key(folder).private_bytes_raw() == release_key(folder).private_bytes_raw()
    assert (folder / "release.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_train_and_show_from_the_command_line(
    tmp_path: Path, flight_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    (data / "tlog").mkdir(parents=True)
    lines = (flight_data / "flights" / "labels.csv").read_text().split("\n")
    copters = [line for line in lines[1:] if line.split(",")[1:2] == ["copter"]]
    chosen = sorted(copters, key=lambda line: line.split(",")[4])[:26]  # the nominal ones first
    (data / "labels.csv").write_text("\n".join([lines[0], *chosen]))
    for line in chosen:
        name = f"{line.split(',')[0]}.tlog.zst"
        (data / "tlog" / name).symlink_to(flight_data / "flights" / "tlog" / name)
    out, keys = tmp_path / "out" / "small.bundle", tmp_path / "keys"
    command = ["train", "--data", str(data), "--out", str(out), "--key-folder", str(keys)]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["all"]["faults"] > 0
    assert set(load_bundle(out, read_keys(out.parent / "release.pub")).classes) == {"copter"}
    assert main(["show", str(out)]) == 1, "another key than the packaged one signed it"
    assert main(["show"]) == 0
    assert main([*command[:-1], str(tmp_path / "other")]) == 1, "release.pub trusts the first key"


def test_a_folder_without_labels_is_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--data", str(tmp_path)]) == 1
    assert "labels.csv" in capsys.readouterr().err

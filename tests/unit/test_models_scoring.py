"""Bundles: verified before they are parsed, refused when they do not fit, harmless when sensors are missing."""

import random
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.export import pack, public_raw
from shared.envelope import peek
from shared.errors import Refused
from shared.features import FEATURES, NAMES
from shared.persistence import Episode
from shared.scoring import (
    CAP,
    EDGE_BUNDLE,
    FAMILY,
    NOVELTY,
    Bundle,
    Nominal,
    kind_inputs,
    load_bundle,
    ratios,
    read_keys,
    score_of,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def repacked(folder: Path, edge: Bundle, **changes: Any) -> Path:
    """The packaged model under another manifest, signed by KEY."""
    path = folder / "changed.bundle"
    path.write_bytes(pack(edge.manifest | changes, edge.onnx, KEY))
    return path


def reason(path: Path, keys: list[bytes]) -> str:
    with pytest.raises(Refused) as refused:
        load_bundle(path, keys)
    return refused.value.reason


def test_the_packaged_bundle_loads_with_the_packaged_key_and_is_small(edge_bundle: Bundle) -> None:
    assert edge_bundle.name == "edge 2"
    assert set(edge_bundle.classes) == {"copter", "plane", "helicopter", "quadplane"}
    assert EDGE_BUNDLE.stat().st_size < 1 << 20


def test_a_bundle_changed_in_any_byte_is_refused(tmp_path: Path) -> None:
    whole = EDGE_BUNDLE.read_bytes()
    at = random.Random(1)
    path = tmp_path / "tampered.bundle"
    for place in [0, 1, 5, 40, len(whole) - 1, *(at.randrange(len(whole)) for _ in range(60))]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << at.randrange(8)]) + whole[place + 1 :])
        assert reason(path, read_keys()) in {"bad_signature", "envelope_malformed", "unknown_key", "content_type"}


def test_a_bundle_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.bundle"
    path.write_bytes(EDGE_BUNDLE.read_bytes()[:-100])
    assert reason(path, read_keys()) == "envelope_malformed"


def test_a_bundle_of_a_key_that_is_not_trusted_is_refused(tmp_path: Path, edge_bundle: Bundle) -> None:
    path = repacked(tmp_path, edge_bundle)
    assert reason(path, read_keys()) == "unknown_key"
    assert load_bundle(path, [public_raw(KEY)]).name == edge_bundle.name


@pytest.mark.parametrize(
    "changes", [{"feature_version": 1}, {"features": list(NAMES[:-1])}, {"features": [*NAMES[1:], NAMES[0]]}]
)
def test_a_bundle_for_other_features_is_refused(tmp_path: Path, edge_bundle: Bundle, changes: dict[str, Any]) -> None:
    assert reason(repacked(tmp_path, edge_bundle, **changes), [public_raw(KEY)]) == "feature_version"


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 1}, {"classes": {}}, {"classes": []}, {"persistence": {}}, {"kinds": []}, {"calibration": []},
        {"calibration": [[0, 1], [1, 0]]}, {"calibration": 3}, {"kind_sure": None}, {"kinds": 7},
        {"classes": {"copter": {"medians": b"", "high": b"", "low": b"", "threshold": 0.5, "critical": 0.6}}},
    ],
)  # fmt: skip
def test_a_manifest_of_the_wrong_shape_is_refused(tmp_path: Path, edge_bundle: Bundle, changes: dict[str, Any]) -> None:
    assert reason(repacked(tmp_path, edge_bundle, **changes), [public_raw(KEY)]) == "bundle_malformed"


def test_a_class_with_unusable_numbers_is_refused(tmp_path: Path, edge_bundle: Bundle) -> None:
    body = edge_bundle.manifest["classes"]["copter"]
    for change in (
        {"high": np.zeros(len(FEATURES), "<f4").tobytes()},
        {"low": np.full(len(FEATURES), np.nan, "<f4").tobytes()},
        {"medians": np.full(len(FEATURES), np.nan, "<f4").tobytes()},
        {"critical": 0.1},
    ):
        path = repacked(tmp_path, edge_bundle, classes={"copter": body | change})
        assert reason(path, [public_raw(KEY)]) == "bundle_malformed"


def test_a_model_that_is_no_onnx_is_refused(tmp_path: Path, edge_bundle: Bundle) -> None:
    path = tmp_path / "junk.bundle"
    path.write_bytes(pack(edge_bundle.manifest, b"no model at all", KEY))
    assert reason(path, [public_raw(KEY)]) == "bundle_malformed"


def test_a_model_that_unpacks_beyond_the_limit_is_refused(tmp_path: Path, edge_bundle: Bundle) -> None:
    path = tmp_path / "bomb.bundle"
    path.write_bytes(pack(edge_bundle.manifest, bytes(64 << 20), KEY))
    assert reason(path, [public_raw(KEY)]) == "bundle_malformed"


def test_a_signed_payload_that_is_no_map_is_refused(tmp_path: Path) -> None:
    from shared.envelope import BUNDLE_TYPE, seal
    from shared.ids import key_id

    path = tmp_path / "list.bundle"
    for payload in (cbor2.dumps([1, 2]), cbor2.dumps({"manifest": 1, "onnx": b""}), b"\xff"):
        path.write_bytes(seal(payload, KEY, key_id(public_raw(KEY)), BUNDLE_TYPE))
        assert reason(path, [public_raw(KEY)]) == "bundle_malformed"


def plain(high: float = 2.0, low: float = 4.0) -> Nominal:
    """Everything is nominal at 10, up to 10 + high and down to 10 - low."""
    ones = np.ones(len(FEATURES), np.float32)
    return Nominal(10 * ones, high * ones, low * ones, 1.2, 2.4)


def test_a_vector_without_any_sensor_scores_nothing(edge_bundle: Bundle) -> None:
    for nominal in edge_bundle.classes.values():
        nothing = np.full(len(FEATURES), np.nan, np.float32)
        assert edge_bundle.score(nothing, nominal) == 0
        assert edge_bundle.score(nominal.medians, nominal) == 0
        assert edge_bundle.evidence(nothing, nominal) == []


def test_a_ratio_is_the_share_of_the_nominal_range_on_the_side_where_a_feature_is_abnormal() -> None:
    above, below = (ratios(np.full((1, len(FEATURES)), x, np.float32), plain())[0] for x in (13.0, 6.0))
    for i, feature in enumerate(FEATURES):
        assert above[i] == pytest.approx(1.5 if feature.side in ("high", "both") else 0), feature.name
        assert below[i] == pytest.approx(-1.0 if feature.side in ("low", "both") else 0), feature.name


def test_a_feature_that_a_class_never_had_says_nothing_for_it() -> None:
    nominal = plain(high=np.inf, low=np.inf)
    assert not ratios(np.full((1, len(FEATURES)), 1e30, np.float32), nominal).any()


def test_a_ratio_has_a_limit() -> None:
    assert np.abs(ratios(np.full((1, len(FEATURES)), 1e30, np.float32), plain())).max() == CAP


def test_the_score_is_the_mean_of_the_two_largest_ratios_of_different_families() -> None:
    shares = np.zeros((1, len(FEATURES)), np.float32)
    first = int(np.flatnonzero(np.bincount(FAMILY)[FAMILY] > 1)[0])
    kin = next(int(i) for i in np.flatnonzero(FAMILY[first] == FAMILY) if i != first)
    other = int(np.flatnonzero(FAMILY[first] != FAMILY)[0])
    shares[0, [first, kin]] = 4, -3
    assert score_of(shares)[0] == pytest.approx(2.0)
    shares[0, other] = -1
    assert score_of(shares)[0] == pytest.approx(2.5)
    assert len(score_of(shares[:0])) == 0


def test_the_score_rises_with_the_deviation(edge_bundle: Bundle) -> None:
    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    odd = [NAMES.index("gps_fix_mean_1.5s"), NAMES.index("tilt_peak"), NAMES.index("ekf_position_mean_1.5s")]
    scores = []
    for share in (0.0, 0.5, 1.5, 5.0):
        vector = nominal.medians.copy()
        vector[odd[0]] -= share * nominal.low[odd[0]]
        vector[odd[1:]] += share * nominal.high[odd[1:]]
        scores.append(edge_bundle.score(vector, nominal))
    assert scores == pytest.approx([0.0, 0.5, 1.5, 5.0], abs=1e-3)
    assert scores[1] < nominal.threshold < nominal.critical < scores[-1]


def test_a_higher_score_is_never_less_probable(edge_bundle: Bundle) -> None:
    probability = edge_bundle.probability(np.linspace(0, 30, 200))
    assert (np.diff(probability) >= 0).all()
    assert 0 <= probability[0] < 0.3
    assert 0.8 < probability[-1] <= 1


def test_the_evidence_names_what_stands_out_with_its_value_and_the_nominal_one(edge_bundle: Bundle) -> None:
    nominal = edge_bundle.nominal("plane")
    assert nominal is not None
    i = NAMES.index("energy_climb_mean")
    vector = nominal.medians.copy()
    vector[i] -= 3 * nominal.low[i]
    (item,) = edge_bundle.evidence(vector, nominal)
    assert item["feature"] == "energy_climb_mean"
    assert item["weight"] == pytest.approx(-3, abs=0.01)
    assert item["value"] < item["nominal"]


def test_a_vector_that_looks_like_nothing_is_a_novelty(edge_bundle: Bundle) -> None:
    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    assert edge_bundle.kind(np.zeros((0, len(FEATURES)), np.float32), nominal) == (NOVELTY, 0.0)
    assert edge_bundle.kind(nominal.medians[None], nominal) == (NOVELTY, 0.0)


def test_the_probabilities_of_kinds_sum_to_one(edge_bundle: Bundle) -> None:
    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    odd = nominal.medians + np.random.default_rng(0).normal(0, 2, (6, len(FEATURES))).astype(np.float32)
    found = edge_bundle.kind_probabilities(odd, nominal)
    assert found.shape == (6, len(edge_bundle.kinds))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert edge_bundle.kind_probabilities(odd[:0], nominal).shape == (0, len(edge_bundle.kinds))


def test_the_kinds_input_has_every_ratio_and_the_largest_whichever_they_are_of() -> None:
    shares = np.zeros((1, len(FEATURES)), np.float32)
    shares[0, 3], shares[0, 5] = -2, 1
    found = kind_inputs(shares)[0]
    assert found[3] == pytest.approx(-np.log(3))
    assert found[len(FEATURES) :].tolist() == pytest.approx([np.log(3), np.log(2), 0, 0])


def test_a_finding_says_model_kind_severity_and_times(edge_bundle: Bundle) -> None:
    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    vector = nominal.medians.copy()
    vector[NAMES.index("tilt_peak")] += 10 * nominal.high[NAMES.index("tilt_peak")]
    episode = Episode(1_000_000, 5_000_000, 2_000_000, nominal.critical, False)
    found = edge_bundle.finding(nominal, episode, vector[None], vector, None)
    assert (found.model, found.severity, found.start_us, found.end_us) == ("edge 2", "critical", 1_000_000, 5_000_000)
    assert found.kind in {*edge_bundle.kinds, NOVELTY}
    assert found.evidence[0]["feature"] == "tilt_peak"
    assert edge_bundle.severity(nominal.critical * 0.99, nominal) == "warning"


def test_a_vector_of_the_wrong_length_is_an_error(edge_bundle: Bundle) -> None:
    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    with pytest.raises(ValueError, match="vectors"):
        edge_bundle.scores(np.zeros((1, 3), np.float32), nominal)


def test_the_manifest_says_what_the_model_was_made_of(edge_bundle: Bundle) -> None:
    manifest = cbor2.loads(peek(EDGE_BUNDLE.read_bytes())[1])["manifest"]
    assert manifest == edge_bundle.manifest
    assert manifest["parity"] < 1e-5
    assert manifest["metrics"]["healthy_hours"] > 1
    assert manifest["data"]["by_class"]["copter"] > 0
    assert set(manifest["kinds"]) == set(manifest["data"]["faults"])

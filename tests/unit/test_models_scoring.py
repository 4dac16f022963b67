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
from shared.scoring import EDGE_BUNDLE, Bundle, deviations, load_bundle, read_keys, tail

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
    assert edge_bundle.name == "edge 1"
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
    "changes", [{"feature_version": 2}, {"features": list(NAMES[:-1])}, {"features": [*NAMES[1:], NAMES[0]]}]
)
def test_a_bundle_for_other_features_is_refused(tmp_path: Path, edge_bundle: Bundle, changes: dict[str, Any]) -> None:
    assert reason(repacked(tmp_path, edge_bundle, **changes), [public_raw(KEY)]) == "feature_version"


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2}, {"ranks": 7}, {"ranks": 0}, {"classes": {}}, {"classes": []}, {"persistence": {}},
        {"classes": {"copter": {"medians": b"", "scales": b"", "threshold": 0.5, "critical": 0.6}}},
    ],
)  # fmt: skip
def test_a_manifest_of_the_wrong_shape_is_refused(tmp_path: Path, edge_bundle: Bundle, changes: dict[str, Any]) -> None:
    assert reason(repacked(tmp_path, edge_bundle, **changes), [public_raw(KEY)]) == "bundle_malformed"


def test_a_class_with_unusable_numbers_is_refused(tmp_path: Path, edge_bundle: Bundle) -> None:
    body = edge_bundle.manifest["classes"]["copter"]
    for change in (
        {"scales": np.zeros(len(FEATURES), "<f4").tobytes()},
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


def test_a_vector_without_any_sensor_scores_like_the_nominal_median(edge_bundle: Bundle) -> None:
    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    nothing = np.full(len(FEATURES), np.nan, np.float32)
    assert edge_bundle.score(nothing, nominal) == edge_bundle.score(nominal.medians, nominal)
    assert edge_bundle.score(nothing, nominal) < nominal.threshold
    assert edge_bundle.evidence(nothing, nominal) == []


def test_the_score_rises_with_the_deviation(edge_bundle: Bundle) -> None:
    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    odd = np.flatnonzero(np.isfinite(nominal.scales))[:6]
    scores = []
    for deviation in (0, 3, 10, 40):
        vector = nominal.medians.copy()
        vector[odd] += deviation * nominal.scales[odd]
        scores.append(edge_bundle.score(vector, nominal))
    assert scores == sorted(scores)
    assert scores[0] < nominal.threshold < nominal.critical < scores[-1]


def test_the_evidence_names_what_stands_out_with_its_value_and_the_nominal_one(edge_bundle: Bundle) -> None:
    nominal = edge_bundle.nominal("plane")
    assert nominal is not None
    i = NAMES.index("airspeed_error_mean")
    vector = nominal.medians.copy()
    vector[i] -= 12 * nominal.scales[i]
    (item,) = edge_bundle.evidence(vector, nominal)
    assert item["feature"] == "airspeed_error_mean"
    assert item["weight"] == pytest.approx(-12, abs=0.1)
    assert item["value"] < item["nominal"]


def test_the_tail_is_the_largest_deviations_in_descending_order(edge_bundle: Bundle) -> None:
    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    z = deviations(np.random.default_rng(0).normal(0, 1, (5, len(FEATURES))).astype(np.float32), nominal)
    order, inputs = tail(z, 8)
    assert order.shape == inputs.shape == (5, 8)
    assert (np.diff(inputs, axis=1) <= 0).all()
    assert (inputs >= 0).all()


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
    assert manifest["data"]["trained_on"]["copter"] > 0

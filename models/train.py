"""From a folder of labelled flights to a signed bundle, with the figures that say how good it is."""

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.calibration import calibrate
from models.dataset import Flight
from models.evaluate import CRITICAL, RULE, Evaluation, choose_threshold, cross_validate, out_of_site, scores_by
from models.export import library_versions, pack, parity, to_onnx
from models.feedback import widen
from models.kinds import fit_kinds
from models.limits import fit_limits
from shared.features import FEATURE_VERSION, HOP_S, NAMES
from shared.scoring import FORMAT, RANKS, Nominal, kind_inputs, ratios

MODEL, VERSION = "edge", "2"
KIND_SURE = 0.2
"""A kind less probable than this is not named: the finding is a novelty."""


def train(
    flights: Sequence[Flight], key: Ed25519PrivateKey, now: datetime.datetime, feedback: Sequence[Flight] = ()
) -> tuple[bytes, dict[str, Any], Evaluation]:
    """(signed bundle, its manifest, the held-out evaluation). ValueError when a class has no healthy flight, or ONNX
    and
    scikit-learn differ. feedback: verdicts on findings; thresholds and figures rest on the labelled flights alone."""
    seen_by = out_of_site(flights)
    threshold = choose_threshold(flights, scores_by(flights, seen_by))
    evaluation = cross_validate(flights)
    limits = widen(fit_limits(flights, threshold, CRITICAL * threshold), feedback)
    confirmed = [f for f in feedback if f.fault and f.aircraft in limits]
    forest = fit_kinds([*flights, *confirmed], [*seen_by, *[limits] * len(confirmed)])
    onnx = to_onnx(forest, len(NAMES) + RANKS)
    inputs = np.concatenate([kind_inputs(ratios(f.vectors[f.flying], limits[f.aircraft])) for f in flights])
    manifest = {
        "format": FORMAT,
        "model": MODEL,
        "version": VERSION,
        "trained_utc": now.isoformat(timespec="seconds"),
        "feature_version": FEATURE_VERSION,
        "features": list(NAMES),
        "hop_s": HOP_S,
        "classes": {aircraft: _class(nominal) for aircraft, nominal in limits.items()},
        "kinds": [str(k) for k in forest.classes_],
        "kind_sure": KIND_SURE,
        "calibration": calibrate(flights, scores_by(flights, seen_by)),
        "persistence": {"windows": RULE.windows, "of": RULE.of, "quiet_s": RULE.quiet_s},
        "parity": parity(forest, onnx, inputs),
        "data": data_card(flights) | {"feedback": dict(Counter(f.fault or "rejected" for f in feedback))},
        "metrics": evaluation.summary(),
        "libraries": library_versions(),
    }
    return pack(manifest, onnx, key), manifest, evaluation


def _class(nominal: Nominal) -> dict[str, Any]:
    return {
        "medians": nominal.medians.astype("<f4").tobytes(),
        "high": nominal.high.astype("<f4").tobytes(),
        "low": nominal.low.astype("<f4").tobytes(),
        "threshold": nominal.threshold,
        "critical": nominal.critical,
    }


def data_card(flights: Sequence[Flight]) -> dict[str, Any]:
    """What the model was trained and calibrated on."""
    return {
        "source": "labelled simulated flights of official ArduPilot 4.6.3 firmware",
        "flights": len(flights),
        "by_class": dict(Counter(f.aircraft for f in flights)),
        "by_airframe": dict(Counter(f.airframe for f in flights)),
        "faults": dict(Counter(f.fault for f in flights if f.fault)),
        "hard_negatives": dict(Counter(f.hard_negative for f in flights if f.hard_negative)),
        "healthy_hours": round(sum(int(f.healthy().sum()) for f in flights) / 3600, 2),
        "sites": sorted({f.site for f in flights}),
        "limits": "simulation is cleaner than flight; nominal ranges rest on few hours; no PX4, no real airframe",
    }


def describe(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest for people and JSON: without the arrays."""
    hidden = {"features", "classes", "onnx_sha256"}
    shown = {k: v for k, v in manifest.items() if k not in hidden}
    classes = {n: {k: c[k] for k in ("threshold", "critical")} for n, c in manifest["classes"].items()}
    return shown | {"features": len(manifest["features"]), "classes": classes}

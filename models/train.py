"""From a folder of labelled flights to a signed bundle, with the figures that say how good it is."""

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.alarms import Limits
from models.dataset import Flight
from models.evaluate import cross_validate, out_of_site, thresholds
from models.export import library_versions, pack, parity, to_onnx
from models.forest import RANKS, SAMPLES, TREES, fit
from shared.features import FEATURE_VERSION, HOP_S, NAMES, WINDOW_S
from shared.persistence import Rule
from shared.scoring import FORMAT, Nominal, deviations, tail

MODEL, VERSION = "edge", "1"
RULE = Rule()


def train(flights: Sequence[Flight], key: Ed25519PrivateKey, now: datetime.datetime) -> tuple[bytes, dict[str, Any]]:
    """(signed bundle, its manifest). ValueError when a class has no nominal flight, or ONNX and scikit-learn differ."""
    model = fit(flights)
    limits = thresholds(flights, out_of_site(flights), RULE)
    metrics = cross_validate(flights, RULE).summary()
    onnx = to_onnx(model.forest, RANKS)
    inputs = np.concatenate([tail(deviations(f.vectors, model.nominal[f.aircraft]), RANKS)[1] for f in flights])
    manifest = {
        "format": FORMAT,
        "model": MODEL,
        "version": VERSION,
        "trained_utc": now.isoformat(timespec="seconds"),
        "feature_version": FEATURE_VERSION,
        "features": list(NAMES),
        "window_s": WINDOW_S,
        "hop_s": HOP_S,
        "ranks": RANKS,
        "trees": TREES,
        "samples": SAMPLES,
        "classes": {a: _class(replace(n, **limits[a]._asdict())) for a, n in model.nominal.items()},
        "persistence": {"windows": RULE.windows, "of": RULE.of, "quiet_s": RULE.quiet_s},
        "parity": parity(model.forest, onnx, inputs),
        "data": data_card(flights),
        "metrics": metrics,
        "libraries": library_versions(),
    }
    return pack(manifest, onnx, key), manifest


def _class(nominal: Nominal) -> dict[str, Any]:
    return {
        "medians": nominal.medians.astype("<f4").tobytes(),
        "scales": nominal.scales.astype("<f4").tobytes(),
        "threshold": nominal.threshold,
        "critical": nominal.critical,
    }


def data_card(flights: Sequence[Flight]) -> dict[str, Any]:
    """What the model was trained and calibrated on."""
    nominal = [f for f in flights if not f.fault]
    return {
        "source": "labelled simulated flights of official ArduPilot 4.6.3 firmware",
        "flights": len(flights),
        "trained_on": dict(Counter(f.aircraft for f in nominal)),
        "trained_hours": round(sum(int(f.healthy().sum()) for f in nominal) / 3600, 2),
        "calibrated_hours": round(sum(int(f.healthy().sum()) for f in flights) / 3600, 2),
        "sites": sorted({f.site for f in flights}),
        "limits": "simulation is cleaner than flight; thresholds rest on few hours; no PX4, no real airframe",
    }


def describe(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest for people and JSON: without the arrays."""
    hidden = {"features", "classes", "onnx_sha256"}
    shown = {k: v for k, v in manifest.items() if k not in hidden}
    shown["features"] = len(manifest["features"])
    shown["classes"] = {
        name: Limits(round(body["threshold"], 4), round(body["critical"], 4))._asdict()
        for name, body in manifest["classes"].items()
    }
    return shown

"""From scores to calibrated probabilities, and how far those are from what happened."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from models.dataset import Flight

Scores = NDArray[np.float64]
KNOTS, BINS = 12, 10


def calibrate(flights: Sequence[Flight], scores: Sequence[Scores]) -> list[list[float]]:
    """[[score, probability of a fault], ...], both ascending: isotonic over out-of-site scores, every flight alike."""
    x, y, w = _seconds(flights, scores)
    curve = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(x, y, sample_weight=w)
    knots = np.quantile(x, np.linspace(0, 1, KNOTS))
    knots = np.unique(np.concatenate([knots, [0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0]]))
    return [[round(float(k), 4), round(float(p), 4)] for k, p in zip(knots, curve.predict(knots), strict=True)]


def reliability(flights: Sequence[Flight], probabilities: Sequence[Scores]) -> dict[str, Any]:
    """Expected calibration error, and per bin: mean probability, share that was a fault, weight."""
    p, y, w = _seconds(flights, probabilities)
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    rows = []
    for b in range(BINS):
        some = bins == b
        if some.any():
            said, was = (float(np.average(v[some], weights=w[some])) for v in (p, y))
            rows.append((said, was, float(w[some].sum() / w.sum())))
    return {
        "ece": round(sum(abs(said - was) * share for said, was, share in rows), 4),
        "bins": [{"said": round(a, 3), "was": round(b, 3), "share": round(c, 3)} for a, b, c in rows],
    }


def _seconds(flights: Sequence[Flight], values: Sequence[Scores]) -> tuple[Scores, Scores, Scores]:
    """(value, is a fault, weight) of all seconds in flight: a flight's healthy ones weigh 1 together, as its faulty
    ones."""
    x, y, w = [], [], []
    for flight, value in zip(flights, values, strict=True):
        for rows, is_fault in ((flight.healthy(), 0.0), (flight.faulty(), 1.0)):
            if rows.any():
                x.append(value[rows])
                y.append(np.full(int(rows.sum()), is_fault))
                w.append(np.full(int(rows.sum()), 1 / rows.sum()))
    return np.concatenate(x), np.concatenate(y), np.concatenate(w)

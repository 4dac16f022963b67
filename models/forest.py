"""The model itself: what is nominal per class, and the isolation forest over the largest deviations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from models.dataset import Flight
from shared.features import FEATURES, Feature, Vector
from shared.scoring import CAP, Nominal, deviations, tail

RANKS = 8
TREES = 60
SAMPLES = 256
SPREAD = 0.5
"""Made-up points beyond the nominal range, as a share of the real ones: see `_spread`."""
FLOOR_BY_UNIT = {
    "rad": 0.01, "rad/s": 0.01, "m/s2": 0.05, "m/s": 0.05, "m": 0.1, "V": 0.05, "us": 3.0, "%": 0.5, "share": 0.1,
}  # fmt: skip
"""Smallest scale of a feature by its unit: less than this is noise or resolution, whatever training saw."""
FLOOR_OTHER = 0.004
FLOOR_BY_SERIES = {
    "vibe": 1.0, "acc_x_rough": 0.3, "acc_y_rough": 0.3, "acc_z_rough": 0.3, "clips": 3.0, "mag": 0.005,
    "gps_fix": 0.3, "gps_satellites": 1.0, "gps_hdop": 0.2, "gps_speed": 0.1, "gps_height": 0.3, "position": 0.2,
    "volts": 0.005, "amps": 0.1, "battery": 1.0, "rotor_speed": 0.01, "rotors": 0.02, "ekf": 0.01, "thrust": 0.05,
    "height": 0.3, "xtrack": 0.3, "throttle": 2.0, "outputs": 5.0,
}  # fmt: skip
"""The same by the beginning of a series' name, where a real sensor or airframe varies by more than a simulated one."""
FLOOR_OF_WIDEST = 0.2
"""No class's scale is smaller than this part of the widest class's."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Nominal values per class (thresholds not yet known: 1) and the forest."""

    nominal: Mapping[str, Nominal]
    forest: IsolationForest

    def scores(self, flight: Flight) -> NDArray[np.float64]:
        """Anomaly scores [w] of a flight's windows; higher is worse."""
        if not len(flight.vectors):
            return np.zeros(0)
        nominal = self.nominal.get(flight.aircraft)
        if nominal is None:
            raise ValueError(f"{flight.name}: no nominal flight of a {flight.aircraft} at another site to train on")
        inputs = tail(deviations(flight.vectors, nominal), RANKS)[1]
        return -np.asarray(self.forest.score_samples(inputs), np.float64)


def fit(flights: Sequence[Flight], seed: int = 1) -> Model:
    """Train on the nominal flights among `flights` (hard negatives included); those with a fault are left out whole."""
    nominal_flights = [f for f in flights if not f.fault]
    by_class = {
        aircraft: np.concatenate([f.vectors[f.healthy()] for f in nominal_flights if f.aircraft == aircraft])
        for aircraft in sorted({f.aircraft for f in nominal_flights})
    }
    if not by_class:
        raise ValueError("there is no nominal flight to train on")
    nominal = fit_nominal(by_class)
    inputs = np.concatenate([tail(deviations(v, nominal[a]), RANKS)[1] for a, v in by_class.items()])
    inputs = np.concatenate([inputs, _spread(inputs, np.random.default_rng(seed))])
    forest = IsolationForest(n_estimators=TREES, max_samples=SAMPLES, random_state=seed, n_jobs=1)
    return Model(nominal, forest.fit(inputs))


def fit_nominal(by_class: Mapping[str, Vector]) -> dict[str, Nominal]:
    """Median and robust scale of every feature per class, from float32 [n, features] of nominal windows.

    The scale is the wider of the median absolute deviation and the span from the 1st to the 99th percentile, both as
    standard deviations of a normal distribution. A feature that a class never had says nothing (scale infinity).
    """
    found = {aircraft: _robust(vectors) for aircraft, vectors in by_class.items()}
    widest = np.fmax.reduce([scale for _, scale in found.values()])
    floor = np.array([_floor(f) for f in FEATURES])
    floor = np.maximum(floor, np.nan_to_num(widest) * FLOOR_OF_WIDEST)
    return {
        aircraft: Nominal(
            np.nan_to_num(median).astype(np.float32),
            np.where(np.isfinite(scale), np.maximum(scale, floor), np.inf).astype(np.float32),
            1.0,
            1.0,
        )
        for aircraft, (median, scale) in found.items()
    }


def _floor(feature: Feature) -> float:
    by_series = [floor for name, floor in FLOOR_BY_SERIES.items() if feature.series.startswith(name)]
    by_unit = FLOOR_BY_UNIT.get(feature.unit, FLOOR_OTHER)
    return max([by_unit, *by_series])


def _robust(vectors: Vector) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    seen = np.isfinite(vectors).any(axis=0)
    median, scale = (np.full(vectors.shape[1], np.nan) for _ in range(2))
    known = vectors[:, seen].astype(np.float64)
    median[seen] = np.nanmedian(known, axis=0)
    low, high = np.nanpercentile(known, [1, 99], axis=0)
    mad = np.nanmedian(np.abs(known - median[seen]), axis=0) * 1.4826
    scale[seen] = np.maximum(mad, (high - low) / 4.6527)
    return median, scale


def _spread(inputs: Vector, random: np.random.Generator) -> Vector:
    """Points beyond the nominal range. A tree only splits within what it was shown: without them a deviation of 40
    would be isolated no sooner than the largest nominal one."""
    base = inputs[random.integers(0, len(inputs), int(len(inputs) * SPREAD))]
    farther = random.exponential(0.7, (len(base), 1)) * (random.random(base.shape) < 0.5)
    descending: Vector = -np.sort(-np.minimum(base + farther, np.log(CAP)), axis=1)
    return descending.astype(np.float32)

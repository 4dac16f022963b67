"""Which fault it looks like: a forest over the ratios of the vectors of labelled faults."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from models.dataset import Flight
from shared.scoring import Nominal, kind_inputs, ratios, score_of

TREES, LEAVES, FEATURES_TRIED = 80, 160, 24
LEAST_SCORE = 0.4
"""Vectors of a fault that score less show nothing of it: they would teach the weather."""
_FIRST_US, _FIRST_WEIGHT = 10_000_000, 4.0
"""An episode's kind is named by its first seconds: those of a fault count as so many."""
Ranges = Mapping[str, Nominal]


def fit_kinds(flights: Sequence[Flight], ranges: Sequence[Ranges], seed: int = 0) -> ExtraTreesClassifier:
    """flights, and for each the nominal ranges that it is seen by (those of other sites: as an unknown site would be).

    Every flight counts alike, however long its fault lasted.
    """
    inputs, kinds, weights = [], [], []
    for flight, nominal in zip(flights, ranges, strict=True):
        shares = ratios(flight.vectors[flight.faulty()], nominal[flight.aircraft])
        tells = score_of(shares) >= LEAST_SCORE
        if tells.any() and flight.fault_us is not None:
            inputs.append(kind_inputs(shares[tells]))
            kinds += [flight.fault] * int(tells.sum())
            is_first = flight.end_us[flight.faulty()][tells] <= flight.fault_us[0] + _FIRST_US
            weight = np.where(is_first, _FIRST_WEIGHT, 1.0)
            weights.append(weight / np.sqrt(weight.sum()))
    forest = ExtraTreesClassifier(
        TREES, max_leaf_nodes=LEAVES, min_samples_leaf=2, max_features=FEATURES_TRIED, random_state=seed, n_jobs=2
    )
    return forest.fit(np.concatenate(inputs), kinds, sample_weight=np.concatenate(weights))


def kind_of(forest: ExtraTreesClassifier, shares: NDArray[np.float32]) -> tuple[str, float]:
    """(kind, probability) of an episode's vectors, as `Bundle.kind` names it but for novelty."""
    weights = score_of(shares)
    mean = (forest.predict_proba(kind_inputs(shares)) * weights[:, None]).sum(axis=0) / weights.sum()
    return str(forest.classes_[mean.argmax()]), float(mean.max())

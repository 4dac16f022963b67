"""Which fault it looks like: a forest over the ratios of the vectors of labelled faults."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from models.dataset import Flight
from shared.scoring import Nominal, kind_inputs, ratios, score_of

TREES, LEAVES, FEATURES_TRIED = 80, 160, 24
LEAST_SCORE = 0.5
"""Vectors of a fault that score less show nothing of it: they would teach the weather."""
Ranges = Mapping[str, Nominal]


def fit_kinds(flights: Sequence[Flight], ranges: Sequence[Ranges], seed: int = 0) -> ExtraTreesClassifier:
    """flights, and for each the nominal ranges that it is seen by (those of other sites: as an unknown site would be).

    Every flight counts alike, however long its fault lasted.
    """
    inputs, kinds, weights = [], [], []
    for flight, nominal in zip(flights, ranges, strict=True):
        shares = ratios(flight.vectors[flight.faulty()], nominal[flight.aircraft])
        shares = shares[score_of(shares) >= LEAST_SCORE]
        if len(shares):
            inputs.append(kind_inputs(shares))
            kinds += [flight.fault] * len(shares)
            weights += [len(shares) ** -0.5] * len(shares)
    forest = ExtraTreesClassifier(
        TREES, max_leaf_nodes=LEAVES, min_samples_leaf=2, max_features=FEATURES_TRIED, random_state=seed, n_jobs=2
    )
    return forest.fit(np.concatenate(inputs), kinds, sample_weight=np.array(weights))


def kind_of(forest: ExtraTreesClassifier, shares: NDArray[np.float32]) -> tuple[str, float]:
    """(kind, probability) of an episode's vectors, as `Bundle.kind` names it but for novelty."""
    weights = score_of(shares)
    mean = (forest.predict_proba(kind_inputs(shares)) * weights[:, None]).sum(axis=0) / weights.sum()
    return str(forest.classes_[mean.argmax()]), float(mean.max())

"""Features version 1 mean today what they meant when they were frozen. A change needs a new version, and a new file."""

from pathlib import Path

import numpy as np

from shared.features import FEATURE_VERSION, NAMES, window_features
from shared.timeline import physical

GOLDEN = Path(__file__).parent / "golden" / "features_v1.npz"
"""Stored channels of one window of a quadcopter whose motor stops in it, and its vector."""


def test_version_1_has_the_names_and_the_order_of_its_golden_file() -> None:
    with np.load(GOLDEN) as golden:
        assert FEATURE_VERSION == 1
        assert tuple(golden["names"].tolist()) == NAMES


def test_version_1_gives_the_golden_vector() -> None:
    with np.load(GOLDEN) as golden:
        stored = {name.removeprefix("channel."): golden[name] for name in golden.files if name.startswith("channel.")}
        np.testing.assert_allclose(window_features(physical(stored)), golden["vector"], rtol=1e-4, atol=1e-5)

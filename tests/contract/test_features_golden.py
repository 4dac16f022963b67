"""Features version 2 mean today what they meant when they were frozen. A change needs a new version, and a new file.

Version 1 is no longer computed (its bundle is gone, and nothing reads a vector of another version), so its file is too.
"""

from pathlib import Path

import numpy as np

from shared.features import FEATURE_VERSION, NAMES, flight_features

GOLDEN = Path(__file__).parent / "golden" / "features_v2.npz"
"""Channels of some seconds of a quadcopter whose motor stops in them, and its vectors."""


def test_version_2_has_the_names_and_the_order_of_its_golden_file() -> None:
    with np.load(GOLDEN) as golden:
        assert FEATURE_VERSION == 2
        assert tuple(golden["names"].tolist()) == NAMES


def test_version_2_gives_the_golden_vectors() -> None:
    with np.load(GOLDEN) as golden:
        channels = {n.removeprefix("channel."): golden[n] for n in golden.files if n.startswith("channel.")}
        ends, vectors, in_flight = flight_features(channels)
        np.testing.assert_array_equal(ends, golden["ends"])
        np.testing.assert_allclose(vectors, golden["vectors"], rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(in_flight, golden["in_flight"])

"""Whatever the channels hold, features and scores are numbers or nothing, never an error."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.channels import CHANNELS
from shared.features import FEATURES, WINDOW_TICKS, flight_features, flying_windows, window_features
from shared.scoring import Bundle
from shared.timeline import physical, timeline

Stored = dict[str, NDArray[np.integer]]


@st.composite
def stored_grids(draw: st.DrawFn, ticks: int = WINDOW_TICKS) -> Stored:
    """Some channels with any stored integers, the missing one and the extremes among them."""
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    chosen = draw(st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=len(CHANNELS), unique_by=lambda c: c.name))
    grid: Stored = {}
    for channel in chosen:
        limits = np.iinfo(channel.dtype)
        shape = (ticks,) if channel.size == 1 else (ticks, channel.size)
        values = random.integers(limits.min, limits.max, shape, channel.dtype, endpoint=True)
        spice = random.integers(0, 4, shape)
        values[spice == 0] = channel.missing
        values[spice == 1] = limits.max
        values[spice == 2] = 0
        grid[channel.name] = values
    return grid


@settings(max_examples=60)
@given(stored_grids())
def test_any_stored_window_gives_a_vector_that_can_be_scored(edge_bundle: Bundle, stored: Stored) -> None:
    vector = window_features(physical(stored))
    assert vector.shape == (len(FEATURES),)
    assert vector.dtype == np.float32
    for aircraft in edge_bundle.classes:
        nominal = edge_bundle.nominal(aircraft)
        assert nominal is not None
        assert 0 < edge_bundle.score(vector, nominal) < 1
        assert len(edge_bundle.evidence(vector, nominal)) <= 10


@settings(max_examples=40)
@given(
    stored_grids(),
    st.lists(st.integers(-(1 << 50), 1 << 50), min_size=WINDOW_TICKS, max_size=WINDOW_TICKS),
    st.integers(0, WINDOW_TICKS),
)
def test_ticks_of_any_order_become_an_ascending_time_line(stored: Stored, ticks: list[int], cut: int) -> None:
    at = np.array(ticks, np.int64)
    parts = [
        (at[:cut], {name: v[:cut] for name, v in stored.items()}),
        (at[cut:], {name: v[cut:] for name, v in stored.items()}),
    ]
    tick_us, channels = timeline(parts)
    assert (np.diff(tick_us) > 0).all()
    assert all(len(values) == len(tick_us) for values in channels.values())
    ends, vectors = flight_features(channels)
    assert len(ends) == len(vectors) == len(flying_windows(channels))

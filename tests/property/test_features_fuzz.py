"""Whatever the channels hold and however a flight is cut, features and scores are numbers or nothing, never an
error."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.channels import CHANNELS, SENSED
from shared.features import FEATURES, FeatureStream, flight_features
from shared.scoring import CAP, MAX_EVIDENCE, Bundle
from shared.timeline import physical, timeline

Stored = dict[str, NDArray[np.integer]]
Channels = dict[str, NDArray[np.floating]]
TICKS = 230


@st.composite
def stored_grids(draw: st.DrawFn, ticks: int = TICKS) -> Stored:
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


@st.composite
def hostile_channels(draw: st.DrawFn) -> Channels:
    """Stored channels and sensed quantities, among them infinities, zeros and what no aircraft has."""
    channels: Channels = dict(physical(draw(stored_grids())))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    for quantity in draw(st.lists(st.sampled_from(SENSED), unique_by=lambda s: s.name)):
        values = random.uniform(quantity.low, quantity.high, TICKS)
        spice = random.integers(0, 8, TICKS)
        for i, odd in enumerate((np.nan, np.inf, -np.inf, 0.0, 1e30, -1e30)):
            values[spice == i] = odd
        channels[quantity.name] = values
    return channels


@settings(max_examples=60)
@given(hostile_channels())
def test_any_channels_give_vectors_that_can_be_scored(edge_bundle: Bundle, channels: Channels) -> None:
    _, vectors, _ = flight_features(channels)
    assert vectors.shape == (TICKS // 10, len(FEATURES))
    assert vectors.dtype == np.float32
    assert not np.isinf(vectors).any()
    for nominal in edge_bundle.classes.values():
        scores = edge_bundle.scores(vectors, nominal)
        assert np.isfinite(scores).all()
        assert ((scores >= 0) & (scores <= CAP)).all()
        assert len(edge_bundle.evidence(vectors[-1], nominal)) <= MAX_EVIDENCE
        assert edge_bundle.kind(vectors[-5:], nominal)[0] in {*edge_bundle.kinds, "novelty"}


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 120), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 330), st.integers(1, 60)), max_size=4),
    st.sampled_from(["gusty", "failing"]),
)
def test_a_flight_gives_the_same_however_it_is_cut_and_whatever_is_missing(
    gusty_channels: Channels, failing_channels: Channels, lengths: list[int], holes: list[tuple[int, int]], which: str
) -> None:
    flight = gusty_channels if which == "gusty" else failing_channels
    channels = {name: np.array(values, np.float64) for name, values in flight.items()}
    for at, length in holes:
        for values in channels.values():
            values[at : at + length] = np.nan
    n = len(channels["armed"])
    ends, vectors, in_flight = flight_features(channels)
    stream, begin, found = FeatureStream(), 0, []
    for length in (*lengths, n):
        piece = stream.push({name: values[begin : begin + length] for name, values in channels.items()})
        found.append((piece[0] + begin, piece[1], piece[2]))
        begin = min(begin + length, n)
    np.testing.assert_array_equal(np.concatenate([f[0] for f in found]), ends)
    np.testing.assert_allclose(np.concatenate([f[1] for f in found]), vectors, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(np.concatenate([f[2] for f in found]), in_flight)


@settings(max_examples=40)
@given(stored_grids(80), st.lists(st.integers(-(1 << 50), 1 << 50), min_size=80, max_size=80), st.integers(0, 80))
def test_ticks_of_any_order_become_an_ascending_time_line(stored: Stored, ticks: list[int], cut: int) -> None:
    at = np.array(ticks, np.int64)
    sensed = {"baro_pa": np.linspace(9e4, 1e5, 80)}
    parts = [
        (at[:cut], {name: v[:cut] for name, v in stored.items()}, {}),
        (at[cut:], {name: v[cut:] for name, v in stored.items()}, {n: v[cut:] for n, v in sensed.items()}),
    ]
    tick_us, channels = timeline(parts)
    assert (np.diff(tick_us) > 0).all()
    assert all(len(values) == len(tick_us) for values in channels.values())
    ends, vectors, in_flight = flight_features(channels)
    assert len(ends) == len(vectors) == len(in_flight)

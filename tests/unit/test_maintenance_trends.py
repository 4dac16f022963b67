"""Trends on synthetic series: a known change is found where it is, and noise is left alone at the stated rate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.worker.trends import FALSE_ALARM, LEAST_FLIGHTS, clipped, limit, split_statistic, step, trend


def hours(n: int) -> np.ndarray:
    return np.arange(1, n + 1) * 0.4


def noise(seed: int, n: int, scale: float = 0.08) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, n)


@pytest.mark.parametrize("at", [8, 15, 24, 27])
def test_a_step_is_found_where_it_is(at: int) -> None:
    x = 10 * np.exp(noise(at, 30))
    x[at:] *= 1.8
    seen = trend(hours(30), x)
    assert seen is not None and seen.changed_at == at
    assert seen.before == pytest.approx(10, rel=0.1) and seen.after == pytest.approx(18, rel=0.1)
    assert seen.rate_per_10h is None


def test_the_newest_of_two_steps_is_reported() -> None:
    x = np.concatenate([np.full(12, 5.0), np.full(12, 9.0), np.full(12, 6.0)]) * np.exp(noise(1, 36, 0.05))
    seen = trend(hours(36), x)
    assert seen is not None and seen.changed_at == 24
    assert seen.before == pytest.approx(9, rel=0.1) and seen.after == pytest.approx(6, rel=0.1)


def test_a_slow_growth_is_a_rate_and_no_step() -> None:
    x = 10 * np.exp(0.03 * hours(60) + noise(2, 60, 0.05))  # 3 % an hour
    seen = trend(hours(60), x)
    assert seen is not None and seen.changed_at is None and seen.rate_per_10h is not None
    assert seen.rate_per_10h / seen.baseline == pytest.approx(0.3, rel=0.15)


def test_a_lone_outlier_is_no_change() -> None:
    x = 10 * np.exp(noise(3, 40, 0.05))
    x[30] *= 6
    seen = trend(hours(40), x)
    assert seen is not None and seen.changed_at is None and seen.rate_per_10h is None


def test_a_certain_but_tiny_change_is_not_worth_a_word() -> None:
    x = np.concatenate([np.full(20, 10.0), np.full(20, 10.5)]) * np.exp(noise(4, 40, 0.001))
    seen = trend(hours(40), x)
    assert seen is not None and seen.changed_at is None and seen.rate_per_10h is None


def test_a_constant_series_is_steady() -> None:
    seen = trend(hours(20), np.full(20, 3.0))
    assert seen is not None and seen.changed_at is None and seen.rate_per_10h is None and seen.spread == 0


def test_few_flights_say_nothing() -> None:
    assert trend(hours(LEAST_FLIGHTS - 1), np.full(LEAST_FLIGHTS - 1, 1.0)) is None


def test_flights_that_do_not_tell_are_left_out_of_count_but_not_of_place() -> None:
    x = 10 * np.exp(noise(5, 40, 0.05))
    x[25:] *= 2
    x[::4] = np.nan
    seen = trend(hours(40), x)
    assert seen is not None and seen.flights == 30 and seen.changed_at == 25


@pytest.mark.parametrize("n", [8, 20, 60, 120])
def test_steady_noise_exceeds_the_limit_no_oftener_than_stated(n: int) -> None:
    x = clipped(np.random.default_rng(n).standard_normal((20_000, n)))
    share = float((split_statistic(x).max(axis=1) > limit(n)).mean())
    assert share < 2 * FALSE_ALARM  # of 20 expected, 40 or more are a chance of 1 in 20,000


def test_noise_with_heavy_tails_seldom_looks_like_a_change() -> None:
    x = clipped(np.random.default_rng(7).standard_t(4, (20_000, 40)))
    assert float((split_statistic(x).max(axis=1) > limit(40)).mean()) < 4 * FALSE_ALARM


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 60), st.floats(0.4, 0.6), st.floats(0.02, 0.1))
def test_a_doubling_is_found_within_a_flight_of_its_place(seed: int, n: int, share: float, scale: float) -> None:
    at = round(n * share)
    x = noise(seed, n, scale)
    x[at:] += np.log(2)
    found = step(clipped(x[None])[0])
    assert found is not None and abs(found - at) <= 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=150))
def test_whatever_flights_tell_the_trend_is_finite_or_none(values: list[float]) -> None:
    seen = trend(hours(len(values)), np.array(values, float))
    if seen is not None:
        assert np.isfinite([seen.baseline, seen.spread, seen.latest]).all()
        assert seen.changed_at is None or 0 < seen.changed_at < len(values)


def test_only_the_unit_of_a_series_changes_with_its_unit() -> None:
    x = 10 * np.exp(noise(9, 30))
    x[20:] *= 1.5
    one, other = trend(hours(30), x), trend(hours(30), 1000 * x)
    assert one is not None and other is not None and one.changed_at == other.changed_at == 20
    assert other.after == pytest.approx(1000 * (one.after or 0))

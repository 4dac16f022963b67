"""When scores become a finding."""

import numpy as np
import pytest

from shared.persistence import Persistence, Rule, persistent

RULE = Rule(windows=3, of=5, quiet_s=30)
S = 1_000_000


def raised(scores: list[float | None], rule: Rule = RULE) -> list[int]:
    """Seconds at which an episode is raised; threshold 0.5, critical 0.8."""
    watch = Persistence(0.5, 0.8, rule)
    return [i for i, score in enumerate(scores) if watch.update(i * S, score) is not None]


def test_one_or_two_windows_above_the_threshold_raise_nothing() -> None:
    assert raised([0.1, 0.6, 0.1, 0.6, 0.1, 0.1, 0.6, 0.1]) == []


def test_the_third_of_five_windows_raises() -> None:
    assert raised([0.6, 0.1, 0.6, 0.1, 0.6]) == [4]


def test_one_window_above_the_critical_limit_raises_at_once() -> None:
    assert raised([0.1, 0.9, 0.1]) == [1]


def test_an_episode_that_lasts_is_raised_again_only_after_the_quiet_time() -> None:
    assert raised([0.6] * 70) == [2, 33, 64]


def test_windows_on_the_ground_neither_count_nor_raise() -> None:
    assert raised([0.6, None, 0.6, None, None, None, 0.6, 0.6]) == []
    assert raised([0.6, 0.6, None, 0.6]) == [3]


def test_an_episode_names_its_worst_window() -> None:
    watch = Persistence(0.5, 0.95, RULE)
    watch.update(1 * S, 0.6)
    watch.update(2 * S, 0.9)
    episode = watch.update(3 * S, 0.7)
    assert episode is not None
    assert (episode.first_us, episode.last_us, episode.peak_us, episode.score) == (1 * S, 3 * S, 2 * S, 0.9)


def test_a_clock_that_runs_back_does_not_silence_findings() -> None:
    watch = Persistence(0.5, 0.8, RULE)
    assert watch.update(1000 * S, 0.9) is not None
    assert watch.update(5 * S, 0.9) is not None


@pytest.mark.parametrize("seed", range(5))
def test_the_persistent_level_is_exactly_the_threshold_that_would_raise(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, flying = random.random(80), random.random(80) < 0.8
    level = float(persistent(scores, flying, RULE).max())
    for threshold, expected in ((level - 1e-9, True), (level, False)):
        watch = Persistence(threshold, 2.0, RULE)
        found = [watch.update(i * S, s if f else None) for i, (s, f) in enumerate(zip(scores, flying, strict=True))]
        assert any(found) == expected

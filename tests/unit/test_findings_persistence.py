"""When scores become an episode, and when it ends."""

import itertools

import numpy as np
import pytest

from shared.persistence import Episode, Persistence, Rule, episodes

RULE = Rule(windows=2, of=3, quiet_s=20)
S = 1_000_000
CALM, HIGH, FAR = 0.1, 0.6, 0.9


def watch(scores: list[float | None], rule: Rule = RULE) -> list[tuple[int, Episode]]:
    """(second, episode that begins or ends then); threshold 0.5, critical 0.8."""
    watching = Persistence(0.5, 0.8, rule)
    found = [(i, watching.update(i * S, score)) for i, score in enumerate(scores)]
    found.append((len(scores), watching.finish()))
    return [(i, e) for i, e in found if e is not None]


def begins(scores: list[float | None]) -> list[int]:
    return [i for i, e in watch(scores) if e.is_open]


def test_one_score_above_the_threshold_begins_nothing() -> None:
    assert watch([CALM, HIGH, CALM, CALM, HIGH, CALM]) == []


def test_the_second_of_three_scores_begins_an_episode() -> None:
    assert begins([HIGH, CALM, HIGH]) == [2]
    assert begins([CALM, HIGH, HIGH]) == [2]
    assert begins([HIGH, CALM, CALM, HIGH]) == []


def test_one_score_above_the_critical_limit_begins_one_at_once() -> None:
    assert begins([CALM, FAR, CALM]) == [1]


def test_a_calm_score_never_begins_one() -> None:
    assert begins([HIGH, CALM, CALM]) == []


def test_an_episode_that_lasts_is_one_with_begin_end_and_peak() -> None:
    found = watch([CALM, HIGH, HIGH, FAR, HIGH, *[CALM] * 10, HIGH, *[CALM] * 30])
    assert [e.is_open for _, e in found] == [True, False]
    at, ended = found[1]
    assert (ended.first_us, ended.last_us, ended.peak_us, ended.score) == (1 * S, 15 * S, 3 * S, FAR)
    assert at == 15 + RULE.quiet_s + 1


def test_what_comes_after_the_quiet_time_is_another() -> None:
    assert begins([HIGH, HIGH, *[CALM] * 30, HIGH, HIGH]) == [1, 33]


def test_the_end_of_a_flight_ends_what_is_open_and_forgets_what_came_before() -> None:
    watching = Persistence(0.5, 0.8, RULE)
    assert watching.finish() is None
    watching.update(0, HIGH)
    watching.update(S, HIGH)
    assert watching.is_open
    ended = watching.finish()
    assert ended is not None
    assert not ended.is_open
    assert not watching.is_open
    assert watching.update(2 * S, HIGH) is None


def test_time_on_the_ground_counts_as_calm_and_lets_an_episode_end() -> None:
    assert begins([HIGH, None, None, HIGH]) == []
    assert begins([HIGH, None, HIGH]) == [2]
    assert [e.is_open for _, e in watch([HIGH, HIGH, *[None] * 30])] == [True, False]


def test_a_clock_that_runs_back_ends_an_episode_and_does_not_silence_the_next() -> None:
    watching = Persistence(0.5, 0.8, RULE)
    assert watching.update(1000 * S, FAR) is not None
    ended = watching.update(5 * S, CALM)
    assert ended is not None
    assert not ended.is_open
    begun = watching.update(6 * S, FAR)
    assert begun is not None
    assert begun.is_open


@pytest.mark.parametrize("seed", range(5))
def test_a_whole_flights_episodes_are_those_that_were_followed_and_do_not_overlap(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, flying = random.random(400) ** 3, random.random(400) < 0.8
    at_us = np.arange(400, dtype=np.int64) * S
    found = episodes(at_us, scores, flying, 0.5, 0.8, RULE)
    given = [float(s) if f else None for s, f in zip(scores, flying, strict=True)]
    assert found == [e for _, e in watch(given) if not e.is_open]
    assert all(a.last_us < b.first_us for a, b in itertools.pairwise(found))
    assert all(e.first_us <= e.peak_us <= e.last_us and e.score > 0.5 for e in found)


def test_a_higher_threshold_never_finds_more_that_is_abnormal() -> None:
    scores = np.random.default_rng(3).random(300) ** 4
    at_us, flying = np.arange(300, dtype=np.int64) * S, np.ones(300, bool)
    spans = [
        sum(e.last_us - e.first_us for e in episodes(at_us, scores, flying, t, 2 * t, RULE)) for t in (0.3, 0.5, 0.7)
    ]
    assert spans == sorted(spans, reverse=True)

"""The time model of recorded logs: GPS time to UTC, and which of a log's moments to believe."""

from datetime import UTC, datetime

import numpy as np
import pytest

from firmware_bridge.log_clock import EARLIEST_US, LogClock, full_weeks, gps_to_utc_us, latest_us
from shared.clock import ClockSource

NOW_US = 1_790_000_000_000_000  # 2026-09
UTC_US = 1_700_000_000_000_000
S = 1_000_000


def _us(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp()) * S  # type: ignore[misc, arg-type]


def _utc(week: int, ms: int) -> int:
    return int(gps_to_utc_us(np.array([week]), np.array([ms]))[0])


def _clock(offsets_s: list[float], step_s: float = 1.0, start_s: float = 100.0) -> LogClock:
    times = np.array([round((start_s + i * step_s) * S) for i in range(len(offsets_s))], np.int64)
    clock = LogClock(latest_us(NOW_US))
    clock.add(times, times + np.array([round(o * S) for o in offsets_s], np.int64))
    return clock


@pytest.mark.parametrize(
    ("week", "ms", "utc"),
    [
        (0, 0, (1980, 1, 6, 0, 0, 0)),
        (1566, 0, (2010, 1, 9, 23, 59, 45)),  # 15 leap seconds
        (1774, 109_206_800 // 1000 * 1000, (2014, 1, 6, 6, 19, 50)),  # 16
        (1929, 0, (2016, 12, 24, 23, 59, 43)),  # 17
        (1930, 18_000, (2017, 1, 1, 0, 0, 0)),
        (2383, 404_926_000, (2025, 9, 11, 16, 28, 28)),  # 18
    ],
)
def test_gps_time_becomes_utc_with_the_leap_seconds_of_its_day(week: int, ms: int, utc: tuple[int, ...]) -> None:
    assert _utc(week, ms) == _us(*utc)


def test_the_second_before_a_leap_second_still_has_the_old_offset() -> None:
    before, after = _utc(1930, 16_999), _utc(1930, 18_000)
    assert before == _us(2016, 12, 31, 23, 59, 59) + 999_000
    assert after == _us(2017, 1, 1, 0, 0, 0)


def test_a_week_counted_modulo_1024_is_the_only_one_that_logs_can_be_from() -> None:
    assert full_weeks(np.array([2300 % 1024, 1800 % 1024, 2300 - 1024])).tolist() == [2300, 1800, 2300]


def test_a_full_week_and_no_week_stay_as_they_are() -> None:
    assert full_weeks(np.array([2300, 1800, 0])).tolist() == [2300, 1800, 0]


def test_the_offset_is_the_median_and_the_spread_its_uncertainty() -> None:
    mapping = _clock([UTC_US / S + d for d in (0.0, 0.1, 0.1, 0.1, 0.2)]).mapping()
    assert mapping.source == ClockSource.gps
    assert mapping.offset_us() == pytest.approx(UTC_US + 100_000, abs=1)
    assert 50_000 <= mapping.uncertainty_us <= 100_000


def test_moments_far_from_the_others_do_not_count() -> None:
    mapping = _clock([UTC_US / S] * 10 + [UTC_US / S + 86_400, UTC_US / S - 7200]).mapping()
    assert mapping.offset_us() == UTC_US
    assert mapping.uncertainty_us <= 1_000


def test_a_clock_that_was_set_in_between_counts_as_it_was_for_most_of_the_time() -> None:
    mapping = _clock([UTC_US / S - 5000] * 10 + [UTC_US / S] * 30).mapping()
    assert mapping.offset_us() == UTC_US


def test_a_clock_that_jumps_all_the_time_is_unknown() -> None:
    assert _clock([UTC_US / S + i * 1000 for i in range(20)]).mapping().source == ClockSource.unknown


def test_a_clock_of_another_pace_is_known_to_within_its_drift() -> None:
    mapping = _clock([UTC_US / S + i * 0.05 for i in range(200)]).mapping()
    assert mapping.source == ClockSource.gps
    assert 4 * S <= mapping.uncertainty_us <= 6 * S


@pytest.mark.parametrize("utc_s", [0, 315_964_800, 1_199_145_600, 1_900_000_000])
def test_1970_1980_2008_and_the_future_are_unknown(utc_s: int) -> None:
    assert _clock([float(utc_s)] * 20).mapping().source == ClockSource.unknown


def test_without_moments_nothing_is_known() -> None:
    assert LogClock(latest_us(NOW_US)).mapping().source == ClockSource.unknown


def test_the_future_is_not_judged_by_a_computer_whose_own_clock_is_not_set() -> None:
    assert latest_us(0) > _us(2099, 1, 1)
    assert latest_us(NOW_US) < NOW_US + 3 * 86_400 * S


def test_stamps_that_nothing_contradicts_stand() -> None:
    mapping = LogClock(latest_us(NOW_US)).stamped(UTC_US, UTC_US + 60 * S)
    assert (mapping.source, mapping.offset_us(), mapping.uncertainty_us) == (ClockSource.log, 0, 0)


def test_stamps_that_gps_time_confirms_stand_and_tell_how_well() -> None:
    clock = LogClock(latest_us(NOW_US))
    stamps = UTC_US + np.arange(10) * S
    clock.add(stamps, stamps - 300_000)
    mapping = clock.stamped(UTC_US, UTC_US + 10 * S)
    assert (mapping.source, mapping.offset_us(), mapping.uncertainty_us) == (ClockSource.log, 0, 300_000)


def test_stamps_of_a_computer_without_a_clock_are_corrected_by_gps_time() -> None:
    clock = LogClock(latest_us(NOW_US))
    stamps = EARLIEST_US - 10 * 86_400 * S + np.arange(10) * S
    clock.add(stamps, UTC_US + np.arange(10) * S)
    mapping = clock.stamped(int(stamps[0]), int(stamps[-1]))
    assert mapping.source == ClockSource.gps
    assert mapping.to_utc(int(stamps[0])) == UTC_US


def test_stamps_of_a_wrong_clock_are_corrected_by_gps_time() -> None:
    clock = LogClock(latest_us(NOW_US))
    stamps = UTC_US + np.arange(10) * S
    clock.add(stamps, stamps + 268_492 * S)
    assert clock.stamped(UTC_US, UTC_US + 10 * S).offset_us() == 268_492 * S


def test_implausible_stamps_without_gps_time_are_unknown() -> None:
    clock = LogClock(latest_us(NOW_US))
    assert clock.stamped(5 * S, 60 * S).source == ClockSource.unknown
    assert clock.stamped(NOW_US + 400 * 86_400 * S, NOW_US + 401 * 86_400 * S).source == ClockSource.unknown


def test_a_million_moments_are_thinned_and_still_known() -> None:
    clock = LogClock(latest_us(NOW_US))
    for first in range(0, 100_000, 5_000):
        times = (first + np.arange(5_000)) * 100_000
        clock.add(times, times + UTC_US)
    assert clock.mapping().offset_us() == UTC_US
    assert clock._count < 20_000

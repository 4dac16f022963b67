"""How recorder time maps to UTC."""

from agent.clock_model import WINDOW, ClockModel
from shared.clock import ClockSource

SECOND = 1_000_000
UTC = 1_790_000_000 * SECOND
TEN_YEARS = 10 * 365 * 86_400 * SECOND


def test_nothing_is_known_before_anything_was_seen() -> None:
    assert ClockModel().mappings() == ()


def test_gps_is_better_than_a_disciplined_system_clock_and_both_are_sent_best_last() -> None:
    clock = ClockModel()
    clock.observe_system(0, UTC, True, 500)
    clock.observe_gps(2 * SECOND, UTC + 2 * SECOND)
    assert [m.source for m in clock.mappings()] == [ClockSource.system, ClockSource.gps]


def test_an_undisciplined_or_unset_system_clock_is_unknown() -> None:
    clock = ClockModel()
    for utc, good in ((UTC, False), (5 * SECOND, True), (UTC + 10 * TEN_YEARS, True)):
        clock.observe_system(0, utc, good, 0)
        assert clock.source() == ClockSource.unknown


def test_the_sample_with_the_least_delay_gives_the_mapping_and_the_spread_its_uncertainty() -> None:
    clock = ClockModel()
    for i, delay in enumerate((40_000, 5_000, 90_000)):
        clock.observe_gps(i * SECOND + delay, UTC + i * SECOND)
    (mapping,) = clock.mappings()
    assert mapping.to_utc(10 * SECOND) == UTC + 10 * SECOND - 5_000
    assert mapping.uncertainty_us == 85_000


def test_one_wild_sample_changes_nothing_and_a_step_that_lasts_is_followed() -> None:
    clock = ClockModel()
    for i in range(5):
        clock.observe_gps(i * SECOND, UTC + i * SECOND)
    clock.observe_gps(5 * SECOND, UTC + TEN_YEARS)
    assert clock.mappings()[-1].to_utc(0) == UTC
    for i in range(6, 9):
        clock.observe_gps(i * SECOND, UTC + i * SECOND - TEN_YEARS // 10)
    assert clock.mappings()[-1].to_utc(0) == UTC - TEN_YEARS // 10


def test_gps_time_before_a_fix_is_ignored() -> None:
    clock = ClockModel()
    for utc in (0, 315_964_800 * SECOND):
        clock.observe_gps(0, utc)
    assert clock.mappings() == ()


def test_old_samples_leave_the_window_so_that_drift_is_followed() -> None:
    clock = ClockModel()
    for i in range(3 * WINDOW):
        clock.observe_gps(i * SECOND, UTC + i * SECOND - 100 * i)
    assert clock.mappings()[-1].uncertainty_us <= 100 * WINDOW


def test_a_log_has_its_own_stamps_and_nothing_else_counts() -> None:
    clock = ClockModel(log=True)
    clock.observe_gps(0, UTC)
    (mapping,) = clock.mappings()
    assert (mapping.source, mapping.to_utc(UTC)) == (ClockSource.log, UTC)

"""Every recording in the shared data is read as pymavlink and pyulog read it: counts, values, sessions, modes."""

from pathlib import Path

import pytest

from shared.clock import ClockSource
from tests.bench.reading_table import Comparison, compare
from tests.fix_field_tools import FLIGHTS, real_logs

pytestmark = pytest.mark.slow
_LOGS = [*real_logs(), *sorted(FLIGHTS.glob("tlog/f0010_*"))]
_LEAP_S = 3.0
"""pymavlink takes 18 leap seconds off for all years."""
_STALE_FIRST_FIX = "the first GPS message repeats an old fix; pymavlink dates the log by it, we by the median of all"
_RECORDER_CLOCK = "the recorder's clock was wrong; we take GPS time by SYSTEM_TIME, pymavlink the stamps"
_SLOW_CLOCK = "the board's clock runs 6 % slow; pymavlink takes the first fix, we the median"


@pytest.fixture(scope="module", params=_LOGS or [None], ids=lambda p: p.name if p else "none")
def both(request: pytest.FixtureRequest) -> Comparison:
    """A recording as we and as the field's tool read it."""
    if request.param is None:
        pytest.skip("../shared/data is not here")
    return compare(request.param)


def test_messages_are_counted_as_the_fields_tools_count_them(both: Comparison) -> None:
    assert both.counts == []


def test_fields_have_the_values_that_the_fields_tools_read(both: Comparison) -> None:
    assert both.values == []


def test_armed_spans_are_those_of_the_fields_tools(both: Comparison) -> None:
    assert both.sessions == []


def test_flights_enter_the_modes_that_the_fields_tools_see(both: Comparison) -> None:
    assert both.modes == []


def test_the_log_begins_when_the_fields_tools_say_but_where_they_are_wrong(both: Comparison) -> None:
    why_not = {
        "mechanical-failure": _STALE_FIRST_FIX, "gps-loss": _SLOW_CLOCK, "terrainfs": _RECORDER_CLOCK,
        "qloiter": _RECORDER_CLOCK,
    }  # fmt: skip
    if both.first_differs_s is None:
        pytest.skip("one of us knows no wall clock")
    if any(word in both.source.name for word in why_not):
        boot = both.found.boots[0]
        assert boot.clock.source == ClockSource.gps
        return
    assert abs(both.first_differs_s) < _LEAP_S


def test_there_are_recordings_to_compare() -> None:
    if not Path(FLIGHTS).is_dir():
        pytest.skip("../shared/data is not here")
    assert len(_LOGS) >= 20

"""Physical values and buckets of telemetry columns."""

import numpy as np
import pytest

from hub.export.series import Series, buckets, columns, decimals, physical
from shared.channels import BY_NAME, CHANNELS


def series_of(**stored: list) -> Series:
    n = len(next(iter(stored.values())))
    arrays = {k: np.array(v, BY_NAME[k].dtype) for k, v in stored.items()}
    return Series(np.arange(n, dtype=np.int64) * 100_000 + 1_700_000_000_000_000, arrays)


def test_a_missing_sample_becomes_nan_and_a_present_zero_stays_zero() -> None:
    channel = BY_NAME["battery_v"]
    values = physical(channel, np.array([channel.missing, 0, 1234], np.int16))
    assert np.isnan(values[0]) and values[1] == 0 and values[2] == 12.34


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda c: c.name)
def test_every_channels_decimals_hold_its_scale_exactly(channel) -> None:
    assert round(channel.scale, decimals(channel)) == channel.scale


def test_array_channels_become_numbered_columns() -> None:
    rows = [[1000 + i for i in range(16)], [BY_NAME["motor_output_us"].missing] * 16]
    cols = columns(series_of(motor_output_us=rows))
    assert [c.name for c in cols][:2] == ["motor_output_us[0]", "motor_output_us[1]"] and len(cols) == 16
    assert cols[3].values[0] == 1003 and np.isnan(cols[3].values[1])


def test_buckets_hold_the_extremes_and_the_mean_of_what_is_present() -> None:
    missing = BY_NAME["battery_v"].missing
    b = buckets(series_of(battery_v=[100, 300, missing, 200, missing, missing]), 3)
    assert b.bucket_us == 166_667 and len(b.time_utc_us) == 3
    assert b.low[0][:2].tolist() == [1, 2] and b.high[0][:2].tolist() == [3, 2] and b.mean[0][:2].tolist() == [2, 2]
    assert np.isnan([b.low[0][2], b.high[0][2], b.mean[0][2]]).all()


@pytest.mark.parametrize("points", [1, 2, 7, 1000])
def test_there_are_never_more_buckets_than_asked_for(points: int) -> None:
    b = buckets(series_of(battery_v=list(range(100))), points)
    assert 1 <= len(b.time_utc_us) <= points and b.high[0].max() == 0.99 and b.low[0].min() == 0


def test_a_series_without_samples_gives_no_buckets() -> None:
    b = buckets(Series(np.zeros(0, np.int64), {"battery_v": np.zeros(0, np.int16)}), 10)
    assert len(b.time_utc_us) == 0 and b.names == ["battery_v"]

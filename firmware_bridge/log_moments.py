"""Moments that a DataFlash or ULog tells on its own clock and in UTC."""

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.log_clock import full_weeks, gps_to_utc_us
from firmware_bridge.log_rows import History, SourceRows, Times
from firmware_bridge.log_sources import TableSource
from firmware_bridge.log_tables import LogFormat

Moments = tuple[Times, Times]
"""(time_us, utc_us), int64 [n] both."""
_NONE: Moments = (np.zeros(0, np.int64), np.zeros(0, np.int64))
_LEAST_FIX = 2
_RECEIVERS = {
    "dataflash": ("GPS", "GPS2"),
    "dataflash-text": ("GPS", "GPS2"),
    "ulog": ("vehicle_gps_position", "sensor_gps"),
}


def gps_moments(log_format: LogFormat, history: History) -> Moments:
    """By the first receiver of a portion that has a fix; a receiver without one may say anything."""
    for table in _RECEIVERS[log_format]:
        for instance in history.names.get(table, ()):
            for rows in history.rows(TableSource(table, (), instance)):
                found = _utc(rows) if log_format == "ulog" else _weeks(rows)
                if len(found[0]):
                    return found
    return _NONE


def computer_moments(history: History) -> Moments:
    """By the autopilot's own clock (ArduPilot 4.6: PM.R, set by GPS, a ground station or a battery-backed chip)."""
    for rows in history.rows(TableSource("PM", (), needs=("R",))):
        return rows.time_us, _whole(rows.value("R"))
    return _NONE


def is_week_clock(history: History) -> bool:
    """Whether the log's own clock is the receiver's time of the week: old text logs tell no time since boot."""
    return any(
        bool((rows.value("GMS", "TimeMS", "Time") * 1000 == rows.time_us).all())
        for rows in history.rows(TableSource("GPS", ()))
    )


def _utc(rows: SourceRows) -> Moments:
    good = rows.value("fix_type") >= _LEAST_FIX
    return rows.time_us[good], _whole(rows.value("time_utc_usec")[good])


def _weeks(rows: SourceRows) -> Moments:
    if rows.has("GPSTime"):  # PX4's own logs of old: us of UTC
        good = rows.value("Fix") >= _LEAST_FIX
        return rows.time_us[good], _whole(rows.value("GPSTime")[good])
    week, ms = rows.value("GWk", "Week"), rows.value("GMS", "TimeMS")
    good = (rows.value("Status") >= _LEAST_FIX) & (week > 0) & (ms >= 0)
    return rows.time_us[good], gps_to_utc_us(full_weeks(_whole(week[good])), _whole(ms[good]))


def _whole(values: NDArray[np.float64]) -> Times:
    return np.nan_to_num(np.clip(values, 0, 4e18)).astype(np.int64)

"""What the analysis reads beside the channels (`shared.channels.SENSED`), from the tables of DataFlash and ULog files.

The counterpart of `sensed.py`, which reads MAVLink: same quantities, same ticks, same rule (the newest value, held for
HOLD_S). Of each source only the newest message of a tick is kept, so memory follows the flight's length.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.grid import TICK_US
from firmware_bridge.log_rows import History, SourceRows, Times
from firmware_bridge.log_sources import Field, Floats, Rows, TableSource, Worked
from firmware_bridge.sensed import HOLD_S, RANGE

_HOLD_US = int(HOLD_S * 1e6)
_DEG = float(np.pi / 180)
_INTEGERS = "iu"


def _xyz(pattern: str, names: str, factor: float = 1.0) -> tuple[Field, ...]:
    return tuple(Field(pattern.replace("?", a), (names.replace("?", a.upper()),), factor) for a in "xyz")


def _vector(pattern: str, name: str, factor: float = 1.0) -> Worked:
    targets = tuple((pattern.replace("?", a), 0) for a in "xyz")
    return Worked(targets, name, lambda r: r.vector(name, 3) * factor)


def _fix_degrees(lat: str, lon: str, factor: float) -> Worked:
    """A receiver's position; 0, 0 is none."""

    def compute(r: Rows) -> Sequence[Floats]:
        at = r.value(lat) * factor, r.value(lon) * factor
        is_none = (at[0] == 0) & (at[1] == 0)
        return tuple(np.where(is_none, np.nan, v) for v in at)

    return Worked((("gps_lat_deg", 0), ("gps_lon_deg", 0)), f"{lat}, {lon}", compute)


def _thrust(r: Rows) -> Sequence[Floats]:
    return (r.value("ThI") * (1e-3 if r.kind("ThI") in _INTEGERS else 1.0),)  # 0..1000 until 3.3, then 0..1


def _per_second(pattern: str, name: str) -> Worked:
    """A difference over its own interval in us, as PX4 integrates its inertial sensors."""

    def compute(r: Rows) -> Sequence[Floats]:
        dt = r.value(f"{name}_dt") * 1e-6
        return tuple(v / np.where(dt > 0, dt, np.nan) for v in r.vector(name, 3))

    return Worked(tuple((pattern.replace("?", a), 0) for a in "xyz"), f"{name} over {name}_dt", compute)


def _px4_pressure(r: Rows) -> Sequence[Floats]:
    pressure = r.value("pressure")
    return (np.where(pressure < 2_000, pressure * 100.0, pressure),)  # hPa until 1.13, then Pa


def _px4_position(r: Rows) -> Sequence[Floats]:
    lat, lon = (
        np.where(np.isfinite(r.value(new)), r.value(new), r.value(old) * 1e-7)
        for new, old in (("latitude_deg", "lat"), ("longitude_deg", "lon"))
    )
    is_none = (lat == 0) & (lon == 0)
    return np.where(is_none, np.nan, lat), np.where(is_none, np.nan, lon)


def _px4_thrust(r: Rows) -> Sequence[Floats]:
    return (-r.vector("thrust_body", 3)[2],)


def _rates(roll: str, pitch: str, factor: float) -> tuple[Field, ...]:
    return Field("roll_rate_target_radps", (roll,), factor), Field("pitch_rate_target_radps", (pitch,), factor)


_IMU2 = (*_xyz("acc2_?_mps2", "Acc?"), *_xyz("gyro2_?_radps", "Gyr?"))
_MAG2 = _xyz("mag2_?_ut", "Mag?", 0.1)
DATAFLASH_SENSED: tuple[TableSource, ...] = (
    TableSource("IMU", _xyz("gyro_?_radps", "Gyr?"), instance=0),
    TableSource("IMU", _IMU2, instance=1),
    TableSource("IMU2", _IMU2),
    TableSource("MAG", _MAG2, instance=1),
    TableSource("MAG2", _MAG2),
    TableSource("BARO", (Field("baro_pa", ("Press",)),), instance=0),
    TableSource("BARO", (Field("baro2_pa", ("Press",)),), instance=1),
    TableSource("BAR2", (Field("baro2_pa", ("Press",)),)),
    TableSource("RATE", _rates("RDes", "PDes", _DEG), needs=("RDes",)),
    TableSource("QTUN", (Worked((("thrust_target", 0),), "ThI", _thrust),), needs=("ThI",)),
    TableSource("CTUN", (Worked((("thrust_target", 0),), "ThI", _thrust),), needs=("ThI", "ThO")),
    TableSource("GPS", (_fix_degrees("Lat", "Lng", 1.0), Field("gps_course_deg", ("GCrs",)))),
    TableSource("GPA", (Field("gps_hacc_m", ("HAcc",), absent=0), Field("gps_sacc_mps", ("SAcc",), absent=0))),
    TableSource("XKF4", (Field("ekf_airspeed_ratio", ("SVT",)),), primary=("XKF4", "PI")),
    TableSource("NKF4", (Field("ekf_airspeed_ratio", ("SVT",)),), primary=("NKF4", "PI")),
)
_PX4_GPS = (
    Worked((("gps_lat_deg", 0), ("gps_lon_deg", 0)), "latitude_deg|lat, longitude_deg|lon", _px4_position),
    Worked((("gps_course_deg", 0),), "cog_rad", lambda r: (np.degrees(r.value("cog_rad")) % 360.0,)),
    Field("gps_hacc_m", ("eph",)), Field("gps_sacc_mps", ("s_variance_m_s",)),
)  # fmt: skip
ULOG_SENSED: tuple[TableSource, ...] = (
    TableSource("sensor_combined", (_vector("gyro_?_radps", "gyro_rad"),)),
    TableSource("vehicle_imu", (_per_second("gyro2_?_radps", "delta_angle"),
                                _per_second("acc2_?_mps2", "delta_velocity")), instance=1),
    TableSource("vehicle_magnetometer", (_vector("mag2_?_ut", "magnetometer_ga", 100.0),), instance=1),
    TableSource("vehicle_air_data", (Field("baro_pa", ("baro_pressure_pa",)),)),
    TableSource("sensor_baro", (Worked((("baro2_pa", 0),), "pressure", _px4_pressure),), instance=1),
    TableSource("vehicle_rates_setpoint", (*_rates("roll", "pitch", 1.0),
                                           Worked((("thrust_target", 0),), "thrust_body, up", _px4_thrust))),
    TableSource("vehicle_gps_position", _PX4_GPS),
    TableSource("sensor_gps", _PX4_GPS),
    TableSource("estimator_status", (Field("ekf_airspeed_ratio", ("tas_test_ratio",)),),
                primary=("estimator_selector_status", "primary_instance")),
    TableSource("vehicle_status", (Field("sensors_enabled", ("onboard_control_sensors_enabled",)),)),
)  # fmt: skip
"""In order of trust, as `log_sources.ULOG`."""


class TableSensed:
    """One flight's: (first_us, last_us] of the log's clock. offset_us: to UTC, 0 when unknown."""

    def __init__(self, sources: tuple[TableSource, ...], first_us: int, last_us: int, offset_us: int) -> None:
        self._sources, self._offset_us = sources, offset_us
        self._from_us, self._to_us = first_us - _HOLD_US, last_us
        self._kept: list[list[tuple[Times, Floats]]] = [[] for _ in sources]

    def add(self, history: History) -> None:
        """The next portion of the boot (already taken by the history)."""
        for source, kept in zip(self._sources, self._kept, strict=True):
            for rows in history.rows(source):
                self._keep(source, kept, rows)

    def _keep(self, source: TableSource, kept: list[tuple[Times, Floats]], rows: SourceRows) -> None:
        t = rows.timed.time_us
        wanted = (t > self._from_us) & (t <= self._to_us)
        if source.primary is not None:
            wanted &= rows.in_charge(source)
        index = np.flatnonzero(wanted)
        if not len(index):
            return
        tick = -((-(t[index] + self._offset_us)) // TICK_US)
        rows = SourceRows(rows.history, rows.timed, index[np.append(tick[1:] != tick[:-1], True)])
        values = [np.asarray(v, np.float64) for column in source.columns for v in column.compute(rows)]
        kept.append((rows.time_us, np.stack(values)))

    def read(self, tick_us: NDArray[np.int64]) -> dict[str, Floats]:
        """SENSED name -> float64 [ticks] at the (ascending) ticks of the log's clock; what was never told is left
        out."""
        out: dict[str, Floats] = {}
        for source, kept in zip(self._sources, self._kept, strict=True):
            if kept:
                _lay(out, source, kept, tick_us)
        return out


def _lay(
    out: dict[str, Floats], source: TableSource, kept: list[tuple[Times, Floats]], tick_us: NDArray[np.int64]
) -> None:
    """The values of one source on the ticks, where no more trusted one gave one."""
    times, values = np.concatenate([t for t, _ in kept]), np.concatenate([v for _, v in kept], axis=1)
    if (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[:, order]
    at = np.searchsorted(times, tick_us, side="right") - 1
    is_fresh = (at >= 0) & (tick_us - times[np.maximum(at, 0)] <= _HOLD_US)
    targets = [name for column in source.columns for name, _ in column.targets]
    for name, row in zip(targets, values, strict=True):
        low, high = RANGE[name]
        given = np.where(is_fresh, row[np.maximum(at, 0)], np.nan)
        with np.errstate(invalid="ignore"):
            given[~((given >= low) & (given <= high))] = np.nan
        if np.isfinite(given).any():
            held = out.get(name)
            out[name] = given if held is None else np.where(np.isfinite(held), held, given)

"""The canonical channels: every quantity that bridge, features, SQL columns, API and pages speak of.

One registry, in a fixed order, append-only. A value is stored as a scaled integer: physical = stored * scale.
An absent sample is NULL (in numpy: the lowest value of the dtype, `missing(channel)`), never zero.
Frames: positions WGS84, altitudes up-positive, attitude and velocity NED, body axes forward-right-down.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Group = Literal["position", "attitude", "motion", "air", "power", "gps", "estimator", "motors", "nav", "state", "link"]


@dataclass(frozen=True, slots=True)
class Channel:
    """One canonical quantity.

    name: carries the unit. unit: in UCUM-like text ('' = none). scale: physical value of one stored step.
    dtype: numpy name of the stored integer. size: elements per sample (1 = scalar, else an array, e.g. per motor).
    low, high: plausible physical range; a value outside it is treated as absent. stale_s: how long a value is held.
    """

    name: str
    group: Group
    unit: str
    scale: float
    dtype: Literal["int16", "int32", "int64"]
    low: float
    high: float
    stale_s: float
    meaning: str
    size: int = 1

    @property
    def sql_type(self) -> str:
        """The PostgreSQL type of one stored element."""
        return {"int16": "smallint", "int32": "integer", "int64": "bigint"}[self.dtype]

    @property
    def missing(self) -> int:
        """The stored integer that stands for 'absent' in numpy arrays (NULL in SQL)."""
        return int(np.iinfo(self.dtype).min)


def _c(
    name: str, group: Group, unit: str, scale: float, dtype: Literal["int16", "int32", "int64"],
    low: float, high: float, meaning: str, stale_s: float = 2.0, size: int = 1,
) -> Channel:  # fmt: skip
    return Channel(name, group, unit, scale, dtype, low, high, stale_s, meaning, size)


CHANNELS: tuple[Channel, ...] = (
    _c("lat_deg", "position", "deg", 1e-7, "int32", -90, 90, "latitude of the estimator, WGS84"),
    _c("lon_deg", "position", "deg", 1e-7, "int32", -180, 180, "longitude of the estimator, WGS84"),
    _c("alt_msl_m", "position", "m", 0.01, "int32", -1000, 60000, "altitude above mean sea level"),
    _c("alt_rel_m", "position", "m", 0.01, "int32", -10000, 60000, "altitude above home"),
    _c("vel_north_mps", "position", "m/s", 0.01, "int16", -320, 320, "ground velocity, north"),
    _c("vel_east_mps", "position", "m/s", 0.01, "int16", -320, 320, "ground velocity, east"),
    _c("vel_down_mps", "position", "m/s", 0.01, "int16", -320, 320, "ground velocity, down"),
    _c("roll_rad", "attitude", "rad", 1e-4, "int16", -3.1416, 3.1416, "roll angle"),
    _c("pitch_rad", "attitude", "rad", 1e-4, "int16", -3.1416, 3.1416, "pitch angle"),
    _c("yaw_rad", "attitude", "rad", 1e-4, "int16", -3.1416, 3.1416, "yaw angle from true north"),
    _c("roll_rate_radps", "attitude", "rad/s", 1e-3, "int16", -32, 32, "roll rate, body"),
    _c("pitch_rate_radps", "attitude", "rad/s", 1e-3, "int16", -32, 32, "pitch rate, body"),
    _c("yaw_rate_radps", "attitude", "rad/s", 1e-3, "int16", -32, 32, "yaw rate, body"),
    _c("roll_target_rad", "attitude", "rad", 1e-4, "int16", -3.1416, 3.1416, "commanded roll angle"),
    _c("pitch_target_rad", "attitude", "rad", 1e-4, "int16", -3.1416, 3.1416, "commanded pitch angle"),
    _c("yaw_target_rad", "attitude", "rad", 1e-4, "int16", -3.1416, 3.1416, "commanded heading or yaw"),
    _c("acc_x_mps2", "motion", "m/s2", 0.01, "int16", -320, 320, "specific force, body forward"),
    _c("acc_y_mps2", "motion", "m/s2", 0.01, "int16", -320, 320, "specific force, body right"),
    _c("acc_z_mps2", "motion", "m/s2", 0.01, "int16", -320, 320, "specific force, body down"),
    _c("vibe_x_mps2", "motion", "m/s2", 0.01, "int16", 0, 320, "vibration level, body x"),
    _c("vibe_y_mps2", "motion", "m/s2", 0.01, "int16", 0, 320, "vibration level, body y"),
    _c("vibe_z_mps2", "motion", "m/s2", 0.01, "int16", 0, 320, "vibration level, body z"),
    _c("clip_count", "motion", "1", 1, "int32", 0, 2e9, "accelerometer clippings since boot, all sensors"),
    _c("mag_x_ut", "motion", "uT", 0.05, "int16", -1600, 1600, "magnetic field, body forward"),
    _c("mag_y_ut", "motion", "uT", 0.05, "int16", -1600, 1600, "magnetic field, body right"),
    _c("mag_z_ut", "motion", "uT", 0.05, "int16", -1600, 1600, "magnetic field, body down"),
    _c("pressure_pa", "air", "Pa", 1, "int32", 100, 200000, "static pressure"),
    _c("airspeed_mps", "air", "m/s", 0.01, "int16", 0, 320, "indicated airspeed"),
    _c("groundspeed_mps", "air", "m/s", 0.01, "int16", 0, 320, "ground speed"),
    _c("climb_mps", "air", "m/s", 0.01, "int16", -320, 320, "climb rate, up"),
    _c("heading_deg", "air", "deg", 0.1, "int16", 0, 360, "heading from true north"),
    _c("throttle_pct", "air", "%", 0.1, "int16", -100, 100, "throttle"),
    _c("wind_speed_mps", "air", "m/s", 0.01, "int16", 0, 320, "estimated wind speed", 5.0),
    _c("wind_from_deg", "air", "deg", 0.1, "int16", 0, 360, "estimated direction that the wind comes from", 5.0),
    _c("battery_v", "power", "V", 0.01, "int16", 0, 320, "battery voltage"),
    _c("battery_a", "power", "A", 0.01, "int32", -1000, 10000, "battery current"),
    _c("battery_used_mah", "power", "mA.h", 1, "int32", 0, 2e9, "charge used since power-up", 5.0),
    _c("battery_remaining_pct", "power", "%", 1, "int16", 0, 100, "battery remaining, as the autopilot says", 5.0),
    _c("board_v", "power", "V", 0.001, "int16", 0, 32, "flight controller supply", 5.0),
    _c("gps_fix", "gps", "enum GPS_FIX_TYPE", 1, "int16", 0, 8, "fix type of the first receiver"),
    _c("gps_satellites", "gps", "1", 1, "int16", 0, 254, "satellites used"),
    _c("gps_hdop", "gps", "1", 0.01, "int16", 0, 320, "horizontal dilution of precision"),
    _c("gps_alt_msl_m", "gps", "m", 0.01, "int32", -1000, 60000, "altitude of the receiver above mean sea level"),
    _c("gps_speed_mps", "gps", "m/s", 0.01, "int16", 0, 320, "ground speed of the receiver"),
    _c("ekf_velocity_ratio", "estimator", "1", 0.001, "int16", 0, 32, "velocity innovation test ratio"),
    _c("ekf_position_ratio", "estimator", "1", 0.001, "int16", 0, 32, "horizontal position innovation test ratio"),
    _c("ekf_height_ratio", "estimator", "1", 0.001, "int16", 0, 32, "height innovation test ratio"),
    _c("ekf_compass_ratio", "estimator", "1", 0.001, "int16", 0, 32, "magnetometer innovation test ratio"),
    _c("ekf_flags", "estimator", "bits ESTIMATOR_STATUS_FLAGS", 1, "int32", 0, 65535, "estimator status flags"),
    _c("motor_output_us", "motors", "us", 1, "int16", 0, 3000, "servo and motor outputs 1 to 16", 2.0, 16),
    _c("motor_rpm", "motors", "1/min", 1, "int32", 0, 200000, "rotor speeds by ESC telemetry, 1 to 8", 2.0, 8),
    _c("xtrack_error_m", "nav", "m", 0.01, "int32", -20000, 20000, "cross-track error", 5.0),
    _c("alt_error_m", "nav", "m", 0.01, "int32", -20000, 20000, "altitude error: target minus actual", 5.0),
    _c("waypoint_distance_m", "nav", "m", 1, "int32", 0, 65535, "distance to the active waypoint", 5.0),
    _c("mission_seq", "nav", "1", 1, "int16", 0, 32767, "active mission item", 5.0),
    _c("armed", "state", "0/1", 1, "int16", 0, 1, "armed by HEARTBEAT base_mode", 5.0),
    _c("flight_mode", "state", "custom_mode", 1, "int64", 0, 4294967295, "HEARTBEAT custom_mode; names: bridge", 5.0),
    _c("landed_state", "state", "enum MAV_LANDED_STATE", 1, "int16", 0, 4, "landed state", 5.0),
    _c("sensors_health", "state", "bits MAV_SYS_STATUS_SENSOR", 1, "int64", 0, 4294967295, "healthy sensors", 5.0),
    _c("cpu_load_pct", "state", "%", 0.1, "int16", 0, 100, "load of the flight controller", 5.0),
    _c("rc_rssi_pct", "link", "%", 0.5, "int16", 0, 100, "receiver signal strength", 5.0),
    _c("rc_input_us", "link", "us", 1, "int16", 0, 3000, "stick inputs 1 to 8", 2.0, 8),
)  # fmt: skip

BY_NAME: dict[str, Channel] = {c.name: c for c in CHANNELS}
GRID_HZ = 10
"""Rows per second of the derived telemetry grid."""


@dataclass(frozen=True, slots=True)
class Sensed:
    """A quantity that only the analysis reads (`shared.signals`): physical floats, never stored, not append-only.

    low, high: plausible physical range; a value outside it is absent.
    """

    name: str
    unit: str
    low: float
    high: float
    meaning: str


SENSED: tuple[Sensed, ...] = (
    *(Sensed(f"gyro_{a}_radps", "rad/s", -70, 70, f"first gyroscope, body {a}") for a in "xyz"),
    *(Sensed(f"gyro2_{a}_radps", "rad/s", -70, 70, f"second gyroscope, body {a}") for a in "xyz"),
    *(Sensed(f"acc2_{a}_mps2", "m/s2", -320, 320, f"second accelerometer, body {a}") for a in "xyz"),
    *(Sensed(f"mag2_{a}_ut", "uT", -1600, 1600, f"second compass, body {a}") for a in "xyz"),
    Sensed("baro_pa", "Pa", 100, 200000, "first barometer, in full resolution"),
    Sensed("baro2_pa", "Pa", 100, 200000, "second barometer"),
    Sensed("roll_rate_target_radps", "rad/s", -70, 70, "commanded roll rate, body"),
    Sensed("pitch_rate_target_radps", "rad/s", -70, 70, "commanded pitch rate, body"),
    Sensed("thrust_target", "1", -1, 1, "commanded collective thrust"),
    Sensed("gps_lat_deg", "deg", -90, 90, "latitude of the first receiver"),
    Sensed("gps_lon_deg", "deg", -180, 180, "longitude of the first receiver"),
    Sensed("gps_course_deg", "deg", 0, 360, "course over ground of the first receiver"),
    Sensed("gps_hacc_m", "m", 0, 100000, "horizontal accuracy that the receiver claims"),
    Sensed("gps_sacc_mps", "m/s", 0, 1000, "speed accuracy that the receiver claims"),
    Sensed("ekf_airspeed_ratio", "1", 0, 1000, "airspeed innovation test ratio"),
    Sensed("sensors_enabled", "bits MAV_SYS_STATUS_SENSOR", 0, 4294967295, "sensors in use"),
    Sensed("system_status", "enum MAV_STATE", 0, 8, "what the autopilot says of itself"),
)
ANALYSED: frozenset[str] = frozenset(BY_NAME) | {s.name for s in SENSED}
"""Names of all that features may be made of."""

"""Which message field gives which channel: the table that `grid.py` evaluates and `docs/channels.md` shows.

SOURCES stands in order of trust: where two fresh messages give one channel, the earlier source wins. Units are those
of MAVLink common/ardupilotmega; `factor` turns them into the channel's unit. A value outside the channel's range, NaN,
or equal to `absent` is no value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shared.layouts import LAYOUTS

Record = NDArray[np.void]
Floats = NDArray[np.float64]
Firmware = Literal["any", "ardupilot", "px4"]
Target = tuple[str, int]
"""Channel name and element (0 for scalars)."""

_ID = {layout.name: msgid for msgid, layout in LAYOUTS.items()}
_DEG = float(np.pi / 180)
_MG = 9.80665e-3


@dataclass(frozen=True, slots=True)
class Linear:
    """channel[index] = field[element] * factor."""

    channel: str
    field: str
    factor: float = 1.0
    absent: float | None = None
    index: int = 0
    element: int | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        """What it gives."""
        return ((self.channel, self.index),)

    def says(self) -> str:
        """The field, for the document."""
        field = self.field if self.factor > 0 else f"{self.field} (negative)"
        return field if self.element is None else f"{field}[{self.element}]"


@dataclass(frozen=True, slots=True)
class Derived:
    """Several values computed together: `compute(record) -> [k, m]` in the channels' units, NaN where absent."""

    targets: tuple[Target, ...]
    words: str
    compute: Callable[[Record], Sequence[NDArray[Any]]]

    def says(self) -> str:
        """How, for the document."""
        return self.words


@dataclass(frozen=True, slots=True)
class Source:
    """What one message type gives. keep: (field, value), only such rows count (first instance of several)."""

    msgid: int
    columns: tuple[Linear | Derived, ...]
    firmware: Firmware = "any"
    keep: tuple[str, int] | None = None


def _source(
    name: str, *columns: Linear | Derived, firmware: Firmware = "any", keep: tuple[str, int] | None = None
) -> Source:
    return Source(_ID[name], columns, firmware, keep)


def _position(r: Record) -> Sequence[Floats]:
    lat, lon = r["lat"] * 1e-7, r["lon"] * 1e-7
    is_null = (r["lat"] == 0) & (r["lon"] == 0)  # what both firmwares send before there is a position
    return np.where(is_null, np.nan, lat), np.where(is_null, np.nan, lon)


def quaternion_angles(w: Floats, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Roll, pitch, yaw in rad of quaternions, NaN where they are far from unit length."""
    norm = w * w + x * x + y * y + z * z
    norm = np.where((norm > 0.5) & (norm < 2), norm, np.nan)
    roll = np.arctan2(2 * (w * x + y * z), norm - 2 * (x * x + y * y))
    pitch = np.arcsin(np.clip(2 * (w * y - z * x) / norm, -1, 1))
    yaw = np.arctan2(2 * (w * z + x * y), norm - 2 * (y * y + z * z))
    return roll, pitch, yaw


def _attitude_angles(r: Record) -> Sequence[Floats]:
    return quaternion_angles(*(r[q].astype(np.float64) for q in ("q1", "q2", "q3", "q4")))


def _target_angles(r: Record) -> Sequence[Floats]:
    q = np.where((r["type_mask"] & 128)[:, None] != 0, np.nan, r["q"].astype(np.float64))
    return quaternion_angles(*q.T)


def _nav_yaw(r: Record) -> Sequence[Floats]:
    return (((r["nav_bearing"] + 180.0) % 360.0 - 180.0) * _DEG,)


def _wind_from(r: Record) -> Sequence[Floats]:
    return (r["direction"] % 360.0,)


def _wind_vector(r: Record) -> Sequence[Floats]:
    north, east = r["wind_x"].astype(np.float64), r["wind_y"].astype(np.float64)
    return np.hypot(north, east), np.degrees(np.arctan2(-east, -north)) % 360.0


def _clippings(r: Record) -> Sequence[Floats]:
    return (r["clipping_0"].astype(np.float64) + r["clipping_1"] + r["clipping_2"],)


def _armed(r: Record) -> Sequence[NDArray[Any]]:
    return (r["base_mode"] >> 7,)


def _health(r: Record) -> Sequence[Floats]:
    health = r["onboard_control_sensors_health"].astype(np.float64)
    return (np.where(r["onboard_control_sensors_present"] != 0, health, np.nan),)


def _cells_v(r: Record) -> Sequence[Floats]:
    cells = np.concatenate([r["voltages"], r["voltages_ext"]], axis=1)
    cells[:, :10][cells[:, :10] == 65535] = 0
    total = cells.sum(axis=1, dtype=np.int64) * 1e-3
    return (np.where(total > 0, total, np.nan),)


def _pulses(fields: Sequence[str]) -> Callable[[Record], Sequence[Floats]]:
    def compute(r: Record) -> Sequence[Floats]:
        pulses = np.stack([r[f] for f in fields]).astype(np.float64)
        pulses[pulses == 0] = np.nan  # 0: no output, no stick; never a pulse
        return pulses  # type: ignore[return-value]

    return compute


def _actuators(r: Record) -> Sequence[Floats]:
    outputs = r["actuator"][:, :16].T.astype(np.float64)
    outputs[~((outputs >= 500) & (outputs <= 2500))] = np.nan  # normalised or disarmed outputs are no pulse widths
    return outputs  # type: ignore[return-value]


def _elements(channel: str, count: int, first: int = 0) -> tuple[Target, ...]:
    return tuple((channel, i) for i in range(first, first + count))


def _rpm(first: int) -> tuple[Linear, ...]:
    return tuple(Linear("motor_rpm", "rpm", index=first + i, element=i) for i in range(4))


def _xyz(channel: str, fields: Sequence[str], factor: float) -> tuple[Linear, ...]:
    return tuple(Linear(channel.replace("?", axis), f, factor) for axis, f in zip("xyz", fields, strict=True))


_ANGLES: tuple[Target, ...] = (("roll_rad", 0), ("pitch_rad", 0), ("yaw_rad", 0))
_TARGETS: tuple[Target, ...] = (("roll_target_rad", 0), ("pitch_target_rad", 0), ("yaw_target_rad", 0))
_RATES = (
    Linear("roll_rate_radps", "rollspeed"), Linear("pitch_rate_radps", "pitchspeed"),
    Linear("yaw_rate_radps", "yawspeed"),
)  # fmt: skip
_ACC, _MAG = ("xacc", "yacc", "zacc"), ("xmag", "ymag", "zmag")
_IMU = (*_xyz("acc_?_mps2", _ACC, _MG), *_xyz("mag_?_ut", _MAG, 0.1))
_STICKS = [f"chan{i}_raw" for i in range(1, 9)]
_SERVOS = Derived(
    _elements("motor_output_us", 16),
    "servo1_raw..servo16_raw (0 is none)",
    _pulses([f"servo{i}_raw" for i in range(1, 17)]),
)

SOURCES: tuple[Source, ...] = (
    _source(
        "HEARTBEAT",
        Derived((("armed", 0),), "base_mode, bit 7", _armed),
        Linear("flight_mode", "custom_mode"),
    ),
    _source(
        "GLOBAL_POSITION_INT",
        Derived((("lat_deg", 0), ("lon_deg", 0)), "lat, lon (0, 0 is none)", _position),
        Linear("alt_msl_m", "alt", 1e-3),
        Linear("alt_rel_m", "relative_alt", 1e-3),
        Linear("vel_north_mps", "vx", 0.01),
        Linear("vel_east_mps", "vy", 0.01),
        Linear("vel_down_mps", "vz", 0.01),
        Linear("heading_deg", "hdg", 0.01, absent=65535),
    ),
    _source(
        "ATTITUDE",
        Linear("roll_rad", "roll"), Linear("pitch_rad", "pitch"), Linear("yaw_rad", "yaw"), *_RATES,
    ),
    _source("ATTITUDE_QUATERNION", Derived(_ANGLES, "q1..q4 as angles", _attitude_angles), *_RATES),
    _source("ATTITUDE_TARGET", Derived(_TARGETS, "q as angles, unless type_mask ignores it", _target_angles)),
    _source(
        "NAV_CONTROLLER_OUTPUT",
        Linear("roll_target_rad", "nav_roll", _DEG),
        Linear("pitch_target_rad", "nav_pitch", _DEG),
        Derived((("yaw_target_rad", 0),), "nav_bearing", _nav_yaw),
        Linear("xtrack_error_m", "xtrack_error"),
        Linear("alt_error_m", "alt_error"),
        Linear("waypoint_distance_m", "wp_dist"),
    ),
    _source(
        "VFR_HUD",
        Linear("airspeed_mps", "airspeed"),
        Linear("groundspeed_mps", "groundspeed"),
        Linear("climb_mps", "climb"),
        Linear("throttle_pct", "throttle"),
        Linear("heading_deg", "heading"),
        Linear("alt_msl_m", "alt"),
    ),
    _source("RAW_IMU", *_IMU, firmware="ardupilot", keep=("id", 0)),
    _source("SCALED_IMU", *_IMU),
    _source(
        "HIGHRES_IMU",
        *_xyz("acc_?_mps2", _ACC, 1.0),
        *_xyz("mag_?_ut", _MAG, 100.0),
        Linear("pressure_pa", "abs_pressure", 100.0),
        keep=("id", 0),
    ),
    _source(
        "VIBRATION",
        *_xyz("vibe_?_mps2", ("vibration_x", "vibration_y", "vibration_z"), 1.0),
        Derived((("clip_count", 0),), "clipping_0 + clipping_1 + clipping_2", _clippings),
        firmware="ardupilot",
    ),
    _source(  # PX4 puts gyro metrics in x and y; z is the level of all acceleration
        "VIBRATION",
        Linear("vibe_z_mps2", "vibration_z"),
        Derived((("clip_count", 0),), "clipping_0 + clipping_1 + clipping_2", _clippings),
        firmware="px4",
    ),
    _source("SCALED_PRESSURE", Linear("pressure_pa", "press_abs", 100.0)),
    _source("WIND", Linear("wind_speed_mps", "speed"), Derived((("wind_from_deg", 0),), "direction", _wind_from)),
    _source(
        "WIND_COV",
        Derived((("wind_speed_mps", 0), ("wind_from_deg", 0)), "length and origin of (wind_x, wind_y)", _wind_vector),
    ),
    _source(
        "SYS_STATUS",
        Linear("battery_v", "voltage_battery", 1e-3, absent=65535),
        Linear("battery_a", "current_battery", 0.01, absent=-1),
        Linear("battery_remaining_pct", "battery_remaining", absent=-1),
        Derived((("sensors_health", 0),), "onboard_control_sensors_health, if any is present", _health),
        Linear("cpu_load_pct", "load", 0.1),
    ),
    _source(
        "BATTERY_STATUS",
        Linear("battery_used_mah", "current_consumed", absent=-1),
        Derived((("battery_v", 0),), "sum of voltages and voltages_ext", _cells_v),
        Linear("battery_a", "current_battery", 0.01, absent=-1),
        Linear("battery_remaining_pct", "battery_remaining", absent=-1),
        keep=("id", 0),
    ),
    _source("POWER_STATUS", Linear("board_v", "Vcc", 1e-3, absent=0)),
    _source("HWSTATUS", Linear("board_v", "Vcc", 1e-3, absent=0)),
    _source(
        "GPS_RAW_INT",
        Linear("gps_fix", "fix_type"),
        Linear("gps_satellites", "satellites_visible", absent=255),
        Linear("gps_hdop", "eph", 0.01, absent=65535),
        Linear("gps_alt_msl_m", "alt", 1e-3),
        Linear("gps_speed_mps", "vel", 0.01, absent=65535),
    ),
    _source(
        "EKF_STATUS_REPORT",
        Linear("ekf_velocity_ratio", "velocity_variance"),
        Linear("ekf_position_ratio", "pos_horiz_variance"),
        Linear("ekf_height_ratio", "pos_vert_variance"),
        Linear("ekf_compass_ratio", "compass_variance"),
        Linear("ekf_flags", "flags"),
    ),
    _source(
        "ESTIMATOR_STATUS",
        Linear("ekf_velocity_ratio", "vel_ratio"),
        Linear("ekf_position_ratio", "pos_horiz_ratio"),
        Linear("ekf_height_ratio", "pos_vert_ratio"),
        Linear("ekf_compass_ratio", "mag_ratio"),
        Linear("ekf_flags", "flags"),
    ),
    _source("SERVO_OUTPUT_RAW", _SERVOS, keep=("port", 0)),
    _source("SERVO_OUTPUT_RAW", _SERVOS, firmware="px4", keep=("port", 1)),  # airframes with their motors on AUX
    _source(
        "ACTUATOR_OUTPUT_STATUS",
        Derived(_elements("motor_output_us", 16), "actuator[0..15] from 500 to 2500", _actuators),
    ),
    _source("ESC_TELEMETRY_1_TO_4", *_rpm(0)),
    _source("ESC_TELEMETRY_5_TO_8", *_rpm(4)),
    _source(
        "RC_CHANNELS",
        Derived(_elements("rc_input_us", 8), "chan1_raw..chan8_raw (0 is none)", _pulses(_STICKS)),
        Linear("rc_rssi_pct", "rssi", 100 / 254, absent=255),
    ),
    _source(
        "RC_CHANNELS_RAW",
        Derived(_elements("rc_input_us", 8), "chan1_raw..chan8_raw (0 is none)", _pulses(_STICKS)),
        Linear("rc_rssi_pct", "rssi", 100 / 254, absent=255),
        keep=("port", 0),
    ),
    _source("MISSION_CURRENT", Linear("mission_seq", "seq")),
    _source("EXTENDED_SYS_STATE", Linear("landed_state", "landed_state", absent=0)),
    _source(
        "ALTITUDE",
        Linear("alt_msl_m", "altitude_amsl"),
        Linear("alt_rel_m", "altitude_relative"),
    ),
    _source(
        "LOCAL_POSITION_NED",
        Linear("vel_north_mps", "vx"),
        Linear("vel_east_mps", "vy"),
        Linear("vel_down_mps", "vz"),
        Linear("alt_rel_m", "z", -1.0),
    ),
)  # fmt: skip

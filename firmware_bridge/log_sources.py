"""Which DataFlash and ULog fields give which channel, beside the MAVLink messages of `sources.py`.

DATAFLASH and ULOG stand in order of trust: where two fresh tables give one channel, the earlier source wins. What a
log's table gives is what the firmware sends over MAVLink in the same moment (ArduPilot `GCS_Common.cpp` and each
vehicle's `GCS_MAVLink_*.cpp`, PX4 `mavlink/streams`), so that a log and a live stream of one flight agree.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.sources import Target, quaternion_angles

Floats = NDArray[np.float64]
_DEG = float(np.pi / 180)
_INTEGERS = "iu"


class Rows(Protocol):
    """The messages of one table that are read, m of them."""

    def value(self, *names: str) -> Floats:
        """[m]: the first of these fields that the table has, in its unit; NaN when it has none."""

    def vector(self, name: str, size: int) -> Floats:
        """[size, m]: an array field, however the format writes it (name[3], sub-array)."""

    def has(self, *names: str) -> bool:
        """Whether the table has all these fields."""

    def kind(self, name: str) -> str:
        """numpy's kind of a field as written: "f", "i", "u", ...; "" when there is none."""

    def held(self, table: str, name: str, default: float = np.nan, instance: int | None = None) -> Floats:
        """[m]: another table's field as it stood at these times."""

    def instances(self, table: str) -> Sequence[int]:
        """The instances of a table seen so far."""


@dataclass(frozen=True, slots=True)
class Field:
    """channel[index] = the first of `names` that is there, times factor; `absent` is no value."""

    channel: str
    names: tuple[str, ...]
    factor: float = 1.0
    absent: float | None = None
    index: int = 0

    @property
    def targets(self) -> tuple[Target, ...]:
        """What it gives."""
        return ((self.channel, self.index),)

    def compute(self, rows: Rows) -> Sequence[Floats]:
        """[1, m], NaN where absent."""
        value = rows.value(*self.names) * self.factor
        return (value if self.absent is None else np.where(value == self.absent * self.factor, np.nan, value),)

    def says(self) -> str:
        """The field, for the document."""
        return "|".join(self.names) + (" (negative)" if self.factor < 0 else "")


@dataclass(frozen=True, slots=True)
class Worked:
    """Several values worked out together, in the channels' units, NaN where absent."""

    targets: tuple[Target, ...]
    words: str
    compute: Callable[[Rows], Iterable[NDArray[Any]]]

    def says(self) -> str:
        """How, for the document."""
        return self.words


@dataclass(frozen=True, slots=True)
class TableSource:
    """What one table gives.

    instance: only this one; None: the lowest that there is. primary: (table, field) that names the instance in charge;
    then rows of that one count. needs: fields without which the table is another vehicle's or version's.
    """

    table: str
    columns: tuple[Field | Worked, ...]
    instance: int | None = None
    primary: tuple[str, str] | None = None
    needs: tuple[str, ...] = ()


def _f(
    channel: str, *names: str, factor: float = 1.0, absent: float | None = None, index: int = 0
) -> Field:  # fmt: skip
    return Field(channel, names, factor, absent, index)


def _t(
    table: str, *columns: Field | Worked, instance: int | None = None,
    primary: tuple[str, str] | None = None, needs: tuple[str, ...] = (),
) -> TableSource:  # fmt: skip
    return TableSource(table, columns, instance, primary, needs)


def _elements(channel: str, count: int, first: int = 0) -> tuple[Target, ...]:
    return tuple((channel, i) for i in range(first, first + count))


def _xyz(channel: str, *names: str, factor: float = 1.0) -> tuple[Field, ...]:
    return tuple(Field(channel.replace("?", axis), (n,), factor) for axis, n in zip("xyz", names, strict=True))


def _position(lat: tuple[str, ...], lon: tuple[str, ...]) -> Worked:
    def compute(r: Rows) -> Sequence[Floats]:
        at = r.value(*lat), r.value(*lon)
        is_null = (at[0] == 0) & (at[1] == 0)
        return tuple(np.where(is_null, np.nan, v) for v in at)

    return Worked((("lat_deg", 0), ("lon_deg", 0)), f"{lat[0]}, {lon[0]} (0, 0 is none)", compute)


def _angle(channel: str, name: str) -> Worked:
    return Worked(((channel, 0),), name, lambda r: (_wrapped(r.value(name)),))


def _wrapped(degrees: Floats) -> Floats:
    """Degrees as rad in [-pi, pi)."""
    return ((degrees + 180.0) % 360.0 - 180.0) * _DEG


def _speed(north: str, east: str) -> Worked:
    return Worked(
        (("groundspeed_mps", 0),), f"length of ({north}, {east})", lambda r: (np.hypot(r.value(north), r.value(east)),)
    )


def _course(r: Rows) -> Sequence[Floats]:
    """Velocity of a receiver that gives speed and course. A receiver without a fix knows neither."""
    speed, course = np.where(r.value("Status") >= 3, r.value("Spd"), np.nan), r.value("GCrs") * _DEG
    return speed * np.cos(course), speed * np.sin(course)


def _wind(north: str, east: str) -> Worked:
    def compute(r: Rows) -> Sequence[Floats]:
        n, e = r.value(north), r.value(east)
        return np.hypot(n, e), np.degrees(np.arctan2(-e, -n)) % 360.0

    targets = (("wind_speed_mps", 0), ("wind_from_deg", 0))
    return Worked(targets, f"length and origin of ({north}, {east})", compute)


def _pulses(names: Sequence[str], channel: str, first: int = 0) -> Worked:
    def compute(r: Rows) -> Sequence[Floats]:
        pulses = np.stack([r.value(n, n.replace("C", "Ch"), n.replace("C", "Chan")) for n in names])
        return [np.where(p == 0, np.nan, p) for p in pulses]  # 0: no output, no stick; never a pulse

    return Worked(_elements(channel, len(names), first), f"{names[0]}..{names[-1]} (0 is none)", compute)


def _clips(r: Rows) -> Sequence[Floats]:
    """Clippings of all sensors: three fields until 4.0, one table per sensor since."""
    if r.has("Clip0"):
        return (np.nansum([r.value(f"Clip{i}") for i in range(3)], axis=0),)
    return (np.sum([r.held("VIBE", "Clip", 0.0, i) for i in r.instances("VIBE")[:3]], axis=0),)


def _scaled(channel: str, name: str, factor: float) -> Worked:
    """Firmware before 3.5 writes integers of another scale in the same field."""

    def compute(r: Rows) -> Sequence[Floats]:
        return (r.value(name) * (factor if r.kind(name) in _INTEGERS else 1.0),)

    return Worked(((channel, 0),), name, compute)


def _copter_throttle(name: str) -> Worked:
    def compute(r: Rows) -> Sequence[Floats]:
        return (r.value(name) * (0.1 if r.kind(name) in _INTEGERS else 100.0),)  # 0..1000 until 3.3, then 0..1

    return Worked((("throttle_pct", 0),), f"{name} as %", compute)


def _copter_height_error(r: Rows) -> Sequence[Floats]:
    return (r.value("DAlt") - r.value("Alt"),)


def _nonzero_angle(channel: str, name: str) -> Worked:
    """ArduPlane writes 0 where it knows no target."""

    def compute(r: Rows) -> Sequence[Floats]:
        value = r.value(name)
        return (np.where(value == 0, np.nan, _wrapped(value)),)

    return Worked(((channel, 0),), f"{name} (0 is none)", compute)


def _flags(r: Rows) -> Sequence[Floats]:
    """nav_filter_status as EKF_STATUS_REPORT says it: bits 0-9 alike, 14 is glitching, 16 is initialised."""
    raw = r.value("SS")
    known = np.isfinite(raw)
    status = np.where(known, raw, 0).astype(np.int64)
    flags = status & 0x3FF | np.where(status & (1 << 14), 1 << 15, 0)
    if r.kind("SS") != "" and int(status.max(initial=0)) > 0xFFFF:  # 16 bits before 4.1: cannot say
        flags = flags | np.where(status & (1 << 16), 0, 1 << 10)
    return (np.where(known, flags, np.nan),)


def _ratio_fields(scale: float) -> tuple[Field, ...]:
    names = {"velocity": "SV", "position": "SP", "height": "SH", "compass": "SM"}
    return tuple(_f(f"ekf_{k}_ratio", n, factor=scale) for k, n in names.items())


def _ekf1(table: str, primary: tuple[str, str]) -> TableSource:
    return _t(
        table, *_ned("VN", "VE", "VD"), _f("climb_mps", "VD", factor=-1.0), _speed("VN", "VE"), primary=primary
    )  # fmt: skip


def _ned(north: str, east: str, down: str) -> tuple[Field, ...]:
    return _f("vel_north_mps", north), _f("vel_east_mps", east), _f("vel_down_mps", down)


def _airspeed(wind_table: str) -> Worked:
    """Without a sensor ArduPilot's VFR_HUD says how fast the estimator takes it through the estimated wind."""

    def compute(r: Rows) -> Sequence[Floats]:
        wind_n, wind_e = (r.held(wind_table, n, 0.0) for n in ("VWN", "VWE"))
        return (np.sqrt((r.value("VN") - wind_n) ** 2 + (r.value("VE") - wind_e) ** 2 + r.value("VD") ** 2),)

    return Worked((("airspeed_mps", 0),), f"length of (VN, VE, VD) less {wind_table}'s wind", compute)


def _ekf4(table: str) -> TableSource:
    flags = Worked((("ekf_flags", 0),), "SS as EKF_STATUS_REPORT.flags", _flags)
    return _t(table, *_ratio_fields(1.0), flags, primary=(table, "PI"))


def _escs() -> tuple[TableSource, ...]:
    return tuple(_t("ESC", _f("motor_rpm", "RPM", index=i), instance=i) for i in range(8)) + tuple(
        _t(f"ESC{i + 1}", _f("motor_rpm", "RPM", index=i)) for i in range(8)
    )


_RATES = (
    _f("roll_rate_radps", "R", factor=_DEG), _f("pitch_rate_radps", "P", factor=_DEG),
    _f("yaw_rate_radps", "Y", factor=_DEG),
)  # fmt: skip
_XKF, _NKF = ("XKF4", "PI"), ("NKF4", "PI")
_IMU_FIELDS = (
    *_xyz("acc_?_mps2", "AccX", "AccY", "AccZ"), _f("roll_rate_radps", "GyrX"), _f("pitch_rate_radps", "GyrY"),
    _f("yaw_rate_radps", "GyrZ"),
)  # fmt: skip

DATAFLASH: tuple[TableSource, ...] = (
    _t("POS", _position(("Lat",), ("Lng",)), _f("alt_msl_m", "Alt"), _f("alt_rel_m", "RelHomeAlt", "RelAlt")),
    _t("ATT", _f("roll_rad", "Roll", factor=_DEG), _f("pitch_rad", "Pitch", factor=_DEG), _angle("yaw_rad", "Yaw"),
       _f("heading_deg", "Yaw"), _f("roll_target_rad", "DesRoll", factor=_DEG),
       _f("pitch_target_rad", "DesPitch", factor=_DEG)),
    _t("ATT", _nonzero_angle("yaw_target_rad", "DesYaw"), needs=("DesYaw",)),
    _t("RATE", *_RATES, needs=("RDes",)),
    _ekf1("XKF1", _XKF),
    _ekf1("NKF1", _NKF),
    _t("EKF1", *_ned("VN", "VE", "VD"), _f("climb_mps", "VD", factor=-1.0), _speed("VN", "VE")),
    _t("XKF2", _wind("VWN", "VWE"), primary=_XKF),
    _t("NKF2", _wind("VWN", "VWE"), primary=_NKF),
    _t("EKF2", _wind("VWN", "VWE")),
    _ekf4("XKF4"),
    _ekf4("NKF4"),
    _t("EKF4", *_ratio_fields(1.0)),
    _t("IMU", *_IMU_FIELDS, instance=0),
    _t("VIBE", *_xyz("vibe_?_mps2", "VibeX", "VibeY", "VibeZ"),
       Worked((("clip_count", 0),), "Clip of all sensors, Clip0 + Clip1 + Clip2", _clips), instance=0),
    _t("MAG", *_xyz("mag_?_ut", "MagX", "MagY", "MagZ", factor=0.1), instance=0),
    _t("BARO", _f("pressure_pa", "Press"), instance=0),
    _t("ARSP", _f("airspeed_mps", "Airspeed"), instance=0),
    _t("QTUN", _f("throttle_pct", "ThO", factor=100.0)),
    _t("CTUN", _f("airspeed_mps", "As"), _f("throttle_pct", "ThO", "ThrOut"), needs=("NavRoll",)),
    _t("XKF1", _airspeed("XKF2"), primary=_XKF),
    _t("NKF1", _airspeed("NKF2"), primary=_NKF),
    _t("CTUN", _copter_throttle("ThO"), needs=("ThI", "ThO")),
    _t("CTUN", _copter_throttle("ThrOut"), needs=("ThrIn", "ThrOut")),
    _t("CTUN", Worked((("alt_error_m", 0),), "DAlt - Alt", _copter_height_error), _f("climb_mps", "CRt", factor=0.01),
       _f("alt_rel_m", "Alt"), needs=("DAlt", "Alt")),
    _t("CTUN", _f("alt_rel_m", "BarAlt"), _f("climb_mps", "CRate", factor=0.01), needs=("BarAlt",)),
    _t("THR", _f("throttle_pct", "ThrOut")),
    _t("BAT", _f("battery_v", "Volt"), _f("battery_a", "Curr"), _f("battery_used_mah", "CurrTot"),
       _f("battery_remaining_pct", "RemPct")),
    _t("CURR", _scaled("battery_v", "Volt", 0.01), _scaled("battery_a", "Curr", 0.01),
       _f("battery_used_mah", "CurrTot"), _scaled("board_v", "Vcc", 1e-3)),
    _t("POWR", _f("board_v", "Vcc", absent=0)),
    _t("GPS", _f("gps_fix", "Status"), _f("gps_satellites", "NSats"), _f("gps_hdop", "HDop"),
       _f("gps_alt_msl_m", "Alt"), _f("gps_speed_mps", "Spd")),
    _t("GPS", _position(("Lat",), ("Lng", "Lon")), _f("alt_msl_m", "Alt"), _f("alt_rel_m", "RelAlt", "RAlt"),
       Worked((("vel_north_mps", 0), ("vel_east_mps", 0)), "Spd along GCrs, with a 3D fix", _course),
       _f("vel_down_mps", "VZ"), _f("groundspeed_mps", "Spd")),
    _t("BARO", _f("alt_rel_m", "Alt"), _f("climb_mps", "CRt"), instance=0),
    _t("RCOU", _pulses([f"C{i}" for i in range(1, 15)], "motor_output_us")),
    _t("RCO2", _pulses(["C15", "C16"], "motor_output_us", 14)),
    _t("MOT", Worked(_elements("motor_output_us", 4), "Mot1..Mot4 (0 is none)", lambda r: [
        np.where(r.value(f"Mot{i}") == 0, np.nan, r.value(f"Mot{i}")) for i in range(1, 5)])),
    *_escs(),
    _t("RCIN", _pulses([f"C{i}" for i in range(1, 9)], "rc_input_us")),
    _t("RSSI", _f("rc_rssi_pct", "RXRSSI", factor=100.0)),
    _t("NTUN", _f("xtrack_error_m", "XT", "XTrack"), _f("alt_error_m", "AltE", "AltErr"),
       _f("waypoint_distance_m", "Dist", "WpDist", "WPDst"), _angle("yaw_target_rad", "NavBrg")),
    _t("PM", _f("cpu_load_pct", "Load", factor=0.1)),
)  # fmt: skip


def _quaternion(name: str, channels: tuple[str, str, str]) -> Worked:
    return Worked(
        tuple((c, 0) for c in channels), f"{name} as angles", lambda r: quaternion_angles(*r.vector(name, 4))
    )  # fmt: skip


def _px4_relative(r: Rows) -> Sequence[Floats]:
    """Above home where home is valid, else above where the estimator started."""
    home = np.where(r.held("home_position", "valid_alt", 1) > 0, r.held("home_position", "alt"), np.nan)
    above = r.value("alt") - home
    return (np.where(np.isfinite(above), above, -r.held("vehicle_local_position", "z")),)


def _px4_local_height(r: Rows) -> Sequence[Floats]:
    up = -r.value("z")
    amsl = np.where(r.value("z_global") > 0, up + r.value("ref_alt"), np.nan)
    above = amsl - np.where(r.held("home_position", "valid_alt", 1) > 0, r.held("home_position", "alt"), np.nan)
    return amsl, np.where(np.isfinite(above), above, up)


def _degrees(channel: str, *names: str) -> Worked:
    return Worked(((channel, 0),), "|".join(names), lambda r: (np.degrees(r.value(*names)) % 360.0,))


def _px4_throttle(r: Rows) -> Sequence[Floats]:
    """What VFR_HUD says: the thrust set-point (forward or up) while armed."""
    axes = np.nan_to_num(r.vector("xyz", 3)) if r.has("xyz") or r.has("xyz[0]") else None
    thrust = r.vector("control", 4)[3] if axes is None else np.maximum(axes[0], -axes[2])
    return (np.where(r.held("vehicle_status", "arming_state", 0) == 2, np.clip(thrust, 0, 1) * 100, 0),)


def _px4_clips(r: Rows) -> Sequence[Floats]:
    total = np.zeros(len(r.value("accel_error_count")))
    for i in r.instances("vehicle_imu_status")[:3]:
        for axis in range(3):
            total = total + r.held("vehicle_imu_status", f"accel_clipping[{axis}]", 0.0, i)
    return (total,)


def _px4_outputs(r: Rows) -> Sequence[Floats]:
    outputs = r.vector("output", 16)
    return [np.where((o >= 500) & (o <= 2500), o, np.nan) for o in outputs]


def _px4_sticks(r: Rows) -> Sequence[Floats]:
    count, values = r.value("channel_count"), r.vector("values", 8)
    return [np.where((count > i) & (v > 0), v, np.nan) for i, v in enumerate(values)]


def _px4_rssi(r: Rows) -> Sequence[Floats]:
    rssi = r.value("rssi")
    return (np.where((rssi >= 0) & (rssi <= 100), rssi, np.nan),)


def _px4_battery(r: Rows) -> Sequence[Floats]:
    current, remaining = r.value("current_a"), r.value("remaining")
    return np.where(current >= 0, current, np.nan), np.where(remaining >= 0, np.ceil(remaining * 100), np.nan)


def _px4_landed(r: Rows) -> Sequence[Floats]:
    landed, nav_state = r.value("landed"), r.held("vehicle_status", "nav_state", 0)
    in_air = np.where(np.isin(nav_state, (17, 22)), 3, np.where(nav_state == 18, 4, 2))
    return (np.where(np.isnan(landed), np.nan, np.where(landed != 0, 1, in_air)),)


def _px4_health(r: Rows) -> Sequence[Floats]:
    present = r.value("onboard_control_sensors_present")
    return (np.where(present > 0, r.value("onboard_control_sensors_health"), np.nan),)


_ANGLES = ("roll_rad", "pitch_rad", "yaw_rad")
_TARGETS = ("roll_target_rad", "pitch_target_rad", "yaw_target_rad")
_BODY_RATES = (("roll_rate_radps", 0), ("pitch_rate_radps", 0), ("yaw_rate_radps", 0))
_GPS = (
    _f("gps_fix", "fix_type"), _f("gps_satellites", "satellites_used", absent=255), _f("gps_hdop", "hdop"),
    Worked((("gps_alt_msl_m", 0),), "altitude_msl_m|alt",
           lambda r: (r.value("altitude_msl_m") if r.has("altitude_msl_m") else r.value("alt") * 1e-3,)),
    _f("gps_speed_mps", "vel_m_s"),
)  # fmt: skip
_WIND = _wind("windspeed_north", "windspeed_east")
_ACC_TARGETS = (("acc_x_mps2", 0), ("acc_y_mps2", 0), ("acc_z_mps2", 0))
_MAG_TARGETS = (("mag_x_ut", 0), ("mag_y_ut", 0), ("mag_z_ut", 0))
_SELECTED_IMU = ("sensor_selection", "accel_device_id")

ULOG: tuple[TableSource, ...] = (
    _t("vehicle_global_position", _position(("lat",), ("lon",)), _f("alt_msl_m", "alt"),
       Worked((("alt_rel_m", 0),), "alt - home_position.alt, else height of vehicle_local_position", _px4_relative)),
    _t("vehicle_attitude", _quaternion("q", _ANGLES)),
    _t("vehicle_angular_velocity", Worked(_BODY_RATES, "xyz", lambda r: r.vector("xyz", 3))),
    _t("vehicle_attitude", _f("roll_rate_radps", "rollspeed"), _f("pitch_rate_radps", "pitchspeed"),
       _f("yaw_rate_radps", "yawspeed")),
    _t("vehicle_attitude_setpoint", _quaternion("q_d", _TARGETS)),
    _t("vehicle_local_position", *_ned("vx", "vy", "vz"), _speed("vx", "vy"), _f("climb_mps", "vz", factor=-1.0),
       _degrees("heading_deg", "heading", "yaw"),
       Worked((("alt_msl_m", 0), ("alt_rel_m", 0)), "ref_alt - z; above home_position.alt", _px4_local_height)),
    _t("sensor_combined", Worked(_ACC_TARGETS, "accelerometer_m_s2", lambda r: r.vector("accelerometer_m_s2", 3))),
    _t("vehicle_magnetometer", Worked(_MAG_TARGETS, "magnetometer_ga",
                                      lambda r: r.vector("magnetometer_ga", 3) * 100.0)),
    _t("sensor_combined", Worked(_MAG_TARGETS, "magnetometer_ga", lambda r: r.vector("magnetometer_ga", 3) * 100.0),
       needs=("magnetometer_ga",)),
    _t("vehicle_imu_status", _f("vibe_z_mps2", "accel_vibration_metric"), primary=_SELECTED_IMU),
    _t("vehicle_imu_status", _f("vibe_z_mps2", "accel_vibration_metric"),
       Worked((("clip_count", 0),), "accel_clipping of all sensors", _px4_clips)),
    _t("vehicle_air_data", _f("pressure_pa", "baro_pressure_pa")),
    _t("airspeed_validated", _f("airspeed_mps", "calibrated_airspeed_m_s", "indicated_airspeed_m_s")),
    _t("airspeed", _f("airspeed_mps", "calibrated_airspeed_m_s", "indicated_airspeed_m_s")),
    _t("vehicle_thrust_setpoint", Worked((("throttle_pct", 0),), "xyz, forward or up, while armed", _px4_throttle)),
    _t("actuator_controls_0", Worked((("throttle_pct", 0),), "control[3] while armed", _px4_throttle)),
    _t("wind", _WIND),
    _t("wind_estimate", _WIND),
    _t("battery_status", _f("battery_v", "voltage_v"), _f("battery_used_mah", "discharged_mah"),
       Worked((("battery_a", 0), ("battery_remaining_pct", 0)), "current_a, remaining", _px4_battery)),
    _t("vehicle_gps_position", *_GPS),
    _t("sensor_gps", *_GPS),
    _t("estimator_status", _f("ekf_velocity_ratio", "vel_test_ratio"), _f("ekf_position_ratio", "pos_test_ratio"),
       _f("ekf_height_ratio", "hgt_test_ratio"), _f("ekf_compass_ratio", "mag_test_ratio"),
       _f("ekf_flags", "solution_status_flags"), primary=("estimator_selector_status", "primary_instance")),
    _t("actuator_outputs", Worked(_elements("motor_output_us", 16), "output from 500 to 2500", _px4_outputs),
       instance=0),
    _t("actuator_outputs", Worked(_elements("motor_output_us", 16), "output from 500 to 2500", _px4_outputs),
       instance=1),
    _t("vehicle_land_detected", Worked((("landed_state", 0),), "landed, with the mode", _px4_landed)),
    _t("vehicle_status", Worked((("sensors_health", 0),), "onboard_control_sensors_health", _px4_health)),
    _t("cpuload", _f("cpu_load_pct", "load", factor=100.0)),
    _t("input_rc", Worked(_elements("rc_input_us", 8), "values[0..7]", _px4_sticks),
       Worked((("rc_rssi_pct", 0),), "rssi", _px4_rssi)),
)  # fmt: skip

STATES: dict[str, dict[str, str]] = {
    "dataflash": {
        "armed": "ARM.ArmState, EV 10 and 11; STAT.Armed",
        "flight_mode": "MODE.ModeNum",
        "landed_state": "EV 18 and 28; STAT.isFlying",
        "mission_seq": "MISE.CNum of navigation commands",
    },
    "ulog": {
        "armed": "vehicle_status.arming_state",
        "flight_mode": "vehicle_status.nav_state as custom_mode",
        "mission_seq": "mission_result.seq_current",
    },
}
"""What a log says when it changes (`log_events`): channel -> words, by format."""

"""PX4's MAVLink streams, each from the topics that it is made of.

Streams and fields as in PX4 `src/modules/mavlink/streams/*.hpp` (1.12 to 1.16), rates as in its ONBOARD profile where
the log has that many samples; a companion asks for VIBRATION, ESTIMATOR_STATUS and BATTERY_STATUS faster, and so does
this. What a log does not hold is not sent. Topics that only a simulation or a test bench writes are never read.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.modes import PX4, px4_custom_mode
from firmware_bridge.packing import Outgoing
from firmware_bridge.sources import quaternion_angles
from firmware_bridge.ulog_topics import NOTHING, Floats, Times, Topic, Topics
from shared.layouts import LAYOUTS

_ID = {layout.name: msgid for msgid, layout in LAYOUTS.items()}
_ARMED, _CUSTOM = 128, 1
_STANDBY, _ACTIVE, _CRITICAL = 3, 4, 5


def message(name: str, time_us: Times, values: dict[str, Any]) -> list[Outgoing]:
    """One message per time; floats meant for integer fields are rounded and clipped, NaN becomes 0."""
    msgid = _ID[name]
    record = np.zeros(len(time_us), LAYOUTS[msgid].dtype)
    for field, value in values.items():
        target = record.dtype[field].base
        if target.kind in "iu" and np.asarray(value).dtype.kind == "f":
            limits = np.iinfo(target)
            value = np.clip(np.rint(np.nan_to_num(value, nan=0, posinf=0, neginf=0)), limits.min, limits.max)
        record[field] = value
    return [Outgoing(msgid, record, time_us)] if len(time_us) else []


def _boot_ms(t: Times) -> NDArray[np.int64]:
    return t // 1000 & 0xFFFFFFFF


def _or(value: Floats, sentinel: float) -> Floats:
    return np.where(np.isfinite(value), value, sentinel)


def _heartbeat(topics: Topics) -> list[Outgoing]:
    status = topics.get("vehicle_status")
    t = topics.ticks(1)
    armed = status.at(t, "arming_state", 0) == 2
    nav_state = status.at(t, "nav_state", 0).astype(np.int64)
    states = np.unique(nav_state)
    modes = np.array([px4_custom_mode(int(s)) for s in states])[np.searchsorted(states, nav_state)]
    failsafe = status.at(t, "failsafe", 0) != 0
    values = {
        "type": _vehicle_type(topics, t),
        "autopilot": PX4,
        "base_mode": np.where(armed, _ARMED, 0) | _CUSTOM,
        "custom_mode": modes,
        "system_status": np.where(armed, np.where(failsafe, _CRITICAL, _ACTIVE), _STANDBY),
        "mavlink_version": 3,
    }
    return message("HEARTBEAT", t, values)


def _vehicle_type(topics: Topics, t: Times) -> NDArray[np.int64]:
    """MAV_TYPE; logs whose MAV_TYPE is 0 still say whether they are rotary wing (1), fixed wing (2) or VTOL."""
    status = topics.get("vehicle_status")
    told = status.at(t, "system_type", topics.parameters.get("MAV_TYPE", 0)).astype(np.int64)
    kind, is_vtol = status.at(t, "vehicle_type", 0), status.at(t, "is_vtol", 0) != 0
    guess = np.where(is_vtol, 22, np.where(kind == 1, 2, np.where(kind == 2, 1, 0)))
    return np.where(told > 0, told, guess)


def _system(topics: Topics) -> list[Outgoing]:
    once, second = topics.ticks(1)[:1], topics.ticks(1)
    utc = second + topics.utc_offset_us if topics.utc_offset_us is not None else np.zeros_like(second)
    status, battery, load = topics.get("vehicle_status"), topics.get("battery_status"), topics.get("cpuload")
    t = topics.ticks(5)
    sensors = "onboard_control_sensors_"
    current, remaining = battery.at(t, "current_a"), battery.at(t, "remaining")
    values = {f"{sensors}{what}": status.at(t, sensors + what, 0) for what in ("present", "enabled", "health")} | {
        "load": load.at(t, "load", 0) * 1000,
        "voltage_battery": _or(battery.at(t, "voltage_v") * 1000, 65535),
        "current_battery": np.where(current >= 0, current * 100, -1.0),
        "battery_remaining": np.where(remaining >= 0, np.ceil(remaining * 100), -1.0),
    }
    return [
        *message("AUTOPILOT_VERSION", once, {"flight_sw_version": topics.release}),
        *message("SYSTEM_TIME", second, {"time_unix_usec": utc, "time_boot_ms": _boot_ms(second)}),
        *message("SYS_STATUS", t, values),
    ]


def _attitude(topics: Topics) -> list[Outgoing]:
    attitude, rates = topics.get("vehicle_attitude"), topics.get("vehicle_angular_velocity")
    t = topics.updates(attitude, 100)
    q, w = attitude.vector(t, "q", 4), np.nan_to_num(rates.vector(t, "xyz", 3))
    roll, pitch, yaw = np.nan_to_num(np.stack(quaternion_angles(*q)))
    speeds = {"time_boot_ms": _boot_ms(t), "rollspeed": w[0], "pitchspeed": w[1], "yawspeed": w[2]}
    out = message("ATTITUDE", t, speeds | {"roll": roll, "pitch": pitch, "yaw": yaw})
    quaternion = {f"q{i + 1}": q[i] for i in range(4)}
    half = np.isin(t, topics.updates(attitude, 50))
    out += message("ATTITUDE_QUATERNION", t[half], {k: v[half] for k, v in (speeds | quaternion).items()})
    setpoint = topics.get("vehicle_attitude_setpoint")
    t = topics.updates(setpoint, 10)
    target = {"time_boot_ms": _boot_ms(t), "q": setpoint.vector(t, "q_d", 4).T}
    thrust = np.abs(setpoint.at(t, "thrust_body[2]", 0))
    return out + message("ATTITUDE_TARGET", t, target | {"thrust": thrust})


def _position(topics: Topics) -> list[Outgoing]:
    local, world, home = topics.get("vehicle_local_position"), topics.get("vehicle_global_position"), _home(topics)
    t = topics.updates(world, 50)
    z = local.at(t, "z")
    alt = world.at(t, "alt")
    heading = np.degrees(local.at(t, "heading" if local.has("heading") else "yaw")) % 360
    out = message(
        "GLOBAL_POSITION_INT",
        t,
        {
            "time_boot_ms": _boot_ms(t),
            "lat": world.at(t, "lat") * 1e7,
            "lon": world.at(t, "lon") * 1e7,
            "alt": alt * 1000,
            "relative_alt": np.where(np.isfinite(home.at(t, "alt")), alt - home.at(t, "alt"), -z) * 1000,
            "hdg": _or(heading * 100, 65535),
        }
        | {v: local.at(t, v) * 100 for v in ("vx", "vy", "vz")},
    )
    t = topics.updates(local, 30)
    out += message(
        "LOCAL_POSITION_NED",
        t,
        {"time_boot_ms": _boot_ms(t)} | {f: local.at(t, f) for f in ("x", "y", "z", "vx", "vy", "vz")},
    )
    t = topics.updates(local, 10)
    up = -local.at(t, "z")
    amsl = np.where(local.at(t, "z_global", 0) != 0, up + local.at(t, "ref_alt"), np.nan)
    relative = np.where(np.isfinite(amsl - home.at(t, "alt")), amsl - home.at(t, "alt"), up)
    heights = {"altitude_monotonic": up, "altitude_amsl": amsl, "altitude_local": up, "altitude_relative": relative}
    nothing = {"altitude_terrain": np.nan, "bottom_clearance": local.at(t, "dist_bottom")}
    return out + message("ALTITUDE", t, {"time_usec": t} | heights | nothing)


def _home(topics: Topics) -> Topic:
    home = topics.get("home_position")
    return NOTHING if home.has("valid_alt") and not home.fields["valid_alt"].any() else home


def _home_position(topics: Topics) -> list[Outgoing]:
    home = topics.get("home_position")
    t = topics.ticks(0.5)
    t = t[home.at(t, "valid_hpos", 1) * np.isfinite(home.at(t, "lat")) > 0]
    values = {"latitude": home.at(t, "lat") * 1e7, "longitude": home.at(t, "lon") * 1e7}
    values |= {"altitude": home.at(t, "alt") * 1000} | {f: home.at(t, f, 0) for f in "xyz"}
    return message("HOME_POSITION", t, values | {"time_usec": t})


def _gps(topics: Topics) -> list[Outgoing]:
    gps = topics.get("vehicle_gps_position", "sensor_gps")
    t = topics.updates(gps, 20)
    in_degrees = gps.has("latitude_deg")  # 1.14 and later; scaled integers before
    lat = gps.at(t, "latitude_deg") * 1e7 if in_degrees else gps.at(t, "lat")
    lon = gps.at(t, "longitude_deg") * 1e7 if in_degrees else gps.at(t, "lon")
    values = {
        "time_usec": t,
        "lat": lat,
        "lon": lon,
        "alt": gps.at(t, "altitude_msl_m") * 1000 if in_degrees else gps.at(t, "alt"),
        "alt_ellipsoid": gps.at(t, "altitude_ellipsoid_m") * 1000 if in_degrees else gps.at(t, "alt_ellipsoid"),
        "eph": gps.at(t, "hdop") * 100,
        "epv": gps.at(t, "vdop") * 100,
        "vel": gps.at(t, "vel_m_s") * 100,
        "cog": np.degrees(gps.at(t, "cog_rad")) % 360 * 100,
        "fix_type": gps.at(t, "fix_type", 0),
        "satellites_visible": gps.at(t, "satellites_used", 255),
        "h_acc": gps.at(t, "eph") * 1000,
        "v_acc": gps.at(t, "epv") * 1000,
        "vel_acc": gps.at(t, "s_variance_m_s") * 1000,
    }
    return message("GPS_RAW_INT", t, values)


def _hud(topics: Topics) -> list[Outgoing]:
    local, air = topics.get("vehicle_local_position"), topics.get("airspeed_validated", "airspeed")
    thrust, old = topics.get("vehicle_thrust_setpoint"), topics.get("actuator_controls_0")
    t = topics.updates(local, 10)
    armed = topics.get("vehicle_status").at(t, "arming_state", 0) == 2
    axes = np.nan_to_num(thrust.vector(t, "xyz", 3)) if thrust is not NOTHING else np.zeros((3, len(t)))
    throttle = np.maximum(axes[0], -axes[2]) if thrust is not NOTHING else old.at(t, "control[3]", 0)
    speed = "calibrated_airspeed_m_s" if air.has("calibrated_airspeed_m_s") else "indicated_airspeed_m_s"
    baro = topics.get("vehicle_air_data").at(t, "baro_alt_meter", 0)
    is_global = local.at(t, "z_global", 0) != 0
    values = {
        "airspeed": np.nan_to_num(air.at(t, speed)),
        "groundspeed": np.hypot(local.at(t, "vx"), local.at(t, "vy")),
        "heading": np.degrees(local.at(t, "heading" if local.has("heading") else "yaw")) % 360,
        "throttle": np.where(armed, np.clip(throttle, 0, 1) * 100, 0),
        "alt": np.where(is_global, local.at(t, "ref_alt") - local.at(t, "z"), baro),
        "climb": -local.at(t, "vz"),
    }
    return message("VFR_HUD", t, values)


def _imu(topics: Topics) -> list[Outgoing]:
    imu, mag, air = topics.get("sensor_combined"), topics.get("vehicle_magnetometer"), topics.get("vehicle_air_data")
    t = topics.updates(imu, 50)
    acc, gyro = imu.vector(t, "accelerometer_m_s2", 3), imu.vector(t, "gyro_rad", 3)
    field = np.nan_to_num(mag.vector(t, "magnetometer_ga", 3))
    values: dict[str, Any] = {"time_usec": t, "fields_updated": 0x1FFF}
    for i, axis in enumerate("xyz"):
        values |= {f"{axis}acc": acc[i], f"{axis}gyro": gyro[i], f"{axis}mag": field[i]}
    values |= {
        "abs_pressure": air.at(t, "baro_pressure_pa", 0) / 100,
        "pressure_alt": air.at(t, "baro_alt_meter", 0),
        "temperature": air.at(t, "baro_temp_celcius", 0),
    }
    return message("HIGHRES_IMU", t, values) + _vibration(topics)


def _vibration(topics: Topics) -> list[Outgoing]:
    sensors = [s for _, s in sorted(topics.instances.get("vehicle_imu_status", {}).items())][:3]
    if not sensors:
        return []
    t = topics.updates(sensors[0], 1)
    wanted = topics.get("sensor_selection").at(t, "accel_device_id", 0)
    device = np.stack([s.at(t, "accel_device_id", -1) for s in sensors])
    primary = np.argmax(device == wanted, axis=0)  # the first where the selection is not logged
    coning = "delta_angle_coning_metric" if sensors[0].has("delta_angle_coning_metric") else "gyro_coning_vibration"
    values: dict[str, Any] = {"time_usec": t}
    for axis, name in zip("xyz", (coning, "gyro_vibration_metric", "accel_vibration_metric"), strict=True):
        values[f"vibration_{axis}"] = np.stack([s.at(t, name, 0) for s in sensors])[primary, np.arange(len(t))]
    for i, s in enumerate(sensors):
        values[f"clipping_{i}"] = np.nan_to_num(s.vector(t, "accel_clipping", 3)).sum(axis=0)
    return message("VIBRATION", t, values)


def _outputs(topics: Topics) -> list[Outgoing]:
    out: list[Outgoing] = []
    for port, outputs in sorted(topics.instances.get("actuator_outputs", {}).items()):
        t = topics.updates(outputs, 10)
        values = {f"servo{i + 1}_raw": outputs.at(t, f"output[{i}]", 0) for i in range(16)}
        out += message("SERVO_OUTPUT_RAW", t, values | {"time_usec": t & 0xFFFFFFFF, "port": min(port, 255)})
    return out


def _batteries(topics: Topics) -> list[Outgoing]:
    out: list[Outgoing] = []
    for instance, battery in sorted(topics.instances.get("battery_status", {}).items()):
        t = topics.updates(battery, 1)
        current, remaining, warm = battery.at(t, "current_a"), battery.at(t, "remaining"), battery.at(t, "temperature")
        values = {
            "id": min(instance, 255),
            "voltages": _cells(battery.vector(t, "voltage_cell_v", 10), battery.at(t, "voltage_v")),
            "current_battery": np.where(current >= 0, current * 100, -1.0),
            "current_consumed": _or(battery.at(t, "discharged_mah"), -1),
            "energy_consumed": -1,
            "battery_remaining": np.where(remaining >= 0, np.ceil(remaining * 100), -1.0),
            "temperature": _or(warm * 100, 32767),
        }
        out += message("BATTERY_STATUS", t, values)
    return out


def _cells(cells: Floats, total_v: Floats) -> Floats:
    """voltages in mV, 65535 for none: the cells where they are measured, else the whole in the first."""
    measured = np.where(cells > 0.2, cells * 1000, 65535)
    whole = np.full_like(measured, 65535)
    whole[0] = _or(total_v * 1000, 65535)
    return np.where(np.nan_to_num(cells[0]) > 0.2, measured, whole).T


def _estimator(topics: Topics) -> list[Outgoing]:
    primary = topics.get("estimator_selector_status")
    chosen = int(np.median(primary.fields["primary_instance"])) if primary.has("primary_instance") else None
    estimator = topics.get("estimator_status", instance=chosen)
    if estimator is NOTHING:
        estimator = topics.get("estimator_status")
    t = topics.updates(estimator, 5)
    names = {"vel_ratio": "vel", "pos_horiz_ratio": "pos", "pos_vert_ratio": "hgt", "mag_ratio": "mag"}
    names |= {"hagl_ratio": "hagl", "tas_ratio": "tas"}
    values = {field: np.nan_to_num(estimator.at(t, f"{name}_test_ratio")) for field, name in names.items()}
    values |= {a: estimator.at(t, a) for a in ("pos_horiz_accuracy", "pos_vert_accuracy")}
    out = message(
        "ESTIMATOR_STATUS", t, values | {"time_usec": t, "flags": estimator.at(t, "solution_status_flags", 0)}
    )
    wind = topics.get("wind", "wind_estimate")
    t = topics.updates(wind, 10)
    blowing = {"wind_x": wind.at(t, "windspeed_north"), "wind_y": wind.at(t, "windspeed_east")}
    return out + message("WIND_COV", t, {"time_usec": t} | blowing)


def _extended_state(topics: Topics) -> list[Outgoing]:
    land, status = topics.get("vehicle_land_detected"), topics.get("vehicle_status")
    t = topics.ticks(5)
    landed, nav_state = land.at(t, "landed"), status.at(t, "nav_state", 0)
    in_air = np.where(np.isin(nav_state, (17, 22)), 3, np.where(nav_state == 18, 4, 2))
    is_vtol = status.at(t, "is_vtol", 0) != 0
    wing = np.where(status.at(t, "vehicle_type", 1) == 2, 4, 3)
    turning = status.at(t, "in_transition_mode", 0) != 0
    values = {
        "landed_state": np.where(np.isnan(landed), 0, np.where(landed != 0, 1, in_air)),
        "vtol_state": np.where(is_vtol, np.where(turning, 1, wing), 0),
    }
    mission = topics.get("mission_result")
    once = topics.ticks(1)
    once = once[np.isfinite(mission.at(once, "seq_current"))]
    current = {"seq": mission.at(once, "seq_current"), "total": mission.at(once, "seq_total", 0)}
    return message("EXTENDED_SYS_STATE", t, values) + message("MISSION_CURRENT", once, current)


def _sticks(topics: Topics) -> list[Outgoing]:
    rc = topics.get("input_rc")
    t = topics.updates(rc, 20)
    count, rssi = rc.at(t, "channel_count", 0), rc.at(t, "rssi")
    values: dict[str, Any] = {"time_boot_ms": _boot_ms(t), "chancount": count}
    for i in range(18):
        values[f"chan{i + 1}_raw"] = np.where(count > i, rc.at(t, f"values[{i}]"), 65535)
    values["rssi"] = np.where((rssi >= 0) & (rssi <= 100), rssi * 2.54, 255)
    return message("RC_CHANNELS", t, values)


STREAMS: tuple[Callable[[Topics], list[Outgoing]], ...] = (
    _heartbeat, _system, _attitude, _position, _home_position, _gps, _hud, _imu, _outputs, _batteries, _estimator,
    _extended_state, _sticks,
)  # fmt: skip
TOPICS = (
    "vehicle_status", "battery_status", "cpuload", "vehicle_attitude", "vehicle_angular_velocity",
    "vehicle_attitude_setpoint", "vehicle_local_position", "vehicle_global_position", "home_position",
    "vehicle_gps_position", "sensor_gps", "airspeed_validated", "airspeed", "vehicle_thrust_setpoint",
    "actuator_controls_0", "vehicle_air_data", "sensor_combined", "vehicle_magnetometer", "vehicle_imu_status",
    "sensor_selection", "actuator_outputs", "estimator_selector_status", "estimator_status", "wind", "wind_estimate",
    "vehicle_land_detected", "mission_result", "input_rc",
)  # fmt: skip

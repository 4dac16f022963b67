"""Derived series: physical quantities and contradictions between sensors, computed from channels window by window.

Input: channel name -> float array [windows, ticks] or [windows, ticks, size] at 10 Hz, NaN where absent; any channel
may be missing altogether. Two kinds of series come out: per tick [windows, ticks] and per second [windows, seconds]
(differences over one second do not care at which rate a message came). Pure numpy; frames as in shared.channels.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.channels import BY_NAME, GRID_HZ

Array = NDArray[np.floating]
Channels = Mapping[str, NDArray[np.floating]]
Series = dict[str, Array]

GRAVITY_MPS2 = 9.80665
EARTH_M_PER_DEG = 111_319.5
ENOUGH_FIX, ENOUGH_SATELLITES, ENOUGH_HDOP = 3, 10, 1.3
"""A better receiver is no anomaly: what is better than this counts as this."""
HEALTH_BITS = {
    "gyro": 0, "accel": 1, "mag": 2, "pressure": 3, "airspeed": 4, "gps": 5, "rc": 16, "ahrs": 21, "battery": 25,
}  # fmt: skip
"""Bits of MAV_SYS_STATUS_SENSOR whose loss in flight is watched."""


_ATTITUDE = ("roll_rad", "pitch_rad", "yaw_rad")
_VELOCITY = ("vel_north_mps", "vel_east_mps", "vel_down_mps")
_MAG = ("mag_x_ut", "mag_y_ut", "mag_z_ut")
_OUT, _RPM = "motor_output_us", "motor_rpm"
CHANNELS_OF: dict[str, tuple[str, ...]] = {
    **{f"{a}_error": (f"{a}_rad", f"{a}_target_rad") for a in ("roll", "pitch", "yaw")},
    **{f"{a}_rate": (f"{a}_rate_radps",) for a in ("roll", "pitch", "yaw")},
    "tilt": ("roll_rad", "pitch_rad"),
    **{f"mag_{d}": (*_MAG, *_ATTITUDE) for d in ("north", "east")},
    "mag_down": (*_MAG, *_ATTITUDE[:2]),
    "mag_norm": _MAG,
    **{f"vibe_{a}": (f"vibe_{a}_mps2",) for a in "xyz"},
    **{f"acc_{a}_rough": (f"acc_{a}_mps2",) for a in "xyz"},
    "acc_x_residual": ("acc_x_mps2", *_VELOCITY, *_ATTITUDE[1:]),
    **{f"acc_{a}_residual": (f"acc_{a}_mps2", *_VELOCITY, *_ATTITUDE) for a in "yz"},
    "clips": ("clip_count",),
    "gps_fix": ("gps_fix",),
    "gps_satellites": ("gps_satellites",),
    "gps_hdop": ("gps_hdop",),
    "gps_speed_error": ("gps_speed_mps", "groundspeed_mps"),
    "gps_height_error": ("gps_alt_msl_m", "alt_msl_m"),
    "position_error": ("lat_deg", "lon_deg", *_VELOCITY[:2]),
    "airspeed_error": ("airspeed_mps", *_VELOCITY, "wind_speed_mps", "wind_from_deg"),
    "airspeed": ("airspeed_mps",),
    "climb_error": ("climb_mps", "vel_down_mps"),
    "baro_climb_error": ("pressure_pa", "vel_down_mps"),
    "alt_climb_error": ("alt_msl_m", "vel_down_mps"),
    "baro_height_error": ("pressure_pa", "alt_msl_m"),
    "volts": ("battery_v",),
    "amps": ("battery_a",),
    "battery_remaining": ("battery_remaining_pct",),
    "board_v": ("board_v",),
    "throttle": ("throttle_pct",),
    "thrust_deficit": ("throttle_pct", "vel_down_mps", "airspeed_mps"),
    "height_error": ("alt_error_m",),
    "xtrack_error": ("xtrack_error_m",),
    **{f"outputs_{g}_{what}": (_OUT,) for g in "ab" for what in ("spread", "limit")},
    **{f"rotors_{g}_uneven": (_RPM, _OUT) for g in "ab"},
    **{f"output_{c}": (_OUT,) for c in ("roll", "pitch", "thrust", "yaw")},
    "rotor_speed": (_RPM,),
    **{f"ekf_{k}": (f"ekf_{k}_ratio",) for k in ("velocity", "position", "height", "compass")},
    **{f"ekf_{k}": ("ekf_flags",) for k in ("no_position", "dead_reckoning")},
    **{f"{name}_unhealthy": ("sensors_health",) for name in HEALTH_BITS},
    "rc_throttle_low": ("rc_input_us",),
    "rc_rssi": ("rc_rssi_pct",),
}
"""Series -> the channels that it is made of. Every series of this module, in no order."""


class Windows:
    """The channels of some windows, all of one shape [n, ticks]; an absent channel reads as NaN."""

    def __init__(self, channels: Channels) -> None:
        """ValueError when no channel is given or their shapes do not agree."""
        shapes = {np.shape(v)[:2] for v in channels.values()}
        if len(shapes) != 1:
            raise ValueError(f"channels of one shape are needed, not {sorted(shapes)}")
        self.shape: tuple[int, int] = shapes.pop()
        self._channels = channels

    def __getitem__(self, name: str) -> Array:
        channel = BY_NAME[name]
        values = self._channels.get(name)
        if values is None:
            return np.full(self.shape if channel.size == 1 else (*self.shape, channel.size), np.nan, np.float32)
        return values.astype(np.float32, copy=False)

    def exact(self, name: str) -> NDArray[np.float64]:
        """The channel in float64, for positions and bit fields."""
        values = self._channels.get(name)
        return np.full(self.shape, np.nan) if values is None else np.asarray(values, np.float64)


def per_second(values: NDArray[np.floating]) -> Array:
    """Mean of the ticks of each second: [n, ticks] -> [n, seconds], NaN where fewer than half are present."""
    n, ticks = values.shape
    cells = values[:, : ticks - ticks % GRID_HZ].reshape(n, -1, GRID_HZ)
    valid = np.isfinite(cells)
    count = valid.sum(axis=2)
    total = np.where(valid, cells, 0).sum(axis=2)
    return np.where(count >= GRID_HZ // 2, total / np.maximum(count, 1), np.nan).astype(np.float32)


def wrap_rad(angle: Array) -> Array:
    """The same angle in [-pi, pi)."""
    return (angle + np.float32(np.pi)) % np.float32(2 * np.pi) - np.float32(np.pi)


def _to_ned(rotation: tuple[Array, ...], x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """A body vector (forward, right, down) in north, east, down."""
    sr, cr, sp, cp, sy, cy = rotation
    level_x = cp * x + sp * (sr * y + cr * z)
    level_y = cr * y - sr * z
    return cy * level_x - sy * level_y, sy * level_x + cy * level_y, -sp * x + cp * (sr * y + cr * z)


def _to_body(rotation: tuple[Array, ...], n: Array, e: Array, d: Array) -> tuple[Array, Array, Array]:
    """The inverse of _to_ned."""
    sr, cr, sp, cp, sy, cy = rotation
    ahead, right = cy * n + sy * e, cy * e - sy * n
    up_part = sp * ahead + cp * d
    return cp * ahead - sp * d, cr * right + sr * up_part, cr * up_part - sr * right


def tick_series(w: Windows) -> Series:
    """Every per-tick series, name -> [n, ticks]."""
    return _attitude(w) | _magnetic(w) | _motion(w) | _gps(w) | _air_and_power(w) | _outputs(w) | _state(w)


def second_series(w: Windows) -> Series:
    """Every per-second series, name -> [n, seconds]; the first second of a difference is NaN."""
    return _kinematics(w) | _heights(w) | _energy(w)


def _attitude(w: Windows) -> Series:
    roll, pitch = w["roll_rad"], w["pitch_rad"]
    return {
        "roll_error": wrap_rad(roll - w["roll_target_rad"]),
        "pitch_error": pitch - w["pitch_target_rad"],
        "yaw_error": wrap_rad(w["yaw_rad"] - w["yaw_target_rad"]),
        "roll_rate": w["roll_rate_radps"],
        "pitch_rate": w["pitch_rate_radps"],
        "yaw_rate": w["yaw_rate_radps"],
        "tilt": np.arccos(np.clip(np.cos(roll) * np.cos(pitch), -1, 1)),
    }


def _rotation(w: Windows) -> tuple[Array, ...]:
    angles = [w[a] for a in ("roll_rad", "pitch_rad", "yaw_rad")]
    return tuple(f(a) for a in angles for f in (np.sin, np.cos))


def _magnetic(w: Windows) -> Series:
    """Turned into north-east-down the field stands still, however the aircraft moves: what moves is a fault."""
    x, y, z = (w[f"mag_{a}_ut"] for a in "xyz")
    norm = np.sqrt(x * x + y * y + z * z)
    with np.errstate(all="ignore"):
        level = np.maximum(per_window_mean(norm), np.float32(1))
        north, east, down = (b / level for b in _to_ned(_rotation(w), x, y, z))
    return {"mag_north": north, "mag_east": east, "mag_down": down, "mag_norm": norm / level}


def per_window_mean(values: Array) -> Array:
    """[n, ticks] -> [n, 1], NaN when nothing is there."""
    valid = np.isfinite(values)
    count = valid.sum(axis=1, keepdims=True)
    total = np.where(valid, values, 0).sum(axis=1, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _motion(w: Windows) -> Series:
    series = {f"vibe_{a}": w[f"vibe_{a}_mps2"] for a in "xyz"}
    for a in "xyz":
        acc = w[f"acc_{a}_mps2"]
        series[f"acc_{a}_rough"] = acc - np.repeat(per_second(acc), GRID_HZ, axis=1)[:, : acc.shape[1]]
    return series | {"clips": w["clip_count"]}


def _gps(w: Windows) -> Series:
    return {
        "gps_fix": np.minimum(w["gps_fix"], np.float32(ENOUGH_FIX)),
        "gps_satellites": np.minimum(w["gps_satellites"], np.float32(ENOUGH_SATELLITES)),
        "gps_hdop": np.maximum(w["gps_hdop"], np.float32(ENOUGH_HDOP)),
        "gps_speed_error": w["gps_speed_mps"] - w["groundspeed_mps"],
        "gps_height_error": (w.exact("gps_alt_msl_m") - w.exact("alt_msl_m")).astype(np.float32),
    }


def _air_and_power(w: Windows) -> Series:
    wind_from = np.radians(w["wind_from_deg"])
    wind_n, wind_e = -w["wind_speed_mps"] * np.cos(wind_from), -w["wind_speed_mps"] * np.sin(wind_from)
    through_air = np.sqrt(
        (w["vel_north_mps"] - wind_n) ** 2 + (w["vel_east_mps"] - wind_e) ** 2 + w["vel_down_mps"] ** 2
    )
    volts = np.where(w["battery_v"] > 0.5, w["battery_v"], np.float32(np.nan))  # 0: no monitor
    return {
        "airspeed_error": w["airspeed_mps"] - through_air,
        "airspeed": w["airspeed_mps"],
        "climb_error": w["climb_mps"] + w["vel_down_mps"],
        "volts": volts / np.maximum(per_window_mean(volts), np.float32(0.1)),
        "amps": w["battery_a"] / np.maximum(per_window_mean(w["battery_a"]), np.float32(0.5)),
        "battery_remaining": w["battery_remaining_pct"],
        "board_v": w["board_v"],
        "throttle": w["throttle_pct"],
        "height_error": w["alt_error_m"],
        "xtrack_error": w["xtrack_error_m"],
    }


def _outputs(w: Windows) -> Series:
    """Outputs 1-4 (multicopter motors, surfaces and throttle, swash plate) and 5-8 (further motors, VTOL motors)."""
    series: Series = {}
    outputs, rpm = w["motor_output_us"], w["motor_rpm"]
    driven = np.where(outputs > 900, outputs, np.nan)
    for name, part in (("a", slice(0, 4)), ("b", slice(4, 8))):
        group = driven[:, :, part]
        present = np.isfinite(group)
        count = present.sum(axis=2)
        some = count >= 2
        high = np.where(present, group, -np.inf).max(axis=2)
        low = np.where(present, group, np.inf).min(axis=2)
        series[f"outputs_{name}_spread"] = np.where(some, high - low, np.nan)
        series[f"outputs_{name}_limit"] = np.where(some, (high > 1930) | (low < 1070), np.nan).astype(np.float32)
        series[f"rotors_{name}_uneven"] = _uneven(rpm[:, :, part], group)
    for i, command in enumerate(("roll", "pitch", "thrust", "yaw")):
        series[f"output_{command}"] = driven[:, :, i]
    speed = rpm[:, :, 0]
    series["rotor_speed"] = speed / np.maximum(per_window_mean(speed), np.float32(100))
    return series


def _uneven(rpm: Array, command: Array) -> Array:
    """Spread of rotor speed per commanded us over the commanded rotors, relative to their mean: [n, ticks]."""
    gain = np.where(command > 1150, rpm / (command - 1000), np.nan)
    present = np.isfinite(gain)
    count = present.sum(axis=2)
    mean = np.where(present, gain, 0).sum(axis=2) / np.maximum(count, 1)
    spread = np.where(present, gain, -np.inf).max(axis=2) - np.where(present, gain, np.inf).min(axis=2)
    return np.where((count >= 2) & (mean > 0.05), spread / np.maximum(mean, 0.05), np.nan).astype(np.float32)


def _state(w: Windows) -> Series:
    series = {f"ekf_{k}": w[f"ekf_{k}_ratio"] for k in ("velocity", "position", "height", "compass")}
    series |= {f"{name}_unhealthy": _bit_clear(w.exact("sensors_health"), bit) for name, bit in HEALTH_BITS.items()}
    flags = w.exact("ekf_flags")
    series["ekf_no_position"] = _bit_clear(flags, 4)
    series["ekf_dead_reckoning"] = np.float32(1) - _bit_clear(flags, 7)
    sticks = w["rc_input_us"]
    series["rc_throttle_low"] = np.where(np.isfinite(sticks[:, :, 2]), sticks[:, :, 2] < 960, np.nan).astype(np.float32)
    return series | {"rc_rssi": w["rc_rssi_pct"]}


def _bit_clear(bits: NDArray[np.float64], bit: int) -> Array:
    """1 where the bit is not set, 0 where it is, NaN where the field is absent."""
    present = np.isfinite(bits)
    whole = np.where(present, bits, 0).astype(np.int64)
    return np.where(present, 1 - (whole >> bit & 1), np.nan).astype(np.float32)


def _step(values: Array) -> Array:
    """Change from one second to the next; the first is NaN."""
    return np.diff(values, axis=1, prepend=np.float32(np.nan))


def _over_two(values: Array) -> Array:
    """Mean of this second and the one before."""
    return values - _step(values) / 2


def _kinematics(w: Windows) -> Series:
    """Accelerometer against the change of velocity; velocity against the change of position."""
    roll_pitch_yaw = [w[a] for a in ("roll_rad", "pitch_rad", "yaw_rad")]
    rotation = tuple(_over_two(per_second(f(a))) for a in roll_pitch_yaw for f in (np.sin, np.cos))
    velocity = [per_second(w[v]) for v in ("vel_north_mps", "vel_east_mps", "vel_down_mps")]
    n, e, d = (_step(v) for v in velocity)
    expected = _to_body(rotation, n, e, d - np.float32(GRAVITY_MPS2))
    series: Series = {
        f"acc_{a}_residual": _over_two(per_second(w[f"acc_{a}_mps2"])) - x for a, x in zip("xyz", expected, strict=True)
    }
    lat, lon = w.exact("lat_deg"), w.exact("lon_deg")
    lat0, lon0 = (np.fmax.reduce(p, axis=1, keepdims=True) for p in (lat, lon))
    north = per_second((lat - lat0) * EARTH_M_PER_DEG)
    east = per_second(((lon - lon0 + 180) % 360 - 180) * EARTH_M_PER_DEG * np.cos(np.radians(lat0)))
    moved = [_step(p) - _over_two(v) for p, v in zip((north, east), velocity[:2], strict=True)]
    series["position_error"] = np.hypot(*moved)
    return series


def _heights(w: Windows) -> Series:
    with np.errstate(invalid="ignore"):
        pressure_m = 44330.77 * (1 - (w.exact("pressure_pa") / 101_325) ** 0.190263)
    climb = _over_two(per_second(-w["vel_down_mps"]))
    alt = w.exact("alt_msl_m")
    return {
        "baro_climb_error": _step(per_second(pressure_m)) - climb,
        "alt_climb_error": _step(per_second(alt)) - climb,
        "baro_height_error": per_second(pressure_m - alt),
    }


def _energy(w: Windows) -> Series:
    """Throttle asked for against the energy gained: thrust lost shows as throttle without effect."""
    speed = per_second(w["airspeed_mps"])
    gained = _over_two(per_second(-w["vel_down_mps"])) + _over_two(speed) * _step(speed) / np.float32(GRAVITY_MPS2)
    deficit: Array = per_second(w["throttle_pct"]) / np.float32(100) - gained * np.float32(0.1)
    return {"thrust_deficit": deficit}

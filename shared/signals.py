"""Signals: physical consistencies of a flight at 10 Hz, from which features are reduced (`shared.features`).

Each is one quantity per tick: a command against its response, one sensor against another, a rate against the change of
what it is the rate of, or a plain level. Every signal is causal and looks back at most REACH ticks, so that a flight in
pieces gives what it gives whole. NaN where a channel is absent. Units are SI; axes forward-right-down and
north-east-down.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.channels import GRID_HZ

Array = NDArray[np.float64]
Channels = Mapping[str, NDArray[np.floating]]
REACH = 100
"""Ticks that a signal may look back."""
G_MPS2 = 9.80665
_METRES_PER_DEGREE = 111_195.0
_SEC = GRID_HZ
HEALTH_BITS = {
    "gyro": 0,
    "accel": 1,
    "mag": 2,
    "pressure": 3,
    "airspeed": 4,
    "gps": 5,
    "rc": 16,
    "ahrs": 21,
    "battery": 25,
}
"""MAV_SYS_STATUS_SENSOR, MAVLink common: bit numbers."""
_DRIVEN_US = 1_100.0
_POWERED_US = 1_300.0
"""Above it an engine's speed follows its command; below, propellers are turned by the wind."""
_ALIASED = 0.65
"""A vibration that is sampled a few times a second can look like a steady offset; of the level (root mean square) that
VIBRATION gives this much lasts for seconds, in each of two sensors."""
_ALIASED_RATE = 0.02
"""The same for gyroscopes, rad/s for each m/s2 of vibration."""
_LATE_S = 0.1
"""Messages of one moment may be read so much apart."""
_HEARD_TICKS = 5
_LEAST_RATE = 0.05
"""rad/s: commands and errors of body rates below are noise."""
_FASTEST_CLIMB_MPS = 50.0
_CRUISE_MPS = 8.0
"""Through the air: faster, wings carry (and wind estimates mean something); slower, rotors do."""
_IDLE_US = 1_000.0


def trailing_mean(x: Array, n: int) -> Array:
    """Mean of the present ones of the last n ticks [.., T]; NaN where none is."""
    present = np.isfinite(x)
    total, count = np.cumsum(np.where(present, x, 0.0), axis=-1), np.cumsum(present, axis=-1)
    total[..., n:], count[..., n:] = total[..., n:] - total[..., :-n], count[..., n:] - count[..., :-n]
    return np.asarray(total / np.where(count > 0, count, np.nan))


def change(x: Array, n: int) -> Array:
    """Per second, over the last n ticks; NaN in the first n."""
    out = np.full(x.shape, np.nan)
    out[..., n:] = (x[..., n:] - x[..., :-n]) * (GRID_HZ / n)
    return out


def earlier(x: Array, n: int) -> Array:
    """The value n ticks ago."""
    out = np.full(x.shape, np.nan)
    out[..., n:] = x[..., :-n]
    return out


def wrapped(angle: Array) -> Array:
    """The same angle in [-pi, pi)."""
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi)


class _Ticks:
    """Channels by name as float64 [T] or [size, T]; NaN where absent."""

    def __init__(self, channels: Channels, n: int) -> None:
        self._channels, self.n = channels, n

    def __call__(self, name: str) -> Array:
        values = self._channels.get(name)
        return np.full(self.n, np.nan) if values is None else np.asarray(values, np.float64)

    def rows(self, name: str, size: int) -> Array:
        values = self._channels.get(name)
        return np.full((size, self.n), np.nan) if values is None else np.asarray(values, np.float64)[:, :size].T

    def xyz(self, pattern: str) -> Array:
        return np.stack([self(pattern.replace("?", axis)) for axis in "xyz"])


def signals(channels: Channels) -> dict[str, Array]:
    """All signals [T] of channels [T] (or [T, size]); those whose channels are absent are all NaN."""
    n = len(next(iter(channels.values()))) if channels else 0
    c = _Ticks(channels, n)
    with np.errstate(all="ignore"):
        return (
            _attitude(c) | _inertial(c) | _compass(c) | _height(c) | _satellites(c) | _health(c) | _drive(c) | _air(c)
        )


def flying(channels: Channels) -> NDArray[np.bool_]:
    """[T]: armed, and more than 1.5 m above home or faster than 4 m/s; unknown counts as not."""
    n = len(next(iter(channels.values())))
    c = _Ticks(channels, n)
    with np.errstate(invalid="ignore"):
        return np.asarray((c("armed") > 0.5) & ((c("alt_rel_m") > 1.5) | (c("groundspeed_mps") > 4.0)))


def _attitude(c: _Ticks) -> dict[str, Array]:
    roll, pitch = c("roll_rad"), c("pitch_rad")
    p, q, r = c("roll_rate_radps"), c("pitch_rate_radps"), c("yaw_rate_radps")
    by_rotors = _lifted_by_rotors(c)
    untracked = [_untracked(rate, c(f"{a}_rate_target_radps"), by_rotors) for a, rate in (("roll", p), ("pitch", q))]
    return {
        "roll_error": roll - earlier(c("roll_target_rad"), 3),
        "pitch_error": pitch - earlier(c("pitch_target_rad"), 3),
        "roll_rate": p, "pitch_rate": q, "yaw_rate": r,
        "roll_untracked": untracked[0], "pitch_untracked": untracked[1],
        "tilt": np.arccos(np.clip(np.cos(roll) * np.cos(pitch), -1, 1)),
    }  # fmt: skip


def _untracked(rate: Array, target: Array, by_rotors: NDArray[np.bool_]) -> Array:
    """Error of a rate over its command, both of the last 6 s; NaN where nothing is commanded, or wings do the
    turning."""
    commanded = trailing_mean(target * target, 6 * _SEC)
    error = trailing_mean((rate - earlier(target, 1)) ** 2, 6 * _SEC)
    return np.where((commanded > 1e-8) & by_rotors, np.sqrt(error / (commanded + _LEAST_RATE**2)), np.nan)


def _rough(x: Array, n: int = 5) -> Array:
    """Length of what a vector [3, T] differs from its mean of the last n ticks by."""
    return np.asarray(np.linalg.norm(x - trailing_mean(x, n), axis=0))


def _still(c: _Ticks, x: Array) -> Array:
    """1 where none of [k, T] has changed in 2 s in which the attitude did: the sensor has stopped (noise alone moves
    the last
    digit of one that works, and where nothing changes the link is silent). NaN until it has been there for 2 s."""
    attitude = np.stack([c("roll_rad"), c("pitch_rad"), c("yaw_rad")])
    present = np.asarray(np.isfinite(x).all(axis=0) & np.isfinite(earlier(x, 1)).all(axis=0))
    n = 2 * _SEC - 1
    heard = _times(np.any(attitude != earlier(attitude, 1), axis=0), n) >= _HEARD_TICKS
    stopped = _times(np.any(x != earlier(x, 1), axis=0), n) == 0
    return np.where(_held(present, n), (heard & stopped).astype(np.float64), np.nan)


def _times(mask: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    """[.., T]: how often it was true in the last n ticks."""
    count = np.cumsum(mask, axis=-1)
    count[..., n:] = count[..., n:] - count[..., :-n]
    return np.asarray(count, np.int64)


def _held(mask: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    """[.., T]: true at all of the last n ticks."""
    return np.asarray(_times(mask, n) == n)


def _highest(x: Array, n: int) -> Array:
    """Largest of the present ones of the last n ticks [.., T]."""
    padded = np.concatenate([np.full((*x.shape[:-1], n - 1), np.nan), x], axis=-1)
    return np.asarray(np.fmax.reduce(np.lib.stride_tricks.sliding_window_view(padded, n, axis=-1), axis=-1))


def beyond(x: Array, by: Array) -> Array:
    """What is left of x when its magnitude is less by `by`; an absent `by` takes nothing."""
    return np.asarray(np.sign(x) * np.fmax(np.abs(x) - np.where(np.isfinite(by), by, 0.0), 0.0))


def _to_ned(c: _Ticks, v: Array) -> Array:
    """A body vector [3, T] in north, east, down."""
    roll, pitch, yaw = c("roll_rad"), c("pitch_rad"), c("yaw_rad")
    cr, sr, cp, sp, cy, sy = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    ahead, across = cp * v[0] + sp * (sr * v[1] + cr * v[2]), cr * v[1] - sr * v[2]
    return np.stack([cy * ahead - sy * across, sy * ahead + cy * across, -sp * v[0] + cp * (sr * v[1] + cr * v[2])])


def _to_body(c: _Ticks, v: Array) -> Array:
    """A vector [3, T] in north, east, down turned into the body's axes."""
    roll, pitch, yaw = c("roll_rad"), c("pitch_rad"), c("yaw_rad")
    cr, sr, cp, sp, cy, sy = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    ahead, across = cy * v[0] + sy * v[1], -sy * v[0] + cy * v[1]
    below = sp * ahead + cp * v[2]
    return np.stack([cp * ahead - sp * v[2], cr * across + sr * below, -sr * across + cr * below])


def _inertial(c: _Ticks) -> dict[str, Array]:
    acc, acc2 = c.xyz("acc_?_mps2"), c.xyz("acc2_?_mps2")
    gyro, gyro2 = c.xyz("gyro_?_radps"), c.xyz("gyro2_?_radps")
    rates = np.stack([c("roll_rate_radps"), c("pitch_rate_radps"), c("yaw_rate_radps")])
    moved = np.stack([change(c(f"vel_{a}_mps"), _SEC) for a in ("north", "east", "down")])
    out: dict[str, Array] = {}
    fallen = moved - np.array([[0.0], [0.0], [G_MPS2]])
    expected = _to_body(c, fallen)
    shaken = _highest(c.xyz("vibe_?_mps2"), 2 * _SEC)
    shaken = np.where(np.isfinite(shaken), shaken, np.fmax.reduce(shaken))  # PX4 tells one level for all axes
    late = np.nan_to_num(
        _LATE_S * _highest(np.abs(change(rates, _SEC)), 2 * _SEC)
    )  # what is compared is of different messages
    swayed = np.nan_to_num(_ALIASED_RATE * np.linalg.norm(shaken, axis=0))
    for name, force in (("acc", acc), ("acc2", acc2)):
        off = beyond(trailing_mean(force, _SEC) - trailing_mean(expected, 5), _ALIASED * shaken)
        out |= {f"{name}_residual_{axis}": off[i] for i, axis in enumerate("xyz")}
        out |= {f"{name}_residual": np.linalg.norm(off, axis=0)} if name == "acc" else {}
    apart = beyond(trailing_mean(acc, 5) - trailing_mean(acc2, 5), 2 * _ALIASED * shaken)
    turned = beyond(trailing_mean(gyro, 5) - trailing_mean(gyro2, 5), 2 * swayed + late)
    off_rate = beyond(trailing_mean(gyro, _SEC) - trailing_mean(rates, _SEC), swayed + late)
    for i, axis in enumerate("xyz"):
        out |= {f"acc_apart_{axis}": apart[i], f"gyro_apart_{axis}": turned[i], f"gyro_off_{axis}": off_rate[i]}
    return out | {
        "acc_apart": np.linalg.norm(apart, axis=0), "gyro_apart": np.linalg.norm(turned, axis=0),
        "gyro_apart_rough": _rough(gyro - gyro2, 20), "acc_rough": _rough(acc), "gyro_rough": _rough(gyro),
        "imu_still": np.fmax(_still(c, np.concatenate([acc, gyro])), _still(c, np.concatenate([acc2, gyro2]))),
        "vibe_x": c("vibe_x_mps2"), "vibe_y": c("vibe_y_mps2"), "vibe_z": c("vibe_z_mps2"),
        "clipping": change(c("clip_count"), _SEC),
    }  # fmt: skip


def _compass(c: _Ticks) -> dict[str, Array]:
    mag, mag2 = c.xyz("mag_?_ut"), c.xyz("mag2_?_ut")
    field, field2 = _to_ned(c, mag), _to_ned(c, mag2)
    return {
        "mag_strength": np.linalg.norm(mag, axis=0), "mag2_strength": np.linalg.norm(mag2, axis=0),
        "mag_north": field[0], "mag_east": field[1], "mag2_east": field2[1],
        "mag_apart": np.linalg.norm(mag - mag2, axis=0),
    }  # fmt: skip


def _height_m(pressure_pa: Array) -> Array:
    """Height in the standard atmosphere (ICAO) of a static pressure."""
    return np.asarray(44_330.0 * (1 - (np.where(pressure_pa > 10_000, pressure_pa, np.nan) / 101_325.0) ** 0.1903))


def _lately_climbed(alt: Array) -> NDArray[np.bool_]:
    """[T]: higher or lower by half a metre than 2 s ago: a barometer must have seen it (6 Pa)."""
    return np.abs(alt - earlier(alt, 2 * _SEC)) > 0.5


def _believable(speed: Array) -> Array:
    """Vertical speeds; absent where no aircraft has them: heights of old logs leap by hundreds of metres."""
    return np.where(np.abs(speed) < _FASTEST_CLIMB_MPS, speed, np.nan)


def _height(c: _Ticks) -> dict[str, Array]:
    baro, baro2 = _height_m(c("baro_pa")), _height_m(c("baro2_pa"))
    alt, down, gps = c("alt_msl_m"), c("vel_down_mps"), c("gps_alt_msl_m")
    gps = np.where(c("gps_fix") >= 3, gps, np.nan)
    sink = trailing_mean(down, _SEC)
    sees = _times(baro2 != earlier(baro2, 1), _SEC) > _HEARD_TICKS // 2
    return {
        "baro_climb_error": change(baro, _SEC) + sink, "baro2_climb_error": change(baro2, _SEC) + sink,
        "baro_rough": np.abs(baro - trailing_mean(baro, _SEC) + 0.45 * sink), "baro_still":
            np.where(_lately_climbed(alt) | sees, _still(c, baro[None]), np.nan),
        "baro_apart": baro - baro2,
        "alt_climb_error": _believable(change(alt, _SEC) + sink),
        "gps_above_baro": gps - baro, "gps_above_baro2": gps - baro2, "gps_above_estimate": gps - alt,
    }  # fmt: skip


def _satellites(c: _Ticks) -> dict[str, Array]:
    has_fix = c("gps_fix") >= 3
    lat, lon = (np.where(has_fix, c(f"gps_{a}_deg"), np.nan) for a in ("lat", "lon"))
    east_m = _METRES_PER_DEGREE * np.cos(np.radians(c("lat_deg")))
    north, east = (lat - c("lat_deg")) * _METRES_PER_DEGREE, (lon - c("lon_deg")) * east_m
    course, speed = np.radians(c("gps_course_deg")), np.where(has_fix, c("gps_speed_mps"), np.nan)
    vel_n, vel_e = c("vel_north_mps"), c("vel_east_mps")
    used = _times(has_fix, REACH - 1) > 0  # a receiver that has had no fix for 10 s is not relied on: indoors, or none
    jump = np.hypot(north - trailing_mean(north, 30), east - trailing_mean(east, 30))
    wrong = np.hypot(speed * np.cos(course) - trailing_mean(vel_n, 3), speed * np.sin(course) - trailing_mean(vel_e, 3))
    return {
        "gps_jump": jump, "gps_offset": np.hypot(north, east), "gps_velocity_error": wrong,
        "gps_speed_error": speed - np.hypot(vel_n, vel_e),
        "gps_fix": np.where(used, np.minimum(c("gps_fix"), 3), np.nan),
        "gps_satellites": np.where(used, np.minimum(c("gps_satellites"), 12), np.nan),
        "gps_hdop": np.where(used, np.clip(c("gps_hdop"), 1.0, 20.0), np.nan),
        "gps_hacc": np.where(used, np.clip(c("gps_hacc_m"), 1.0, 100.0), np.nan),
        "gps_sacc": np.where(used, np.clip(c("gps_sacc_mps"), 0.5, 20.0), np.nan),
    }  # fmt: skip


def _turned(is_bad: NDArray[np.bool_], known: NDArray[np.bool_]) -> Array:
    """1 where something is bad that was good within the last 10 s: what was never good is not this flight's fault."""
    return np.asarray(is_bad & (_times(known & ~is_bad, REACH - 1) > 0), np.float64)


def _health(c: _Ticks) -> dict[str, Array]:
    health, enabled = c("sensors_health"), c("sensors_enabled")
    known = np.isfinite(health)
    good, used = np.nan_to_num(health).astype(np.int64), np.nan_to_num(enabled, nan=-1).astype(np.int64)
    out = {
        f"{name}_unhealthy": np.where(known, _turned(((~good >> bit) & (used >> bit) & 1) > 0, known), np.nan)
        for name, bit in HEALTH_BITS.items()
    }
    ratios = {f"ekf_{k}": c(f"ekf_{k}_ratio") for k in ("velocity", "position", "height", "compass", "airspeed")}
    volts = trailing_mean(c("battery_v"), _SEC)
    sag = np.log(np.maximum(volts, 1.0) / np.maximum(earlier(volts, 6 * _SEC), 1.0))
    return out | ratios | {"system_status": c("system_status"), "volts": c("battery_v"), "volts_step": sag}


def _drive(c: _Ticks) -> dict[str, Array]:
    pulses, rpm = c.rows("motor_output_us", 8), c.rows("motor_rpm", 8)
    response = np.log(np.maximum(rpm, 50.0) / np.maximum(pulses - _IDLE_US, 50.0))
    out = {
        "throttle": c("throttle_pct"),
        "thrust_target": c("thrust_target"),
        "rotor_speed": np.log(np.maximum(rpm[0], 50.0)),
    }
    level = trailing_mean(pulses[:3], 5).mean(axis=0)
    out |= {f"output_{i + 1}": pulses[i] for i in range(4)}
    out |= {f"share_{i + 1}": trailing_mean(pulses[i], 5) - level for i in range(3)}
    powered = _held(pulses[2] > _POWERED_US, _SEC) & (_times(rpm[2] > 500, REACH - _SEC) > 0)
    out["engine_response"] = np.where(powered, trailing_mean(response[2], _SEC), np.nan)
    slow = _lifted_by_rotors(c)
    for group, first in (("a", 0), ("b", 4)):
        some = pulses[first : first + 4]
        driven = _all_driven(some) & (slow | (group == "a"))
        spins = driven & (np.where(np.isfinite(rpm[first : first + 4]), rpm[first : first + 4], 0).max(axis=0) > 500)
        answer = trailing_mean(np.where(spins & (some > _POWERED_US), response[first : first + 4], np.nan), _SEC)
        some = np.where(driven, some, np.nan)
        apart = trailing_mean(some, 15)
        out |= {
            f"outputs_{group}_spread": np.fmax.reduce(apart) - np.fmin.reduce(apart),
            f"rotors_{group}_slowest": np.fmin.reduce(answer) - middle(answer.T),
            f"rotors_{group}_response": np.fmin.reduce(answer),
        }
    return out


def middle(x: Array) -> Array:
    """Median of the present ones of [.., n]; NaN where none is."""
    ordered = np.sort(x, axis=-1)  # NaN go last
    count = np.isfinite(x).sum(axis=-1)
    low, high = (np.maximum(count - 1, 0) // 2, count // 2)
    high = np.minimum(high, x.shape[-1] - 1)
    pair = [np.take_along_axis(ordered, i[..., None], axis=-1)[..., 0] for i in (low, high)]
    return np.asarray((pair[0] + pair[1]) / 2)


def _all_driven(pulses: Array) -> NDArray[np.bool_]:
    """[T]: whether all of [k, T] that give anything were driven for a second and a half: no rotor is spinning up or
    down."""
    return _held(np.fmin.reduce(pulses) > _DRIVEN_US, 15)


def _through_air(c: _Ticks) -> Array:
    """The estimator's speed less its wind, m/s."""
    speed, blows = c("wind_speed_mps"), np.radians(c("wind_from_deg"))
    north, east = c("vel_north_mps") + speed * np.cos(blows), c("vel_east_mps") + speed * np.sin(blows)
    return np.asarray(np.sqrt(north**2 + east**2 + c("vel_down_mps") ** 2))


def _lifted_by_rotors(c: _Ticks) -> NDArray[np.bool_]:
    """[T]: false where an aircraft with eight outputs (a quadplane) was faster than _CRUISE_MPS within 2 s."""
    eighth = c.rows("motor_output_us", 8)[7]
    return np.asarray(~np.isfinite(eighth) | _held(_through_air(c) < _CRUISE_MPS, 2 * _SEC))


def _air(c: _Ticks) -> dict[str, Array]:
    through, airspeed = _through_air(c), c("airspeed_mps")
    vel_n, vel_e = c("vel_north_mps"), c("vel_east_mps")
    cruises = _held(through > _CRUISE_MPS, REACH - _SEC)  # until then the wind is a guess
    fast = np.where(airspeed > 5, airspeed, np.hypot(vel_n, vel_e))
    energy_climb = _believable(change(trailing_mean(c("alt_msl_m") + fast**2 / (2 * G_MPS2), 5), 15))
    return {
        "airspeed_error": np.where(cruises, airspeed - through, np.nan), "energy_climb": energy_climb,
        "thrust_unanswered": 0.05 * trailing_mean(c("throttle_pct"), 30) - trailing_mean(energy_climb, 30),
    }  # fmt: skip


def _all(pattern: str, axes: str = "xyz") -> tuple[str, ...]:
    return tuple(pattern.replace("?", a) for a in axes)


_ATTITUDE = ("roll_rad", "pitch_rad", "yaw_rad")
_VELOCITY = ("vel_north_mps", "vel_east_mps", "vel_down_mps")
_ACC, _ACC2, _GYRO, _GYRO2 = _all("acc_?_mps2"), _all("acc2_?_mps2"), _all("gyro_?_radps"), _all("gyro2_?_radps")
_VIBES = _all("vibe_?_mps2")
_MAG, _MAG2 = _all("mag_?_ut"), _all("mag2_?_ut")
_RATES = ("roll_rate_radps", "pitch_rate_radps", "yaw_rate_radps")
_WIND = ("wind_speed_mps", "wind_from_deg")
_LIFTED = ("motor_output_us", *_VELOCITY, *_WIND)
_FIX = ("gps_fix", "gps_lat_deg", "gps_lon_deg", "lat_deg", "lon_deg")
CHANNELS_OF: dict[str, tuple[str, ...]] = {
    "roll_error": ("roll_rad", "roll_target_rad"), "pitch_error": ("pitch_rad", "pitch_target_rad"),
    "roll_rate": ("roll_rate_radps",), "pitch_rate": ("pitch_rate_radps",), "yaw_rate": ("yaw_rate_radps",),
    "roll_untracked": ("roll_rate_radps", "roll_rate_target_radps", *_LIFTED),
    "pitch_untracked": ("pitch_rate_radps", "pitch_rate_target_radps", *_LIFTED), "tilt": ("roll_rad", "pitch_rad"),
    **{f"acc_residual{s}": (*_ACC, *_VELOCITY, *_ATTITUDE, *_VIBES) for s in ("", "_x", "_y", "_z")},
    **{f"acc2_residual{s}": (*_ACC2, *_VELOCITY, *_ATTITUDE, *_VIBES) for s in ("_x", "_y", "_z")},
    **{f"acc_apart{s}": (*_ACC, *_ACC2, *_VIBES) for s in ("", "_x", "_y", "_z")},
    **{f"gyro_apart{s}": (*_GYRO, *_GYRO2, *_RATES, *_VIBES) for s in ("", "_x", "_y", "_z")},
    "gyro_apart_rough": (*_GYRO, *_GYRO2), **{f"gyro_off_{a}": (*_GYRO, *_RATES, *_VIBES) for a in "xyz"},
    "acc_rough": _ACC, "gyro_rough": _GYRO, "imu_still": (*_ACC, *_ACC2, *_GYRO, *_GYRO2, *_ATTITUDE),
    **{f"vibe_{a}": (f"vibe_{a}_mps2",) for a in "xyz"}, "clipping": ("clip_count",),
    "mag_strength": _MAG, "mag2_strength": _MAG2, "mag_north": (*_MAG, *_ATTITUDE), "mag_east": (*_MAG, *_ATTITUDE),
    "mag2_east": (*_MAG2, *_ATTITUDE), "mag_apart": (*_MAG, *_MAG2),
    "baro_climb_error": ("baro_pa", "vel_down_mps"), "baro2_climb_error": ("baro2_pa", "vel_down_mps"),
    "baro_rough": ("baro_pa", "vel_down_mps"), "baro_still": ("baro_pa", "baro2_pa", "alt_msl_m", *_ATTITUDE),
        "baro_apart": ("baro_pa", "baro2_pa"),
    "alt_climb_error": ("alt_msl_m", "vel_down_mps"), "gps_above_baro": ("gps_fix", "gps_alt_msl_m", "baro_pa"),
    "gps_above_baro2": ("gps_fix", "gps_alt_msl_m", "baro2_pa"), "gps_above_estimate": ("gps_fix", "gps_alt_msl_m",
        "alt_msl_m"),
    "gps_jump": _FIX, "gps_offset": _FIX, "gps_velocity_error": ("gps_fix", "gps_speed_mps", "gps_course_deg",
        *_VELOCITY),
    "gps_speed_error": ("gps_fix", "gps_speed_mps", *_VELOCITY), "gps_fix": ("gps_fix",), "gps_satellites":
        ("gps_fix", "gps_satellites"),
    "gps_hdop": ("gps_fix", "gps_hdop"), "gps_hacc": ("gps_fix", "gps_hacc_m"), "gps_sacc": ("gps_fix", "gps_sacc_mps"),
    **{f"{name}_unhealthy": ("sensors_health", "sensors_enabled") for name in HEALTH_BITS},
    **{f"ekf_{k}": (f"ekf_{k}_ratio",) for k in ("velocity", "position", "height", "compass", "airspeed")},
    "system_status": ("system_status",), "volts": ("battery_v",), "volts_step": ("battery_v",), "throttle":
        ("throttle_pct",),
    "thrust_target": ("thrust_target",), "rotor_speed": ("motor_rpm",),
    **{f"output_{i}": ("motor_output_us",) for i in range(1, 5)},
    **{f"share_{i}": ("motor_output_us",) for i in range(1, 4)},
    "engine_response": ("motor_rpm", "motor_output_us"),
    **{f"outputs_{g}_spread": _LIFTED for g in "ab"},
    **{f"rotors_{g}_{what}": ("motor_rpm", *_LIFTED) for g in "ab" for what in ("slowest", "response")},
    "airspeed_error": ("airspeed_mps", *_WIND, *_VELOCITY),
    "energy_climb": ("alt_msl_m", "airspeed_mps", *_VELOCITY), "thrust_unanswered": ("throttle_pct", "alt_msl_m",
        "airspeed_mps", *_VELOCITY),
}  # fmt: skip
"""Signal -> the channels (and sensed quantities) that it is made of."""

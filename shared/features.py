"""Features, version 1: what a window of flight looks like, as a vector of physical quantities.

Used alike on the aircraft, in training and in the hub. A window is WINDOW_S of channels at 10 Hz; a feature is one
reduction of one series (shared.series) over it. A feature whose channels are absent for most of the window is NaN; the
bundle then puts the training median in its place, so that an absent sensor says nothing either way. A change of
meaning, order or type needs a new FEATURE_VERSION.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from shared.channels import BY_NAME, GRID_HZ
from shared.series import Array, Channels, Series, Windows, second_series, tick_series

FEATURE_VERSION = 1
WINDOW_S = 10
HOP_S = 1
WINDOW_TICKS = WINDOW_S * GRID_HZ
HOP_TICKS = HOP_S * GRID_HZ
FLYING_SHARE = 0.9
"""Share of a window's ticks that must be in flight for the window to be scored."""
_PRESENT_SHARE = 0.4
_CHUNK = 256

Vector = NDArray[np.float32]
Reduction = Literal["mean", "std", "rms", "peak", "rise", "low"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One element of the vector: `reduction` of `series` over the window; unit of the value; meaning in plain words."""

    name: str
    series: str
    reduction: Reduction
    unit: str
    meaning: str


def _f(series: str, unit: str, meaning: str, *reductions: Reduction) -> list[Feature]:
    return [Feature(f"{series}_{r}", series, r, unit, f"{meaning}: {_WORDS[r]}") for r in reductions]


_WORDS: dict[Reduction, str] = {
    "mean": "mean over the window",
    "std": "standard deviation over the window",
    "rms": "root mean square over the window",
    "peak": "largest magnitude in the window",
    "rise": "change from the first to the last fifth of the window",
    "low": "lowest value in the window",
}

FEATURES: tuple[Feature, ...] = tuple(
    f
    for group in (
        _f("roll_error", "rad", "roll minus commanded roll", "mean", "rms", "peak"),
        _f("pitch_error", "rad", "pitch minus commanded pitch", "mean", "rms", "peak"),
        _f("yaw_error", "rad", "yaw minus commanded heading", "std"),
        _f("roll_rate", "rad/s", "roll rate", "rms"),
        _f("pitch_rate", "rad/s", "pitch rate", "rms"),
        _f("yaw_rate", "rad/s", "yaw rate", "rms"),
        _f("tilt", "rad", "angle of the body's down axis from the vertical", "peak"),
        _f("mag_north", "1", "magnetic field turned to north, relative to its strength", "std", "rise"),
        _f("mag_east", "1", "magnetic field turned to east, relative to its strength", "std", "rise"),
        _f("mag_down", "1", "magnetic field turned to down, relative to its strength", "std", "rise"),
        _f("mag_norm", "1", "strength of the magnetic field, relative to its mean", "std", "rise"),
        *(_f(f"vibe_{a}", "m/s2", f"vibration, body {a}", "mean", "peak") for a in "xyz"),
        *(_f(f"acc_{a}_rough", "m/s2", f"specific force about its 1 s mean, body {a}", "std") for a in "xyz"),
        *(
            _f(f"acc_{a}_residual", "m/s2", f"accelerometer minus change of velocity, body {a}", "mean", "std")
            for a in "xyz"
        ),
        _f("clips", "1", "accelerometer clippings", "rise"),
        _f("gps_fix", "enum GPS_FIX_TYPE", "fix type, at most 3D", "low"),
        _f("gps_satellites", "1", "satellites used, at most 10", "low", "rise"),
        _f("gps_hdop", "1", "horizontal dilution of precision, at least 1.3", "mean", "peak"),
        _f("gps_speed_error", "m/s", "receiver's minus estimator's ground speed", "mean", "rms", "peak"),
        _f("gps_height_error", "m", "receiver's minus estimator's altitude", "std", "rise"),
        _f("position_error", "m/s", "change of position against velocity", "rms", "peak"),
        _f("airspeed_error", "m/s", "airspeed minus speed through the estimated wind", "mean", "std"),
        _f("airspeed", "m/s", "indicated airspeed", "std"),
        _f("climb_error", "m/s", "climb rate plus downward velocity", "mean", "rms"),
        _f("baro_climb_error", "m/s", "climb by pressure minus the estimator's", "mean", "rms", "peak"),
        _f("alt_climb_error", "m/s", "change of altitude minus climb rate", "mean", "rms"),
        _f("baro_height_error", "m", "height by pressure minus the estimator's altitude", "std", "rise"),
        _f("volts", "1", "battery voltage, relative to its mean", "std", "rise", "low"),
        _f("amps", "1", "battery current, relative to its mean", "std", "rise"),
        _f("battery_remaining", "%", "battery remaining", "rise"),
        _f("board_v", "V", "flight controller supply", "std"),
        _f("throttle", "%", "throttle", "mean", "std"),
        _f("thrust_deficit", "1", "throttle less a tenth of the climb in energy height (m/s)", "mean", "peak"),
        _f("height_error", "m", "target minus actual altitude", "mean", "rms"),
        _f("xtrack_error", "m", "cross-track error", "rms"),
        *(
            _f(f"outputs_{g}_spread", "us", f"highest minus lowest of outputs {n}", "mean", "std")
            + _f(f"outputs_{g}_limit", "share", f"whether one of outputs {n} is at a limit", "mean")
            + _f(f"rotors_{g}_uneven", "1", f"spread of rotor speed per command, outputs {n}", "mean", "peak")
            for g, n in (("a", "1-4"), ("b", "5-8"))
        ),
        *(
            _f(f"output_{c}", "us", f"output {i} ({c} of an aeroplane)", "std")
            for i, c in enumerate(("roll", "pitch", "thrust", "yaw"), 1)
        ),
        _f("rotor_speed", "1", "speed of the first rotor, relative to its mean", "std", "rise"),
        *(
            _f(f"ekf_{k}", "1", f"{k} innovation test ratio", "mean", "peak")
            for k in ("velocity", "position", "height", "compass")
        ),
        _f("ekf_no_position", "share", "estimator without absolute position", "rise"),
        _f("ekf_dead_reckoning", "share", "estimator in constant position mode", "rise"),
        *(
            _f(f"{s}_unhealthy", "share", f"health bit of {s} not set", "rise")
            for s in ("gyro", "accel", "mag", "pressure", "airspeed", "gps", "rc", "ahrs", "battery")
        ),
        _f("rc_throttle_low", "share", "throttle stick below 960 us", "mean"),
        _f("rc_rssi", "%", "receiver signal strength", "rise"),
    )
    for f in group
)
NAMES: tuple[str, ...] = tuple(f.name for f in FEATURES)


def window_features(channels: Channels) -> Vector:
    """The feature vector [len(FEATURES)] of one window: channel name -> float [ticks] or [ticks, size], SI units as
    the registry says, NaN where absent. ValueError when there is no channel or their lengths differ."""
    vector: Vector = _features({name: np.asarray(v)[None] for name, v in channels.items() if name in BY_NAME})[0]
    return vector


def flight_features(channels: Channels) -> tuple[NDArray[np.int64], Vector]:
    """All windows of a flight, one every HOP_S from WINDOW_S on: (tick after each [w], vectors [w, features])."""
    known = {name: np.asarray(v) for name, v in channels.items() if name in BY_NAME}
    ticks = len(next(iter(known.values()))) if known else 0
    ends = np.arange(WINDOW_TICKS, ticks + 1, HOP_TICKS)
    parts = [np.zeros((0, len(FEATURES)), np.float32)]
    for first in range(0, len(ends), _CHUNK):
        rows = ends[first : first + _CHUNK, None] + np.arange(-WINDOW_TICKS, 0)
        parts.append(_features({name: v[rows] for name, v in known.items()}))
    return ends, np.concatenate(parts)


def flying_ticks(channels: Channels) -> NDArray[np.bool_]:
    """[ticks]: armed, and more than 1 m above home or moving faster than 3 m/s; unknown counts as not."""
    some = np.asarray(next(iter(channels.values())))
    absent = np.full(len(some), np.nan)
    armed, height, speed = (np.asarray(channels.get(c, absent)) for c in ("armed", "alt_rel_m", "groundspeed_mps"))
    return np.asarray((armed > 0.5) & ((height > 1.0) | (speed > 3.0)))


def flying_windows(channels: Channels) -> NDArray[np.bool_]:
    """[w]: which of the windows of flight_features lie in flight."""
    flying = flying_ticks(channels)
    if len(flying) < WINDOW_TICKS:
        return np.zeros(0, bool)
    shares: NDArray[np.float64] = sliding_window_view(flying, WINDOW_TICKS)[::HOP_TICKS].mean(axis=1)
    return shares >= FLYING_SHARE


def airframe(vehicle_class: str, channels: Channels) -> str:
    """The class of aircraft as the model knows it: that of its MAV_TYPE, except that an aeroplane whose outputs 5 to 8
    are all driven within 400 us of each other is a quadplane (ArduPilot's calls itself an aeroplane)."""
    outputs = channels.get("motor_output_us")
    if vehicle_class != "plane" or outputs is None or not len(outputs):
        return vehicle_class
    lift = np.asarray(outputs)[:, 4:8]
    with np.errstate(invalid="ignore"):
        together = (lift > 900).all(axis=1) & (lift.max(axis=1) - lift.min(axis=1) < 400)
    return "quadplane" if together.mean() > 0.5 else vehicle_class


def _features(channels: Channels) -> Vector:
    windows = Windows(channels)
    out = np.full((windows.shape[0], len(FEATURES)), np.nan, np.float32)
    with np.errstate(all="ignore"):
        for series in (tick_series(windows), second_series(windows)):
            _reduce(series, out)
    return out


def _reduce(series: Series, out: Vector) -> None:
    """Fill the columns of `out` whose series is in `series`: one pass per reduction over all its series at once."""
    for reduction, reduce in _REDUCE.items():
        columns = [i for i, f in enumerate(FEATURES) if f.reduction == reduction and f.series in series]
        if columns:
            stack = np.stack([series[FEATURES[i].series] for i in columns], axis=1)
            valid = np.isfinite(stack)
            enough = valid.mean(axis=2) >= _PRESENT_SHARE
            out[:, columns] = np.where(enough, reduce(stack, valid), np.nan)


def _mean(x: Array, valid: NDArray[np.bool_]) -> Array:
    return np.asarray(np.where(valid, x, 0).sum(axis=2) / np.maximum(valid.sum(axis=2), 1))


def _std(x: Array, valid: NDArray[np.bool_]) -> Array:
    spread = x - _mean(x, valid)[:, :, None]
    return _rms(spread, valid)


def _rms(x: Array, valid: NDArray[np.bool_]) -> Array:
    return np.asarray(np.sqrt(_mean(x * x, valid)))


def _peak(x: Array, valid: NDArray[np.bool_]) -> Array:
    return np.asarray(np.where(valid, np.abs(x), 0).max(axis=2))


def _low(x: Array, valid: NDArray[np.bool_]) -> Array:
    return np.asarray(np.where(valid, x, np.inf).min(axis=2))


def _rise(x: Array, valid: NDArray[np.bool_]) -> Array:
    fifth = x.shape[2] // 5
    first, last = valid[:, :, :fifth], valid[:, :, -fifth:]
    rise = _mean(x[:, :, -fifth:], last) - _mean(x[:, :, :fifth], first)
    return np.where(first.any(axis=2) & last.any(axis=2), rise, np.nan)


_REDUCE = {"mean": _mean, "std": _std, "rms": _rms, "peak": _peak, "low": _low, "rise": _rise}

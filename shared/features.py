"""Features, version 2: what the last seconds of a flight look like, as a vector of physical quantities, once a second.

Used alike on the aircraft, in training and in the hub. A feature is one reduction of one signal (`shared.signals`)
over the
newest seconds; "off" features compare with the same flight's own past (its mean in flight, up to 6 s ago), so that an
airframe is its own nominal. A feature whose channels are absent is NaN: it says nothing either way. A change of
meaning,
order or type needs a new FEATURE_VERSION.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from shared.channels import ANALYSED, GRID_HZ
from shared.signals import REACH, Array, Channels, flying, middle, signals

FEATURE_VERSION = 2
WINDOW_S = 8
"""The longest span that a feature reduces; findings say that they look at so much."""
WINDOW_TICKS = WINDOW_S * GRID_HZ
HOP_S = 1
HOP_TICKS = HOP_S * GRID_HZ
FLYING_SHARE = 0.8
"""Share of the last second's ticks that must be in flight for a vector to be scored."""
LAG_TICKS = 60
"""The newest ticks that are not yet part of the flight's own past."""
LEAST_PAST_TICKS = 40
"""Ticks in flight before "off" features say anything."""
_PRESENT_SHARE = 0.3

Vector = NDArray[np.float32]
Reduction = Literal["mean", "middle", "peak", "floor", "std", "off", "ratio"]
Side = Literal["high", "low", "both"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One element of the vector. ticks: how many of the newest it looks at. side: where it is abnormal.

    reduction: mean; middle (median); peak (largest magnitude); floor (smallest magnitude); std; off (mean less the
    flight's own);
    ratio (mean over the flight's own).
    """

    name: str
    signal: str
    reduction: Reduction
    ticks: int
    side: Side
    unit: str
    meaning: str


_WORDS: dict[Reduction, str] = {
    "mean": "mean of the last {s} s",
    "middle": "median of the last {s} s",
    "peak": "largest magnitude in the last {s} s",
    "floor": "smallest magnitude in the last {s} s",
    "std": "standard deviation over the last {s} s",
    "off": "mean of the last {s} s less the flight's own",
    "ratio": "mean of the last {s} s over the flight's own",
}
_TICKS: dict[Reduction, int] = {"mean": 20, "middle": 80, "peak": 20, "floor": 20, "std": 50, "off": 50, "ratio": 30}


def _f(signal: str, unit: str, meaning: str, *looks: str) -> list[Feature]:
    """looks: "reduction side" or "reduction side ticks"."""
    out = []
    for look in looks:
        reduction, side, *rest = look.split()
        ticks = int(rest[0]) if rest else _TICKS[reduction]  # type: ignore[index]
        words = _WORDS[reduction].format(s=f"{ticks / GRID_HZ:g}")  # type: ignore[index]
        name = f"{signal}_{reduction}" + (f"_{ticks / GRID_HZ:g}s" if rest else "")
        out.append(Feature(name, signal, reduction, ticks, side, unit, f"{meaning}: {words}"))  # type: ignore[arg-type]
    return out


FEATURES: tuple[Feature, ...] = tuple(
    f
    for group in (
        _f("gps_satellites", "1", "satellites used, at most 12", "mean low 15", "off low 15"),
        _f("gps_fix", "enum GPS_FIX_TYPE", "fix type, at most 3D", "mean low 15"),
        _f("gps_hacc", "m", "horizontal accuracy that the receiver claims, 1 to 100", "mean high 15"),
        _f("gps_hdop", "1", "horizontal dilution of precision, 1 to 20", "mean high 15", "off high 15"),
        _f("gps_sacc", "m/s", "speed accuracy that the receiver claims, 0.5 to 20", "mean high 15"),
        _f("gps_jump", "m", "receiver against estimator, less the last 3 s' mean", "std high", "peak high"),
        _f("gps_offset", "m", "receiver's position against the estimator's", "mean high"),
        _f("gps_velocity_error", "m/s", "receiver's ground velocity less the estimator's", "mean high"),
        _f("gps_speed_error", "m/s", "receiver's ground speed less the estimator's", "peak high"),
        _f("gps_above_estimate", "m", "receiver's altitude above the estimator's", "off both"),
        _f("gps_above_baro", "m", "receiver's altitude above the first barometer's", "off both"),
        _f("gps_above_baro2", "m", "receiver's altitude above the second barometer's", "off both"),
        _f("baro_apart", "m", "first less second barometer's height", "mean both 80", "std high 30", "off both"),
        _f("baro_still", "share", "first barometer's reading does not change", "mean high 60"),
        _f("baro_rough", "m", "first barometer's height against its last second", "mean high 80"),
        _f("baro_climb_error", "m/s", "climb by the first barometer less the estimator's", "floor high",
           "mean both 80"),
        _f("baro2_climb_error", "m/s", "climb by the second barometer less the estimator's", "floor high"),
        _f("alt_climb_error", "m/s", "change of the estimator's altitude less its climb rate", "floor high",
           "mean both"),
        _f("ekf_velocity", "1", "velocity innovation test ratio", "mean high 15"),
        _f("ekf_position", "1", "position innovation test ratio", "mean high 15", "peak high 30"),
        _f("ekf_height", "1", "height innovation test ratio", "mean high 15"),
        _f("ekf_compass", "1", "compass innovation test ratio", "mean high 15"),
        _f("ekf_airspeed", "1", "airspeed innovation test ratio", "mean high 15"),
        *(
            _f(f"acc_residual_{a}", "m/s2", f"first accelerometer less change of velocity, body {a}", "middle both")
            + _f(f"acc2_residual_{a}", "m/s2", f"second accelerometer less change of velocity, body {a}", "middle both")
            + _f(f"acc_apart_{a}", "m/s2", f"first less second accelerometer, body {a}", "middle both", "off both 50")
            for a in "xyz"
        ),
        _f("acc_residual", "m/s2", "first accelerometer less change of velocity", "mean high 80"),
        _f("acc_apart", "m/s2", "first against second accelerometer", "mean high 80"),
        _f("acc_rough", "m/s2", "first accelerometer against its last half second", "mean high 80", "off high 50"),
        _f("gyro_apart", "rad/s", "first against second gyroscope", "mean high"),
        *(_f(f"gyro_apart_{a}", "rad/s", f"first less second gyroscope, body {a}", "middle both", "off both 50")
          for a in "xyz"),
        *(_f(f"gyro_off_{a}", "rad/s", f"first gyroscope less the estimated rate, body {a}", "middle both",
             "off both 50") for a in "xyz"),
        _f("gyro_apart_rough", "rad/s", "first less second gyroscope against the last 2 s", "mean high 80"),
        _f("gyro_rough", "rad/s", "first gyroscope against its last half second", "mean high 80"),
        _f("imu_still", "share", "nothing that an inertial sensor reads changes", "mean high 20"),
        *(
            _f(f"{s}_unhealthy", "share", f"health bit of {w} not set", "mean high 15")
            for s, w in (
                ("gyro", "the gyroscopes"), ("accel", "the accelerometers"), ("mag", "the compass"),
                ("ahrs", "the attitude estimate"), ("battery", "the battery"), ("rc", "the receiver"),
                ("airspeed", "the airspeed sensor"), ("pressure", "the barometer"),
            )
        ),
        _f("system_status", "enum MAV_STATE", "what the autopilot says of itself", "mean high 15"),
        _f("mag_strength", "uT", "strength of the first compass's field", "off both"),
        _f("mag2_strength", "uT", "strength of the second compass's field", "off both"),
        _f("mag_north", "uT", "first compass's field turned to north", "off both"),
        _f("mag_east", "uT", "first compass's field turned to east", "off both"),
        _f("mag2_east", "uT", "second compass's field turned to east", "off both"),
        _f("mag_apart", "uT", "first against second compass", "off high"),
        _f("volts", "1", "battery voltage", "ratio low"),
        _f("volts_step", "1", "logarithm of the battery voltage over that of 6 s ago", "mean low 10"),
        *(_f(f"vibe_{a}", "m/s2", f"vibration, body {a}", "floor high", "mean high 80", "off high 30") for a in "xyz"),
        _f("clipping", "1/s", "accelerometer clippings per second", "mean high"),
        _f("throttle", "%", "throttle", "off both"),
        _f("thrust_target", "1", "commanded thrust", "mean high 15"),
        _f("rotor_speed", "1", "logarithm of the first rotor's speed", "off low 15"),
        *(_f(f"output_{i}", "us", f"output {i}", "off both 15", "off both 80", "std high 30") for i in range(1, 5)),
        *(_f(f"share_{i}", "us", f"output {i} less the mean of outputs 1-3", "off both 80") for i in range(1, 4)),
        _f("engine_response", "1", "logarithm of the speed per command of the rotor on output 3, above 1300 us",
           "off low 15"),
        *(
            _f(f"outputs_{g}_spread", "us", f"highest less lowest of outputs {n}", "mean high 10", "off high")
            + _f(f"rotors_{g}_slowest", "1",
               f"logarithm of the slowest rotor's speed per command over the others', {n}",
                 "mean low 10", "off low")
            + _f(f"rotors_{g}_response", "1", f"logarithm of the lowest rotor speed per command, {n}", "off both 15")
            for g, n in (("a", "1-4"), ("b", "5-8"))
        ),
        _f("roll_error", "rad", "roll less commanded roll", "mean both", "peak high"),
        _f("pitch_error", "rad", "pitch less commanded pitch", "mean both", "peak high"),
        _f("roll_untracked", "1", "roll rate's error over its command", "mean high 10"),
        _f("pitch_untracked", "1", "pitch rate's error over its command", "mean high 10"),
        _f("roll_rate", "rad/s", "roll rate", "std high"),
        _f("pitch_rate", "rad/s", "pitch rate", "std high", "mean both 80"),
        _f("yaw_rate", "rad/s", "yaw rate", "off both 15"),
        _f("tilt", "rad", "angle of the body's down axis from the vertical", "peak high"),
        _f("airspeed_error", "m/s", "airspeed less speed through the estimated wind", "mean both 80", "off both",
           "std high"),
        _f("energy_climb", "m/s", "change of height and speed as one height", "mean low"),
        _f("thrust_unanswered", "1", "throttle (20 % a unit) less change of energy height (m/s)", "off high 10"),
    )
    for f in group
)  # fmt: skip
NAMES: tuple[str, ...] = tuple(f.name for f in FEATURES)
CONTEXT_TICKS = REACH + max(f.ticks for f in FEATURES)
_PAST = tuple(dict.fromkeys(f.signal for f in FEATURES if f.reduction in ("off", "ratio")))


class FeatureStream:
    """The vectors of one flight, piece by piece; how it is cut changes nothing. Ticks must follow each other without a
    hole: begin a new stream behind one."""

    def __init__(self) -> None:
        self._ticks = 0
        self._context: dict[str, NDArray[np.floating]] = {}
        self._recent = np.zeros((len(_PAST), 0))
        self._sums = np.zeros((2, len(_PAST)))  # of the past's ticks: how many, their sum

    def push(self, channels: Channels) -> tuple[NDArray[np.int64], Vector, NDArray[np.bool_]]:
        """The next ticks: channel name -> [k] or [k, size], SI, NaN where absent.

        Gives, for each whole HOP since the stream began: (tick after it, counted in these ticks; vectors [w, features];
        whether it is in flight). ValueError when the lengths differ.
        """
        known = {name: np.asarray(v) for name, v in channels.items() if name in ANALYSED}
        lengths = {len(v) for v in known.values()}
        if len(lengths) > 1:
            raise ValueError(f"channels of one length are needed, not {sorted(lengths)}")
        new = lengths.pop() if lengths else 0
        ends = np.arange((-self._ticks) % HOP_TICKS or HOP_TICKS, new + 1, HOP_TICKS)
        if not new:
            return np.zeros(0, np.int64), np.zeros((0, len(FEATURES)), np.float32), np.zeros(0, bool)
        before = self._remember(known, new)
        wide = signals(self._context)
        in_flight = flying(self._context)
        past = self._past(np.stack([wide[s] for s in _PAST])[:, before:], in_flight[before:], ends)
        self._ticks += new
        share = _window(in_flight.astype(np.float64), before, ends, HOP_TICKS).mean(axis=1)
        return ends, _reduce(wide, before, ends, past), share >= FLYING_SHARE

    def _remember(self, known: Channels, new: int) -> int:
        """Keep the newest ticks of every channel; how many of them are from before."""
        before = min(self._ticks, CONTEXT_TICKS)
        for name in {*self._context, *known}:
            shape = np.shape(known[name] if name in known else self._context[name])[1:]
            old = self._context.get(name)
            kept = old[len(old) - before :] if old is not None else np.full((before, *shape), np.nan)
            self._context[name] = np.concatenate([kept, known.get(name, np.full((new, *shape), np.nan))])
        return before

    def _past(self, values: Array, in_flight: NDArray[np.bool_], ends: NDArray[np.int64]) -> Array:
        """The flight's own mean of each signal of _PAST at each end [S, w], of what is older than LAG_TICKS."""
        usable = np.concatenate([self._recent, np.where(in_flight, values, np.nan)], axis=1)
        cut = max(usable.shape[1] - LAG_TICKS, 0)
        present = np.isfinite(usable[:, :cut])
        steps = np.stack([present, np.where(present, usable[:, :cut], 0.0)])
        sums = np.cumsum(np.concatenate([self._sums[:, :, None], steps], axis=2), axis=2)
        count, total = sums[:, :, np.clip(self._recent.shape[1] + ends - LAG_TICKS, 0, cut)]
        self._sums, self._recent = sums[:, :, -1], usable[:, cut:]
        return np.asarray(np.where(count >= LEAST_PAST_TICKS, total / np.maximum(count, 1), np.nan))


def _window(x: Array, before: int, ends: NDArray[np.int64], ticks: int) -> Array:
    """The last `ticks` of [T] at each end [w, ticks], NaN (False) before the stream began."""
    padded = np.concatenate([np.full(ticks, np.nan), x])
    return np.asarray(sliding_window_view(padded, ticks)[before + ends])


def _reduce(wide: dict[str, Array], before: int, ends: NDArray[np.int64], past: Array) -> Vector:
    out = np.full((len(ends), len(FEATURES)), np.nan, np.float32)
    rows = {s: i for i, s in enumerate(_PAST)}
    with np.errstate(all="ignore"):
        for (ticks, reduction), columns in _PLAN.items():
            stack = np.stack([_window(wide[FEATURES[i].signal], before, ends, ticks) for i in columns], axis=1)
            present = np.isfinite(stack)
            values = _REDUCE[reduction](stack, present)
            if reduction in ("off", "ratio"):
                own = past[[rows[FEATURES[i].signal] for i in columns]].T
                values = values - own if reduction == "off" else values / own
            out[:, columns] = np.where(present.mean(axis=2) >= _PRESENT_SHARE, values, np.nan)
    out[~np.isfinite(out)] = np.nan
    return out


def _mean(x: Array, present: NDArray[np.bool_]) -> Array:
    return np.asarray(np.where(present, x, 0).sum(axis=2) / np.maximum(present.sum(axis=2), 1))


def _std(x: Array, present: NDArray[np.bool_]) -> Array:
    apart = np.where(present, x - _mean(x, present)[:, :, None], 0)
    return np.asarray(np.sqrt((apart * apart).sum(axis=2) / np.maximum(present.sum(axis=2), 1)))


def _peak(x: Array, present: NDArray[np.bool_]) -> Array:
    return np.asarray(np.where(present, np.abs(x), 0).max(axis=2))


def _floor(x: Array, present: NDArray[np.bool_]) -> Array:
    return np.asarray(np.where(present, np.abs(x), np.inf).min(axis=2))


def _middle(x: Array, present: NDArray[np.bool_]) -> Array:
    return middle(np.where(present, x, np.nan))


_REDUCE: dict[Reduction, Callable[[Array, NDArray[np.bool_]], Array]] = {
    "mean": _mean, "middle": _middle, "peak": _peak, "floor": _floor, "std": _std, "off": _mean, "ratio": _mean,
}  # fmt: skip
_PLAN: dict[tuple[int, Reduction], list[int]] = {}
for _i, _feature in enumerate(FEATURES):
    _PLAN.setdefault((_feature.ticks, _feature.reduction), []).append(_i)


def flight_features(channels: Channels) -> tuple[NDArray[np.int64], Vector, NDArray[np.bool_]]:
    """All vectors of a whole flight: see FeatureStream.push."""
    return FeatureStream().push(channels)


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

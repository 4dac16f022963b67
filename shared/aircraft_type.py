"""Which class of aircraft flew, from its dynamics alone: facts of a flight, and the small forest that judges them.

Nothing that the autopilot says of itself is read. Outputs are counted by what they do (held together in hover, idle in
cruise, never moved), not by their number, so that another wiring of the same class looks the same.
"""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import MALFORMED, Refused
from shared.features import Vector
from shared.scoring import MAX_BUNDLE_BYTES, PACKAGED, forest_session, open_bundle, read_keys
from shared.signals import Array, Channels, trailing_mean

TYPE_BUNDLE = PACKAGED / "type_v1.bundle"
TYPE_FACTS_VERSION = 1
CLASSES = ("copter", "helicopter", "plane", "quadplane")
ABSENT = -1000.0
"""What stands for a fact that the flight does not tell."""
_OUTPUTS = 16
_HOVER_MPS, _CRUISE_MPS = 3.0, 8.0
_LEAST_TICKS = 30
_TOGETHER_US = 130.0
_MOVED_US = 3.0
_SHIFT_US = 150.0
_REST_RADPS = 0.005

FACTS: tuple[str, ...] = (
    "hover_share", "cruise_share", "speed_low_mps", "speed_mid_mps", "speed_high_mps", "upright_climb_share",
    "lean_in_hover_rad", "pitch_in_cruise_rad", "roll_rms_in_cruise_rad", "banked_turn",
    "outputs_used", "outputs_still", "outputs_with_throttle", "outputs_together", "outputs_together_us",
    "outputs_lift", "outputs_push", "outputs_spread_us", "outputs_alike", "rotors_turning", "rotor_speed_variation",
)  # fmt: skip
MOTION, OUTPUTS, ROTORS = slice(0, 10), slice(10, 19), slice(19, 21)
"""Facts by the channels that they need."""


def facts(channels: Channels, in_flight: NDArray[np.bool_]) -> Vector:
    """FACTS of the ticks [T] in flight, float32; ABSENT where the flight does not tell."""
    in_flight = in_flight & ~_resting(channels)
    c = {name: np.asarray(values, np.float64)[in_flight] for name, values in channels.items() if name in _NEEDED}
    n = int(in_flight.sum())
    flat = {name: c.get(name, np.full(n, np.nan)) for name in _NEEDED if name not in ("motor_output_us", "motor_rpm")}
    speed = flat["groundspeed_mps"]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an output or a rotor that says nothing
        hover, cruise = speed < _HOVER_MPS, speed > _CRUISE_MPS
        outputs = _outputs(c.get("motor_output_us"), flat["throttle_pct"], hover, cruise)
        found = [*_motion(flat, speed, hover, cruise), *outputs, *_rotors(c.get("motor_rpm"))]
    values = np.array(found, np.float64)
    return np.where(np.isfinite(values), values, ABSENT).astype(np.float32)


_NEEDED = (
    "groundspeed_mps", "climb_mps", "alt_rel_m", "roll_rad", "pitch_rad", "yaw_rate_radps", "throttle_pct",
    "motor_output_us", "motor_rpm",
)  # fmt: skip


def _resting(channels: Channels) -> NDArray[np.bool_]:
    """[T]: ticks around which nothing turns at all, as on the ground after a flight whose height has drifted."""
    rates = [np.asarray(channels[n], np.float64) for n in ("roll_rate_radps", "pitch_rate_radps") if n in channels]
    if not rates:
        return np.zeros(len(next(iter(channels.values()), ())), bool)
    turning = trailing_mean(np.abs(np.stack(rates)).sum(axis=0), 20)
    with np.errstate(invalid="ignore"):
        return np.asarray(turning < _REST_RADPS)


def _motion(c: dict[str, Array], speed: Array, hover: NDArray[np.bool_], cruise: NDArray[np.bool_]) -> list[float]:
    known = np.isfinite(speed)
    if known.sum() < _LEAST_TICKS:
        return [np.nan] * 10
    low, mid, high = np.quantile(speed[known], [0.1, 0.5, 0.9])
    climbing = np.abs(c["climb_mps"]) > 0.7
    enough = cruise.sum() >= _LEAST_TICKS
    turn = _correlation(c["roll_rad"][cruise], c["yaw_rate_radps"][cruise]) if enough else np.nan
    return [
        float(hover[known].mean()), float(cruise[known].mean()), low, mid, high,
        float((climbing & (speed < 1.5))[known].mean()),
        abs(_mean(c["roll_rad"][hover])) if hover.sum() >= _LEAST_TICKS else np.nan,
        _mean(c["pitch_rad"][cruise]) if enough else np.nan,
        _mean(c["roll_rad"][cruise] ** 2) ** 0.5 if enough else np.nan, turn,
    ]  # fmt: skip


def _outputs(
    outputs: Array | None, throttle: Array, hover: NDArray[np.bool_], cruise: NDArray[np.bool_]
) -> list[float]:
    """Of the outputs that give pulses: how many never move, follow the throttle, stand together, change from hover to
    cruise."""
    if outputs is None or len(outputs) < _LEAST_TICKS:
        return [np.nan] * 9
    pulses = np.where(outputs[:, :_OUTPUTS] > 900, outputs[:, :_OUTPUTS], np.nan)
    pulses = pulses[:, np.isfinite(pulses).mean(axis=0) > 0.5]
    if not pulses.shape[1]:
        return [np.nan] * 9
    moves = np.nanstd(pulses, axis=0) > _MOVED_US
    with_throttle = [_correlation(p, throttle) for p in pulses.T[moves]]
    slow = hover if hover.sum() >= _LEAST_TICKS else np.ones(len(hover), bool)
    levels = _middle(pulses[slow])
    together, spread = _largest_group(levels[moves])
    spread_of_all = float(np.nanmax(levels[moves]) - np.nanmin(levels[moves])) if moves.any() else np.nan
    lift = push = np.nan
    if hover.sum() >= _LEAST_TICKS and cruise.sum() >= _LEAST_TICKS:
        change = _middle(pulses[cruise]) - _middle(pulses[hover])
        lift, push = float((change < -_SHIFT_US).sum()), float((change > _SHIFT_US).sum())
    return [
        float(moves.sum()), float((~moves).sum()), float(np.sum(np.array(with_throttle) > 0.6)), float(together),
        spread, lift, push, spread_of_all, _least_alike(pulses[:, moves][slow]),
    ]  # fmt: skip


def _rotors(rpm: Array | None) -> list[float]:
    if rpm is None or len(rpm) < _LEAST_TICKS:
        return [np.nan] * 2
    speed = np.nanmean(rpm, axis=0)
    turning = speed > 100
    if not turning.any():
        return [np.nan] * 2
    fastest = rpm[:, int(np.nanargmax(speed))]
    return [float(turning.sum()), float(np.nanstd(fastest) / np.nanmean(fastest))]


def _least_alike(pulses: Array) -> float:
    """The middle of all outputs' least correlation with another one: near 1 where all do the same."""
    pulses = pulses[np.isfinite(pulses).all(axis=1)]
    if pulses.shape[1] < 2 or len(pulses) < _LEAST_TICKS:
        return np.nan
    return float(np.nanmedian(np.nanmin(np.corrcoef(pulses.T), axis=1)))


def _largest_group(levels: Array) -> tuple[int, float]:
    """How many of the levels lie within _TOGETHER_US of each other, and how far these are apart."""
    levels = np.sort(levels[np.isfinite(levels)])
    best, spread = 0, np.nan
    for i in range(len(levels)):
        group = levels[(levels >= levels[i]) & (levels <= levels[i] + _TOGETHER_US)]
        if len(group) > best:
            best, spread = len(group), float(group[-1] - group[0])
    return best, spread


def _middle(x: Array) -> Array:
    return np.asarray(np.nanmedian(x, axis=0))


def _mean(x: Array) -> float:
    known = x[np.isfinite(x)]
    return float(known.mean()) if len(known) else np.nan


def _correlation(x: Array, y: Array) -> float:
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < _LEAST_TICKS or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        return np.nan
    return float(np.corrcoef(x[both], y[both])[0, 1])


def sharpened(votes: NDArray[np.floating], sharpness: float) -> NDArray[np.float64]:
    """[n, classes] of a forest's votes as probabilities."""
    powers = np.clip(np.asarray(votes, np.float64), 1e-3, 1.0) ** sharpness
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


class TypeModel:
    """A verified forest over facts. Refused: bundle_malformed, feature_version."""

    def __init__(self, manifest: dict[str, Any], onnx: bytes, digest: bytes) -> None:
        try:
            if manifest["facts_version"] != TYPE_FACTS_VERSION or tuple(manifest["facts"]) != FACTS:
                raise Refused("feature_version", f"{manifest['facts_version']!r}, this code has {TYPE_FACTS_VERSION}")
            if hashlib.sha256(onnx).digest() != manifest["onnx_sha256"] or tuple(manifest["classes"]) != CLASSES:
                raise Refused("bundle_malformed", "the model is not the manifest's")
            self.name = f"{manifest['model']} {manifest['version']}"
            self._sharpness = float(manifest["sharpness"])
        except Refused:
            raise
        except MALFORMED as e:
            raise Refused("bundle_malformed", str(e)[:200]) from None
        self.manifest, self.digest = manifest, digest
        self._session = forest_session(onnx, "facts", len(FACTS))

    def probabilities(self, vectors: Vector) -> NDArray[np.float64]:
        """[n, FACTS] -> [n, CLASSES]."""
        return sharpened(self._session.run(["probabilities"], {"facts": vectors})[0], self._sharpness)


def load_type_model(path: str | Path = TYPE_BUNDLE, trusted_keys: Sequence[bytes] | None = None) -> TypeModel:
    """Verify and load a bundle of `models.aircraft_type`; None: the packaged one. Refused, OSError: see load_bundle."""
    with Path(path).open("rb") as file:
        data = file.read(MAX_BUNDLE_BYTES + 1)
    return TypeModel(*open_bundle(data, read_keys() if trusted_keys is None else trusted_keys))

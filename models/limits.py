"""How far healthy flights go: the nominal range of every feature for every class of aircraft.

From healthy vectors alone (nominal flights, hard negatives, flights before their fault): the median and the farthest
above and below it, no less than what real sensors differ by, widened by how far the flights of one site went beyond the
range of all others (an honest guess of how far flights of a site never seen will go).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.dataset import Flight
from shared.features import FEATURES, Feature
from shared.scoring import Nominal, ratios

_STEADY_TICKS = 50
"""What is reduced over so many ticks differs less: half the unit's floor."""
FLOOR_BY_UNIT = {
    "m/s2": 0.15, "rad/s": 0.01, "uT": 5.0, "us": 25.0, "m": 1.0, "m/s": 0.5, "%": 10.0, "rad": 0.1,
    "1/s": 10.0, "share": 0.15, "1": 0.15, "enum GPS_FIX_TYPE": 0.3, "enum MAV_STATE": 0.3,
}  # fmt: skip
FLOOR_BY_SIGNAL = {
    # level of an airframe: what ArduPilot's and PX4's documents and prearm checks let pass
    "gps_satellites": 3.5, "gps_hdop": 0.8, "gps_hacc": 2.0, "gps_offset": 2.5, "gps_jump": 1.0,
    "ekf": 0.35, "baro_apart": 10.0, "acc_apart": 0.75, "acc_residual": 0.5, "acc2_residual": 0.5, "acc_rough": 6.0,
    "gyro_apart": 0.087, "gyro_off": 0.06, "gyro_rough": 0.3, "gyro_apart_rough": 0.3, "vibe": 15.0,
    "alt_climb_error": 0.8, "baro_climb_error": 0.8, "baro2_climb_error": 0.8, "airspeed_error": 1.5,
    "roll_untracked": 1.5, "pitch_untracked": 1.5, "roll_rate": 0.15, "pitch_rate": 0.1, "yaw_rate": 0.3, "tilt": 0.3,
    "thrust_target": 0.3, "energy_climb": 2.5, "thrust_unanswered": 1.5, "volts": 0.1, "volts_step": 0.035,
        "outputs": 60.0,
}  # fmt: skip
FLOOR_OFF = {
    # beyond what the flight's own past varied by
    "gps_satellites": 1.2, "gps_hdop": 0.3, "baro_apart": 1.0, "acc_apart": 0.15, "acc_rough": 2.0, "gyro_apart": 0.025,
    "gyro_off": 0.01, "vibe": 2.5, "outputs": 40.0, "output": 30.0, "mag": 4.0, "throttle": 8.0, "share": 10.0,
}  # fmt: skip
"""No nominal range is narrower, whatever the flights that are at hand: simulated sensors are cleaner and more alike
than
real ones. By the signal's longest prefix, else by unit."""


def _floor(feature: Feature) -> float:
    steady = 0.5 if feature.ticks >= _STEADY_TICKS else 1.0
    if feature.reduction in ("off", "std", "ratio"):
        return _by_prefix(FLOOR_OFF, feature.signal) or _by_prefix(FLOOR_BY_SIGNAL, feature.signal) or (
            steady * FLOOR_BY_UNIT[feature.unit])  # fmt: skip
    return _by_prefix(FLOOR_BY_SIGNAL, feature.signal) or steady * FLOOR_BY_UNIT[feature.unit]


def _by_prefix(floors: Mapping[str, float], signal: str) -> float | None:
    known = [name for name in floors if signal == name or signal.startswith(f"{name}_")]
    return floors[max(known, key=len)] if known else None


LEAST_MARGIN, BEYOND = 1.2, 1.1
_FLOOR = np.array([_floor(f) for f in FEATURES])
Range = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def fit_limits(flights: Sequence[Flight], threshold: float = 1.0, critical: float = 1.0) -> dict[str, Nominal]:
    """Nominal ranges per class, margins included. ValueError when a class has no healthy vector."""
    margins = _margins(flights)
    return {
        aircraft: Nominal(median.astype(np.float32), (high * margins[aircraft]).astype(np.float32),
                          (low * margins[aircraft]).astype(np.float32), threshold, critical)
        for aircraft, (median, high, low) in _ranges(flights).items()
    }  # fmt: skip


def _ranges(flights: Sequence[Flight]) -> dict[str, Range]:
    """(median, farthest above, farthest below) of each feature that lasted two vectors; infinite where a class never
    had
    the feature."""
    out: dict[str, Range] = {}
    for aircraft in sorted({f.aircraft for f in flights}):
        rows = [f.vectors[f.healthy()].astype(np.float64) for f in flights if f.aircraft == aircraft]
        rows = [r for r in rows if len(r) > 1]
        if not rows:
            raise ValueError(f"there is no healthy flight of a {aircraft} to learn from")
        known = np.concatenate(rows)
        seen = np.isfinite(known).any(axis=0)
        median, high, low = np.zeros(len(FEATURES)), np.full(len(FEATURES), np.inf), np.full(len(FEATURES), np.inf)
        median[seen] = np.nanmedian(known[:, seen], axis=0)
        above = np.fmax.reduce([np.fmax.reduce(np.minimum(r[1:], r[:-1]), axis=0) for r in rows])
        below = np.fmin.reduce([np.fmin.reduce(np.maximum(r[1:], r[:-1]), axis=0) for r in rows])
        high[seen] = np.fmax(above[seen] - median[seen], _FLOOR[seen])
        low[seen] = np.fmax(median[seen] - below[seen], _FLOOR[seen])
        out[aircraft] = median, high, low
    return out


def _margins(flights: Sequence[Flight]) -> dict[str, NDArray[np.float64]]:
    """Class -> [features]: BEYOND times the largest ratio that lasted two vectors in a healthy flight by the range
    of the
    others' sites, at least LEAST_MARGIN."""
    worst = {f.aircraft: np.zeros(len(FEATURES)) for f in flights}
    for site in sorted({f.site for f in flights}):
        try:
            ranges = _ranges([f for f in flights if f.site != site])
        except ValueError:
            continue
        for flight in flights:
            if flight.site == site and flight.aircraft in ranges:
                worst[flight.aircraft] = np.maximum(worst[flight.aircraft], _lasting(flight, ranges))
    return {aircraft: np.maximum(LEAST_MARGIN, BEYOND * w) for aircraft, w in worst.items()}


def _lasting(flight: Flight, ranges: Mapping[str, Range]) -> NDArray[np.float64]:
    median, high, low = (x.astype(np.float32) for x in ranges[flight.aircraft])
    shares = np.abs(ratios(flight.vectors[flight.healthy()], Nominal(median, high, low, 1.0, 1.0)))
    if len(shares) < 2:
        return np.zeros(len(FEATURES))
    return np.asarray(np.minimum(shares[1:], shares[:-1]).max(axis=0), np.float64)

"""Which class of aircraft flew: what its HEARTBEAT says, held against how it moved.

Rules, not a model: a class by MAV_TYPE that the flight bears out is believed; one that it contradicts is not, and the
confidence says so. Confidence is a degree of agreement, no measured probability.
"""

from dataclasses import dataclass

import numpy as np

from firmware_bridge.modes import vehicle_class
from shared.channels import GRID_HZ
from shared.features import airframe
from shared.signals import Channels, flying

CLASSES = ("copter", "plane", "helicopter", "quadplane")
_LEAST_S = 5
BORNE_OUT, SAID, GUESSED, CONTRADICTED = 0.95, 0.6, 0.4, 0.3


@dataclass(frozen=True, slots=True)
class AircraftType:
    """name: one of CLASSES, another class of the bridge's modes, or "unknown". why: in plain words."""

    name: str
    confidence: float
    why: str


def detect(vehicle_type: int, channels: Channels) -> AircraftType:
    """vehicle_type: MAV_TYPE, 0 when it never said. channels: physical, of the whole flight."""
    said = airframe(vehicle_class(vehicle_type), channels)
    in_flight = flying(channels) if channels else np.zeros(0, bool)
    flying_s = int(in_flight.sum()) / GRID_HZ
    if flying_s < _LEAST_S:
        known = said in CLASSES
        return AircraftType(
            said, SAID if known else 0.0, f"MAV_TYPE {vehicle_type}; {flying_s:.0f} s of flight to judge by"
        )
    hover_s, fast_s = _seconds(channels, in_flight, "hover"), _seconds(channels, in_flight, "fast")
    facts = (
        f"MAV_TYPE {vehicle_type}; hovered {hover_s:.0f} s, flew faster than 8 m/s {fast_s:.0f} s of {flying_s:.0f} s"
    )
    if said not in CLASSES:
        guess = "copter" if hover_s > _LEAST_S else "plane" if fast_s > flying_s / 2 else said
        return AircraftType(guess, GUESSED if guess != said else 0.0, facts)
    if said == "plane":
        fits, contradicts = fast_s > flying_s / 2 and hover_s < _LEAST_S, hover_s > 4 * _LEAST_S
    else:
        fits, contradicts = hover_s >= _LEAST_S, False
    return AircraftType(said, BORNE_OUT if fits else CONTRADICTED if contradicts else SAID, facts)


def _seconds(channels: Channels, in_flight: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], what: str) -> float:
    """Seconds in flight slower than 1.5 m/s over ground (hover) or faster than 8 m/s (fast)."""
    speed = channels.get("groundspeed_mps")
    if speed is None:
        return 0.0
    height = channels.get("alt_rel_m", np.full(len(speed), np.nan))
    chosen = (speed < 1.5) & (height > 2) if what == "hover" else speed > 8
    return float((chosen & in_flight).sum()) / GRID_HZ

"""Which class of aircraft flew: what a forest says of its dynamics (`shared.aircraft_type`), against its MAV_TYPE."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.modes import vehicle_class
from shared.aircraft_type import ABSENT, CLASSES, OUTPUTS, TypeModel, facts
from shared.channels import GRID_HZ
from shared.features import airframe
from shared.signals import Channels, flying

_LEAST_S = 5
SAID = 0.6
"""Confidence in a MAV_TYPE when there is no flight to judge by."""
_DECIDES = 0.9
"""From this probability on the dynamics outdo what the autopilot says of itself."""
_AGREEMENT = 1 / 3
"""What remains of the doubt when both say the same."""
_FLEW_M = 3.0


@dataclass(frozen=True, slots=True)
class AircraftType:
    """name: one of CLASSES, another class of the bridge's modes, or "unknown". why: in plain words. contradicted: the
    dynamics are those of another class than MAV_TYPE says."""

    name: str
    confidence: float
    why: str
    contradicted: bool = False


def detect(vehicle_type: int, channels: Channels, model: TypeModel) -> AircraftType:
    """vehicle_type: MAV_TYPE, 0 when it never said. channels: physical, of the whole flight."""
    said = airframe(vehicle_class(vehicle_type), channels)
    in_flight = flying(channels) if channels else np.zeros(0, bool)
    flying_s = int(in_flight.sum()) / GRID_HZ
    if flying_s < _LEAST_S or (said not in (*CLASSES, "unknown") and not _flew(channels)):
        confidence = 0.0 if said == "unknown" else SAID
        return AircraftType(said, confidence, f"MAV_TYPE {vehicle_type}; {flying_s:.0f} s of flight to judge by")
    found = facts(channels, in_flight)
    if (found[: OUTPUTS.stop] == ABSENT).all():
        return AircraftType(said, 0.0 if said == "unknown" else SAID, f"MAV_TYPE {vehicle_type}; no speeds, no outputs")
    probability = model.probabilities(found[None])[0]
    return _named(said, vehicle_type, probability, flying_s)


def _named(said: str, vehicle_type: int, probability: NDArray[np.float64], flying_s: float) -> AircraftType:
    best = CLASSES[int(probability.argmax())]
    sure = float(probability.max())
    judged = f"by {flying_s:.0f} s of flight {best} with probability {sure:.2f}"
    if said == best:
        confidence = round(1 - _AGREEMENT * (1 - sure), 3)
        return AircraftType(best, confidence, f"{judged}; MAV_TYPE {vehicle_type} agrees")
    if said == "unknown":
        return AircraftType(best, round(sure, 3), f"{judged}; MAV_TYPE {vehicle_type} does not say")
    if sure < _DECIDES and said in CLASSES:
        confidence = round(max(float(probability[CLASSES.index(said)]), 0.3), 3)
        return AircraftType(said, confidence, f"MAV_TYPE {vehicle_type}, which the flight does not settle: {judged}")
    if said == "plane" and best == "quadplane":
        return AircraftType(best, round(sure, 3), f"{judged}; MAV_TYPE {vehicle_type}, as quadplanes may say")
    why = f"{judged}; MAV_TYPE {vehicle_type} says {said}, which the flight contradicts"
    return AircraftType(best, round(sure, 3), why, True)


def _flew(channels: Channels) -> bool:
    """Whether it was ever higher than wheels, hull and drifting heights explain."""
    height = np.asarray(channels.get("alt_rel_m", ()), np.float64)
    height = height[np.isfinite(height)]
    return bool(len(height) and np.quantile(height, 0.75) > _FLEW_M)

"""What a settled flight tells of the aircraft's wear: its rollup, the trends over all of its flights, proposals of
work.

`roll_up` is pure; `maintain` writes, in the caller's tenant transaction.
"""

import uuid
from collections.abc import Mapping, Sequence

import numpy as np
import psycopg
from numpy.typing import NDArray

from firmware_bridge.grid import ChannelGrid
from hub.store import feedback, maintenance
from hub.store.maintenance import QUANTITIES, Rollup
from hub.worker.trends import trend
from shared.channels import GRID_HZ
from shared.features import FEATURE_VERSION, flight_features
from shared.signals import Channels, flying
from shared.timeline import timeline

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
LEAST_TICKS = 10 * GRID_HZ
"""Of a phase of flight, before it says anything."""
HOVER_MPS, CRUISE_MPS, LEVEL_MPS = 2.0, 5.0, 1.0
_POWERED_US, _TURNING_RPM, _IDLE_US = 1_300.0, 500.0, 1_000.0
_LEAST_STEADY = 5.0
"""A resistance counts when it is so many of its own standard errors from none."""
_OHMS = (0.0005, 1.0)
VECTORS_OF_FINDING = 60
Connection = psycopg.Connection[tuple[object, ...]]


def roll_up(channels: Channels) -> Rollup | None:
    """The rollup of a flight's channels (name -> [n] or [n, size], SI, NaN where absent); None of a flight without
    any."""
    n = len(next(iter(channels.values()))) if channels else 0
    if not n:
        return None
    armed = _one(channels, "armed", n) > 0.5
    airborne = flying(channels) if {"armed"} <= channels.keys() else np.zeros(n, bool)
    ground, down = _one(channels, "groundspeed_mps", n), _one(channels, "vel_down_mps", n)
    level = airborne & (np.abs(down) < LEVEL_MPS)
    phases = {"hover": level & (ground < HOVER_MPS), "cruise": level & (ground > CRUISE_MPS)}
    measures = {
        f"vibe_{phase}_{axis}_mps2": _typical(_one(channels, f"vibe_{axis}_mps2", n), where)
        for phase, where in phases.items()
        for axis in "xyz"
    }
    return Rollup(
        armed_s=float(armed.sum()) / GRID_HZ,
        flying_s=float(airborne.sum()) / GRID_HZ,
        arm_cycles=int(armed[0]) + int((armed[1:] & ~armed[:-1]).sum()),
        battery_used_mah=battery_used_mah(channels, armed),
        measures=measures
        | {
            "hover_throttle_pct": _typical(_one(channels, "throttle_pct", n), phases["hover"]),
            "battery_ohm": battery_ohm(_one(channels, "battery_v", n), _one(channels, "battery_a", n), armed),
            "rotor_spread": rotor_spread(channels, airborne),
            "rate_error_radps": _rate_error(channels, airborne),
        },
    )


def _one(channels: Channels, name: str, n: int) -> Array:
    values = channels.get(name)
    return np.full(n, np.nan) if values is None else np.asarray(values, np.float64)


def _typical(x: Array, where: Mask) -> float | None:
    """Mean of the middle nine tenths, so that a bump or a gust does not count; None when there is too little."""
    found = np.sort(x[where & np.isfinite(x)])
    cut = len(found) // 20
    return float(found[cut : len(found) - cut].mean()) if len(found) >= LEAST_TICKS else None


def battery_used_mah(channels: Channels, armed: Mask) -> float | None:
    """Charge drawn in the flight: what the autopilot counted (over its resets), else the current while armed."""
    used = _one(channels, "battery_used_mah", len(armed))
    used = used[np.isfinite(used)]
    if len(used) > 1:
        steps = np.diff(used)
        return float(steps[steps > 0].sum())
    amps = _one(channels, "battery_a", len(armed))
    there = np.isfinite(amps) & armed
    return float(np.maximum(amps[there], 0).sum()) / GRID_HZ / 3.6 if there.sum() >= LEAST_TICKS else None


def battery_ohm(volts: Array, amps: Array, armed: Mask) -> float | None:
    """Inner resistance: regression of volts on amps and on the charge drawn so far; None when the current hardly
    varied."""
    there = armed & np.isfinite(volts) & np.isfinite(amps)
    if there.sum() < 6 * LEAST_TICKS:
        return None
    v, a = volts[there], amps[there]
    drawn = np.cumsum(a)
    x = np.stack([np.ones_like(a), a, drawn / max(float(np.abs(drawn).max()), 1e-9)], axis=1)
    try:
        inverse = np.linalg.inv(x.T @ x)
    except np.linalg.LinAlgError:
        return None
    fit = inverse @ (x.T @ v)
    # rows follow each other closely: about one in a second is independent
    noise = float(((v - x @ fit) ** 2).sum()) / max(len(v) / GRID_HZ - 3, 1)
    ohm, error = -float(fit[1]), float(np.sqrt(max(noise * inverse[1, 1], 0)))
    return ohm if _OHMS[0] < ohm < _OHMS[1] and ohm > _LEAST_STEADY * error else None


def rotor_spread(channels: Channels, airborne: Mask) -> float | None:
    """Speed per command of the rotors that report it: highest less lowest, over the middle one. One is none."""
    pulses, rpm = channels.get("motor_output_us"), channels.get("motor_rpm")
    if pulses is None or rpm is None:
        return None
    size = min(pulses.shape[1], rpm.shape[1])
    us, speed = np.asarray(pulses[:, :size], np.float64), np.asarray(rpm[:, :size], np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        turning = airborne[:, None] & (us > _POWERED_US) & (speed > _TURNING_RPM)
        response = speed / (us - _IDLE_US)
    found = [np.median(response[turning[:, i], i]) for i in range(size) if turning[:, i].sum() >= LEAST_TICKS]
    return float((max(found) - min(found)) / np.median(found)) if len(found) > 1 else None


def _rate_error(channels: Channels, airborne: Mask) -> float | None:
    """Root mean square of roll and pitch rate less their commands a tick before, rad/s."""
    n = len(airborne)
    errors = []
    for axis in ("roll", "pitch"):
        error = _one(channels, f"{axis}_rate_radps", n)[1:] - _one(channels, f"{axis}_rate_target_radps", n)[:-1]
        errors.append(_typical(error * error, airborne[1:]))
    return float(np.sqrt(sum(e for e in errors if e is not None))) if None not in errors else None


def maintain(
    conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID, session_id: uuid.UUID, grids: Sequence[ChannelGrid],
    aircraft_class: str,
) -> None:  # fmt: skip
    """Write the flight's rollup and its findings' vectors, the aircraft's trends, and what work they call for."""
    tick_us, channels = timeline([(g.tick_us, g.values, g.sensed) for g in grids])
    rollup = roll_up(channels)
    if rollup is None:
        return
    maintenance.lock_aircraft(conn, org_id, aircraft_id)
    maintenance.put_rollup(conn, org_id, aircraft_id, session_id, rollup)
    _keep_vectors(conn, org_id, session_id, tick_us, channels, aircraft_class)
    renew(conn, org_id, aircraft_id)


def renew(conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID) -> None:
    """The aircraft's trends anew, from the rollups of all its flights, and what work its score then calls for."""
    history = maintenance.history(conn, org_id, aircraft_id)
    hours = np.cumsum([r.flying_s for r in history]) / 3600
    found = {}
    for quantity in QUANTITIES:
        values = np.array(
            [r.measures[quantity] if r.measures[quantity] is not None else np.nan for r in history], float
        )
        seen = trend(hours, values)
        if seen is not None:
            changed = None if seen.changed_at is None else history[seen.changed_at].started_utc_us
            found[quantity] = (seen.flights, seen.baseline, seen.spread, seen.latest, changed, seen.before, seen.after,
                               seen.rate_per_10h)  # fmt: skip
    maintenance.replace_trends(conn, org_id, aircraft_id, found)
    maintenance.propose(conn, org_id, aircraft_id)


def _keep_vectors(
    conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, tick_us: NDArray[np.int64],
    channels: Mapping[str, NDArray[np.floating]], aircraft_class: str,
) -> None:  # fmt: skip
    """The feature vectors in the span of each finding of the flight, so that a verdict can label them."""
    spans = feedback.finding_spans(conn, org_id, session_id)
    kept = []
    if spans:
        ends, vectors, _ = flight_features(channels)
        end_us = tick_us[ends - 1]
        for start, end in spans:
            rows = np.flatnonzero((end_us >= start) & (end_us <= end))
            rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), VECTORS_OF_FINDING)).astype(int))]
            if len(rows):
                kept.append((start, end, vectors.shape[1], np.ascontiguousarray(vectors[rows], "<f4").tobytes()))
    feedback.replace_vectors(conn, org_id, session_id, FEATURE_VERSION, aircraft_class, kept)

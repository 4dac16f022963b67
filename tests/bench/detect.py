"""dbx bench detect: fault detectors on the same labelled flights: ours, plain threshold rules, flightdx.

Ours: each site in turn is held out; nominal ranges, threshold and kinds have not seen it. The rules: fixed limits as
ground
stations and field guides give them, on the same channels, held for RULE_TICKS; nothing is learnt, so nothing need be
held
out. flightdx (PyPI) reads DataFlash files alone and is no dependency of ours: where it is not installed, or cannot
read a
flight, its error is given. False alarms are counted before a fault and in nominal flights; a fault is found by an alarm
while it lasts or within ten seconds after.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from models.channels import log_channels
from models.dataset import SEVERE, Flight, read_flights
from models.evaluate import Evaluation, cross_validate

Channels = Mapping[str, NDArray[np.floating]]
RULE_TICKS = 10
"""A rule must hold for so many ticks (one second)."""
QUIET_S = 20.0


def _get(c: Channels, name: str) -> NDArray[np.floating]:
    return c.get(name, np.full(len(next(iter(c.values()))), np.nan))


def _error(c: Channels, axis: str) -> NDArray[np.floating]:
    return np.abs(_get(c, f"{axis}_rad") - _get(c, f"{axis}_target_rad"))


RULES: dict[str, tuple[str, Callable[[Channels], NDArray[np.bool_]]]] = {
    "vibration above 30 m/s2": ("vibration", lambda c: np.any([_get(c, f"vibe_{a}_mps2") > 30 for a in "xyz"], axis=0)),
    "an estimator ratio above 1": (
        "gps_glitch",
        lambda c: np.any([_get(c, f"ekf_{k}_ratio") > 1 for k in ("velocity", "position", "height")], axis=0),
    ),
    "compass ratio above 1": ("compass_interference", lambda c: _get(c, "ekf_compass_ratio") > 1),
    "fewer than 6 satellites": ("gps_degraded", lambda c: _get(c, "gps_satellites") < 6),
    "no 3D fix": ("gps_loss", lambda c: _get(c, "gps_fix") < 3),
    "HDOP above 2": ("gps_degraded", lambda c: _get(c, "gps_hdop") > 2),
    "attitude error above 20 deg": (
        "motor_fail",
        lambda c: np.maximum(_error(c, "roll"), _error(c, "pitch")) > np.radians(20),
    ),
    "battery below 10 %": ("battery_sag", lambda c: _get(c, "battery_remaining_pct") < 10),
    "clipping": ("vibration", lambda c: np.concatenate([np.zeros(10, bool), _rise(_get(c, "clip_count"), 10) > 0])),
}


def _rise(x: NDArray[np.floating], n: int) -> NDArray[np.floating]:
    return np.asarray(x[n:] - x[:-n])


def rule_alarms(path: Path) -> list[tuple[int, str]]:
    """(us, kind) of every alarm of the rules over one flight."""
    tick_us, channels = log_channels(path)
    found: list[tuple[int, str]] = []
    for kind, rule in RULES.values():
        with np.errstate(invalid="ignore"):
            holds = np.convolve(rule(channels).astype(float), np.ones(RULE_TICKS))[: len(tick_us)] >= RULE_TICKS
        last = -(10**18)
        for at in tick_us[holds].tolist():
            if at - last > QUIET_S * 1e6:
                found.append((at, kind))
            last = at
    return sorted(found)


def judge_rules(flights: list[Flight], folder: Path) -> dict[str, Any]:
    """The rules' figures over all flights."""
    with ProcessPoolExecutor(2) as pool:
        alarms = list(pool.map(rule_alarms, [folder / "tlog" / f"{f.name}.tlog.zst" for f in flights], chunksize=8))
    false, delays, right, severe = 0, [], 0, 0
    for flight, raised in zip(flights, alarms, strict=True):
        healthy, due = _spans(flight, flight.healthy()), _spans(flight, flight.since_fault())
        false += sum(any(a <= at <= b for a, b in healthy) for at, _ in raised)
        hits = [(at, kind) for at, kind in raised if any(a <= at <= b for a, b in due)]
        if hits and flight.fault_us is not None:
            delays.append((hits[0][0] - flight.fault_us[0]) / 1e6)
            right += hits[0][1] == flight.fault
            severe += flight.severity >= SEVERE
    return _figures(flights, false, delays, right, severe)


def _spans(flight: Flight, wanted: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Begin and end of the seconds that are wanted."""
    return [(int(at) - 1_000_000, int(at)) for at in flight.end_us[wanted]]


def _figures(flights: list[Flight], false: int, delays: list[float], right: int, severe: int) -> dict[str, Any]:
    hours = sum(int(f.healthy().sum()) for f in flights) / 3600
    faults = [f for f in flights if f.fault]
    return {
        "flights": len(flights), "healthy_hours": round(hours, 2), "false_alarms": false,
        "false_alarms_per_hour": round(false / hours, 2), "found": f"{len(delays)} of {len(faults)}",
        "found_severe": f"{severe} of {sum(f.severity >= SEVERE for f in faults)}",
        "right_kind_of_found": round(right / len(delays), 3) if delays else None,
        "median_delay_s": round(statistics.median(delays), 1) if delays else None,
    }  # fmt: skip


def judge_ours(flights: list[Flight]) -> dict[str, Any]:
    """The model's figures, every site held out."""
    result: Evaluation = cross_validate(flights)
    found = [o for o in result.outcomes if o.is_found]
    false = sum(len(o.false_alarms) for o in result.outcomes)
    severe = sum(o.flight.severity >= SEVERE for o in found)
    return _figures(flights, false, [o.delay_s for o in found], sum(o.kind == o.flight.fault for o in found), severe)


def judge_flightdx(folder: Path, program: str) -> dict[str, Any]:
    """What flightdx makes of the DataFlash files at hand; it cannot read telemetry logs."""
    how = f"{program} --json FILE.BIN (flightdx in an environment of its own)"
    found = shutil.which(program)
    if found is None:
        return {"how": how, "error": f"there is no program {program}"}
    out: dict[str, Any] = {"how": how, "flights": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for packed in sorted((folder / "bin").glob("*.BIN.zst")):
            plain = Path(scratch) / packed.name.removesuffix(".zst")
            with packed.open("rb") as source, plain.open("wb") as target:
                zstandard.ZstdDecompressor().copy_stream(source, target)
            run = subprocess.run(
                [found, "--json", str(plain)], capture_output=True, text=True, timeout=300, check=False
            )
            out["flights"][plain.name] = _said(run.returncode, run.stdout, run.stderr)
    return out


def _said(status: int, stdout: str, stderr: str) -> dict[str, Any]:
    """The incidents that flightdx lists, or its error."""
    try:
        told = json.loads(stdout)
        return {"incidents": told.get("incidents", told) if isinstance(told, dict) else told}
    except ValueError:
        return {"status": status, "error": (stderr or stdout).strip()[-500:]}


def main(argv: list[str]) -> int:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser("dbx bench detect", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/flights"))
    parser.add_argument("--flightdx", default="flightdx", metavar="PROGRAM", help="where flightdx is installed")
    parser.add_argument("--json", action="store_true", help="one line")
    args = parser.parse_args(argv)
    if not (args.data / "labels.csv").exists():
        print(f"dbx bench detect: {args.data} has no labels.csv; name the folder with --data", file=sys.stderr)
        return 1
    flights = read_flights(args.data)
    found = {
        "ours_leaving_sites_out": judge_ours(flights),
        "threshold_rules": judge_rules(flights, args.data) | {"rules": list(RULES)},
        "flightdx": judge_flightdx(args.data, args.flightdx),
    }
    print(json.dumps(found, indent=None if args.json else 2))
    return 0

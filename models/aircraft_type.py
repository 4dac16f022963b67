"""The forest that tells an aircraft's class from its dynamics: training, validation by leaving sites out, bundle.

    python -m models.aircraft_type --data FOLDER --out models/bundles/type_v1.bundle

Every flight is shown whole and in pieces, with channels missing, with outputs trimmed, added and taken away: an
airframe that was never simulated is wired and trimmed otherwise, and a log may lack what a simulation sends.
"""

import argparse
import csv
import datetime
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from models.channels import log_channels
from models.dataset import CLASSES as CLASS_OF
from models.export import library_versions, pack, parity, release_key, to_onnx
from shared.aircraft_type import ABSENT, CLASSES, FACTS, MOTION, OUTPUTS, ROTORS, TYPE_FACTS_VERSION, facts, sharpened
from shared.channels import GRID_HZ
from shared.features import Vector
from shared.signals import Channels, flying

MODEL, VERSION = "aircraft-type", "1"
TREES, PIECES = 100, 12
SHORTEST_S, SLOW_MPS = 10, 4
WHOLE_WEIGHT, DISGUISED = 4.0, 0.6
SHARPNESS = 3.0
"""Flights of other sites are named right more often than the forest's votes say: chosen so that of pieces in disguise
that are named with more than SURE, about 1 % are wrong."""
SURE = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One flight: its facts whole [facts], and in PIECES pieces and disguises [pieces, facts]."""

    name: str
    aircraft: str
    site: str
    whole: Vector
    pieces: Vector


def read(folder: Path, processes: int = 2) -> list[Seen]:
    """All flights of a folder with labels.csv. OSError, KeyError: the folder is not as described."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as labels:
        rows = list(csv.DictReader(labels))
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(_read, [folder] * len(rows), rows, range(len(rows)), chunksize=8))


def _read(folder: Path, row: dict[str, str], seed: int) -> Seen:
    _, channels = log_channels(folder / row["tlog"])
    in_flight, aircraft = flying(channels), CLASS_OF[row["vehicle"]]
    pieces = [_piece(channels, in_flight, aircraft, np.random.default_rng([seed, i])) for i in range(PIECES)]
    return Seen(row["flight"], aircraft, row["site"], facts(channels, in_flight), np.stack(pieces))


def _piece(channels: Channels, in_flight: NDArray[np.bool_], aircraft: str, random: np.random.Generator) -> Vector:
    """Facts of a part of the flight by an airframe of the same class that is wired and trimmed otherwise."""
    ticks = np.flatnonzero(in_flight)
    length = int(random.uniform(min(SHORTEST_S * GRID_HZ, len(ticks)), len(ticks) + 1))
    first = int(random.integers(0, len(ticks) - length + 1))
    chosen = np.zeros(len(in_flight), bool)
    chosen[ticks[first : first + length]] = True
    slow = chosen & (np.asarray(channels["groundspeed_mps"]) < SLOW_MPS)
    if random.random() < 0.2 and slow.sum() >= SHORTEST_S * GRID_HZ:
        chosen = slow
    other = dict(channels)
    if random.random() < DISGUISED:
        other["motor_output_us"] = _rewired(np.asarray(channels["motor_output_us"], np.float64), random)
    if random.random() < 0.05:  # an estimator without satellites drifts away
        drift = np.cumsum(chosen) / length * random.uniform(5, 40)
        other["groundspeed_mps"] = np.asarray(channels["groundspeed_mps"], np.float64) + drift
    found = facts(other, chosen)
    for part, share in ((MOTION, 0.02), (OUTPUTS, 0.05), (ROTORS, 0.3)):
        if random.random() < share:
            found[part] = ABSENT
    return found


def _rewired(outputs: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """The outputs trimmed apart, with more or less travel, some moved twice, some left out, some never moved."""
    out = outputs[:, :8].copy()
    out += random.normal(0, random.choice([0, 10, 40, 80]), 8)
    out = 1500 + (out - 1500) * random.uniform(0.7, 1.3)
    more = np.full((len(out), 8), np.nan)
    if random.random() < 0.3:
        copied = random.integers(0, 8, random.integers(1, 5))
        more[:, : len(copied)] = out[:, copied]
    if random.random() < 0.25:
        more[:, 4 : 4 + random.integers(1, 5)] = random.choice([1000, 1100, 1500, 1900])
    still = np.nanstd(out, axis=0) < 1
    if random.random() < 0.3:
        out[:, still] = np.nan
    if random.random() < 0.1:
        out[:, random.integers(0, 8)] = np.nan
    return np.concatenate([out, more], axis=1)


def fit(flights: Sequence[Seen]) -> RandomForestClassifier:
    """The forest; every class counts alike."""
    inputs = np.concatenate([np.concatenate([f.whole[None], f.pieces]) for f in flights])
    classes = np.repeat([f.aircraft for f in flights], 1 + PIECES)
    weights = np.tile([WHOLE_WEIGHT] + [1.0] * PIECES, len(flights))
    forest = RandomForestClassifier(TREES, max_features=5, class_weight="balanced", random_state=0, n_jobs=2)
    return forest.fit(inputs, classes, sample_weight=weights)


def by_site(flights: Sequence[Seen]) -> Iterator[tuple[Seen, NDArray[np.float64], NDArray[np.float64]]]:
    """(flight, probabilities of it whole [classes], of its pieces [pieces, classes]), by a forest of other sites."""
    for site in sorted({f.site for f in flights}):
        forest = fit([f for f in flights if f.site != site])
        for f in (f for f in flights if f.site == site):
            found = sharpened(forest.predict_proba(np.concatenate([f.whole[None], f.pieces])), SHARPNESS)
            yield f, found[0], found[1:]


def evaluate(flights: Sequence[Seen]) -> dict[str, Any]:
    """Held-out figures: each site in turn is never trained on."""
    found = list(by_site(flights))
    whole = [(f, CLASSES[p.argmax()], float(p.max())) for f, p, _ in found]
    pieces = [(CLASSES[row.argmax()] == f.aircraft, float(row.max())) for f, _, p in found for row in p]
    sure = [right for right, p in pieces if p > SURE]
    return {
        "flights": len(whole),
        "right": sum(f.aircraft == name for f, name, _ in whole),
        "right_and_sure": sum(f.aircraft == name and p > SURE for f, name, p in whole),
        "wrong_and_sure": sum(f.aircraft != name and p > SURE for f, name, p in whole),
        "not_right_and_sure": [
            {"flight": f.name, "class": f.aircraft, "named": name, "confidence": round(p, 3)}
            for f, name, p in whole if f.aircraft != name or p <= SURE
        ],
        "pieces": {"count": len(pieces), "right": round(sum(r for r, _ in pieces) / len(pieces), 4),
                   "sure": round(len(sure) / len(pieces), 4), "right_when_sure": round(sum(sure) / len(sure), 4)},
    }  # fmt: skip


def manifest_of(flights: Sequence[Seen], metrics: dict[str, Any]) -> dict[str, Any]:
    """What the bundle says of itself."""
    now = datetime.datetime.now(datetime.UTC)
    return {
        "model": MODEL, "version": VERSION, "trained_utc": now.isoformat(timespec="seconds"),
        "facts_version": TYPE_FACTS_VERSION, "facts": list(FACTS), "classes": list(CLASSES),
        "sharpness": SHARPNESS,
        "data": {"flights": len(flights), "by_class": dict(Counter(f.aircraft for f in flights)),
                 "sites": sorted({f.site for f in flights}), "limits": "simulated flights of one firmware family"},
        "metrics": metrics, "libraries": library_versions(),
    }  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Train, validate, write the signed bundle; prints the manifest."""
    parser = argparse.ArgumentParser("python -m models.aircraft_type", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, metavar="BUNDLE", help="without it, only validate")
    parser.add_argument(
        "--key-folder", type=Path, default=Path(os.environ.get("DBX_RELEASE_KEYS", "~/.dbx-release")).expanduser()
    )
    args = parser.parse_args(argv)
    flights = read(args.data)
    manifest = manifest_of(flights, evaluate(flights))
    if args.out:
        forest = fit(flights)
        onnx = to_onnx(forest, len(FACTS), "facts")
        manifest["parity"] = parity(forest, onnx, np.concatenate([f.pieces for f in flights]), "facts")
        args.out.write_bytes(pack(manifest, onnx, release_key(args.key_folder)))
    print(json.dumps(manifest, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Labelled flights as feature vectors: a folder with `labels.csv` and the telemetry logs that it names.

Of a label only this is read: class, airframe, site, whether and when which fault was injected and how severe, and
when the
aircraft touched the ground. File names, SIM* messages and what the autopilot says in words never become features.
"""

import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.channels import log_channels
from shared.features import FEATURE_VERSION, NAMES, Vector, flight_features

CLASSES = {"copter": "copter", "plane": "plane", "heli": "helicopter", "quadplane": "quadplane"}
"""`vehicle` of labels.csv -> class of aircraft."""
SEVERE = 0.8
"""Severity from which a fault counts as severe."""
_ONSET_US = 700_000
"""Vectors that end so soon after a fault began hold next to nothing of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """One flight's vectors. fault: its kind, '' for a nominal flight; fault_us: its exact begin and end, us UTC.

    end_us: int64 [w], when each vector ends, us UTC; vectors: float32 [w, features]; flying: bool [w], until the first
    contact with the ground after a fault.
    """

    name: str
    aircraft: str
    airframe: str
    site: str
    fault: str
    severity: float
    detail: str
    hard_negative: str
    fault_us: tuple[int, int] | None
    end_us: NDArray[np.int64]
    vectors: Vector
    flying: NDArray[np.bool_]

    def healthy(self) -> NDArray[np.bool_]:
        """[w]: in flight without a fault: of a flight with one, before it began."""
        return self.flying if self.fault_us is None else self.flying & (self.end_us <= self.fault_us[0])

    def faulty(self) -> NDArray[np.bool_]:
        """[w]: in flight and in the fault."""
        if self.fault_us is None:
            return np.zeros(len(self.flying), bool)
        begin, end = self.fault_us
        return self.flying & (self.end_us > begin + _ONSET_US) & (self.end_us <= end)

    def since_fault(self, grace_us: int = 10_000_000) -> NDArray[np.bool_]:
        """[w]: in flight, from the begin of the fault to `grace_us` after its end: where an alarm is a right one."""
        if self.fault_us is None:
            return np.zeros(len(self.flying), bool)
        begin, end = self.fault_us
        return self.flying & (self.end_us > begin) & (self.end_us <= end + grace_us)


def read_flights(folder: str | Path, processes: int = 2) -> list[Flight]:
    """All flights of the folder, in the order of labels.csv. OSError, KeyError: the folder is not as described."""
    root = Path(folder)
    with (root / "labels.csv").open(newline="", encoding="utf-8") as labels:
        rows = list(csv.DictReader(labels))
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(_read, [root] * len(rows), rows, chunksize=8))


def _read(root: Path, row: dict[str, str]) -> Flight:
    tick_us, channels = log_channels(root / row["tlog"])
    ends, vectors, flying = flight_features(channels)
    fault_us = None
    end_us = tick_us[ends - 1] if len(ends) else np.zeros(0, np.int64)
    if row["fault"]:
        begin = int(row["fault_start_utc_us"])
        fault_us = (begin, int(row["fault_end_utc_us"]) if row["fault_end_utc_us"] else int(tick_us[-1]))
        if row["ground_contact_boot_s"]:
            flying = flying & (end_us <= int(row["boot_utc_us"]) + int(float(row["ground_contact_boot_s"]) * 1e6))
    return Flight(
        row["flight"], CLASSES[row["vehicle"]], row["frame"], row["site"], row["fault"], float(row["severity"] or 0),
        row["detail"], row["hard_negative"], fault_us, end_us, vectors, flying,
    )  # fmt: skip


def sites(flights: list[Flight]) -> Iterator[tuple[str, list[Flight], list[Flight]]]:
    """(site, the flights elsewhere, the flights there), each site in turn."""
    for site in sorted({f.site for f in flights}):
        yield site, [f for f in flights if f.site != site], [f for f in flights if f.site == site]


def write_table(path: Path, flights: Sequence[Flight]) -> None:
    """All vectors in flight as one compressed table (npz): vector [n, features], flight (row of the flights), end_us,
    is_fault; per flight its label; the names of the features. The same flights give the same bytes but for the
    packing."""
    rows = [np.flatnonzero(f.flying) for f in flights]
    parts = list(zip(flights, rows, strict=True))
    columns = {
        "features": np.array(NAMES), "feature_version": np.array(FEATURE_VERSION),
        "vector": np.concatenate([f.vectors[r] for f, r in parts]),
        "flight": np.concatenate([np.full(len(r), i, np.int32) for i, r in enumerate(rows)]),
        "end_us": np.concatenate([f.end_us[r] for f, r in parts]),
        "is_fault": np.concatenate([f.faulty()[r] for f, r in parts]),
    }  # fmt: skip
    for name in ("name", "aircraft", "airframe", "site", "fault", "severity", "hard_negative"):
        columns[f"flight_{name}"] = np.array([getattr(f, name) for f in flights])
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **columns)

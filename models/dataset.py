"""Labelled flights as feature vectors: a folder with `labels.csv` and the telemetry logs that it names.

Of a label only this is read: class, site, whether and when a fault was injected. File names, SIM* messages and what
the autopilot says in words never become features.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.channels import log_channels
from shared.features import flight_features, flying_windows

CLASSES = {"copter": "copter", "plane": "plane", "heli": "helicopter", "quadplane": "quadplane"}
"""`vehicle` of labels.csv -> class of aircraft."""


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """One flight's windows. fault: its kind, '' for a nominal flight; fault_us: its exact begin and end, us UTC.

    end_us: int64 [w], when each window ended, us UTC; vectors: float32 [w, features]; flying: bool [w].
    """

    name: str
    aircraft: str
    site: str
    fault: str
    fault_us: tuple[int, int] | None
    end_us: NDArray[np.int64]
    vectors: NDArray[np.float32]
    flying: NDArray[np.bool_]

    def healthy(self) -> NDArray[np.bool_]:
        """[w]: windows in flight without a fault: of a flight with one, those that ended before it began."""
        return self.flying if self.fault_us is None else self.flying & (self.end_us < self.fault_us[0])

    def faulty(self, grace_us: int = 15_000_000) -> NDArray[np.bool_]:
        """[w]: windows in flight that ended in the fault or up to `grace_us` after it."""
        if self.fault_us is None:
            return np.zeros(len(self.flying), bool)
        begin, end = self.fault_us
        return self.flying & (self.end_us > begin) & (self.end_us <= end + grace_us)


def read_flights(folder: str | Path) -> list[Flight]:
    """All flights of the folder, in the order of labels.csv. OSError, KeyError: the folder is not as described."""
    root = Path(folder)
    with (root / "labels.csv").open(newline="", encoding="utf-8") as labels:
        return [_read(root, row) for row in csv.DictReader(labels)]


def _read(root: Path, row: dict[str, str]) -> Flight:
    tick_us, channels = log_channels(root / row["tlog"])
    ends, vectors = flight_features(channels)
    fault_us = None
    if row["fault"]:
        fault_us = (int(row["fault_start_utc_us"]), int(row["fault_end_utc_us"] or tick_us[-1]))
    return Flight(
        row["flight"], CLASSES[row["vehicle"]], row["site"], row["fault"], fault_us,
        tick_us[ends - 1], vectors, flying_windows(channels),
    )  # fmt: skip

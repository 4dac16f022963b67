"""`dbx analyze` over a folder of labelled flights: time, and what it finds against labels.csv.

The packaged model was trained on the flights that come with the project: on those the figures say that the whole chain
works, not how good the model is. For that see docs/models.md.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.dataset import CLASSES, SEVERE

GRACE_US = 10_000_000
"""A finding that begins so soon after a fault's end is of the fault."""


def main(argv: Sequence[str]) -> int:
    """Analyse, compare, print."""
    parser = argparse.ArgumentParser("dbx bench analyze", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/flights"), help="labels.csv and its logs")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    with (args.data / "labels.csv").open(newline="", encoding="utf-8") as labels:
        rows = list(csv.DictReader(labels))
    files = [str(args.data / row["tlog"]) for row in rows]
    began = time.monotonic()
    command = [sys.executable, "-m", "hub.analyze", "--json", "--jobs", str(args.jobs), *files]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout
    told = [json.loads(line) for line in out.splitlines()]
    figures = {"seconds": round(time.monotonic() - began, 1), **compared(rows, told)}
    print(json.dumps(figures) if args.json else "\n".join(f"{k:28} {v}" for k, v in figures.items()))
    return 0


def compared(rows: Sequence[dict[str, str]], told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of flights [n] and what was said of them."""
    good = [(r, t) for r, t in zip(rows, told, strict=True) if "error" not in t]
    faulty = [(r, hits(r, t)) for r, t in good if r["fault"]]
    severe = [(r, h) for r, h in faulty if float(r["severity"] or 0) >= SEVERE]
    false = sum(false_alarms(r, t) for r, t in good)
    hours = sum(t["flight_hours"] for _, t in good)
    delays = [(h[0]["start_utc_us"] - int(r["fault_start_utc_us"])) / 1e6 for r, h in faulty if h]
    right = [t["detected_aircraft_type"] == CLASSES[r["vehicle"]] for r, t in good]
    sure = [ok and t["aircraft_confidence"] > 0.9 for ok, (_, t) in zip(right, good, strict=True)]
    return {
        "flights": len(rows),
        "errors": len(rows) - len(good),
        "flight_hours": round(hours, 2),
        "false_alarms": false,
        "false_alarms_per_hour": round(false / hours, 2) if hours else None,
        "found": f"{sum(bool(h) for _, h in faulty)} of {len(faulty)}",
        "severe_found": f"{sum(bool(h) for _, h in severe)} of {len(severe)}",
        "severe_kind_right": f"{sum(bool(h) and h[0]['kind'] == r['fault'] for r, h in severe)} of "
        f"{sum(bool(h) for _, h in severe)}",
        "median_delay_s": round(statistics.median(delays), 2) if delays else None,
        "type_right_and_sure": f"{sum(sure)} of {len(good)}",
        "risk_of_faulty": dict(Counter(t["risk_level"] for r, t in good if r["fault"])),
        "risk_of_nominal": dict(Counter(t["risk_level"] for r, t in good if not r["fault"])),
    }


def span(row: dict[str, str]) -> tuple[int, int]:
    """The fault's begin and end, us UTC."""
    return int(row["fault_start_utc_us"]), int(row["fault_end_utc_us"] or 1 << 62)


def hits(row: dict[str, str], told: dict[str, Any]) -> list[dict[str, Any]]:
    """The findings of a fault, in order."""
    begin, end = span(row)
    return [f for f in told["findings"] if f["end_utc_us"] >= begin and f["start_utc_us"] <= end + GRACE_US]


def false_alarms(row: dict[str, str], told: dict[str, Any]) -> int:
    """Findings of a nominal flight, or before the fault; what comes after a fault is neither."""
    if not row["fault"]:
        return len(told["findings"])
    return sum(f["end_utc_us"] < span(row)[0] for f in told["findings"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`dbx analyze FILE...`: what the hub would say of recorded logs, without a hub. Offline; reads, never writes.

Every log goes the hub's own path: surveyed, laid on the grid, analysed by the packaged model, explained.
"""

import argparse
import json
import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from firmware_bridge.log_flight import LogFlight, derive
from firmware_bridge.log_source import LogSource, log_sources
from firmware_bridge.log_survey import LogBoot, Survey, survey
from hub.worker.analysis import Analyst
from hub.worker.result import AnalysisResult, Explained
from shared.errors import Refused, plainly
from shared.scoring import packaged_bundle

log = logging.getLogger("dbx.analyze")


@dataclass(frozen=True, slots=True, eq=False)
class Analysed:
    """One flight of a log and what the model says of it."""

    flight: LogFlight
    result: AnalysisResult


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="dbx analyze",
        description="Judges the flights in recorded logs: DataFlash (.BIN, .log), ULog, telemetry logs, raw MAVLink; "
        "plain or packed (zst, gz, zip). Exit 0 when all could be read, else 1; the others are analysed all the same.",
    )
    top.add_argument("path", nargs="+", metavar="FILE")
    top.add_argument("--json", action="store_true", help="one object per file, one per line (docs/commands.md)")
    top.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="files at a time (default: one per core)"
    )
    return top


def main(argv: Sequence[str]) -> int:
    """Run it; returns the exit status."""
    args = parser().parse_args(argv)
    failed = False
    for told in _all(args.path, max(1, args.jobs)):
        failed |= "error" in told
        if "error" in told:
            print(f"dbx analyze: {told['file']}: {told['detail']}", file=sys.stderr)
        if args.json:
            print(json.dumps(told), flush=True)
        elif "error" not in told:
            print(f"{told['file']}\n{told['ai_report_content']}\n", flush=True)
    return 1 if failed else 0


def _all(paths: Sequence[str], jobs: int) -> Iterator[dict[str, Any]]:
    """Every file's object, in the order of the files."""
    jobs = min(jobs, len(paths))
    if jobs == 1:
        _load()
        yield from map(analyzed, paths)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _load) as pool:
        yield from pool.map(analyzed, paths)


_ANALYST: list[Analyst] = []
"""This process's own: model and explainers are made once."""


def _load() -> None:
    if not _ANALYST:
        _ANALYST.append(Analyst(packaged_bundle()))


def analyzed(path: str) -> dict[str, Any]:
    """The object of one file; with "error" and "detail" when it cannot be read."""
    try:
        flights, surveys = [], []
        for source in log_sources(path):
            found, told = analyze_log(source, _ANALYST[0])
            surveys.append(found)
            flights += told
        return described(path, flights, surveys, _ANALYST[0])
    except Refused as e:
        return {"file": path, "error": e.reason, "detail": e.detail or e.reason}
    except OSError as e:
        return {"file": path, "error": "unreadable", "detail": plainly(e)}
    except Exception as e:  # one log must not stop the others
        log.exception("analysis failed", extra={"file": path})
        return {"file": path, "error": "failed", "detail": f"{type(e).__name__}: {e}"}


def analyze_log(source: LogSource, analyst: Analyst) -> tuple[Survey, list[Analysed]]:
    """All flights of one log. Refused, OSError: as survey."""
    found = survey(source)
    flights = derive(source, found)
    return found, [Analysed(f, analyst.analyse(f.grids, found.vehicle_type)) for f in flights]


def described(path: str, flights: Sequence[Analysed], surveys: Sequence[Survey], analyst: Analyst) -> dict[str, Any]:
    """What --json prints of a file (docs/commands.md): of several flights all findings, and the worst one's risk."""
    results = [f.result for f in flights] or [analyst.analyse([], s.vehicle_type) for s in surveys]
    worst = max(results, key=lambda r: (r.anomaly_detected, r.risk_score))
    longest = max(results, key=lambda r: r.flying_s)
    return {
        "file": path,
        "detected_aircraft_type": longest.aircraft.name,
        "aircraft_confidence": longest.aircraft.confidence,
        "anomaly_detected": worst.anomaly_detected,
        "risk_score": worst.risk_score,
        "risk_level": worst.risk_level,
        "shap_values": worst.shap_values,
        "ai_report_content": _report(flights, results),
        "findings": [_finding(f, e) for f in flights for e in f.result.findings],
        "flight_hours": round(sum(r.flying_s for r in results) / 3600, 5),
        "flights": len(flights),
        "model": worst.model,
    }


def _report(flights: Sequence[Analysed], results: Sequence[AnalysisResult]) -> str:
    if len(flights) < 2:
        return results[0].report if flights else f"No flight in this log: it was never armed.\n{results[0].report}"
    return "\n\n".join(f"Flight {i} of {len(flights)}.\n{f.result.report}" for i, f in enumerate(flights, 1))


def _finding(analysed: Analysed, found: Explained) -> dict[str, Any]:
    finding, flight = found.finding, analysed.flight
    is_dated = flight.boot.clock.utc_us is not None
    return {
        "start_utc_us": finding.start_us + flight.offset_us if is_dated else None,
        "end_utc_us": finding.end_us + flight.offset_us if is_dated else None,
        "start_boot_s": _boot_s(flight.boot, finding.start_us),
        "end_boot_s": _boot_s(flight.boot, finding.end_us),
        "kind": finding.kind,
        "kind_probability": round(found.kind_probability, 4),
        "score": finding.score,
        "threshold": finding.threshold,
        "severity": finding.severity,
        "probability": round(found.probability, 4),
        "evidence": finding.evidence,
        "shap_values": found.shap,
    }


def _boot_s(boot: LogBoot, at_us: int) -> float | None:
    """Seconds since the autopilot was powered up; None when the log does not say when that was."""
    if boot.boot_us is None:
        return None
    return round((boot.boot_us + (at_us - boot.first_us) * boot.speed) / 1e6, 3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

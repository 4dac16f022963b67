"""`dbx inspect FILE...`: what is in a recorded log, for people and as JSON. Offline; reads, never writes."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from firmware_bridge.inspect_text import page
from firmware_bridge.log_source import LogSource, log_sources
from firmware_bridge.log_survey import LogSession, Progress, Survey, survey
from shared.clock import ClockSource
from shared.errors import Refused, plainly

_BIG_BYTES = 16 << 20
_MAX_SECONDS = 253_402_300_799  # the year 9999


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="dbx inspect",
        description="Says what is in recorded logs: DataFlash (.BIN, .log), ULog, telemetry logs, raw MAVLink; plain "
        "or packed (zst, gz, zip). The format is told by content. Exit 0 when all could be read, 1 when one is no log.",
    )
    top.add_argument("path", nargs="+", help="files, or folders with logs")
    top.add_argument("--json", action="store_true", help="one object per log, one log per line (docs/commands.md)")
    return top


def main(argv: Sequence[str]) -> int:
    """Run it; returns the exit status."""
    args = parser().parse_args(argv)
    failed = False
    for path, is_named in _files(args.path):
        try:
            sources = log_sources(path)
            for source in sources:
                told = described(source, survey(source, _progress(source)))
                print(json.dumps(told) if args.json else page(told), flush=True)
        except (Refused, OSError) as error:
            failed |= is_named
            _complain(path, error, args.json, is_named)
    return 1 if failed else 0


def _files(paths: Sequence[str]) -> Iterator[tuple[Path, bool]]:
    """Each file, and whether it was named itself (what lies in a folder beside the logs is no failure)."""
    for path in map(Path, paths):
        if path.is_dir():
            yield from ((p, False) for p in sorted(path.rglob("*")) if p.is_file())
        else:
            yield path, True


def _complain(path: Path, error: Refused | OSError, as_json: bool, is_named: bool) -> None:
    reason = error.reason if isinstance(error, Refused) else "unreadable"
    words = error.detail or reason if isinstance(error, Refused) else plainly(error)
    if as_json and is_named:
        print(json.dumps({"file": str(path), "format": None, "error": reason, "detail": words}), flush=True)
    print(f"dbx inspect: {path}: {words}", file=sys.stderr)


def _progress(source: LogSource) -> Progress | None:
    """A line that counts, for a big file and a person who waits."""
    packed = source.packed_bytes
    if packed < _BIG_BYTES or not sys.stderr.isatty():
        return None

    def show(done_bytes: int) -> None:
        print(f"\r{source.name}: {done_bytes / 1e6:,.0f} MB read\r", end="", file=sys.stderr, flush=True)

    return show


def described(source: LogSource, found: Survey) -> dict[str, Any]:
    """A survey as the object that --json prints (docs/commands.md)."""
    first_utc, last_utc = span_utc(found)
    known = [b.clock for b in found.boots if b.clock.utc_us is not None]
    return {
        "file": source.name,
        "format": found.format,
        "size_bytes": found.size_bytes,
        "sha256": found.sha256.hex(),
        "firmware": found.firmware,
        "version": found.version,
        "vehicle": found.vehicle,
        "name": found.vehicle_name,
        "frame": found.frame,
        "system_id": found.sysid,
        "hardware_ids": list(found.hardware_ids),
        "messages": dict(sorted(found.messages.items())),
        "rates_hz": rates(found),
        "parameters": len(found.parameters),
        "texts": found.texts,
        "first_utc": iso(first_utc),
        "last_utc": iso(last_utc),
        "time_source": _source_name(max((c.source for c in known), default=ClockSource.unknown)),
        "time_uncertainty_s": max((c.uncertainty_us for c in known), default=0) / 1e6 if known else None,
        "duration_s": round(found.seconds, 3),
        "boots": [_boot(found, i) for i in range(len(found.boots))],
        "sessions": [_session(found, s) for s in found.sessions],
        "damage": [{"offset": d.offset, "bytes": d.size, "reason": d.reason, "detail": d.detail} for d in found.damage],
    }


def span_utc(found: Survey) -> tuple[int | None, int | None]:
    """First and last moment of the boots whose UTC is known, us since 1970."""
    known = [b for b in found.boots if b.clock.utc_us is not None]
    if not known:
        return None, None
    return (
        min(b.first_us + b.clock.offset_us() for b in known),
        max(b.last_us + b.clock.offset_us() for b in known),
    )


def rates(found: Survey) -> dict[str, float]:
    """Messages per second of the vehicle's time, by type."""
    seconds = sum((b.last_us - b.first_us - b.holes_us) * b.speed for b in found.boots) / 1e6
    return {n: round(c / seconds, 2) for n, c in sorted(found.messages.items())} if seconds >= 1 else {}


def iso(utc_us: int | None) -> str | None:
    """us since 1970 as ISO 8601, to the millisecond; None when it is not known, or is no date."""
    if utc_us is None or not 0 <= utc_us // 1_000_000 <= _MAX_SECONDS:
        return None
    moment = datetime.fromtimestamp(utc_us // 1_000_000, UTC).replace(microsecond=utc_us % 1_000_000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _source_name(source: ClockSource) -> str:
    return source.name if source in (ClockSource.gps, ClockSource.log) else "unknown"


def _start_s(found: Survey, boot: int) -> float:
    """Where a boot begins in the log's seconds: boots stand one behind the other."""
    return sum(b.last_us - b.first_us for b in found.boots[:boot]) / 1e6


def _boot(found: Survey, number: int) -> dict[str, Any]:
    b = found.boots[number]
    is_known = b.clock.utc_us is not None
    return {
        "start_s": round(_start_s(found, number), 3),
        "duration_s": round((b.last_us - b.first_us) / 1e6, 3),
        "since_boot_s": None if b.boot_us is None else round(b.boot_us / 1e6, 3),
        "first_utc": iso(b.first_us + b.clock.offset_us()) if is_known else None,
        "time_source": _source_name(b.clock.source),
        "time_uncertainty_s": b.clock.uncertainty_us / 1e6 if is_known else None,
        "speed": round(b.speed, 2),
    }


def _session(found: Survey, s: LogSession) -> dict[str, Any]:
    boot = found.boots[s.boot]
    start_s = _start_s(found, s.boot)
    is_known = boot.clock.utc_us is not None
    return {
        "start_s": round(start_s + (s.start_us - boot.first_us) / 1e6, 3),
        "end_s": round(start_s + (s.end_us - boot.first_us) / 1e6, 3),
        "inferred": s.inferred,
        "why": s.why,
        "start_utc": iso(s.start_us + boot.clock.offset_us()) if is_known else None,
    }

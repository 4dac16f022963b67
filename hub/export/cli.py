"""`dbx export`: recorded logs as files for other tools, offline; with --private without what tells the place."""

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from firmware_bridge.log_source import LogSource, log_sources
from hub.export.log_files import ENDINGS, Wish, export_log, write_report
from shared.channels import BY_NAME
from shared.errors import Refused, plainly

FORMATS = ("csv", "parquet", "mcap", "geojson", "kml", "gpx", "original")


def parser() -> argparse.ArgumentParser:
    """The command line of `dbx export`."""
    made = argparse.ArgumentParser(prog="dbx export", description=__doc__)
    made.add_argument("file", nargs="+", help="recorded logs: DataFlash, ULog, tlog, raw MAVLink; also packed")
    made.add_argument("--format", required=True, choices=FORMATS)
    made.add_argument("--out", metavar="PATH", help="file, or folder for several; default: here, named as the log")
    made.add_argument("--channels", metavar="A,B", help="csv, parquet, mcap: these channels only (docs/channels.md)")
    made.add_argument("--messages", metavar="A,B", help="csv, parquet: message types at full rate instead; or `all`")
    made.add_argument("--private", action="store_true", help="moved elsewhere, without home and what tells the place")
    made.add_argument("--private-seed", metavar="FILE", help="several private exports lie together; made when absent")
    made.add_argument("--private-time", action="store_true", help="hide the time of day as well: it begins in 2000")
    made.add_argument("--json", action="store_true", help="one object per log")
    return made


def main(argv: Sequence[str]) -> int:
    """Export; returns the exit status: 0 when every log could be, else 1, 2 when asked for the impossible."""
    args = parser().parse_args(argv)
    try:
        wish = _wish(args)
    except ValueError as mistake:
        print(f"dbx export: {mistake}", file=sys.stderr)
        return 2
    found = [source for name in args.file for source in _sources(name, args.json)]
    status = int(len(found) == 0 or any(s is None for s in found))
    logs = [s for s in found if s is not None]
    for number, source in enumerate(logs, 1):
        status |= _export(source, wish, _out(args.out, source, wish, number, len(logs)), args.json)
    return status


def _wish(args: argparse.Namespace) -> Wish:
    channels = tuple(n.strip() for n in args.channels.split(",") if n.strip()) if args.channels else None
    messages = tuple(n.strip() for n in args.messages.split(",") if n.strip()) if args.messages else ()
    unknown = [n for n in channels or () if n not in BY_NAME]
    if unknown:
        raise ValueError(f"no channel is named {unknown[0]!r}; docs/channels.md lists them")
    if messages and args.format not in ("csv", "parquet"):
        raise ValueError("--messages goes with csv and parquet; mcap holds every message anyway")
    if (args.private_seed or args.private_time) and not args.private:
        raise ValueError("--private-seed and --private-time go with --private")
    seed = _seed(Path(args.private_seed)) if args.private_seed else None
    return Wish(args.format, channels, messages, args.private, seed, args.private_time)


def _seed(path: Path) -> bytes:
    """The seed in a file; a new one is written where there is none, for its owner's eyes alone."""
    if not path.exists():
        path.touch(0o600)
        path.write_text(secrets.token_hex(32) + "\n")
    try:
        seed = bytes.fromhex(path.read_text().strip())
    except (ValueError, UnicodeDecodeError):
        seed = b""
    if len(seed) < 16:
        raise ValueError(f"{path}: no seed (at least 32 hexadecimal digits)")
    return seed


def _sources(name: str, as_json: bool) -> list[LogSource | None]:
    try:
        return list(log_sources(name))
    except (Refused, OSError) as error:
        _say({"file": name, "error": plainly(error)}, as_json, f"{name}: {plainly(error)}")
        return [None]


def _out(out: str | None, source: LogSource, wish: Wish, number: int, count: int) -> Path:
    """Where an export goes. A private one is not named after its log: names tell places and people."""
    stem = Path(source.member or source.name).stem.removesuffix(".tlog").removesuffix(".BIN") or "log"
    ending = ENDINGS[source.format] if wish.format == "original" else wish.format
    name = f"private-{number}" if wish.private else stem
    several = bool(wish.messages) and (len(wish.messages) > 1 or wish.messages == ("all",))
    file = name if several else f"{name}.{ending}"
    if out is None:
        return Path(file)
    return Path(out) / file if count > 1 or Path(out).is_dir() else Path(out)


def _export(source: LogSource, wish: Wish, out: Path, as_json: bool) -> int:
    name = str(source.origin) if not isinstance(source.origin, bytes) else source.name
    try:
        if out.exists() and out.samefile(name):
            raise Refused("export_over_log", f"{out} is the log itself: name another file with --out")
        written = export_log(source, wish, out)
        report = write_report(written)
    except (Refused, OSError) as error:
        _say({"file": name, "error": plainly(error)}, as_json, f"{name}: {plainly(error)}")
        return 1
    result: dict[str, Any] = {
        "file": name,
        "format": wish.format,
        "out": [str(p) for p in written.paths],
        "bytes": sum(p.stat().st_size for p in written.paths),
        "rows": written.rows,
        "private": written.left_out,
    }
    text = (
        f"{name}: {', '.join(result['out']) or 'nothing to write'} ({result['bytes']:,} bytes, {written.rows:,} rows)"
    )
    if report:
        text += f"\n  moved elsewhere; what is left out: {report}"
    _say(result, as_json, text)
    return 0


def _say(result: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        print(json.dumps(result), flush=True)
    else:
        print(text, file=sys.stderr if "error" in result else sys.stdout)

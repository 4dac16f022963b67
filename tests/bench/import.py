"""dbx bench import: how fast recorded logs are read and queued, and what they come to on the wire.

Reading: our reader to tables against the field's own tool on the same file: pymavlink's DFReader and
mavlink_connection message by message; pyulog's ULog; fasttlogparser's parseTLog. Import: survey, packing, unpacking
again, signing and SQLite, from an open file to the queue. Speeds are CPU time of one process, medians of some runs
after one that loads the code; wall time of the import, waiting for the disk included, beside it. A log too short for
timing is read as several of it in one file (by our reader, and by the import): bytes per second compare. bulk_ratio:
all that is queued (envelopes) of the DataFlash logs over their bytes; zstd19_ratio: the same files by zstd -19.
"""

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import zstandard

from agent.imports import ImportQueue
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import survey
from firmware_bridge.log_tables import read_all
from tests.fix_agent import HubKey, write_identity

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LEAST_BYTES = 800_000
"""Smaller logs are left out."""
TIMED_BYTES = 4 << 20
FAST_PARSER = """
import sys, time, fasttlogparser
spent = []
for _ in range(int(sys.argv[2])):
    start = time.process_time(); fasttlogparser.parseTLog(sys.argv[1]); spent.append(time.process_time() - start)
print(sorted(spent)[len(spent) // 2])
"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dbx bench import", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of logs (default: ../shared/data)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--fasttlogparser", metavar="PYTHON", default=sys.executable, help="interpreter that has it")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    if not args.data.is_dir():
        print(json.dumps({"skipped": f"needs the flight data in {args.data}, which is not on this machine"}))
        return 0
    with tempfile.TemporaryDirectory(prefix="dbx-bench-import-") as folder:
        files = [Bench(path, Path(folder), args) for path in logs_in(args.data, Path(folder))]
        files[0].measure_import(1)  # loads the code
        details = [f.measure() for f in files]
    figures = summed(details) | {"files": details}
    print(json.dumps(figures) if args.json else "\n".join(f"{k:24} {v}" for k, v in figures.items() if k != "files"))
    return 0


def logs_in(data: Path, folder: Path) -> list[Path]:
    """The larger binary logs, unpacked."""
    found = sorted((data / "flights" / "bin").glob("*.zst")) + sorted((data / "real").glob("*"))
    out = []
    for path in found:
        if path.suffix == ".zst":
            unpacked = folder / path.stem
            unpacked.write_bytes(zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()))
            path = unpacked
        if path.suffix.lower() in (".bin", ".ulg", ".tlog") and path.stat().st_size >= LEAST_BYTES:
            out.append(path)
    return out


def median_cpu_s(work: Callable[[], Any], runs: int) -> float:
    spent = []
    for _ in range(runs):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


class Bench:
    """One log. `big`: the log several times in one file, large enough for timing."""

    def __init__(self, path: Path, folder: Path, args: argparse.Namespace) -> None:
        self.path, self.folder, self.args = path, folder, args
        self.size = path.stat().st_size
        self.format = LogSource(path).format
        self.times = max(1, -(-TIMED_BYTES // self.size))
        self.big = folder / f"{self.times}x{path.name}"

    def measure(self) -> dict[str, Any]:
        """Everything about this log."""
        data = self.path.read_bytes()
        self.big.write_bytes(data * self.times)
        facts: dict[str, Any] = {"file": self.path.name, "format": self.format, "bytes": self.size, "times": self.times}
        ours = median_cpu_s(
            lambda: read_all(LogSource(self.big).reader(), LogSource(self.big).pieces()), self.args.runs
        )
        facts["read_mb_s"] = self.size * self.times / ours / 1e6
        for tool, cpu_s in self.field_tools().items():
            facts[f"{tool}_mb_s"] = self.size / cpu_s / 1e6 if cpu_s else None
            facts[f"x_{tool}"] = facts["read_mb_s"] * 1e6 * cpu_s / self.size if cpu_s else None
        facts |= self.measure_import(self.args.runs)
        facts["zstd19_ratio"] = len(zstandard.compress(data, 19)) / self.size
        self.big.unlink()
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in facts.items()}

    def field_tools(self) -> dict[str, float | None]:
        """CPU seconds of the field's tools on the file as it is; None: not there."""
        if self.format == "dataflash":
            return {"pymavlink": median_cpu_s(self.by_dfreader, 1)}
        if self.format == "ulog":
            return {"pyulog": median_cpu_s(self.by_pyulog, self.args.runs)}
        return {"pymavlink": median_cpu_s(self.by_mavlink_connection, 1), "fasttlogparser": self.by_fasttlogparser()}

    def by_dfreader(self) -> None:
        from pymavlink.DFReader import DFReader_binary

        log = DFReader_binary(str(self.path))
        while (message := log.recv_msg()) is not None:
            message.to_dict()

    def by_pyulog(self) -> None:
        from pyulog import ULog

        with contextlib.redirect_stdout(io.StringIO()):
            ULog(str(self.path))

    def by_mavlink_connection(self) -> None:
        from pymavlink import mavutil

        log = mavutil.mavlink_connection(str(self.path))
        while log.recv_match() is not None:
            pass

    def by_fasttlogparser(self) -> float | None:
        command = [self.args.fasttlogparser, "-c", FAST_PARSER, str(self.path), str(self.args.runs)]
        done = subprocess.run(command, capture_output=True, text=True)
        return float(done.stdout) if done.returncode == 0 else None

    def measure_import(self, runs: int) -> dict[str, float]:
        """Speed of the import of the timed file, what it and the file as it is come to."""
        path = self.big if self.big.exists() else self.path
        cpu, wall = [], []
        for _ in range(runs):
            start, began = time.process_time(), time.perf_counter()
            self.queue_bytes(path)
            cpu.append(time.process_time() - start)
            wall.append(time.perf_counter() - began)
        size = path.stat().st_size
        return {
            "import_mb_s": size / statistics.median(cpu) / 1e6,
            "import_wall_mb_s": size / statistics.median(wall) / 1e6,
            "bulk_ratio": self.queue_bytes(self.path) / self.size,
        }

    def queue_bytes(self, path: Path) -> int:
        """Import a log into a new queue; bytes of envelopes then waiting."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            me = replace(write_identity(Path(folder) / "identity", HubKey()), kind="station")
            with contextlib.closing(ImportQueue(Path(folder) / "data", me)) as queue:
                source = LogSource(path)
                queue.add(source, survey(source), None, "card")
                return queue.waiting()[1]


def summed(details: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures over all logs, each by its bytes."""

    def rate(name: str, format_: str | None = None) -> float | None:
        found = [d for d in details if d.get(name) and format_ in (None, d["format"])]
        return round(sum(d["bytes"] for d in found) / sum(d["bytes"] / d[name] for d in found), 2) if found else None

    def times(tool: str, format_: str) -> float | None:
        found = [d for d in details if d["format"] == format_ and d.get(f"{tool}_mb_s")]
        spent = [sum(d["bytes"] / d[name] for d in found) for name in (f"{tool}_mb_s", "read_mb_s")]
        return round(spent[0] / spent[1], 2) if found else None

    def ratio(name: str) -> float:
        found = [d for d in details if d["format"] == "dataflash"]
        return round(sum(d["bytes"] * d[name] for d in found) / sum(d["bytes"] for d in found), 4)

    return {
        "dataflash_x_pymavlink": times("pymavlink", "dataflash"),
        "ulog_x_pyulog": times("pyulog", "ulog"),
        "tlog_x_pymavlink": times("pymavlink", "tlog"),
        "tlog_x_fasttlogparser": times("fasttlogparser", "tlog"),
        "import_mb_s": rate("import_mb_s"),
        "import_wall_mb_s": rate("import_wall_mb_s"),
        "import_mb_s_by_format": {f: rate("import_mb_s", f) for f in ("dataflash", "ulog", "tlog")},
        "bulk_ratio": ratio("bulk_ratio"),
        "zstd19_ratio": ratio("zstd19_ratio"),
    }

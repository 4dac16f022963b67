"""How much the hub takes in: from MQTT publish to signed receipt, beside a bare COPY of the same rows.

Real processes: embedded PostgreSQL (fsync on), embedded nats-server (mutual TLS), ingest processes, and a load
process that publishes batches of real flights, encoded and signed beforehand. Two settings: backlog (30 s batches, as
fast as receipts come) and live (2 s batches, each aircraft's at its time).
"""

import argparse
import json
import os
import pickle
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg

from hub.embedded import postgres
from hub.settings import HubSettings
from hub.store.tenant import tenant
from hub.up import RunningHub
from shared.ids import key_id
from shared.topics import Lane
from tests.bench.ingest_copy import copy_rows_s
from tests.bench.ingest_load import Aircraft, envelopes, slices

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS_HZ = 10


class Bench:
    """A hub of its own in a temporary folder."""

    def __init__(self, folder: Path, processes: int) -> None:
        self.hub = RunningHub(HubSettings(data_dir=folder))
        self.hub.prepare()
        self.folder = folder
        self.processes = processes
        self.children: list[subprocess.Popen[bytes]] = []

    def start_ingest(self) -> None:
        env = os.environ | {"DBX_LOG_FORMAT": "json", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "shared.command", "hub", "ingest", "--data", str(self.folder)]
        for _ in range(self.processes):
            self.children.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE))
        broker = self.hub.installation.embedded_broker
        assert broker is not None
        time.sleep(4.0)

    def stop_ingest(self) -> None:
        for child in self.children:
            child.send_signal(signal.SIGTERM)
        for child in self.children:
            _, said = child.communicate(timeout=60)
            errors = [line for line in said.decode().splitlines() if '"level": "ERROR"' in line or "Traceback" in line]
            if child.returncode or errors:
                print(f"ingest ended with {child.returncode}: {said.decode()[-2000:]}", file=sys.stderr)
        self.children.clear()

    def new_fleet(self, count: int) -> list[Aircraft]:
        """Enrolled aircraft of one organisation."""
        org_id = uuid.uuid4()
        fleet = [Aircraft(org_id, uuid.uuid4()) for _ in range(count)]
        url = self.hub.installation.database_url("dbx_api")
        with psycopg.connect(url, autocommit=True) as conn, tenant(conn, org_id, actor="bench"):
            conn.execute("INSERT INTO organizations (org_id, name) VALUES (%s, 'bench')", (org_id,))
            for a in fleet:
                conn.execute(
                    "INSERT INTO aircraft_registry (org_id, aircraft_id, name) VALUES (%s, %s, 'a')",
                    (org_id, a.aircraft_id),
                )
                conn.execute(
                    "INSERT INTO device_keys (org_id, key_id, device_id, aircraft_id, public_key)"
                    " VALUES (%s, %s, gen_random_uuid(), %s, %s)",
                    (org_id, key_id(a.public), a.aircraft_id, a.public),
                )
        return fleet

    def run(self, work: Sequence[tuple[float, bytes, int, str, bytes]], window: int) -> dict[str, Any]:
        """Publish; what the load saw, and what each part used of the processors."""
        broker = self.hub.installation.broker
        address = self.hub.installation.device_broker
        files = (broker.credentials.key, broker.credentials.certificate, broker.credentials.ca)
        path = self.folder / "load.pickle"
        path.write_bytes(pickle.dumps((*address, files, window, 60.0, list(work))))
        before = self._cpu_s()
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.ingest_load", str(path)], cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
        seen: dict[str, Any] = json.loads(done.stdout)
        after = self._cpu_s()
        seen["cpu"] = {k: after[k] - before[k] for k in before} | {"load": seen["cpu_s"]}
        return seen

    def _cpu_s(self) -> dict[str, float]:
        broker = self.hub.installation.embedded_broker
        assert broker is not None and self.hub.postgres is not None
        server = psutil.Process(self.hub.postgres.pid)
        return {
            "ingest": sum(_cpu_of(psutil.Process(c.pid)) for c in self.children),
            "postgres": _cpu_of(server) + sum(_cpu_of(c) for c in server.children()),
            "broker": _cpu_of(psutil.Process(broker.pid)),
        }

    def query(self, text: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.hub.installation.admin_url(), autocommit=True) as conn:
            return conn.execute(text.encode()).fetchall()

    def settle_all(self) -> None:
        """As the worker would, without its analysis."""
        from hub.ingest.table_rows import RowTypes
        from hub.store.rows import use_rows
        from hub.worker.settle import settle

        found = self.query("SELECT org_id, session_id FROM flight_sessions")
        with psycopg.connect(self.hub.installation.database_url("dbx_worker"), autocommit=True) as conn:
            use_rows(conn)
            types = RowTypes(conn)
            for org_id, session in found:
                settle(conn, types, org_id, session)

    def bytes_per_row(self) -> dict[str, float]:
        """On disk, indexes and TOAST included, after dead rows' space is given back."""
        with psycopg.connect(self.hub.installation.admin_url(), autocommit=True) as conn:
            conn.execute("VACUUM FULL telemetry_chunks, ingest_batches, flight_sessions")
        rows = float(self.query("SELECT sum(n) FROM telemetry_chunks")[0][0])
        sizes = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname {} AND relkind = 'r'"
        chunks = float(self.query(sizes.format("LIKE 'telemetry_chunks_%'"))[0][0])
        ledger = float(self.query(sizes.format("= 'ingest_batches'"))[0][0])
        kept = float(self.query(sizes.format("= 'batch_envelopes'"))[0][0])
        return {"chunks": chunks / rows, "ledger": ledger / rows, "envelopes": kept / rows}

    def forget(self) -> None:
        """Empty tables for the next setting."""
        tables = "telemetry_chunks, flight_events, gaps, batch_envelopes, flight_sessions, ingest_batches, jobs"
        with psycopg.connect(self.hub.installation.admin_url(), autocommit=True) as conn:
            conn.execute(f"TRUNCATE {tables} CASCADE".encode())


def _cpu_of(process: psutil.Process) -> float:
    try:
        t = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(t.user + t.system)


def quantile(ordered: Sequence[float], q: float) -> float:
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("inf")


def backlog(bench: Bench, logs: Sequence[Path], aircraft: int, rounds: int, window: int) -> dict[str, Any]:
    """30 s batches, as fast as receipts come."""
    span_us = 30_000_000
    fleet = bench.new_fleet(aircraft)
    work = _work(fleet, envelopes(fleet, slices(logs, span_us), rounds, span_us, Lane.backlog), lambda k, i: 0.0)
    warm, rest = work[:aircraft], work[aircraft:]
    bench.run(warm, window)
    rows_before = _rows(bench)
    seen = bench.run(rest, window)
    rows = _rows(bench) - rows_before
    return seen | {"rows": rows, "rows_s": rows / seen["span_s"]}


def live(bench: Bench, logs: Sequence[Path], aircraft: int, seconds: float) -> dict[str, Any]:
    """2 s batches, each aircraft's at its own moment."""
    span_us = 2_000_000
    fleet = bench.new_fleet(aircraft)
    rounds = max(2, int(seconds * 1e6 / span_us))
    at = lambda k, i: (k + i / aircraft) * span_us / 1e6  # noqa: E731
    work = _work(fleet, envelopes(fleet, slices(logs, span_us), rounds, span_us, Lane.live), at)
    rows_before = _rows(bench)
    seen = bench.run(work, 1 << 30)
    rows = _rows(bench) - rows_before
    return seen | {"rows": rows, "rows_s": rows / seen["span_s"], "aircraft": aircraft}


def whole_flights(bench: Bench, logs: Sequence[Path], each: int) -> dict[str, Any]:
    """Every log `each` times from its beginning to its end in 2 s batches, as fast as receipts come."""
    span_us = 2_000_000
    flights = slices(logs, span_us)
    rounds = min(len(f) for f in flights) - 3 * each
    fleet = bench.new_fleet(len(logs) * each)
    work = _work(fleet, envelopes(fleet, flights, rounds, span_us, Lane.live), lambda k, i: 0.0)
    return bench.run(work, 500)


def _rows(bench: Bench) -> int:
    return int(bench.query("SELECT coalesce(sum(grid_rows), 0) FROM ingest_batches")[0][0])


def _work(fleet: Sequence[Aircraft], sealed: Any, at: Any) -> list[tuple[float, bytes, int, str, bytes]]:
    out = []
    seqs = dict.fromkeys(range(len(fleet)), 0)
    for n, (topic, envelope) in enumerate(sealed):
        k, i = divmod(n, len(fleet))
        seqs[i] += 1
        out.append((at(k, i), fleet[i].stream.bytes, seqs[i], topic, envelope))
    return out


def main(argv: Sequence[str]) -> int:
    """Run the bench; exit status 0."""
    parser = argparse.ArgumentParser(prog="dbx bench ingest", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--processes", type=int, default=2, help="ingest processes")
    parser.add_argument("--rows", type=int, default=240_000, help="rows of the backlog run")
    parser.add_argument("--live", type=int, nargs="*", default=[600, 900], help="aircraft of the live runs")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of one live run")
    parser.add_argument("--log", type=Path, nargs="*", help="telemetry logs (default: the demo flights)")
    args = parser.parse_args(argv)
    logs = args.log or sorted((ROOT / "deploy" / "demo").glob("*.tlog.zst"))
    with tempfile.TemporaryDirectory(prefix="dbx-bench-") as name:
        folder = Path(name) / "hub"
        bench = Bench(folder, args.processes)
        try:
            report = measure(bench, logs, args)
        finally:
            for child in bench.children:
                child.kill()
            bench.hub.close()
            postgres.remove(bench.hub.installation.postgres_dir)
    print(json.dumps(report) if args.json else json.dumps(report, indent=2))
    return 0


def measure(bench: Bench, logs: Sequence[Path], args: argparse.Namespace) -> dict[str, Any]:
    """All runs; the report."""
    bench.start_ingest()
    aircraft = 100
    rounds = max(2, args.rows // (30 * ROWS_HZ * aircraft) + 1)
    back = backlog(bench, logs, aircraft, rounds, window=200)
    bench.stop_ingest()
    bench.settle_all()
    sizes = bench.bytes_per_row()
    copy = copy_rows_s(bench.hub.installation.admin_url("dbx_aviation"), args.rows)
    values = float(copy["values_per_row"])
    bench.forget()
    bench.start_ingest()
    flown = whole_flights(bench, logs, 3)
    bench.stop_ingest()
    bench.settle_all()
    live_sizes = bench.bytes_per_row()
    bench.forget()
    bench.start_ingest()
    lives = [live(bench, logs, n, args.seconds) for n in args.live]
    bench.stop_ingest()
    good = [r["aircraft"] for r in lives if r["received"] == r["sent"] and quantile(r["latency_s"], 0.99) < 0.5]
    first = lives[0] if lives else back
    return {
        "rows_s": round(back["rows_s"]),
        "values_s": round(back["rows_s"] * values),
        "copy_rows_s": round(copy["rows_s"]),
        "ratio": round(back["rows_s"] / copy["rows_s"], 3),
        "live_aircraft": max(good, default=0),
        "p50_ms": round(1000 * statistics.median(first["latency_s"] or [float("inf")]), 1),
        "p99_ms": round(1000 * quantile(first["latency_s"], 0.99), 1),
        "bytes_per_row": round(live_sizes["chunks"] + live_sizes["ledger"], 1),
        "bytes_per_row_of": {"from live batches": _rounded(live_sizes), "from backlog batches": _rounded(sizes)},
        "cpu_split": _rounded({k: v / back["rows"] * 1e6 for k, v in back["cpu"].items()}),
        "cpu_split_unit": "us per row, backlog",
        "cores_used": round(sum(back["cpu"].values()) / back["span_s"], 2),
        "channels_per_row": copy["channels_per_row"],
        "values_per_row": round(values, 1),
        "lost": sum(r["sent"] - r["received"] for r in (back, flown)) + sum(r["sent"] - r["received"] for r in lives),
        "live": [
            {
                "aircraft": r["aircraft"], "rows_s": round(r["rows_s"]),
                "p50_ms": round(1000 * statistics.median(r["latency_s"] or [float("inf")]), 1),
                "p99_ms": round(1000 * quantile(r["latency_s"], 0.99), 1),
                "cpu_cores": _rounded({k: v / r["span_s"] for k, v in r["cpu"].items()}),
            }
            for r in lives
        ],
    }  # fmt: skip


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {k: round(v, 2) for k, v in values.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

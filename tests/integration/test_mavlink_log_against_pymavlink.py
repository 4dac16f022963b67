"""Real telemetry logs and raw dumps, message by message as pymavlink reads them. Differences: docs/logs.md."""

import math
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymavlink.dialects.v20 import ardupilotmega

from firmware_bridge.log_tables import Portion, Table, read_all
from firmware_bridge.mavlink_log import RawReader, TlogReader
from firmware_bridge.tlog import open_log

NAMES = (
    "real/apm-copter-4.1.1-real-auto-36wp-terrainfs.tlog",
    "real/apm-copter-4.5.5-sitl-guided-takeoff-signedframe.tlog",
    "real/apm-quadplane-3.10dev-sitl-qloiter-transition-qland.tlog",
    "real/apm-rover-4.7dev-sitl-guided.tlog",
    "real/apm-rover-4.7dev-sitl-guided.raw",
)
EVERY = 7  # of each type's messages, the values of every so many are compared


@cache
def read(path: Path) -> list[Portion]:
    data = open_log(path)
    reader = RawReader(100_000) if path.suffix == ".raw" else TlogReader(100_000)
    return read_all(reader, [data[i : i + 70_001] for i in range(0, len(data), 70_001)])


@cache
def decoded(path: Path) -> list[Any]:
    """pymavlink's messages of the same frames: its parser finds them by itself."""
    parser = ardupilotmega.MAVLink(None)
    parser.robust_parsing = True
    out = []
    for portion in read(path):
        if portion.frames:
            out += parser.parse_buffer(portion.frames.data) or []
    return out


@cache
def stream(path: Path) -> Counter[str]:
    """Counts by type as pymavlink finds them in the log's own bytes."""
    from pymavlink import mavutil

    log = mavutil.mavlink_connection(
        str(path), dialect="ardupilotmega", robust_parsing=True, notimestamps=path.suffix == ".raw"
    )
    counts: Counter[str] = Counter()
    while (m := log.recv_msg()) is not None:
        counts[m.get_type()] += 1
    return counts


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, float):
        return ours == theirs or (math.isnan(ours) and math.isnan(theirs))
    return bool(ours == theirs)


def value(row: np.void, field: str) -> Any:
    ours = row[field]
    if isinstance(ours, bytes):
        return ours.split(b"\0")[0].decode("ascii", "replace")
    return ours.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_counts_by_type_agree(flight_data: Path, name: str) -> None:
    counts: Counter[str] = Counter()
    for portion in read(flight_data / name):
        counts.update(portion.counts)
    theirs = stream(flight_data / name)
    theirs.pop("BAD_DATA", None)
    assert counts == theirs


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["copter-quad", "copter-hexa", "plane", "heli", "quadplane"])
def test_counts_of_simulated_flights_agree(flight_data: Path, tmp_path: Path, kind: str) -> None:
    packed = sorted((flight_data / "flights" / "tlog").glob(f"*_{kind}.tlog.zst"))[-1]
    path = tmp_path / "flight.tlog"
    path.write_bytes(open_log(packed))
    counts: Counter[str] = Counter()
    for portion in read(path):
        counts.update(portion.counts)
        assert portion.damage == []
    assert counts == stream(path)


@pytest.mark.parametrize("name", NAMES)
def test_field_values_agree(flight_data: Path, name: str) -> None:
    tables: dict[tuple[str, int], list[Table]] = {}
    for t in (t for p in read(flight_data / name) for t in p.tables):
        tables.setdefault((t.name, t.instance), []).append(t)
    rows = {key: np.concatenate([t.rows for t in parts]) for key, parts in tables.items()}
    seen: Counter[tuple[str, int]] = Counter()
    for m in decoded(flight_data / name):
        if m.get_type().startswith(("BAD_DATA", "UNKNOWN")):
            continue
        key = (m.get_type(), m.get_srcSystem() << 8 | m.get_srcComponent())
        row = rows[key][seen[key]]
        seen[key] += 1
        if seen[key] % EVERY == 0:
            for field in m.get_fieldnames():
                theirs = getattr(m, field)
                assert same(value(row, field), theirs), (key, field)
    assert seen == Counter({key: len(found) for key, found in rows.items()})


@pytest.mark.parametrize("name", [n for n in NAMES if n.endswith(".tlog")])
def test_times_are_the_stamps_that_pymavlink_reads(flight_data: Path, name: str) -> None:
    from pymavlink import mavutil

    log = mavutil.mavlink_connection(str(flight_data / name), dialect="ardupilotmega", robust_parsing=True)
    theirs = []
    while (m := log.recv_msg()) is not None:
        theirs.append(m._timestamp)
    ours = np.concatenate([p.frames.time_us for p in read(flight_data / name) if p.frames])
    np.testing.assert_allclose(ours / 1e6, theirs, rtol=0, atol=1e-5)

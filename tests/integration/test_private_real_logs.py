"""Private exports of logs from the wild: none tells where it was recorded."""

import json
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.log_source import LogSource
from firmware_bridge.log_tables import read_all
from hub.export.log_files import Wish, export_log
from tests.fix_private import TruePlaces, coordinates_in_columns, places_in_bytes

pytestmark = pytest.mark.slow
REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "real"
LOGS = sorted(p for p in REAL.glob("*") if p.suffix.lower() in (".bin", ".log", ".ulg", ".tlog", ".raw"))


def places(path: Path) -> np.ndarray:
    """[n, 2] longitude and latitude of every track in a GeoJSON file."""
    body = json.loads(path.read_text())
    features = body["features"] if body["type"] == "FeatureCollection" else [body]
    shapes = [f["geometry"] for f in features if f["geometry"]]
    lines = [c for g in shapes for c in ([g["coordinates"]] if g["type"] == "LineString" else g["coordinates"])]
    return np.array([p[:2] for line in lines for p in line]).reshape(-1, 2)


@pytest.mark.skipif(not LOGS, reason="needs the real logs of ../shared/data/real, which are not here")
@pytest.mark.parametrize("log", LOGS, ids=lambda p: p.name)
def test_the_private_original_is_sound_and_tells_no_place(log: Path, tmp_path: Path) -> None:
    export_log(LogSource(log), Wish("geojson"), tmp_path / "plain")
    export_log(LogSource(log), Wish("geojson", private=True, seed=bytes(32)), tmp_path / "shown")
    written = export_log(LogSource(log), Wish("original", private=True, seed=bytes(32)), tmp_path / "original")
    data = written.paths[0].read_bytes()
    assert len(data) > 0.2 * LogSource(log).packed_bytes
    portions = read_all(LogSource(data, "x").reader(), [data])
    assert sum(d.size for p in portions for d in p.damage) <= 64
    true = places(tmp_path / "plain")
    if len(true):
        flown = TruePlaces(true[::5, 1], true[::5, 0])
        columns = [(f"{t.name}.{n}", t.rows[n]) for p in portions for t in p.tables for n in t.rows.dtype.names or ()]
        assert coordinates_in_columns(columns, flown) == []
        assert places_in_bytes(data, flown) == places_in_bytes((tmp_path / "shown").read_bytes(), flown) == []

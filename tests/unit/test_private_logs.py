"""A private export of any log in any format tells no true place, keeps the shape, and leaves home out."""

import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from mcap.reader import make_reader

from firmware_bridge.log_source import LogSource
from firmware_bridge.log_tables import read_all
from hub.export.log_files import Wish, export_log, write_report
from hub.export.private import EARTH_M, unit_vectors
from tests.fix_private import coordinates_in_columns, places_in_bytes
from tests.fix_private_logs import LOGS, SECRETS, SecretFlight, secret_flight

FLIGHT = secret_flight()
FORMATS = ("csv", "parquet", "mcap", "geojson", "kml", "gpx", "original", "csv messages", "parquet messages")
KINDS = list(LOGS)
DATA = {kind: LOGS[kind](FLIGHT) for kind in KINDS}
Columns = list[tuple[str, np.ndarray]]


def export(kind: str, wanted: str, folder: Path, private: bool = True, **more: Any) -> list[Path]:
    file_format, _, messages = wanted.partition(" ")
    wish = Wish(file_format, messages=("all",) if messages else (), private=private, **more)  # type: ignore[arg-type]
    written = export_log(
        LogSource(DATA[kind], "Oerlikon.log"), wish, folder / ("out" if messages else f"out.{file_format}")
    )
    report = write_report(written)
    return [*written.paths, *([report] if report else [])]


def unpacked(paths: list[Path]) -> tuple[bytes, Columns]:
    """What the files say: every byte of it uncompressed, and every column of numbers."""
    data, columns = bytearray(), []
    for path in paths:
        if path.suffix == ".parquet":
            table = pyarrow.parquet.read_table(path)
            columns += [
                (n, c.to_numpy(zero_copy_only=False)) for n, c in zip(table.column_names, table.columns, strict=True)
            ]
            data += b"".join(np.ascontiguousarray(c).tobytes() for _, c in columns if c.dtype.kind in "iuf")
            sink = io.BytesIO()
            pyarrow.csv.write_csv(table, sink)
            data += sink.getvalue()
        elif path.suffix == ".mcap":
            with path.open("rb") as stream:
                data += b"\n".join(
                    m.data + c.topic.encode() + (s.data if s else b"")
                    for s, c, m in make_reader(stream).iter_messages()
                )
        elif path.suffix == ".csv":
            table = pyarrow.csv.read_csv(path)
            columns += [
                (n, c.to_numpy(zero_copy_only=False)) for n, c in zip(table.column_names, table.columns, strict=True)
            ]
            data += path.read_bytes()
        else:
            data += path.read_bytes()
    return bytes(data), columns


def log_columns(data: bytes) -> Columns:
    """Every field of every message of a log."""
    tables = [t for p in read_all(LogSource(data, "x").reader(), [data]) for t in p.tables]
    return [(f"{t.name}.{n}", t.rows[n]) for t in tables for n in t.rows.dtype.names or ()]


def track_in(paths: list[Path], wanted: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(us UTC, lat, lon) as a reader of that format finds them."""
    data = paths[0].read_bytes()
    if wanted in ("csv", "parquet"):
        table = pyarrow.csv.read_csv(paths[0]) if wanted == "csv" else pyarrow.parquet.read_table(paths[0])
        t, y, x = (table.column(c).to_numpy().astype(float) for c in ("time_utc_us", "lat_deg", "lon_deg"))
        return t[~np.isnan(y)], y[~np.isnan(y)], x[~np.isnan(y)]
    if wanted == "mcap":
        with paths[0].open("rb") as stream:
            found = [(m.log_time / 1000, json.loads(m.data)) for _, c, m in make_reader(stream).iter_messages("/track")]
        rows = [(t, fix["latitude"], fix["longitude"]) for t, fix in found]
    elif wanted == "geojson":
        body = json.loads(data)
        assert body["geometry"]["type"] == "LineString"
        times = body["properties"]["time_utc_us"]
        rows = [(t, p[1], p[0]) for t, p in zip(times, body["geometry"]["coordinates"], strict=True)]
    else:
        text = re.sub(r'xmlns(:gx)?="[^"]*"', "", data.decode()).replace("gx:", "")
        root = ET.fromstring(text)
        if wanted == "gpx":
            rows = [
                (_us(p.findtext("time")), float(p.attrib["lat"]), float(p.attrib["lon"])) for p in root.iter("trkpt")
            ]
        else:
            fixes = [tuple(map(float, (c.text or "").split())) for c in root.iter("coord")]
            rows = [(_us(w.text), c[1], c[0]) for w, c in zip(root.iter("when"), fixes, strict=True)]
    t, y, x = np.array(rows, float).T
    return t, y, x


def _us(text: str | None) -> float:
    return float(np.datetime64((text or "").rstrip("Z"), "us").astype(np.int64))


def chords(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    places = unit_vectors(lat, lon)
    return np.linalg.norm(places[:, None] - places[None], axis=-1) * EARTH_M


def assert_same_shape(t: np.ndarray, lat: np.ndarray, lon: np.ndarray, start_us: float, flight: SecretFlight) -> None:
    """By time: the same distances as the true track, and nothing of it near home."""
    true_t = start_us + flight.t_s * 1e6
    near = np.searchsorted(true_t, t - 1).clip(0, len(true_t) - 1)
    whole = np.abs(true_t[near] - t) < 250_000  # the grid holds a value for a tick or two
    assert flight.metres_from_home()[near].min() > 140
    pick = np.flatnonzero(whole)[:: max(1, int(whole.sum()) // 150)]
    shown, real = chords(lat[pick], lon[pick]), chords(flight.lat[near[pick]], flight.lon[near[pick]])
    assert len(pick) > 50 and real.max() > 1500
    far = real > 400
    assert np.abs(shown[far] - real[far]).max() < 25  # what flies between two ticks
    assert abs(shown.max() / real.max() - 1) < 0.01


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_true_place_survives(kind: str, wanted: str, tmp_path: Path) -> None:
    data, columns = unpacked(export(kind, wanted, tmp_path))
    if wanted == "original":
        columns = log_columns(data)
    assert places_in_bytes(data, FLIGHT.true) == []
    assert coordinates_in_columns(columns, FLIGHT.true) == []
    assert [s for s in SECRETS if s.encode() in data] == []


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("kind", ["dataflash", "ulog"])
def test_an_export_that_is_not_private_is_caught_by_the_same_search(kind: str, wanted: str, tmp_path: Path) -> None:
    data, _ = unpacked(export(kind, wanted, tmp_path, private=False))
    told = places_in_bytes(data, FLIGHT.true)
    assert told or wanted in ("csv", "mcap")  # there a latitude and its longitude stand far apart in the text
    assert str(FLIGHT.lat[700])[:7].encode() in data or told


@pytest.mark.parametrize("wanted", ["csv", "parquet", "mcap", "geojson", "kml", "gpx"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_shape_is_kept_and_home_is_not_in_it(kind: str, wanted: str, tmp_path: Path) -> None:
    private, plain = tmp_path / "a", tmp_path / "b"
    private.mkdir(), plain.mkdir()
    t, lat, lon = track_in(export(kind, wanted, private), wanted)
    true_t, _, _ = track_in(export(kind, wanted, plain, private=False), wanted)
    assert_same_shape(t, lat, lon, float(true_t[0]), FLIGHT)


@pytest.mark.parametrize("kind", KINDS)
def test_the_original_is_a_sound_log_of_the_same_kind_with_the_same_shape(kind: str, tmp_path: Path) -> None:
    data = export(kind, "original", tmp_path)[0].read_bytes()
    source = LogSource(data, "x")
    portions = read_all(source.reader(), [data])
    assert source.format == kind and [d for p in portions for d in p.damage] == []
    name, lat, lon = {"ulog": ("sensor_gps", "lat", "lon"), "dataflash": ("GPS", "Lat", "Lng")}.get(
        "dataflash" if kind.startswith("data") else kind, ("GPS_RAW_INT", "lat", "lon")
    )
    rows = np.concatenate([t.rows for p in portions for t in p.tables if t.name == name])
    times = np.concatenate([t.time_us for p in portions for t in p.tables if t.name == name])
    unit = 1e-7 if rows[lat].dtype.kind in "iu" else 1.0
    first = 1_760_000_060_000_000 if kind == "tlog" else 60_000_000
    assert_same_shape(times.astype(float), rows[lat] * unit, rows[lon] * unit, first, FLIGHT)


def test_two_exports_lie_elsewhere_and_one_seed_lays_them_together(tmp_path: Path) -> None:
    places = []
    for k, seed in enumerate((None, None, bytes(range(32)), bytes(range(32)))):
        (tmp_path / str(k)).mkdir()
        kind = "ulog" if k == 3 else "dataflash"  # two recorders of one flight
        _, lat, lon = track_in(export(kind, "geojson", tmp_path / str(k), seed=seed), "geojson")
        places.append((lat[len(lat) // 2], lon[len(lon) // 2]))
    metres = chords(*np.array(places).T)
    assert metres[0, 1] > 1000 and metres[0, 2] > 1000 and metres[2, 3] < 30


def test_altitudes_move_by_one_constant_and_stay_apart_from_the_true_ones(tmp_path: Path) -> None:
    table = pyarrow.parquet.read_table(export("dataflash", "parquet", tmp_path)[0])
    shown = table.column("alt_msl_m").to_numpy(zero_copy_only=False)
    shown = shown[~np.isnan(shown)]
    assert abs((shown.max() - shown.min()) - np.ptp(FLIGHT.alt_m[FLIGHT.metres_from_home() > 300])) < 30
    assert min(abs(shown.max() - FLIGHT.alt_m.max()), 1e9) > 90


def test_the_time_of_day_can_be_hidden_as_well(tmp_path: Path) -> None:
    for kind in ("dataflash", "ulog"):
        table = pyarrow.parquet.read_table(export(kind, "parquet", tmp_path, hide_time=True)[0])
        first = table.column("time")[0].as_py()
        assert (first.year, first.month, first.day) == (2000, 1, 1)
        original = export(kind, "original", tmp_path, hide_time=True)[0].read_bytes()
        clocks = [v for n, v in log_columns(original) if n in ("GPS.GWk", "GPS.GMS", "sensor_gps.time_utc_usec")]
        assert clocks and not any(v.any() for v in clocks)


def test_the_report_names_what_is_left_out(tmp_path: Path) -> None:
    *_, report = export("dataflash", "original", tmp_path)
    told = json.loads(report.read_text())
    assert {"MAG", "ORGN", "CMD", "RALY", "ADSB", "TERR", "UBXR", "MINE"} <= told["messages"].keys()
    assert told["fields"]["ATT"] == ["Spare"] and set(told["fields"]["XKF1"]) == {"PN", "PE", "OH"}
    assert told["fields"]["BARO"] == ["Press"]
    assert told["texts"] == 6 and told["parameters"] == 2 and told["rows_near_home"] > 100


@pytest.mark.parametrize("site", [(0.01, 179.9999), (-78.2, 10.0), (0.3, -0.2)])
def test_no_place_survives_near_the_antimeridian_the_pole_and_the_origin(
    site: tuple[float, float], tmp_path: Path
) -> None:
    flight = secret_flight(*site)
    source = LogSource(LOGS["dataflash"](flight), "x.bin")
    written = export_log(source, Wish("original", private=True), tmp_path / "out.bin")
    data = written.paths[0].read_bytes()
    assert abs(site[0]) < 1 or places_in_bytes(data, flight.true) == []  # near 0 degrees any small number is a place
    lat = np.concatenate([v for n, v in log_columns(data) if n == "GPS.Lat"]) * 1e-7
    lon = np.concatenate([v for n, v in log_columns(data) if n == "GPS.Lng"]) * 1e-7
    assert (
        np.linalg.norm(unit_vectors(lat, lon) - unit_vectors(flight.lat[:1], flight.lon[:1]), axis=-1).min() * EARTH_M
        > 5e4
    )

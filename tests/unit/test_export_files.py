"""Telemetry tables and tracks are read back by the tools that people use."""

import io
import json
import xml.etree.ElementTree as ET

import numpy as np
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet
import pytest

from hub.export.series import Series, buckets
from hub.export.tables import bucket_json, bucket_table, raw_json, raw_table, to_bytes
from hub.export.track import Track, to_geojson, to_gpx, to_kml, track_of
from shared.channels import BY_NAME

START = 1_700_000_000_000_000
MISSING = BY_NAME["battery_v"].missing
SERIES = Series(
    START + np.arange(3, dtype=np.int64) * 100_000,
    {"battery_v": np.array([1234, MISSING, 1200], np.int16), "armed": np.array([0, 1, 1], np.int16)},
)
GPX = {"g": "http://www.topografix.com/GPX/1/1"}
KML = {"k": "http://www.opengis.net/kml/2.2", "gx": "http://www.google.com/kml/ext/2.2"}


def read(data: bytes, kind: str):
    source = io.BytesIO(data)
    if kind == "csv":
        return pyarrow.csv.read_csv(source)
    return pyarrow.ipc.open_stream(source).read_all() if kind == "arrow" else pyarrow.parquet.read_table(source)


def a_track(**changed) -> Track:
    stored = {
        "lat_deg": np.array([0, 473977418, 473977500], np.int32),
        "lon_deg": np.array([0, 85455939, 85456000], np.int32),
        "alt_msl_m": np.array([0, 48812, BY_NAME["alt_msl_m"].missing], np.int32),
    }
    return track_of(changed.pop("name", "flight"), Series(SERIES.time_utc_us, stored), **changed)


@pytest.mark.parametrize("kind", ["csv", "arrow", "parquet"])
def test_every_table_format_gives_the_same_values_back(kind: str) -> None:
    table = read(to_bytes(raw_table(SERIES), kind), kind)
    assert table.column("time_utc_us").to_pylist() == SERIES.time_utc_us.tolist()
    assert table.column("battery_v").to_pylist() == [12.34, None, 12.0]


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_typed_formats_name_the_unit_and_carry_utc_timestamps(kind: str) -> None:
    table = read(to_bytes(raw_table(SERIES), kind), kind)
    assert (
        table.field("battery_v").metadata[b"unit"] == b"V" and str(table.field("time").type) == "timestamp[us, tz=UTC]"
    )


def test_json_writes_absent_samples_as_null() -> None:
    body = json.loads(raw_json(SERIES))
    assert body["channels"]["battery_v"] == {"unit": "V", "values": [12.34, None, 12.0]}


def test_buckets_say_their_width_in_json_and_have_three_columns_each_in_tables() -> None:
    b = buckets(SERIES, 1)
    assert json.loads(bucket_json(b))["channels"]["battery_v"] == {
        "unit": "V",
        "min": [12.0],
        "max": [12.34],
        "mean": [12.17],
    }
    assert bucket_table(b).column_names[2:] == [
        f"{c}.{s}" for c in ("battery_v", "armed") for s in ("min", "max", "mean")
    ]


def test_the_place_where_autopilots_are_before_their_first_fix_is_no_part_of_a_track() -> None:
    assert a_track().lat_deg.tolist() == [47.3977418, 47.39775]


def test_geojson_has_longitude_first_and_leaves_an_unknown_altitude_out() -> None:
    body = json.loads(to_geojson(a_track()))
    assert body["geometry"] == {
        "type": "LineString",
        "coordinates": [[8.5455939, 47.3977418, 488.12], [8.5456, 47.39775]],
    }
    assert body["properties"]["coordinateProperties"]["times"][0] == "2023-11-14T22:13:20.100Z"


def test_a_track_without_a_line_has_a_null_geometry() -> None:
    empty = Track("x", *(np.zeros(0, t) for t in (np.int64, float, float, float)))
    assert json.loads(to_geojson(empty))["geometry"] is None
    ET.fromstring(to_gpx(empty)), ET.fromstring(to_kml(empty))


def test_a_track_over_the_antimeridian_is_cut_there() -> None:
    lon = np.array([179.9, 179.95, -179.99, -179.9])
    track = Track("x", np.arange(4), np.zeros(4) + 1, lon, np.zeros(4))
    geometry = json.loads(to_geojson(track))["geometry"]
    assert geometry["type"] == "MultiLineString" and [len(p) for p in geometry["coordinates"]] == [2, 2]


def test_gpx_points_have_elevation_before_time_as_its_schema_demands() -> None:
    points = ET.fromstring(to_gpx(a_track())).findall(".//g:trkpt", GPX)
    assert [c.tag.split("}")[1] for c in points[0]] == ["ele", "time"] and [c.tag.split("}")[1] for c in points[1]] == [
        "time"
    ]
    assert points[0].attrib == {"lat": "47.3977418", "lon": "8.5455939"}


def test_kml_has_as_many_moments_as_positions() -> None:
    root = ET.fromstring(to_kml(a_track()))
    assert len(root.findall(".//k:when", KML)) == len(root.findall(".//gx:coord", KML)) == 2


def test_a_track_without_utc_claims_no_times() -> None:
    track = a_track(has_time=False)
    assert b"<time>" not in to_gpx(track) and b"<when>" not in to_kml(track)
    assert "coordinateProperties" not in json.loads(to_geojson(track))["properties"]


@pytest.mark.parametrize("write", [to_gpx, to_kml])
def test_names_with_markup_or_control_characters_keep_the_xml_well_formed(write) -> None:
    root = ET.fromstring(write(a_track(name="<a>&\x00\x0b]]>\ud800'\"")))
    assert "<a>&" in "".join(root.itertext())


def test_a_long_track_is_thinned_evenly_and_keeps_its_ends() -> None:
    n = 10_000
    stored = {
        "lat_deg": np.arange(1, n + 1, dtype=np.int32),
        "lon_deg": np.ones(n, np.int32),
        "alt_msl_m": np.ones(n, np.int32),
    }
    track = track_of("x", Series(np.arange(n, dtype=np.int64), stored), max_points=100)
    assert len(track.time_utc_us) == 100 and track.time_utc_us[[0, -1]].tolist() == [0, n - 1]

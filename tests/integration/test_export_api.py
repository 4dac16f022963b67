"""Exports over the API: flights and recorded logs in every format, and private ones that tell no place."""

import io
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from mcap.reader import make_reader

from firmware_bridge.tlog import read_tlog
from tests.fix_api import START_UTC_US, Tenant
from tests.fix_logs import store_log
from tests.fix_private import coordinates_in_columns, places_in_bytes
from tests.fix_private_logs import SECONDS, SECRETS, dataflash, secret_flight

FLIGHT = secret_flight()


def a_flight(ours: Tenant) -> uuid.UUID:
    """A flight of the hub that went where the invented one goes."""
    n = SECONDS * 5
    flight = ours.store_flight(name="Oerlikon 1", rows=n)
    arrays = [np.round(v * 1e7).astype(int).tolist() for v in (FLIGHT.lat, FLIGHT.lon)]
    with ours.database.connect() as conn:
        conn.execute(
            "UPDATE telemetry_chunks SET lat_deg = %s, lon_deg = %s, alt_msl_m = %s, pressure_pa = %s, mag_x_ut = %s"
            " WHERE org_id = %s AND session_id = %s",
            (*arrays, np.round(FLIGHT.alt_m * 100).astype(int).tolist(), [96000] * n, [400] * n, ours.org_id,
             flight.flight_id),
        )  # fmt: skip
    return flight.flight_id


def told(answer: Any) -> bytes:
    """What an answer says, unpacked, with its headers."""
    assert answer.status_code == 200, answer.text
    data = answer.content
    if data.startswith(b"PAR1"):
        table = pyarrow.parquet.read_table(io.BytesIO(data))
        columns = {n: table.column(n).to_numpy(zero_copy_only=False) for n in table.column_names}
        assert coordinates_in_columns(columns.items(), FLIGHT.true) == []
        data = str({n: v[:2000].tolist() for n, v in columns.items() if v.dtype.kind in "iuf"}).encode()
        data += b"".join(v.tobytes() for v in columns.values() if v.dtype.kind in "iuf")
    elif data.startswith(b"\x89MCAP"):
        data = b"\n".join(m.data for _, _, m in make_reader(io.BytesIO(data)).iter_messages())
    return data + str(answer.headers).encode()


@pytest.mark.parametrize(
    "path",
    [f"telemetry?format={f}&" for f in ("json", "csv", "parquet", "mcap")] + ["telemetry?resolution=200&"]
    + [f"track?format={f}&" for f in ("geojson", "kml", "gpx")] + ["flight.tlog?"],
)  # fmt: skip
def test_a_private_answer_about_a_flight_tells_no_place(ours: Tenant, path: str) -> None:
    flight = a_flight(ours)
    data = told(ours.get(f"/v1/flights/{flight}/{path}private=1"))
    assert places_in_bytes(data, FLIGHT.true) == []
    assert b"Oerlikon" not in data


def test_the_shape_of_a_private_track_is_the_flights_own_without_home(ours: Tenant) -> None:
    flight = a_flight(ours)
    body = ours.get(f"/v1/flights/{flight}/track?private=1").json()
    lon, lat = np.array(body["geometry"]["coordinates"])[:, :2].T
    rows = (np.array(body["properties"]["time_utc_us"]) - START_UTC_US) // 100_000
    assert FLIGHT.metres_from_home()[rows].min() > 149 and len(rows) > 500
    north, east = np.radians(lat - lat[0]) * 6_371_008.8, np.radians(lon - lon[0]) * 6_371_008.8
    shown = np.hypot(north, east * np.cos(np.radians((lat + lat[0]) / 2)))
    true_north = np.radians(FLIGHT.lat[rows] - FLIGHT.lat[rows[0]]) * 6_371_008.8
    true_east = np.radians(FLIGHT.lon[rows] - FLIGHT.lon[rows[0]]) * 6_371_008.8
    real = np.hypot(true_north, true_east * np.cos(np.radians((FLIGHT.lat[rows] + FLIGHT.lat[rows[0]]) / 2)))
    far = real > 100
    assert np.abs(shown[far] / real[far] - 1).max() < 1e-3


def test_a_private_answer_says_what_it_lacks(ours: Tenant) -> None:
    answer = ours.get(f"/v1/flights/{a_flight(ours)}/telemetry?private=1&channels=lat_deg,pressure_pa,battery_v")
    assert list(answer.json()["channels"]) == ["lat_deg", "battery_v"]
    assert json.loads(answer.headers["dbx-left-out"])["fields"] == {"channels": ["pressure_pa"]}


def test_every_frame_of_a_private_tlog_is_sound(ours: Tenant) -> None:
    f = ours.store_flight()
    read = read_tlog(ours.get(f"/v1/flights/{f.flight_id}/flight.tlog?private=1").content)
    assert read.bad_crc == read.junk_bytes == 0


def test_mcap_of_a_flight_has_a_track_and_its_channels_by_group(ours: Tenant) -> None:
    data = ours.get(f"/v1/flights/{a_flight(ours)}/telemetry?format=mcap").content
    messages = [(c.topic, s.name, json.loads(m.data)) for s, c, m in make_reader(io.BytesIO(data)).iter_messages()]
    assert {t for t, _, _ in messages} == {"/track", "/position", "/power", "/state", "/motors", "/air", "/motion"}
    _, schema, fix = next(m for m in messages if m[0] == "/track")
    assert schema == "foxglove.LocationFix" and (round(fix["latitude"], 4), round(fix["longitude"], 4)) == (
        47.3977,
        8.5456,
    )


@pytest.mark.parametrize("format", ["csv", "parquet", "mcap", "geojson", "kml", "gpx", "original"])
def test_a_recorded_log_is_exported_and_privately_tells_no_place(ours: Tenant, theirs: Tenant, format: str) -> None:
    data = dataflash(FLIGHT)
    name = store_log(ours.database, ours.org_id, data).hex()
    plain = ours.get(f"/v1/logs/{name}/export?format={format}")
    assert plain.status_code == 200 and len(plain.content) > 1000
    assert format != "original" or plain.content == data
    private = told(ours.get(f"/v1/logs/{name}/export?format={format}&private=1"))
    assert places_in_bytes(private, FLIGHT.true) == []
    assert [s for s in SECRETS if s.encode() in private] == []
    assert theirs.get(f"/v1/logs/{name}/export?format={format}").status_code == 404


def test_one_message_type_of_a_log_comes_at_full_rate(ours: Tenant, tmp_path: Path) -> None:
    name = store_log(ours.database, ours.org_id, dataflash(FLIGHT)).hex()
    table = pyarrow.parquet.read_table(
        io.BytesIO(ours.get(f"/v1/logs/{name}/export?format=parquet&message=GPS").content)
    )
    assert table.num_rows == len(FLIGHT.t_s) and abs(table.column("Lat")[700].as_py() - FLIGHT.lat[700]) < 1e-6
    assert ours.get(f"/v1/logs/{name}/export?format=csv&message=NONE").status_code == 404
    assert ours.get(f"/v1/logs/{name}/export?format=kml&message=GPS").status_code == 422
    assert ours.get(f"/v1/logs/{'zz'}/export?format=kml").status_code == 404

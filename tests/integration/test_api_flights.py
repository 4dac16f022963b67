"""Flights over the API: list, detail, events, findings, telemetry, tracks."""

import io
import json
import xml.etree.ElementTree as ET

import pyarrow.ipc
import pyarrow.parquet
import pytest

from hub.store.tenant import tenant
from shared.channels import CHANNELS
from tests.fix_api import START_UTC_US


def test_the_list_is_newest_first_and_pages_without_doubles_or_holes(ours) -> None:
    flights = [ours.store_flight(f"N{i}", START_UTC_US + i * 10**9).flight_id for i in range(5)]
    seen, cursor = [], None
    while True:
        page = ours.get("/v1/flights", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [f["id"] for f in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [str(f) for f in reversed(flights)]


def test_live_flights_come_first(ours) -> None:
    old, _ = ours.store_flight("A", START_UTC_US), ours.store_flight("B", START_UTC_US + 10**12)
    with ours.database.connect("dbx_ingest") as conn, tenant(conn, ours.org_id):
        conn.execute("UPDATE flight_sessions SET state = 'live' WHERE session_id = %s", (old.flight_id,))
    items = ours.get("/v1/flights").json()["items"]
    assert items[0]["id"] == str(old.flight_id) and items[0]["state"] == "live"
    assert [f["id"] for f in ours.get("/v1/flights?state=live").json()["items"]] == [str(old.flight_id)]


def test_filters_select_by_aircraft_and_time(ours) -> None:
    a, b = ours.store_flight("A"), ours.store_flight("B", START_UTC_US + 10**10)
    by_aircraft = ours.get("/v1/flights", params={"aircraft_id": str(b.aircraft_id)}).json()["items"]
    by_time = ours.get("/v1/flights", params={"to_utc_us": START_UTC_US + 10**9}).json()["items"]
    assert [f["id"] for f in by_aircraft] == [str(b.flight_id)] and [f["id"] for f in by_time] == [str(a.flight_id)]


def test_the_detail_says_in_words_that_a_complete_flight_is_complete(ours) -> None:
    f = ours.store_flight()
    body = ours.get(f"/v1/flights/{f.flight_id}").json()
    c = body["completeness"]
    assert (c["generated_frames"], c["committed_frames"], c["missing"], c["chain_ok"]) == (12, 12, [], True)
    assert c["statement"] == "Complete: all 12 frames that the aircraft journaled are committed."
    assert body["vehicle_type"] == "copter" and body["autopilot"] == "ArduPilot" and body["clock_source"] == "gps"


def test_the_list_and_the_detail_count_what_is_missing(ours) -> None:
    f = ours.store_flight()
    with ours.database.connect() as conn:
        conn.execute("DELETE FROM ingest_batches WHERE stream_id = %s AND seq = 2", (f.stream_id,))
        conn.execute("UPDATE flight_sessions SET complete = false")
    assert [i["missing_batches"] for i in ours.get("/v1/flights").json()["items"]] == [1]
    body = ours.get(f"/v1/flights/{f.flight_id}").json()
    assert body["missing_batches"] == 1 and body["completeness"]["statement"].endswith("; 1 batch is still to come.")
    with ours.database.connect() as conn:
        conn.execute("UPDATE flight_sessions SET last_seq = last_seq + 5")
    assert ours.get("/v1/flights").json()["items"][0]["missing_batches"] == 6 - 1  # the closing record's is there


@pytest.mark.parametrize("last_seq", [2**62, 2**63 - 1])
def test_no_sequence_that_an_aircraft_invents_breaks_the_list(ours, last_seq: int) -> None:
    f = ours.store_flight()
    with ours.database.connect() as conn:
        conn.execute("UPDATE flight_sessions SET complete = false, last_seq = %s", (last_seq,))
        conn.execute(
            "INSERT INTO gaps (org_id, record_stream_id, record_seq, record_no, aircraft_id, stream_id, reason,"
            " first_seq, last_seq) VALUES (%s, %s, 1, 0, %s, %s, 'quota', %s, %s)",
            (ours.org_id, f.stream_id, f.aircraft_id, f.stream_id, 2**62, 2**63 - 1),
        )
    assert ours.get("/v1/flights").json()["items"][0]["missing_batches"] == 2**53 - 4
    assert ours.get(f"/v1/flights/{f.flight_id}").status_code == 200


def test_a_live_flight_that_moves_has_a_distance(ours) -> None:
    f = ours.store_flight()
    with ours.database.connect() as conn:
        conn.execute("UPDATE flight_sessions SET state = 'live', distance_m = 0")
        conn.execute("UPDATE ingest_batches SET lat_deg = 47 + seq * 0.001, lon_deg = 8")
    assert ours.get(f"/v1/flights/{f.flight_id}").json()["distance_m"] == pytest.approx(3 * 111.195, rel=0.01)


def test_bands_follow_the_armed_and_mode_channels(ours) -> None:
    bands = ours.get(f"/v1/flights/{ours.store_flight().flight_id}").json()["bands"]
    assert bands["armed"] == [{"from_utc_us": START_UTC_US + 10**6, "to_utc_us": START_UTC_US + 10**7}]
    assert [(m["mode"], m["from_utc_us"]) for m in bands["modes"]] == [
        ("LOITER", START_UTC_US),
        ("RTL", START_UTC_US + 5 * 10**6),
    ]


def test_a_batch_that_has_not_come_is_named_in_the_detail(ours) -> None:
    f = ours.store_flight()
    with ours.database.connect() as conn:
        conn.execute("DELETE FROM ingest_batches WHERE stream_id = %s AND seq = 2", (f.stream_id,))
    c = ours.get(f"/v1/flights/{f.flight_id}").json()["completeness"]
    assert c["missing"] == [{"first_seq": 2, "last_seq": 2}] and c["statement"].startswith("Incomplete: 8 of 12")


def test_a_batch_under_a_gap_record_is_accounted_for_with_its_reason(ours) -> None:
    f = ours.store_flight()
    with ours.database.connect() as conn:
        conn.execute("DELETE FROM ingest_batches WHERE stream_id = %s AND seq = 2", (f.stream_id,))
    with ours.database.connect("dbx_ingest") as conn, tenant(conn, ours.org_id):
        conn.execute(
            "INSERT INTO gaps (org_id, record_stream_id, record_seq, record_no, aircraft_id, stream_id, session_id,"
            " reason, first_seq, last_seq, frames) VALUES (%s, %s, 4, 0, %s, %s, %s, 'evicted', 2, 2, 4)",
            (ours.org_id, f.stream_id, f.aircraft_id, f.stream_id, f.flight_id),
        )
    c = ours.get(f"/v1/flights/{f.flight_id}").json()["completeness"]
    assert c["missing"] == [] and [(g["reason"], g["first_seq"], g["frames"]) for g in c["gaps"]] == [("evicted", 2, 4)]
    assert c["statement"] == "8 of 12 frames committed; the rest is accounted for by signed records: evicted."


def test_a_batch_that_does_not_name_the_one_before_it_breaks_the_chain(ours) -> None:
    f = ours.store_flight()
    with ours.database.connect() as conn:
        conn.execute("UPDATE ingest_batches SET prev_digest = digest WHERE stream_id = %s AND seq = 2", (f.stream_id,))
    c = ours.get(f"/v1/flights/{f.flight_id}").json()["completeness"]
    assert c["chain_ok"] is False and "does not hold" in c["statement"]


def test_events_and_findings_are_listed(ours) -> None:
    f = ours.store_flight()
    events = ours.get(f"/v1/flights/{f.flight_id}/events").json()["items"]
    findings = ours.get(f"/v1/flights/{f.flight_id}/findings").json()["items"]
    assert [e["kind"] for e in events] == ["armed"] and findings[0]["source"] == "aircraft"


def test_raw_telemetry_has_every_sample_with_null_where_absent(ours) -> None:
    f = ours.store_flight()
    body = ours.get(f"/v1/flights/{f.flight_id}/telemetry?channels=battery_v,motor_output_us,motor_rpm").json()
    assert len(body["time_utc_us"]) == 100 and body["time_utc_us"][1] - body["time_utc_us"][0] == 100_000
    assert body["channels"]["battery_v"]["values"][:3] == [None, 12.0, 12.01]
    assert body["channels"]["motor_output_us[0]"]["values"][5] == 1005
    assert body["channels"]["motor_output_us[1]"]["values"][5] == 1500
    assert body["channels"]["motor_output_us[2]"]["values"][5] is None and "motor_rpm[7]" in body["channels"]


def test_a_time_range_is_kept_to_the_sample(ours) -> None:
    f = ours.store_flight()
    query = f"channels=armed&from_utc_us={START_UTC_US + 200_000}&to_utc_us={START_UTC_US + 450_000}"
    body = ours.get(f"/v1/flights/{f.flight_id}/telemetry?{query}").json()
    assert body["time_utc_us"] == [START_UTC_US + i * 100_000 for i in (2, 3, 4)]


def test_buckets_are_at_most_as_many_as_asked_for(ours) -> None:
    f = ours.store_flight()
    body = ours.get(f"/v1/flights/{f.flight_id}/telemetry?channels=battery_v&resolution=10").json()
    assert len(body["time_utc_us"]) == 10 and body["bucket_us"] == 990_001
    assert body["channels"]["battery_v"]["max"][-1] == 12.98


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
def test_telemetry_files_can_be_read(ours, kind: str) -> None:
    answer = ours.get(f"/v1/flights/{ours.store_flight().flight_id}/telemetry?channels=battery_v&format={kind}")
    data = io.BytesIO(answer.content)
    if kind == "csv":
        assert len(answer.text.splitlines()) == 101
    else:
        table = pyarrow.parquet.read_table(data) if kind == "parquet" else pyarrow.ipc.open_stream(data).read_all()
        assert table.num_rows == 100 and table.column("battery_v")[1].as_py() == 12.0


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("channels=nonsense", "unknown_channel"),
        ("channels=,", "no_channel"),
        ("channels=battery_v;drop", "unknown_channel"),
        ("from_utc_us=5&to_utc_us=4", "bad_time_range"),
        ("from_utc_us=99999999999999999999", "invalid_request"),
        ("resolution=0", "invalid_request"),
        ("resolution=20001", "too_many_points"),
        ("resolution=many", "invalid_request"),
        ("format=xls", "invalid_request"),
    ],
)
def test_what_cannot_be_had_is_a_clear_problem(ours, query: str, reason: str) -> None:
    answer = ours.get(f"/v1/flights/{ours.store_flight().flight_id}/telemetry?{query}")
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:dbx:problem:{reason}"


def test_too_many_values_are_refused_with_advice(ours, monkeypatch) -> None:
    monkeypatch.setattr("hub.api.routes_telemetry.MAX_VALUES", 99)
    answer = ours.get(f"/v1/flights/{ours.store_flight().flight_id}/telemetry?channels=battery_v")
    assert answer.status_code == 422 and "a resolution" in answer.json()["detail"]


def test_the_track_comes_in_three_formats(ours) -> None:
    f = ours.store_flight()
    line = ours.get(f"/v1/flights/{f.flight_id}/track").json()["geometry"]["coordinates"]
    assert len(line) == 100 and line[0] == [8.5455939, 47.3977418, 488.12]
    for kind in ("kml", "gpx"):
        answer = ours.get(f"/v1/flights/{f.flight_id}/track?format={kind}")
        ET.fromstring(answer.content)
        assert kind in answer.headers["content-type"]


def test_unchanged_answers_are_304(ours) -> None:
    ours.store_flight()
    first = ours.get("/v1/flights")
    assert ours.get("/v1/flights", headers={"if-none-match": first.headers["etag"]}).status_code == 304


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "é", "a" * 700])
def test_a_foreign_cursor_is_a_problem(ours, cursor: str) -> None:
    answer = ours.get("/v1/flights", params={"cursor": cursor})
    assert answer.status_code in (400, 422) and json.loads(answer.content)["request_id"]


def test_a_cursor_of_one_list_does_not_open_another(ours) -> None:
    ours.store_flight("A"), ours.store_flight("B")
    cursor = ours.get("/v1/aircraft?limit=1").json()["next_cursor"]
    assert ours.get("/v1/flights", params={"cursor": cursor}).json()["type"] == "urn:dbx:problem:bad_cursor"


def test_channels_are_the_registry(ours) -> None:
    assert [c["name"] for c in ours.get("/v1/channels").json()] == [c.name for c in CHANNELS]

"""Recorded logs over the API: uploads on the same path, detail, assignment, the bytes again; what stations ask."""

import base64
import gzip
import hashlib
import io
import uuid
import zipfile
from typing import Any

import cbor2
import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.api.device_auth import CONTEXT
from hub.ingest.table_rows import RowTypes
from hub.store.log_arrivals import log_id
from hub.store.rows import use_rows
from hub.worker.log_shelf import open_shelf
from hub.worker.logs import take_in
from hub.worker.settle import settle
from shared.envelope import LOG_RECEIPT_TYPE, open_envelope
from shared.ids import key_id
from shared.receipt import LogCommitted, decode_log_receipt
from tests.fix_api import HUB_PUBLIC, Tenant
from tests.fix_dataflash import dataflash_log
from tests.fix_fleet import Recorder
from tests.fix_logs import new_station, records_of, sealed, store_log

LOG = dataflash_log(12.0)
NAME = hashlib.sha256(LOG).hexdigest()


def upload(tenant: Tenant, data: bytes, role: str = "operator", **query: Any) -> Any:
    return tenant.client.post("/v1/logs", content=data, params=query, headers=tenant.auth(role))


def take(tenant: Tenant, sha256: str) -> None:
    """What the worker does with a log."""
    with tenant.database.connect("dbx_worker") as conn, open_shelf() as shelf:
        use_rows(conn)
        types = RowTypes(conn)
        for flight in take_in(conn, types, tenant.org_id, log_id(bytes.fromhex(sha256)), shelf):
            settle(conn, types, tenant.org_id, flight, shelf)


def test_an_uploaded_log_becomes_a_flight_and_its_bytes_come_back(ours: Tenant) -> None:
    aircraft = ours.database.new_aircraft(ours.org_id, "Quad")
    answer = upload(ours, LOG, name="00000007.BIN", aircraft_id=str(aircraft))
    assert answer.status_code == 202, answer.text
    (item,) = answer.json()["items"]
    assert (item["sha256"], item["state"], item["name"], item["origin"]) == (NAME, "arriving", "00000007.BIN", "upload")
    take(ours, NAME)
    log = ours.get(f"/v1/logs/{NAME}").json()
    assert (log["state"], log["aircraft_name"], log["importer_name"]) == ("parsed", "Quad", "uploads")
    assert log["size_bytes"] == len(LOG) and log["survey"]["messages"]["ATT"] and log["clock_source"] == "gps"
    (flight,) = log["flights"]
    assert [s["flight_id"] for s in log["sessions"]] == [flight]
    original = ours.get(f"/v1/logs/{NAME}/original")
    assert original.content == LOG and "00000007.BIN" in original.headers["content-disposition"]
    detail = ours.get(f"/v1/flights/{flight}").json()
    assert detail["origin"] == "log" and [f["sha256"] for f in detail["logs"]] == [NAME]
    assert detail["sources"] and all(s["sha256"] == NAME and s["kind"] == "onboard" for s in detail["sources"])


def test_the_same_upload_again_is_the_same_log(ours: Tenant) -> None:
    for _ in range(2):
        assert upload(ours, LOG).status_code == 202
        take(ours, NAME)
    assert upload(ours, zstandard.compress(LOG)).json()["items"][0]["sha256"] == NAME
    (item,) = ours.get("/v1/logs").json()["items"]
    assert (item["sha256"], item["deliveries"], item["state"]) == (NAME, 1, "unassigned")


def test_an_upload_that_says_whose_it_is_settles_what_was_open(ours: Tenant) -> None:
    upload(ours, LOG)
    take(ours, NAME)
    aircraft = ours.database.new_aircraft(ours.org_id)
    for _ in range(2):
        upload(ours, LOG, aircraft_id=str(aircraft))
        take(ours, NAME)
    log = ours.get(f"/v1/logs/{NAME}").json()
    assert (log["state"], log["aircraft_id"], log["deliveries"]) == ("parsed", str(aircraft), 2)


def test_a_zip_of_logs_is_all_of_them_and_packed_ones_are_unpacked(ours: Tenant) -> None:
    other = dataflash_log(9.0)
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("a/1.BIN", LOG)
        archive.writestr("a/2.BIN.gz", gzip.compress(other))
        archive.writestr("readme.txt", b"nothing")
    names = {i["sha256"] for i in upload(ours, body.getvalue(), name="card.zip").json()["items"]}
    assert names == {NAME, hashlib.sha256(other).hexdigest()}


def test_what_is_no_log_is_refused_with_its_reason(ours: Tenant) -> None:
    for data, reason in ((b"nothing of the kind " * 100, "log_format"), (b"", "log_empty")):
        answer = upload(ours, data)
        assert answer.status_code == 422 and answer.json()["type"] == f"urn:dbx:problem:{reason}"
    assert upload(ours, LOG, aircraft_id=str(uuid.uuid4())).status_code == 404
    assert upload(ours, LOG, "viewer").status_code == 403


def test_a_log_is_assigned_by_who_may_and_only_to_an_aircraft(ours: Tenant, theirs: Tenant) -> None:
    sha256 = store_log(ours.database, ours.org_id, LOG).hex()
    mine, foreign = ours.database.new_aircraft(ours.org_id), theirs.database.new_aircraft(theirs.org_id)
    station = new_station(ours.database, ours.org_id)

    def assign(aircraft: Any, role: str = "operator") -> int:
        path, body = f"/v1/logs/{sha256}", {"aircraft_id": aircraft and str(aircraft)}
        return int(ours.client.patch(path, json=body, headers=ours.auth(role)).status_code)

    assert [assign(mine, "viewer"), assign(foreign), assign(station.aircraft_id)] == [403, 404, 422]
    assert ours.get(f"/v1/logs/{sha256}").json()["state"] == "unassigned"
    assert assign(mine) == 200
    take(ours, sha256)
    assert ours.get(f"/v1/logs/{sha256}").json()["aircraft_id"] == str(mine)
    assert assign(None) == 200
    take(ours, sha256)
    log = ours.get(f"/v1/logs/{sha256}").json()
    assert log["aircraft_id"] == str(mine) and log["assigned_aircraft_id"] is None  # its hardware was learned meanwhile


def test_lists_page_and_filter(ours: Tenant) -> None:
    names = {
        store_log(ours.database, ours.org_id, dataflash_log(5.0, start_us=10**7 * (i + 1))).hex() for i in range(3)
    }
    first = ours.get("/v1/logs?limit=2").json()
    rest = ours.get("/v1/logs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert {i["sha256"] for i in first["items"] + rest["items"]} == names and rest["next_cursor"] is None
    assert ours.get("/v1/logs?state=failed").json()["items"] == []
    assert len(ours.get("/v1/logs?state=unassigned").json()["items"]) == 3


def test_a_log_that_is_not_whole_has_no_original(ours: Tenant) -> None:
    station = new_station(ours.database, ours.org_id)
    records = records_of(LOG, part_bytes=2000)
    arrivals = sealed(station, [records[0], records[-1]])
    ours.client.app.state.api.parts.receiving.commit(ours.org_id, station.aircraft_id, [a.envelope for a in arrivals])
    log = ours.get(f"/v1/logs/{NAME}").json()
    assert log["state"] == "arriving" and 0 < log["received_bytes"] < log["packed_bytes"]
    assert ours.get(f"/v1/logs/{NAME}/original").status_code == 409


def test_stations_are_no_aircraft_in_lists(ours: Tenant) -> None:
    made = ours.post("/v1/aircraft", {"name": "Field laptop", "kind": "station"}, "operator").json()
    ours.post("/v1/aircraft", {"name": "Quad"}, "operator")
    assert made["kind"] == "station"
    assert [a["name"] for a in ours.get("/v1/aircraft").json()["items"]] == ["Quad"]
    assert [a["name"] for a in ours.get("/v1/aircraft?kind=station").json()["items"]] == ["Field laptop"]


def asks(tenant: Tenant, device: Recorder, method: str, path: str, body: bytes = b"") -> Any:
    """A request that a device signs."""
    challenge = tenant.client.get("/v1/envelopes/challenge").json()["challenge"]
    signature = device.key.sign(b"\0".join((CONTEXT, challenge.encode(), hashlib.sha256(body).digest())))
    proof = f"{device.key_id.hex()}:{challenge}:{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    headers = {"authorization": f"DBX-Device {proof}"}
    return tenant.client.request(method, path, content=body, headers=headers)


def test_a_station_learns_its_organisations_aircraft_and_their_hardware(ours: Tenant, theirs: Tenant) -> None:
    station = new_station(ours.database, ours.org_id)
    quad = ours.database.new_aircraft(ours.org_id, "Quad")
    theirs.database.new_aircraft(theirs.org_id, "Theirs")
    upload(ours, LOG, aircraft_id=str(quad))
    take(ours, NAME)
    (found,) = asks(ours, station, "GET", "/v1/device/fleet").json()["aircraft"]
    assert (found["aircraft_id"], found["name"]) == (str(quad), "Quad")
    assert found["hardware_ids"] == sorted(ours.get(f"/v1/logs/{NAME}").json()["hardware_ids"]) != []


def test_an_aircrafts_device_learns_of_itself_alone(ours: Tenant) -> None:
    craft = new_station(ours.database, ours.org_id, "Quad", "aircraft")
    ours.database.new_aircraft(ours.org_id, "Other")
    found = asks(ours, craft, "GET", "/v1/device/fleet").json()["aircraft"]
    assert [a["aircraft_id"] for a in found] == [str(craft.aircraft_id)]


def test_a_station_gets_a_signed_receipt_for_what_is_whole(ours: Tenant, theirs: Tenant) -> None:
    station = new_station(ours.database, ours.org_id)
    whole = store_log(ours.database, ours.org_id, LOG)
    foreign = store_log(theirs.database, theirs.org_id, dataflash_log(7.0))
    answer = asks(ours, station, "POST", "/v1/device/logs", cbor2.dumps([whole, foreign, bytes(32)]))
    key = Ed25519PublicKey.from_public_bytes(HUB_PUBLIC)
    opened = open_envelope(answer.content, lambda k: key if k == key_id(HUB_PUBLIC) else None, LOG_RECEIPT_TYPE)
    receipt = decode_log_receipt(opened.payload)
    (committed,) = receipt.logs
    assert committed == LogCommitted(whole, len(LOG), committed.committed_us) and committed.committed_us > 0


@pytest.mark.parametrize(
    "body", [b"", b"\xff", cbor2.dumps([b"short"]), cbor2.dumps({}), cbor2.dumps([bytes(32)] * 10_001)]
)
def test_a_question_that_is_none_is_refused(ours: Tenant, body: bytes) -> None:
    station = new_station(ours.database, ours.org_id)
    assert asks(ours, station, "POST", "/v1/device/logs", body).status_code == 422


def test_a_strangers_question_is_refused(ours: Tenant) -> None:
    stranger = Recorder(ours.org_id, uuid.uuid4())
    assert asks(ours, stranger, "GET", "/v1/device/fleet").status_code == 401

"""Nobody reaches what belongs to another organisation, by any route. Routes come from the application itself, so that
a new one cannot be forgotten."""

import re
import uuid

import pytest
from fastapi.routing import APIRoute

from hub.api.app import ROUTERS
from hub.store.alerts import raise_alert
from hub.store.tenant import tenant as tenant_transaction
from tests.fix_logs import store_log

ROUTES = sorted(
    {(m, r.path) for router in ROUTERS for r in router.routes if isinstance(r, APIRoute) for m in r.methods}
)
PUBLIC = {("GET", "/v1/health"), ("POST", "/v1/enroll"), ("GET", "/v1/envelopes/challenge"), ("POST", "/v1/envelopes")}
BY_DEVICES = {("GET", "/v1/device/fleet"), ("POST", "/v1/device/logs"), ("GET", "/v1/device/models/{digest}")}
"""A device's signature instead of a key: tests/integration/test_logs_devices.py."""
WITH_ID = [r for r in ROUTES if "{" in r[1] and r not in BY_DEVICES]
BODIES = {
    "/v1/aircraft/{aircraft_id}/directives": {"kind": "capture", "body": {}},
    "/v1/aircraft": {"name": "x"},
    "/v1/keys": {"name": "x"},
    "/v1/logs/{sha256}": {"aircraft_id": None},
    "/v1/components": {"kind": "motor", "name": "x"},
    "/v1/flights/{flight_id}/batteries": {"batteries": []},
    "/v1/maintenance/limits": {"kind": "prop", "quantity": "hours", "most": 50},
    "/v1/aircraft/{aircraft_id}/work-orders": {"title": "x"},
    "/v1/work-orders/{work_order_id}/sign": {"state": "in_progress", "signed_by": "x"},
    "/v1/findings/{finding_id}/feedback": {"verdict": "confirmed"},
    "/v1/feedback/settings": {"share_feedback": True},
}


QUERIES = {"/v1/logs/{sha256}/export": "?format=csv"}
"""What a route cannot do without."""


def test_the_routes_tested_here_are_all_that_the_document_names(ours) -> None:
    named = {
        (m.upper(), p) for p, methods in ours.client.get("/v1/openapi.json").json()["paths"].items() for m in methods
    }
    assert named == set(ROUTES) and len(WITH_ID) >= 14


def ids_of(tenant, path: str) -> dict[str, str]:
    """Ids of the tenant's own for every parameter that a path may have."""
    flight = tenant.store_flight()
    is_device_key = "device-keys" in path
    if "{sha256}" in path:
        return {"sha256": store_log(tenant.database, tenant.org_id).hex()}
    return maintenance_ids(tenant, path, flight) | {
        "flight_id": str(flight.flight_id),
        "stream_id": str(flight.stream_id),
        "aircraft_id": str(flight.aircraft_id),
        "alert_id": new_alert(tenant) if "alert_id" in path else "",
        "key_id": flight.device_key_id if is_device_key else str(tenant.key_ids["viewer"]),
    }


def maintenance_ids(tenant, path: str, flight) -> dict[str, str]:
    aircraft = f"/v1/aircraft/{flight.aircraft_id}"
    found = {}
    if "{component_id}" in path:
        found["component_id"] = tenant.post("/v1/components", {"kind": "prop", "name": "secret part"}).json()["id"]
        if path.endswith("/remove"):
            tenant.post(f"{aircraft}/components/{found['component_id']}/install")
    if "{work_order_id}" in path:
        found["work_order_id"] = tenant.post(f"{aircraft}/work-orders", {"title": "secret work"}).json()["id"]
    if "{finding_id}" in path:
        found["finding_id"] = tenant.get(f"/v1/flights/{flight.flight_id}/findings").json()["items"][0]["id"]
    return found


def new_alert(tenant) -> str:
    with tenant.database.connect("dbx_ingest") as conn, tenant_transaction(conn, tenant.org_id):
        raise_alert(conn, tenant.org_id, "k", "test", "info", "secret text")
        return str(conn.execute("SELECT alert_id FROM alerts WHERE org_id = %s", (tenant.org_id,)).fetchone()[0])


def call(tenant, method: str, path: str, ids: dict[str, str]):
    target = path.format(**ids) + QUERIES.get(path, "")
    if method == "GET":
        return tenant.get(target, "admin")
    return tenant.client.request(method, target, json=BODIES.get(path), headers=tenant.auth("admin"))


@pytest.mark.parametrize(("method", "path"), WITH_ID, ids=[f"{m} {p}" for m, p in WITH_ID])
def test_another_organisations_id_is_not_found_and_ones_own_is(ours, theirs, method: str, path: str) -> None:
    ids = ids_of(ours, path)
    answer = call(theirs, method, path, ids)
    assert answer.status_code == 404, answer.text
    assert answer.json()["type"] == "urn:dbx:problem:not_found"
    assert call(ours, method, path, ids).status_code in (200, 201)


@pytest.mark.parametrize(("method", "path"), [(m, p) for m, p in WITH_ID if p.count("{") > 1])
def test_ones_own_id_beside_another_organisations_is_not_found(ours, theirs, method: str, path: str) -> None:
    mine, other = ids_of(ours, path), ids_of(theirs, path)
    for name in mine:
        if "{" + name + "}" in path:
            assert call(theirs, method, path, other | {name: mine[name]}).status_code == 404


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[f"{m} {p}" for m, p in ROUTES])
def test_every_route_but_the_public_ones_needs_a_key(ours, method: str, path: str) -> None:
    ids = {name: str(uuid.uuid4()) for name in re.findall(r"{(\w+)}", path)}
    answer = ours.client.request(method, path.format(**ids), json=BODIES.get(path))
    if (method, path) in PUBLIC:
        assert answer.status_code != 500
    else:
        scheme = "DBX-Device" if (method, path) in BY_DEVICES else "Bearer"
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == scheme


@pytest.mark.parametrize("path", [p for m, p in ROUTES if m == "GET" and "{" not in p and (m, p) not in PUBLIC])
def test_no_list_shows_anything_of_another_organisation(ours, theirs, path: str) -> None:
    flight = ours.store_flight("Only ours")
    new_alert(ours)
    secrets = [
        str(ours.org_id),
        str(flight.flight_id),
        str(flight.aircraft_id),
        "Only ours",
        "secret text",
        str(ours.key_ids["admin"]),
    ]
    text = theirs.get(path, "admin").text
    assert not [s for s in secrets if s in text]


def test_a_cursor_of_another_organisation_shows_only_ones_own(ours, theirs) -> None:
    for i in range(3):
        ours.store_flight(f"A{i}")
    mine = theirs.store_flight("B", 1_600_000_000_000_000)
    cursor = ours.get("/v1/flights?limit=1").json()["next_cursor"]
    assert {f["id"] for f in theirs.get("/v1/flights", params={"cursor": cursor}).json()["items"]} <= {
        str(mine.flight_id)
    }


@pytest.mark.parametrize("role", ["viewer", "auditor"])
@pytest.mark.parametrize(("method", "path"), [r for r in ROUTES if r[0] != "GET" and r not in PUBLIC | BY_DEVICES])
def test_who_may_only_look_changes_nothing(ours, role: str, method: str, path: str) -> None:
    ids = ids_of(ours, path)
    answer = ours.client.request(method, path.format(**ids), json=BODIES.get(path), headers=ours.auth(role))
    assert answer.status_code == 403, answer.text

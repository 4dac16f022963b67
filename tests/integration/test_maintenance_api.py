"""Components, batteries, limits and work orders over the API, on a real database."""

import uuid
from typing import Any

import psycopg
import pytest

from hub.store.tenant import tenant
from tests.fix_api import START_UTC_US, Tenant
from tests.fix_maintenance import HOUR_US, Flyer


def new_component(of: Tenant, kind: str = "motor", name: str = "M1", **more: Any) -> str:
    answer = of.post("/v1/components", {"kind": kind, "name": name, **more}, "operator")
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def install(flyer: Flyer, component: str, hour: int = 0, position: int | None = None) -> Any:
    body = {"installed_utc_us": START_UTC_US + hour * HOUR_US, "position": position}
    return flyer.of.post(flyer.path(f"components/{component}/install"), body, "operator")


def remove(flyer: Flyer, component: str, hour: int) -> Any:
    body = {"removed_utc_us": START_UTC_US + hour * HOUR_US}
    return flyer.of.post(flyer.path(f"components/{component}/remove"), body, "operator")


def new_order(flyer: Flyer, **more: Any) -> str:
    return str(flyer.of.post(flyer.path("work-orders"), {"title": "Look at it", **more}, "operator").json()["id"])


def sign(of: Tenant, order: str, state: str, **more: Any) -> Any:
    return of.post(f"/v1/work-orders/{order}/sign", {"state": state, "signed_by": "A. Meyer", **more}, "operator")


def test_a_component_has_the_hours_and_cycles_of_the_flights_while_it_was_installed(ours: Tenant, flyer: Flyer) -> None:
    motor = new_component(ours, hours_before=10, cycles_before=7)
    for hour in (1, 2, 3, 4):
        flyer.fly(hour, flying_s=1800)
    install(flyer, motor, 2, position=1)
    remove(flyer, motor, 4)
    seen = ours.get(f"/v1/components/{motor}").json()
    assert (seen["flights"], seen["hours"], seen["cycles"]) == (2, 11, 9)
    assert seen["aircraft_id"] is None and len(seen["installations"]) == 1


def test_a_component_is_at_one_place_at_a_time(ours: Tenant, flyer: Flyer, new_flyer: Any) -> None:
    motor, other = new_component(ours), new_flyer(ours, "Other")
    assert install(flyer, motor, 1).status_code == 200
    assert install(other, motor, 2).json()["type"] == "urn:dbx:problem:misplaced"
    assert remove(other, motor, 3).status_code == 409
    assert remove(flyer, motor, 3).status_code == 200
    assert install(other, motor, 2).status_code == 409  # it was still on the first one then
    assert install(other, motor, 3).status_code == 200


def test_a_position_holds_one_of_a_kind(ours: Tenant, flyer: Flyer) -> None:
    first, second = new_component(ours), new_component(ours, name="M2")
    esc = new_component(ours, "esc", "E1")
    assert install(flyer, first, 1, 1).status_code == 200
    assert install(flyer, second, 1, 1).status_code == 409
    assert install(flyer, second, 1, 2).status_code == 200
    assert install(flyer, esc, 1, 1).status_code == 200


def test_a_battery_moves_between_aircraft_and_counts_charges(ours: Tenant, flyer: Flyer, new_flyer: Any) -> None:
    pack = new_component(ours, "battery", "Pack 7", serial="B-007", capacity_mah=5000)
    other = new_flyer(ours, "Other")
    install(flyer, pack, 0)
    flyer.fly(1, used_mah=4000)
    remove(flyer, pack, 2)
    install(other, pack, 2)
    other.fly(3, used_mah=3500)
    seen = ours.get(f"/v1/components/{pack}").json()
    assert (seen["flights"], seen["cycles"]) == (2, 1.5)
    assert ours.post("/v1/components", {"kind": "battery", "name": "x", "serial": "B-007"}).status_code == 409


def test_what_a_person_says_of_a_flights_battery_stands_before_what_is_installed(ours: Tenant, flyer: Flyer) -> None:
    installed, flown = (new_component(ours, "battery", n, capacity_mah=1000) for n in ("A", "B"))
    install(flyer, installed, 0)
    flight = flyer.fly(1, used_mah=500)

    def say(batteries: list[str]) -> Any:
        path = f"/v1/flights/{flight}/batteries"
        return ours.client.patch(path, json={"batteries": batteries}, headers=ours.auth("operator"))

    def cycles() -> list[float]:
        return [ours.get(f"/v1/components/{c}").json()["cycles"] for c in (installed, flown)]

    assert cycles() == [0.5, 0]
    assert [c["id"] for c in say([flown]).json()["items"]] == [flown]
    assert cycles() == [0, 0.5]
    say([installed, flown])
    assert cycles() == [0.25, 0.25]
    say([])
    assert cycles() == [0.5, 0]
    assert say([new_component(ours, "motor", "M")]).status_code == 409


def test_limits_have_defaults_that_an_organisation_may_change_or_take_away(ours: Tenant, theirs: Tenant) -> None:
    def limit(of: Tenant) -> Any:
        rows = of.get("/v1/maintenance/limits").json()["items"]
        return next((r["most"], r["is_default"]) for r in rows if (r["kind"], r["quantity"]) == ("prop", "hours"))

    def say(most: float | None) -> None:
        body = {"kind": "prop", "quantity": "hours", "most": most}
        assert ours.client.patch("/v1/maintenance/limits", json=body, headers=ours.auth("operator")).status_code == 200

    assert limit(ours) == (100, True)
    say(40)
    assert limit(ours) == (40, False)
    assert limit(theirs) == (100, True)
    say(None)
    assert limit(ours) == (None, False)


def test_a_component_beyond_its_limit_is_a_reason_until_it_is_serviced(ours: Tenant, flyer: Flyer) -> None:
    prop = new_component(ours, "prop", "P1", hours_before=120)
    install(flyer, prop, 0, 1)
    before = flyer.score()
    assert before["priority_level"] == "HIGH" and "P1" in before["recommended_action"]
    reason = before["reasons"][0]
    assert (reason["quantity"], reason["value"], reason["baseline"]) == ("hours", 120, 100)
    order = new_order(flyer, component_id=prop)
    assert [sign(ours, order, s).status_code for s in ("in_progress", "done")] == [200, 200]
    after = flyer.score()
    assert (after["maintenance_urgency"], after["priority_level"], after["reasons"]) == (0, "LOW", [])
    assert after["components"][0]["hours"] == 120 and after["components"][0]["hours_since_service"] == 0


def test_an_order_is_signed_step_by_step_and_in_no_other_order(ours: Tenant, flyer: Flyer) -> None:
    order = new_order(flyer, priority="HIGH")
    assert sign(ours, order, "done").json()["type"] == "urn:dbx:problem:wrong_step"
    assert sign(ours, order, "in_progress", note="began").status_code == 200
    assert sign(ours, order, "in_progress").status_code == 409
    done = sign(ours, order, "done").json()
    assert done["state"] == "done" and done["closed_utc_us"] is not None
    signed = [(s["signature_no"], s["state"], s["signed_by"], s["note"]) for s in done["signatures"]]
    assert signed == [(1, "in_progress", "A. Meyer", "began"), (2, "done", "A. Meyer", "")]
    assert {s["key_id"] for s in done["signatures"]} == {str(ours.key_ids["operator"])}
    assert sign(ours, order, "cancelled").status_code == 409


def test_parts_change_with_the_signature_or_not_at_all(ours: Tenant, flyer: Flyer) -> None:
    old, new = new_component(ours), new_component(ours, name="M2")
    install(flyer, old, 1, 1)
    order = new_order(flyer)
    sign(ours, order, "in_progress")
    into = {"action": "installed", "component_id": new, "position": 1}
    assert sign(ours, order, "done", parts=[into]).status_code == 409  # the old one is still there
    assert ours.get(f"/v1/work-orders/{order}").json()["state"] == "in_progress"
    done = sign(ours, order, "done", parts=[into, {"action": "removed", "component_id": old}]).json()
    assert sorted((p["action"], p["component_id"]) for p in done["parts"]) == [("installed", new), ("removed", old)]
    assert ours.get(f"/v1/components/{new}").json()["installations"][0]["installed_order"] == order


def test_signatures_can_neither_be_changed_nor_taken_away(ours: Tenant, flyer: Flyer) -> None:
    sign(ours, new_order(flyer), "in_progress")
    for role in ("dbx_api", "dbx_worker", "dbx_ingest", "dbx_auditor"):
        for attempt in ("UPDATE work_order_signatures SET signed_by = 'B'", "DELETE FROM work_order_signatures"):
            with (
                ours.database.connect(role) as conn,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
                tenant(conn, ours.org_id),
            ):
                conn.execute(attempt)


def test_who_opened_and_signed_an_order_is_in_the_audit_log(ours: Tenant, flyer: Flyer) -> None:
    sign(ours, new_order(flyer), "in_progress")
    with ours.database.connect("dbx_auditor") as conn, tenant(conn, ours.org_id):
        rows = conn.execute(
            "SELECT action, table_name, actor FROM audit_log WHERE table_name LIKE 'work_order%' ORDER BY audit_no"
        ).fetchall()
    who = f"key {ours.key_ids['operator']}"
    assert rows == [
        ("INSERT", "work_orders", who),
        ("INSERT", "work_order_signatures", who),
        ("UPDATE", "work_orders", who),
    ]


def test_an_overdue_order_is_a_reason_by_its_priority(ours: Tenant, flyer: Flyer) -> None:
    new_order(flyer, priority="CRITICAL", due_utc_us=START_UTC_US)
    seen = flyer.score()
    assert seen["maintenance_urgency"] == 0.8 and seen["reasons"][0]["quantity"] == "days_overdue"


def test_nothing_of_another_organisation_is_used(ours: Tenant, theirs: Tenant, flyer: Flyer) -> None:
    motor = new_component(theirs)
    assert install(flyer, motor, 1).status_code == 404
    assert flyer.of.post(flyer.path("work-orders"), {"title": "x", "component_id": motor}).status_code == 404
    flight = flyer.fly(1)
    answer = ours.client.patch(
        f"/v1/flights/{flight}/batteries", json={"batteries": [motor]}, headers=ours.auth("operator")
    )
    assert answer.status_code == 409
    assert theirs.get("/v1/maintenance").json()["items"] == []


def test_lists_are_paged(ours: Tenant, flyer: Flyer) -> None:
    for i in range(3):
        new_component(ours, name=f"M{i}")
        new_order(flyer, title=f"T{i}")
        flyer.fly(i)
    for path, key in (
        ("/v1/components", "name"),
        ("/v1/work-orders", "title"),
        (flyer.path("rollups"), "started_utc_us"),
    ):
        seen, cursor = [], None
        while not seen or cursor:
            body = ours.get(path, params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
            seen += [i[key] for i in body["items"]]
            cursor = body["next_cursor"]
        assert len(seen) == len(set(seen)) == 3, path


def test_an_unknown_order_is_not_found(ours: Tenant) -> None:
    assert sign(ours, str(uuid.uuid4()), "in_progress").status_code == 404

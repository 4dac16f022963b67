"""The score and what the worker proposes, as the worker's own role."""

import numpy as np
import pytest

from hub.store.tenant import tenant
from tests.fix_api import Tenant
from tests.fix_maintenance import Flyer


def orders(flyer: Flyer) -> list[dict]:
    return flyer.of.get("/v1/work-orders", params={"aircraft_id": str(flyer.aircraft_id)}).json()["items"]


def close(flyer: Flyer, order: dict, *states: str) -> None:
    for state in states:
        body = {"state": state, "signed_by": "A. Meyer"}
        assert flyer.of.post(f"/v1/work-orders/{order['id']}/sign", body, "operator").status_code == 200


def test_an_aircraft_of_which_nothing_is_known_is_not_urgent(flyer: Flyer) -> None:
    seen = flyer.score()
    assert (seen["maintenance_urgency"], seen["priority_level"], seen["reasons"]) == (0, "LOW", [])
    assert "maintenance plan" in seen["recommended_action"]


def test_critical_findings_weigh_more_than_warnings_and_old_ones_less(flyer: Flyer) -> None:
    flyer.find(flyer.fly(1), "vibration", "warning")
    alone = flyer.score()["maintenance_urgency"]
    flyer.fly(2)
    later = flyer.score()["maintenance_urgency"]
    flyer.find(flyer.fly(3), "motor_degraded", "critical")
    seen = flyer.score()
    assert alone == 0.4 and later == pytest.approx(0.34)
    assert [r["quantity"] for r in seen["reasons"]] == ["motor_degraded", "vibration"]
    assert seen["priority_level"] == "CRITICAL"


def test_jamming_says_less_of_the_aircraft_than_a_weak_motor(flyer: Flyer) -> None:
    flyer.find(flyer.fly(1), "gps_jam", "critical")
    assert flyer.score()["priority_level"] == "MEDIUM"


def test_findings_of_long_ago_do_not_count(flyer: Flyer) -> None:
    flyer.find(flyer.fly(1), "vibration")
    for hour in range(2, 12):
        flyer.fly(hour)
    assert flyer.score()["reasons"] == []


def test_a_rise_over_the_flights_is_a_reason_with_value_baseline_and_since(flyer: Flyer) -> None:
    rng = np.random.default_rng(1)
    for hour in range(24):
        level = 8 if hour < 16 else 14
        flyer.fly(hour, vibe_hover_z_mps2=float(level * np.exp(rng.normal(0, 0.05))))
    flyer.renew()
    seen = flyer.score()
    (reason,) = seen["reasons"]
    assert reason["reason"] == "trend:vibe_hover_z_mps2"
    assert reason["value"] == pytest.approx(14, rel=0.1) and reason["baseline"] == pytest.approx(8, rel=0.1)
    flights = flyer.of.get(flyer.path("rollups")).json()["items"]
    assert reason["since_utc_us"] == flights[24 - 16 - 1]["started_utc_us"]
    (trend,) = seen["trends"]
    assert trend["changed_utc_us"] == reason["since_utc_us"] and trend["rate_per_10h"] is None


def test_a_fall_is_no_reason(flyer: Flyer) -> None:
    for hour in range(24):
        flyer.fly(hour, hover_throttle_pct=(60.0 if hour < 12 else 40.0) + hour % 3)
    flyer.renew()
    seen = flyer.score()
    assert seen["trends"][0]["changed_utc_us"] is not None and seen["reasons"] == []


def test_a_slow_growth_is_a_reason_with_its_rate(flyer: Flyer) -> None:
    for hour in range(60):
        flyer.fly(hour, battery_ohm=0.02 * float(np.exp(0.01 * hour)) * (1 + 0.02 * (hour % 3)))
    flyer.renew()
    (reason,) = flyer.score()["reasons"]
    assert reason["reason"] == "trend:battery_ohm" and 0.2 < reason["weight"] <= 0.5


def test_work_is_proposed_once_for_each_weighty_reason(flyer: Flyer) -> None:
    flyer.find(flyer.fly(1), "motor_fail")
    flyer.find(flyer.fly(2), "vibration")
    for _ in range(3):
        flyer.renew()
    assert sorted(o["reason"] for o in orders(flyer)) == ["finding:motor_fail", "finding:vibration"]
    assert all(o["proposed"] and o["created_by"] == "worker" and o["state"] == "open" for o in orders(flyer))


def test_two_workers_cannot_propose_the_same_twice(flyer: Flyer) -> None:
    flyer.find(flyer.fly(1), "motor_fail")
    row = (flyer.of.org_id, flyer.aircraft_id)
    insert = (
        "INSERT INTO work_orders (org_id, work_order_id, aircraft_id, reason, title, priority, created_by)"
        " VALUES (%s, gen_random_uuid(), %s, 'finding:motor_fail', 'x', 'HIGH', 'worker')"
    )
    with flyer.worker() as conn, tenant(conn, flyer.of.org_id):
        conn.execute(insert, row)
    flyer.renew()
    assert len(orders(flyer)) == 1


def test_nothing_is_proposed_for_an_aircraft_that_is_not_urgent(flyer: Flyer) -> None:
    flyer.find(flyer.fly(1), "vibration", "warning")
    flyer.renew()
    assert orders(flyer) == []


def test_what_was_seen_to_no_longer_counts_and_what_was_cancelled_is_not_proposed_again(flyer: Flyer) -> None:
    flyer.find(flyer.fly(1), "motor_fail")
    flyer.renew()
    (order,) = orders(flyer)
    close(flyer, order, "cancelled")
    assert flyer.score()["reasons"] == []
    flyer.find(flyer.fly(24 * 365 * 40), "motor_fail")  # far behind the closing of the order
    flyer.renew()
    assert flyer.score()["reasons"] != [] and len(orders(flyer)) == 1


def test_new_evidence_after_work_was_done_is_proposed_anew(flyer: Flyer) -> None:
    flyer.find(flyer.fly(1), "motor_fail")
    flyer.renew()
    close(flyer, orders(flyer)[0], "in_progress", "done")
    flyer.renew()
    assert len(orders(flyer)) == 1
    flyer.find(flyer.fly(24 * 365 * 40), "motor_fail")
    flyer.renew()
    assert [o["state"] for o in orders(flyer)] == ["open", "done"]


def test_a_rejected_finding_does_not_count(flyer: Flyer) -> None:
    finding = flyer.find(flyer.fly(1), "motor_fail")
    flyer.of.post(f"/v1/findings/{finding}/feedback", {"verdict": "rejected"}, "operator")
    assert flyer.score()["reasons"] == []


def test_a_score_is_of_ones_own_organisation_alone(flyer: Flyer, theirs: Tenant) -> None:
    flyer.find(flyer.fly(1), "motor_fail")
    ask = "SELECT maintenance_urgency FROM calculate_maintenance_score(%s)"
    for role in ("dbx_api", "dbx_worker", "dbx_auditor"):
        with flyer.of.database.connect(role) as conn:
            with tenant(conn, flyer.of.org_id):
                assert conn.execute(ask, (flyer.aircraft_id,)).fetchone() == (0.75,)
            with tenant(conn, theirs.org_id):
                assert conn.execute(ask, (flyer.aircraft_id,)).fetchone() == (0,)
            assert conn.execute(ask, (flyer.aircraft_id,)).fetchone() == (0,)

"""Verdicts on findings, consent, and the export that training reads, on a real database."""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from hub.store import feedback
from hub.store.tenant import tenant
from models.feedback import read_feedback
from shared.features import FEATURE_VERSION, FEATURES
from tests.fix_api import Tenant
from tests.fix_maintenance import Flyer


def give(of: Tenant, finding: uuid.UUID, verdict: str, role: str = "operator", **more: Any) -> Any:
    return of.post(f"/v1/findings/{finding}/feedback", {"verdict": verdict, **more}, role)


def of_flight(of: Tenant, flight: uuid.UUID) -> list[dict[str, Any]]:
    return list(of.get(f"/v1/flights/{flight}/feedback").json()["items"])


def share(of: Tenant, yes: bool, role: str = "admin") -> Any:
    return of.client.patch("/v1/feedback/settings", json={"share_feedback": yes}, headers=of.auth(role))


def keep_vectors(flyer: Flyer, flight: uuid.UUID, start_us: int, vectors: np.ndarray) -> None:
    kept = [(start_us, start_us + 9, vectors.shape[1], vectors.astype("<f4").tobytes())]
    with flyer.worker() as conn, tenant(conn, flyer.of.org_id, actor="worker"):
        feedback.replace_vectors(conn, flyer.of.org_id, flight, FEATURE_VERSION, "copter", kept)


def exported(of: Tenant) -> list[dict[str, Any]]:
    answer = of.get("/v1/feedback/export", "operator")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_newest_verdict_of_a_person_counts_and_the_others_are_its_history(flyer: Flyer) -> None:
    flight = flyer.fly(1)
    finding = flyer.find(flight, "vibration")
    assert give(flyer.of, finding, "rejected").status_code == 201
    changed = give(flyer.of, finding, "confirmed", kind="prop_imbalance", note="chipped").json()
    assert (changed["is_current"], changed["finding_id"], changed["kind"]) == (True, str(finding), "prop_imbalance")
    give(flyer.of, finding, "unsure", "admin")
    seen = [(f["verdict"], f["is_current"], f["key_id"]) for f in of_flight(flyer.of, flight)]
    operator, admin = (str(flyer.of.key_ids[r]) for r in ("operator", "admin"))
    assert seen == [("unsure", True, admin), ("confirmed", True, operator), ("rejected", False, operator)]


def test_a_verdict_goes_with_the_finding_when_the_flight_is_analysed_again(flyer: Flyer) -> None:
    flight = flyer.fly(1)
    give(flyer.of, flyer.find(flight, "vibration", start_us=100), "rejected")
    with flyer.worker() as conn, tenant(conn, flyer.of.org_id):
        conn.execute("DELETE FROM findings WHERE session_id = %s", (flight,))
    assert of_flight(flyer.of, flight)[0]["finding_id"] is None
    other, same = flyer.find(flight, "motor_fail", start_us=100), flyer.find(flight, "vibration", start_us=104)
    assert of_flight(flyer.of, flight)[0]["finding_id"] == str(same) != str(other)
    give(flyer.of, same, "confirmed")
    assert [f["is_current"] for f in of_flight(flyer.of, flight)] == [True, False]


def test_verdicts_are_added_and_never_changed(flyer: Flyer) -> None:
    give(flyer.of, flyer.find(flyer.fly(1), "vibration"), "rejected")
    for role in ("dbx_api", "dbx_worker"):
        for attempt in ("UPDATE finding_feedback SET verdict = 'confirmed'", "DELETE FROM finding_feedback"):
            with (
                flyer.of.database.connect(role) as conn,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
                tenant(conn, flyer.of.org_id),
            ):
                conn.execute(attempt)


def test_another_organisations_finding_is_not_found(flyer: Flyer, theirs: Tenant) -> None:
    finding = flyer.find(flyer.fly(1), "vibration")
    assert give(theirs, finding, "confirmed").status_code == 404


@pytest.mark.parametrize("body", [{"verdict": "maybe"}, {"verdict": "confirmed", "kind": "no words!"}, {}], ids=str)
def test_what_is_no_verdict_is_refused(flyer: Flyer, body: dict[str, Any]) -> None:
    finding = flyer.find(flyer.fly(1), "vibration")
    assert flyer.of.post(f"/v1/findings/{finding}/feedback", body, "operator").status_code == 422


def test_nothing_is_exported_without_consent_which_an_administrator_gives_and_takes_back(ours: Tenant) -> None:
    def ask() -> Any:
        return ours.get("/v1/feedback/export", "operator")

    assert ours.get("/v1/feedback/settings").json() == {"share_feedback": False}
    assert ask().json()["type"] == "urn:dbx:problem:no_consent"
    assert share(ours, True, "operator").status_code == 403
    assert share(ours, True).status_code == 200
    assert (ask().status_code, ask().text) == (200, "")
    share(ours, False)
    assert ask().status_code == 403
    with ours.database.connect("dbx_auditor") as conn, tenant(conn, ours.org_id):
        rows = conn.execute(
            "SELECT new_values ->> 'share_feedback' FROM audit_log WHERE table_name = 'organizations'"
            " AND action = 'UPDATE' ORDER BY audit_no"
        ).fetchall()
    assert rows == [("true",), ("false",)]


def test_an_export_is_what_training_reads_and_tells_no_place_time_or_note(flyer: Flyer, tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(12, len(FEATURES))).astype(np.float32)
    vectors[:, 3] = np.nan
    flights = [flyer.fly(1), flyer.fly(2)]
    for flight, verdict in zip(flights, ("confirmed", "rejected"), strict=True):
        keep_vectors(flyer, flight, 50, vectors)
        give(flyer.of, flyer.find(flight, "vibration", start_us=50), verdict, kind="motor_fail", note="at the barn")
    share(flyer.of, True)
    lines = exported(flyer.of)
    assert lines[0].keys() == {
        "organisation", "flight", "airframe", "verdict", "found_kind", "kind", "feature_version", "aircraft_class",
        "vectors",
    }  # fmt: skip
    text = json.dumps(lines)
    assert not [s for s in ("barn", *map(str, (*flights, flyer.aircraft_id, flyer.of.org_id))) if s in text]
    assert not any(f.name.startswith(("lat", "lon")) for f in FEATURES)
    path = tmp_path / "feedback.ndjson"
    path.write_text("".join(json.dumps(x) + "\n" for x in lines))
    examples, left_out = read_feedback(path, {"motor_fail"})
    assert left_out == 0 and [(e.fault, e.hard_negative) for e in examples] == [("motor_fail", ""), ("", "feedback")]
    np.testing.assert_allclose(examples[0].vectors, vectors, atol=1e-6)
    assert examples[0].site == examples[1].site


def test_only_what_people_agree_on_is_exported_once(flyer: Flyer) -> None:
    share(flyer.of, True)
    for hour, verdicts in enumerate((("confirmed", "confirmed"), ("confirmed", "rejected"), ("unsure", "rejected")), 1):
        flight = flyer.fly(hour)
        keep_vectors(flyer, flight, 50, np.zeros((1, 2)))
        finding = flyer.find(flight, "vibration", start_us=50)
        for role, verdict in zip(("operator", "admin"), verdicts, strict=True):
            give(flyer.of, finding, verdict, role)
    assert [x["verdict"] for x in exported(flyer.of)] == ["confirmed", "rejected"]


def test_a_long_export_comes_whole(flyer: Flyer) -> None:
    share(flyer.of, True)
    for hour in range(45):
        flight = flyer.fly(hour)
        keep_vectors(flyer, flight, 50, np.zeros((1, 2)))
        give(flyer.of, flyer.find(flight, "vibration", start_us=50), "confirmed")
    assert len({x["flight"] for x in exported(flyer.of)}) == 45


def test_the_export_is_of_ones_own_organisation_alone(flyer: Flyer, theirs: Tenant) -> None:
    flight = flyer.fly(1)
    keep_vectors(flyer, flight, 50, np.zeros((1, 2)))
    give(flyer.of, flyer.find(flight, "vibration", start_us=50), "confirmed")
    share(theirs, True)
    assert exported(theirs) == []

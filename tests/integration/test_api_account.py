"""Keys, sessions, limits, errors and the request log of the API."""

import asyncio
import time
import uuid

import pytest

from hub.store.tenant import tenant
from tests.fix_api import PEPPER


def test_me_says_whose_key_it_is(ours) -> None:
    body = ours.get("/v1/me", "auditor").json()
    assert body == {
        "org_id": str(ours.org_id),
        "org_name": "Ours",
        "key_id": str(ours.key_ids["auditor"]),
        "role": "auditor",
    }


@pytest.mark.parametrize(
    "header", ["Bearer dbx_wrong", "Bearer", "Basic eDp5", "Bearer  ", "dbx_x", "Bearer dbx_" + "x" * 9000]
)
def test_a_wrong_key_is_401_as_a_problem(ours, header: str) -> None:
    answer = ours.client.get("/v1/me", headers={"authorization": header})
    assert answer.status_code in (401, 431) and (
        answer.status_code == 431 or answer.json()["type"].endswith("unauthorized")
    )


def test_the_database_holds_nothing_that_opens_anything(ours) -> None:
    with ours.database.connect() as conn:
        rows = conn.execute("SELECT * FROM api_keys").fetchall()
        dump = " ".join(str(v.hex() if isinstance(v, bytes) else v) for r in rows for v in r)
        digest = conn.execute("SELECT key_digest FROM api_keys LIMIT 1").fetchone()[0]
    assert not any(k in dump or k[4:] in dump for k in ours.keys.values())
    assert ours.client.get("/v1/me", headers={"authorization": f"Bearer dbx_{digest.hex()}"}).status_code == 401


def test_a_key_made_over_the_api_works_and_is_never_shown_again(ours) -> None:
    made = ours.post("/v1/keys", {"name": "new", "role": "viewer"}).json()
    assert ours.client.get("/v1/me", headers={"authorization": f"Bearer {made['key']}"}).status_code == 200
    assert made["key"] not in ours.get("/v1/keys", "admin").text


def test_a_key_revoked_here_is_refused_at_once(ours) -> None:
    assert ours.get("/v1/me", "viewer").status_code == 200
    ours.post(f"/v1/keys/{ours.key_ids['viewer']}/revoke")
    assert ours.get("/v1/me", "viewer").status_code == 401


def test_a_key_revoked_elsewhere_is_refused_within_seconds(ours) -> None:
    assert ours.get("/v1/me").status_code == 200
    with ours.database.connect("dbx_api") as conn, tenant(conn, ours.org_id):
        conn.execute("UPDATE api_keys SET revoked_at = now() WHERE key_id = %s", (ours.key_ids["viewer"],))
    deadline = time.monotonic() + 5
    while ours.get("/v1/me").status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_expired_key_opens_nothing(ours) -> None:
    made = ours.post("/v1/keys", {"name": "old", "expires_utc_us": 1_000_000}).json()
    assert ours.client.get("/v1/me", headers={"authorization": f"Bearer {made['key']}"}).status_code == 401


def test_signing_in_gives_a_cookie_that_scripts_cannot_read_and_that_does_not_hold_the_key(ours) -> None:
    answer = ours.client.post("/login", data={"key": ours.keys["viewer"]}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 303 and "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    assert ours.keys["viewer"] not in cookie
    assert ours.client.get("/v1/me").json()["key_id"] == str(ours.key_ids["viewer"])
    ours.client.post("/logout")
    assert ours.client.get("/v1/me").status_code == 401


def test_a_session_ends_with_its_key(ours) -> None:
    ours.client.post("/login", data={"key": ours.keys["viewer"]})
    ours.post(f"/v1/keys/{ours.key_ids['viewer']}/revoke")
    assert ours.client.get("/v1/me").status_code == 401


def test_a_changed_or_invented_session_is_refused(ours) -> None:
    for cookie in ("x", "a" * 600, "AAAA"):
        ours.client.cookies.set("dbx_session", cookie)
        assert ours.client.get("/v1/me").status_code == 401


def test_a_wrong_key_at_the_door_is_401_and_many_are_429(ours) -> None:
    statuses = [ours.client.post("/login", data={"key": "dbx_no"}).status_code for _ in range(40)]
    assert statuses[0] == 401 and statuses[-1] == 429


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_a_foreign_page_cannot_act_with_a_session(ours, headers: dict[str, str]) -> None:
    ours.client.post("/login", data={"key": ours.keys["admin"]})
    answer = ours.client.post("/v1/aircraft", json={"name": "x"}, headers=headers)
    assert answer.status_code == 403


def test_a_key_that_asks_too_often_is_told_to_wait(ours) -> None:
    state = ours.client.app.state.api
    state.limit._burst, state.limit._per_s = 3, 0.01
    answers = [ours.get("/v1/me") for _ in range(5)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) > 1 and answers[0].headers["ratelimit-remaining"] == "2"


def test_every_answer_has_a_request_id_and_the_log_has_its_line_without_ids(ours) -> None:
    flight = ours.store_flight()
    answer = ours.get(f"/v1/flights/{flight.flight_id}?secret=1")
    deadline = time.monotonic() + 10
    row = None
    while row is None and time.monotonic() < deadline:
        time.sleep(0.2)
        with ours.database.connect() as conn:
            row = conn.execute(
                "SELECT org_id, key_id, method, route, status FROM api_requests WHERE request_id = %s",
                (answer.headers["x-request-id"],),
            ).fetchone()
    assert row == (ours.org_id, ours.key_ids["viewer"], "GET", "/v1/flights/{flight_id}", 200)


def test_bodies_are_bounded(ours) -> None:
    answer = ours.client.post("/v1/aircraft", content=b"x" * 70_000, headers=ours.auth("admin"))
    assert answer.status_code == 413 and answer.json()["type"] == "urn:dbx:problem:too_large"


def test_a_body_that_drips_is_cut_off(ours, monkeypatch) -> None:
    monkeypatch.setattr("hub.api.gate.BODY_S", 0.2)
    monkeypatch.setattr("hub.api.gate.SLOWEST_BYTES_PER_S", 1e9)
    sent: list[dict[str, object]] = []

    async def drip() -> dict[str, object]:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def note(message: dict[str, object]) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"60000")]
    scope = {"type": "http", "method": "POST", "path": "/v1/enroll", "raw_path": b"/v1/enroll", "query_string": b"",
             "headers": headers, "client": ("127.0.0.1", 1), "http_version": "1.1", "scheme": "http"}  # fmt: skip
    ours.client.portal.call(ours.client.app, scope, drip, note)
    assert sent[0]["status"] == 408


def test_what_does_not_exist_is_a_problem_too(ours) -> None:
    for path, status in (("/v1/nothing", 404), ("/v1/flights/not-a-uuid", 422), (f"/v1/flights/{uuid.uuid4()}", 404)):
        answer = ours.get(path)
        assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json", path
    assert ours.client.delete("/v1/me", headers=ours.auth("admin")).status_code == 405


def test_a_failure_inside_gives_nothing_away(ours, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("postgresql://dbx_api:hunter2@db")

    monkeypatch.setattr("hub.api.routes_flights.flight_view", broken)
    ours.store_flight()
    answer = ours.get("/v1/flights")
    assert answer.status_code == 500 and "hunter2" not in answer.text and answer.json()["request_id"]


def test_changes_are_in_the_audit_log_with_who_and_which_request(ours) -> None:
    answer = ours.post("/v1/aircraft", {"name": "Audited"})
    with ours.database.connect() as conn:
        row = conn.execute(
            "SELECT actor, request_id FROM audit_log WHERE org_id = %s AND table_name = 'aircraft_registry'",
            (ours.org_id,),
        ).fetchone()
    assert row == (f"key {ours.key_ids['admin']}", answer.headers["x-request-id"])


def test_the_health_route_tells_a_database_that_is_gone(ours, monkeypatch) -> None:
    assert ours.client.get("/v1/health").json()["status"] == "ok"
    ours.client.app.state.api.reader.close()
    monkeypatch.setattr(ours.client.app.state.api.reader, "_url", "postgresql://nobody@127.0.0.1:1/none")
    answer = ours.client.get("/v1/health")
    assert answer.status_code == 503 and answer.json()["status"] == "unavailable"
    assert ours.get("/v1/flights").status_code == 503


def test_the_system_route_shows_the_key_by_which_evidence_is_checked(ours) -> None:
    keys = ours.get("/v1/system").json()["hub_keys"]
    assert len(keys) == 1 and len(bytes.fromhex(keys[0]["key_id"])) == 16


def test_the_pepper_is_needed_besides_the_database(ours) -> None:
    from hub.api.tokens import Tokens

    assert Tokens(b"another").keyed_hash(ours.keys["admin"]) != Tokens(PEPPER).keyed_hash(ours.keys["admin"])

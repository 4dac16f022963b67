"""Aircraft, enrolment, device keys, directives and HTTPS upload over the API."""

import base64
import hashlib
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from hub.api.device_auth import CONTEXT
from hub.api.tokens import Tokens
from shared.envelope import DIRECTIVE_TYPE, RECEIPT_TYPE, open_envelope
from shared.ids import key_id, new_id
from shared.receipt import decode_directive, decode_receipt
from tests.fix_api import HUB_PUBLIC
from tests.fix_evidence import SignedFlight


def hub_key(_key_id: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(HUB_PUBLIC)


def csr() -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def enroll_body(code: str, device: Ed25519PrivateKey | None = None, **changed: str) -> dict[str, str]:
    raw = (device or Ed25519PrivateKey.generate()).public_key().public_bytes_raw()
    body = {
        "code": code,
        "public_key": base64.b64encode(raw).decode(),
        "csr_pem": csr(),
        "agent_version": "1",
        "hostname": "pi",
    }
    return body | changed


def new_code(tenant) -> tuple[str, str]:
    """(aircraft id, code)."""
    aircraft = tenant.post("/v1/aircraft", {"name": "New"}).json()["id"]
    return aircraft, tenant.post(f"/v1/aircraft/{aircraft}/enrollment-codes").json()["code"]


def test_an_aircraft_is_made_listed_and_shown(ours) -> None:
    made = ours.post("/v1/aircraft", {"name": "Quad 7", "registration": "D-1"})
    assert made.status_code == 201 and made.json()["online"] is False and made.json()["newest"] is None
    assert ours.get("/v1/aircraft").json()["items"] == [made.json()]
    assert ours.get(f"/v1/aircraft/{made.json()['id']}").json() == made.json()


def test_the_same_idempotency_key_makes_one_aircraft(ours, theirs) -> None:
    first, again = (ours.post("/v1/aircraft", {"name": "A"}, headers={"idempotency-key": "k"}) for _ in range(2))
    other = theirs.post("/v1/aircraft", {"name": "A"}, headers={"idempotency-key": "k"})
    assert (
        first.json()["id"] == again.json()["id"] != other.json()["id"]
        and len(ours.get("/v1/aircraft").json()["items"]) == 1
    )


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": "a\x00b"}, {"name": "x" * 201}, {"name": "x", "role": "y"}, [], "x"]
)
def test_a_bad_aircraft_is_a_problem(ours, body) -> None:
    answer = ours.post("/v1/aircraft", body)
    assert answer.status_code == 422 and answer.json()["errors"]


def test_aircraft_page_by_name(ours) -> None:
    for name in ("c", "a", "b"):
        ours.post("/v1/aircraft", {"name": name})
    first = ours.get("/v1/aircraft?limit=2").json()
    second = ours.get("/v1/aircraft", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [a["name"] for a in first["items"] + second["items"]] == ["a", "b", "c"] and second["next_cursor"] is None


def test_a_device_enrols_with_a_code_and_gets_its_identity(ours) -> None:
    aircraft, code = new_code(ours)
    device = Ed25519PrivateKey.generate()
    answer = ours.client.post("/v1/enroll", json=enroll_body(code.lower().replace("-", " "), device))
    body = answer.json()
    assert answer.status_code == 201 and (body["org_id"], body["aircraft_id"]) == (str(ours.org_id), aircraft)
    certificate = x509.load_pem_x509_certificate(body["certificate_pem"].encode())
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == aircraft
    assert base64.b64decode(body["hub_keys"][0]["public_key"]) == HUB_PUBLIC
    assert ours.client.app.state.api.parts.enrolling.let_in == [(ours.org_id, uuid.UUID(aircraft))]
    listed = ours.get(f"/v1/aircraft/{aircraft}/device-keys").json()["items"]
    assert [k["key_id"] for k in listed] == [key_id(device.public_key().public_bytes_raw()).hex()] == [body["key_id"]]


def test_a_code_works_once(ours) -> None:
    _, code = new_code(ours)
    assert ours.client.post("/v1/enroll", json=enroll_body(code)).status_code == 201
    again = ours.client.post("/v1/enroll", json=enroll_body(code))
    assert again.status_code == 403 and again.json()["type"] == "urn:dbx:problem:bad_code"


def test_a_code_expires_after_a_quarter_of_an_hour(ours) -> None:
    aircraft = ours.post("/v1/aircraft", {"name": "New"}).json()["id"]
    made = ours.post(f"/v1/aircraft/{aircraft}/enrollment-codes").json()
    assert abs(made["expires_utc_us"] / 1e6 - time.time() - 900) < 60
    with ours.database.connect() as conn:
        conn.execute("ALTER TABLE enrollment_codes DISABLE TRIGGER audit")
        conn.execute("UPDATE enrollment_codes SET expires_at = now() - interval '1 second'")
    assert ours.client.post("/v1/enroll", json=enroll_body(made["code"])).status_code == 403


def test_a_refused_enrolment_does_not_use_up_the_code(ours) -> None:
    _, code = new_code(ours)
    bad = [{"csr_pem": "nonsense"}, {"public_key": "AAAA"}, {"public_key": "!"}]
    assert [ours.client.post("/v1/enroll", json=enroll_body(code, **b)).status_code for b in bad] == [422, 422, 422]
    assert ours.client.post("/v1/enroll", json=enroll_body(code)).status_code == 201


def test_a_signing_key_enrols_once_in_all_organisations_and_the_code_stays_good(ours, theirs) -> None:
    device = Ed25519PrivateKey.generate()
    (_, first), (_, second) = new_code(ours), new_code(theirs)
    assert ours.client.post("/v1/enroll", json=enroll_body(first, device)).status_code == 201
    assert ours.client.post("/v1/enroll", json=enroll_body(second, device)).status_code == 409
    assert ours.client.post("/v1/enroll", json=enroll_body(second)).status_code == 201


def test_guessing_codes_is_stopped(ours) -> None:
    statuses = [
        ours.client.post("/v1/enroll", json=enroll_body("AAAAA-AAAAA-AAAAA-AAAAA")).status_code for _ in range(40)
    ]
    assert statuses[0] == 403 and statuses[-1] == 429


def test_a_directive_is_signed_by_the_hub_and_its_version_rises(ours) -> None:
    aircraft = ours.post("/v1/aircraft", {"name": "A"}).json()["id"]
    versions = [
        ours.post(f"/v1/aircraft/{aircraft}/directives", {"kind": "capture", "body": {"s": i}}).json()["version"]
        for i in (1, 2)
    ]
    with ours.database.connect() as conn:
        row = conn.execute("SELECT envelope FROM directives ORDER BY version DESC LIMIT 1").fetchone()
    directive = decode_directive(open_envelope(bytes(row[0]), hub_key, DIRECTIVE_TYPE).payload)
    assert versions == [1, 2] and (str(directive.aircraft), directive.version, directive.body) == (
        aircraft,
        2,
        {"s": 2},
    )
    assert [d["version"] for d in ours.get(f"/v1/aircraft/{aircraft}/directives").json()["items"]] == [2, 1]


@pytest.mark.parametrize("body", [{"kind": "fly", "body": {}}, {"kind": "capture", "body": {"x": "y" * 20_000}}])
def test_a_bad_directive_is_a_problem(ours, body) -> None:
    aircraft = ours.post("/v1/aircraft", {"name": "A"}).json()["id"]
    assert ours.post(f"/v1/aircraft/{aircraft}/directives", body).status_code == 422


class Device:
    """A device that was enrolled, with a flight to upload."""

    def __init__(self, tenant) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.raw = self.key.public_key().public_bytes_raw()
        self.client = tenant.client
        self.aircraft, code = new_code(tenant)
        tenant.client.post("/v1/enroll", json=enroll_body(code, self.key)).raise_for_status()
        self.flight = SignedFlight(stream=new_id(), flight=new_id(), device=(self.key, self.raw))

    def upload(self, envelopes: list[bytes], signed_body: bytes | None = None, challenge: str | None = None):
        body = cbor2.dumps(envelopes)
        challenge = challenge or self.client.get("/v1/envelopes/challenge").json()["challenge"]
        digest = hashlib.sha256(body if signed_body is None else signed_body).digest()
        signature = base64.urlsafe_b64encode(self.key.sign(b"\0".join((CONTEXT, challenge.encode(), digest)))).decode()
        proof = f"DBX-Device {key_id(self.raw).hex()}:{challenge}:{signature}"
        return self.client.post("/v1/envelopes", content=body, headers={"authorization": proof})


def test_uploaded_envelopes_are_committed_and_receipted_and_the_flight_appears(ours) -> None:
    device = Device(ours)
    answer = device.upload(list(device.flight.envelopes().values()))
    assert answer.status_code == 200, answer.text
    receipt = decode_receipt(open_envelope(cbor2.loads(answer.content)[0], hub_key, RECEIPT_TYPE).payload)
    assert receipt.ranges == ((1, 4),) and receipt.stream == device.flight.stream
    body = ours.get(f"/v1/flights/{device.flight.flight}").json()
    assert body["state"] == "closed" and body["completeness"]["committed_frames"] == 12


def test_the_same_upload_again_is_receipted_again_and_stored_once(ours) -> None:
    device = Device(ours)
    envelopes = list(device.flight.envelopes().values())
    first, second = device.upload(envelopes), device.upload(envelopes)
    assert len(cbor2.loads(first.content)) == len(cbor2.loads(second.content)) == 1
    with ours.database.connect() as conn:
        assert conn.execute("SELECT count(*) FROM ingest_batches").fetchone() == (4,)


def test_an_envelope_of_another_device_is_quarantined_not_receipted(ours, theirs) -> None:
    device, other = Device(ours), Device(theirs)
    answer = device.upload(list(other.flight.envelopes().values()))
    assert answer.status_code == 200 and cbor2.loads(answer.content) == []


def test_an_upload_without_a_valid_proof_is_refused(ours) -> None:
    device = Device(ours)
    envelopes = list(device.flight.envelopes().values())
    assert device.upload(envelopes, signed_body=b"other").status_code == 401
    assert device.upload(envelopes, challenge="AAAA").status_code == 401
    assert (
        ours.client.post("/v1/envelopes", content=b"x", headers={"authorization": "DBX-Device a:b"}).status_code == 401
    )
    cursor_as_challenge = ours.client.app.state.api.tokens.pack("cursor flights", [2**40])
    assert device.upload(envelopes, challenge=cursor_as_challenge).status_code == 401


def test_a_revoked_device_cannot_upload_and_the_broker_is_told_its_certificate(ours) -> None:
    device = Device(ours)
    path = f"/v1/aircraft/{device.aircraft}/device-keys/{key_id(device.raw).hex()}/revoke"
    revoked = ours.post(path, {"reason": "lost"}).json()
    assert revoked["revoked_reason"] == "lost" and len(revoked["certificate_serial"]) > 30
    assert device.upload([]).status_code == 401
    enrolling = ours.client.app.state.api.parts.enrolling
    assert enrolling.shut_out == [(uuid.UUID(device.aircraft), revoked["certificate_serial"])]


def test_a_key_is_revoked_also_when_the_broker_cannot_be_told_and_the_same_again_tells_it(ours, monkeypatch) -> None:
    device = Device(ours)
    path = f"/v1/aircraft/{device.aircraft}/device-keys/{key_id(device.raw).hex()}/revoke"
    enrolling = ours.client.app.state.api.parts.enrolling

    def fail(*_: object) -> None:
        raise RuntimeError("no broker")

    with monkeypatch.context() as patch:
        patch.setattr(enrolling, "revoked", fail)
        assert ours.post(path, {"reason": "lost"}).status_code == 503
    assert device.upload([]).status_code == 401
    assert ours.post(path, {"reason": "lost"}).status_code == 200 and len(enrolling.shut_out) == 1


def test_of_two_devices_with_one_code_at_once_one_enrols(ours) -> None:
    _, code = new_code(ours)
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda _: ours.client.post("/v1/enroll", json=enroll_body(code)), range(8))]
    assert sorted(a.status_code for a in answers) == [201] + [403] * 7


def test_a_challenge_is_refused_when_it_is_old_forged_or_of_another_hub(ours, monkeypatch) -> None:
    device = Device(ours)
    challenge = device.client.get("/v1/envelopes/challenge").json()["challenge"]
    forged = Tokens(b"other pepper").pack("challenge", [2**40])
    assert device.upload([], challenge=forged).status_code == 401
    assert device.upload([], challenge=challenge[:-1] + ("A" if challenge[-1] != "A" else "B")).status_code == 401
    assert device.upload([], challenge=challenge).status_code == 200
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert device.upload([], challenge=challenge).status_code == 401


@pytest.mark.parametrize("items", [5, {"a": 1}, ["text"], [b"x"] * 300])
def test_a_body_that_is_no_list_of_envelopes_is_a_problem(ours, items) -> None:
    assert Device(ours).upload(items).status_code in (413, 422)

"""Enrolment and the HTTPS fall-back, against a small hub that does what docs/architecture.md says of the two."""

import base64
import hashlib
import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.enroll import enroll
from agent.identity import IdentityError, load, raw_public, signer_of
from firmware_bridge.tlog import open_log, read_tlog
from hub.pki import DeviceAuthority
from shared import batch as wire
from shared import envelope
from shared.ids import key_id
from tests.fix_agent import DEMO_LOG, HubKey, check_chain, run_agent, settings_file
from tests.fix_recorder import sealed_frames


class Hub(ThreadingHTTPServer):
    """State of the small hub."""

    code = "ABCD-1234"

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.authority = DeviceAuthority(folder)
        self.key = HubKey()
        self.org, self.aircraft = uuid.uuid4(), uuid.uuid4()
        self.device_key: bytes = b""
        self.batches: dict[tuple[uuid.UUID, int], tuple[wire.Batch, bytes]] = {}
        self.failures = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def enrol(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["code"] != self.code:
            return 403, {"title": "Forbidden", "detail": "the code is used, wrong or expired"}
        self.device_key = base64.b64decode(body["public_key"])
        signed = self.authority.sign_device(body["csr_pem"].encode(), self.org, self.aircraft)
        public = raw_public(self.key.private.public_key())
        return 201, {
            "org_id": str(self.org), "aircraft_id": str(self.aircraft), "device_id": str(uuid.uuid4()),
            "key_id": key_id(self.device_key).hex(), "certificate_pem": signed.certificate_pem,
            "ca_pem": (self.authority.folder / "ca.crt").read_text(),
            "hub_keys": [{"key_id": key_id(public).hex(), "public_key": base64.b64encode(public).decode()}],
            "mqtt": {"host": "127.0.0.1", "port": 9, "tls": True},
        }  # fmt: skip

    def take(self, proof: str, body: bytes) -> list[bytes]:
        kid, challenge, signature = proof.removeprefix("DBX-Device ").split(":")
        message = b"\0".join((b"dbx-upload-v1", challenge.encode(), hashlib.sha256(body).digest()))
        device = Ed25519PublicKey.from_public_bytes(self.device_key)
        device.verify(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)), message)
        assert (kid, challenge) == (key_id(self.device_key).hex(), "challenge-1")
        receipts = []
        for sealed in cbor2.loads(body):
            opened = envelope.open_envelope(sealed, {key_id(self.device_key): device}.get, envelope.BATCH_TYPE)
            decoded = wire.decode(opened.payload)
            self.batches[decoded.stream, decoded.seq] = (decoded, opened.digest)
            receipts.append(self.key.receipt(decoded.stream, {decoded.seq: opened.digest}))
        return receipts


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version: ClassVar[str] = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200, json.dumps({"challenge": "challenge-1", "expires_utc_us": 0}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/enroll":
            status, answer = self.server.enrol(json.loads(body))
            return self._answer(status, json.dumps(answer).encode())
        if self.server.failures:
            self.server.failures -= 1
            return self._answer(503, b"{}")
        self._answer(200, cbor2.dumps(self.server.take(self.headers["Authorization"], body)))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def small_hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path / "pki")
    yield hub
    hub.shutdown()
    hub.server_close()


def test_enrolment_makes_the_keys_here_and_only_its_owner_may_read_them(small_hub: Hub, tmp_path: Path) -> None:
    config = settings_file(tmp_path)
    done = run_agent("enroll", "--config", config, "--json", small_hub.url, small_hub.code)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "identity"
    me = load(folder)
    assert json.loads(done.stdout)["aircraft_id"] == str(small_hub.aircraft) == str(me.aircraft_id)
    assert raw_public(me.signer.key.public_key()) == small_hub.device_key
    assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o600} and folder.stat().st_mode & 0o777 == 0o700
    me.tls_context()


def test_enrolling_again_rotates_the_keys_and_the_former_public_key_stays_known(small_hub: Hub, tmp_path: Path) -> None:
    first = enroll(small_hub.url, small_hub.code, tmp_path / "identity", "1")
    second = enroll(small_hub.url, small_hub.code, tmp_path / "identity", "1")
    assert first.signer.key_id != second.signer.key_id
    assert second.find_own(first.signer.key_id) is not None


def test_a_refused_code_changes_nothing_and_says_why(small_hub: Hub, tmp_path: Path) -> None:
    first = enroll(small_hub.url, small_hub.code, tmp_path / "identity", "1")
    with pytest.raises(IdentityError, match="used, wrong or expired"):
        enroll(small_hub.url, "WRONG", tmp_path / "identity", "1")
    assert load(tmp_path / "identity").signer.key_id == first.signer.key_id


def test_a_hub_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="is the hub up"):
        enroll("http://127.0.0.1:9", "x", tmp_path / "identity", "1")


def test_a_log_arrives_whole_over_https_also_when_the_hub_fails_at_times(small_hub: Hub, tmp_path: Path) -> None:
    enroll(small_hub.url, small_hub.code, tmp_path / "identity", "1")
    small_hub.failures = 2
    config = settings_file(tmp_path, uplink={"transport": "https"})
    done = run_agent("run", "--config", config, "--log", DEMO_LOG, "--speed", "max", "--once", "--timeout", "40")
    assert done.returncode == 0, done.stderr
    assert sealed_frames(small_hub.batches).equals(read_tlog(open_log(DEMO_LOG)).frames)
    check_chain(small_hub.batches)
    assert signer_of(load(tmp_path / "identity").signer.key).key_id

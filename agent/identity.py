"""Who this aircraft is: its keys, its certificate and what enrolment said, in one folder that only its owner may read.

signing.key   raw Ed25519 private key, 32 bytes, 0600: made here, never leaves
former.keys   raw public keys of earlier signing keys, 32 bytes each (their batches may still be in the outbox)
tls.key       P-256 private key, PEM, 0600: made here, never leaves
tls.crt ca.crt identity.json   from the hub
"""

import base64
import hashlib
import json
import os
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from agent.sealing import Signer
from shared.ids import key_id


class IdentityError(Exception):
    """The identity cannot be used; says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """An enrolled aircraft. hub_keys: key id -> key by which the hub signs receipts and directives."""

    folder: Path
    org_id: uuid.UUID
    aircraft_id: uuid.UUID
    device_id: uuid.UUID
    signer: Signer
    own_keys: Mapping[bytes, Ed25519PublicKey]
    hub_keys: Mapping[bytes, Ed25519PublicKey]
    hub_url: str
    mqtt_host: str
    mqtt_port: int
    mqtt_tls: bool
    kind: str = "aircraft"
    """aircraft, or station: a field engineer's device, which may import logs of any aircraft of its organisation."""

    @property
    def is_station(self) -> bool:
        return self.kind == "station"

    def tls_context(self) -> ssl.SSLContext:
        """TLS with our certificate, trusting the hub's CA alone. OSError or ssl.SSLError when a file is unusable."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / "tls.crt", self.folder / "tls.key")
        return context

    def mqtt_client_id(self) -> str:
        """The same for ever, and known to nobody else: who may use a client id at a broker may cut its owner off."""
        raw = self.signer.key.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        return "dbx-" + hashlib.sha256(b"dbx-mqtt-client-v1\0" + raw).hexdigest()[:32]

    def find_own(self, kid: bytes) -> Ed25519PublicKey | None:
        return self.own_keys.get(kid)

    def find_hub(self, kid: bytes) -> Ed25519PublicKey | None:
        return self.hub_keys.get(kid)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, all or nothing, on disk when this returns."""
    fresh = path.with_name(path.name + ".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)


def raw_public(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def signer_of(key: Ed25519PrivateKey) -> Signer:
    """The key with its id."""
    return Signer(key, key_id(raw_public(key.public_key())))


def make_tls_key() -> tuple[bytes, ec.EllipticCurvePrivateKey]:
    """A new P-256 key: (PEM, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip
    return pem, key


def certificate_request(key: ec.EllipticCurvePrivateKey) -> str:
    """A CSR for the key, PEM; the hub decides the names in the certificate."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dbx-agent")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def load(folder: Path) -> Identity:
    """The identity in a folder. IdentityError when it is missing or unusable."""
    path = folder / "identity.json"
    if not path.exists():
        raise IdentityError(f"not enrolled: {path} is missing; run: dbx agent enroll HUB_URL CODE")
    try:
        return _load(folder, json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise IdentityError(f"{folder}: unusable identity ({type(e).__name__}: {e}); enrol again") from None


def _load(folder: Path, facts: dict[str, Any]) -> Identity:
    key = Ed25519PrivateKey.from_private_bytes((folder / "signing.key").read_bytes())
    former = folder / "former.keys"
    old = former.read_bytes() if former.exists() else b""
    own = [raw_public(key.public_key())] + [old[i : i + 32] for i in range(0, len(old), 32)]
    hub = [base64.b64decode(k["public_key"]) for k in facts["hub_keys"]]
    mqtt = facts["mqtt"]
    return Identity(
        folder, uuid.UUID(facts["org_id"]), uuid.UUID(facts["aircraft_id"]), uuid.UUID(facts["device_id"]),
        signer_of(key), _by_id(own), _by_id(hub), str(facts["hub_url"]), str(mqtt["host"]), int(mqtt["port"]),
        bool(mqtt.get("tls", True)), str(facts.get("kind", "aircraft")),
    )  # fmt: skip


def _by_id(raw: list[bytes]) -> dict[bytes, Ed25519PublicKey]:
    return {key_id(r): Ed25519PublicKey.from_public_bytes(r) for r in raw}

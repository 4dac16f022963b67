"""Enrolment: keys are made on the device, a single-use code makes the hub sign for them.

Enrolling again (with a new code) rotates the keys: the former public key stays known, so that batches in the outbox
that it signed can still be salvaged.
"""

import base64
import json
import platform
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent import identity
from agent.identity import Identity, IdentityError, raw_public, write_private
from shared.errors import plainly

TIMEOUT_S = 30
_NEEDED = ("org_id", "aircraft_id", "device_id", "key_id", "certificate_pem", "ca_pem", "hub_keys", "mqtt")


def enroll(hub_url: str, code: str, folder: Path, version: str, ca: Path | None = None) -> Identity:
    """Enrol with the hub and write the identity folder. IdentityError says what went wrong; nothing is half done.

    ca: CA certificate of the hub's HTTPS, when the system does not know it.
    """
    if not hub_url.startswith(("https://", "http://")):
        raise IdentityError(f"{hub_url!r} is no address of a hub (https://...)")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    key = Ed25519PrivateKey.generate()
    tls_pem, tls_key = identity.make_tls_key()
    request = {
        "code": code,
        "public_key": base64.b64encode(raw_public(key.public_key())).decode(),
        "csr_pem": identity.certificate_request(tls_key),
        "agent_version": version,
        "hostname": platform.node()[:200],
    }
    answer = _post(f"{hub_url.rstrip('/')}/v1/enroll", request, ca)
    missing = [name for name in _NEEDED if name not in answer]
    if missing:
        raise IdentityError(f"the hub's answer lacks {', '.join(missing)}")
    if bytes.fromhex(answer["key_id"]) != identity.signer_of(key).key_id:
        raise IdentityError("the hub signed for another key than ours")
    _write(folder, key, tls_pem, answer | {"hub_url": hub_url.rstrip("/")})
    return identity.load(folder)


def _write(folder: Path, key: Ed25519PrivateKey, tls_pem: bytes, answer: dict[str, Any]) -> None:
    """Write all files, identity.json last: without it the folder counts as not enrolled."""
    old = folder / "signing.key"
    if old.exists():
        former = folder / "former.keys"
        public = raw_public(Ed25519PrivateKey.from_private_bytes(old.read_bytes()).public_key())
        write_private(former, (former.read_bytes() if former.exists() else b"") + public)
    write_private(old, key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    write_private(folder / "tls.key", tls_pem)
    write_private(folder / "tls.crt", answer.pop("certificate_pem").encode())
    write_private(folder / "ca.crt", answer.pop("ca_pem").encode())
    write_private(folder / "identity.json", json.dumps(answer, indent=1).encode())


def _post(url: str, body: dict[str, Any], ca: Path | None) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - http or https, checked by the caller
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    context = ssl.create_default_context(cafile=str(ca) if ca else None) if url.startswith("https") else None
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310
            found = json.loads(answer.read(1 << 20))
    except urllib.error.HTTPError as e:
        raise IdentityError(f"the hub refused ({e.code}): {_problem(e)}") from None
    except (OSError, ValueError) as e:
        reason = getattr(e, "reason", e)
        said = plainly(reason) if isinstance(reason, Exception) else reason
        raise IdentityError(f"{url}: {said}; is the hub up and the address right?") from None
    if not isinstance(found, dict):
        raise IdentityError(f"{url}: not the answer of a hub")
    return found


def _problem(error: urllib.error.HTTPError) -> str:
    """The detail of an RFC 9457 problem, or the bare reason."""
    try:
        body = json.loads(error.read(1 << 16))
        return str(body.get("detail") or body.get("title"))
    except (ValueError, AttributeError, OSError):
        return str(error.reason)

"""A device proves itself with its signing key, on a challenge of ours, so that it needs no clock.

Authorization: DBX-Device <key id, hex>:<challenge>:<signature, base64url>
the signature is over  b"dbx-upload-v1" NUL challenge NUL SHA-256(body)
"""

import base64
import binascii
import hashlib
import time
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from starlette.requests import Request

from hub.api.auth import address
from hub.api.problems import Problem
from hub.api.state import ApiState
from hub.api.tokens import BadToken
from hub.store.aircraft import FIND_DEVICE, DeviceOwner
from hub.store.tenant import HUB_ORG

CONTEXT = b"dbx-upload-v1"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request shows."""

    key_id: bytes
    challenge: str
    signature: bytes


async def authenticated_body(request: Request, state: ApiState) -> tuple[DeviceOwner, bytes]:
    """The device that signed the request, and its body, which is read only where its key is known. Problem 401, 429."""
    device, proof = await named_device(request, state)
    body = await request.body()
    check_signature(request, state, device, proof, body)
    return device, body


async def named_device(request: Request, state: ApiState) -> tuple[DeviceOwner, Proof]:
    """Whose key the proof names, by a challenge of ours; the signature is checked when the body is there."""
    scheme, _, proof = request.headers.get("authorization", "").partition(" ")
    parts = proof.split(":")
    if scheme.lower() != "dbx-device" or len(parts) != 3:
        raise _refused("Send `Authorization: DBX-Device <key id>:<challenge>:<signature>`.")
    try:
        (expires_s,) = state.tokens.unpack("challenge", parts[1][:200], 1)
        key_id = bytes.fromhex(parts[0])
        signature = base64.urlsafe_b64decode(parts[2][:200] + "=" * (-len(parts[2]) % 4))
    except (BadToken, binascii.Error, ValueError):
        raise _refused("The proof is malformed, or its challenge is not ours.") from None
    if time.time() > expires_s:
        raise _refused("The challenge has expired; fetch a new one.")
    found = await state.reader.fetch(HUB_ORG, FIND_DEVICE, key_id)
    if not found or found[0].revoked_utc_us is not None:
        raise _stranger(request, state)
    return found[0], Proof(key_id, parts[1], signature)


def check_signature(request: Request, state: ApiState, device: DeviceOwner, proof: Proof, body: bytes) -> None:
    """Only who proved to be the device takes from its allowance: others may know its key id. Problem 401, 429."""
    message = b"\0".join((CONTEXT, proof.challenge.encode(), hashlib.sha256(body).digest()))
    try:
        Ed25519PublicKey.from_public_bytes(device.public_key).verify(proof.signature, message)
    except InvalidSignature:
        raise _stranger(request, state) from None
    allowance = state.limit.take(proof.key_id)
    if not allowance.is_allowed:
        raise Problem(429, "too_many_requests", "This device asks too often.", allowance.headers())


def _stranger(request: Request, state: ApiState) -> Problem:
    allowance = state.strangers.take(address(request))
    if not allowance.is_allowed:
        return Problem(429, "too_many_requests", "Too many attempts.", allowance.headers())
    return _refused("The key is unknown or revoked, or the signature does not hold.")


def _refused(detail: str) -> Problem:
    return Problem(401, "unauthorized", detail, {"www-authenticate": "DBX-Device"})

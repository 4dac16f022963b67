"""Envelopes over HTTPS, where nothing else gets out: the same bytes, the same admission, the same receipts as by MQTT.

The device proves itself with its signing key, on a challenge of ours, so that it needs no clock:

    GET  /v1/envelopes/challenge  ->  {challenge, expires_utc_us}          good for five minutes, any number of times
    POST /v1/envelopes            body: CBOR array of envelopes
         Authorization: DBX-Device <key id, hex>:<challenge>:<signature, base64url>
         the signature is over  b"dbx-upload-v1" NUL challenge NUL SHA-256(body)
    ->   200, CBOR array of receipt envelopes for what is committed; what was refused is in quarantine
"""

import asyncio
import base64
import binascii
import hashlib
import time
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.api import shapes
from hub.api.auth import State, address
from hub.api.paging import answer
from hub.api.problems import Problem, invalid
from hub.api.state import ApiState
from hub.api.tokens import BadToken
from hub.store.aircraft import FIND_DEVICE, DeviceOwner
from hub.store.tenant import HUB_ORG
from shared.envelope import MAX_ENVELOPE_BYTES
from shared.errors import MALFORMED

router = APIRouter(prefix="/v1", tags=["devices"])
CHALLENGE_S = 300
MAX_ENVELOPES = 256
MAX_UPLOAD_BYTES = 16 << 20
CONTEXT = b"dbx-upload-v1"
_CBOR = "application/cbor"
_RECEIPTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {_CBOR: {}}, "description": "CBOR array of receipt envelopes"}
}
_BODY = {"requestBody": {"required": True, "content": {_CBOR: {"schema": {"type": "string", "format": "binary"}}}}}


@router.get("/envelopes/challenge", response_model=shapes.Challenge)
async def get_challenge(request: Request, state: State) -> Response:
    """Something to sign, for a device that uploads. Needs no key."""
    expires_s = int(time.time()) + CHALLENGE_S
    body = {"challenge": state.tokens.pack("challenge", [expires_s]), "expires_utc_us": expires_s * 1_000_000}
    return answer(request, body, etag=False)


@router.post("/envelopes", responses=_RECEIPTS, response_class=Response, openapi_extra=_BODY)
async def upload(request: Request, state: State) -> Response:
    """Commit envelopes of the device that signs this request."""
    if state.parts.receiving is None:
        raise Problem(503, "unavailable", "This process does not take envelopes.")
    device, proof = await _device(request, state)
    body = await request.body()  # up to MAX_UPLOAD_BYTES: not for strangers
    _check_signature(request, state, device, proof, body)
    receipts = await asyncio.to_thread(
        state.parts.receiving.commit, device.org_id, device.aircraft_id, _envelopes(body)
    )
    return Response(cbor2.dumps(receipts), 200, {"cache-control": "no-store"}, _CBOR)


@dataclass(frozen=True, slots=True)
class _Proof:
    key_id: bytes
    challenge: str
    signature: bytes


async def _device(request: Request, state: ApiState) -> tuple[DeviceOwner, _Proof]:
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
    return found[0], _Proof(key_id, parts[1], signature)


def _check_signature(request: Request, state: ApiState, device: DeviceOwner, proof: _Proof, body: bytes) -> None:
    """Only who proved to be the device takes from its allowance: others may know its key id."""
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


def _envelopes(body: bytes) -> list[bytes]:
    try:
        items = cbor2.loads(body)
    except MALFORMED:
        items = None
    if type(items) is not list or not all(type(e) is bytes for e in items):
        raise invalid("bad_envelopes", "The body is a CBOR array of byte strings, one envelope each.")
    if len(items) > MAX_ENVELOPES or any(len(e) > MAX_ENVELOPE_BYTES for e in items):
        raise Problem(413, "too_large", f"At most {MAX_ENVELOPES} envelopes of {MAX_ENVELOPE_BYTES} bytes each.")
    return items


def _refused(detail: str) -> Problem:
    return Problem(401, "unauthorized", detail, {"www-authenticate": "DBX-Device"})

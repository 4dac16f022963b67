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
    body = await request.body()
    device = await _device(request, state, body)
    receipts = await asyncio.to_thread(
        state.parts.receiving.commit, device.org_id, device.aircraft_id, _envelopes(body)
    )
    return Response(cbor2.dumps(receipts), 200, {"cache-control": "no-store"}, _CBOR)


async def _device(request: Request, state: ApiState, body: bytes) -> DeviceOwner:
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
    allowance = state.limit.take(key_id)
    if not allowance.is_allowed:
        raise Problem(429, "too_many_requests", "This device asks too often.", allowance.headers())
    found = await state.reader.fetch(HUB_ORG, FIND_DEVICE, key_id)
    message = b"\0".join((CONTEXT, parts[1].encode(), hashlib.sha256(body).digest()))
    try:
        if not found or found[0].revoked_utc_us is not None:
            raise InvalidSignature
        Ed25519PublicKey.from_public_bytes(found[0].public_key).verify(signature, message)
    except InvalidSignature:
        stranger = state.strangers.take(address(request))
        if not stranger.is_allowed:
            raise Problem(429, "too_many_requests", "Too many attempts.", stranger.headers()) from None
        raise _refused("The key is unknown or revoked, or the signature does not hold.") from None
    return found[0]


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

"""Envelopes over HTTPS, where nothing else gets out: the same bytes, the same admission, the same receipts as by MQTT.

GET  /v1/envelopes/challenge  ->  {challenge, expires_utc_us}          good for five minutes, any number of times
POST /v1/envelopes            body: CBOR array of envelopes; Authorization: see device_auth.py
->   200, CBOR array of receipt envelopes for what is committed; what was refused is in quarantine
"""

import asyncio
import time
from typing import Any

import cbor2
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.api import shapes
from hub.api.auth import State
from hub.api.device_auth import authenticated_body
from hub.api.paging import answer
from hub.api.problems import Problem, invalid
from shared.envelope import MAX_ENVELOPE_BYTES
from shared.errors import MALFORMED

router = APIRouter(prefix="/v1", tags=["devices"])
CHALLENGE_S = 300
MAX_ENVELOPES = 256
MAX_UPLOAD_BYTES = 16 << 20
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
    device, body = await authenticated_body(request, state)
    receipts = await asyncio.to_thread(
        state.parts.receiving.commit, device.org_id, device.aircraft_id, _envelopes(body)
    )
    return Response(cbor2.dumps(receipts), 200, {"cache-control": "no-store"}, _CBOR)


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

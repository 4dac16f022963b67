"""Enrolment: a device turns a single-use code into an identity. The private halves of its keys never leave it."""

import asyncio
import base64
import binascii

import psycopg
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.api import shapes
from hub.api.auth import State, address, count_stranger
from hub.api.paging import answer
from hub.api.problems import Problem, invalid
from hub.api.state import Actor
from hub.api.tokens import normal_code
from hub.api.views import hub_key_view
from hub.store import aircraft, enrollment
from hub.store.tenant import HUB_ORG
from shared.errors import Refused
from shared.ids import key_id, new_id

router = APIRouter(prefix="/v1", tags=["devices"])


@router.post("/enroll", status_code=201, response_model=shapes.Enrolled)
async def enroll(request: Request, state: State, body: shapes.EnrollRequest) -> Response:
    """Enrol a device. Needs no API key: the code says for which aircraft, once, within 15 minutes."""
    enrolling = state.parts.enrolling
    if enrolling is None:
        raise Problem(503, "unavailable", "This process does not enrol devices.")
    public_key = _public_key(body.public_key)
    hashed = state.tokens.keyed_hash(normal_code(body.code))
    found = await state.reader.fetch(HUB_ORG, enrollment.FIND_CODE, hashed)
    if not found:
        count_stranger(request)
        raise _bad_code()
    org_id, aircraft_id = found[0].org_id, found[0].aircraft_id
    craft = await state.reader.fetch(org_id, aircraft.GET_AIRCRAFT, aircraft_id)
    kid, device_id = key_id(public_key), new_id()
    try:
        signed = await asyncio.to_thread(enrolling.certificate, body.csr_pem, org_id, aircraft_id, device_id)
    except Refused as e:
        raise invalid(e.reason, f"The certificate request is not acceptable: {e.detail}") from None

    def use(conn: "psycopg.Connection[tuple[object, ...]]") -> None:
        if enrollment.use_code(conn, org_id, hashed, kid) != aircraft_id:
            raise _bad_code()
        added = aircraft.add_device_key(
            conn, org_id, kid, device_id, aircraft_id, public_key, body.agent_version, body.hostname, signed.serial
        )
        if not added:
            raise Problem(409, "key_enrolled_already", "This signing key is enrolled already; make a new one.")

    who = Actor(org_id, f"device {device_id} with enrolment code", request.state.request_id, address(request))
    await state.write(who, use)
    await asyncio.to_thread(enrolling.enrolled, org_id, aircraft_id, device_id)
    identity = {
        "org_id": org_id,
        "kind": craft[0].kind,
        "aircraft_id": aircraft_id,
        "device_id": device_id,
        "key_id": kid.hex(),
        "certificate_pem": signed.certificate_pem,
        "ca_pem": enrolling.ca_pem(),
        "hub_keys": [hub_key_view(k) for k in dict.fromkeys((state.hub_key_raw, *state.parts.hub_keys))],
        "mqtt": enrolling.broker(),
    }
    return answer(request, identity, 201)


def _bad_code() -> Problem:
    return Problem(403, "bad_code", "The code is unknown, used or older than 15 minutes; ask for a new one.")


def _public_key(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise invalid("bad_public_key", "public_key is the base64 of the 32 bytes of an Ed25519 public key.")
    return raw

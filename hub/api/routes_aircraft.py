"""Aircraft, their enrolment codes, device keys and directives."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Literal
from uuid import UUID, uuid5

import psycopg
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.api import shapes
from hub.api.auth import Admin, Operator, Owner, State, actor
from hub.api.paging import Cursor, Limit, answer, open_cursor, page
from hub.api.problems import Problem, invalid, not_found
from hub.api.publisher import Addressee
from hub.api.state import ApiState
from hub.api.tokens import new_code
from hub.api.views import aircraft_view, device_key_view
from hub.store import aircraft, directives, enrollment
from shared.envelope import DIRECTIVE_TYPE, seal
from shared.ids import new_id
from shared.receipt import MAX_OPEN_DIRECTIVES, Directive, encode_directive

router = APIRouter(prefix="/v1", tags=["aircraft"])
log = logging.getLogger("dbx.api")
MAX_DIRECTIVE_BYTES = 16_384


@router.get("/aircraft", response_model=shapes.Page[shapes.Aircraft])
async def list_aircraft(
    request: Request, owner: Owner, state: State, cursor: Cursor = None, limit: Limit = 50,
    kind: Literal["aircraft", "station"] = "aircraft",
) -> Response:  # fmt: skip
    """Aircraft by name, each with its newest state; or, asked for, the stations."""
    after = open_cursor(state.tokens, kind, cursor, 2)
    rows = await state.reader.fetch(owner.org_id, aircraft.LIST_AIRCRAFT, *after, limit + 1, kind)
    return answer(request, page(state.tokens, kind, rows, limit, aircraft_view, lambda a: [a.name, a.id]))


@router.post("/aircraft", status_code=201, response_model=shapes.Aircraft)
async def create_aircraft(request: Request, owner: Operator, state: State, body: shapes.NewAircraft) -> Response:
    """Make an aircraft known. With an Idempotency-Key, the same again gives the same aircraft."""
    wanted = _idempotent_id(request, owner.org_id)
    if wanted is not None and (known := await state.reader.fetch(owner.org_id, aircraft.GET_AIRCRAFT, wanted)):
        return answer(request, aircraft_view(known[0]), 200, etag=False)
    aircraft_id = wanted or new_id()
    with suppress(psycopg.errors.UniqueViolation):  # the same request, a moment ago
        await state.write(
            actor(request, owner),
            lambda conn: aircraft.create_aircraft(conn, owner.org_id, aircraft_id, **body.model_dump()),
        )
    row = await find_aircraft(state, owner.org_id, aircraft_id)
    return answer(request, aircraft_view(row), 201)


@router.get("/aircraft/{aircraft_id}", response_model=shapes.Aircraft)
async def get_aircraft(request: Request, owner: Owner, state: State, aircraft_id: UUID) -> Response:
    """One aircraft with its newest state."""
    return answer(request, aircraft_view(await find_aircraft(state, owner.org_id, aircraft_id)))


@router.post("/aircraft/{aircraft_id}/enrollment-codes", status_code=201, response_model=shapes.EnrollmentCode)
async def create_code(request: Request, owner: Operator, state: State, aircraft_id: UUID) -> Response:
    """A code with which one device may enrol for this aircraft, within 15 minutes. Shown once."""
    await find_aircraft(state, owner.org_id, aircraft_id)
    code = new_code()
    hashed = state.tokens.keyed_hash(code)
    expires = await state.write(
        actor(request, owner), lambda conn: enrollment.create_code(conn, owner.org_id, aircraft_id, hashed)
    )
    return answer(request, {"code": code, "expires_utc_us": expires}, 201)


@router.get("/aircraft/{aircraft_id}/device-keys", response_model=shapes.Page[shapes.DeviceKey])
async def list_device_keys(request: Request, owner: Owner, state: State, aircraft_id: UUID) -> Response:
    """The public keys of the devices that speak, or spoke, for this aircraft."""
    await find_aircraft(state, owner.org_id, aircraft_id)
    rows = await state.reader.fetch(owner.org_id, aircraft.DEVICE_KEYS, aircraft_id)
    return answer(request, {"items": [device_key_view(k) for k in rows], "next_cursor": None})


@router.post("/aircraft/{aircraft_id}/device-keys/{key_id}/revoke", response_model=shapes.DeviceKey)
async def revoke_device_key(
    request: Request, owner: Admin, state: State, aircraft_id: UUID, key_id: str, body: shapes.Revocation | None = None
) -> Response:
    """Revoke a device's key: its batches are quarantined from now on, and the broker shuts its certificate out.

    The key first: what it signs is refused even where the broker cannot be told. Then 503; the same request again tells
    it again."""
    wanted = _key_id(key_id)
    reason = (body or shapes.Revocation()).reason
    row = await state.write(
        actor(request, owner),
        lambda conn: aircraft.revoke_device_key(conn, owner.org_id, aircraft_id, wanted, reason),
    )
    if row is None:
        raise not_found("device key")
    if state.parts.enrolling is not None and row.certificate_serial:
        try:
            await asyncio.to_thread(
                state.parts.enrolling.revoked, owner.org_id, aircraft_id, row.device_id, row.certificate_serial
            )
        except (OSError, RuntimeError) as error:
            log.error("revoked, but the broker was not told", extra={"key": key_id, "error": str(error)[:200]})
            raise Problem(
                503, "unavailable", "The key is revoked, but the broker was not told yet; send the same again."
            ) from None
    return answer(request, device_key_view(row))


@router.get("/aircraft/{aircraft_id}/directives", response_model=shapes.Page[shapes.Directive])
async def list_directives(
    request: Request, owner: Owner, state: State, aircraft_id: UUID, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """Directives to this aircraft, newest first, and what became of them."""
    await find_aircraft(state, owner.org_id, aircraft_id)
    after = open_cursor(state.tokens, f"directives {aircraft_id}", cursor, 1)
    rows = await state.reader.fetch(owner.org_id, directives.LIST_DIRECTIVES, aircraft_id, *after, limit + 1)
    body = page(state.tokens, f"directives {aircraft_id}", rows, limit, asdict, lambda d: [d.version])
    return answer(request, body)


@router.post("/aircraft/{aircraft_id}/directives", status_code=201, response_model=shapes.Directive)
async def create_directive(
    request: Request, owner: Operator, state: State, aircraft_id: UUID, body: shapes.NewDirective
) -> Response:
    """Sign a directive. It is sent when the aircraft can be reached, and again until the aircraft has answered it."""
    row = await state.write(
        actor(request, owner),
        lambda conn: issue_directive(conn, state, owner.org_id, aircraft_id, body.kind, body.body),
    )
    if state.parts.publishing is not None:
        state.parts.publishing.send(Addressee(owner.org_id, aircraft_id))
    return answer(request, asdict(row), 201)


def issue_directive(
    conn: "psycopg.Connection[tuple[object, ...]]", state: ApiState, org_id: UUID, aircraft_id: UUID, kind: str,
    body: dict[str, Any],
) -> directives.DirectiveRow:  # fmt: skip
    """Sign and store a directive; it is published afterwards. Problem 404, 409 (too many wait), 422."""
    version = directives.next_version(conn, org_id, aircraft_id)
    if version is None:
        raise not_found("aircraft")
    if len(directives.open_directives(conn, org_id, aircraft_id)) >= MAX_OPEN_DIRECTIVES:
        raise Problem(409, "too_many_open", f"{MAX_OPEN_DIRECTIVES} directives wait for this aircraft's answer.")
    issued = time.time_ns() // 1000
    payload = encode_directive(Directive(aircraft_id, version, kind, body, issued))
    if len(payload) > MAX_DIRECTIVE_BYTES:
        raise invalid("too_large", f"A directive has at most {MAX_DIRECTIVE_BYTES} bytes.")
    envelope = seal(payload, state.parts.hub_key, state.hub_key_id, DIRECTIVE_TYPE)
    directives.insert_directive(conn, org_id, aircraft_id, version, kind, body, envelope, issued)
    return directives.DirectiveRow(version, kind, body, issued, "issued", None, "")


async def find_aircraft(state: ApiState, org_id: UUID, aircraft_id: UUID) -> aircraft.AircraftRow:
    """An aircraft of the organisation. Problem 404."""
    rows = await state.reader.fetch(org_id, aircraft.GET_AIRCRAFT, aircraft_id)
    if not rows:
        raise not_found("aircraft")
    return rows[0]


def _idempotent_id(request: Request, org_id: UUID) -> UUID | None:
    """The id that this Idempotency-Key always stands for in this organisation, and in no other."""
    text = request.headers.get("idempotency-key")
    if text is not None and not 1 <= len(text) <= 200:
        raise invalid("bad_idempotency_key", "An Idempotency-Key has 1 to 200 characters.")
    return None if text is None else uuid5(org_id, f"aircraft {text}")


def _key_id(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 16:
        raise not_found("device key")
    return raw

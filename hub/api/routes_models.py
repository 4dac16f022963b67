"""Model bundles: released to aircraft by directive, fetched by their devices; and which aircraft run what."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from hub.api import models_shapes, shapes
from hub.api.auth import Admin, Owner, State, actor
from hub.api.device_auth import authenticated_body
from hub.api.paging import Cursor, Limit, answer, open_cursor, page
from hub.api.problems import Problem, invalid, not_found
from hub.api.publisher import Addressee
from hub.api.routes_aircraft import issue_directive
from hub.api.state import ApiState
from hub.store import models
from hub.store.models import BundleRow
from shared.errors import Refused
from shared.ids import new_id
from shared.scoring import read_bundle, read_keys

router = APIRouter(prefix="/v1", tags=["models"])
_BYTES = "application/octet-stream"
_BUNDLE: dict[int | str, dict[str, Any]] = {200: {"content": {_BYTES: {}}, "description": "the signed bundle"}}
_BODY = {
    "requestBody": {"required": True, "content": {_BYTES: {"schema": {"type": "string", "format": "binary"}}}},
}


@router.get("/models/releases", response_model=shapes.Page[models_shapes.ModelRelease])
async def list_releases(
    request: Request, owner: Owner, state: State, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """Releases, newest first, and how many of their aircraft have enacted them."""
    after = open_cursor(state.tokens, "model releases", cursor, 2)
    rows = await state.reader.fetch(owner.org_id, models.LIST_RELEASES, *after, limit + 1)
    return answer(request, page(state.tokens, "model releases", rows, limit, _hex, lambda r: [r.released_utc_us, r.id]))


@router.get("/models/aircraft", response_model=shapes.Page[models_shapes.RunningModel])
async def list_running(
    request: Request, owner: Owner, state: State, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """Which aircraft run which model, by name of the aircraft."""
    after = open_cursor(state.tokens, "models of aircraft", cursor, 2)
    rows = await state.reader.fetch(owner.org_id, models.LIST_RUNNING, *after, limit + 1)
    body = page(
        state.tokens, "models of aircraft", rows, limit, _hex, lambda r: [r.aircraft_name, r.aircraft_id]
    )  # fmt: skip
    return answer(request, body)


@router.post("/models/releases", status_code=201, response_model=models_shapes.NewModelRelease, openapi_extra=_BODY)
async def create_release(
    request: Request, owner: Admin, state: State, stage: models_shapes.Stage,
    aircraft_id: Annotated[list[UUID] | None, Query(description="which aircraft; fleet: all with a device")] = None,
) -> Response:  # fmt: skip
    """Release a bundle (the body, signed by a release key) to the aircraft of a stage, which are told by directive."""
    if stage != "fleet" and not aircraft_id:
        raise invalid("no_aircraft", f"Name the aircraft of stage {stage}.")
    bundle = await asyncio.to_thread(_checked, await request.body(), [*read_keys(), *state.parts.release_keys])
    who = actor(request, owner)

    def release(conn: "psycopg.Connection[tuple[object, ...]]") -> dict[str, Any]:
        named = models.addressees(conn, owner.org_id, aircraft_id)
        if aircraft_id and (unknown := set(aircraft_id) - set(named)):
            raise invalid("unknown_aircraft", f"No aircraft in service: {', '.join(map(str, sorted(unknown)))}.")
        release_id = new_id()
        at = models.put_release(conn, owner.org_id, release_id, bundle, stage, who.name)
        told = [a for a in named if _tell(conn, state, owner.org_id, a, release_id, bundle, stage)]
        return {
            "id": release_id, "model": bundle.name, "digest": bundle.digest.hex(), "stage": stage,
            "released_utc_us": at, "told": told, "not_told": sorted(set(named) - set(told)),
        }  # fmt: skip

    made = await state.write(who, release)
    if state.parts.publishing is not None:
        for aircraft_of in made["told"]:
            state.parts.publishing.send(Addressee(owner.org_id, aircraft_of))
    return answer(request, made, 201)


@router.get("/device/models/{digest}", responses=_BUNDLE, response_class=Response)
async def device_model(request: Request, state: State, digest: str) -> Response:
    """A released bundle, for the organisation's devices. It is checked again where it is loaded."""
    device, _ = await authenticated_body(request, state)
    try:
        wanted = bytes.fromhex(digest)
    except ValueError:
        raise not_found("model") from None
    rows = await state.reader.fetch(device.org_id, models.GET_BUNDLE, wanted)
    if not rows:
        raise not_found("model")
    return Response(bytes(rows[0].bundle), 200, {"cache-control": "no-store"}, _BYTES)


def _checked(body: bytes, trusted: list[bytes]) -> BundleRow:
    """The bundle, as an aircraft of this version would load it. Problem 422."""
    try:
        found = read_bundle(body, trusted)
    except Refused as e:
        raise invalid("bad_bundle", f"This is no bundle that an aircraft would take: {e}") from None
    return BundleRow(found.digest, found.name, int(found.manifest["feature_version"]), body)


def _tell(
    conn: "psycopg.Connection[tuple[object, ...]]", state: ApiState, org_id: UUID, aircraft_id: UUID, release_id: UUID,
    bundle: BundleRow, stage: str,
) -> bool:  # fmt: skip
    """Issue the directive. False when too many of this aircraft's wait."""
    body = {"digest": bundle.digest.hex(), "name": bundle.name, "stage": stage, "size": len(bundle.bundle)}
    try:
        row = issue_directive(conn, state, org_id, aircraft_id, "model", body)
    except Problem as problem:
        if problem.status != 409:
            raise
        return False
    models.put_addressee(conn, org_id, release_id, aircraft_id, row.version)
    return True


def _hex(row: Any) -> dict[str, Any]:
    return {k: v.hex() if isinstance(v, bytes) else v for k, v in asdict(row).items()}

"""Who asks, the organisation's API keys, its state, the process' health."""

import asyncio
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from uuid import UUID

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.api import shapes
from hub.api.auth import Admin, Owner, State, actor
from hub.api.paging import answer
from hub.api.pipeline import DatabaseGone
from hub.api.problems import not_found
from hub.api.tokens import new_api_key
from hub.api.views import hub_key_view
from hub.store import keys, organisations
from hub.store.tenant import HUB_ORG
from shared.ids import key_id, new_id

router = APIRouter(prefix="/v1")
try:
    VERSION = version("dbx-aviation")
except PackageNotFoundError:  # run from a checkout that was never installed
    VERSION = "0.1.0"


@router.get("/me", response_model=shapes.Me, tags=["account"])
async def get_me(request: Request, owner: Owner) -> Response:
    """The organisation and role of the key."""
    return answer(request, asdict(owner))


@router.get("/organisations", response_model=shapes.Page[shapes.Organisation], tags=["account"])
async def list_organisations(request: Request, owner: Owner) -> Response:
    """The organisations that this key can see: its own, and no other."""
    return answer(request, {"items": [{"org_id": owner.org_id, "name": owner.org_name}], "next_cursor": None})


@router.get("/health", response_model=shapes.Health, responses={503: {"model": shapes.Health}}, tags=["system"])
async def get_health(request: Request, state: State) -> Response:
    """Whether this process reaches its database. Needs no key."""
    try:
        async with asyncio.timeout(5):
            await state.reader.fetch(HUB_ORG, keys.KEY_ROLE, HUB_ORG)
    except (DatabaseGone, TimeoutError):
        body = orjson.dumps({"status": "unavailable", "version": VERSION})
        return Response(body, 503, {"cache-control": "no-store"}, "application/json")
    return answer(request, {"status": "ok", "version": VERSION}, etag=False)


@router.get("/system", response_model=shapes.System, tags=["system"])
async def get_system(request: Request, owner: Owner, state: State) -> Response:
    """The hub as this organisation sees it, and the public keys by which its receipts and evidence are checked."""
    rows = await state.reader.fetch(owner.org_id, organisations.HEALTH)
    known = {key_id(k): k for k in (state.hub_key_raw, *state.parts.hub_keys)}
    body = {"version": VERSION, "hub_keys": [hub_key_view(k) for k in known.values()]} | asdict(rows[0])
    return answer(request, body)


@router.get("/keys", response_model=shapes.Page[shapes.Key], tags=["account"])
async def list_keys(request: Request, owner: Admin, state: State) -> Response:
    """The organisation's API keys, revoked ones too."""
    rows = await state.reader.fetch(owner.org_id, keys.LIST_KEYS)
    return answer(request, {"items": [asdict(k) for k in rows], "next_cursor": None})


@router.post("/keys", status_code=201, response_model=shapes.MadeKey, tags=["account"])
async def create_key(request: Request, owner: Admin, state: State, body: shapes.NewKey) -> Response:
    """Make a key. It is shown in this answer and never again."""
    secret = new_api_key()
    hashed = state.tokens.keyed_hash(secret)
    made = await state.write(
        actor(request, owner),
        lambda conn: keys.create_key(conn, owner.org_id, new_id(), body.name, body.role, hashed, body.expires_utc_us),
    )
    return answer(request, asdict(made) | {"key": secret}, 201)


@router.post("/keys/{key_id}/revoke", response_model=shapes.Key, tags=["account"])
async def revoke_key(request: Request, owner: Admin, state: State, key_id: UUID) -> Response:
    """Revoke a key: refused at once here, and within seconds by every other process."""
    revoked = await state.write(actor(request, owner), lambda conn: keys.revoke_key(conn, owner.org_id, key_id))
    if revoked is None:
        raise not_found("key")
    request.app.state.auth.forget(key_id)
    return answer(request, asdict(revoked))

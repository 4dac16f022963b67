"""Maintenance: scores, trends, components, limits, work orders."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar
from uuid import UUID

import psycopg
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from hub.api import maintenance_shapes as shapes
from hub.api.auth import Operator, Owner, State, actor
from hub.api.paging import Cursor, Limit, answer, open_cursor, page
from hub.api.problems import Problem, not_found
from hub.api.routes_aircraft import find_aircraft
from hub.api.routes_flights import find_flight
from hub.api.shapes import Page
from hub.api.state import Actor, ApiState
from hub.store import components, maintenance, work_orders
from hub.store.components import Misplaced
from hub.store.work_orders import PartWork, WrongStep

router = APIRouter(prefix="/v1", tags=["maintenance"])
T = TypeVar("T")


@router.get("/maintenance", response_model=Page[shapes.Score])
async def list_scores(
    request: Request, owner: Owner, state: State, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """How urgent each aircraft's maintenance is, and why; by name."""
    after = open_cursor(state.tokens, "maintenance", cursor, 2)
    rows = await state.reader.fetch(owner.org_id, maintenance.LIST_SCORES, *after, limit + 1)
    body = page(state.tokens, "maintenance", rows, limit, asdict, lambda s: [s.aircraft_name, s.aircraft_id])
    return answer(request, body)


@router.get("/aircraft/{aircraft_id}/maintenance", response_model=shapes.Maintenance)
async def get_maintenance(request: Request, owner: Owner, state: State, aircraft_id: UUID) -> Response:
    """One aircraft's score with its reasons, trends over its flights, and what is mounted on it."""
    scores, trends, parts = await asyncio.gather(
        state.reader.fetch(owner.org_id, maintenance.GET_SCORE, aircraft_id),
        state.reader.fetch(owner.org_id, maintenance.TRENDS, aircraft_id),
        state.reader.fetch(owner.org_id, components.LIST_COMPONENTS, aircraft_id, None, None, None, None, 200),
    )
    if not scores:
        raise not_found("aircraft")
    more = {"trends": [asdict(t) for t in trends], "components": [asdict(c) for c in parts]}
    return answer(request, asdict(scores[0]) | more)


@router.get("/aircraft/{aircraft_id}/rollups", response_model=Page[shapes.FlightRollup])
async def list_rollups(
    request: Request, owner: Owner, state: State, aircraft_id: UUID, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """What each flight of the aircraft did, newest first."""
    await find_aircraft(state, owner.org_id, aircraft_id)
    purpose = f"rollups {aircraft_id}"
    after = open_cursor(state.tokens, purpose, cursor, 2)
    rows = await state.reader.fetch(owner.org_id, maintenance.LIST_ROLLUPS, aircraft_id, *after, limit + 1)
    body = page(state.tokens, purpose, rows, limit, asdict, lambda r: [r.started_utc_us, r.flight_id])
    return answer(request, body)


@router.get("/components", response_model=Page[shapes.Component])
async def list_components(
    request: Request, owner: Owner, state: State, aircraft_id: UUID | None = None,
    kind: shapes.ComponentKind | None = None, cursor: Cursor = None, limit: Limit = 50,
) -> Response:  # fmt: skip
    """Components with their hours and cycles, by kind and name."""
    after = open_cursor(state.tokens, "components", cursor, 3)
    rows = await state.reader.fetch(owner.org_id, components.LIST_COMPONENTS, aircraft_id, kind, *after, limit + 1)
    return answer(request, page(state.tokens, "components", rows, limit, asdict, lambda c: [c.kind, c.name, c.id]))


@router.post("/components", status_code=201, response_model=shapes.ComponentDetail)
async def create_component(request: Request, owner: Operator, state: State, body: shapes.NewComponent) -> Response:
    """Make a part known; it is on the shelf until it is installed."""
    try:
        made = await state.write(
            actor(request, owner), lambda conn: components.create(conn, owner.org_id, **body.model_dump())
        )
    except psycopg.errors.UniqueViolation:
        raise Problem(409, "known_serial", f"There is a {body.kind} with serial {body.serial} already.") from None
    return answer(request, await _component(state, owner.org_id, made), 201)


@router.get("/components/{component_id}", response_model=shapes.ComponentDetail)
async def get_component(request: Request, owner: Owner, state: State, component_id: UUID) -> Response:
    """One component with where it was, from when to when."""
    return answer(request, await _component(state, owner.org_id, component_id))


@router.post("/aircraft/{aircraft_id}/components/{component_id}/install", response_model=shapes.ComponentDetail)
async def install_component(
    request: Request, owner: Operator, state: State, aircraft_id: UUID, component_id: UUID,
    body: shapes.Placing | None = None,
) -> Response:  # fmt: skip
    """Mount a component. Hours and cycles of every flight that begins from then on are its own."""
    await find_aircraft(state, owner.org_id, aircraft_id)
    wish = body or shapes.Placing()
    found = await _change(
        state, actor(request, owner),
        lambda conn: components.install(
            conn, owner.org_id, component_id, aircraft_id, wish.position, wish.installed_utc_us
        ),
    )  # fmt: skip
    if not found:
        raise not_found("component")
    return answer(request, await _component(state, owner.org_id, component_id))


@router.post("/aircraft/{aircraft_id}/components/{component_id}/remove", response_model=shapes.ComponentDetail)
async def remove_component(
    request: Request, owner: Operator, state: State, aircraft_id: UUID, component_id: UUID,
    body: shapes.Removing | None = None,
) -> Response:  # fmt: skip
    """Take a component off."""
    await find_aircraft(state, owner.org_id, aircraft_id)
    wish = body or shapes.Removing()
    found = await _change(
        state, actor(request, owner),
        lambda conn: components.remove(conn, owner.org_id, component_id, aircraft_id, wish.removed_utc_us),
    )  # fmt: skip
    if not found:
        raise not_found("component")
    return answer(request, await _component(state, owner.org_id, component_id))


@router.get("/flights/{flight_id}/batteries", response_model=Page[shapes.Component])
async def list_flight_batteries(request: Request, owner: Owner, state: State, flight_id: UUID) -> Response:
    """The batteries that a person named for the flight; none: those count that were installed."""
    await find_flight(state, owner.org_id, flight_id)
    return answer(request, _all(await state.reader.fetch(owner.org_id, components.FLIGHT_BATTERIES, flight_id)))


@router.patch("/flights/{flight_id}/batteries", response_model=Page[shapes.Component])
async def set_flight_batteries(
    request: Request, owner: Operator, state: State, flight_id: UUID, body: shapes.FlightBatteries
) -> Response:
    """Say which batteries flew, whatever is installed; an empty list takes it back."""
    await find_flight(state, owner.org_id, flight_id)
    rows = await _change(
        state, actor(request, owner),
        lambda conn: components.set_flight_batteries(conn, owner.org_id, flight_id, body.batteries),
    )  # fmt: skip
    return answer(request, _all(rows))


@router.get("/maintenance/limits", response_model=Page[shapes.Limit])
async def list_limits(request: Request, owner: Owner, state: State) -> Response:
    """How long each kind of component may be used between services."""
    return answer(request, _all(await state.reader.fetch(owner.org_id, components.LIMITS)))


@router.patch("/maintenance/limits", response_model=Page[shapes.Limit])
async def set_limit(request: Request, owner: Operator, state: State, body: shapes.NewLimit) -> Response:
    """Set the organisation's own limit of a kind; all limits as they are then."""
    rows = await state.write(
        actor(request, owner),
        lambda conn: components.set_limit(conn, owner.org_id, body.kind, body.quantity, body.most),
    )
    return answer(request, _all(rows))


@router.get("/work-orders", response_model=Page[shapes.WorkOrder])
async def list_work_orders(
    request: Request, owner: Owner, state: State, aircraft_id: UUID | None = None, cursor: Cursor = None,
    limit: Limit = 50,
    is_open: Annotated[bool | None, Query(alias="open", description="true: neither done nor cancelled")] = None,
) -> Response:  # fmt: skip
    """Work orders, newest first."""
    after = open_cursor(state.tokens, "work-orders", cursor, 2)
    rows = await state.reader.fetch(owner.org_id, work_orders.LIST_ORDERS, aircraft_id, is_open, *after, limit + 1)
    return answer(request, page(state.tokens, "work-orders", rows, limit, asdict, lambda w: [w.created_utc_us, w.id]))


@router.post("/aircraft/{aircraft_id}/work-orders", status_code=201, response_model=shapes.WorkOrderDetail)
async def create_work_order(
    request: Request, owner: Operator, state: State, aircraft_id: UUID, body: shapes.NewWorkOrder
) -> Response:
    """Open a work order."""
    await find_aircraft(state, owner.org_id, aircraft_id)
    who = actor(request, owner)
    try:
        row = await state.write(
            who, lambda conn: work_orders.create(conn, owner.org_id, aircraft_id, who.name, **body.model_dump())
        )
    except psycopg.errors.ForeignKeyViolation:
        raise not_found("component") from None
    return answer(request, await _order(state, owner.org_id, row.id), 201)


@router.get("/work-orders/{work_order_id}", response_model=shapes.WorkOrderDetail)
async def get_work_order(request: Request, owner: Owner, state: State, work_order_id: UUID) -> Response:
    """One work order with its signatures and parts."""
    return answer(request, await _order(state, owner.org_id, work_order_id))


@router.post("/work-orders/{work_order_id}/sign", response_model=shapes.WorkOrderDetail)
async def sign_work_order(
    request: Request, owner: Operator, state: State, work_order_id: UUID, body: shapes.NewSignature
) -> Response:
    """Sign a step: open to in_progress, that to done; both to cancelled. Parts change with `done`, or nothing does."""
    parts = [PartWork(p.action, p.component_id, p.position) for p in body.parts]
    found = await _change(
        state, actor(request, owner),
        lambda conn: work_orders.sign(
            conn, owner.org_id, work_order_id, body.state, body.signed_by, owner.key_id, body.note, parts
        ),
    )  # fmt: skip
    if not found:
        raise not_found("work order")
    return answer(request, await _order(state, owner.org_id, work_order_id))


async def _change(state: ApiState, who: Actor, work: Callable[[psycopg.Connection[Any]], T]) -> T:
    """A write. Problem 409 when it contradicts where things are or how far an order is."""
    try:
        return await state.write(who, work)
    except Misplaced as error:
        raise Problem(409, "misplaced", str(error)) from None
    except WrongStep as error:
        raise Problem(409, "wrong_step", str(error)) from None


async def _component(state: ApiState, org_id: UUID, component_id: UUID) -> dict[str, Any]:
    rows, stays = await asyncio.gather(
        state.reader.fetch(org_id, components.GET_COMPONENT, component_id),
        state.reader.fetch(org_id, components.INSTALLATIONS, component_id),
    )
    if not rows:
        raise not_found("component")
    return asdict(rows[0]) | {"installations": [asdict(i) for i in stays]}


async def _order(state: ApiState, org_id: UUID, order_id: UUID) -> dict[str, Any]:
    rows, signatures, parts = await asyncio.gather(
        state.reader.fetch(org_id, work_orders.GET_ORDER, order_id),
        state.reader.fetch(org_id, work_orders.SIGNATURES, order_id),
        state.reader.fetch(org_id, work_orders.PARTS, order_id),
    )
    if not rows:
        raise not_found("work order")
    return asdict(rows[0]) | {"signatures": [asdict(s) for s in signatures], "parts": [asdict(p) for p in parts]}


def _all(rows: list[Any]) -> dict[str, Any]:
    """A list that is never longer than a page."""
    return {"items": [asdict(r) for r in rows], "next_cursor": None}

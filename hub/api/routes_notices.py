"""Alerts, and input that was refused."""

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from hub.api import shapes
from hub.api.auth import Operator, Owner, State, actor
from hub.api.paging import Cursor, Limit, answer, open_cursor, page
from hub.api.problems import not_found
from hub.store import notices

router = APIRouter(prefix="/v1", tags=["notices"])


@router.get("/alerts", response_model=shapes.Page[shapes.Alert])
async def list_alerts(
    request: Request, owner: Owner, state: State, cursor: Cursor = None, limit: Limit = 50,
    is_open: Annotated[bool | None, Query(alias="open", description="true: not yet acknowledged")] = None,
) -> Response:  # fmt: skip
    """Alerts of the organisation, newest first."""
    after = open_cursor(state.tokens, "alerts", cursor, 2)
    rows = await state.reader.fetch(owner.org_id, notices.LIST_ALERTS, is_open, *after, limit + 1)
    return answer(request, page(state.tokens, "alerts", rows, limit, asdict, lambda a: [a.raised_utc_us, a.id]))


@router.post("/alerts/{alert_id}/acknowledge", response_model=shapes.Alert)
async def acknowledge_alert(request: Request, owner: Operator, state: State, alert_id: UUID) -> Response:
    """Say that somebody has seen to it."""
    who = actor(request, owner)
    row = await state.write(who, lambda conn: notices.acknowledge(conn, owner.org_id, alert_id, who.name))
    if row is None:
        raise not_found("alert")
    return answer(request, asdict(row))


@router.get("/quarantine", response_model=shapes.Page[shapes.Refusal])
async def list_quarantine(
    request: Request, owner: Owner, state: State, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """Batches that were refused, each with its reason, newest first. They stop nothing else."""
    after = open_cursor(state.tokens, "quarantine", cursor, 2)
    rows = await state.reader.fetch(owner.org_id, notices.LIST_QUARANTINE, *after, limit + 1)
    return answer(
        request, page(state.tokens, "quarantine", rows, limit, _refusal, lambda q: [q.last_seen_utc_us, q.id])
    )


def _refusal(row: notices.QuarantineRow) -> dict[str, Any]:
    return asdict(row) | {"key_id": row.key_id.hex() if row.key_id else None, "digest": row.digest.hex()}

"""Feedback: what people say of findings, and its export as training data where the organisation agreed."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any
from uuid import UUID

import orjson
import psycopg
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hub.api import maintenance_shapes as shapes
from hub.api.auth import Admin, Operator, Owner, State, actor
from hub.api.paging import answer
from hub.api.problems import Problem, not_found
from hub.api.routes_flights import find_flight
from hub.api.shapes import Page
from hub.api.state import Actor, ApiState
from hub.store import feedback

router = APIRouter(prefix="/v1", tags=["feedback"])
EXAMPLES_AT_ONCE = 20
_NDJSON = "application/x-ndjson"
_EXPORT: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {_NDJSON: {}},
        "description": "One labelled example per line, for `dbx models train --with-feedback`",
    }
}


@router.post("/findings/{finding_id}/feedback", status_code=201, response_model=shapes.Feedback)
async def give_feedback(
    request: Request, owner: Operator, state: State, finding_id: UUID, body: shapes.NewFeedback
) -> Response:
    """Confirm or reject a finding. The newest verdict of a key counts; those before it stay as its history."""
    row = await state.write(
        actor(request, owner),
        lambda conn: feedback.give(
            conn, owner.org_id, finding_id, owner.key_id, body.verdict, body.kind, body.note
        ),
    )  # fmt: skip
    if row is None:
        raise not_found("finding")
    return answer(request, asdict(row), 201)


@router.get("/flights/{flight_id}/feedback", response_model=Page[shapes.Feedback])
async def list_feedback(request: Request, owner: Owner, state: State, flight_id: UUID) -> Response:
    """What people said of the flight's findings, newest first, history included."""
    await find_flight(state, owner.org_id, flight_id)
    rows = await state.reader.fetch(owner.org_id, feedback.FLIGHT_FEEDBACK, flight_id)
    return answer(request, {"items": [asdict(r) for r in rows], "next_cursor": None})


@router.get("/feedback/settings", response_model=shapes.FeedbackSettings)
async def get_feedback_settings(request: Request, owner: Owner, state: State) -> Response:
    """Whether the organisation agreed to share feedback."""
    return answer(request, {"share_feedback": await _is_shared(state, owner.org_id)})


@router.patch("/feedback/settings", response_model=shapes.FeedbackSettings)
async def set_feedback_settings(
    request: Request, owner: Admin, state: State, body: shapes.FeedbackSettings
) -> Response:
    """Give the organisation's consent, or take it back (what was exported before stays where it is)."""
    await state.write(actor(request, owner), lambda conn: feedback.set_sharing(conn, owner.org_id, body.share_feedback))
    return answer(request, body.model_dump())


@router.get("/feedback/export", responses=_EXPORT, response_class=StreamingResponse)
async def export_feedback(request: Request, owner: Operator, state: State) -> StreamingResponse:
    """Current verdicts with the feature vectors of their findings, a JSON object per line: no places, times of day or
    notes. 403 `no_consent` unless the organisation agreed."""
    if not await _is_shared(state, owner.org_id):
        raise Problem(
            403, "no_consent", "Your organisation has not agreed to share feedback (PATCH /v1/feedback/settings)."
        )
    headers = {"cache-control": "no-store", "content-disposition": 'attachment; filename="feedback.ndjson"'}
    return StreamingResponse(_lines(state, actor(request, owner)), 200, headers, _NDJSON)


def _lines(state: ApiState, who: Actor) -> Iterator[bytes]:
    """Page by page, each in a transaction of its own."""
    found = state.write_now(who, _page(who.org_id, None))
    while found:
        yield b"".join(orjson.dumps(example) + b"\n" for _, example in found)
        found = state.write_now(who, _page(who.org_id, found[-1][0]))


def _page(org_id: UUID, after: UUID | None) -> Callable[[psycopg.Connection[Any]], list[tuple[UUID, dict[str, Any]]]]:
    return lambda conn: feedback.export_page(conn, org_id, after, EXAMPLES_AT_ONCE)


async def _is_shared(state: ApiState, org_id: UUID) -> bool:
    return (await state.reader.fetch(org_id, feedback.SETTINGS))[0]

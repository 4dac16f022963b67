"""Recorded logs: lists, detail, whose they are, their bytes again, uploads; and what stations ask."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

import cbor2
import psycopg
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hub.api import shapes
from hub.api.auth import Operator, Owner, State, actor
from hub.api.device_auth import authenticated_body
from hub.api.log_uploads import spooled, take_upload
from hub.api.paging import Cursor, Limit, answer, open_cursor, page
from hub.api.problems import Problem, invalid, not_found
from hub.api.routes_aircraft import find_aircraft
from hub.api.state import Actor, ApiState
from hub.api.views import log_session_view, log_view
from hub.store import jobs, log_arrivals, log_reads, logs
from hub.store.log_arrivals import DeliveryRow, log_id
from hub.store.log_reads import LogView
from hub.worker.log_bytes import unpacked
from shared.envelope import LOG_RECEIPT_TYPE, seal
from shared.errors import MALFORMED
from shared.receipt import MAX_LOGS, LogCommitted, LogReceipt, encode_log_receipt

router = APIRouter(prefix="/v1", tags=["logs"])
LogState = Literal["arriving", "whole", "damaged_in_transit", "parsed", "unassigned", "failed"]
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "the log, byte for byte as it was imported"}
}
_LOG_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_CBOR = "application/cbor"
_RECEIPT: dict[int | str, dict[str, Any]] = {200: {"content": {_CBOR: {}}, "description": "log receipt envelope"}}
_NAMES = {"requestBody": {"required": True, "content": {_CBOR: {"schema": {"type": "string", "format": "binary"}}}}}


@router.get("/logs", response_model=shapes.Page[shapes.Log])
async def list_logs(
    request: Request, owner: Owner, state: State, aircraft_id: UUID | None = None, cursor: Cursor = None,
    limit: Limit = 50, log_state: Annotated[LogState | None, Query(alias="state")] = None,
) -> Response:  # fmt: skip
    """Recorded logs, newest first. A log that another one holds whole is not shown beside it."""
    after = open_cursor(state.tokens, "logs", cursor, 2)
    rows = await state.reader.fetch(owner.org_id, log_reads.LIST_LOGS, log_state, aircraft_id, *after, limit + 1)
    body = page(
        state.tokens, "logs", rows, limit, log_view, lambda row: [row.first_seen_utc_us, row.sha256.hex()]
    )  # fmt: skip
    return answer(request, body)


@router.post("/logs", status_code=202, response_model=shapes.UploadedLogs, openapi_extra=_LOG_BODY)
async def upload_log(
    request: Request, owner: Operator, state: State,
    name: Annotated[str, Query(min_length=1, max_length=400, description="the file's name")] = "upload",
    aircraft_id: Annotated[UUID | None, Query(description="whose log it is; without: by its hardware ids")] = None,
) -> Response:  # fmt: skip
    """Import a log, plain or packed (zst, gz, zip); the same again is the same log. It is read soon after."""
    if state.parts.receiving is None:
        raise Problem(503, "unavailable", "This process does not take logs.")
    if aircraft_id is not None:
        await _check_aircraft(state, owner.org_id, aircraft_id)
    who = actor(request, owner)
    async with spooled(request, state.parts.spool) as path, state.heavy:
        names = await asyncio.to_thread(take_upload, state, who, path, name, aircraft_id)
    items = [log_view(await find_log(state, owner.org_id, n)) for n in dict.fromkeys(names)]
    return answer(request, {"items": items}, 202)


@router.get("/logs/{sha256}", response_model=shapes.LogDetail)
async def get_log(request: Request, owner: Owner, state: State, sha256: str) -> Response:
    """One log: what is in it, what of it is damaged, how it came, and the flights that it is part of."""
    name = _name(sha256)
    log, content, deliveries, sessions, parts = await asyncio.gather(
        find_log(state, owner.org_id, name),
        state.reader.fetch(owner.org_id, log_reads.LOG_CONTENT, name),
        state.reader.fetch(owner.org_id, log_reads.LOG_DELIVERIES, name),
        state.reader.fetch(owner.org_id, log_reads.LOG_SESSIONS, name),
        state.reader.fetch(owner.org_id, log_reads.LOG_PARTS_OF, name),
    )
    body = log_view(log) | asdict(content[0]) | {
        "copies": [asdict(d) for d in deliveries],
        "sessions": [log_session_view(s) for s in sessions],
        "parts": [bytes(p).hex() for p in parts],
    }  # fmt: skip
    return answer(request, body)


@router.patch("/logs/{sha256}", response_model=shapes.Log)
async def assign_log(
    request: Request, owner: Operator, state: State, sha256: str, body: shapes.LogAssignment
) -> Response:
    """Say whose a log is (null: nobody says). It goes before what importers and hardware ids say."""
    name = _name(sha256)
    await find_log(state, owner.org_id, name)
    if body.aircraft_id is not None:
        await _check_aircraft(state, owner.org_id, body.aircraft_id)

    def say(conn: "psycopg.Connection[tuple[object, ...]]") -> None:
        logs.assign(conn, owner.org_id, name, body.aircraft_id, f"key {owner.key_id}")
        jobs.enqueue(conn, owner.org_id, "log", {log_id(name): 0.0})

    await state.write(actor(request, owner), say)
    return answer(request, log_view(await find_log(state, owner.org_id, name)), etag=False)


@router.get("/logs/{sha256}/original", responses=_BYTES, response_class=StreamingResponse)
async def get_original(request: Request, owner: Owner, state: State, sha256: str) -> StreamingResponse:
    """The log's bytes as they were imported."""
    name = _name(sha256)
    log = await find_log(state, owner.org_id, name)
    who = actor(request, owner)
    delivery = await state.write(who, lambda conn: log_arrivals.whole_delivery(conn, owner.org_id, name))
    if delivery is None:
        raise Problem(409, "not_whole", "Not all of this log is here yet.")
    headers = {
        "content-disposition": f'attachment; filename="{_filename(log)}"', "content-length": str(delivery.size_bytes),
        "cache-control": "private, no-cache", "vary": "authorization, cookie",
    }  # fmt: skip
    return StreamingResponse(original(state, who, delivery), 200, headers, "application/octet-stream")


def original(state: ApiState, who: Actor, delivery: DeliveryRow) -> Iterator[bytes]:
    """A log's bytes, in pieces; each page of envelopes is read in a transaction of its own."""
    return unpacked(lambda work: state.write_now(who, work), who.org_id, delivery)


async def _check_aircraft(state: ApiState, org_id: UUID, aircraft_id: UUID) -> None:
    craft = await find_aircraft(state, org_id, aircraft_id)
    if craft.kind != "aircraft":
        raise invalid("not_an_aircraft", "A log belongs to an aircraft; this is a station.")


async def find_log(state: ApiState, org_id: UUID, name: bytes) -> LogView:
    """A log of the organisation. Problem 404."""
    rows = await state.reader.fetch(org_id, log_reads.GET_LOG, name)
    if not rows:
        raise not_found("log")
    return rows[0]


def _name(sha256: str) -> bytes:
    try:
        raw = bytes.fromhex(sha256)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise not_found("log")
    return raw


def _filename(log: LogView) -> str:
    """The name that it was imported under, without anything that a header or a file system would mind."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in log.name.rpartition("/")[2])
    return plain.strip(".")[-120:] or log.sha256.hex()[:16]


# --- devices ----------------------------------------------------------------------------------------------------------


@router.get("/device/fleet", response_model=shapes.DeviceFleet)
async def device_fleet(request: Request, state: State) -> Response:
    """The organisation's aircraft with the hardware ids that they are known by; an aircraft's device gets it alone."""
    device, _ = await authenticated_body(request, state)
    rows = await state.reader.fetch(device.org_id, log_reads.DEVICE_FLEET, device.aircraft_id)
    body = {"aircraft": [asdict(r) for r in rows], "issued_utc_us": time.time_ns() // 1000}
    return answer(request, body, etag=False)


@router.post("/device/logs", responses=_RECEIPT, response_class=Response, openapi_extra=_NAMES)
async def device_logs(request: Request, state: State) -> Response:
    """Which of these logs (CBOR array of SHA-256s) the hub holds whole, as a signed log receipt."""
    device, body = await authenticated_body(request, state)
    names = _log_names(body)
    rows = await state.reader.fetch(device.org_id, log_reads.WHOLE_LOGS, names)
    receipt = LogReceipt(tuple(LogCommitted(*row) for row in rows), time.time_ns() // 1000)
    signed = seal(encode_log_receipt(receipt), state.parts.hub_key, state.hub_key_id, LOG_RECEIPT_TYPE)
    return Response(signed, 200, {"cache-control": "no-store"}, _CBOR)


def _log_names(body: bytes) -> list[bytes]:
    try:
        names = cbor2.loads(body)
    except MALFORMED:
        names = None
    if type(names) is not list or len(names) > MAX_LOGS or any(type(n) is not bytes or len(n) != 32 for n in names):
        raise invalid("bad_names", f"The body is a CBOR array of at most {MAX_LOGS} SHA-256s, 32 bytes each.")
    return sorted(set(names))

"""Flights: list, detail with completeness, events, findings."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from hub.api import shapes
from hub.api.auth import Owner, State
from hub.api.paging import Cursor, Limit, answer, open_cursor, page
from hub.api.problems import Problem, invalid, not_found
from hub.api.state import ApiState
from hub.api.views import (
    analysis_view,
    bands_view,
    event_view,
    flight_log_view,
    flight_view,
    gap_view,
    missing_ranges,
    source_views,
)
from hub.store import committed, flights, log_reads
from hub.store.flights import FlightDetail, FlightRow
from hub.store.log_reads import FlightLogView
from hub.store.telemetry import assemble, chunks_query
from shared.channels import BY_NAME

router = APIRouter(prefix="/v1", tags=["flights"])
UtcUs = Annotated[int | None, Query(ge=-(1 << 53), le=1 << 53, description="us since 1970 UTC")]
_BANDS = (BY_NAME["armed"], BY_NAME["flight_mode"])


@router.get("/flights", response_model=shapes.Page[shapes.Flight])
async def list_flights(
    request: Request, owner: Owner, state: State, aircraft_id: UUID | None = None, from_utc_us: UtcUs = None,
    to_utc_us: UtcUs = None, cursor: Cursor = None, limit: Limit = 50,
    flight_state: Annotated[Literal["live", "closed"] | None, Query(alias="state")] = None,
) -> Response:  # fmt: skip
    """Flights of the organisation, live ones first, then newest first. A time range selects what overlaps it."""
    check_range(from_utc_us, to_utc_us)
    after = open_cursor(state.tokens, "flights", cursor, 3)
    rows = await state.reader.fetch(
        owner.org_id, flights.LIST_FLIGHTS, flight_state, aircraft_id, from_utc_us, to_utc_us, *after, limit + 1
    )
    body = page(state.tokens, "flights", rows, limit, flight_view, lambda f: [f.state, f.started_utc_us, f.id])
    return answer(request, body)


@router.get("/flights/{flight_id}", response_model=shapes.FlightDetail)
async def get_flight(request: Request, owner: Owner, state: State, flight_id: UUID) -> Response:
    """One flight with its completeness, its armed and mode bands, and its newest analysis."""
    flight, detail = await find_flight(state, owner.org_id, flight_id)
    completeness, bands, analysis, logs, sources = await asyncio.gather(
        _completeness(state, owner.org_id, flight, detail),
        _bands(state, owner.org_id, flight),
        state.reader.fetch(owner.org_id, flights.ANALYSIS, flight_id),
        state.reader.fetch(owner.org_id, log_reads.FLIGHT_LOGS, flight_id),
        state.reader.fetch(owner.org_id, log_reads.FLIGHT_SOURCES, flight_id),
    )
    completeness["statement"] += _said_of_logs(flight, detail, logs)
    body = flight_view(flight) | {
        "stream_id": detail.stream_id,
        "close_reason": detail.close_reason,
        "completeness": completeness,
        "bands": bands,
        "analysis": analysis_view(analysis[0]) if analysis else None,
        "logs": [flight_log_view(f) for f in logs],
        "sources": source_views(sources, detail.stream_id, flight, detail.grid_rows),
    }
    return answer(request, body)


@router.get("/flights/{flight_id}/events", response_model=shapes.Page[shapes.Event])
async def list_events(
    request: Request, owner: Owner, state: State, flight_id: UUID, cursor: Cursor = None, limit: Limit = 200
) -> Response:
    """What happened, in order of time."""
    after = open_cursor(state.tokens, f"events {flight_id}", cursor, 3)
    rows, _ = await asyncio.gather(
        state.reader.fetch(owner.org_id, flights.EVENTS, flight_id, *after, limit + 1),
        find_flight(state, owner.org_id, flight_id),
    )
    body = page(
        state.tokens, f"events {flight_id}", rows, limit, event_view, lambda e: [e.at_utc_us, e.seq, e.event_no]
    )
    return answer(request, body)


@router.get("/flights/{flight_id}/findings", response_model=shapes.Page[shapes.FindingShape])
async def list_findings(
    request: Request, owner: Owner, state: State, flight_id: UUID, cursor: Cursor = None, limit: Limit = 200
) -> Response:
    """What models and rules say of the flight, in order of time."""
    after = open_cursor(state.tokens, f"findings {flight_id}", cursor, 2)
    rows, _ = await asyncio.gather(
        state.reader.fetch(owner.org_id, flights.FINDINGS, flight_id, *after, limit + 1),
        find_flight(state, owner.org_id, flight_id),
    )
    body = page(state.tokens, f"findings {flight_id}", rows, limit, asdict, lambda f: [f.start_utc_us, f.id])
    return answer(request, body)


async def find_flight(state: ApiState, org_id: UUID, flight_id: UUID) -> tuple[FlightRow, FlightDetail]:
    """A flight of the organisation. Problem 404."""
    row, detail = await asyncio.gather(
        state.reader.fetch(org_id, flights.GET_FLIGHT, flight_id),
        state.reader.fetch(org_id, flights.GET_DETAIL, flight_id),
    )
    if not row or not detail:
        raise not_found("flight")
    return row[0], detail[0]


def refuse_without_stream(flight: FlightRow) -> None:
    """Problem 409 for a flight of which no live stream has come: there are no frames of it, and no chain to prove."""
    if flight.origin == "log":
        raise Problem(409, "no_stream", "This flight is known from recorded logs alone; `logs` says from which.")


def check_range(from_utc_us: int | None, to_utc_us: int | None) -> None:
    """Problem 422 when the range is empty."""
    if from_utc_us is not None and to_utc_us is not None and from_utc_us > to_utc_us:
        raise invalid("bad_time_range", "from_utc_us is after to_utc_us.")


async def span_of(state: ApiState, org_id: UUID, flight: FlightRow, detail: FlightDetail) -> tuple[int, int]:
    """(first, last) sequence of the flight's batches as far as known; (1, 0) when there are none."""
    first, last = detail.first_seq, detail.last_seq
    if first is None or last is None:
        found = await state.reader.fetch(org_id, committed.SPAN_OF_SESSION, flight.id, detail.stream_id)
        first = found[0].first_seq if first is None else first
        last = found[0].last_seq if last is None else last
    return (1, 0) if first is None or last is None else (first, last)


async def _bands(state: ApiState, org_id: UUID, flight: FlightRow) -> dict[str, Any]:
    begin, end = flight.started_utc_us, flight.ended_utc_us
    chunks = await state.bulk.fetch(org_id, chunks_query(_BANDS), flight.id, begin, end)
    times, stored = assemble(chunks, _BANDS, begin, end)
    return bands_view(times, stored, flight.mav_autopilot or 0, flight.mav_type or 0)


async def _completeness(state: ApiState, org_id: UUID, flight: FlightRow, detail: FlightDetail) -> dict[str, Any]:
    first, last = await span_of(state, org_id, flight, detail)
    committed_rows, gaps = await asyncio.gather(
        state.reader.fetch(org_id, committed.COMMITTED, detail.stream_id, first, last),
        state.reader.fetch(org_id, committed.GAPS, flight.id, detail.stream_id, first, last),
    )
    held = committed_rows[0]
    missing = missing_ranges(held, gaps, first, last)
    has_manifest = detail.manifest_frames is not None
    return {
        "generated_frames": detail.manifest_frames,
        "sealed_batches": detail.manifest_batches,
        "committed_batches": held.batches,
        "committed_frames": held.frames,
        "missing": [{"first_seq": a, "last_seq": b} for a, b in missing],
        "gaps": [gap_view(g) for g in gaps],
        "wire_lost": detail.wire_lost or {},
        "bad_crc": held.bad_crc if detail.bad_crc is None else detail.bad_crc,
        "junk_bytes": held.junk_bytes if detail.junk_bytes is None else detail.junk_bytes,
        "manifest": has_manifest,
        "chain_ok": held.is_chained,
        "lost_s": detail.lost_rows / 10,
        "filled_s": detail.filled_rows / 10,
        "statement": _statement(detail, flight, held, missing, gaps),
    }


_NEVER_CLOSED = {
    "store_reset": "its recorder's store was damaged or replaced",
    "silent": "nothing has come from it for hours",
}


def _statement(
    detail: flights.FlightDetail, flight: FlightRow, held: committed.Committed, missing: list[tuple[int, int]],
    gaps: list[committed.GapRow],
) -> str:  # fmt: skip
    """The completeness line in plain words, as far as it speaks of the live stream."""
    generated = detail.manifest_frames
    if flight.origin == "log":
        return "Known from recorded logs alone; no live stream of it has come."
    if not held.is_chained:
        return "The chain of batches does not hold: batches of another origin lie among them."
    awaited = sum(b - a + 1 for a, b in missing)
    if generated is None and flight.state == "closed":
        why = _NEVER_CLOSED.get(detail.close_reason or "", "no record says why")
        count = f"{held.frames:,} frames committed; how many more it recorded is not known"
        return f"Never closed by the aircraft ({why}): {count}."
    if generated is None:
        late = f"; {_batches(awaited, 'earlier ')} still to come" if awaited else ""
        return f"In the air, or not yet closed by the aircraft: {held.frames:,} frames committed so far{late}."
    if awaited:
        return f"Incomplete: {held.frames:,} of {generated:,} frames committed; {_batches(awaited)} still to come."
    reasons = ", ".join(sorted({g.reason for g in gaps})) or "no record says why"
    if held.frames == generated:
        if gaps:
            besides = f"what was lost besides is accounted for by signed records: {reasons}"
            return f"All {generated:,} frames that the aircraft sealed are committed; {besides}."
        return f"Complete: all {generated:,} frames that the aircraft journaled are committed."
    return f"{held.frames:,} of {generated:,} frames committed; the rest is accounted for by signed records: {reasons}."


def _said_of_logs(flight: FlightRow, detail: FlightDetail, logs: list[FlightLogView]) -> str:
    """What came from logs, to be added to the completeness line."""
    if not logs or flight.origin == "log":
        return ""
    names = " and ".join(dict.fromkeys(f"log {f.name or f.sha256.hex()[:12]}" for f in logs))
    if not detail.lost_rows:
        return f" Also recorded in {names}."
    lost, filled = f"{detail.lost_rows / 10:g} s of live data were lost", detail.filled_rows / 10
    if detail.filled_rows == detail.lost_rows:
        return f" {lost}; all of it filled from {names}."
    return f" {lost}; {filled:g} s of it filled from {names}." if filled else f" {lost}; {names} has none of it."


def _batches(count: int, which: str = "") -> str:
    return f"1 {which}batch is" if count == 1 else f"{count} {which}batches are"

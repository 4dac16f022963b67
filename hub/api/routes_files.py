"""A flight or a stream as a file: the exact frames as `.tlog`, the evidence as `.dbxe`. Streamed page by page; every
page is a short transaction of its own, so that a slow reader holds nothing in the database."""

import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import StreamingResponse

from firmware_bridge.log_source import LogSource
from hub.api.auth import Owner, State, actor
from hub.api.problems import Problem, invalid, not_found
from hub.api.routes_flights import find_flight, span_of
from hub.api.routes_logs import find_log, original
from hub.api.routes_telemetry import Private, read_series, with_left_out
from hub.api.state import Actor, ApiState
from hub.export.evidence import DeviceKey, Header, write_evidence
from hub.export.files import EVIDENCE_MEDIA_TYPE, TLOG_TYPE, FetchPage, find_close, frame_parts, pages, tlog_parts
from hub.export.log_files import ENDINGS, Wish, export_log
from hub.export.mcap import MCAP_TYPE
from hub.export.private_frames import homes_in, private_frames
from hub.export.private_series import NEEDED as PRIVATE_NEEDS
from hub.export.private_series import privacy_of
from hub.export.tables import TABLE_TYPES
from hub.export.track import TRACK_TYPES
from hub.store import aircraft, committed, log_arrivals
from hub.store.committed import EnvelopeRow, GapRow
from hub.store.flights import FlightDetail, FlightRow
from hub.store.keys import KeyOwner
from shared.channels import BY_NAME
from shared.clock import ClockSource
from shared.frames import Frames
from shared.ids import key_id

Responses = dict[int | str, dict[str, Any]]
router = APIRouter(prefix="/v1", tags=["files"])
_TLOG: Responses = {200: {"content": {TLOG_TYPE: {}}, "description": "MAVLink telemetry log"}}
_EVIDENCE: Responses = {
    200: {"content": {EVIDENCE_MEDIA_TYPE: {}}, "description": "Evidence file; check it with `dbx verify`"}
}
_MEDIA_TYPES = TABLE_TYPES | TRACK_TYPES | {"mcap": MCAP_TYPE, "original": "application/octet-stream"}
_EXPORT: Responses = {
    200: {"content": {t: {} for t in dict.fromkeys(_MEDIA_TYPES.values())}, "description": "The log, exported"}
}
_ALL = (1 << 63) - 1
_CLOSE_WITHIN = 2000
"""The closing record is looked for in so many batches after the flight's last."""


@router.get("/flights/{flight_id}/flight.tlog", responses=_TLOG, response_class=StreamingResponse)
async def get_tlog(
    request: Request, owner: Owner, state: State, flight_id: UUID, private: Private = False
) -> StreamingResponse:
    """Every frame of the flight, bit for bit, pre-roll included, with its time in UTC. Private: see docs/exports.md."""
    flight, detail = await find_flight(state, owner.org_id, flight_id)
    first, last = await span_of(state, owner.org_id, flight, detail)
    who = actor(request, owner)
    others = await state.reader.fetch(owner.org_id, committed.OTHER_SPANS, flight_id, detail.stream_id)
    clocks = await _clocks(state, who, detail.stream_id)
    offset = detail.clock_offset_us if flight.clock_source != ClockSource.unknown else None
    spans = [(detail.stream_id, first, last), *others]

    def frames() -> Iterator[tuple[Frames, int]]:
        return itertools.chain.from_iterable(
            frame_parts(_fetch(state, who, stream), begin, end, clocks, offset) for stream, begin, end in spans
        )

    if not private:
        return _file(tlog_parts(frames()), f"flight-{flight_id}.tlog", TLOG_TYPE)
    series = await read_series(state, owner.org_id, flight, [BY_NAME[c] for c in PRIVATE_NEEDS])
    homes = await asyncio.to_thread(lambda: homes_in(part for part, _ in frames()))
    change = partial(private_frames, privacy_of(series, homes))
    return _file(tlog_parts(frames(), change), "flight-private.tlog", TLOG_TYPE)


@router.get("/streams/{stream_id}/stream.tlog", responses=_TLOG, response_class=StreamingResponse)
async def get_stream_tlog(request: Request, owner: Owner, state: State, stream_id: UUID) -> StreamingResponse:
    """Everything that a recorder sent, also outside flights."""
    if not await state.reader.fetch(owner.org_id, committed.GET_STREAM, stream_id):
        raise not_found("stream")
    who = actor(request, owner)
    clocks = await _clocks(state, who, stream_id)
    parts = tlog_parts(frame_parts(_fetch(state, who, stream_id), 1, _ALL, clocks))
    return _file(parts, f"stream-{stream_id}.tlog", TLOG_TYPE)


@router.get("/flights/{flight_id}/evidence", responses=_EVIDENCE, response_class=StreamingResponse)
async def get_evidence(request: Request, owner: Owner, state: State, flight_id: UUID) -> StreamingResponse:
    """The flight as the aircraft signed it, with receipts and the hub's seal, in one file for `dbx verify`."""
    flight, detail = await find_flight(state, owner.org_id, flight_id)
    first, last = await span_of(state, owner.org_id, flight, detail)
    who = actor(request, owner)
    gaps, keys = await asyncio.gather(
        state.reader.fetch(owner.org_id, committed.GAPS, flight.id, detail.stream_id, first, last),
        state.reader.fetch(owner.org_id, aircraft.DEVICE_KEYS, flight.aircraft_id),
    )
    rows = await asyncio.to_thread(
        _evidence_rows, _fetch(state, who, detail.stream_id), flight, detail, gaps, first, last
    )
    others = {(g.record_stream_id, g.record_seq) for g in gaps if g.record_stream_id != detail.stream_id == g.stream_id}
    told = [await asyncio.to_thread(_fetch(state, who, stream), seq, seq) for stream, seq in sorted(others)]
    header = _header(state, owner, flight, detail, keys)
    digests = {r.seq: r.digest for r in rows}
    newest = max((r.received_utc_us for r in rows), default=0)
    envelopes = [r.envelope for r in (*rows, *(r for found in told for r in found))]
    parts = write_evidence(header, envelopes, digests, newest, state.parts.hub_key, state.hub_key_id)
    return _file(parts, f"flight-{flight_id}.dbxe", EVIDENCE_MEDIA_TYPE)


@router.get("/logs/{sha256}/export", responses=_EXPORT, response_class=StreamingResponse)
async def export_recorded(
    request: Request, owner: Owner, state: State, sha256: str,
    format: Literal["csv", "parquet", "mcap", "geojson", "kml", "gpx", "original"], private: Private = False,
    message: Annotated[str | None, Query(max_length=64, description="csv, parquet: this type, at full rate")] = None,
) -> StreamingResponse:  # fmt: skip
    """A recorded log for other tools; private: elsewhere, see docs/exports.md."""
    if message and format not in ("csv", "parquet"):
        raise invalid("bad_message", "One message type comes as csv or parquet; mcap holds all of them.")
    name, pieces = await _log_bytes(request, owner, state, sha256)
    wish = Wish(format, messages=(message,) if message else (), private=private)
    async with state.heavy:
        made = await asyncio.to_thread(_exported, pieces, wish)
    if made is None:
        raise not_found("message type in this log")
    file = f"{'private' if private else name.hex()[:16]}.{made.ending}"
    return with_left_out(_file(made.parts(), file, _MEDIA_TYPES[format]), made.left_out)


async def _log_bytes(request: Request, owner: Owner, state: State, sha256: str) -> tuple[bytes, Iterator[bytes]]:
    """(SHA-256, the log's bytes). Problem 404: no such log; 409: not all of it is here yet."""
    try:
        name = bytes.fromhex(sha256)
    except ValueError:
        raise not_found("log") from None
    await find_log(state, owner.org_id, name)
    who = actor(request, owner)
    delivery = await state.write(who, lambda conn: log_arrivals.whole_delivery(conn, owner.org_id, name))
    if delivery is None:
        raise Problem(409, "not_whole", "Not all of this log is here yet.")
    return name, original(state, who, delivery)


@dataclass(frozen=True, slots=True)
class _Exported:
    """A finished export in a folder that goes when it has been sent."""

    folder: tempfile.TemporaryDirectory[str]
    path: Path
    ending: str
    left_out: dict[str, Any] | None

    def parts(self) -> Iterator[bytes]:
        with self.folder, self.path.open("rb") as stream:
            while part := stream.read(1 << 18):
                yield part


def _exported(pieces: Iterable[bytes], wish: Wish) -> _Exported | None:
    """The log on disk, then the export of it: neither is ever whole in memory. None: it has no such messages."""
    folder = tempfile.TemporaryDirectory(prefix="dbx-export-")
    try:
        log = Path(folder.name) / "log"
        with log.open("wb") as sink:
            for piece in pieces:
                sink.write(piece)
        source = LogSource(log)
        ending = ENDINGS[source.format] if wish.format == "original" else wish.format
        written = export_log(source, wish, Path(folder.name) / f"export.{ending}")
    except BaseException:
        folder.cleanup()
        raise
    if not written.paths:
        folder.cleanup()
        return None
    return _Exported(folder, written.paths[0], ending, written.left_out)


def _evidence_rows(
    fetch: FetchPage, flight: FlightRow, detail: FlightDetail, gaps: list[GapRow], first: int, last: int
) -> list[EnvelopeRow]:
    """The flight's batches, and those that carry its gap records and its closing record, in order of sequence."""
    rows = {r.seq: r for part in pages(fetch, first, last) for r in part}
    carriers = {g.record_seq for g in gaps if g.record_stream_id == detail.stream_id} - rows.keys()
    for seq in carriers:
        rows |= {r.seq: r for r in fetch(seq, seq)}
    if detail.manifest_frames is not None:
        close = find_close(fetch, flight.id, last + 1, last + _CLOSE_WITHIN)
        rows |= {close.seq: close} if close else {}
    return [rows[s] for s in sorted(rows)]


def _header(
    state: ApiState, owner: KeyOwner, flight: FlightRow, detail: FlightDetail, keys: list[aircraft.DeviceKeyRow]
) -> Header:
    return Header(
        flight=flight.id,
        stream=detail.stream_id,
        boot=detail.boot_id,
        org_id=owner.org_id,
        org_name=owner.org_name,
        aircraft_id=flight.aircraft_id,
        aircraft_name=flight.aircraft_name,
        made_utc_us=time.time_ns() // 1000,
        device_keys=tuple(DeviceKey(k.key_id, k.public_key, k.created_utc_us, k.revoked_utc_us) for k in keys),
        hub_keys=tuple({key_id(k): k for k in (state.hub_key_raw, *state.parts.hub_keys)}.values()),
    )


async def _clocks(state: ApiState, who: Actor, stream_id: UUID) -> dict[UUID, int]:
    return await state.write(who, lambda conn: committed.boot_clocks(conn, who.org_id, stream_id))


def _fetch(state: ApiState, who: Actor, stream_id: UUID) -> FetchPage:
    """Pages of a stream's envelopes, each read in a transaction of its own."""
    return lambda first, last: state.write_now(
        who, lambda conn: committed.envelopes(conn, who.org_id, stream_id, first, last)
    )


def _file(parts: Iterator[bytes], name: str, media_type: str) -> StreamingResponse:
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "cache-control": "private, no-cache",
        "vary": "authorization, cookie",
    }
    return StreamingResponse(parts, 200, headers, media_type)

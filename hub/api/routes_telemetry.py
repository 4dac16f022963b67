"""Telemetry and tracks of a flight, in the formats that people use."""

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from hub.api import shapes
from hub.api.auth import Owner, State
from hub.api.paging import answer, answer_bytes
from hub.api.problems import invalid
from hub.api.routes_flights import UtcUs, check_range, find_flight
from hub.api.state import ApiState
from hub.export.mcap import MCAP_TYPE, series_mcap
from hub.export.private_series import NEEDED, privacy_of, private_series
from hub.export.series import Series, buckets
from hub.export.tables import TABLE_TYPES, bucket_json, bucket_table, raw_json, raw_table, to_bytes
from hub.export.track import CHANNELS as TRACK_CHANNELS
from hub.export.track import TRACK_TYPES, to_geojson, to_gpx, to_kml, track_of
from hub.store.flights import FlightRow
from hub.store.telemetry import COUNT_ROWS, assemble, chunks_query
from shared.channels import BY_NAME, CHANNELS, Channel
from shared.clock import ClockSource

R = TypeVar("R", bound=Response)
router = APIRouter(prefix="/v1", tags=["telemetry"])
MAX_VALUES = 8_000_000
"""Values that one request may read."""
MAX_RAW_JSON_VALUES = 2_000_000
"""Values that one answer in JSON or CSV may hold."""
MAX_POINTS = 20_000
_LONGEST_HEADER = 3000
PAD_US = 120_000_000
"""Rows may lie a little outside the flight proper: what came before arming, what came after."""
Private = Annotated[bool, Query(description="moved elsewhere, without home and whatever tells the place")]
_FILE: dict[str, Any] = {"content": {t: {} for t in (*TABLE_TYPES.values(), MCAP_TYPE)}, "model": shapes.Telemetry}
_TRACK: dict[int | str, dict[str, Any]] = {
    200: {"content": {t: {} for t in TRACK_TYPES.values()}, "description": "The track"}
}


@router.get("/channels", response_model=list[shapes.ChannelShape])
async def list_channels(request: Request, owner: Owner) -> Response:
    """The canonical quantities, in their fixed order."""
    names = list(shapes.ChannelShape.model_fields)
    return answer(request, [{n: getattr(c, n) for n in names} for c in CHANNELS])


@router.get("/flights/{flight_id}/telemetry", response_model=shapes.Telemetry, responses={200: _FILE})
async def get_telemetry(
    request: Request, owner: Owner, state: State, flight_id: UUID,
    channels: Annotated[str | None, Query(max_length=4000, description="names, commas between; default all")] = None,
    from_utc_us: UtcUs = None, to_utc_us: UtcUs = None,
    resolution: Annotated[str, Query(pattern="^(raw|[1-9][0-9]{0,5})$", description="raw, or so many buckets")] = "raw",
    format: Literal["json", "csv", "parquet", "arrow", "mcap"] = "json", private: Private = False,
) -> Response:  # fmt: skip
    """Channels over a time range: every 10 Hz sample (raw), or min, max and mean in equal buckets. Array channels are
    asked for as `motor_output_us` and come as `motor_output_us[0]`, `[1]`, ... MCAP has every sample. Private: see
    docs/exports.md."""
    wanted = _channels(channels)
    check_range(from_utc_us, to_utc_us)
    points = None if resolution == "raw" else int(resolution)
    if points is not None and points > MAX_POINTS:
        raise invalid("too_many_points", f"At most {MAX_POINTS} buckets; without buckets ask for resolution=raw.")
    flight, _ = await find_flight(state, owner.org_id, flight_id)
    async with state.heavy:
        series, left_out = await _read(state, owner.org_id, flight, wanted, (from_utc_us, to_utc_us), private)
        values = len(series.time_utc_us) * sum(c.size for c in wanted)
        if (points is None or format == "mcap") and format not in ("parquet", "arrow") and values > MAX_RAW_JSON_VALUES:
            raise _too_many(values, MAX_RAW_JSON_VALUES)
        data = await asyncio.to_thread(_encode, series, points, format)
    ending = "arrows" if format == "arrow" else format
    name = None if format == "json" else f"flight-{'private' if private else flight_id}.{ending}"
    media_type = MCAP_TYPE if format == "mcap" else TABLE_TYPES[format]
    return with_left_out(answer_bytes(request, data, media_type, filename=name), left_out)


@router.get("/flights/{flight_id}/track", responses=_TRACK, response_class=Response)
async def get_track(
    request: Request, owner: Owner, state: State, flight_id: UUID, format: Literal["geojson", "kml", "gpx"] = "geojson",
    max_points: Annotated[int | None, Query(ge=2, le=100_000, description="thin out evenly to so many")] = None,
    private: Private = False,
) -> Response:  # fmt: skip
    """Where the flight went, as GeoJSON, KML or GPX. Private: elsewhere, see docs/exports.md."""
    flight, _ = await find_flight(state, owner.org_id, flight_id)
    has_time = flight.clock_source != ClockSource.unknown
    write = {"geojson": to_geojson, "kml": to_kml, "gpx": to_gpx}[format]
    async with state.heavy:
        wanted = [BY_NAME[c] for c in TRACK_CHANNELS]
        series, left_out = await _read(state, owner.org_id, flight, wanted, (None, None), private)
        title = "A flight, moved elsewhere" if private else f"{flight.aircraft_name} {flight.id}"
        track = track_of(title, series, has_time, max_points)
        data = await asyncio.to_thread(write, track)
    name = None if format == "geojson" else f"flight-{'private' if private else flight_id}.{format}"
    return with_left_out(answer_bytes(request, data, TRACK_TYPES[format], filename=name), left_out)


async def read_series(
    state: ApiState, org_id: UUID, flight: FlightRow, channels: Sequence[Channel], from_utc_us: int | None = None,
    to_utc_us: int | None = None,
) -> Series:  # fmt: skip
    """The flight's rows within the range. Problem 422: too_many_points."""
    first, last = flight.started_utc_us - PAD_US, flight.ended_utc_us + PAD_US
    begin = first if from_utc_us is None else max(from_utc_us, first)
    end = last if to_utc_us is None else min(to_utc_us, last)
    if begin > end:
        return Series(*assemble([], channels, begin, end))
    rows = await state.reader.fetch(org_id, COUNT_ROWS, flight.id, begin, end)
    values = rows[0] * sum(c.size for c in channels)
    if values > MAX_VALUES:
        raise _too_many(values, MAX_VALUES)
    chunks = await state.bulk.fetch(org_id, chunks_query(channels), flight.id, begin, end)
    return Series(*assemble(chunks, channels, begin, end))


async def _read(
    state: ApiState, org_id: UUID, flight: FlightRow, wanted: Sequence[Channel], span: tuple[int | None, int | None],
    private: bool,
) -> tuple[Series, dict[str, Any] | None]:  # fmt: skip
    """The rows, as they are or private. What private needs is read over the whole flight: homes lie at its ends."""
    if not private:
        return await read_series(state, org_id, flight, wanted, *span), None
    whole = await read_series(state, org_id, flight, [BY_NAME[c] for c in NEEDED])
    privacy = privacy_of(whole)
    both = list(dict.fromkeys([*wanted, *(BY_NAME[c] for c in NEEDED)]))
    series = await read_series(state, org_id, flight, both, *span)
    shown = private_series(series, privacy, wanted)
    return shown, privacy.left_out.as_json()


def with_left_out(response: R, left_out: dict[str, Any] | None) -> R:
    """What a private answer lacks, in a header; of much only how much, for proxies refuse long headers."""
    if left_out is not None:
        text = json.dumps(left_out)
        if len(text) > _LONGEST_HEADER:
            text = json.dumps({k: len(v) if isinstance(v, dict) else v for k, v in left_out.items()})
        response.headers["dbx-left-out"] = text
    return response


def _channels(text: str | None) -> list[Channel]:
    names = [c.name for c in CHANNELS] if text is None else [n.strip() for n in text.split(",") if n.strip()]
    unknown = [n for n in names if n not in BY_NAME]
    if unknown:
        raise invalid("unknown_channel", f"No channel is named {unknown[0][:60]!r}; GET /v1/channels lists them.")
    if not names:
        raise invalid("no_channel", "Name at least one channel; GET /v1/channels lists them.")
    return [BY_NAME[n] for n in dict.fromkeys(names)]


def _encode(series: Series, points: int | None, kind: str) -> bytes:
    if kind == "mcap":
        return series_mcap(series)
    if points is None:
        return raw_json(series) if kind == "json" else to_bytes(raw_table(series), kind)
    reduced = buckets(series, points)
    return bucket_json(reduced) if kind == "json" else to_bytes(bucket_table(reduced), kind)


def _too_many(values: int, most: int) -> Exception:
    text = f"{values} values, at most {most}: ask for fewer channels, a shorter range, or a resolution."
    return invalid("too_many_points", text)

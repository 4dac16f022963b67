"""A flight as MCAP (mcap.dev), for Foxglove and its kind: JSON messages with schemas, zstd chunks, indexed.

Topics: `/track` (foxglove.LocationFix), one per group of channels at 10 Hz (`/position`, `/attitude`, ...), `/log`
(foxglove.Log: what the firmware said) and, of a recorded log, one per message type and instance at full rate
(`/messages/ATT`, `/messages/IMU/1`). Absent values are null. Messages are in order of time within each portion.
"""

import io
import re
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Any

import numpy as np
import orjson
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray

from hub.export.series import Column, Series, columns
from shared.channels import BY_NAME

MCAP_TYPE = "application/vnd.mcap"
_CHUNK_BYTES = 1 << 20
_LOCATION: dict[str, Any] = {
    "title": "foxglove.LocationFix",
    "type": "object",
    "properties": {
        "timestamp": {
            "type": "object",
            "title": "time",
            "properties": {"sec": {"type": "integer", "minimum": 0}, "nsec": {"type": "integer", "minimum": 0}},
        },
        "frame_id": {"type": "string"},
        "latitude": {"type": "number"},
        "longitude": {"type": "number"},
        "altitude": {"type": "number"},
        "position_covariance": {"type": "array", "items": {"type": "number"}, "minItems": 9, "maxItems": 9},
        "position_covariance_type": {"title": "PositionCovarianceType", "oneOf": [{"title": "UNKNOWN", "const": 0}]},
    },
}
_LOG: dict[str, Any] = {
    "title": "foxglove.Log",
    "type": "object",
    "properties": {
        "timestamp": _LOCATION["properties"]["timestamp"],
        "level": {"type": "integer"},
        "message": {"type": "string"},
        "name": {"type": "string"},
        "file": {"type": "string"},
        "line": {"type": "integer"},
    },
}
_LOG_LEVELS = (5, 5, 5, 4, 3, 2, 2, 1)
"""foxglove.Log's level (1 debug, 2 info, 3 warning, 4 error, 5 fatal) of a MAVLink severity 0..7."""


class McapFile:
    """An MCAP file in the making. Times are us since 1970 UTC; negative ones count as 0 (MCAP has no sign)."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._writer = Writer(sink, chunk_size=_CHUNK_BYTES, compression=CompressionType.ZSTD)
        self._writer.start(profile="", library="dbx-aviation")
        self._channels: dict[str, tuple[int, bytes]] = {}
        self.messages = 0

    def describe(self, facts: dict[str, str]) -> None:
        """Free facts, as the file's metadata."""
        self._writer.add_metadata("dbx", facts)

    def add_series(self, series: Series) -> None:
        """The track and one topic per group of channels."""
        groups: dict[str, list[Column]] = {}
        for column in columns(series):
            groups.setdefault(BY_NAME[column.name.split("[")[0]].group, []).append(column)
        self.add([Topic.location(series), *(Topic.columns(f"/{g}", series, cols) for g, cols in groups.items())])

    def add(self, topics: "Sequence[Topic]") -> None:
        """All messages of these topics, merged by time."""
        topics = [t for t in topics if len(t.time_us)]
        if not topics:
            return
        ids = [self._channel(t) for t in topics]
        makers = [t.messages() for t in topics]
        which = np.repeat(np.arange(len(topics)), [len(t.time_us) for t in topics])
        times = np.concatenate([t.time_us for t in topics])
        order = np.argsort(times, kind="stable")
        for i, time_us in zip(which[order].tolist(), times[order].tolist(), strict=True):
            at_ns = max(time_us, 0) * 1000
            self._writer.add_message(ids[i], at_ns, next(makers[i]), at_ns)
        self.messages += len(order)

    def finish(self) -> None:
        """Write indexes and the end."""
        self._writer.finish()  # type: ignore[no-untyped-call]

    def _channel(self, topic: "Topic") -> int:
        """The channel of a topic; another one when its fields changed meanwhile (a log may describe a message anew)."""
        schema = orjson.dumps(topic.schema)
        name, again = topic.name, 1
        while name in self._channels and self._channels[name][1] != schema:
            again += 1
            name = f"{topic.name}/{again}"
        if name not in self._channels:
            schema_id = self._writer.register_schema(topic.schema["title"], "jsonschema", schema)
            self._channels[name] = (self._writer.register_channel(name, "json", schema_id), schema)
        return self._channels[name][0]


def series_mcap(series: Series, facts: dict[str, str] | None = None) -> bytes:
    """The channels of a flight as one file. facts: metadata."""
    sink = io.BytesIO()
    made = McapFile(sink)
    if facts:
        made.describe(facts)
    made.add_series(series)
    made.finish()
    return sink.getvalue()


class Topic:
    """Messages of one topic: time_us int64 [n] ascending or not, and their JSON, made when asked for."""

    def __init__(
        self,
        name: str,
        schema: dict[str, Any],
        time_us: NDArray[np.int64],
        rows: Callable[[], Iterable[dict[str, Any]]],
    ) -> None:
        self.name, self.schema, self.time_us, self._rows = name, schema, time_us, rows
        self._order = np.argsort(time_us, kind="stable")

    def messages(self) -> Any:
        """Their bytes, in order of time."""
        rows = list(self._rows())
        return (orjson.dumps(rows[i], option=orjson.OPT_SERIALIZE_NUMPY) for i in self._order.tolist())

    @staticmethod
    def location(series: Series) -> "Topic":
        """foxglove.LocationFix where there is a position."""
        cols = {c.name: c.values for c in columns(series) if c.name in ("lat_deg", "lon_deg", "alt_msl_m")}
        if not {"lat_deg", "lon_deg"} <= cols.keys():
            return Topic("/track", _LOCATION, np.zeros(0, np.int64), list)
        lat, lon = cols["lat_deg"], cols["lon_deg"]
        alt = np.nan_to_num(cols.get("alt_msl_m", np.zeros(len(lat))))
        at = np.flatnonzero(~np.isnan(lat) & ~np.isnan(lon) & ~((lat == 0) & (lon == 0)))
        time_us = series.time_utc_us[at]

        def rows() -> Iterable[dict[str, Any]]:
            values = zip(time_us.tolist(), lat[at].tolist(), lon[at].tolist(), alt[at].tolist(), strict=True)
            for t, y, x, z in values:
                fix = {"timestamp": _stamp(t), "frame_id": "", "latitude": y, "longitude": x, "altitude": z}
                yield fix | {"position_covariance": [0.0] * 9, "position_covariance_type": 0}

        return Topic("/track", _LOCATION, time_us, rows)

    @staticmethod
    def columns(name: str, series: Series, cols: Sequence[Column]) -> "Topic":
        """Scalar columns at the series' times; rows without any value are left out."""
        table = np.stack([c.values for c in cols])
        at = np.flatnonzero(~np.isnan(table).all(axis=0))
        names = [_safe(c.name) for c in cols]
        properties = {n: {"type": "number", "description": c.unit} for n, c in zip(names, cols, strict=True)}
        schema = {"title": f"dbx.channels{name.replace('/', '.')}", "type": "object", "properties": properties}

        def rows() -> Iterable[dict[str, Any]]:
            return (dict(zip(names, row, strict=True)) for row in table[:, at].T.tolist())

        return Topic(name, schema, series.time_utc_us[at], rows)

    @staticmethod
    def texts(texts: Sequence[tuple[int, int, str]]) -> "Topic":
        """foxglove.Log of (time us, severity 0..7, text)."""

        def rows() -> Iterable[dict[str, Any]]:
            for t, severity, text in texts:
                level = _LOG_LEVELS[min(max(severity, 0), 7)]
                message = text.encode("utf-8", "replace").decode()
                yield {"timestamp": _stamp(t), "level": level, "message": message, "name": "", "file": "", "line": 0}

        return Topic("/log", _LOG, np.array([t for t, _, _ in texts], np.int64), rows)

    @staticmethod
    def table(name: str, time_us: NDArray[np.int64], cols: Sequence[tuple[str, str, NDArray[Any]]]) -> "Topic":
        """Messages of a log: (field, unit, values [n] or [n, size])."""
        properties = {field: _property(unit, values) for field, unit, values in cols}
        schema = {"title": f"dbx.messages.{name}", "type": "object", "properties": properties}
        names = [field for field, _, _ in cols]

        def rows() -> Iterable[dict[str, Any]]:
            lists = [_plain(values) for _, _, values in cols]
            return (dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True))

        return Topic(f"/messages/{name}", schema, time_us, rows)


def _property(unit: str, values: NDArray[Any]) -> dict[str, Any]:
    kind = "string" if values.dtype.kind in "SU" else "number"
    one: dict[str, Any] = {"type": kind} | ({"description": unit} if unit else {})
    return {"type": "array", "items": one} if values.ndim > 1 else one


def _plain(values: NDArray[Any]) -> list[Any]:
    """As JSON can say it; NaN becomes null when it is written."""
    if values.dtype.kind == "S":
        return [v.split(b"\0")[0].decode("latin-1") for v in values.tolist()]
    return values.tolist()  # type: ignore[no-any-return]


def _stamp(time_us: int) -> dict[str, int]:
    sec, us = divmod(max(time_us, 0), 1_000_000)
    return {"sec": sec, "nsec": us * 1000}


def _safe(name: str) -> str:
    """`motor_output_us[0]` as `motor_output_us_0`: viewers take brackets for paths."""
    return re.sub(r"\[(\d+)\]", r"_\1", name)

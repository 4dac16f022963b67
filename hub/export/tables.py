"""Telemetry as JSON columns, CSV, Arrow IPC and Parquet. Times are us since 1970 UTC; absent samples are null."""

import io
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from hub.export.series import Buckets, Column, Series, columns

TABLE_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}


def raw_json(series: Series) -> bytes:
    """{time_utc_us, channels: {name: {unit, values}}}; NaN is written as null."""
    body = {c.name: {"unit": c.unit, "values": np.ascontiguousarray(c.values)} for c in columns(series)}
    return _dumps({"time_utc_us": series.time_utc_us, "channels": body})


def bucket_json(b: Buckets) -> bytes:
    """{time_utc_us, bucket_us, channels: {name: {unit, min, max, mean}}}."""
    body = {
        name: {"unit": unit, "min": low, "max": high, "mean": mean}
        for name, unit, low, high, mean in zip(b.names, b.units, b.low, b.high, b.mean, strict=True)
    }
    return _dumps({"time_utc_us": b.time_utc_us, "bucket_us": b.bucket_us, "channels": body})


def raw_table(series: Series) -> pa.Table:
    """One row per sample: time_utc_us, time (timestamp us, UTC), one float64 column per channel with its unit as
    metadata."""
    return _table(series.time_utc_us, columns(series))


def bucket_table(b: Buckets) -> pa.Table:
    """One row per bucket: columns `name.min`, `name.max`, `name.mean`."""
    cols = []
    for name, unit, low, high, mean in zip(b.names, b.units, b.low, b.high, b.mean, strict=True):
        cols += [
            Column(f"{name}.min", unit, low),
            Column(f"{name}.max", unit, high),
            Column(f"{name}.mean", unit, mean),
        ]
    return _table(b.time_utc_us, cols)


def to_bytes(table: pa.Table, kind: str) -> bytes:
    """The table as `csv`, `arrow` (IPC stream) or `parquet` (zstd)."""
    sink = io.BytesIO()
    if kind == "csv":
        pyarrow.csv.write_csv(table, sink)
    elif kind == "arrow":
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    elif kind == "parquet":
        pyarrow.parquet.write_table(table, sink, compression="zstd")
    else:
        raise ValueError(f"no table format {kind!r}")
    return sink.getvalue()


def _table(time_utc_us: Any, cols: list[Column]) -> pa.Table:
    times = pa.array(time_utc_us, pa.int64())
    fields = [pa.field("time_utc_us", pa.int64(), False), pa.field("time", pa.timestamp("us", "UTC"), False)]
    fields += [pa.field(c.name, pa.float64(), True, {"unit": c.unit}) for c in cols]
    arrays = [times, times.cast(pa.timestamp("us", "UTC"))]
    arrays += [pa.array(c.values, pa.float64(), from_pandas=True) for c in cols]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _dumps(body: dict[str, Any]) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)

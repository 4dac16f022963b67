"""Messages of a recorded log at full rate as CSV or Parquet: one file per message type, written portion by portion."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from firmware_bridge.log_tables import NO_TIME, Table
from hub.export.private import Privacy
from hub.export.private_policy import Dialect
from hub.export.private_rows import private_rows


def seen(privacy: Privacy, dialect: Dialect, table: Table) -> Table:
    """The table as it may be seen."""
    rows, keep = private_rows(privacy, dialect, table.name, table.rows, table.gain)
    return replace(table, rows=rows, time_us=table.time_us[keep], at=table.at[keep])


def field_columns(table: Table) -> list[tuple[str, str, NDArray[Any]]]:
    """(field, unit, values) of each field in its unit; strings as they are, arrays [n, size]."""
    names = table.rows.dtype.names or ()
    return [(n, table.unit.get(n, ""), table.values(n) if n in table.gain else table.rows[n]) for n in names]


class MessageFiles:
    """Files of message types, opened when the first message comes. offset_us None: the log has no UTC there."""

    def __init__(self, kind: str, folder: Path, stem: str, names: Sequence[str]) -> None:
        self._kind, self._folder, self._stem = kind, folder, stem
        self._all = "all" in names
        self._names = frozenset(names)
        self._writers: dict[str, tuple[Any, pa.Schema]] = {}
        self.paths: list[Path] = []
        self.rows = 0

    def wants(self, name: str) -> bool:
        """Whether a message type was asked for."""
        return self._all or name in self._names

    def add(self, table: Table, offset_us: int | None) -> None:
        """The next messages of a type."""
        if not len(table):
            return
        batch = _batch(table, offset_us)
        writer = self._writer(table.name, batch.schema)
        writer.write_table(pa.Table.from_batches([batch]))
        self.rows += len(table)

    def close(self) -> None:
        """Write the ends of all files."""
        for writer, _ in self._writers.values():
            writer.close()

    def _writer(self, name: str, schema: pa.Schema) -> Any:
        """The file of a message; another one where its fields changed meanwhile."""
        key, again = name, 1
        while key in self._writers and not self._writers[key][1].equals(schema):
            again += 1
            key = f"{name}-{again}"
        if key not in self._writers:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{self._stem}{_file_name(key)}.{self._kind}"
            made = (
                pyarrow.csv.CSVWriter(str(path), schema)
                if self._kind == "csv"
                else pyarrow.parquet.ParquetWriter(str(path), schema, compression="zstd")
            )
            self._writers[key] = made, schema
            self.paths.append(path)
        return self._writers[key][0]


def _file_name(name: str) -> str:
    """A log may call its messages anything."""
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in name)[:80]


def _batch(table: Table, offset_us: int | None) -> pa.RecordBatch:
    none = table.time_us == NO_TIME
    utc = none if offset_us is not None else np.ones(len(table), bool)
    arrays = [
        pa.array(table.time_us, pa.int64(), mask=none),
        pa.array(table.time_us + (offset_us or 0), pa.int64(), mask=utc),
        pa.array(np.full(len(table), table.instance), pa.int32()),
    ]
    fields = [pa.field("time_us", pa.int64()), pa.field("time_utc_us", pa.int64()), pa.field("instance", pa.int32())]
    taken = {f.name for f in fields}
    for name, unit, values in field_columns(table):
        for column, part in _scalars(name if name not in taken else f"{name}_", values):
            arrays.append(part)
            fields.append(pa.field(column, part.type, True, {"unit": unit} if unit else None))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _scalars(name: str, values: NDArray[Any]) -> list[tuple[str, pa.Array]]:
    """Columns of a field; arrays become `name[0]`, `name[1]`, ..."""
    if values.ndim > 1:
        flat = values.reshape(len(values), -1)
        return [(f"{name}[{i}]", _column(np.ascontiguousarray(flat[:, i]))) for i in range(flat.shape[1])]
    return [(name, _column(np.ascontiguousarray(values)))]


def _column(values: NDArray[Any]) -> pa.Array:
    if values.dtype.kind == "S":
        return pa.array([v.split(b"\0")[0].decode("latin-1") for v in values.tolist()], pa.string())
    if values.dtype == np.float16:
        return pa.array(values.astype(np.float32))
    return pa.array(values.astype(values.dtype.newbyteorder("=")))

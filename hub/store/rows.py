"""Many rows in one statement: an array of a table's row type in PostgreSQL's binary format.

`INSERT ... SELECT ... FROM unnest(%b::some_table[]) r` takes any number of rows, arrays and NULLs among them, in one
parameter and one execution. Format: PostgreSQL's array_recv and record_recv.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format

_NULL = struct.pack(">i", -1)
_pack_i4 = struct.Struct(">i").pack
_pack_head = struct.Struct(">ii").pack
_pack_array = struct.Struct(">iiiii").pack


@dataclass(frozen=True, slots=True)
class RowArray:
    """The parameter for `%b::table[]`."""

    data: bytes


class RowArrayDumper(Dumper):
    """Hands the bytes over; the cast in the statement names the type (oid 0: unspecified)."""

    format = Format.BINARY

    def dump(self, obj: RowArray) -> Buffer | None:
        return obj.data

    def get_key(self, obj: RowArray, format: PyFormat) -> type[RowArray]:
        return self.cls


def use_rows(conn: psycopg.Connection[Any]) -> None:
    """Teach a connection to take RowArray parameters."""
    conn.adapters.register_dumper(RowArray, RowArrayDumper)


def _fixed(layout: str) -> Callable[[Any], bytes]:
    pack = struct.Struct(">i" + layout).pack
    size = struct.calcsize(">" + layout)
    return lambda value: pack(size, value)


def _sized(raw: bytes) -> bytes:
    return _pack_i4(len(raw)) + raw


def _bytea_array(values: Sequence[bytes]) -> bytes:
    if not values:
        return _sized(struct.pack(">iii", 0, 0, 17))
    return _sized(_pack_array(1, 0, 17, len(values), 1) + b"".join(map(_sized, values)))


_PACK: dict[int, Callable[[Any], bytes]] = {
    16: _fixed("?"),
    17: _sized,
    20: _fixed("q"),
    21: _fixed("h"),
    23: _fixed("i"),
    25: lambda text: _sized(text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")),
    700: _fixed("f"),
    701: _fixed("d"),
    1001: _bytea_array,
    1005: _sized,  # int2[], int4[], int8[]: encoded by `int_array` already
    1007: _sized,
    1016: _sized,
    2950: lambda value: b"\0\0\0\x10" + value.bytes,
    3802: lambda text: _sized(b"\1" + text.encode("utf-8", "replace")),
}


class RowType:
    """A table's row type as the server has it: made once per process, good for all connections to that schema."""

    def __init__(self, conn: psycopg.Connection[Any], table: str) -> None:
        """Read the columns of `table`. KeyError for a column type that is not known here."""
        found = conn.execute(
            "SELECT attname, atttypid::int8, attisdropped FROM pg_attribute WHERE attrelid = %s::regclass AND"
            " attnum > 0"
            " ORDER BY attnum",
            (table,),
        ).fetchall()
        row = conn.execute("SELECT reltype::int8 FROM pg_class WHERE oid = %s::regclass", (table,)).fetchone()
        assert row is not None
        self.table = table
        self._oid = int(row[0])
        self._heads = {str(n): (_pack_i4(oid), _PACK.get(oid)) for n, oid, dropped in found if not dropped}
        self._nulls = {str(n): _pack_head(oid, -1) for n, oid, dropped in found if not dropped}
        self._record = _pack_i4(len(self._heads))

    def encode(self, rows: Iterable[Mapping[str, Any]]) -> RowArray:
        """Rows by column name; what is left out is NULL. jsonb takes JSON text, an integer array its binary
        format."""
        parts: list[bytes] = [b""]
        count = 0
        for row in rows:
            record = self._encode_row(row)
            parts.append(_pack_i4(sum(map(len, record))))
            parts += record
            count += 1
        if not count:
            return RowArray(struct.pack(">iii", 0, 0, self._oid))
        parts[0] = _pack_array(1, 0, self._oid, count, 1)
        return RowArray(b"".join(parts))  # the one copy of what may be megabytes

    def _encode_row(self, row: Mapping[str, Any]) -> list[bytes]:
        if unknown := row.keys() - self._heads.keys():
            raise KeyError(f"{self.table} has no column {', '.join(sorted(unknown))}")
        parts = [self._record]
        for name, (head, pack) in self._heads.items():
            value = row.get(name)
            if value is None:
                parts.append(self._nulls[name])
            elif pack is None:
                raise KeyError(f"{self.table}.{name} has a type that cannot be sent")
            elif pack is _sized:
                parts += (head, _pack_i4(len(value)), value)
            else:
                parts.append(head + pack(value))
        return parts

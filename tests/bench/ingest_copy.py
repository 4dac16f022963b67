"""The yardstick: a bare binary COPY of the same rows into a partitioned row table with a primary key."""

import io
import struct
import time
import uuid
from typing import Any

import psycopg

from shared.channels import CHANNELS

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRANSACTION = 10_000
MARK = uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF)


def copy_rows_s(admin_url: str, rows: int) -> dict[str, float]:
    """Rows per second of COPY from one connection, 10,000 rows a transaction, buffers made beforehand.

    The rows are those that the hub has just settled, read back from `flight_telemetry`: every channel that any of the
    flights has is a column (real; double precision for positions; arrays for motors), absent samples NULL.
    """
    with psycopg.connect(admin_url, autocommit=True) as conn:
        sessions = conn.execute(
            "SELECT session_id FROM telemetry_chunks GROUP BY 1 ORDER BY sum(n) DESC LIMIT 8"
        ).fetchall()
        used = [c for c in CHANNELS if conn.execute(
            f"SELECT 1 FROM telemetry_chunks WHERE {c.name} IS NOT NULL LIMIT 1".encode()).fetchone()]  # fmt: skip
        columns = ", ".join(f"{c.name} {_type(c.name, c.size)}" for c in used)
        conn.execute(f"CREATE TABLE copy_rows (session_id uuid, \"timestamp\" timestamptz, {columns},"
                     ' PRIMARY KEY (session_id, "timestamp")) PARTITION BY RANGE ("timestamp")'.encode())  # fmt: skip
        conn.execute(b"CREATE TABLE copy_rows_1 PARTITION OF copy_rows DEFAULT")
        buffers, per_row, per_channel = _buffers(conn, [s for (s,) in sessions], used)
        done, spent_s = 0, 0.0
        while done < rows:
            parts, count = [], 0
            while count < _TRANSACTION:
                n, data = buffers[(done + count) // 1000 % len(buffers)]
                parts.append(data.replace(MARK.bytes, uuid.uuid4().bytes))
                count += n
            began = time.perf_counter()
            with conn.cursor() as cursor, cursor.copy(b"COPY copy_rows FROM STDIN (FORMAT binary)") as copy:
                copy.write(_HEADER)
                for part in parts:
                    copy.write(part)
                copy.write(b"\xff\xff")
            spent_s += time.perf_counter() - began
            done += count
        conn.execute(b"DROP TABLE copy_rows")
    return {"rows_s": done / spent_s, "values_per_row": per_row, "channels_per_row": per_channel}


def _type(name: str, size: int) -> str:
    if size > 1:
        return "real[]"
    return "double precision" if name in ("lat_deg", "lon_deg", "flight_mode", "sensors_health") else "real"


def _buffers(
    conn: psycopg.Connection[Any], sessions: list[uuid.UUID], used: list[Any]
) -> tuple[list[tuple[int, bytes]], float, float]:
    """Tuples as COPY takes them, one buffer per session, with MARK for its id; values and channels per row."""
    buffers, values, channels, total = [], 0, 0, 0
    select = ", ".join(f"{c.name}::{_type(c.name, c.size)}" for c in used)
    for session in sessions:
        target = io.BytesIO()
        query = f"SELECT '{MARK}'::uuid, \"timestamp\", {select} FROM flight_telemetry WHERE session_id = '{session}'"
        with conn.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT binary)".encode()) as copy:
            for chunk in copy:
                target.write(chunk)
        counted = conn.execute((
            "SELECT count(*), sum(" + " + ".join(_count(c.name, c.size) for c in used) + "), sum("
            + " + ".join(f"({c.name} IS NOT NULL)::int" for c in used)
            + f") FROM flight_telemetry WHERE session_id = '{session}'").encode()).fetchone()  # fmt: skip
        assert counted is not None
        raw = target.getvalue()
        buffers.append((int(counted[0]), raw[len(_HEADER) : -2]))
        total, values, channels = total + int(counted[0]), values + int(counted[1]), channels + int(counted[2])
    return buffers, values / total, channels / total


def _count(name: str, size: int) -> str:
    return f"({name} IS NOT NULL)::int" if size == 1 else f"cardinality(array_remove({name}, NULL))"

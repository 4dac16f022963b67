"""Telemetry chunks and flight events: the rows that are derived and may be derived again."""

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Any

import psycopg

from hub.store.rows import RowArray
from shared.channels import CHANNELS

Connection = psycopg.Connection[Any]

_CHUNK_COLUMNS = ", ".join(
    ["org_id", "session_id", "t0_utc_us", "t1_utc_us", "aircraft_id", "stream_id", "seq", "n", "settled"]
    + [c.name for c in CHANNELS]
)
_INSERT_CHUNKS = (
    f"INSERT INTO telemetry_chunks ({_CHUNK_COLUMNS}) SELECT {_CHUNK_COLUMNS} FROM unnest(%b::telemetry_chunks[])"  # noqa: S608
)
_EVENT_COLUMNS = (
    "org_id, stream_id, seq, event_no, aircraft_id, session_id, at_utc_us, at_us, kind, severity, text, value"
)
_INSERT_EVENTS = (
    f"INSERT INTO flight_events ({_EVENT_COLUMNS}) SELECT {_EVENT_COLUMNS} FROM unnest(%b::flight_events[])"  # noqa: S608
)


def insert_chunks(conn: Connection, rows: RowArray) -> None:
    """Add chunks."""
    conn.execute(_INSERT_CHUNKS, (rows,))


def delete_chunks(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> None:
    """Take away all chunks of a session, to put others in their place in the same transaction."""
    conn.execute("DELETE FROM telemetry_chunks WHERE org_id = %s AND session_id = %s", (org_id, session_id))


def insert_events(conn: Connection, rows: RowArray) -> None:
    """Add events."""
    conn.execute(_INSERT_EVENTS, (rows,))


def delete_events(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, stream_ids: list[uuid.UUID],
                  seqs: list[int]) -> None:  # fmt: skip
    """Take away the events of a session and of the batches that it consists of."""
    conn.execute("DELETE FROM flight_events WHERE org_id = %s AND session_id = %s", (org_id, session_id))
    conn.execute(
        "DELETE FROM flight_events WHERE org_id = %s AND session_id IS NULL"
        " AND (stream_id, seq) IN (SELECT * FROM unnest(%s::uuid[], %s::bigint[]))",
        (org_id, stream_ids, seqs),
    )


def delete_shared_events(conn: Connection, org_id: uuid.UUID, keys: Iterable[tuple[uuid.UUID, int, int]]) -> None:
    """Take away events by (stream, seq, event_no): a log's, that another flight of the same log had as its own."""
    wanted = [*keys]
    conn.execute(
        "DELETE FROM flight_events WHERE org_id = %s AND (stream_id, seq, event_no) IN"
        " (SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::integer[]))",
        (org_id, *([k[i] for k in wanted] for i in range(3))),
    )


def ensure_days(conn: Connection, days: Iterable[dt.date]) -> int:
    """Make the partitions of these UTC days where they lack (outside any tenant transaction); how many were made."""
    return sum(bool(conn.execute("SELECT create_telemetry_day(%s)", (day,)).fetchone() == (True,)) for day in days)

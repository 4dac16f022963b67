"""The tables of imported logs, beside those of `store.py` in one file (`imports.db`): the only SQL on imports.

  import    one row per log; its batches are the stream of the same number
  slice     each batch of a log: its digest, the digest of what it carries, the receipt that has it (kept for ever)
  receipt   signed receipts as the hub sent them
  file      where a log was last seen: a path that holds another log now was changed since
  aircraft, hardware   the fleet as far as it is known here: names, and which chip speaks for which aircraft

Functions take the connection first and never begin or commit.
"""

import sqlite3
import uuid
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from agent.lean import without
from agent.store import SEQ_BITS
from firmware_bridge.log_tables import LogFormat

with without("pandas"):
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

migrations = Migrations("imports")


@migrations()
def m001_imports(db: Database) -> None:
    """Version 1."""
    for statement in (
        """CREATE TABLE import (id INTEGER PRIMARY KEY, log BLOB NOT NULL UNIQUE, stream_no INTEGER NOT NULL,
           state INTEGER NOT NULL, name TEXT NOT NULL, format TEXT NOT NULL, size INTEGER NOT NULL,
           packed INTEGER NOT NULL, packed_sha BLOB NOT NULL, aircraft BLOB, hardware TEXT NOT NULL,
           origin TEXT NOT NULL, imported_us INTEGER NOT NULL, receipt INTEGER)""",
        """CREATE TABLE slice (id INTEGER PRIMARY KEY, packed BLOB NOT NULL, digest BLOB NOT NULL,
           receipt INTEGER)""",
        "CREATE TABLE receipt (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
        "CREATE TABLE file (path TEXT PRIMARY KEY, log BLOB NOT NULL) WITHOUT ROWID",
        "CREATE TABLE aircraft (id BLOB PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE hardware (id TEXT, aircraft BLOB, PRIMARY KEY (id, aircraft)) WITHOUT ROWID",
    ):
        db.execute(statement)


class ImportState(IntEnum):
    """packing: not all of it is in the queue yet. queued: all of it is or was."""

    packing = 0
    queued = 1


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One log. packed, packed_sha: size and SHA-256 of its packed form, once it is queued. receipt: of the log receipt
    that names it, once there is one."""

    log: bytes
    stream_no: int
    state: ImportState
    name: str
    format: LogFormat
    size: int
    packed: int
    packed_sha: bytes
    aircraft: uuid.UUID | None
    hardware_ids: tuple[str, ...]
    origin: str
    imported_us: int
    receipt: int | None = None


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One batch of a log. packed: SHA-256 of the slice that it carries. digest: of its envelope."""

    seq: int
    packed: bytes
    digest: bytes
    receipt: int | None


_IMPORT = (
    "log, stream_no, state, name, format, size, packed, packed_sha, aircraft, hardware, origin, imported_us, receipt"
)


def _import_row(row: tuple[Any, ...]) -> ImportRow:
    log, number, state, name, format_, size, packed, packed_sha, aircraft, hardware, *rest = row
    owner = None if aircraft is None else uuid.UUID(bytes=aircraft)
    ids = tuple(hardware.split())
    return ImportRow(log, number, ImportState(state), name, format_, size, packed, packed_sha, owner, ids, *rest)


# --- imports


def find_import(conn: sqlite3.Connection, log: bytes) -> ImportRow | None:
    found = conn.execute(f"SELECT {_IMPORT} FROM import WHERE log = ?", (log,)).fetchone()  # noqa: S608
    return None if found is None else _import_row(found)


def imports(conn: sqlite3.Connection) -> list[ImportRow]:
    """All, in the order in which they came."""
    return [_import_row(r) for r in conn.execute(f"SELECT {_IMPORT} FROM import ORDER BY id")]  # noqa: S608


def put_import(conn: sqlite3.Connection, row: ImportRow) -> None:
    """Enter a log, or what is new of it."""
    owner = None if row.aircraft is None else row.aircraft.bytes
    values = (
        row.log, row.stream_no, row.state, row.name, row.format, row.size, row.packed, row.packed_sha, owner,
        " ".join(row.hardware_ids), row.origin, row.imported_us, row.receipt,
    )  # fmt: skip
    news = ", ".join(f"{name} = excluded.{name}" for name in _IMPORT.split(", ")[1:])
    marks = ", ".join("?" * len(values))
    sql = f"INSERT INTO import ({_IMPORT}) VALUES ({marks}) ON CONFLICT (log) DO UPDATE SET {news}"  # noqa: S608
    conn.execute(sql, values)


def drop_import(conn: sqlite3.Connection, row: ImportRow) -> None:
    """Forget a log and its batches: it can be imported again."""
    drop_waiting(conn, row.stream_no)
    span = (row.stream_no << SEQ_BITS, row.stream_no + 1 << SEQ_BITS)
    conn.execute("DELETE FROM slice WHERE id >= ? AND id < ?", span)
    conn.execute("DELETE FROM import WHERE log = ?", (row.log,))


# --- slices


def add_slice(conn: sqlite3.Connection, key: int, packed: bytes, digest: bytes) -> None:
    conn.execute("INSERT INTO slice (id, packed, digest) VALUES (?, ?, ?)", (key, packed, digest))


def slices(conn: sqlite3.Connection, stream_no: int) -> list[SliceRow]:
    """Of a log's stream, by sequence."""
    sql = "SELECT id, packed, digest, receipt FROM slice WHERE id >= ? AND id < ? ORDER BY id"
    found = conn.execute(sql, (stream_no << SEQ_BITS, stream_no + 1 << SEQ_BITS))
    return [SliceRow(key & (1 << SEQ_BITS) - 1, bytes(p), bytes(d), r) for key, p, d, r in found]


def drop_waiting(conn: sqlite3.Connection, stream_no: int) -> None:
    """Take a log's batches out of the outbox: the hub has the log."""
    for table in ("outbox", "envelope"):
        span = (stream_no << SEQ_BITS, stream_no + 1 << SEQ_BITS)
        conn.execute(f"DELETE FROM {table} WHERE id >= ? AND id < ?", span)  # noqa: S608


def last_slice(conn: sqlite3.Connection, stream_no: int) -> tuple[int, bytes] | None:
    """(sequence, digest) of the last batch of a log's stream."""
    sql = "SELECT id, digest FROM slice WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1"
    found = conn.execute(sql, (stream_no << SEQ_BITS, stream_no + 1 << SEQ_BITS)).fetchone()
    return None if found is None else (int(found[0]) & (1 << SEQ_BITS) - 1, bytes(found[1]))


def stream_id(conn: sqlite3.Connection, stream_no: int) -> uuid.UUID:
    return uuid.UUID(bytes=conn.execute("SELECT id FROM stream WHERE no = ?", (stream_no,)).fetchone()[0])


def stream_number(conn: sqlite3.Connection, stream: uuid.UUID) -> int | None:
    found = conn.execute("SELECT no FROM stream WHERE id = ?", (stream.bytes,)).fetchone()
    return None if found is None else int(found[0])


def slice_digest(conn: sqlite3.Connection, key: int) -> bytes | None:
    found = conn.execute("SELECT digest FROM slice WHERE id = ?", (key,)).fetchone()
    return None if found is None else bytes(found[0])


def set_receipt(conn: sqlite3.Connection, keys: list[int], receipt: int) -> None:
    """These batches are committed, says the receipt."""
    conn.executemany("UPDATE slice SET receipt = ? WHERE id = ?", [(receipt, key) for key in keys])


def waiting(conn: sqlite3.Connection, stream_no: int) -> tuple[int, int]:
    """(batches, bytes) of a log's stream in the outbox."""
    sql = "SELECT count(*), coalesce(sum(size), 0) FROM outbox WHERE id >= ? AND id < ?"
    found = conn.execute(sql, (stream_no << SEQ_BITS, stream_no + 1 << SEQ_BITS)).fetchone()
    return int(found[0]), int(found[1])


def give_back(conn: sqlite3.Connection) -> None:
    """Give all free pages back to the file system; outside of a transaction."""
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    conn.executescript("PRAGMA incremental_vacuum")  # `execute` would step it once: one page
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


# --- receipts and files


def add_receipt(conn: sqlite3.Connection, body: bytes) -> int:
    """Keep a signed receipt; its id."""
    cursor = conn.execute("INSERT INTO receipt (body) VALUES (?)", (body,))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def receipt(conn: sqlite3.Connection, id_: int) -> bytes | None:
    found = conn.execute("SELECT body FROM receipt WHERE id = ?", (id_,)).fetchone()
    return None if found is None else bytes(found[0])


def saw_file(conn: sqlite3.Connection, path: str, log: bytes) -> None:
    sql = "INSERT INTO file (path, log) VALUES (?, ?) ON CONFLICT (path) DO UPDATE SET log = excluded.log"
    conn.execute(sql, (path, log))


def seen_file(conn: sqlite3.Connection, path: str) -> bytes | None:
    """The log that a path held when it was imported."""
    found = conn.execute("SELECT log FROM file WHERE path = ?", (path,)).fetchone()
    return None if found is None else bytes(found[0])


# --- the fleet


def fleet(conn: sqlite3.Connection) -> dict[uuid.UUID, str]:
    """Aircraft -> name."""
    return {uuid.UUID(bytes=i): name for i, name in conn.execute("SELECT id, name FROM aircraft ORDER BY name, id")}


def owners(conn: sqlite3.Connection, hardware_ids: tuple[str, ...]) -> set[uuid.UUID]:
    """The aircraft that any of these chips speaks for."""
    marks = ",".join("?" * len(hardware_ids))
    found = conn.execute(f"SELECT DISTINCT aircraft FROM hardware WHERE id IN ({marks})", hardware_ids)  # noqa: S608
    return {uuid.UUID(bytes=i) for (i,) in found}


def learn(conn: sqlite3.Connection, aircraft: uuid.UUID, hardware_ids: tuple[str, ...]) -> None:
    """These chips speak for that aircraft."""
    rows = [(i, aircraft.bytes) for i in hardware_ids]
    conn.executemany("INSERT INTO hardware (id, aircraft) VALUES (?, ?) ON CONFLICT DO NOTHING", rows)


def name_aircraft(conn: sqlite3.Connection, aircraft: uuid.UUID, name: str) -> None:
    sql = "INSERT INTO aircraft (id, name) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name"
    conn.execute(sql, (aircraft.bytes, name))

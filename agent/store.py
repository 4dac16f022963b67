"""The one SQLite file of a recorder: journal, outbox, state. The only SQL of the agent.

Rows:
  journal   frames on disk that are not sealed yet, one row per second or so
  outbox    facts of each sealed batch; id = stream number << 40 | sequence, so (stream, seq) is the primary key
  envelope  the signed bytes of each sealed batch, same id
  stream    number -> stream id (one per store; salvaged stores keep their own)
  state     small CBOR values: the recorder's chain and session, policy, holds

What the disk has to bear is counted in pages, not in rows: 1 kB pages, one narrow index, no row ever updated on the
usual way, journal and outbox pages recycled by SQLite before a checkpoint copies them (docs/agent-config.md, "disk").
Functions take the connection first and never begin or commit; `Store` owns connection, lock and transactions.
"""

import fcntl
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.lean import without
from shared.topics import Lane

with without("pandas"):  # sqlite-utils loads it when it is there: 80 MB that a recorder has no use for
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

SCHEMA_VERSION = 1
PAGE_BYTES = 1024
CHECKPOINT_PAGES = 4096
_LEAST_CHECKPOINT_PAGES = 32
SEQ_BITS = 40
_CHECK_SECONDS = 10.0

migrations = Migrations("agent")


@migrations()
def m001_journal_and_outbox(db: Database) -> None:
    """Version 1."""
    for statement in (
        "CREATE TABLE stream (no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE)",
        "CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
        """CREATE TABLE journal (id INTEGER PRIMARY KEY, boot BLOB NOT NULL, session BLOB, frames INTEGER NOT NULL,
           position INTEGER NOT NULL, body BLOB NOT NULL)""",
        """CREATE TABLE outbox (id INTEGER PRIMARY KEY, lane INTEGER NOT NULL, size INTEGER NOT NULL,
           frames INTEGER NOT NULL, from_us INTEGER NOT NULL, to_us INTEGER NOT NULL, pinned INTEGER NOT NULL,
           session BLOB, digest BLOB NOT NULL)""",
        "CREATE INDEX outbox_lane ON outbox (lane)",
        "CREATE TABLE envelope (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
        f"PRAGMA user_version = {SCHEMA_VERSION}",
    ):
        db.execute(statement)


class TornStore(Exception):
    """The file cannot be used by this code: `reason` says why (torn, newer schema)."""


@dataclass(frozen=True, slots=True)
class JournalRow:
    """What arrived in about a second. session: of the flight it belongs to. body: agent.journal's encoding."""

    id: int
    boot: uuid.UUID
    session: uuid.UUID | None
    frames: int
    position: int
    body: bytes


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A sealed batch without its bytes. size: of the envelope, bytes. from_us, to_us: what it covers."""

    stream_no: int
    seq: int
    lane: Lane
    size: int
    frames: int
    from_us: int
    to_us: int
    pinned: bool
    session: uuid.UUID | None
    digest: bytes

    @property
    def id(self) -> int:
        return self.stream_no << SEQ_BITS | self.seq


_FACTS = "id, lane, size, frames, from_us, to_us, pinned, session, digest"


def _outbox_row(row: tuple[int, int, int, int, int, int, int, bytes | None, bytes]) -> OutboxRow:
    key, lane, size, frames, from_us, to_us, pinned, session, digest = row
    number, seq = key >> SEQ_BITS, key & (1 << SEQ_BITS) - 1
    owner = None if session is None else uuid.UUID(bytes=session)
    return OutboxRow(number, seq, Lane(lane), size, frames, from_us, to_us, bool(pinned), owner, digest)


# --- journal


def add_journal(conn: sqlite3.Connection, row: JournalRow) -> int:
    """Write one row (its id is not used); returns the id it got."""
    session = None if row.session is None else row.session.bytes
    sql = "INSERT INTO journal (boot, session, frames, position, body) VALUES (?, ?, ?, ?, ?)"
    cursor = conn.execute(sql, (row.boot.bytes, session, row.frames, row.position, row.body))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def journal_rows(conn: sqlite3.Connection) -> list[JournalRow]:
    """All rows in order."""
    found = conn.execute("SELECT id, boot, session, frames, position, body FROM journal ORDER BY id")
    return [
        JournalRow(i, uuid.UUID(bytes=boot), None if s is None else uuid.UUID(bytes=s), n, position, body)
        for i, boot, s, n, position, body in found
    ]


def drop_journal(conn: sqlite3.Connection, up_to_id: int) -> None:
    conn.execute("DELETE FROM journal WHERE id <= ?", (up_to_id,))


# --- outbox


def add_outbox(conn: sqlite3.Connection, row: OutboxRow, envelope: bytes) -> None:
    """Put a sealed batch in. sqlite3.IntegrityError when its (stream, seq) exists."""
    session = None if row.session is None else row.session.bytes
    facts = (row.id, row.lane, row.size, row.frames, row.from_us, row.to_us, row.pinned, session, row.digest)
    conn.execute(f"INSERT INTO outbox ({_FACTS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", facts)  # noqa: S608
    conn.execute("INSERT INTO envelope (id, body) VALUES (?, ?)", (row.id, envelope))


def outbox_after(conn: sqlite3.Connection, lane: Lane, after_id: int, limit: int) -> list[OutboxRow]:
    """Rows of a lane in order of their id, those after `after_id`."""
    sql = f"SELECT {_FACTS} FROM outbox WHERE lane = ? AND id > ? ORDER BY id LIMIT ?"  # noqa: S608
    return [_outbox_row(r) for r in conn.execute(sql, (lane, after_id, limit))]


def outbox_rows(conn: sqlite3.Connection) -> list[OutboxRow]:
    """All rows in order of their id."""
    return [_outbox_row(r) for r in conn.execute(f"SELECT {_FACTS} FROM outbox ORDER BY id")]  # noqa: S608


def outbox_ids(conn: sqlite3.Connection) -> set[int]:
    """Ids of all batches."""
    return {key for (key,) in conn.execute("SELECT id FROM outbox")}


def outbox_digest(conn: sqlite3.Connection, key: int) -> bytes | None:
    found = conn.execute("SELECT digest FROM outbox WHERE id = ?", (key,)).fetchone()
    return None if found is None else bytes(found[0])


def envelope(conn: sqlite3.Connection, key: int) -> bytes | None:
    """The bytes of a batch; None when it is no longer there."""
    found = conn.execute("SELECT body FROM envelope WHERE id = ?", (key,)).fetchone()
    return None if found is None else bytes(found[0])


def drop_outbox(conn: sqlite3.Connection, keys: list[int]) -> None:
    """Take batches out: those receipted, or those whose gap record is written in the same transaction."""
    rows = [(key,) for key in keys]
    conn.executemany("DELETE FROM outbox WHERE id = ?", rows)
    conn.executemany("DELETE FROM envelope WHERE id = ?", rows)


def pin_span(conn: sqlite3.Connection, from_us: int, to_us: int) -> int:
    """Hold all batches that overlap the span against eviction; returns how many were not held before."""
    sql = "UPDATE outbox SET pinned = 1 WHERE pinned = 0 AND frames > 0 AND to_us > ? AND from_us < ?"
    return conn.execute(sql, (from_us, to_us)).rowcount


def evictable(conn: sqlite3.Connection, held: list[bytes], limit: int) -> list[OutboxRow]:
    """What goes first when room is needed: lowest lane, then oldest; never alerts, pinned batches or held sessions."""
    marks = ",".join("?" * len(held))
    sql = f"""SELECT {_FACTS} FROM outbox WHERE lane > 0 AND pinned = 0
              AND (session IS NULL OR session NOT IN ({marks})) ORDER BY lane DESC, id LIMIT ?"""  # noqa: S608
    return [_outbox_row(r) for r in conn.execute(sql, (*held, limit))]


def queued(conn: sqlite3.Connection) -> dict[Lane, tuple[int, int]]:
    """Per lane: batches and bytes in the outbox."""
    found = conn.execute("SELECT lane, count(*), sum(size) FROM outbox GROUP BY lane")
    return {Lane(lane): (n, size) for lane, n, size in found}


# --- streams and state


def streams(conn: sqlite3.Connection) -> dict[int, uuid.UUID]:
    """Stream number -> stream id; the highest number is the store's own."""
    return {no: uuid.UUID(bytes=i) for no, i in conn.execute("SELECT no, id FROM stream ORDER BY no")}


def add_stream(conn: sqlite3.Connection, stream: uuid.UUID) -> int:
    """Register a stream; returns its number (that of an earlier registration when there is one)."""
    conn.execute("INSERT INTO stream (id) VALUES (?) ON CONFLICT DO NOTHING", (stream.bytes,))
    return int(conn.execute("SELECT no FROM stream WHERE id = ?", (stream.bytes,)).fetchone()[0])


def get_state(conn: sqlite3.Connection, key: str) -> bytes | None:
    found = conn.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
    return None if found is None else bytes(found[0])


def set_state(conn: sqlite3.Connection, key: str, value: bytes) -> None:
    sql = "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    conn.execute(sql, (key, value))


# --- the file


class Store:
    """The open file. One connection, used by one thread at a time under `lock`."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. TornStore when it is damaged or of a newer schema; OSError, sqlite3.Error."""
        self.path = path
        self.lock = threading.RLock()
        with _alone(path):
            self.conn = _connect(path)
        try:
            _check(self.conn)
            self.migrate(migrations)
        except TornStore:
            self.conn.close()
            raise
        except sqlite3.DatabaseError as e:
            self.conn.close()
            if is_damage(e):
                raise TornStore(str(e)) from e
            raise

    def migrate(self, wanted: Migrations) -> None:
        """Bring the tables up to date; of two processes that open a new file at once one waits for the other."""
        if wanted.pending(Database(self.conn)):
            with self.transaction() as conn:
                wanted.apply(Database(conn))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, on disk when it returns. sqlite3.Error as SQLite raises it, rolled back."""
        with self.lock:
            self.conn.execute("BEGIN IMMEDIATE")
            try:
                yield self.conn
                self.conn.execute("COMMIT")
            except BaseException:
                if self.conn.in_transaction:
                    self.conn.execute("ROLLBACK")
                raise

    def size_bytes(self) -> int:
        """Logical size: pages in use, plus the write-ahead log."""
        with self.lock:
            pages, free, page = (
                int(self.conn.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
        return (pages - free) * page + self.log_bytes()

    def log_bytes(self) -> int:
        """Size of the write-ahead log's file."""
        wal = self.path.with_name(self.path.name + "-wal")
        return wal.stat().st_size if wal.exists() else 0

    def free_bytes(self) -> int:
        """Pages of the file that are not in use: they are written again before the file grows."""
        with self.lock:
            return int(self.conn.execute("PRAGMA freelist_count").fetchone()[0]) * PAGE_BYTES

    def limit_log(self, log_bytes: int) -> None:
        """Copy the write-ahead log back when it holds so much."""
        pages = max(min(CHECKPOINT_PAGES, log_bytes // PAGE_BYTES), _LEAST_CHECKPOINT_PAGES)
        with self.lock:
            self.conn.execute(f"PRAGMA wal_autocheckpoint = {pages}").fetchall()

    def reuse_log(self) -> None:
        """Copy the write-ahead log back and write it again from its start: the file keeps its size, so that what is
        written next needs no room on the disk. sqlite3.Error when the main file cannot grow by what is copied."""
        with self.lock:
            self.conn.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def shrink(self) -> None:
        """Copy the write-ahead log back and give up to 1 MB of free pages back to the file system."""
        with self.lock:
            self.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self.conn.executescript(f"PRAGMA incremental_vacuum({(1 << 20) // PAGE_BYTES})")  # `execute`: one page
            self.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # only this cuts the file itself

    def close(self) -> None:
        with self.lock:
            self.conn.close()


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file itself is damaged (not full, not busy)."""
    return getattr(error, "sqlite_errorname", "").split("_")[:2] in (["SQLITE", "CORRUPT"], ["SQLITE", "NOTADB"])


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process makes a store of this folder meanwhile: SQLite does not wait for who turns a file into WAL."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _connect(path: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        for pragma in (
            f"page_size = {PAGE_BYTES}",
            "auto_vacuum = INCREMENTAL",
            "journal_mode = WAL",
            "synchronous = FULL",
            f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
            "cache_size = -2000",
            "temp_store = MEMORY",
            "secure_delete = OFF",  # some builds zero what is deleted: deleting would write as much as recording
        ):
            conn.execute(f"PRAGMA {pragma}").fetchall()
    except sqlite3.DatabaseError as e:
        conn.close()
        if is_damage(e):
            raise TornStore(str(e)) from e
        raise
    path.chmod(0o600)
    return conn


def _check(conn: sqlite3.Connection) -> None:
    """Raise TornStore when the file is of a newer schema or its pages do not hold together (bounded in time)."""
    version = int(conn.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise TornStore(f"schema {version} is newer than this agent's {SCHEMA_VERSION}")
    until = time.monotonic() + _CHECK_SECONDS
    conn.set_progress_handler(lambda: int(time.monotonic() > until), 100_000)
    try:
        verdict = conn.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as e:
        if getattr(e, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
            raise
        verdict = "ok"  # a huge file: damage that was not reached shows when the row is read (its digest)
    finally:
        conn.set_progress_handler(None, 0)
    if verdict != "ok":
        raise TornStore(str(verdict)[:200])

"""A store that cannot be used any more (torn, or of a newer schema): set aside, what can be read goes into a new one.

Sealed batches are checked by their own signature, so nothing damaged is carried over; they keep stream and sequence.
Journal rows are checked by their checksum. What cannot be read is owned up to by a gap record `store_reset`.
"""

import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent import journal, store
from agent.sealing import row_of
from agent.session import RecorderState, unpack_state
from agent.store import JournalRow, Store, TornStore
from shared import batch as wire
from shared import envelope
from shared.errors import Refused
from shared.records import Gap

KEPT_ASIDE = 2
"""Set-aside files kept for whoever wants to look; older ones are removed."""
_SIDE = ".torn-"
FindKey = Callable[[bytes], Ed25519PublicKey | None]


@dataclass(slots=True)
class Salvaged:
    """What could be read of a torn file. state: the recorder's, when it could."""

    why: str
    batches: list[tuple[wire.Batch, bytes]] = field(default_factory=list)
    journal: list[JournalRow] = field(default_factory=list)
    state: RecorderState | None = None
    holds: bytes | None = None
    policy: bytes | None = None
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """The store to use, and what was salvaged into it when an earlier file had to be set aside."""

    store: Store
    salvaged: Salvaged | None = None


def open_store(path: Path, find_key: FindKey) -> Opened:
    """Open the store; a file that cannot be used is set aside and salvaged. OSError when nothing can be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Opened(Store(path))
    except TornStore as torn:
        why = str(torn)
    aside = set_aside(path)
    salvaged = read_torn(aside, find_key, why)
    fresh = Store(path)
    put_back(fresh, salvaged)
    return Opened(fresh, salvaged)


def set_aside(path: Path) -> Path:
    """Rename the file and its write-ahead log; returns the new path. The oldest set-aside files are removed."""
    number = 1 + max((int(p.name.rpartition("-")[2]) for p in _asides(path)), default=0)
    aside = path.with_name(f"{path.name}{_SIDE}{number:04}")
    for tail in ("-wal", ""):
        if (part := path.with_name(path.name + tail)).exists():
            part.rename(aside.with_name(aside.name + tail))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    for old in sorted(_asides(path))[:-KEPT_ASIDE]:
        for tail in ("", "-wal", "-shm"):
            old.with_name(old.name + tail).unlink(missing_ok=True)
    return aside


def _asides(path: Path) -> list[Path]:
    found = path.parent.glob(path.name + _SIDE + "*")
    return [p for p in found if p.name.rpartition("-")[2].isdigit()]


def read_torn(path: Path, find_key: FindKey, why: str) -> Salvaged:
    """Read whatever can still be read of a damaged file; never raises for damage."""
    found = Salvaged(why)
    try:
        conn = sqlite3.connect(path, isolation_level=None)
    except sqlite3.Error:
        return found
    try:
        for row in _each(conn, "envelope", "id, body"):
            _take_envelope(found, row, find_key)
        for row in _each(conn, "journal", "id, boot, session, frames, position, body"):
            _take_journal(found, row)
        for key, value in _states(conn):
            _take_state(found, key, value)
    finally:
        conn.close()
    return found


def _each(conn: sqlite3.Connection, table: str, columns: str) -> "list[tuple[object, ...]]":
    """Rows of a table, those between damaged pages too: read from both ends, then one by one."""
    keys: set[int] = set()
    for order in ("ASC", "DESC"):
        try:
            for (key,) in conn.execute(f"SELECT id FROM {table} ORDER BY id {order}"):  # noqa: S608
                keys.add(key)
        except (sqlite3.Error, OverflowError):
            continue
    rows = []
    for key in sorted(keys):
        try:
            rows.append(conn.execute(f"SELECT {columns} FROM {table} WHERE id = ?", (key,)).fetchone())  # noqa: S608
        except (sqlite3.Error, OverflowError):
            rows.append((key,))
    return [row for row in rows if row is not None]


def _states(conn: sqlite3.Connection) -> list[tuple[str, bytes]]:
    try:
        return conn.execute("SELECT key, value FROM state").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return []


def _take_envelope(found: Salvaged, row: "tuple[object, ...]", find_key: FindKey) -> None:
    try:
        sealed = row[1]
        if not isinstance(sealed, bytes):
            raise Refused("damaged")
        opened = envelope.open_envelope(sealed, find_key, envelope.BATCH_TYPE)
        found.batches.append((wire.decode(opened.payload), sealed))
    except (Refused, IndexError):
        found.damaged += 1


def _take_journal(found: Salvaged, row: "tuple[object, ...]") -> None:
    try:
        _, boot, session, _, position, body = row
        if not (isinstance(boot, bytes) and isinstance(body, bytes) and isinstance(position, int)):
            raise Refused("damaged")
        owner = uuid.UUID(bytes=session) if isinstance(session, bytes) else None
        frames = journal.unpack(body)
        found.journal.append(JournalRow(0, uuid.UUID(bytes=boot), owner, len(frames), position, body))
    except (Refused, ValueError):
        found.damaged += 1


def _take_state(found: Salvaged, key: object, value: object) -> None:
    if key == "recorder" and isinstance(value, bytes):
        try:
            found.state = unpack_state(value)
        except Exception:
            found.state = None
    elif key == "holds" and isinstance(value, bytes):
        found.holds = value
    elif key == "policy" and isinstance(value, bytes):
        found.policy = value


def put_back(fresh: Store, salvaged: Salvaged) -> None:
    """Salvaged batches go into the new outbox under their old stream, journal rows into the new journal."""
    with fresh.transaction() as conn:
        numbers: dict[uuid.UUID, int] = {}
        for body, sealed in salvaged.batches:
            number = numbers.setdefault(body.stream, 0) or store.add_stream(conn, body.stream)
            numbers[body.stream] = number
            row = row_of(body, sealed, number, pinned=False)
            if store.outbox_digest(conn, row.id) is None:
                store.add_outbox(conn, row, sealed)
        for row_ in salvaged.journal:
            store.add_journal(conn, row_)
        for key, value in (("holds", salvaged.holds), ("policy", salvaged.policy)):
            if value is not None:
                store.set_state(conn, key, value)


def reset_gap(salvaged: Salvaged, stream: uuid.UUID) -> Gap:
    """The gap record that tells of the reset. stream: the new one, when the old one's id could not be read."""
    old = salvaged.state.chain.stream if salvaged.state else None
    if old is None and salvaged.batches:
        old = salvaged.batches[-1][0].stream
    session = salvaged.state.session.session if salvaged.state and salvaged.state.session else None
    detail = (
        f"{salvaged.why[:200]}; salvaged {len(salvaged.batches)} batches and {len(salvaged.journal)} journal rows, "
        f"{salvaged.damaged} rows unreadable"
    )
    return Gap("store_reset", old or stream, session=session, detail=detail)

"""Recorded logs on their way to the hub: packed, sealed and queued in a store of their own, with a network or without.

A log is named by the SHA-256 of its unpacked bytes, so the same log again, packed or under another name, is the same
import. Each log is a stream of its own: its slices in order, then its manifest. What is packed is unpacked again before
the manifest is sealed: a log that is queued can be had back. Nothing is ever evicted; too full a disk refuses.
After a kill, adding the log again goes on where it ended: packing is deterministic, and what is there is compared.
"""

import fcntl
import hashlib
import itertools
import logging
import shutil
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent import imports_store, store
from agent.identity import Identity
from agent.imports_packing import PackedOtherwise, Progress, SlicedLog
from agent.imports_store import ImportRow, ImportState
from agent.lean import without
from agent.recorder_clock import machine_boot, now_us
from agent.salvage import open_store
from agent.sealing import Chain, Content, seal
from agent.store import SEQ_BITS, OutboxRow
from shared import envelope
from shared.batch import GENESIS
from shared.errors import Refused
from shared.ids import new_id
from shared.receipt import Receipt, decode_log_receipt
from shared.records import LogManifest, LogPart, Record
from shared.topics import Lane

if TYPE_CHECKING:
    from firmware_bridge.log_source import LogSource
    from firmware_bridge.log_survey import Survey

with without("pandas"):
    from sqlite_utils import Database

log = logging.getLogger("dbx.imports")
FILE = "imports.db"
MOST_RECEIPTS = 100
"""Taken in one transaction."""
SLICE_BYTES = 128 << 10
SHARED_SLICE_BYTES = 32 << 10
"""Of an aircraft's own logs: they share the link with what is happening now, which waits for one slice at most."""
_EXPECTED_SHARE = 0.5
"""Of a log's bytes, what it may take on disk: refused before it is begun when there is less room."""
_LEAST_FREE_BYTES, _MOST_FREE_BYTES, _FREE_SHARE = 8 << 20, 1 << 30, 16
_SLACK_BYTES = 256 << 10
"""What a transaction takes besides its slices, which go into the write-ahead log and, with all of it, into the file."""
_WORTH_GIVING_BYTES = 4 << 20
_MOST_NAME = 400
_GENERATION = "imports_generation"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a log. is_new: queued now. is_assigned: it was there, and its aircraft is said now."""

    log: bytes
    is_new: bool
    is_assigned: bool
    size_bytes: int
    packed_bytes: int
    aircraft: uuid.UUID | None


class ImportQueue:
    """See the module. One process at a time adds; any number may read, send and settle. An `Outbox` for an uplink."""

    def __init__(self, folder: Path, identity: Identity, keep_free_bytes: int | None = None) -> None:
        """Open imports.db in the folder. OSError or sqlite3.Error when it cannot be written.

        keep_free_bytes: what is left of the disk to others (default: 1/16 of it, from 8 MiB to 1 GiB).
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.identity = identity
        self.suspect = ""
        self.damaged: deque[OutboxRow] = deque()
        self.heard: deque[tuple[Receipt, bytes]] = deque()
        opened = open_store(folder / FILE, identity.find_own)
        self.store = opened.store
        self.was_torn = opened.salvaged.why if opened.salvaged else ""
        """Why an earlier file was set aside: what it knew of imports is gone; batches that could be read are queued."""
        imports_store.migrations.apply(Database(self.store.conn))
        total = shutil.disk_usage(folder).total
        share = min(max(total // _FREE_SHARE, _LEAST_FREE_BYTES), _MOST_FREE_BYTES)
        self._keep_free_bytes = share if keep_free_bytes is None else keep_free_bytes
        self._slice_bytes = SLICE_BYTES if identity.is_station else SHARED_SLICE_BYTES
        self.generation = 0
        self.follow()

    def close(self) -> None:
        self.store.close()

    # --- looking

    def find(self, log: bytes) -> ImportRow | None:
        """The import of a log."""
        with self.store.lock:
            return imports_store.find_import(self.store.conn, log)

    def imports(self) -> list[ImportRow]:
        """All, in the order in which they came."""
        with self.store.lock:
            return imports_store.imports(self.store.conn)

    def waiting(self) -> tuple[int, int]:
        """(batches, bytes) that the hub has not receipted."""
        with self.store.lock:
            return store.queued(self.store.conn).get(Lane.bulk, (0, 0))

    # --- adding

    def add(
        self, source: "LogSource", survey: "Survey", aircraft: uuid.UUID | None, origin: str,
        progress: Progress | None = None,
    ) -> Imported:  # fmt: skip
        """Queue a log; a log that is queued is left as it is, but for an aircraft that was not known.

        aircraft: whose it is; None: nobody knows yet. origin: card, offload or upload. Refused: disk_full, log_changed
        (not the bytes that were surveyed), log_of_other_aircraft (an aircraft's device imports its own logs only).
        """
        if aircraft not in (None, self.identity.aircraft_id) and not self.identity.is_station:
            raise Refused("log_of_other_aircraft", "this device imports logs of its own aircraft only; enrol a station")
        try:
            with self._alone():
                row = self.find(survey.sha256)
                if row is not None and (row.state == ImportState.queued or row.receipt is not None):
                    return self._again(row, aircraft)
                self.make_room(int(survey.size_bytes * _EXPECTED_SHARE))
                row = self._begin(row, source, survey, aircraft, origin)
                return self._packed(row, source, progress or (lambda _: None))
        except sqlite3.OperationalError as e:
            if getattr(e, "sqlite_errorname", "").startswith(("SQLITE_FULL", "SQLITE_IOERR")):
                raise Refused("disk_full", f"{e}; what is queued of this log is kept, and gone on with") from None
            raise

    def make_room(self, size_bytes: int) -> None:
        """Refused("disk_full") when the disk has not so much for us."""
        free = shutil.disk_usage(self.folder).free
        if free < size_bytes + self._keep_free_bytes:
            kept = f"of which {self._keep_free_bytes >> 20} are kept free"
            raise Refused("disk_full", f"{size_bytes >> 10} kB needed; {free >> 20} MB free, {kept}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process or thread adds meanwhile."""
        with (self.folder / "imports.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _begin(
        self, before: ImportRow | None, source: "LogSource", survey: "Survey", aircraft: uuid.UUID | None, origin: str
    ) -> ImportRow:
        """The row of a log that is new, or whose import was broken off: then readers of the queue start anew, because
        its batches are older than what they have read."""
        with self.store.transaction() as conn:
            number = before.stream_no if before else store.add_stream(conn, new_id())
            row = ImportRow(
                survey.sha256, number, ImportState.packing, source.name[-_MOST_NAME:], survey.format,
                survey.size_bytes, 0, b"", aircraft, survey.hardware_ids, origin, time.time_ns() // 1000,
            )  # fmt: skip
            imports_store.put_import(conn, row)
            if before is not None:
                self._next_generation(conn)
        return row

    def _packed(self, row: ImportRow, source: "LogSource", progress: Progress) -> Imported:
        try:
            return self._pack(row, source, progress)
        except PackedOtherwise:  # one stream never holds two packed forms of a log
            with self.store.transaction() as conn:
                row = replace(row, stream_no=store.add_stream(conn, new_id()))
                imports_store.put_import(conn, row)
            return self._pack(row, source, progress)

    def _pack(self, row: ImportRow, source: "LogSource", progress: Progress) -> Imported:
        with self.store.lock:
            known = [s.packed for s in imports_store.slices(self.store.conn, row.stream_no)]
        sliced = SlicedLog(known, self._slice_bytes, lambda offset, slices: self._write(row, offset, slices))
        sha = sliced.run(source.pieces(), row.format, row.log, progress)
        with self.store.transaction() as conn:
            row = replace(row, state=ImportState.queued, packed=sliced.size_bytes, packed_sha=sha)
            self._put(conn, row.stream_no, _manifest(row), b"")
            imports_store.put_import(conn, row)
        return _imported(row, is_new=True)

    def _write(self, row: ImportRow, offset: int, slices: Sequence[bytes]) -> None:
        self.make_room(2 * sum(map(len, slices)) + self.store.log_bytes() + _SLACK_BYTES)
        with self.store.transaction() as conn:
            for data in slices:
                self._put(conn, row.stream_no, LogPart(row.log, offset, data), data)
                offset += len(data)

    def _put(self, conn: sqlite3.Connection, stream_no: int, record: Record, packed: bytes) -> None:
        """Seal a record as the next batch of a log's stream."""
        last_seq, head = imports_store.last_slice(conn, stream_no) or (0, GENESIS)
        chain = Chain(stream_no, imports_store.stream_id(conn, stream_no), last_seq + 1, head)
        at = now_us()
        content = Content(machine_boot(), None, Lane.bulk, (at, at), (), records=(record,), pinned=True)
        facts, sealed, _ = seal(chain, self.identity.signer, content)
        store.add_outbox(conn, facts, sealed)
        imports_store.add_slice(conn, facts.id, hashlib.sha256(packed).digest(), facts.digest)

    def _again(self, row: ImportRow, aircraft: uuid.UUID | None) -> Imported:
        """A log that is queued already; whose it is may be news."""
        if row.state == ImportState.packing or aircraft in (None, row.aircraft):
            return _imported(row)
        row = replace(row, aircraft=aircraft)
        with self.store.transaction() as conn:
            self._put(conn, row.stream_no, _manifest(row), b"")
            imports_store.put_import(conn, row)
            self._next_generation(conn)
        return _imported(row, is_assigned=True)

    # --- what the hub says

    def hear(self, receipt: Receipt, sealed: bytes) -> None:
        """A receipt whose signature holds; see `settle`."""
        self.heard.append((receipt, sealed))

    def settle(self, heard: "deque[tuple[Receipt, bytes]] | None" = None) -> None:
        """Keep the receipts that came, let go of what they have. sqlite3.Error when the disk refuses: once more then.

        heard: of another opening of this queue (an uplink's).
        """
        heard = self.heard if heard is None else heard
        while taken := list(itertools.islice(heard, MOST_RECEIPTS)):
            with self.store.transaction() as conn:
                for receipt, sealed in taken:
                    self._settle(conn, receipt, sealed)
            for _ in taken:
                heard.popleft()

    def _settle(self, conn: sqlite3.Connection, receipt: Receipt, sealed: bytes) -> None:
        number = imports_store.stream_number(conn, receipt.stream)
        if number is None:
            return
        done = []
        for seq, digest in receipt.committed().items():
            key = number << SEQ_BITS | seq
            ours = imports_store.slice_digest(conn, key) or store.outbox_digest(conn, key)
            if ours == digest:
                done.append(key)
            elif ours is not None:
                self._forget(conn, number, "the hub has other batches: the store was put back from a copy")
        if done:
            imports_store.set_receipt(conn, done, imports_store.add_receipt(conn, sealed))
            store.drop_outbox(conn, done)

    def give_back(self) -> None:
        """When all is receipted: give the room that it took back to the disk. sqlite3.Error when the disk refuses."""
        if not self.waiting()[0] and self.store.free_bytes() > _WORTH_GIVING_BYTES:
            with self.store.lock:
                imports_store.give_back(self.store.conn)

    def drop_damaged(self, damaged: "deque[OutboxRow]") -> None:
        """Forget logs of which a batch is damaged on disk: they are to be imported again."""
        while damaged:
            with self.store.transaction() as conn:
                self._forget(conn, damaged[0].stream_no, "a batch is damaged on disk")
                store.drop_outbox(conn, [damaged[0].id])
            damaged.popleft()

    def _forget(self, conn: sqlite3.Connection, stream_no: int, why: str) -> None:
        for row in imports_store.imports(conn):
            if row.stream_no == stream_no:
                imports_store.drop_import(conn, row)
                log.warning("import forgotten", extra={"log_name": row.name, "why": why})

    def take_log_receipt(self, sealed: bytes) -> set[bytes]:
        """The hub's word on which logs are whole: kept, and nothing more of them is sent. The logs that it names.

        Refused when the envelope or what is in it is not sound.
        """
        opened = envelope.open_envelope(sealed, self.identity.find_hub, envelope.LOG_RECEIPT_TYPE)
        found = {c.log: c for c in decode_log_receipt(opened.payload).logs}
        with self.store.transaction() as conn:
            known = [r for r in imports_store.imports(conn) if r.log in found and found[r.log].size_bytes == r.size]
            if fresh := [r for r in known if r.receipt is None]:
                kept = imports_store.add_receipt(conn, sealed)
                for row in fresh:
                    imports_store.put_import(conn, replace(row, receipt=kept))
            for row in known:
                imports_store.drop_waiting(conn, row.stream_no)
        return set(found)

    def follow(self) -> None:
        """Look whether readers of the queue are to begin anew."""
        with self.store.lock:
            found = store.get_state(self.store.conn, _GENERATION)
        self.generation = int.from_bytes(found or b"", "big")

    def _next_generation(self, conn: sqlite3.Connection) -> None:
        self.generation += 1
        store.set_state(conn, _GENERATION, self.generation.to_bytes(8, "big"))


def _manifest(row: ImportRow) -> LogManifest:
    return LogManifest(
        row.log, row.size, row.packed, row.packed_sha, row.format, row.name, row.origin, row.imported_us,
        row.aircraft, list(row.hardware_ids),
    )  # fmt: skip


def _imported(row: ImportRow, is_new: bool = False, is_assigned: bool = False) -> Imported:
    return Imported(row.log, is_new, is_assigned, row.size, row.packed, row.aircraft)

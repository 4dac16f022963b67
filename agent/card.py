"""`dbx agent card`: may this card be wiped? Answered offline, from the hub's signed receipts that are stored here.

A log is whole in the hub when a log receipt names it, or when receipts name each batch of it: what those batches hold
was unpacked again and compared before the last of them was sealed. Every file is read anew: a name or a date proves
nothing. What is no flight log does not block, but is named.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent import imports_store
from agent.imports import ImportQueue
from agent.imports_run import digest_of
from agent.imports_store import ImportRow, ImportState
from firmware_bridge.log_source import LogSource, log_sources
from shared import envelope
from shared.errors import Refused, plainly
from shared.receipt import Receipt, decode_log_receipt, decode_receipt

WHOLE, SENDING, QUEUED, NOT_IMPORTED, CHANGED, TORN, UNREADABLE, NO_LOG = (
    "whole", "sending", "queued", "not imported", "changed since import", "cut short", "unreadable", "no log",
)  # fmt: skip


@dataclass(slots=True)
class FileVerdict:
    """One log of a card, or one file that is none. receipts: signed ones that prove it, verified just now. proof: log
    receipt or batch receipts. committed_us: when the hub had the last of it."""

    file: str
    state: str
    why: str = ""
    sha256: str = ""
    size_bytes: int = 0
    proof: str = ""
    receipts: int = 0
    committed_us: int | None = None

    @property
    def blocks(self) -> bool:
        """Whether the card must not be wiped for this file's sake."""
        return self.state not in (WHOLE, NO_LOG)

    def facts(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


def may_be_wiped(verdicts: list[FileVerdict]) -> bool:
    """Whether there are logs, and all of them are whole in the hub."""
    return any(v.state == WHOLE for v in verdicts) and not any(v.blocks for v in verdicts)


class Card:
    """Judges files by one queue's receipts."""

    def __init__(self, queue: ImportQueue, progress: Callable[[int], None] = lambda _: None) -> None:
        self._queue = queue
        self._progress = progress
        self._receipts: dict[int, Receipt | None] = {}

    def judge(self, path: Path) -> Iterator[FileVerdict]:
        """A verdict for each log of a file, or one for the file."""
        try:
            for source in log_sources(path):
                yield self._log(path, source)
        except Refused as e:
            damaged = e.reason in ("log_damaged", "log_too_large")
            yield FileVerdict(str(path), UNREADABLE if damaged else NO_LOG, e.detail or e.reason)
        except OSError as e:
            yield FileVerdict(str(path), UNREADABLE, plainly(e))

    def _log(self, path: Path, source: LogSource) -> FileVerdict:
        place = f"{path}!{source.member}" if source.member else str(path)
        log = digest_of(source)
        row = self._queue.find(log)
        out = FileVerdict(place, NOT_IMPORTED, sha256=log.hex())
        if source.torn:
            out.state, out.why = TORN, f"the packed file cannot be unpacked to its end: {source.torn}"
        elif row is not None:
            out.size_bytes = row.size
            self._prove(row, out)
        elif self._seen(place) not in (None, log):
            out.state = CHANGED
        return out

    def _seen(self, place: str) -> bytes | None:
        with self._queue.store.lock:
            return imports_store.seen_file(self._queue.store.conn, str(Path(place).resolve()))

    def _prove(self, row: ImportRow, out: FileVerdict) -> None:
        out.state = QUEUED
        if row.receipt is not None and (committed_us := self._log_receipt(row)) is not None:
            out.state, out.proof, out.receipts, out.committed_us = WHOLE, "log receipt", 1, committed_us
            return
        with self._queue.store.lock:
            stream = imports_store.stream_id(self._queue.store.conn, row.stream_no)
            slices = imports_store.slices(self._queue.store.conn, row.stream_no)
        found = [(s, self._receipt(s.receipt)) for s in slices if s.receipt is not None]
        good = [r for s, r in found if r is not None and r.stream == stream and r.committed().get(s.seq) == s.digest]
        if good:
            out.state = SENDING
        if row.state == ImportState.queued and slices and len(good) == len(slices):
            out.state, out.proof = WHOLE, "batch receipts"
            out.receipts, out.committed_us = len(set(map(id, good))), max(r.committed_us for r in good)

    def _log_receipt(self, row: ImportRow) -> int | None:
        """When the hub found the log whole; None when the receipt does not prove it."""
        body = self._body(row.receipt)
        try:
            opened = envelope.open_envelope(body, self._queue.identity.find_hub, envelope.LOG_RECEIPT_TYPE)
            named = [c for c in decode_log_receipt(opened.payload).logs if (c.log, c.size_bytes) == (row.log, row.size)]
        except Refused:
            return None
        return named[0].committed_us if named else None

    def _receipt(self, id_: int) -> Receipt | None:
        """A stored receipt, when its signature holds."""
        if id_ not in self._receipts:
            try:
                opened = envelope.open_envelope(self._body(id_), self._queue.identity.find_hub, envelope.RECEIPT_TYPE)
                self._receipts[id_] = decode_receipt(opened.payload)
            except Refused:
                self._receipts[id_] = None
        return self._receipts[id_]

    def _body(self, id_: int | None) -> bytes:
        with self._queue.store.lock:
            return imports_store.receipt(self._queue.store.conn, id_ or 0) or b""

"""Logs that the worker has open: unpacked to a file, surveyed, derived. One at a time is kept; all can be had again."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from firmware_bridge.events import Event
from firmware_bridge.log_flight import LogFlight, derive
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import LogBoot, Survey, survey
from hub.store import log_arrivals
from hub.store.tenant import tenant
from hub.worker.alignment import Line
from hub.worker.log_bytes import unpack_to
from hub.worker.rederive import joined
from hub.worker.spool import clear_left
from shared.clock import ClockSource, TimeMapping

Connection = psycopg.Connection[Any]
MOST_BYTES = 16 << 30
"""Of one log, unpacked."""
PREFIX = "dbx-logs-"
MOST_SESSIONS = 100
"""Of one log; more are no flights."""


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """A session of a log as rows and events, on the log's own dates or moved from them. start_us, end_us: armed to
    disarmed; inferred, why: see LogSession."""

    line: Line
    events: list[Event]
    start_us: int
    end_us: int
    inferred: bool
    why: str


@dataclass(slots=True, eq=False)
class _Open:
    org_id: uuid.UUID
    sha256: bytes
    path: Path
    survey: Survey | None = None
    flights: list[LogFlight] | None = None
    shift_us: int = 0


class LogShelf:
    """Not thread-safe. spool: a folder with room for the largest log; None: the system's for temporary files."""

    def __init__(self, spool: Path | None = None) -> None:
        self._spool = spool
        self._folder: Path | None = None
        self._open: _Open | None = None

    def put(self, conn: Connection, org_id: uuid.UUID, d: log_arrivals.DeliveryRow) -> tuple[int, bytes]:
        """Assemble a delivery's log and have it at hand; (size, fingerprint). Raises as `unpack_to`."""
        self._drop()
        path = self._place() / d.sha256.hex()
        result = unpack_to(conn, org_id, d, path, MOST_BYTES)
        self._open = _Open(org_id, d.sha256, path)
        return result

    def survey(self, conn: Connection, org_id: uuid.UUID, sha256: bytes) -> Survey:
        """What the log is. Refused: no flight log; LookupError: the hub does not hold it whole."""
        held = self._fetch(conn, org_id, sha256)
        if held.survey is None:
            held.survey = survey(LogSource(held.path))
        return held.survey

    def told(self, conn: Connection, org_id: uuid.UUID, sha256: bytes, shift_us: int = 0) -> list[Told]:
        """The sessions of a log, `shift_us` added to its own dates. Raises as `survey`."""
        found = self.survey(conn, org_id, sha256)
        held = self._fetch(conn, org_id, sha256)
        if held.flights is None or held.shift_us != shift_us:
            moved = replace(found, boots=tuple(_moved(b, shift_us) for b in found.boots))
            held.flights, held.shift_us = derive(LogSource(held.path), moved)[:MOST_SESSIONS], shift_us
        return [_told(f) for f in held.flights]

    def close(self) -> None:
        """Let go of everything."""
        self._drop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _fetch(self, conn: Connection, org_id: uuid.UUID, sha256: bytes) -> _Open:
        held = self._open
        if held is None or (held.org_id, held.sha256) != (org_id, sha256) or not held.path.exists():
            with tenant(conn, org_id):
                delivery = log_arrivals.whole_delivery(conn, org_id, sha256)
            if delivery is None:
                raise LookupError(f"log {sha256.hex()} is not here")
            self.put(conn, org_id, delivery)
        assert self._open is not None
        return self._open

    def _place(self) -> Path:
        if self._folder is None or not self._folder.exists():
            if self._spool is not None:
                self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
                clear_left(self._spool, PREFIX)
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._spool))
        return self._folder

    def _drop(self) -> None:
        if self._open is not None:
            self._open.path.unlink(missing_ok=True)
            self._open = None


@contextmanager
def open_shelf(spool: Path | None = None) -> Iterator[LogShelf]:
    """A shelf that is cleared at the end."""
    shelf = LogShelf(spool)
    try:
        yield shelf
    finally:
        shelf.close()


def _moved(boot: LogBoot, shift_us: int) -> LogBoot:
    """The boot with other dates; one that was not dated is dated by `shift_us` alone."""
    if not shift_us:
        return boot
    clock = boot.clock
    if clock.utc_us is None:
        return replace(boot, clock=TimeMapping(ClockSource.system, 0, shift_us, -1))
    return replace(boot, clock=replace(clock, utc_us=clock.utc_us + shift_us))


def _told(f: LogFlight) -> Told:
    boot, grid = f.boot, joined(f.grids)
    at = None if boot.boot_us is None else boot.first_us - boot.boot_us + f.offset_us
    grid = replace(grid, tick_us=grid.tick_us + f.offset_us)
    line = Line(grid, boot.clock.source, boot.clock.uncertainty_us, at)
    events = [replace(e, at_us=e.at_us + f.offset_us) for e in f.events]
    start, end = f.session.start_us + f.offset_us, f.session.end_us + f.offset_us
    return Told(line, events, start, end, f.session.inferred, f.session.why)

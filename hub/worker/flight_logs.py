"""The logs of a flight, brought onto it: read, laid on the live stream, cut to the flight's share of them.

Before the settling transaction, because reading a log takes as long as the log is large, and a locked session would
hold ingest up meanwhile.
"""

import uuid
from dataclasses import dataclass, field
from typing import Any

import psycopg

from firmware_bridge.events import Event
from firmware_bridge.grid import ChannelGrid
from hub.store import logs, sessions
from hub.store.logs import FlightLog, LogRow
from hub.store.tenant import tenant
from hub.worker.alignment import Line
from hub.worker.log_shelf import LogShelf, Told
from hub.worker.merge import KIND_OF_FORMAT, RANK, Kind, within
from hub.worker.overlay import Candidate, Name, lay
from shared.clock import ClockSource
from shared.errors import Refused

Connection = psycopg.Connection[Any]
FOREVER = (-(1 << 62), 1 << 62)


@dataclass(frozen=True, slots=True, eq=False)
class LaidLog:
    """A log's session on the flight's clock. log: the row; match: how it was found to lie so."""

    log: LogRow
    match: FlightLog
    kind: Kind
    grid: ChannelGrid
    events: list[tuple[int, Event]]
    """(number within the session, event)."""
    span_us: tuple[int, int]
    """Armed to disarmed."""


@dataclass(slots=True, eq=False)
class LaidLogs:
    """All logs of a flight, best first. live_shift_us: what is added to the live stream's own dates. clock: source and
    uncertainty of the log that dates the flight; None: the live stream does."""

    laid: list[LaidLog] = field(default_factory=list)
    live_shift_us: int = 0
    clock: tuple[ClockSource, int] | None = None
    boot_at_us: int | None = None

    @property
    def names(self) -> set[Name]:
        return {(f.match.sha256, f.match.session_no) for f in self.laid}


def read_logs(
    conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, live: Line | None, shelf: LogShelf
) -> LaidLogs:
    """The logs that are part of a flight, or turn out to be. live: its stream, None when it has none."""
    with tenant(conn, org_id):
        found = logs.attached(conn, org_id, session_id)
        known = {(f.sha256, f.session_no): f for f in logs.flight_logs(conn, org_id, session_id)}
        rows = logs.find_logs(conn, org_id, {sha256 for sha256, _ in found})
    names = set(found)
    candidates = [c for name in sorted(names) if (c := _candidate(conn, org_id, shelf, rows, name, known.get(name)))]
    overlay = lay(live, candidates)
    out = LaidLogs(live_shift_us=overlay.live_shift_us)
    for c in sorted((c for c in candidates if c.name in overlay.shifts), key=lambda c: (RANK[c.kind], c.name)):
        m = overlay.matches[c.name]
        told = shelf.told(conn, org_id, c.name[0], overlay.shifts[c.name])[c.name[1]]
        window = _window(conn, org_id, session_id, c.name)
        out.laid.append(
            _cut(rows[c.name[0]], FlightLog(*c.name, m.method, m.offset_us, m.agreement), c.kind, told, window)
        )
        if c.name == overlay.master:
            out.clock, out.boot_at_us = (told.line.clock, told.line.uncertainty_us), told.line.boot_at_us
    return out


def _candidate(
    conn: Connection, org_id: uuid.UUID, shelf: LogShelf, rows: dict[bytes, LogRow], name: Name, known: FlightLog | None
) -> Candidate | None:
    """A log's session, if it can still be read."""
    row = rows.get(name[0])
    if row is None:
        return None
    try:
        told = shelf.told(conn, org_id, name[0])
    except (Refused, LookupError):
        return None
    kind = KIND_OF_FORMAT.get(row.format, "telemetry")
    return Candidate(name, kind, told[name[1]].line, known) if name[1] < len(told) else None


def _cut(log: LogRow, match: FlightLog, kind: Kind, told: Told, window: tuple[int, int]) -> LaidLog:
    events = [(i, e) for i, e in enumerate(told.events) if window[0] <= e.at_us < window[1]]
    grid = within(told.line.grid, window)
    return LaidLog(log, match, kind, grid, events, (told.start_us, told.end_us))


def _window(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, name: Name) -> tuple[int, int]:
    """The flight's share of a log that tells of several flights as of one (a lost link divided them): up to the middle
    of the time between them."""
    with tenant(conn, org_id):
        others = logs.siblings(conn, org_id, session_id, *name)
        own = sessions.find_span(conn, org_id, session_id)
    if own is None or not others:
        return FOREVER
    before = [end for _, start, end in others if start < own[0]]
    after = [start for _, start, _ in others if start >= own[0]]
    low = (max(before) + own[0]) // 2 if before else FOREVER[0]
    high = (own[1] + min(after)) // 2 if after else FOREVER[1]
    return low, high

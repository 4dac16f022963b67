"""The worker's job on a recorded log: assemble it, check it, read it, find out whose it is, settle its flights.

Done again whenever something new is known of the log (another delivery, an assignment, a hardware id); each step
changes nothing that is so already. What a log holds can fail that log only: it says why, and its bytes stay.
"""

import json
import logging
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import psycopg

from firmware_bridge.log_survey import Survey
from hub.ingest.derive import json_text
from hub.ingest.table_rows import RowTypes
from hub.store import jobs, log_arrivals, logs
from hub.store.log_arrivals import DeliveryRow
from hub.store.logs import LogFacts, LogRow, SessionRow
from hub.store.tenant import tenant
from hub.worker.fingerprint import holds
from hub.worker.log_bytes import Missing
from hub.worker.log_shelf import LogShelf, Told
from hub.worker.settle import settle
from shared.clock import ClockSource
from shared.errors import Refused

log = logging.getLogger("dbx.worker")
Connection = psycopg.Connection[Any]
AGAIN_S = 30.0
WAITED_FOR_S = 600.0
"""So long after the newest part came a log that is not whole is looked at again."""
MOST_DAMAGE = 1_000
MOST_TEXT = 200_000


def take_in(
    conn: Connection, types: RowTypes, org_id: uuid.UUID, log_id: uuid.UUID, shelf: LogShelf
) -> list[uuid.UUID]:
    """Do all that can be done with a log now; the flights to be settled and analysed. Outside any transaction."""
    with tenant(conn, org_id):
        row = logs.find_by_id(conn, org_id, log_id)
        deliveries = log_arrivals.deliveries(conn, org_id, row.sha256) if row else []
    if row is None or not deliveries:
        return []
    if not row.is_whole and not _assemble(conn, org_id, row, deliveries, shelf):
        return []
    if (not row.is_read or row.state == "failed") and not _read(conn, org_id, row, shelf):
        return _join_whole(conn, org_id, row.sha256)
    touched = _join_whole(conn, org_id, row.sha256)
    touched += _find_owner(conn, org_id, row.sha256, deliveries)
    touched += _place(conn, types, org_id, row.sha256, shelf)
    return [*dict.fromkeys(touched + _give_up_parts(conn, org_id, row.sha256))]


# --- bytes ------------------------------------------------------------------------------------------------------------


def _assemble(
    conn: Connection, org_id: uuid.UUID, row: LogRow, deliveries: Sequence[DeliveryRow], shelf: LogShelf
) -> bool:
    """Put the log together from whichever delivery is whole and right; whether there is one."""
    missing, damaged = "", ""
    for d in deliveries:
        try:
            size, fingerprint = shelf.put(conn, org_id, d)
        except Missing as e:
            missing = str(e)
        except Refused as e:
            damaged = str(e)
        else:
            with tenant(conn, org_id, actor="worker"):
                logs.set_whole(conn, org_id, d, size, fingerprint)
            return True
    with tenant(conn, org_id, actor="worker"):
        if damaged:
            logs.set_state(conn, org_id, row.sha256, "damaged_in_transit", damaged)
        else:
            logs.set_state(conn, org_id, row.sha256, "arriving", missing)
        if missing and row.last_received_s < WAITED_FOR_S:
            jobs.enqueue(conn, org_id, "log", {log_arrivals.log_id(row.sha256): AGAIN_S})
    return False


# --- content ----------------------------------------------------------------------------------------------------------


def _read(conn: Connection, org_id: uuid.UUID, row: LogRow, shelf: LogShelf) -> bool:
    """Survey and derive the log; whether it is one that we can read."""
    try:
        survey = shelf.survey(conn, org_id, row.sha256)
        told = shelf.told(conn, org_id, row.sha256)
    except psycopg.Error:
        raise
    except Exception as e:  # whatever a hostile log provokes: it fails that log, and its bytes stay
        reason = str(e) if isinstance(e, Refused) else f"{type(e).__name__}: {e}"
        log.warning("log not read", extra={"log": row.sha256.hex(), "reason": reason[:200]})
        with tenant(conn, org_id, actor="worker"):
            logs.set_failed(conn, org_id, row.sha256, reason)
        return False
    with tenant(conn, org_id, actor="worker"):
        logs.set_facts(conn, org_id, row.sha256, _facts(survey))
        logs.replace_sessions(conn, org_id, row.sha256, [_session(i, t) for i, t in enumerate(told)])
    return True


def _facts(s: Survey) -> LogFacts:
    dated = [b for b in s.boots if b.clock.utc_us is not None]
    first = min((t for b in dated if (t := b.clock.to_utc(b.first_us)) is not None), default=None)
    last = max((t for b in dated if (t := b.clock.to_utc(b.last_us)) is not None), default=None)
    source = max((b.clock.source for b in dated), default=ClockSource.unknown)
    damage = [asdict(d) for d in s.damage[:MOST_DAMAGE]]
    return LogFacts(
        s.format, first, last, int(source), _short(s.firmware, s.version), s.vehicle[:100], s.vehicle_type, s.autopilot,
        [h[:200] for h in s.hardware_ids[:20]], sum(d.size for d in s.damage), _survey_text(s), json_text(damage),
    )  # fmt: skip


def _short(firmware: str, version: str) -> str:
    return f"{firmware} {version}".strip().replace("\0", "")[:200]


def _survey_text(s: Survey) -> str:
    """The survey as JSON, without what is kept beside it; a log that invents names without end keeps none of them."""
    body = {
        "firmware": s.firmware, "version": s.version, "vehicle_name": s.vehicle_name, "sysid": s.sysid,
        "boots": [_boot(b) for b in s.boots[:1000]], "messages": s.messages, "parameters": s.parameters,
        "texts": s.texts, "damages": len(s.damage),
    }  # fmt: skip
    text = json_text(body)
    if len(text) > MOST_TEXT:
        body |= {"messages": {}, "parameters": {}, "boots": []}
        text = json.dumps(json.loads(json_text(body)) | {"left_out": "too many names"})
    return text


def _boot(b: Any) -> dict[str, Any]:
    clock = b.clock
    return {
        "start": b.start, "end": b.end, "first_us": b.first_us, "last_us": b.last_us, "boot_us": b.boot_us,
        "clock_source": clock.source.name, "clock_offset_us": None if clock.utc_us is None else clock.offset_us(),
        "clock_uncertainty_us": clock.uncertainty_us,
    }  # fmt: skip


def _session(number: int, told: Told) -> SessionRow:
    line = told.line
    return SessionRow(
        number, told.start_us, told.end_us, int(line.clock), line.uncertainty_us, line.boot_at_us,
        len(line.grid.tick_us), told.inferred, told.why.replace("\0", "")[:300],
    )  # fmt: skip


# --- the same log in parts --------------------------------------------------------------------------------------------


def _join_whole(conn: Connection, org_id: uuid.UUID, sha256: bytes) -> list[uuid.UUID]:
    """Find the log that holds this one, or those that this one holds; the flights that lost this one by it."""
    with tenant(conn, org_id, actor="worker"):
        own = logs.relative(conn, org_id, sha256)
        if own is None or own.part_of is not None:
            return []
        for other in logs.relatives(conn, org_id, sha256):
            if _is_wholer(other, own) and holds(other.fingerprint, own.fingerprint):
                logs.set_part_of(conn, org_id, sha256, other.sha256)
                return logs.detach(conn, org_id, sha256)
            if _is_wholer(own, other) and holds(own.fingerprint, other.fingerprint):
                logs.set_part_of(conn, org_id, other.sha256, sha256)
    return []


def _give_up_parts(conn: Connection, org_id: uuid.UUID, sha256: bytes) -> list[uuid.UUID]:
    """Flights are made of whole logs: now that the whole one is part of them, those that it holds go; those flights."""
    with tenant(conn, org_id, actor="worker"):
        return [f for part in logs.parts_of(conn, org_id, sha256) for f in logs.detach(conn, org_id, part)]


def _is_wholer(a: logs.Relative, b: logs.Relative) -> bool:
    """Whether `a` is the one to keep of two that hold the same: more sound bytes, else more bytes, else by name."""
    return (a.size_bytes - a.damaged_bytes, a.size_bytes, a.sha256) > (
        b.size_bytes - b.damaged_bytes, b.size_bytes, b.sha256
    )  # fmt: skip


# --- whose it is ------------------------------------------------------------------------------------------------------


def owner_of(
    assigned: uuid.UUID | None, said: set[uuid.UUID], known: set[uuid.UUID], kinds: dict[uuid.UUID, str]
) -> tuple[uuid.UUID | None, str]:
    """Whose a log is, or None and why nobody can say. assigned: by a person, here. said: by who imported it. known: by
    the hardware ids in it. kinds: of all aircraft that exist."""
    if assigned is not None:
        return assigned, ""
    if len(said) > 1:
        return None, "imported for several aircraft"
    if said:
        (one,) = said
        if kinds.get(one) != "aircraft":
            return None, f"imported for {one}, which is no aircraft here"
        if known and one not in known:
            others = ", ".join(sorted(map(str, known)))
            return None, f"imported for {one}, but its hardware is known for {others}"
        return one, ""
    if len(known) == 1:
        return next(iter(known)), ""
    return None, "its hardware is known for several aircraft" if known else "no aircraft is known by its hardware"


def _find_owner(
    conn: Connection, org_id: uuid.UUID, sha256: bytes, deliveries: Sequence[DeliveryRow]
) -> list[uuid.UUID]:
    """Decide whose the log is, remember its hardware; the flights of another aircraft that it was part of."""
    with tenant(conn, org_id, actor="worker"):
        row = logs.find_logs(conn, org_id, [sha256])[sha256]
        named = {i for d in deliveries for i in (d.importer_id, d.aircraft_id) if i is not None}
        kinds = logs.aircraft_kinds(conn, org_id, named)
        said = {d.aircraft_id for d in deliveries if d.aircraft_id is not None}
        said |= {d.importer_id for d in deliveries if d.aircraft_id is None and kinds.get(d.importer_id) == "aircraft"}
        known = logs.hardware_owners(conn, org_id, row.hardware_ids)
        owner, reason = owner_of(row.assigned_aircraft_id, said, known, kinds)
        logs.set_aircraft(conn, org_id, sha256, owner, reason)
        touched = logs.detach(conn, org_id, sha256, owner)
        if owner is not None and owner not in known and row.hardware_ids:
            how = "import" if row.assigned_aircraft_id is None else "assignment"
            waiting = logs.learn_hardware(conn, org_id, owner, row.hardware_ids, how)
            jobs.enqueue(conn, org_id, "log", dict.fromkeys(waiting, 0.0))
    return touched


# --- flights ----------------------------------------------------------------------------------------------------------


def _place(conn: Connection, types: RowTypes, org_id: uuid.UUID, sha256: bytes, shelf: LogShelf) -> list[uuid.UUID]:
    """Have each session of the log become part of its flights, or a flight of its own; those flights."""
    with tenant(conn, org_id):
        row = logs.find_logs(conn, org_id, [sha256])[sha256]
        rows = logs.session_rows(conn, org_id, sha256)
    if row.aircraft_id is None or row.part_of is not None:
        return []
    logs.lock_aircraft(conn, row.aircraft_id)
    try:
        return [f for s in rows for f in _place_session(conn, types, org_id, row, s, shelf)]
    finally:
        logs.unlock_aircraft(conn, row.aircraft_id)


def _place_session(
    conn: Connection, types: RowTypes, org_id: uuid.UUID, row: LogRow, s: SessionRow, shelf: LogShelf
) -> list[uuid.UUID]:
    assert row.aircraft_id is not None
    with tenant(conn, org_id):
        wanted = logs.candidates(conn, org_id, row.aircraft_id, s)
        found = logs.flights_of(conn, org_id, row.sha256, s.session_no)
    for flight in wanted:
        if flight not in found:
            settle(conn, types, org_id, flight, shelf)
    with tenant(conn, org_id, actor="worker"):
        flights = logs.flights_of(conn, org_id, row.sha256, s.session_no)
        if not flights and s.grid_rows:
            flight = uuid.uuid5(row.aircraft_id, f"log {row.sha256.hex()} {s.session_no}")
            logs.create_flight(conn, org_id, flight, row, s, uuid.uuid5(flight, "boot"))
            logs.attach(conn, org_id, flight, logs.FlightLog(row.sha256, s.session_no, "origin", 0, None))
            flights = [flight]
    return flights

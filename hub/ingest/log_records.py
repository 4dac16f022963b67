"""What batches say of recorded logs: checked, entered, and the work on a log asked for once its manifest is here."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from hub.ingest.derive import Derived
from hub.store import jobs, log_arrivals
from hub.store.log_arrivals import DeliveryRow, PartRow, log_id
from shared.errors import Refused
from shared.records import DirectiveReport, Finding, LogManifest, LogPart, SessionClose, SessionOpen

MAX_PART_BYTES = 128 << 10
LOG_DELAY_S = 1.0
"""The last parts and the manifest of a log come together: one job for them."""


def log_check(
    conn: psycopg.Connection[Any], org_id: uuid.UUID, found: Sequence[Derived]
) -> Callable[[Derived], Refused | None]:
    """Log records are of the documented shape; an aircraft's key names no other aircraft; a station does not fly."""
    senders = {d.item.key.aircraft_id for d in found if _flies(d) or any(_names_another(d, r) for _, r in d.records)}
    stations = log_arrivals.stations(conn, org_id, senders) if senders else set()

    def check(d: Derived) -> Refused | None:
        if d.item.key.aircraft_id in stations and _flies(d):
            return Refused("flight_of_station", "a station sends logs: what flies is enrolled as an aircraft")
        for _, r in d.records:
            if isinstance(r, (LogPart, LogManifest)) and (why := _malformed(r)):
                return Refused("log_malformed", why)
            if _names_another(d, r) and d.item.key.aircraft_id not in stations:
                return Refused("log_of_other_aircraft", f"a log of aircraft {getattr(r, 'aircraft', None)}")
        return None

    return check


def _flies(d: Derived) -> bool:
    """Whether a batch tells what only a vehicle can tell: frames, a flight, a finding, an answer to a directive."""
    batch = d.item.batch
    return (
        batch.session is not None
        or bool(batch.columns)
        or any(isinstance(r, (SessionOpen, SessionClose, Finding, DirectiveReport)) for _, r in d.records)
    )


def _names_another(d: Derived, record: object) -> bool:
    return isinstance(record, LogManifest) and record.aircraft not in (None, d.item.key.aircraft_id)


def _malformed(r: LogPart | LogManifest) -> str:
    if len(r.log) != 32:
        return "a log is named by 32 bytes"
    if isinstance(r, LogPart):
        is_sane = 0 <= r.offset < 1 << 60 and 0 < len(r.packed) <= MAX_PART_BYTES
        return "" if is_sane else f"a part of {len(r.packed)} bytes at {r.offset}"
    is_sane = len(r.packed_sha256) == 32 and 0 <= r.size_bytes < 1 << 60 and 0 <= r.packed_bytes < 1 << 60
    return "" if is_sane else f"a log of {r.size_bytes} bytes, {r.packed_bytes} packed"


def write_logs(conn: psycopg.Connection[Any], org_id: uuid.UUID, new: Sequence[Derived]) -> None:
    """Enter the parts and manifests of batches that are new in the ledger."""
    parts = [_part(d, i, r) for d in new for i, r in d.records if isinstance(r, LogPart)]
    deliveries = [_delivery(d, i, r) for d in new for i, r in d.records if isinstance(r, LogManifest)]
    if not parts and not deliveries:
        return
    names = sorted({p.sha256 for p in parts} | {m.sha256 for m in deliveries})
    log_arrivals.make_logs(conn, org_id, names)
    log_arrivals.insert_parts(conn, org_id, parts)
    log_arrivals.insert_deliveries(conn, org_id, deliveries)
    named = log_arrivals.with_manifest(conn, org_id, names)
    jobs.enqueue(conn, org_id, "log", {log_id(n): LOG_DELAY_S for n in named})


def _part(d: Derived, number: int, r: LogPart) -> PartRow:
    return PartRow(d.item.batch.stream, d.item.batch.seq, number, r.log, r.offset, len(r.packed))


def _delivery(d: Derived, number: int, r: LogManifest) -> DeliveryRow:
    ids = sorted({h[:200] for h in map(_plain, r.hardware_ids[:20]) if h})
    return DeliveryRow(
        d.item.batch.stream, d.item.batch.seq, number, r.log, d.item.key.aircraft_id, r.aircraft, r.size_bytes,
        r.packed_bytes, r.packed_sha256, _plain(r.format)[:40], _plain(r.name)[:400], _plain(r.origin)[:40],
        r.imported_us, ids,
    )  # fmt: skip


def _plain(text: str) -> str:
    """Text that PostgreSQL takes."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()

"""How recorded logs came: their parts, their manifests (one delivery each), and who may send them."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]


def log_id(sha256: bytes) -> uuid.UUID:
    """The id by which jobs name a log."""
    return uuid.UUID(bytes=sha256[:16])


@dataclass(frozen=True, slots=True)
class PartRow:
    """Where a slice of a log's packed form lies: in which record of which batch."""

    stream_id: uuid.UUID
    seq: int
    record_no: int
    sha256: bytes
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A log's manifest as it came. importer_id: whose key signed it; aircraft_id: whose log it says it is."""

    stream_id: uuid.UUID
    seq: int
    record_no: int
    sha256: bytes
    importer_id: uuid.UUID
    aircraft_id: uuid.UUID | None
    size_bytes: int
    packed_bytes: int
    packed_sha256: bytes
    format: str
    name: str
    origin: str
    imported_utc_us: int
    hardware_ids: list[str]


def stations(conn: Connection, org_id: uuid.UUID, ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those that are stations."""
    rows = conn.execute(
        "SELECT aircraft_id FROM aircraft_registry WHERE org_id = %s AND aircraft_id = ANY (%s) AND kind = 'station'",
        (org_id, [*ids]),
    )
    return {found for (found,) in rows.fetchall()}


def make_logs(conn: Connection, org_id: uuid.UUID, names: Sequence[bytes]) -> None:
    """Rows for logs of which something came; those that are known stay as they are."""
    conn.execute(
        "INSERT INTO logs (org_id, sha256, log_id) SELECT %s, * FROM unnest(%s::bytea[], %s::uuid[])"
        " ON CONFLICT (org_id, sha256) DO NOTHING",
        (org_id, [*names], [log_id(n) for n in names]),
    )


def insert_parts(conn: Connection, org_id: uuid.UUID, parts: Sequence[PartRow]) -> None:
    """Enter the parts of batches that were just entered."""
    columns = [[getattr(p, name) for p in parts] for name in PartRow.__slots__]
    conn.execute(
        "INSERT INTO log_parts (org_id, stream_id, seq, record_no, sha256, part_offset, size_bytes) SELECT %s, * FROM"
        " unnest(%s::uuid[], %s::bigint[], %s::integer[], %s::bytea[], %s::bigint[], %s::integer[])",
        (org_id, *columns),
    )


def insert_deliveries(conn: Connection, org_id: uuid.UUID, deliveries: Sequence[DeliveryRow]) -> None:
    """Enter the manifests of batches that were just entered."""
    for d in deliveries:
        conn.execute(
            "INSERT INTO log_deliveries (org_id, stream_id, seq, record_no, sha256, importer_id, aircraft_id,"
            " size_bytes, packed_bytes, packed_sha256, format, name, origin, imported_utc_us, hardware_ids)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (org_id, *(getattr(d, name) for name in DeliveryRow.__slots__)),
        )


def with_manifest(conn: Connection, org_id: uuid.UUID, names: Sequence[bytes]) -> list[bytes]:
    """Those of these logs whose manifest is here."""
    rows = conn.execute(
        "SELECT DISTINCT sha256 FROM log_deliveries WHERE org_id = %s AND sha256 = ANY (%s)", (org_id, [*names])
    )
    return [bytes(name) for (name,) in rows.fetchall()]


_DELIVERY = ", ".join(DeliveryRow.__slots__)


def deliveries(conn: Connection, org_id: uuid.UUID, sha256: bytes) -> list[DeliveryRow]:
    """All manifests of a log, in the order in which they came."""
    rows = conn.execute(
        f"SELECT {_DELIVERY} FROM log_deliveries WHERE org_id = %s AND sha256 = %s"  # noqa: S608
        " ORDER BY received_at, stream_id, seq, record_no",
        (org_id, sha256),
    )
    return [DeliveryRow(*r) for r in rows.fetchall()]


def parts(conn: Connection, org_id: uuid.UUID, sha256: bytes, stream_id: uuid.UUID) -> list[PartRow]:
    """The parts of a log in one stream, by rising offset."""
    rows = conn.execute(
        "SELECT stream_id, seq, record_no, sha256, part_offset, size_bytes FROM log_parts"
        " WHERE org_id = %s AND sha256 = %s AND stream_id = %s ORDER BY part_offset, seq, record_no",
        (org_id, sha256, stream_id),
    )
    return [PartRow(*r) for r in rows.fetchall()]


def whole_delivery(conn: Connection, org_id: uuid.UUID, sha256: bytes) -> DeliveryRow | None:
    """The delivery that a whole log was assembled from; None when the log is not whole."""
    columns = ", ".join(f"d.{name}" for name in DeliveryRow.__slots__)
    row = conn.execute(
        f"SELECT {columns} FROM logs l JOIN log_deliveries d ON d.org_id = l.org_id AND d.stream_id = l.stream_id"  # noqa: S608
        " AND d.seq = l.seq AND d.record_no = l.record_no"
        " WHERE l.org_id = %s AND l.sha256 = %s AND l.whole_at IS NOT NULL",
        (org_id, sha256),
    ).fetchone()
    return None if row is None else DeliveryRow(*row)

"""Directives: the hub's signed wishes to one aircraft, monotonic in version."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from hub.store.query import Query, run, scalar


@dataclass(frozen=True, slots=True)
class DirectiveRow:
    """A directive and what became of it; times are us since 1970 UTC."""

    version: int
    kind: str
    body: dict[str, Any]
    issued_utc_us: int
    state: str
    reported_utc_us: int | None
    report_detail: str


LIST_DIRECTIVES = Query(
    "list_directives",
    """SELECT version, kind, body, (extract(epoch FROM issued_at) * 1000000)::bigint, state,
    (extract(epoch FROM reported_at) * 1000000)::bigint, report_detail FROM directives
    WHERE org_id = $1 AND aircraft_id = $2::uuid AND ($3::bigint IS NULL OR version < $3::bigint)
    ORDER BY version DESC LIMIT $4::bigint""",
    DirectiveRow,
)
_LOCK = Query(
    "lock_aircraft",
    "SELECT aircraft_id FROM aircraft_registry WHERE org_id = $1 AND aircraft_id = $2 FOR NO KEY UPDATE",
    scalar,
)
_NEWEST = Query(
    "newest_directive",
    "SELECT coalesce(max(version), 0) FROM directives WHERE org_id = $1 AND aircraft_id = $2",
    scalar,
)
_INSERT = Query(
    "insert_directive",
    """INSERT INTO directives (org_id, aircraft_id, version, kind, body, envelope, issued_at)
    VALUES ($1, $2, $3, $4, $5, $6, to_timestamp($7::float8 / 1e6))""",
    scalar,
)

_OPEN = Query(
    "open_directives",
    """SELECT envelope FROM directives WHERE org_id = $1 AND aircraft_id = $2 AND state = 'issued' ORDER BY version""",
    lambda envelope: bytes(envelope),
)
_WAITING = Query(
    "aircraft_with_open_directives",
    "SELECT DISTINCT aircraft_id FROM directives WHERE org_id = $1 AND state = 'issued'",
    scalar,
)


def open_directives(conn: Connection[Any], org_id: UUID, aircraft_id: UUID) -> list[bytes]:
    """Envelopes of the directives that the aircraft has not answered, by rising version."""
    return run(conn, _OPEN, org_id, aircraft_id)


def aircraft_with_open_directives(conn: Connection[Any], org_id: UUID) -> list[UUID]:
    """Aircraft that have not answered all their directives."""
    return run(conn, _WAITING, org_id)


def next_version(conn: Connection[Any], org_id: UUID, aircraft_id: UUID) -> int | None:
    """The version that the next directive must have, the aircraft locked until the transaction ends; None: no such
    aircraft."""
    if not run(conn, _LOCK, org_id, aircraft_id):
        return None
    return int(run(conn, _NEWEST, org_id, aircraft_id)[0]) + 1


def insert_directive(
    conn: Connection[Any], org_id: UUID, aircraft_id: UUID, version: int, kind: str, body: dict[str, Any],
    envelope: bytes, issued_utc_us: int,
) -> None:  # fmt: skip
    """Insert a signed directive."""
    run(conn, _INSERT, org_id, aircraft_id, version, kind, Jsonb(body), envelope, issued_utc_us)

"""The request log of an organisation."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from hub.store.query import Query, run, scalar


class RequestRow(NamedTuple):
    """One answered request. route: the template, without ids; address: the peer's, None when it has none."""

    request_id: UUID
    key_id: UUID
    method: str
    route: str
    status: int
    duration_us: int
    address: str | None


_INSERT = Query(
    "insert_requests",
    """INSERT INTO api_requests (org_id, request_id, key_id, method, route, status, duration_us, address)
    SELECT $1, r.*
    FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::smallint[], $7::integer[], $8::inet[]) r
    ON CONFLICT DO NOTHING""",
    scalar,
)


def insert_requests(conn: Connection[Any], org_id: UUID, rows: Sequence[RequestRow]) -> None:
    """Insert all."""
    run(conn, _INSERT, org_id, *(list(column) for column in zip(*rows, strict=True)))

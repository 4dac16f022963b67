"""Organisations (tenants)."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from hub.store.query import Query, run


@dataclass(frozen=True, slots=True)
class Organisation:
    """One tenant."""

    org_id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class Health:
    """What an operator asks first, of one organisation."""

    aircraft_online: int
    flights_live: int
    last_batch_utc_us: int | None
    batches_not_derived: int
    quarantined: int
    jobs_waiting: int
    jobs_failing: int
    alerts_open: int


LIST_ALL = Query("list_organisations", "SELECT org_id, name FROM list_organisations() WHERE org_id <> $1", Organisation)
"""Every organisation but $1 (pass the hub's own)."""

HEALTH = Query(
    "organisation_health",
    """SELECT aircraft_online, flights_live, (extract(epoch FROM last_batch_at) * 1000000)::bigint, batches_not_derived,
    quarantined, jobs_waiting, jobs_failing, alerts_open FROM system_health WHERE org_id = $1""",
    Health,
)


def create_organisation(conn: Connection[Any], org_id: UUID, name: str) -> Organisation:
    """Insert; inside the tenant transaction of `org_id` itself."""
    row = Query("", "INSERT INTO organizations (org_id, name) VALUES ($1, $2) RETURNING org_id, name", Organisation)
    return run(conn, row, org_id, name)[0]

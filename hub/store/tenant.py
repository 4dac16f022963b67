"""The tenant transaction: the only place where `app.current_org_id` is set."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

HUB_ORG = uuid.UUID(int=0)
"""The hub itself as an organisation: owner of what can be charged to nobody."""


@contextmanager
def tenant(
    conn: psycopg.Connection[Any], org_id: uuid.UUID, actor: str = "", request_id: str = "", address: str = ""
) -> Iterator[None]:
    """A transaction that sees and writes the rows of `org_id` alone; commits at the end, rolls back on an exception.

    actor, request_id, address: who acts, for the audit log. RuntimeError inside another transaction: the setting would
    outlive this one.
    """
    if conn.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        raise RuntimeError("a tenant transaction cannot begin inside another transaction")
    with conn.transaction():
        conn.execute(settings(org_id, actor, request_id, address))
        yield


def settings(org_id: uuid.UUID, actor: str = "", request_id: str = "", address: str = "") -> sql.Composed:
    """The literal SET LOCALs that open a tenant transaction (set_config and parameters do not reach Citus workers)."""
    if not isinstance(org_id, uuid.UUID):
        raise TypeError("org_id must be a UUID")
    values = {
        "app.current_org_id": str(org_id),
        "app.actor": actor,
        "app.request_id": request_id,
        "app.address": address,
    }
    lines = [sql.SQL("SET LOCAL " + k + " = {}").format(sql.Literal(v)) for k, v in values.items() if v]
    return sql.SQL("; ").join(lines)

"""What is asked before the organisation is known (migration 0006): whose key it is, which organisations there are."""

import uuid
from collections.abc import Collection
from typing import Any

import psycopg

DeviceKeyRow = tuple[bytes, uuid.UUID, uuid.UUID, bytes, int | None]
"""key id, organisation, aircraft, raw public key, revoked at (us since 1970 UTC)."""


def find_device_keys(conn: psycopg.Connection[Any], key_ids: Collection[bytes]) -> list[DeviceKeyRow]:
    """The keys that exist, of any organisation."""
    rows = conn.execute(
        "SELECT key_id, org_id, aircraft_id, public_key, (extract(epoch FROM revoked_at) * 1000000)::bigint"
        " FROM find_device_keys(%s)",
        ([*key_ids],),
    )
    return rows.fetchall()


def organisation_exists(conn: psycopg.Connection[Any], org_id: uuid.UUID) -> bool:
    """Whether there is such an organisation."""
    row = conn.execute("SELECT organisation_exists(%s)", (org_id,)).fetchone()
    return bool(row and row[0])


def list_organisations(conn: psycopg.Connection[Any]) -> list[uuid.UUID]:
    """All organisations that are not closed."""
    return [org_id for (org_id,) in conn.execute("SELECT org_id FROM list_organisations()").fetchall()]

"""API keys of an organisation. A key itself is never stored: only a digest of its keyed hash (hub/api/secrets.py)."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from hub.store.query import Query, run


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Whom a presented key stands for."""

    org_id: UUID
    org_name: str
    key_id: UUID
    role: str


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is listed; times are us since 1970 UTC."""

    id: UUID
    name: str
    role: str
    created_utc_us: int
    expires_utc_us: int | None
    revoked_utc_us: int | None


_COLUMNS = """key_id, name, role, (extract(epoch FROM created_at) * 1000000)::bigint,
    (extract(epoch FROM expires_at) * 1000000)::bigint, (extract(epoch FROM revoked_at) * 1000000)::bigint"""

FIND_OWNER = Query(
    "find_key_owner",
    "SELECT org_id, org_name, key_id, role FROM find_api_key(encrypt_api_key($2::text)) WHERE $1::uuid IS NOT NULL",
    KeyOwner,
)
"""$1: the hub's organisation (nobody's yet), $2: the key's keyed hash. Revoked and expired keys are not found."""

KEY_ROLE = Query(
    "key_role",
    """SELECT k.org_id, o.name, k.key_id, k.role FROM api_keys k JOIN organizations o ON o.org_id = $1
    WHERE k.org_id = $1 AND k.key_id = $2::uuid AND k.revoked_at IS NULL AND coalesce(k.expires_at > now(), true)
    AND o.closed_at IS NULL""",
    KeyOwner,
)
"""A session's key, if it still counts."""

LIST_KEYS = Query(
    "list_keys",
    f"SELECT {_COLUMNS} FROM api_keys WHERE org_id = $1 ORDER BY created_at, key_id",  # noqa: S608
    ApiKey,
)

_CREATE = Query(
    "create_key",
    f"""INSERT INTO api_keys (org_id, key_id, name, role, key_digest, expires_at)
    VALUES ($1, $2, $3, $4, encrypt_api_key($5::text), to_timestamp($6::float8 / 1e6)) RETURNING {_COLUMNS}""",  # noqa: S608
    ApiKey,
)
_REVOKE = Query(
    "revoke_key",
    f"""UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE org_id = $1 AND key_id = $2
    RETURNING {_COLUMNS}""",  # noqa: S608
    ApiKey,
)


def create_key(
    conn: Connection[Any], org_id: UUID, key_id: UUID, name: str, role: str, keyed_hash: str,
    expires_utc_us: int | None = None,
) -> ApiKey:  # fmt: skip
    """Insert. role: viewer, operator, admin or auditor."""
    return run(conn, _CREATE, org_id, key_id, name, role, keyed_hash, expires_utc_us)[0]


def revoke_key(conn: Connection[Any], org_id: UUID, key_id: UUID) -> ApiKey | None:
    """Revoke (again: as it was). None when the organisation has no such key."""
    return next(iter(run(conn, _REVOKE, org_id, key_id)), None)

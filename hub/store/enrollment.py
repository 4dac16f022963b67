"""Enrolment codes: single use, a quarter of an hour, kept as digests of their keyed hash."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from hub.store.query import Query, run, scalar

CODE_MINUTES = 15


@dataclass(frozen=True, slots=True)
class CodeOwner:
    """For whom a presented code was made."""

    org_id: UUID
    aircraft_id: UUID


FIND_CODE = Query(
    "find_code",
    """SELECT org_id, aircraft_id FROM find_enrollment_code(encrypt_api_key($2::text))
    WHERE $1::uuid IS NOT NULL AND used_at IS NULL AND expires_at > now()""",
    CodeOwner,
)
"""$1: the hub's organisation, $2: the code's keyed hash."""

_CREATE = Query(
    "create_code",
    f"""INSERT INTO enrollment_codes (org_id, code_digest, aircraft_id, expires_at)
    VALUES ($1, encrypt_api_key($3::text), $2, now() + interval '{CODE_MINUTES} minutes')
    RETURNING (extract(epoch FROM expires_at) * 1000000)::bigint""",  # noqa: S608
    scalar,
)
_USE = Query(
    "use_code",
    """UPDATE enrollment_codes SET used_at = now(), used_by_key = $3
    WHERE org_id = $1 AND code_digest = encrypt_api_key($2::text) AND used_at IS NULL AND expires_at > now()
    RETURNING aircraft_id""",
    scalar,
)


def create_code(conn: Connection[Any], org_id: UUID, aircraft_id: UUID, keyed_hash: str) -> int:
    """Insert; returns when it expires, us since 1970 UTC."""
    return int(run(conn, _CREATE, org_id, aircraft_id, keyed_hash)[0])


def use_code(conn: Connection[Any], org_id: UUID, keyed_hash: str, key_id: bytes) -> UUID | None:
    """Use it up for a device key; the aircraft, or None when it is used, expired or unknown."""
    return next(iter(run(conn, _USE, org_id, keyed_hash, key_id)), None)

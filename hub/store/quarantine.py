"""Refused input: kept with its reason, bounded in number and size, never trusted."""

import uuid
from dataclasses import dataclass
from typing import Any

import psycopg

from shared.ids import new_id

Connection = psycopg.Connection[Any]
MOST_ROWS = 10_000
"""Per organisation; the oldest go first."""
MOST_ENVELOPES = 1_000
"""Per organisation: beyond that many only the facts are kept, not the bytes."""
MOST_BYTES = 1 << 20
"""Of one envelope."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One refused envelope."""

    reason: str
    detail: str
    topic: str
    key_id: bytes | None
    aircraft_id: uuid.UUID | None
    stream_id: uuid.UUID | None
    seq: int | None
    digest: bytes
    envelope: bytes


_PUT = """
INSERT INTO quarantine AS q (org_id, quarantine_id, reason, detail, topic, key_id, aircraft_id, stream_id, seq, digest,
    size_bytes, envelope)
VALUES (%(org)s, %(id)s, %(reason)s, %(detail)s, %(topic)s, %(key_id)s, %(aircraft_id)s, %(stream_id)s, %(seq)s,
    %(digest)s, %(size)s,
    CASE WHEN (SELECT count(*) FROM (SELECT FROM quarantine WHERE org_id = %(org)s LIMIT %(most)s) x) < %(most)s
        THEN %(envelope)s::bytea END)
ON CONFLICT (org_id, digest, reason) DO UPDATE SET times = q.times + 1, last_seen_at = now(), resolved_at = NULL
RETURNING (xmax = 0)
"""
_TRIM = """
DELETE FROM quarantine WHERE org_id = %(org)s AND quarantine_id IN (
    SELECT quarantine_id FROM quarantine WHERE org_id = %(org)s ORDER BY last_seen_at DESC OFFSET %(most)s)
"""


def put(conn: Connection, org_id: uuid.UUID, item: Quarantined) -> bool:
    """Quarantine one envelope; False when the same bytes were refused for that reason before (then it counts up)."""
    row = conn.execute(
        _PUT,
        {
            "org": org_id, "id": new_id(), "reason": item.reason, "detail": _text(item.detail),
            "topic": _text(item.topic), "key_id": item.key_id, "aircraft_id": item.aircraft_id,
            "stream_id": item.stream_id, "seq": item.seq, "digest": item.digest,
            "size": len(item.envelope), "most": MOST_ENVELOPES,
            "envelope": item.envelope[:MOST_BYTES],
        },
    ).fetchone()  # fmt: skip
    return bool(row and row[0])


def trim(conn: Connection, org_id: uuid.UUID) -> int:
    """Drop the oldest rows beyond MOST_ROWS; how many."""
    return conn.execute(_TRIM, {"org": org_id, "most": MOST_ROWS}).rowcount


def _text(value: str) -> str:
    """PostgreSQL's text holds no NUL."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()

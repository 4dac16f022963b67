"""The audit log, read and checked. Written by triggers alone (migration 0002)."""

import uuid
from typing import Any

import psycopg

_BROKEN = """
WITH chain AS (
    SELECT a.*, lag(digest, 1, decode(repeat('00', 32), 'hex')) OVER (ORDER BY audit_no) AS before,
        row_number() OVER (ORDER BY audit_no) AS expected_no
    FROM audit_log a WHERE org_id = %(org)s
)
SELECT count(*), min(audit_no) FILTER (WHERE audit_no <> expected_no OR prev_digest <> before
    OR digest <> audit_digest(before, org_id, audit_no, at,
    actor, database_role, request_id, address, action, table_name, old_values, new_values)),
    max(audit_no), (SELECT h.audit_no FROM audit_heads h WHERE h.org_id = %(org)s)
FROM chain
"""


def verify_chain(conn: psycopg.Connection[Any], org_id: uuid.UUID) -> tuple[int, int | None]:
    """(entries, number of the first entry that was changed or is missing; None when the chain holds)."""
    row = conn.execute(_BROKEN, {"org": org_id}).fetchone()
    assert row is not None
    entries, broken, newest, head = row
    if broken is None and head is not None and newest != head:
        broken = (newest or 0) + 1
    return int(entries), broken

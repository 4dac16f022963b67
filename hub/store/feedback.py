"""What people say of findings, the feature vectors of those, and both as training data of an organisation that
agreed."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg

from hub.store.query import Query, run
from shared.ids import new_id

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """A verdict on a finding. finding_id: as it is named now, None when the analysis no longer makes it; key_id: who
    says it;
    is_current: whether it is that person's newest."""

    id: uuid.UUID
    finding_id: uuid.UUID | None
    flight_id: uuid.UUID | None
    found_kind: str
    verdict: str
    kind: str | None
    note: str
    key_id: uuid.UUID
    given_utc_us: int
    is_current: bool


# Of a finding that was made again: the one of the same source and kind whose span meets the old one's.
_ROW = """f.feedback_id, coalesce((SELECT n.finding_id FROM findings n WHERE n.org_id = $1 AND n.finding_id =
f.finding_id),
        (SELECT n.finding_id FROM findings n WHERE n.org_id = $1 AND n.session_id = f.session_id AND n.source = f.source
            AND n.kind = f.found_kind AND n.start_us <= f.end_us AND n.end_us >= f.start_us
            ORDER BY abs(n.start_us - f.start_us), n.finding_id LIMIT 1)),
    f.session_id, f.found_kind, f.verdict, f.kind, f.note, f.key_id, (extract(epoch FROM f.given_at) * 1000000)::bigint,
    EXISTS (SELECT FROM current_feedback c WHERE c.org_id = $1 AND c.feedback_id = f.feedback_id)
    FROM finding_feedback f"""
FLIGHT_FEEDBACK = Query(
    "flight_feedback",
    f"""SELECT {_ROW} WHERE f.org_id = $1 AND f.session_id = $2::uuid
    ORDER BY f.given_at DESC, f.feedback_id DESC LIMIT 1000""",
    FeedbackRow,
)
"""Newest first, history included. $2: the flight."""
_ONE = Query("one_feedback", f"SELECT {_ROW} WHERE f.org_id = $1 AND f.feedback_id = $2::uuid", FeedbackRow)
SETTINGS = Query("feedback_settings", "SELECT share_feedback FROM organizations WHERE org_id = $1", bool)


def give(
    conn: Connection, org_id: uuid.UUID, finding_id: uuid.UUID, key_id: uuid.UUID, verdict: str, kind: str | None,
    note: str,
) -> FeedbackRow | None:  # fmt: skip
    """Add a verdict, which is now that person's. None when the organisation has no such finding."""
    feedback_id = new_id()
    made = conn.execute(
        "INSERT INTO finding_feedback (org_id, feedback_id, finding_id, session_id, aircraft_id, source, found_kind,"
        " start_us, end_us, verdict, kind, note, key_id) SELECT org_id, %s, finding_id, session_id, aircraft_id,"
        " source, kind, start_us, end_us, %s, %s, %s, %s FROM findings WHERE org_id = %s AND finding_id = %s",
        (feedback_id, verdict, kind, note, key_id, org_id, finding_id),
    ).rowcount
    return run(conn, _ONE, org_id, feedback_id)[0] if made else None


def set_sharing(conn: Connection, org_id: uuid.UUID, is_shared: bool) -> None:
    """Give or take back the organisation's consent."""
    conn.execute("UPDATE organizations SET share_feedback = %s WHERE org_id = %s", (is_shared, org_id))


def finding_spans(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> list[tuple[int, int]]:
    """(start_us, end_us) of the flight's findings, whoever made them."""
    rows = conn.execute(
        "SELECT DISTINCT start_us, end_us FROM findings WHERE org_id = %s AND session_id = %s ORDER BY 1, 2 LIMIT 500",
        (org_id, session_id),
    ).fetchall()
    return [(int(a), int(b)) for a, b in rows]


def replace_vectors(
    conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, feature_version: int, aircraft_class: str,
    kept: Sequence[tuple[int, int, int, bytes]],
) -> None:  # fmt: skip
    """Write the vectors of a flight's findings in place of earlier ones. kept: (start_us, end_us, features, float32
    bytes)."""
    conn.execute("DELETE FROM finding_vectors WHERE org_id = %s AND session_id = %s", (org_id, session_id))
    for start, end, features, vectors in kept:
        conn.execute(
            "INSERT INTO finding_vectors VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (org_id, session_id, start, end, feature_version, aircraft_class, features, vectors),
        )


_EXPORT = """
SELECT b.feedback_id, b.session_id, b.aircraft_id, b.verdict, b.found_kind, b.kind, v.feature_version, v.aircraft_class,
    v.features, v.vectors
FROM current_feedback b CROSS JOIN LATERAL (
    SELECT * FROM finding_vectors v WHERE v.org_id = b.org_id AND v.session_id = b.session_id
        AND v.start_us <= b.end_us AND v.end_us >= b.start_us
    ORDER BY abs(v.start_us - b.start_us), v.start_us, v.end_us LIMIT 1) v
WHERE b.org_id = %s AND b.verdict <> 'unsure' AND NOT EXISTS (SELECT FROM current_feedback c WHERE c.org_id = b.org_id
        AND c.session_id = b.session_id AND c.source = b.source AND c.found_kind = b.found_kind AND c.verdict <>
        'unsure'
        AND c.start_us <= b.end_us AND c.end_us >= b.start_us
        AND (c.verdict <> b.verdict OR c.feedback_id < b.feedback_id))
    AND (%s::uuid IS NULL OR b.feedback_id > %s)
ORDER BY b.feedback_id LIMIT %s
"""


def export_page(
    conn: Connection, org_id: uuid.UUID, after: uuid.UUID | None, most: int
) -> list[tuple[uuid.UUID, dict[str, Any]]]:
    """The next labelled examples, each with its feedback's id; one per finding, none where people disagree. Flight,
    airframe and organisation are digests, good for keeping
    together what belongs together; no place, no time of day, no note is among them."""
    rows = conn.execute(_EXPORT, (org_id, after, after, most)).fetchall()
    return [(r[0], _example(org_id, r)) for r in rows]


def _example(org_id: uuid.UUID, row: Sequence[Any]) -> dict[str, Any]:
    vectors = np.frombuffer(row[9], "<f4").reshape(-1, row[8])
    return {
        "organisation": _opaque(org_id),
        "flight": _opaque(org_id, row[1]),
        "airframe": _opaque(org_id, row[2]),
        "verdict": row[3],
        "found_kind": row[4],
        "kind": row[5] or row[4],
        "feature_version": row[6],
        "aircraft_class": row[7],
        "vectors": [[None if np.isnan(x) else round(float(x), 6) for x in vector] for vector in vectors],
    }


def _opaque(*ids: uuid.UUID) -> str:
    return hashlib.sha256(b"dbx-feedback" + b"".join(i.bytes for i in ids)).hexdigest()[:24]

"""What an operator is to know: alerts, and input that was refused. Times are us since 1970 UTC."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from hub.store.query import Query, run


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert; `times` counts how often the same thing was seen."""

    id: UUID
    kind: str
    severity: str
    aircraft_id: UUID | None
    flight_id: UUID | None
    text: str
    raised_utc_us: int
    last_utc_us: int
    times: int
    acknowledged_utc_us: int | None
    acknowledged_by: str | None


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A refused envelope. digest: SHA-256 of its bytes."""

    id: UUID
    reason: str
    detail: str
    topic: str
    key_id: bytes | None
    aircraft_id: UUID | None
    stream_id: UUID | None
    seq: int | None
    digest: bytes
    size_bytes: int
    first_seen_utc_us: int
    last_seen_utc_us: int
    times: int


_ALERT = """alert_id, kind, severity, aircraft_id, session_id, text, (extract(epoch FROM raised_at) * 1000000)::bigint,
    (extract(epoch FROM last_at) * 1000000)::bigint, times, (extract(epoch FROM acknowledged_at) * 1000000)::bigint,
    acknowledged_by"""

LIST_ALERTS = Query(
    "list_alerts",
    f"""SELECT {_ALERT} FROM alerts WHERE org_id = $1
    AND ($2::boolean IS NULL OR (acknowledged_at IS NULL) = $2)
    AND ($3::bigint IS NULL OR (raised_at, alert_id) < (timestamptz 'epoch' + $3 * interval '1 us', $4::uuid))
    ORDER BY raised_at DESC, alert_id DESC LIMIT $5::bigint""",  # noqa: S608
    AlertRow,
)
"""Newest first. $2: open ones (true), acknowledged ones (false), all; $3, $4: time and id of the row before."""

LIST_QUARANTINE = Query(
    "list_quarantine",
    """SELECT quarantine_id, reason, detail, topic, key_id, aircraft_id, stream_id, seq, digest, size_bytes,
        (extract(epoch FROM first_seen_at) * 1000000)::bigint, (extract(epoch FROM last_seen_at) * 1000000)::bigint,
        times
    FROM quarantine WHERE org_id = $1 AND resolved_at IS NULL
    AND ($2::bigint IS NULL OR (last_seen_at, quarantine_id) < (timestamptz 'epoch' + $2 * interval '1 us', $3::uuid))
    ORDER BY last_seen_at DESC, quarantine_id DESC LIMIT $4::bigint""",
    QuarantineRow,
)
"""Newest first. $2, $3: time and id of the row before."""

_ACKNOWLEDGE = Query(
    "acknowledge_alert",
    f"""UPDATE alerts SET acknowledged_at = coalesce(acknowledged_at, now()),
        acknowledged_by = coalesce(acknowledged_by, $3)
    WHERE org_id = $1 AND alert_id = $2 RETURNING {_ALERT}""",  # noqa: S608
    AlertRow,
)


def acknowledge(conn: Connection[Any], org_id: UUID, alert_id: UUID, by: str) -> AlertRow | None:
    """Acknowledge (again: as it was). None when the organisation has no such alert."""
    return next(iter(run(conn, _ACKNOWLEDGE, org_id, alert_id, by)), None)

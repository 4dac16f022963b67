"""Rollups, trends and scores of aircraft; proposals of work. Components: `components`; orders: `work_orders`."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from hub.store.query import Query
from shared.ids import new_id

Connection = psycopg.Connection[Any]
QUANTITIES = (
    "vibe_hover_x_mps2", "vibe_hover_y_mps2", "vibe_hover_z_mps2", "vibe_cruise_x_mps2", "vibe_cruise_y_mps2",
    "vibe_cruise_z_mps2", "hover_throttle_pct", "battery_ohm", "rotor_spread", "rate_error_radps",
)  # fmt: skip
"""What a rollup measures of an airframe; of each, more is worse."""
PROPOSED_FROM = 0.2
"""Weight of a reason that becomes a proposed work order, on an aircraft whose score is HIGH or CRITICAL."""
CANCELLED_DAYS = 30
"""So long a reason whose order a person cancelled is not proposed again."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """What one flight did. measures: QUANTITIES -> value, None where the flight does not tell."""

    armed_s: float
    flying_s: float
    arm_cycles: int
    battery_used_mah: float | None
    measures: dict[str, float | None] = field(default_factory=dict)
    started_utc_us: int = 0


@dataclass(frozen=True, slots=True)
class RollupRow:
    """A rollup as it is listed."""

    flight_id: uuid.UUID
    started_utc_us: int
    armed_s: float
    flying_s: float
    arm_cycles: int
    battery_used_mah: float | None
    vibe_hover_x_mps2: float | None
    vibe_hover_y_mps2: float | None
    vibe_hover_z_mps2: float | None
    vibe_cruise_x_mps2: float | None
    vibe_cruise_y_mps2: float | None
    vibe_cruise_z_mps2: float | None
    hover_throttle_pct: float | None
    battery_ohm: float | None
    rotor_spread: float | None
    rate_error_radps: float | None


@dataclass(frozen=True, slots=True)
class TrendRow:
    """A row of maintenance_trends."""

    quantity: str
    flights: int
    baseline: float
    spread: float
    latest: float
    changed_utc_us: int | None
    before: float | None
    after: float | None
    rate_per_10h: float | None


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """An aircraft with its score, and what it flew in all."""

    aircraft_id: uuid.UUID
    aircraft_name: str
    maintenance_urgency: float
    priority_level: str
    recommended_action: str
    reasons: list[dict[str, Any]]
    flights: int
    flying_h: float
    open_orders: int


_MEASURES = ", ".join(QUANTITIES)
_LIST = f"session_id, started_utc_us, armed_s, flying_s, arm_cycles, battery_used_mah, {_MEASURES}"
LIST_ROLLUPS = Query(
    "list_rollups",
    f"""SELECT {_LIST} FROM flight_rollups WHERE org_id = $1 AND aircraft_id = $2::uuid
    AND ($3::bigint IS NULL OR (started_utc_us, session_id) < ($3, $4::uuid))
    ORDER BY started_utc_us DESC, session_id DESC LIMIT $5::bigint""",  # noqa: S608
    RollupRow,
)
"""Newest first. $2 aircraft; $3, $4 begin and id of the row before."""
TRENDS = Query(
    "maintenance_trends",
    """SELECT quantity, flights, baseline, spread, latest, changed_utc_us, before, after, rate_per_10h
    FROM maintenance_trends WHERE org_id = $1 AND aircraft_id = $2::uuid ORDER BY quantity""",
    TrendRow,
)
_SCORE = """a.aircraft_id, a.name, s.maintenance_urgency, s.priority_level, s.recommended_action, s.reasons,
    (SELECT count(*) FROM flight_rollups r WHERE r.org_id = $1 AND r.aircraft_id = a.aircraft_id),
    (SELECT coalesce(sum(r.flying_s), 0)::float8 / 3600 FROM flight_rollups r
        WHERE r.org_id = $1 AND r.aircraft_id = a.aircraft_id),
    (SELECT count(*) FROM work_orders w WHERE w.org_id = $1 AND w.aircraft_id = a.aircraft_id
        AND w.state IN ('open', 'in_progress'))
    FROM aircraft_registry a CROSS JOIN LATERAL calculate_maintenance_score(a.aircraft_id) s WHERE a.org_id = $1"""
LIST_SCORES = Query(
    "list_scores",
    f"""SELECT {_SCORE} AND a.kind = 'aircraft' AND a.retired_at IS NULL
    AND ($2::text IS NULL OR (a.name, a.aircraft_id) > ($2, $3::uuid)) ORDER BY a.name, a.aircraft_id LIMIT
    $4::bigint""",
    ScoreRow,
)
"""By name. $2, $3: name and id of the row before."""
GET_SCORE = Query("get_score", f"SELECT {_SCORE} AND a.aircraft_id = $2::uuid", ScoreRow)


def lock_aircraft(conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID) -> None:
    """Until the end of the transaction nobody else renews this aircraft's trends and proposals."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 11))", (f"{org_id} {aircraft_id}",))


def put_rollup(
    conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID, session_id: uuid.UUID, rollup: Rollup
) -> None:
    """Write the rollup of a session, in place of an earlier one."""
    conn.execute("DELETE FROM flight_rollups WHERE org_id = %s AND session_id = %s", (org_id, session_id))
    values = [rollup.armed_s, rollup.flying_s, rollup.arm_cycles, rollup.battery_used_mah]
    conn.execute(
        f"INSERT INTO flight_rollups (org_id, session_id, aircraft_id, started_utc_us, armed_s, flying_s, arm_cycles,"  # noqa: S608
        f" battery_used_mah, {_MEASURES}) SELECT org_id, session_id, %s, started_utc_us, {', '.join(['%s'] * 14)}"
        " FROM flight_sessions WHERE org_id = %s AND session_id = %s",
        (aircraft_id, *values, *(rollup.measures.get(q) for q in QUANTITIES), org_id, session_id),
    )


def history(conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID) -> list[Rollup]:
    """All rollups of an aircraft, in order of time."""
    rows = conn.execute(
        f"SELECT armed_s, flying_s, arm_cycles, battery_used_mah, started_utc_us, {_MEASURES} FROM flight_rollups"  # noqa: S608
        " WHERE org_id = %s AND aircraft_id = %s ORDER BY started_utc_us, session_id",
        (org_id, aircraft_id),
    ).fetchall()
    return [Rollup(r[0], r[1], r[2], r[3], dict(zip(QUANTITIES, r[5:], strict=True)), r[4]) for r in rows]


def replace_trends(
    conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID, found: Mapping[str, tuple[Any, ...]]
) -> None:
    """Write an aircraft's trends in place of earlier ones; quantity -> the columns of maintenance_trends from
    flights on."""
    conn.execute("DELETE FROM maintenance_trends WHERE org_id = %s AND aircraft_id = %s", (org_id, aircraft_id))
    for quantity, columns in found.items():
        conn.execute(
            "INSERT INTO maintenance_trends (org_id, aircraft_id, quantity, flights, baseline, spread, latest,"
            " changed_utc_us, before, after, rate_per_10h) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (org_id, aircraft_id, quantity, *columns),
        )


_REASONS = """
SELECT s.priority_level, r.value ->> 'reason', r.value ->> 'action', r.value ->> 'component_id', r.value
FROM calculate_maintenance_score(%(aircraft)s) s, jsonb_array_elements(s.reasons) r
WHERE s.priority_level IN ('HIGH', 'CRITICAL') AND (r.value ->> 'weight')::float8 >= %(weight)s
    AND r.value ->> 'reason' NOT LIKE 'order:%%'
    AND NOT EXISTS (SELECT FROM work_orders w WHERE w.org_id = %(org)s AND w.aircraft_id = %(aircraft)s
        AND w.reason = r.value ->> 'reason' AND w.state = 'cancelled'
        AND w.closed_at > now() - make_interval(days => %(days)s))
"""
_PROPOSE = """
INSERT INTO work_orders (org_id, work_order_id, aircraft_id, component_id, reason, title, detail, priority, proposed,
created_by)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, true, 'worker')
ON CONFLICT (org_id, aircraft_id, reason) WHERE reason IS NOT NULL AND state IN ('open', 'in_progress') DO NOTHING
"""


def propose(conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID) -> int:
    """Open a work order for each weighty reason of an aircraft that scores HIGH or CRITICAL, unless one is open; how
    many."""
    wanted = {"org": org_id, "aircraft": aircraft_id, "weight": PROPOSED_FROM, "days": CANCELLED_DAYS}
    made = 0
    for level, reason, action, component, whole in conn.execute(_REASONS, wanted).fetchall():
        detail = "; ".join(f"{k}: {whole[k]:.4g}" for k in ("value", "baseline", "weight") if whole[k] is not None)
        row = (org_id, new_id(), aircraft_id, component, reason, action[:200], detail, level)
        made += conn.execute(_PROPOSE, row).rowcount
    return made

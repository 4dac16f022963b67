"""Alerts: raised once per thing (dedupe_key), counted up after that."""

import uuid
from typing import Any

import psycopg

from shared.ids import new_id
from shared.records import Finding

Connection = psycopg.Connection[Any]
SEVERITIES = ("info", "warning", "critical")

_RAISE = """
INSERT INTO alerts AS a (org_id, alert_id, dedupe_key, kind, severity, aircraft_id, session_id, text)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (org_id, dedupe_key) DO UPDATE SET times = a.times + 1, last_at = now()
"""
_RAISE_FINDING = """
INSERT INTO alerts AS a (org_id, alert_id, dedupe_key, kind, severity, aircraft_id, session_id, text)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (org_id, dedupe_key) DO UPDATE SET severity = excluded.severity, text = excluded.text, last_at = now()
WHERE array_position(ARRAY['info', 'warning', 'critical'], excluded.severity)
    > array_position(ARRAY['info', 'warning', 'critical'], a.severity)
"""
"""A finding is told when it begins and when it has ended, and perhaps again: one alert, which only gets worse."""


def raise_alert(
    conn: Connection, org_id: uuid.UUID, dedupe_key: str, kind: str, severity: str, text: str,
    aircraft_id: uuid.UUID | None = None, session_id: uuid.UUID | None = None,
) -> None:  # fmt: skip
    """Raise an alert, or count it up."""
    text = _storable(text)
    conn.execute(_RAISE, (org_id, new_id(), dedupe_key, kind, severity, aircraft_id, session_id, text))


def finding_rules(conn: Connection, org_id: uuid.UUID) -> list[tuple[str | None, str]]:
    """(finding kind or None for any, least severity) of the rules in force; from warning on when there is no rule."""
    rows = conn.execute(
        "SELECT finding_kind, min_severity, enabled FROM alert_rules WHERE org_id = %s", (org_id,)
    ).fetchall()
    return [(kind, least) for kind, least, enabled in rows if enabled] if rows else [(None, "warning")]


def is_alerting(rules: list[tuple[str | None, str]], kind: str, severity: str) -> bool:
    """Whether a finding of this kind and severity becomes an alert."""
    rank = SEVERITIES.index(severity)
    return any(k in (None, kind) and rank >= SEVERITIES.index(least) for k, least in rules)


def raise_finding(
    conn: Connection, org_id: uuid.UUID, rules: list[tuple[str | None, str]], name: str, finding: Finding,
    aircraft_id: uuid.UUID, session_id: uuid.UUID | None,
) -> None:  # fmt: skip
    """Raise an alert of a finding, once, if a rule says so. name: the same for the same finding, however often made."""
    if finding.severity in SEVERITIES and is_alerting(rules, finding.kind, finding.severity):
        text = _storable(f"{finding.kind}: score {finding.score:.3g} over {finding.threshold:.3g}")
        parts = (org_id, new_id(), f"finding:{name}", "finding", finding.severity, aircraft_id, session_id, text)
        conn.execute(_RAISE_FINDING, parts)


def _storable(text: str) -> str:
    """Text as PostgreSQL takes it, of bounded length."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:2000]

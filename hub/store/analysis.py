"""What the analysis of a flight found: one row per flight, model and data, and the hub's own findings."""

import uuid
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from hub.store.records import delete_hub_findings

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class AnalysisRow:
    """A row of ml_analysis_results, in the order of _INSERT_RESULT."""

    org_id: uuid.UUID
    analysis_id: uuid.UUID
    session_id: uuid.UUID
    aircraft_id: uuid.UUID
    detected_aircraft_type: str
    aircraft_confidence: float
    anomaly_detected: bool
    risk_score: float
    risk_level: str
    shap_values: Any
    ai_report_content: str
    model_version: str
    feature_version: int
    data_version: str


@dataclass(frozen=True, slots=True)
class HubFindingRow:
    """A finding of the hub, in the order of _INSERT_FINDING."""

    finding_id: uuid.UUID
    kind: str
    severity: str
    score: float
    threshold: float
    start_us: int
    end_us: int
    start_utc_us: int
    end_utc_us: int
    model: str
    feature_version: int
    evidence: Any
    shap: Any


_INSERT_RESULT = """
INSERT INTO ml_analysis_results (org_id, analysis_id, session_id, aircraft_id, detected_aircraft_type,
    aircraft_confidence, anomaly_detected, risk_score, risk_level, shap_values, ai_report_content, model_version,
    feature_version, data_version)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (org_id, session_id, model_version, data_version) DO UPDATE SET created_at = now(),
    detected_aircraft_type = excluded.detected_aircraft_type, aircraft_confidence = excluded.aircraft_confidence,
    anomaly_detected = excluded.anomaly_detected, risk_score = excluded.risk_score, risk_level = excluded.risk_level,
    shap_values = excluded.shap_values, ai_report_content = excluded.ai_report_content,
    feature_version = excluded.feature_version
"""
_INSERT_FINDING = """
INSERT INTO findings (finding_id, kind, severity, score, threshold, start_us, end_us, start_utc_us, end_utc_us, model,
    feature_version, evidence, shap, org_id, aircraft_id, session_id, source)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'hub')
"""


_OUTDATED = """
SELECT s.session_id FROM flight_sessions s WHERE s.org_id = %(org)s AND s.state = 'closed'
    AND EXISTS (SELECT FROM ml_analysis_results a WHERE a.org_id = s.org_id AND a.session_id = s.session_id)
    AND NOT EXISTS (SELECT FROM ml_analysis_results a WHERE a.org_id = s.org_id AND a.session_id = s.session_id
        AND a.model_version = %(model)s AND a.feature_version = %(features)s)
    AND NOT EXISTS (SELECT FROM jobs j WHERE j.org_id = s.org_id AND j.kind = 'settle' AND j.subject_id = s.session_id)
ORDER BY s.started_utc_us DESC LIMIT %(most)s
"""


def outdated(conn: Connection, org_id: uuid.UUID, model: str, features: int, most: int) -> list[uuid.UUID]:
    """Closed flights that were analysed, but not by this model and these features, and for which no job waits; the
    newest first."""
    values = {"org": org_id, "model": model, "features": features, "most": most}
    return [row[0] for row in conn.execute(_OUTDATED, values).fetchall()]


@dataclass(frozen=True, slots=True)
class Told:
    """A finding that is known already: of the aircraft, or of an earlier analysis."""

    severity: str
    start_us: int
    end_us: int


def told(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> list[Told]:
    """The findings of a session, whoever made them."""
    rows = conn.execute(
        "SELECT severity, start_us, end_us FROM findings WHERE org_id = %s AND session_id = %s", (org_id, session_id)
    )
    return [Told(*row) for row in rows.fetchall()]


def replace_analysis(conn: Connection, row: AnalysisRow, findings: Sequence[HubFindingRow]) -> None:
    """Write the result of (session, model, data) and put the hub's findings of the session in place of earlier ones."""
    delete_hub_findings(conn, row.org_id, row.session_id)
    conn.execute(_INSERT_RESULT, astuple(replace(row, shap_values=Jsonb(row.shap_values))))
    owner = (row.org_id, row.aircraft_id, row.session_id)
    for finding in findings:
        packed = replace(finding, evidence=Jsonb(finding.evidence), shap=Jsonb(finding.shap))
        conn.execute(_INSERT_FINDING, (*astuple(packed), *owner))

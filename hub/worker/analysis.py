"""The analysis of a closed flight: the same channels, features and model as on board, explained.

`Analyst.analyse` is pure; `store_analysis` writes what it says, in the caller's transaction.
"""

import hashlib
import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from firmware_bridge.grid import ChannelGrid
from hub.store import alerts
from hub.store.analysis import AnalysisRow, HubFindingRow, Told, replace_analysis, told
from hub.worker.aircraft_type import detect
from hub.worker.explain import Explainer
from hub.worker.report import write_report
from hub.worker.result import AnalysisResult, Explained
from shared.aircraft_type import TypeModel, load_type_model
from shared.features import FEATURE_VERSION, Vector, flight_features
from shared.ids import new_id
from shared.persistence import Episode, Scores, episodes
from shared.records import Finding
from shared.scoring import NOVELTY, Bundle, Nominal
from shared.timeline import timeline

NEAR_US = 10_000_000
"""Findings that lie no further apart are of one thing."""
KIND_VECTORS = 5
"""Vectors from an episode's begin on that its kind is named by; as on board."""
_LEVELS = ((0.25, "LOW"), (0.5, "MEDIUM"), (0.8, "HIGH"))
_NEAR, _FAR = 0.75, 3.0
"""Shares of the threshold: worth a risk of 0.2, and of 1."""


@dataclass(frozen=True, slots=True, eq=False)
class _Flight:
    """Vectors of a flight: end_us [w], vectors [w, features], flying [w], scores [w] (0 where not flying)."""

    first_us: int
    end_us: NDArray[np.int64]
    vectors: Vector
    flying: NDArray[np.bool_]
    scores: Scores


class Analyst:
    """Analyses flights with one bundle, and the model of aircraft types (None: the packaged one)."""

    def __init__(self, bundle: Bundle, types: TypeModel | None = None) -> None:
        self._bundle = bundle
        self._types = types or load_type_model()
        self._lock = threading.Lock()
        both = hashlib.sha256(bundle.digest + self._types.digest).hexdigest()
        self.version = f"{bundle.name} {both[:8]}"
        """Names both models exactly: another model, another version."""

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self._bundle)

    def prepare(self) -> None:
        """Load what explaining needs: seconds that the first flight would wait for otherwise. May run in a thread."""
        with self._lock:
            self._explainer.prepare()

    def analyse(
        self, grids: Sequence[ChannelGrid], vehicle_type: int, session: uuid.UUID | None = None
    ) -> AnalysisResult:
        """grids: of a flight's consecutive batches, in order. vehicle_type: MAV_TYPE, 0 when it never said.

        Findings carry times on the recorder's clock, as the grids do.
        """
        tick_us, channels = timeline([(g.tick_us, g.values, g.sensed) for g in grids])
        if channels and "armed" not in channels:  # a log that knows no arming: its session is what was inferred
            channels["armed"] = np.ones(len(tick_us))
        aircraft = detect(vehicle_type, channels, self._types)
        nominal = self._bundle.nominal(aircraft.name)
        result = AnalysisResult(aircraft, self._bundle.name, aircraft.name if nominal else "")
        ends, vectors, flying = flight_features(channels)
        result = replace(result, flying_s=int(flying.sum()))
        if nominal is not None and flying.any():
            self.prepare()
            scores = np.where(flying, self._bundle.scores(vectors, nominal), 0.0)
            flight = _Flight(int(tick_us[0]), tick_us[ends - 1], vectors, flying, scores)
            result = self._judge(result, nominal, flight, session)
        return replace(result, report=write_report(result))

    def _judge(
        self, result: AnalysisResult, nominal: Nominal, flight: _Flight, session: uuid.UUID | None
    ) -> AnalysisResult:
        worst = int(flight.scores.argmax())
        findings = tuple(self._findings(nominal, flight, session))
        risk = self._risk(nominal, flight, findings)
        kind = self._likeliest(flight.vectors[worst], nominal)
        return replace(
            result,
            windows=int(flight.flying.sum()),
            worst_score=float(flight.scores[worst]),
            worst_s=(int(flight.end_us[worst]) - flight.first_us) / 1e6,
            threshold=nominal.threshold,
            risk_score=risk,
            risk_level=level_of(risk),
            shap_values=self._explainer.explain(flight.vectors[worst], nominal, kind),
            explained_kind=kind,
            findings=findings,
        )

    def _findings(self, nominal: Nominal, flight: _Flight, session: uuid.UUID | None) -> Iterable[Explained]:
        """As on board: the same rule over the same vectors."""
        rule = self._bundle.rule
        raised = episodes(flight.end_us, flight.scores, flight.flying, nominal.threshold, nominal.critical, rule)
        for episode in raised:
            yield self._explained(nominal, flight, episode, session)

    def _explained(self, nominal: Nominal, flight: _Flight, episode: Episode, session: uuid.UUID | None) -> Explained:
        began, peak = np.searchsorted(flight.end_us, [episode.first_us, episode.peak_us]).tolist()
        first = flight.vectors[began : began + KIND_VECTORS][flight.flying[began : began + KIND_VECTORS]]
        finding = self._bundle.finding(nominal, episode, first, flight.vectors[peak], session)
        kind, probability = self._bundle.kind(first, nominal)
        likeliest = kind if kind != NOVELTY else self._likeliest(flight.vectors[peak], nominal)
        start_s, worst_s, end_s = (
            (at - flight.first_us) / 1e6 for at in (finding.start_us, episode.peak_us, finding.end_us)
        )
        return Explained(
            finding, self._explainer.explain(flight.vectors[peak], nominal, likeliest), (start_s, end_s), worst_s,
            likeliest, probability, float(self._bundle.probability(episode.score)),
        )  # fmt: skip

    def _likeliest(self, vector: Vector, nominal: Nominal) -> str:
        """The kind that one vector looks most like, sure or not."""
        return self._bundle.kinds[int(self._bundle.kind_probabilities(vector[None], nominal).argmax())]

    def _risk(self, nominal: Nominal, flight: _Flight, findings: Sequence[Explained]) -> float:
        """0..1 by the worst score: 0.2 at _NEAR of the threshold, at most 0.49 without a finding; with one from 0.5 at
        the threshold over 0.8 at the critical limit to 1."""
        limits = [0.0, _NEAR * nominal.threshold, nominal.threshold, nominal.critical, _FAR * nominal.critical]
        worst = max((f.finding.score for f in findings), default=float(flight.scores.max()))
        risk = float(np.interp(worst, limits, [0.0, 0.2, 0.5, 0.8, 1.0]))
        return round(risk if findings else min(risk, 0.49), 3)


def level_of(risk: float) -> str:
    """LOW, MEDIUM (near the threshold), HIGH (above it) or CRITICAL (above the critical limit)."""
    return next((name for limit, name in _LEVELS if risk < limit), "CRITICAL")


def data_version(digests: Sequence[bytes]) -> str:
    """What was read, as one digest: SHA-256 over the digests of the batches, in their order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def store_analysis(
    conn: psycopg.Connection[Any], org_id: uuid.UUID, aircraft_id: uuid.UUID, session_id: uuid.UUID,
    result: AnalysisResult, offset_us: int, version: str, model: str = "",
) -> None:  # fmt: skip
    """Write the result in the caller's tenant transaction, in place of what the hub found in the session before.

    offset_us: recorder's clock to UTC. version: see data_version. model: the Analyst's version. No alert is raised of
    what an alert was raised of before: a finding of the aircraft's, or of an earlier analysis, at the same time.
    """
    row = AnalysisRow(
        org_id, new_id(), session_id, aircraft_id, result.aircraft.name, result.aircraft.confidence,
        result.anomaly_detected, result.risk_score, result.risk_level, result.shap_values, result.report,
        model or result.model, FEATURE_VERSION, version,
    )  # fmt: skip
    findings = [
        HubFindingRow(
            f.finding.finding, f.finding.kind, f.finding.severity, f.finding.score, f.finding.threshold,
            f.finding.start_us, f.finding.end_us, f.finding.start_us + offset_us, f.finding.end_us + offset_us,
            f.finding.model, f.finding.feature_version, f.finding.evidence, f.shap,
        )
        for f in result.findings
    ]  # fmt: skip
    before = told(conn, org_id, session_id)
    replace_analysis(conn, row, findings)
    rules = alerts.finding_rules(conn, org_id)
    for f in (explained.finding for explained in result.findings if not _is_told(explained.finding, before)):
        # an analysis made again gives its findings new ids, not new beginnings
        alerts.raise_finding(conn, org_id, rules, f"hub:{session_id}:{f.kind}:{f.start_us}", f, aircraft_id, session_id)


def _is_told(finding: Finding, before: Sequence[Told]) -> bool:
    rank = alerts.SEVERITIES.index(finding.severity)
    return any(
        alerts.SEVERITIES.index(b.severity) >= rank
        and b.start_us <= finding.end_us + NEAR_US
        and b.end_us >= finding.start_us - NEAR_US
        for b in before
    )

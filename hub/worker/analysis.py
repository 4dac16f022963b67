"""The analysis of a closed flight: the same channels, features and model as on board, explained.

`Analyst.analyse` is pure; `store_analysis` writes what it says, in the caller's transaction.
"""

import hashlib
import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import psycopg

from firmware_bridge.grid import ChannelGrid
from hub.store import alerts
from hub.store.analysis import AnalysisRow, HubFindingRow, replace_analysis
from hub.worker.aircraft_type import detect
from hub.worker.explain import Explainer
from hub.worker.report import write_report
from hub.worker.result import AnalysisResult, Explained
from shared.features import FEATURE_VERSION, WINDOW_S, Vector, flight_features, flying_windows
from shared.ids import new_id
from shared.persistence import Persistence, Scores, persistent
from shared.scoring import Bundle, Nominal
from shared.timeline import timeline

NEAR = 0.03
"""Of score: this close below the threshold is worth a MEDIUM."""
_LEVELS = ((0.25, "LOW"), (0.5, "MEDIUM"), (0.8, "HIGH"))
_CEILING = 0.9


class Analyst:
    """Analyses flights with one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._lock = threading.Lock()

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
        tick_us, channels = timeline([(g.tick_us, g.values) for g in grids])
        aircraft = detect(vehicle_type, channels)
        nominal = self._bundle.nominal(aircraft.name)
        result = AnalysisResult(aircraft, self._bundle.name, aircraft.name if nominal else "")
        ends, vectors = flight_features(channels)
        flying = flying_windows(channels) if len(ends) else np.zeros(0, bool)
        if nominal is not None and flying.any():
            self.prepare()
            end_us = tick_us[ends - 1]
            result = self._score(result, nominal, end_us, vectors, flying, int(tick_us[0]), session)
        return replace(result, report=write_report(result))

    def _score(
        self, result: AnalysisResult, nominal: Nominal, end_us: "np.ndarray[Any, np.dtype[np.int64]]", vectors: Vector,
        flying: "np.ndarray[Any, np.dtype[np.bool_]]", first_us: int, session: uuid.UUID | None,
    ) -> AnalysisResult:  # fmt: skip
        scores = np.full(len(flying), np.nan)
        scores[flying] = self._bundle.scores(vectors[flying], nominal)
        worst = int(np.nanargmax(scores))
        risk = risk_of(np.where(flying, scores, -np.inf), flying, nominal, self._bundle)
        end_s = (int(end_us[worst]) - first_us) / 1e6
        return replace(
            result,
            windows=int(flying.sum()),
            worst_score=float(scores[worst]),
            worst_s=(end_s - WINDOW_S, end_s),
            threshold=nominal.threshold,
            risk_score=risk,
            risk_level=level_of(risk),
            shap_values=self._explainer.explain(vectors[worst], nominal),
            findings=tuple(self._findings(nominal, end_us, vectors, scores, first_us, session)),
        )

    def _findings(
        self, nominal: Nominal, end_us: "np.ndarray[Any, np.dtype[np.int64]]", vectors: Vector, scores: Scores,
        first_us: int, session: uuid.UUID | None,
    ) -> Iterable[Explained]:  # fmt: skip
        """As on board: the same rule over the same windows."""
        watch = Persistence(nominal.threshold, nominal.critical, self._bundle.rule)
        index = {at: i for i, at in enumerate(end_us.tolist())}
        for at, score in zip(end_us.tolist(), scores.tolist(), strict=True):
            episode = watch.update(at, None if np.isnan(score) else score)
            if episode is not None:
                worst = vectors[index[episode.peak_us]]
                finding = self._bundle.finding(nominal, episode, worst, session)
                span = ((finding.start_us - first_us) / 1e6, (finding.end_us - first_us) / 1e6)
                yield Explained(finding, self._explainer.explain(worst, nominal), span)


def risk_of(scores: Scores, flying: "np.ndarray[Any, np.dtype[np.bool_]]", nominal: Nominal, bundle: Bundle) -> float:
    """0..1 by the worst score that lasted (or a single one above the critical limit): 0.2 at NEAR below the threshold,
    0.5 at the threshold, 0.8 at the critical limit."""
    lasting, single = float(persistent(scores, flying, bundle.rule).max()), float(scores[flying].max())
    worst = single if single > nominal.critical else max(lasting, 0.0)
    limits = [
        0.0,
        nominal.threshold - NEAR,
        nominal.threshold,
        nominal.critical,
        max(_CEILING, nominal.critical + 0.01),
    ]
    return round(float(np.interp(worst, limits, [0.0, 0.2, 0.5, 0.8, 1.0])), 3)


def level_of(risk: float) -> str:
    """LOW, MEDIUM (near the threshold), HIGH (above it) or CRITICAL (above the critical limit)."""
    return next((name for limit, name in _LEVELS if risk < limit), "CRITICAL")


def data_version(digests: Sequence[bytes]) -> str:
    """What was read, as one digest: SHA-256 over the digests of the batches, in their order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def store_analysis(
    conn: psycopg.Connection[Any], org_id: uuid.UUID, aircraft_id: uuid.UUID, session_id: uuid.UUID,
    result: AnalysisResult, offset_us: int, version: str,
) -> None:  # fmt: skip
    """Write the result in the caller's tenant transaction, in place of what the hub found in the session before.

    offset_us: recorder's clock to UTC. version: see data_version.
    """
    row = AnalysisRow(
        org_id, new_id(), session_id, aircraft_id, result.aircraft.name, result.aircraft.confidence,
        result.anomaly_detected, result.risk_score, result.risk_level, result.shap_values, result.report,
        result.model, FEATURE_VERSION, version,
    )  # fmt: skip
    findings = [
        HubFindingRow(
            f.finding.finding, f.finding.kind, f.finding.severity, f.finding.score, f.finding.threshold,
            f.finding.start_us, f.finding.end_us, f.finding.start_us + offset_us, f.finding.end_us + offset_us,
            f.finding.model, f.finding.feature_version, f.finding.evidence, f.shap,
        )
        for f in result.findings
    ]  # fmt: skip
    replace_analysis(conn, row, findings)
    rules = alerts.finding_rules(conn, org_id)
    for f in (explained.finding for explained in result.findings):
        # an analysis made again gives its findings new ids, not new beginnings
        alerts.raise_finding(conn, org_id, rules, f"hub:{session_id}:{f.kind}:{f.start_us}", f, aircraft_id, session_id)

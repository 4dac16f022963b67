"""What an analysis says of a flight, before it is written."""

from dataclasses import dataclass, field
from typing import Any

from hub.worker.aircraft_type import AircraftType
from shared.records import Finding


@dataclass(frozen=True, slots=True)
class Explained:
    """A finding, the SHAP values of its worst window, and its span in s after the first data."""

    finding: Finding
    shap: list[dict[str, Any]]
    span_s: tuple[float, float]


@dataclass(frozen=True, slots=True)
class AnalysisResult:
    """What the model says of a flight. windows: scored ones; worst_score: of one window; shap_values: of that window.

    risk_score: 0..1; 0.5 at the threshold, 0.8 at the critical limit. scored_as: the class whose nominal values were
    used, '' when the model knows none for it.
    """

    aircraft: AircraftType
    model: str
    scored_as: str
    windows: int = 0
    worst_score: float = 0.0
    worst_s: tuple[float, float] = (0.0, 0.0)
    threshold: float = 0.0
    risk_score: float = 0.0
    risk_level: str = "LOW"
    shap_values: list[dict[str, Any]] = field(default_factory=list)
    findings: tuple[Explained, ...] = ()
    report: str = ""

    @property
    def anomaly_detected(self) -> bool:
        """Whether there is a finding."""
        return bool(self.findings)

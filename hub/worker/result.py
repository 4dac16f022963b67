"""What an analysis says of a flight, before it is written."""

from dataclasses import dataclass, field
from typing import Any

from hub.worker.aircraft_type import AircraftType
from shared.records import Finding


@dataclass(frozen=True, slots=True)
class Explained:
    """A finding, the SHAP values of its worst vector for `likeliest` (its kind, or what a novelty is likest), its span
    and worst second, in s after the first data. kind_probability: of the kind, should it be a fault; probability: that
    it is one."""

    finding: Finding
    shap: list[dict[str, Any]]
    span_s: tuple[float, float]
    worst_s: float = 0.0
    likeliest: str = ""
    kind_probability: float = 0.0
    probability: float = 0.0


@dataclass(frozen=True, slots=True)
class AnalysisResult:
    """What the model says of a flight. flying_s: seconds in flight; windows: how many of them were scored; worst_score:
    of one, worst_s after the first data; shap_values: of that one, for explained_kind.

    risk_score: 0..1; 0.5 at the threshold, 0.8 at the critical limit. scored_as: the class whose nominal values were
    used, '' when the model knows none for it.
    """

    aircraft: AircraftType
    model: str
    scored_as: str
    flying_s: int = 0
    windows: int = 0
    worst_score: float = 0.0
    worst_s: float = 0.0
    threshold: float = 0.0
    risk_score: float = 0.0
    risk_level: str = "LOW"
    shap_values: list[dict[str, Any]] = field(default_factory=list)
    explained_kind: str = ""
    findings: tuple[Explained, ...] = ()
    report: str = ""

    @property
    def anomaly_detected(self) -> bool:
        """Whether there is a finding."""
        return bool(self.findings)

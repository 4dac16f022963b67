"""The report of a flight in plain words, made of facts alone: each sentence carries value, window and channel."""

from collections.abc import Sequence
from typing import Any

from hub.worker.result import AnalysisResult
from shared.features import FEATURES
from shared.series import CHANNELS_OF

_BY_NAME = {f.name: f for f in FEATURES}
_MOST_SENTENCES = 4


def write_report(result: AnalysisResult) -> str:
    """Plain text, one paragraph per finding."""
    type_ = result.aircraft
    lines = [f"Aircraft: {type_.name} (confidence {type_.confidence:.2f}: {type_.why})."]
    if not result.windows:
        return "\n".join([*lines, _not_scored(result)])
    lines.append(
        f"{result.windows} windows of 10 s in flight were scored by model {result.model} for class {result.scored_as}. "
        f"Worst: {result.worst_score:.2f}, from {result.worst_s[0]:.0f} to {result.worst_s[1]:.0f} s after the first "
        f"data; threshold {result.threshold:.2f}. Risk {result.risk_score:.2f} ({result.risk_level})."
    )
    if not result.findings:
        lines.append("No finding: at no time were enough windows above the threshold.")
    for found in result.findings:
        finding = found.finding
        lines.append(
            f"{finding.severity.capitalize()} finding from {found.span_s[0]:.0f} to {found.span_s[1]:.0f} s: "
            f"score {finding.score:.2f}, threshold {finding.threshold:.2f}."
        )
        lines += [f"- {sentence}" for sentence in sentences(finding.evidence)]
    if result.findings:
        lines.append("A finding says that these quantities were unlike those of nominal flights, not what caused it.")
    return "\n".join(lines)


def sentences(evidence: Sequence[dict[str, Any]]) -> list[str]:
    """One sentence per feature that stands out, the strongest first, at most _MOST_SENTENCES."""
    return [_sentence(item) for item in evidence[:_MOST_SENTENCES]]


def _sentence(item: dict[str, Any]) -> str:
    feature = _BY_NAME[item["feature"]]
    unit = "" if feature.unit in ("1", "share") or feature.unit.startswith("enum") else f" {feature.unit}"
    side = "above" if item["weight"] > 0 else "below"
    return (
        f"{feature.meaning}: {item['value']:.3g}{unit}, nominal {item['nominal']:.3g}{unit} "
        f"({abs(item['weight']):.0f} robust standard deviations {side}); from {', '.join(CHANNELS_OF[feature.series])}."
    )


def _not_scored(result: AnalysisResult) -> str:
    if result.scored_as:
        return "Not scored: no window of 10 s lies wholly in flight."
    return f"Not scored: model {result.model} does not know this class of aircraft."

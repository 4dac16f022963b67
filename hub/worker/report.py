"""The report of a flight in plain words, made of facts alone: each sentence carries value, window and channel."""

from collections.abc import Sequence
from typing import Any

from hub.worker.inspect_first import KINDS
from hub.worker.result import AnalysisResult, Explained
from shared.features import FEATURES
from shared.scoring import CAP
from shared.signals import CHANNELS_OF

_BY_NAME = {f.name: f for f in FEATURES}
_MOST_SENTENCES = 4


def write_report(result: AnalysisResult) -> str:
    """Plain text, one paragraph per finding; what to inspect first at the top."""
    type_ = result.aircraft
    lines = [f"Aircraft: {type_.name}, confidence {type_.confidence:.2f} ({type_.why})."]
    if not result.windows:
        return "\n".join([*lines, _not_scored(result)])
    lines += _inspect_first(result.findings)
    lines.append(
        f"{result.windows} s of flight were judged by model {result.model} for class {result.scored_as}. Worst score "
        f"{result.worst_score:.2f} at {result.worst_s:.0f} s after the first data, threshold {result.threshold:.2f}. "
        f"Risk {result.risk_score:.2f} ({result.risk_level})."
    )
    if not result.findings:
        lines.append("No finding: at no time did enough quantities leave the range of healthy flights.")
    for found in result.findings:
        lines += _paragraph(found)
    if result.findings:
        lines.append("A finding says what was unlike healthy flights and which fault that resembles, not the cause.")
    return "\n".join(lines)


def _inspect_first(findings: Sequence[Explained]) -> list[str]:
    if not findings:
        return []
    worst = max(findings, key=lambda f: f.finding.score)
    name, what = KINDS.get(worst.finding.kind, (worst.finding.kind, "the quantities named below"))
    return [f"Inspect first ({name}, {worst.span_s[0]:.0f} to {worst.span_s[1]:.0f} s): {what}."]


def _paragraph(found: Explained) -> list[str]:
    finding = found.finding
    name = KINDS.get(finding.kind, (finding.kind, ""))[0]
    sure = f", probability {found.kind_probability:.2f}"
    if found.likeliest != finding.kind:
        sure = f"; likest {KINDS.get(found.likeliest, (found.likeliest, ''))[0]}"
    head = (
        f"{finding.severity.capitalize()}: {name} ({finding.kind}{sure}), from {found.span_s[0]:.0f} to "
        f"{found.span_s[1]:.0f} s: score {finding.score:.2f}, threshold {finding.threshold:.2f}. At its worst, "
        f"{found.worst_s:.0f} s:"
    )
    return [head, *(f"- {sentence}" for sentence in sentences(finding.evidence))]


def sentences(evidence: Sequence[dict[str, Any]]) -> list[str]:
    """One sentence per feature that stands out, the strongest first, at most _MOST_SENTENCES."""
    return [_sentence(item) for item in evidence[:_MOST_SENTENCES] if item["value"] is not None]


def _sentence(item: dict[str, Any]) -> str:
    feature = _BY_NAME[item["feature"]]
    unit = "" if feature.unit in ("1", "share") or feature.unit.startswith("enum") else f" {feature.unit}"
    side = "above" if item["weight"] > 0 else "below"
    far = f"{abs(item['weight']):.1f}" if abs(item["weight"]) < CAP else f"{CAP:.0f} or more"
    return (
        f"{feature.meaning}: {item['value']:.3g}{unit}, nominal {item['nominal']:.3g}{unit} ({far} times as far {side} "
        f"it as healthy flights go); from {', '.join(CHANNELS_OF[feature.signal])}."
    )


def _not_scored(result: AnalysisResult) -> str:
    if result.scored_as:
        return "Not judged: no second lies wholly in flight."
    return f"Not judged: model {result.model} does not know this class of aircraft."

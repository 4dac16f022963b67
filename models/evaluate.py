"""Honest figures: every site is held out once; ranges, threshold and forest have not seen it."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calibration import calibrate, reliability
from models.dataset import SEVERE, Flight, sites
from models.kinds import Ranges, fit_kinds, kind_of
from models.limits import fit_limits
from shared.features import Vector
from shared.persistence import Episode, Rule, episodes
from shared.scoring import FAMILIES, FAMILY, ratios, score_of

PER_HOUR = 0.5
"""False alarms per flight hour that the threshold may raise on the healthy vectors that it is chosen on."""
CRITICAL = 1.6
"""The critical limit as a multiple of the threshold: there one vector is enough."""
RULE = Rule()
KIND_VECTORS = 5
"""Vectors from an episode's begin on that its kind is named by."""
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one flight: false alarms (at, feature names), and of its fault: found, kind, delay."""

    flight: Flight
    false_alarms: list[Episode]
    healthy_s: int
    is_found: bool = False
    kind: str = ""
    kind_probability: float = 0.0
    delay_s: float = 0.0


@dataclass(slots=True)
class Evaluation:
    """The outcomes of all flights, each by a model that never saw its site."""

    outcomes: list[Outcome] = field(default_factory=list)
    probabilities: list[Scores] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """As JSON-ready figures."""
        hours = sum(o.healthy_s for o in self.outcomes) / 3600
        faults = [o for o in self.outcomes if o.flight.fault]
        severe = [o for o in faults if o.flight.severity >= SEVERE]
        alarms = sum(len(o.false_alarms) for o in self.outcomes)
        return {
            "healthy_hours": round(hours, 2),
            "false_alarms": alarms,
            "false_alarms_per_hour": round(alarms / hours, 2) if hours else None,
            "nominal_flights": sum(not o.flight.fault for o in self.outcomes),
            "nominal_flights_with_alarm": sum(bool(o.false_alarms) for o in self.outcomes if not o.flight.fault),
            "all": _found(faults),
            "severe": _found(severe),
            "by_class": _by(faults, "aircraft"),
            "by_kind": _by(faults, "fault"),
            "by_severity": _by(faults, "severity"),
            "delays_s": _delays(faults),
            "confusion": _confusion(faults),
            "confusion_by_class": {
                c: _confusion([o for o in faults if o.flight.aircraft == c]) for c in _classes(self.outcomes)
            },
            "reliability": reliability([o.flight for o in self.outcomes], self.probabilities),
            "alarms": [
                {
                    "flight": o.flight.name,
                    "second": round((e.first_us - int(o.flight.end_us[0])) / 1e6),
                    "score": round(e.score, 2),
                }
                for o in self.outcomes
                for e in o.false_alarms
            ],
        }


def _found(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    found = [o for o in outcomes if o.is_found]
    named = sum(o.kind == o.flight.fault for o in found)
    return {
        "faults": len(outcomes),
        "found": len(found),
        "share": round(len(found) / len(outcomes), 3) if outcomes else None,
        "right_kind_of_found": round(named / len(found), 3) if found else None,
        "median_delay_s": round(statistics.median(o.delay_s for o in found), 1) if found else None,
    }


def _classes(outcomes: Sequence[Outcome]) -> list[str]:
    return sorted({o.flight.aircraft for o in outcomes})


def _delays(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Deciles of the time from a fault's begin to its finding."""
    delays = [o.delay_s for o in outcomes if o.is_found]
    return {f"p{q}": round(float(np.percentile(delays, q)), 1) for q in (10, 25, 50, 75, 90, 100)} if delays else {}


def _by(outcomes: Sequence[Outcome], what: str) -> dict[str, str]:
    names = sorted({getattr(o.flight, what) for o in outcomes})
    groups = {n: [o for o in outcomes if getattr(o.flight, what) == n] for n in names}
    return {n: f"{sum(o.is_found for o in g)} of {len(g)}" for n, g in groups.items()}


def _confusion(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    return {
        fault: dict(
            Counter(o.kind if o.is_found else "missed" for o in outcomes if o.flight.fault == fault).most_common()
        )
        for fault in sorted({o.flight.fault for o in outcomes})
    }


def out_of_site(flights: Sequence[Flight]) -> list[Ranges]:
    """For each flight the nominal ranges by the flights of other sites."""
    by_site: dict[str, Ranges] = {site: fit_limits(others) for site, others, _ in sites(list(flights))}
    return [by_site[f.site] for f in flights]


def scores_by(flights: Sequence[Flight], ranges: Sequence[Ranges]) -> list[Scores]:
    """Scores of every vector of each flight."""
    return [score_of(ratios(f.vectors, r[f.aircraft])) for f, r in zip(flights, ranges, strict=True)]


def choose_threshold(flights: Sequence[Flight], scores: Sequence[Scores]) -> float:
    """The lowest threshold with at most PER_HOUR false alarms an hour on the healthy vectors; 0.01 steps."""
    hours = sum(int(f.healthy().sum()) for f in flights) / 3600
    low, high = 50, 500
    while low < high:
        middle = (low + high) // 2
        count = sum(len(_alarms(f, s, f.healthy(), middle / 100)) for f, s in zip(flights, scores, strict=True))
        low, high = (low, middle) if count <= PER_HOUR * hours else (middle + 1, high)
    return low / 100


def _alarms(flight: Flight, scores: Scores, looked_at: NDArray[np.bool_], threshold: float) -> list[Episode]:
    return episodes(flight.end_us, scores, looked_at, threshold, CRITICAL * threshold, RULE)


def judge(flight: Flight, scores: Scores, ranges: Ranges, forest: Any, threshold: float) -> Outcome:
    """What a model makes of one flight."""
    healthy = flight.healthy()
    false = _alarms(flight, scores, healthy, threshold)
    raised = _alarms(flight, scores, flight.since_fault(), threshold)
    if flight.fault_us is None or not raised:
        return Outcome(flight, false, int(healthy.sum()))
    first = raised[0]
    began = int(np.searchsorted(flight.end_us, first.first_us))
    kind, probability = kind_of(forest, ratios(flight.vectors[began : began + KIND_VECTORS], ranges[flight.aircraft]))
    onset = _raised_at(flight, scores, first, threshold)
    return Outcome(flight, false, int(healthy.sum()), True, kind, probability, (onset - flight.fault_us[0]) / 1e6)


def _raised_at(flight: Flight, scores: Scores, episode: Episode, threshold: float) -> int:
    """When the episode was raised: its second hit, or its first critical one."""
    hits = np.flatnonzero((scores > threshold) & (flight.end_us >= episode.first_us))
    if scores[hits[0]] > CRITICAL * threshold or len(hits) < RULE.windows:
        return int(flight.end_us[hits[0]])
    return int(flight.end_us[hits[RULE.windows - 1]])


def cross_validate(flights: Sequence[Flight]) -> Evaluation:
    """Each site in turn: ranges, threshold and forest from the others alone."""
    result = Evaluation()
    for _, others, held_out in sites(list(flights)):
        _hold_out(result, others, held_out)
    return result


def cross_airframes(flights: Sequence[Flight]) -> dict[str, dict[str, Any]]:
    """Each airframe of a class that has others, never trained on: class/airframe -> figures."""
    kinds = sorted({(f.aircraft, f.airframe) for f in flights})
    several = [k for k in kinds if sum(k[0] == other[0] for other in kinds) > 1]
    found = {}
    for kind in several:
        result = Evaluation()
        others = [f for f in flights if (f.aircraft, f.airframe) != kind]
        _hold_out(result, others, [f for f in flights if (f.aircraft, f.airframe) == kind])
        found["/".join(kind)] = result.summary()
    return found


def ablation(flights: Sequence[Flight]) -> dict[str, dict[str, int]]:
    """Without one family of signals at a time ("": with all): faults found, severe ones found, false alarms. By
    ranges of
    other sites; one threshold for all, chosen anew."""
    shares = [ratios(f.vectors, r[f.aircraft]) for f, r in zip(flights, out_of_site(flights), strict=True)]
    return {
        name: _without(flights, shares, family)
        for name, family in [("", -1), *((n, i) for i, n in enumerate(FAMILIES))]
    }


def _without(flights: Sequence[Flight], shares: Sequence[Vector], family: int) -> dict[str, int]:
    scores = [score_of(np.where(family == FAMILY, 0, s).astype(np.float32)) for s in shares]
    threshold = choose_threshold(flights, scores)
    found = [f for f, s in zip(flights, scores, strict=True) if f.fault and _alarms(f, s, f.since_fault(), threshold)]
    false = sum(len(_alarms(f, s, f.healthy(), threshold)) for f, s in zip(flights, scores, strict=True))
    return {"found": len(found), "severe": sum(f.severity >= SEVERE for f in found), "false_alarms": false}


def _hold_out(result: Evaluation, others: Sequence[Flight], held_out: Sequence[Flight]) -> None:
    inner = out_of_site(others)
    seen = scores_by(others, inner)
    threshold, knots = choose_threshold(others, seen), np.array(calibrate(others, seen))
    forest, limits = fit_kinds(others, inner), fit_limits(others)
    for flight, scores in zip(held_out, scores_by(held_out, [limits] * len(held_out)), strict=True):
        result.outcomes.append(judge(flight, scores, limits, forest, threshold))
        result.probabilities.append(np.interp(scores, knots[:, 0], knots[:, 1]))

"""Honest figures: every site is held out once; neither the model nor its thresholds have seen it."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from models.alarms import Limits, alarms, calibrate
from models.dataset import Flight
from models.forest import fit
from shared.persistence import Rule, Scores

PER_HOUR = 1.0
"""False alarms per flight hour that the threshold of a class may raise on the healthy windows it is chosen on."""


@dataclass(slots=True)
class Tally:
    """healthy_s: flight seconds without a fault. found, of: faults raised while they lasted, by (class, kind).
    delays_s: from the begin of each fault that was found to its first finding."""

    healthy_s: int = 0
    false_alarms: int = 0
    healthy_flights: int = 0
    clean_flights: int = 0
    found: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    delays_s: list[float] = field(default_factory=list)
    of: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def add(self, flight: Flight, scores: Scores, limits: Limits, rule: Rule) -> None:
        healthy = flight.healthy()
        false = len(alarms(flight.end_us, scores, healthy, limits, rule))
        self.healthy_s += int(healthy.sum())
        self.false_alarms += false
        if not flight.fault:
            self.healthy_flights += 1
            self.clean_flights += not false
            return
        kind = (flight.aircraft, flight.fault)
        self.of[kind] += 1
        raised = alarms(flight.end_us, scores, flight.faulty(), limits, rule)
        self.found[kind] += bool(raised)
        if raised and flight.fault_us:
            self.delays_s.append((raised[0] - flight.fault_us[0]) / 1e6)

    def summary(self) -> dict[str, Any]:
        """As JSON-ready figures."""
        hours = self.healthy_s / 3600
        return {
            "healthy_hours": round(hours, 2),
            "false_alarms": self.false_alarms,
            "false_alarms_per_hour": round(self.false_alarms / hours, 2) if hours else None,
            "nominal_flights": self.healthy_flights,
            "nominal_flights_without_alarm": self.clean_flights,
            "faults": sum(self.of.values()),
            "faults_found": sum(self.found.values()),
            "median_delay_s": round(statistics.median(self.delays_s), 1) if self.delays_s else None,
            "by_class": self._by(0),
            "by_kind": self._by(1),
        }

    def _by(self, part: int) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = {}
        for kind, total in sorted(self.of.items()):
            pair = groups.setdefault(kind[part], [0, 0])
            pair[0] += self.found[kind]
            pair[1] += total
        return dict(sorted(groups.items()))


def out_of_site(flights: Sequence[Flight]) -> list[Scores]:
    """The scores of each flight by a model that never saw its site."""
    models = {site: fit([f for f in flights if f.site != site]) for site in sorted({f.site for f in flights})}
    return [models[f.site].scores(f) for f in flights]


def thresholds(flights: Sequence[Flight], scores: Sequence[Scores], rule: Rule) -> dict[str, Limits]:
    """Limits per class, on all windows of the flights that are healthy (those before a fault too)."""
    return {
        aircraft: calibrate(
            [(f.end_us, s, f.healthy()) for f, s in zip(flights, scores, strict=True) if f.aircraft == aircraft],
            PER_HOUR, rule,
        )
        for aircraft in sorted({f.aircraft for f in flights})
    }  # fmt: skip


def cross_validate(flights: Sequence[Flight], rule: Rule) -> Tally:
    """Each site in turn: model and thresholds from the others alone (thresholds by leaving each of those out again)."""
    tally = Tally()
    for site in sorted({f.site for f in flights}):
        others = [f for f in flights if f.site != site]
        limits = thresholds(others, out_of_site(others), rule)
        model = fit(others)
        for flight in flights:
            if flight.site == site:
                tally.add(flight, model.scores(flight), limits[flight.aircraft], rule)
    return tally

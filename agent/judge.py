"""One bundle's opinion of a flight: feature vectors come in once a second, findings go out. Pure."""

import uuid
from dataclasses import dataclass

import numpy as np

from shared.features import HOP_S, Vector
from shared.ids import new_id
from shared.persistence import Episode, Persistence
from shared.records import Finding
from shared.scoring import Bundle

KIND_VECTORS = 5
"""Vectors from an episode's begin on that its kind is named by."""
_HOP_US = HOP_S * 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class _Hit:
    """A vector above the threshold."""

    at_us: int
    score: float
    vector: Vector


class Judge:
    """See the module. A finding is given when its episode begins and again, under the same id, when it has ended: then
    with its end, its worst score and what the worst second showed.

    scored, begun: vectors judged and episodes begun so far. newest_score: the last one's, None on the ground.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.scored = self.begun = 0
        self.newest_score: float | None = None
        self.aircraft = ""
        self._watch: Persistence | None = None
        self._hits: list[_Hit] = []
        self._worst: _Hit | None = None
        self._name: tuple[uuid.UUID, uuid.UUID | None] = new_id(), None

    @property
    def is_open(self) -> bool:
        """Whether an episode has begun and not ended."""
        return self._watch is not None and self._watch.is_open

    def judge(
        self, aircraft: str, at_us: int, vector: Vector | None, session: uuid.UUID | None, is_flying: bool = True
    ) -> list[Finding]:
        """Take the vector that ends at `at_us` (of no meaning when not `is_flying`); what begins or ends with it.

        aircraft: its class. session: the flight, as far as it is known; a finding bears that of its begin.
        """
        ended = self.end() if aircraft != self.aircraft else []
        nominal = self.bundle.nominal(aircraft)
        if nominal is None:
            return ended
        if self._watch is None:
            self._watch = Persistence(nominal.threshold, nominal.critical, self.bundle.rule)
            self.aircraft = aircraft
        self.newest_score = None
        if is_flying and vector is not None:
            self.newest_score = self.bundle.score(vector, nominal)
            self.scored += 1
        self._remember(at_us, vector, nominal.threshold)
        return ended + self._take(self._watch.update(at_us, self.newest_score), session)

    def end(self) -> list[Finding]:
        """The flight, or what is known of it, is over: what was open ends, and the watch begins anew."""
        ended = self._take(self._watch.finish(), None) if self._watch is not None else []
        self._watch, self._hits, self._worst = None, [], None
        self.aircraft, self.newest_score = "", None
        return ended

    def _remember(self, at_us: int, vector: Vector | None, threshold: float) -> None:
        """The first hits of what is an episode or may become one, and its worst."""
        if not self.is_open:
            span_us = self.bundle.rule.of * _HOP_US
            self._hits = [h for h in self._hits if 0 <= at_us - h.at_us < span_us][-KIND_VECTORS + 1 :]
            self._worst = max(self._hits, key=lambda h: h.score, default=None)
        if vector is None or self.newest_score is None or self.newest_score <= threshold:
            return
        hit = _Hit(at_us, self.newest_score, vector)
        if len(self._hits) < KIND_VECTORS:
            self._hits.append(hit)
        if self._worst is None or hit.score > self._worst.score:
            self._worst = hit

    def _take(self, episode: Episode | None, session: uuid.UUID | None) -> list[Finding]:
        """The finding of an episode that begins or has ended."""
        nominal = self.bundle.nominal(self.aircraft)
        if episode is None or nominal is None or self._worst is None:
            return []
        if episode.is_open:
            self._name = new_id(), session
            self.begun += 1
        vectors = np.stack([h.vector for h in self._hits])
        finding_id, session = self._name
        found = self.bundle.finding(nominal, episode, vectors, self._worst.vector, session, finding_id)
        if not episode.is_open:
            self._hits, self._worst = [], None
        return [found]

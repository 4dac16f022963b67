"""How the logs of a flight lie on it: which belong to it, on whose clock all of it is dated. Pure.

The flight is dated by the best clock of its sources (GPS before a recording's stamps before a computer's clock; of
equal ones the better source's), and all others are moved onto that one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hub.store.logs import FlightLog
from hub.worker.alignment import Line, Match, align
from hub.worker.merge import RANK, Kind

Name = tuple[bytes, int]
"""A session of a log: its SHA-256, its number in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A log's session that is part of the flight already (`known`), or may be."""

    name: Name
    kind: Kind
    line: Line
    known: FlightLog | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """shifts: of each log that is part of the flight, what is added to its own dates. live_shift_us: the same of the
    live stream. master: whose clock dates the flight; None: the live stream's. matches: how each was found."""

    shifts: dict[Name, int]
    matches: dict[Name, Match]
    live_shift_us: int = 0
    master: Name | None = None


def lay(live: Line | None, candidates: Sequence[Candidate]) -> Overlay:
    """Decide it. live: None for a flight known from logs alone, whose `known` candidates are what it is made of."""
    ordered = sorted(candidates, key=lambda c: (c.known is None, RANK[c.kind], c.name))
    reference = live if live is not None and len(live.grid.tick_us) else None
    matches: dict[Name, Match] = {}
    if reference is None and ordered and ordered[0].known is not None:
        reference = ordered[0].line
        matches[ordered[0].name] = Match(0, "origin", None)
    if reference is not None:
        _match_all(reference, ordered, matches)
    lines = {c.name: c for c in ordered if c.name in matches}
    master = _master(live, lines)
    base = 0 if master is None else matches[master].offset_us
    shifts = {name: m.offset_us - base for name, m in matches.items()}
    return Overlay(shifts, {n: replace(m, offset_us=shifts[n]) for n, m in matches.items()}, -base, master)


def _match_all(reference: Line, ordered: Sequence[Candidate], matches: dict[Name, Match]) -> None:
    """Each on the reference, or on one that lies on it; what was part of the flight stays so."""
    for c in ordered:
        if c.name not in matches and (found := _match(reference, c.line, [o for o in ordered if o.name in matches],
                                                      matches)) is not None:  # fmt: skip
            matches[c.name] = found
    for c in ordered:
        if c.name not in matches and c.known is not None:
            matches[c.name] = Match(c.known.offset_us, c.known.method, c.known.agreement)  # type: ignore[arg-type]


def _match(reference: Line, line: Line, laid: Sequence[Candidate], matches: Mapping[Name, Match]) -> Match | None:
    found = align(line, reference)
    for other in laid:
        if found is None and (by := align(line, other.line)) is not None:
            found = replace(by, offset_us=by.offset_us + matches[other.name].offset_us)
    return found


def _master(live: Line | None, logs: Mapping[Name, Candidate]) -> Name | None:
    """Whose clock is best; None: the live stream's."""
    best = max(logs.values(), key=lambda c: (c.line.clock, -RANK[c.kind], c.name), default=None)
    if best is None or (live is not None and live.clock > best.line.clock):
        return None
    return best.name

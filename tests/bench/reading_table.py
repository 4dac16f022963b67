"""Our reading of recorded logs against pymavlink's and pyulog's: counts, values, sessions, modes, times, damage.

`python tests/bench/reading_table.py [LOG...]`; without logs, all in `../shared/data/real`. A row per log; "yes", or
what differs. The reference is read by the tools themselves, apart from the readers' own tests.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.columns import columns_of, fields
from firmware_bridge.log_flight import LogFlight, derive
from firmware_bridge.log_rows import field_values
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import Survey, survey
from firmware_bridge.log_tables import Portion, read_all
from shared.errors import Refused
from shared.layouts import LAYOUTS
from tests.fix_field_tools import Reading, read_with_field_tools, real_logs


@dataclass
class Comparison:
    """One log read by us and by the field's tool. The rest are differences, empty where there are none."""

    source: LogSource
    found: Survey
    flights: list[LogFlight]
    theirs: Reading
    counts: list[str]
    values: list[str]
    sessions: list[str]
    modes: list[str]
    first_differs_s: float | None

    @property
    def damaged_bytes(self) -> int:
        """What we could not read."""
        return sum(d.size for d in self.found.damage)


def compare(path: Path) -> Comparison:
    """Both readings of a log."""
    source = LogSource(path)
    found = survey(source)
    flights = derive(source, found)
    theirs = read_with_field_tools(source, (found.sysid, found.compid))
    return Comparison(
        source, found, flights, theirs, _counts(found, theirs), _values(source, theirs), _sessions(found, theirs),
        _modes(found, flights, theirs), _first(found, theirs),
    )  # fmt: skip


def _counts(found: Survey, theirs: Reading) -> list[str]:
    ours = {n: c for n, c in found.messages.items() if not n.startswith("UNKNOWN")}
    named = {n: c for n, c in theirs.counts.items() if not n.startswith("UNKNOWN")}
    names = sorted(ours.keys() | named.keys())
    return [f"{n} {ours.get(n, 0)} (theirs {named.get(n, 0)})" for n in names if ours.get(n, 0) != named.get(n, 0)]


def _values(source: LogSource, theirs: Reading) -> list[str]:
    """Fields whose values are not theirs."""
    ours: dict[str, dict[str, list[tuple[NDArray[np.int64], NDArray[np.float64]]]]] = {}
    for portion in read_all(source.reader(), source.pieces()):
        for name, at, field, values in _fields(source, portion):
            ours.setdefault(name, {}).setdefault(field, []).append((at, values))
    out = []
    for name, columns in theirs.columns.items():
        for field, expected in columns.items():
            parts = ours.get(name, {}).get(field)
            if parts is None:
                continue
            at, values = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
            values = values[np.argsort(at, kind="stable")]
            if len(values) != len(expected) or not np.allclose(values, expected, rtol=1e-6, atol=1e-9, equal_nan=True):
                out.append(f"{name}.{field}")
    return out


def _fields(source: LogSource, portion: Portion) -> Iterator[tuple[str, NDArray[np.int64], str, NDArray[np.float64]]]:
    if portion.frames is not None:
        for g in columns_of(portion.frames).groups:
            if g.msgid in LAYOUTS:
                rows = fields(g)
                at = g.rows.astype(np.int64) + (portion.start << 20)
                for name in rows.dtype.names or ():
                    if rows.dtype[name].kind in "iuf":
                        yield LAYOUTS[g.msgid].name, at, name, rows[name].astype(np.float64)
        return
    for table in portion.tables:
        name = f"{table.name}/{table.instance}" if source.format == "ulog" else table.name
        for field in table.rows.dtype.names or ():
            values = field_values(table, field)
            if values is not None and values.ndim == 1:
                yield name, table.at, field, values
            elif values is not None and source.format == "ulog":
                for i in range(values.shape[1]):
                    yield name, table.at, f"{field}[{i}]", values[:, i]


def _sessions(found: Survey, theirs: Reading) -> list[str]:
    ours = [((s.start_us - found.boots[s.boot].first_us) / 1e6, (s.end_us - found.boots[s.boot].first_us) / 1e6)
            for s in found.sessions if not s.why.startswith("no arming")]  # fmt: skip
    expected = theirs.sessions()
    if len(ours) == len(expected) and np.allclose(np.array(ours).ravel(), np.array(expected).ravel(), atol=0.6):
        return []
    words = ("; ".join(f"{a:.1f}-{b:.1f}" for a, b in spans) or "none" for spans in (ours, expected))
    return [f"{next(words)} (theirs {next(words)})"]


def _modes(found: Survey, flights: list[LogFlight], theirs: Reading) -> list[str]:
    """Modes entered during flights."""
    out = []
    for f in flights:
        start, end = ((t - f.boot.first_us) / 1e6 for t in (f.session.start_us, f.session.end_us))
        ours = [int(e.value or 0) for e in f.events if e.kind == "mode" and f.session.start_us <= e.at_us]
        expected = [n for t, n in theirs.modes if start - 0.6 <= t - theirs.span[0] <= end + 0.05]
        if ours != expected and ours != expected[1:]:
            out.append(f"{ours} (theirs {expected})")
    return out


def _first(found: Survey, theirs: Reading) -> float | None:
    """Seconds that our first moment lies behind theirs; None when one of us does not know it."""
    boot = found.boots[0] if found.boots else None
    utc_us = boot.clock.to_utc(boot.first_us) if boot else None
    if utc_us is None or theirs.span[0] < 1e9:
        return None
    return utc_us / 1e6 - theirs.span[0]


def main(argv: Sequence[str]) -> int:
    """Print the table as Markdown."""
    print("| log | messages | counts | values | sessions | modes | our first moment less theirs | bytes lost |")
    print("|---|---|---|---|---|---|---|---|")
    for path in [Path(a) for a in argv] or real_logs():
        try:
            c = compare(path)
        except (Refused, OSError, ValueError, KeyError, UnicodeDecodeError) as error:
            print(f"| {path.name} | {type(error).__name__}: {error} |" + " |" * 6)
            continue
        cells = [_said(x) for x in (c.counts, c.values, c.sessions, c.modes)]
        differs = "unknown to one" if c.first_differs_s is None else f"{c.first_differs_s:+.3f} s"
        total = sum(c.found.messages.values())
        print(f"| {path.name} | {total:,} | {' | '.join(cells)} | {differs} | {c.damaged_bytes:,} |", flush=True)
    return 0


def _said(differences: list[str]) -> str:
    more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
    return "; ".join(differences[:3]) + more if differences else "yes"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

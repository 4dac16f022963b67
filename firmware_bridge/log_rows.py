"""Tables of a log as the rows that channels are worked out from: fields in any of their spellings, other tables' values
as they stood, the instance in charge. What a portion leaves behind for the next is one row per table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.log_sources import Floats, TableSource
from firmware_bridge.log_tables import NO_TIME, Portion, Table

Times = NDArray[np.int64]
Key = tuple[str, int]
_MOST_INSTANCES = 64


@dataclass(frozen=True, slots=True, eq=False)
class Timed:
    """A table with a time for each of its rows, ascending."""

    table: Table
    time_us: Times


@dataclass(slots=True)
class History:
    """The tables of the portion at hand, and the last row of each table before it.

    last_us: the time of the newest message of a table so far (NO_TIME before there is any).
    """

    current: dict[Key, Timed] = field(default_factory=dict)
    before: dict[Key, Timed] = field(default_factory=dict)
    names: dict[str, list[int]] = field(default_factory=dict)
    last_us: int = NO_TIME

    def take(self, portion: Portion) -> None:
        """Go on to the next portion of the boot."""
        for key, timed in self.current.items():
            if len(timed.time_us):
                self.before[key] = Timed(_row(timed.table, -1), timed.time_us[-1:])
        times, self.last_us = filled_times(portion.tables, self.last_us)
        self.current = {}
        for table, t in zip(portion.tables, times, strict=True):
            known = t != NO_TIME
            if known.any() and self._is_welcome(table):
                self.current[table.name, table.instance] = _ascending(table, t, known)

    def _is_welcome(self, table: Table) -> bool:
        instances = self.names.setdefault(table.name, [])
        if table.instance not in instances:
            if len(instances) >= _MOST_INSTANCES:
                return False
            instances.append(table.instance)
            instances.sort()
        return True

    def rows(self, source: TableSource) -> "list[SourceRows]":
        """The rows of the portion that a source reads, by instance (more than one where another takes charge)."""
        instances = self.names.get(source.table, [])
        if source.primary is None:
            wanted = instances[:1] if source.instance is None else [source.instance]
        else:
            wanted = instances
        found = []
        for i in wanted:
            timed = self.current.get((source.table, i))
            if timed is not None and SourceRows(self, timed).has(*source.needs):
                found.append(SourceRows(self, timed))
        return found

    def held(self, key: Key, name: str, time_us: Times, default: float) -> Floats:
        """A field of a table as it stood at these times; `default` before its first row."""
        out = np.full(len(time_us), default, np.float64)
        for timed in (self.before.get(key), self.current.get(key)):
            values = None if timed is None else field_values(timed.table, name)
            if timed is not None and values is not None and values.ndim == 1:
                at = np.searchsorted(timed.time_us, time_us, side="right") - 1
                out[at >= 0] = values[at[at >= 0]]
        return out


@dataclass(slots=True)
class SourceRows:
    """See log_sources.Rows. keep: which rows of the table are read (None: all)."""

    history: History
    timed: Timed
    keep: NDArray[np.int64] | None = None

    @property
    def time_us(self) -> Times:
        """Times of the rows that are read."""
        return self.timed.time_us if self.keep is None else self.timed.time_us[self.keep]

    def value(self, *names: str) -> Floats:
        """See log_sources.Rows."""
        for name in names:
            values = field_values(self.timed.table, name)
            if values is not None and values.ndim == 1:
                return values if self.keep is None else values[self.keep]
        return np.full(len(self.time_us), np.nan)

    def vector(self, name: str, size: int) -> Floats:
        """See log_sources.Rows."""
        values = field_values(self.timed.table, name)
        if values is None or values.ndim != 2:
            return np.stack([self.value(f"{name}[{i}]") for i in range(size)])
        values = values if self.keep is None else values[self.keep]
        out = np.full((size, len(values)), np.nan)
        out[: values.shape[1]] = values.T[:size]
        return out

    def has(self, *names: str) -> bool:
        """See log_sources.Rows."""
        known = self.timed.table.rows.dtype.names or ()
        return all(n in known for n in names)

    def kind(self, name: str) -> str:
        """See log_sources.Rows."""
        return str(self.timed.table.rows.dtype[name].base.kind) if self.has(name) else ""

    def held(self, table: str, name: str, default: float = np.nan, instance: int | None = None) -> Floats:
        """See log_sources.Rows."""
        found = min(self.history.names.get(table, ()), default=0) if instance is None else instance
        return self.history.held((table, found), name, self.time_us, default)

    def instances(self, table: str) -> Sequence[int]:
        """See log_sources.Rows."""
        return self.history.names.get(table, [])

    def in_charge(self, source: TableSource) -> NDArray[np.bool_]:
        """[rows]: whether this instance is the one that the source's `primary` names (the lowest while none is)."""
        instance, known = self.timed.table.instance, self.history.names[source.table]
        if source.primary is None:
            return np.ones(len(self.time_us), bool)
        table, name = source.primary
        named = self.held(table, name)
        if name.endswith("_device_id"):
            mine, named = self.value(name), np.where(named > 0, named, np.nan)
            is_known = np.any([named == self.held(source.table, name, np.nan, i) for i in known], axis=0)
            return np.where(is_known, named == mine, instance == known[0])
        return np.where(np.isin(named, known), named == instance, instance == known[0])


def field_values(table: Table, name: str) -> Floats | None:
    """A numeric field (`name`, or an element `name[3]` of an array field) as [n] or [n, size]; None: no such field."""
    names = table.rows.dtype.names or ()
    if name in names:
        return table.values(name) if table.rows.dtype[name].base.kind in "iufb" else None
    base, _, index = name.removesuffix("]").partition("[")
    if index.isdigit() and base in names and table.rows.dtype[base].shape:
        values = table.values(base)
        return values[:, int(index)] if int(index) < values.shape[1] else None
    return None


def filled_times(tables: Sequence[Table], before_us: int) -> tuple[list[Times], int]:
    """A time for every row of a portion, and the newest: a message without one has that of the message before it; those
    before the first one of a boot have its time.

    before_us: of the newest message before the portion. Where no message has a time they stay NO_TIME.
    """
    timed = [t for t in tables if len(t)]
    if not timed:
        return [t.time_us for t in tables], before_us
    at = np.concatenate([t.at for t in timed])
    times = np.concatenate([t.time_us for t in timed])
    known = times != NO_TIME
    if not known.any():
        return [np.full(len(t), before_us, np.int64) for t in tables], before_us
    last_us = int(times[known][np.argmax(at[known])])
    if known.all():
        return [t.time_us for t in tables], last_us
    order = np.argsort(at[known], kind="stable")
    known_at, known_us = at[known][order], times[known][order]
    if before_us == NO_TIME:
        before_us = int(known_us[0])
    return [_filled(t, known_at, known_us, before_us) for t in tables], last_us


def _filled(table: Table, known_at: Times, known_us: Times, before_us: int) -> Times:
    absent = table.time_us == NO_TIME
    if not absent.any():
        return table.time_us
    i = np.searchsorted(known_at, table.at[absent], side="right") - 1
    out = table.time_us.copy()
    out[absent] = np.where(i >= 0, known_us[np.maximum(i, 0)], before_us)
    return out


def _ascending(table: Table, time_us: Times, known: NDArray[np.bool_]) -> Timed:
    if known.all() and not (time_us[1:] < time_us[:-1]).any():
        return Timed(table, time_us)
    order = np.flatnonzero(known)
    order = order[np.argsort(time_us[order], kind="stable")]
    return Timed(_taken(table, order), time_us[order])


def _taken(table: Table, index: NDArray[np.int64]) -> Table:
    return Table(
        table.name, table.instance, table.time_us[index], table.at[index], table.rows[index], table.gain, table.unit
    )  # fmt: skip


def _row(table: Table, index: int) -> Table:
    return _taken(table, np.array([index % len(table)]))


def boots(portions: Iterable[Portion]) -> Iterable[tuple[int, Portion]]:
    """Each portion with the number of its boot."""
    boot = 0
    for i, portion in enumerate(portions):
        boot += portion.is_new_boot and i > 0
        yield boot, portion

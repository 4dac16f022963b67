"""A PX4 ULog as topics over time, without the troubles of real logs: stamps of 0, before the start, in the future."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.log_tables import Portion, Table, read_all
from firmware_bridge.ulog_reader import ULogReader
from firmware_bridge.ulog_scan import MAGIC
from shared.errors import Refused

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

_EARLIEST_UTC_US = 1_000_000_000_000_000
"""2001: an older UTC is a receiver's or a clock's invention."""
_CLOCK_TOPICS = ("vehicle_attitude", "sensor_combined", "vehicle_status", "vehicle_local_position", "battery_status")
_SLACK_US = 5_000_000
_LONGEST_HOLE_US = 300_000_000
_FEWEST = 10


@dataclass(frozen=True, slots=True, eq=False)
class Topic:
    """One instance of a topic: time_us ascending (us since boot) and its fields."""

    time_us: Times
    fields: dict[str, NDArray[Any]]

    def has(self, name: str) -> bool:
        """Whether the field is there (fields come and go between PX4 versions)."""
        return name in self.fields

    def at(self, time_us: Times, name: str, default: float = np.nan) -> Floats:
        """The field as it stood at these times; `default` before the first sample and where there is no such field."""
        out = np.full(len(time_us), default, np.float64)
        if name in self.fields:
            last = np.searchsorted(self.time_us, time_us, side="right") - 1
            known = last >= 0
            out[known] = self.fields[name][last[known]]
        return out

    def vector(self, time_us: Times, name: str, size: int) -> Floats:
        """[size, times] of an array field (name[0], name[1], ...)."""
        return np.stack([self.at(time_us, f"{name}[{i}]") for i in range(size)])


NOTHING = Topic(np.zeros(0, np.int64), {})


@dataclass(frozen=True, slots=True, eq=False)
class Topics:
    """A log. first_us, last_us: the span of flight data. utc_offset_us: what to add for UTC, None when never known.

    texts: (time_us, severity 0..7, text). damaged: the file was cut or corrupt; what could be read is here.
    """

    instances: dict[str, dict[int, Topic]]
    first_us: int
    last_us: int
    utc_offset_us: int | None
    parameters: dict[str, float]
    release: int
    texts: list[tuple[int, int, str]]
    damaged: bool

    def get(self, *names: str, instance: int | None = None) -> Topic:
        """The first of these topics that is there (of the lowest instance, if not told); NOTHING when none is."""
        for name in names:
            found = self.instances.get(name, {})
            key = min(found, default=0) if instance is None else instance
            if key in found:
                return found[key]
        return NOTHING

    def ticks(self, hz: float) -> Times:
        """Times of a stream that runs by itself."""
        return np.arange(self.first_us, self.last_us + 1, round(1e6 / hz), dtype=np.int64)

    def updates(self, topic: Topic, hz: float) -> Times:
        """Times of a stream that sends a topic's updates, `hz` at most."""
        inside = topic.time_us[(topic.time_us >= self.first_us) & (topic.time_us <= self.last_us)]
        if len(inside) <= 1.25 * hz * (self.last_us - self.first_us) / 1e6 + 1:
            return inside
        _, first = np.unique((inside - self.first_us) * hz // 1_000_000, return_index=True)
        return inside[first]


def read_topics(data: bytes, names: Sequence[str]) -> Topics:
    """The topics `names` of a ULog; of several boots in one file the one with the most data. Refused: log_format (no
    ULog), log_damaged (no flight data can be read)."""
    if not data.startswith(MAGIC):
        raise Refused("log_format", "not a ULog")
    portions = _longest_boot(read_all(ULogReader(), [data]))
    tables: dict[tuple[str, int], list[Table]] = {}
    for table in (t for p in portions for t in p.tables if t.name in names):
        tables.setdefault((table.name, table.instance), []).append(table)
    instances: dict[str, dict[int, Topic]] = {}
    for (name, instance), parts in sorted(tables.items()):
        topic = _topic(parts)
        if len(topic.time_us):
            instances.setdefault(name, {})[instance] = topic
    info = {k: v for p in portions for k, v in p.info.items()}
    return _topics(portions, instances, info)


def _longest_boot(portions: list[Portion]) -> list[Portion]:
    boots: list[list[Portion]] = [[]]
    for p in portions:
        if p.is_new_boot:
            boots.append([])
        boots[-1].append(p)
    longest = max(boots, key=lambda boot: sum(sum(p.counts.values()) for p in boot))
    return longest if longest is boots[0] else [*_words(boots[0]), *longest]


def _words(boot: list[Portion]) -> list[Portion]:
    """What the first boot of a file says of the vehicle holds for data appended later."""
    return [replace(p, tables=[], texts=[]) for p in boot]


def _topics(portions: list[Portion], instances: dict[str, dict[int, Topic]], info: dict[str, Any]) -> Topics:
    first, last = _span(instances, int(info.get("start_timestamp", 0)))
    release = info.get("ver_sw_release", 0)
    events = {at for p in portions for t in p.tables if t.name == "event" for at in t.at.tolist()}
    texts = [t for p in portions for t in p.texts if t.at not in events]  # PX4 sends those as messages of their own
    return Topics(
        instances,
        first,
        last,
        _utc_offset(instances),
        {x.name: x.value for p in portions for x in p.parameters if x.is_initial},
        release if isinstance(release, int) else 0,
        [(max(t.time_us, first), t.severity, t.text) for t in texts if t.time_us <= last + _SLACK_US],
        any(d.size for p in portions for d in p.damage),
    )


def _topic(parts: list[Table]) -> Topic:
    """Parts of one instance. A part of another format (of another log behind the first) is left out."""
    parts = [p for p in parts if p.rows.dtype == parts[0].rows.dtype]
    stamps, rows = np.concatenate([p.time_us for p in parts]), np.concatenate([p.rows for p in parts])
    keep = np.flatnonzero(stamps > 0)
    order = keep[np.argsort(stamps[keep], kind="stable")]
    fields: dict[str, NDArray[Any]] = {}
    for name in rows.dtype.names or ():
        column = rows[name][order]
        if column.ndim == 1:
            fields[name] = column
        else:
            fields |= {f"{name}[{i}]": column[:, i] for i in range(column.shape[1])}
    fields.pop("timestamp", None)
    return Topic(stamps[order], fields)


def _span(instances: dict[str, dict[int, Topic]], start_us: int) -> tuple[int, int]:
    """First and last moment of flight data: what hangs together round the median stamp. Strays (retained topics, a
    sample from the future, damage) lie beyond a hole that no logging has.
    """
    for name in _CLOCK_TOPICS:
        for topic in instances.get(name, {}).values():
            t = topic.time_us
            if len(t) >= _FEWEST:
                holes = np.flatnonzero(np.diff(t) > _LONGEST_HOLE_US)
                cut = int(np.searchsorted(holes, len(t) // 2))
                first = int(t[holes[cut - 1] + 1]) if cut else int(t[0])
                last = int(t[holes[cut]]) if cut < len(holes) else int(t[-1])
                return (max(first, start_us) if start_us <= last else first), last
    raise Refused("log_damaged", "no flight data can be read")


def _utc_offset(instances: dict[str, dict[int, Topic]]) -> int | None:
    """UTC minus time since boot, by the receiver's clock; the median, because single samples are off."""
    for name in ("vehicle_gps_position", "sensor_gps"):
        for topic in instances.get(name, {}).values():
            if topic.has("time_utc_usec"):
                utc = topic.fields["time_utc_usec"].astype(np.int64)
                good = utc > _EARLIEST_UTC_US
                if good.any():
                    return int(np.median((utc - topic.time_us)[good]))
    return None

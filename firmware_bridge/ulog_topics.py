"""A PX4 ULog as topics over time, without the troubles of real logs: stamps of 0, before the start, in the future.

Read by pyulog, which the hub and laptops have and aircraft do not need.
"""

import contextlib
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import Refused

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

MAGIC = b"ULog\x01\x12\x35"
_EARLIEST_UTC_US = 1_000_000_000_000_000
"""2001: an older UTC is a receiver's or a clock's invention."""
_CLOCK_TOPICS = ("vehicle_attitude", "sensor_combined", "vehicle_status", "vehicle_local_position", "battery_status")
_SLACK_US = 5_000_000
_LONGEST_HOLE_US = 300_000_000
_FEWEST = 10
_BROKEN = (TypeError, ValueError, LookupError, AttributeError, OverflowError, MemoryError, struct.error, EOFError)
"""What pyulog raises on damaged and hostile files."""


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


class _Bounded(io.BytesIO):
    """A file that ends a reader which goes round in circles, as pyulog does on some torn headers."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads_left = 2 * len(data) + 1_000

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0:
            raise EOFError("the log leads its reader in circles")
        return super().read(size)


def read_topics(data: bytes, names: Sequence[str]) -> Topics:
    """The topics `names` of a ULog. Refused: log_format (no ULog), log_damaged (nothing in it can be read)."""
    from pyulog import ULog
    from pyulog.exceptions import ULogException

    if not data.startswith(MAGIC):
        raise Refused("log_format", "not a ULog")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pyulog prints its warnings
            log = ULog(_Bounded(data), list(names), disable_str_exceptions=True)
        return _topics(log)
    except (*_BROKEN, ULogException) as e:
        raise Refused("log_damaged", f"{type(e).__name__}: {e}"[:200]) from None


def _topics(log: Any) -> Topics:
    instances: dict[str, dict[int, Topic]] = {}
    for d in log.data_list:
        topic = _topic(d.data)
        if len(topic.time_us):
            instances.setdefault(d.name, {})[int(d.multi_id)] = topic
    first, last = _span(instances, int(log.start_timestamp))
    texts = [(int(m.timestamp), int(m.log_level) - ord("0"), str(m.message)) for m in log.logged_messages]
    return Topics(
        instances,
        first,
        last,
        _utc_offset(instances),
        {k: float(v) for k, v in log.initial_parameters.items()},
        int(log.msg_info_dict.get("ver_sw_release", 0)),
        [(max(t, first), s, text) for t, s, text in texts if t <= last + _SLACK_US],
        bool(log.file_corruption),
    )


def _topic(data: dict[str, NDArray[Any]]) -> Topic:
    stamps = data["timestamp"].astype(np.int64)
    keep = np.flatnonzero(stamps > 0)
    order = keep[np.argsort(stamps[keep], kind="stable")]
    return Topic(stamps[order], {k: v[order] for k, v in data.items() if k != "timestamp"})


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
    raise ValueError("no flight data")


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

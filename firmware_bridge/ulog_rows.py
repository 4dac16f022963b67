"""Data messages of a piece of a ULog, gathered by topic into tables."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.log_tables import NO_TIME, Table
from firmware_bridge.ulog_formats import Topic
from firmware_bridge.ulog_scan import HEADER

_ID_BYTES = 2
Ints = NDArray[np.int64]


def tables(data: bytes, base: int, at: Ints, index: Ints, topics: list[Topic]) -> list[Table]:
    """One table per topic of the sound data messages that begin at data[at], in the order of the log; topics[index] is
    what each is of. base: where `data` begins in the log."""
    order = np.argsort(index.astype(np.uint16), kind="stable")  # by radix: there are at most 65,536 topics
    ordered = index[order]
    edges = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), len(order)]
    return [_table(data, base, at[order[a:b]], topics[int(ordered[a])]) for a, b in pairwise(edges) if b > a]


def _table(data: bytes, base: int, at: Ints, topic: Topic) -> Table:
    assert topic.dtype is not None  # messages of topics that cannot be read are no rows
    rows = _gather(data, at + (HEADER + _ID_BYTES), topic.dtype)
    return Table(topic.name, topic.instance, _times(rows, topic), at + base, rows)


def _gather(data: bytes, at: Ints, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """data[at[i] : at[i] + itemsize] as rows. A view of the same bytes at every offset lets numpy copy row by row."""
    size = dtype.itemsize
    at_every_byte = np.ndarray((len(data) - size + 1,), np.dtype((np.void, size)), data, 0, (1,))
    return at_every_byte[at].view(dtype)


def _times(rows: NDArray[np.void], topic: Topic) -> Ints:
    if not topic.has_time:
        return np.full(len(rows), NO_TIME, np.int64)
    stamps = rows["timestamp"]
    times = stamps.astype(np.int64)
    if stamps.dtype.kind == "u" and int(times.min()) < 0:
        times[times < 0] = NO_TIME  # no clock runs for 292,000 years
    return times


def latest_before(parts: list[Table], at: Ints, start_us: int) -> list[int]:
    """The latest stamp of any message before each position `at`, not before start_us."""
    timed = [t for t in parts if len(t)]
    if not timed:
        return [start_us] * len(at)
    places = np.concatenate([t.at for t in timed])
    order = np.argsort(places)
    latest = np.maximum.accumulate(np.concatenate([t.time_us for t in timed])[order])
    before = np.searchsorted(places[order], at) - 1
    return [max(start_us, int(latest[i])) if i >= 0 else start_us for i in before.tolist()]

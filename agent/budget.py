"""The byte quota: which sealed batches go when there is no room, and the signed word about each. Pure.

Receipted batches are gone already. Then: lowest lane first, oldest first; never the alert lane (it holds the gap
records themselves), pinned batches or flights under hold (`store.evictable` leaves those out).
"""

import uuid
from collections.abc import Mapping, Sequence

from agent.store import OutboxRow
from shared.records import Gap

TARGET = 0.9
"""Evict down to this share of the quota, so that not every batch evicts one."""
MAX_ROWS = 256
"""Batches evicted in one transaction, at most."""


def choose(rows: Sequence[OutboxRow], over_bytes: int) -> list[OutboxRow]:
    """The first of `rows` (in order of eviction) whose sizes make up over_bytes."""
    chosen, freed = [], 0
    for row in rows:
        if freed >= over_bytes:
            break
        chosen.append(row)
        freed += row.size
    return chosen


def gaps(rows: Sequence[OutboxRow], streams: Mapping[int, uuid.UUID]) -> list[Gap]:
    """One gap record per run of consecutive sequences of one stream and session, with the digests of all."""
    runs: list[list[OutboxRow]] = []
    for row in sorted(rows, key=lambda r: r.id):
        last = runs[-1][-1] if runs else None
        if last is not None and (last.id + 1, last.session) == (row.id, row.session):
            runs[-1].append(row)
        else:
            runs.append([row])
    return [_gap(run, streams) for run in runs]


def _gap(run: list[OutboxRow], streams: Mapping[int, uuid.UUID]) -> Gap:
    return Gap(
        "evicted", streams[run[0].stream_no], run[0].seq, run[-1].seq, [row.digest for row in run], run[0].session,
        sum(row.frames for row in run), sum(row.size for row in run), min(row.from_us for row in run),
        max(row.to_us for row in run), f"{run[0].lane.name} lane",
    )  # fmt: skip

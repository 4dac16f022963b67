"""Taking batches out of the outbox that the hub never got, each run with its gap record in the same transaction."""

import dataclasses
from collections.abc import Collection

from agent import budget, store
from agent.change import Change
from agent.store import OutboxRow

PATIENCE_S = 5.0
"""How long a full disk is waited for, with frames in memory, before batches are evicted for it."""


def evict(change: Change, over_bytes: int, held: Collection[bytes], why: str) -> int:
    """Make room for over_bytes; returns how many batches that took, 0 when nothing may go."""
    rows = budget.choose(store.evictable(change.conn, sorted(held), budget.MAX_ROWS), over_bytes)
    if rows:
        _take_out(change, rows, why)
    return len(rows)


def give_up_damaged(change: Change, rows: Collection[OutboxRow]) -> None:
    """Take batches out whose bytes were found damaged."""
    present = [row for row in rows if store.outbox_digest(change.conn, row.id) is not None]
    if present:
        _take_out(change, present, "damaged on disk")


def _take_out(change: Change, rows: list[OutboxRow], why: str) -> None:
    gaps = budget.gaps(rows, store.streams(change.conn))
    store.drop_outbox(change.conn, [row.id for row in rows])
    change.put_records(tuple(dataclasses.replace(gap, detail=f"{why}; {gap.detail}") for gap in gaps))

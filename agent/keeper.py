"""What keeps a recorder's store: its transactions, what follows when one fails, the quota, the hub's contradictions.

A write that fails leaves everything in memory, to be tried again a second later. For lack of room: the reserve is given
up (`room.py`), and when the disk stays full, batches are evicted for it as for the quota. A torn file is replaced.
"""

import itertools
import logging
import sqlite3
from collections import deque
from collections.abc import Callable

from agent import budget
from agent.change import Change, Circumstances, Pending
from agent.clock_model import ClockModel
from agent.eviction import PATIENCE_S, evict
from agent.policy import Policy, Totals
from agent.repeated import Repeated
from agent.room import Room
from agent.sealing import MAX_BATCH_BYTES, Signer
from agent.session import Identity, RecorderState
from agent.store import SEQ_BITS, OutboxRow, Store, is_damage
from agent.waiting import Loss, Now, Waiting, loss_of
from shared.receipt import Receipt
from shared.records import Gap, Record
from shared.topics import Lane

log = logging.getLogger("dbx.recorder")
_US = 1_000_000
_RESERVE_EVERY_US = 5 * _US
MOST_RECEIPTS = 100
"""Receipts applied in one transaction."""
PIECE_BYTES = 64 << 10
"""Raw bytes that come at once, at most (agent.source, agent.link)."""
_SLACK_BYTES = 24 << 10
"""What a transaction writes besides the frames: state, records, pages of the indexes."""

Reopen = Callable[[RecorderState], tuple[Store, RecorderState, Gap]]
"""Sets a torn store aside and gives a new one, its state and the gap record that says so."""


class Keeper:
    """The part of the recorder that owns the store; see the module and `recorder.Recorder`."""

    def __init__(
        self, opened: Store, state: RecorderState, signer: Signer, clock: ClockModel, policy: Policy, room: Room,
        reopen: Reopen,
    ) -> None:  # fmt: skip
        self.store = opened
        self.state = state
        self.signer = signer
        self.clock = clock
        self.policy = policy
        self.is_live = False
        """Whether the link to the hub is up: short batches in the live lane."""
        self.vehicle: Identity | None = None
        self.pending = Pending()
        self.waiting = Waiting()
        self.position = state.position
        """Frames of a log taken so far; the state holds how many of them are sealed."""
        self.receipts: deque[Receipt] = deque()
        self.receipts_since_us: int | None = None
        self.damaged: deque[OutboxRow] = deque()
        """Batches that their reader found damaged on disk."""
        self.holds: set[bytes] = set()
        self.write_failed = ""
        """What the last failed write said; empty while writing works."""
        self.is_full = False
        """Whether the quota is filled with what may not be evicted: frames are lost until there is room."""
        self.suspect = ""
        """What a reader of the store met that only damage explains; the store is then replaced."""
        self.generation = 0
        """Grows when the store is replaced."""
        self.room = room
        self.part_bytes = min(MAX_BATCH_BYTES, room.log_bytes)
        """Raw bytes sealed in one transaction: on a small disk little, because the log holds them a second time."""
        self._reopen = reopen
        self._retry_at_us = 0
        self._short_since_us: int | None = None
        self._reserve_at_us = 0
        self._contradicted: list[int] = []
        self._is_behind = False
        self._trouble = Repeated(log, "writes fail", "writes work again")
        self._limit_log()
        room.take()

    def hear(self, receipt: Receipt, sealed: bytes) -> None:
        """A receipt whose signature holds: taken with the next transaction."""
        self.receipts.append(receipt)

    @property
    def totals(self) -> Totals:
        """What this run has come to."""
        return self.pending.totals

    @property
    def records(self) -> list[Record]:
        """Records that wait for a batch."""
        return self.pending.records

    @records.setter
    def records(self, records: list[Record]) -> None:
        self.pending.records = records

    @property
    def losses(self) -> dict[str, Loss]:
        """Losses that no gap record has told of yet."""
        return self.pending.losses

    # --- transactions

    def attempt(
        self, now: Now, work: Callable[[Change], object], is_state_changed: bool = True, is_freeing: bool = False
    ) -> bool:
        """Do work in one transaction, with the receipts that came. False when the disk refuses: nothing happened.

        is_freeing: it takes out more than it puts in, so it may be done on a full disk.
        """
        if not is_freeing and self._is_tight():
            self._failed("no room on the disk", now, is_short=True)
            return False
        receipts = list(itertools.islice(self.receipts, MOST_RECEIPTS))
        try:
            with self.store.transaction() as conn:
                change = Change(conn, self.state, self.pending, self._circumstances(now))
                work(change)
                change.apply_receipts(receipts)
                if is_state_changed:
                    change.save()
        except sqlite3.Error as e:
            self._failed(str(e), now, is_damage(e), self.room.is_short(e))
            return False
        for _ in receipts:
            self.receipts.popleft()
        self.receipts_since_us = None if receipts else self.receipts_since_us
        self.state, self.pending = change.state, change.pending
        self._contradicted += change.contradicted
        self._is_behind |= change.is_behind
        if not is_freeing:
            self.write_failed = ""
            self._trouble.worked()
        return True

    def apply_receipts(self, now: Now) -> None:
        """Delete what is receipted without waiting for company."""
        if self.receipts:
            self.attempt(now, lambda _: None, is_state_changed=False, is_freeing=True)

    def _circumstances(self, now: Now) -> Circumstances:
        vehicle = (self.vehicle.sysid, self.vehicle.compid) if self.vehicle else None
        lane = Lane.live if self.is_live else Lane.backlog
        return Circumstances(self.signer, self.clock.mappings(), vehicle, lane, now.recorder_us)

    # --- when the disk is full, failing or damaged

    def is_resting(self, now: Now) -> bool:
        """Whether a write failed a moment ago; it is tried again a second later."""
        return bool(self.write_failed) and now.wall_us < self._retry_at_us

    def _is_tight(self) -> bool:
        """Whether, the reserve given up, the next write could not be copied back from the log to the main file."""
        if self.room.has_reserve:
            return False
        wanted = min(self.waiting.size_bytes, max(self.part_bytes, PIECE_BYTES)) + _SLACK_BYTES
        return self.store.free_bytes() + max(self.room.free_bytes() - self.room.reserve_bytes, 0) < wanted

    def _failed(self, error: str, now: Now, is_damaged: bool = False, is_short: bool = False) -> None:
        self.totals.write_errors += 1
        self.write_failed = error
        self._retry_at_us = now.wall_us + _US
        self._trouble.failed(error, in_memory_bytes=self.waiting.fresh_bytes)
        if is_damaged:
            self._replace_store()
        elif is_short:
            self._short_since_us = now.wall_us if self._short_since_us is None else self._short_since_us
            self._relieve()
        self.bound_memory()

    def _relieve(self) -> None:
        """Give up the reserve, so that the write-ahead log can be copied back and used again in place."""
        if self.room.has_reserve:
            log.warning("disk full, reserve given up", extra={"reserve_bytes": self.room.reserve_bytes})
        self.room.give_up()
        try:
            self.store.reuse_log()
        except sqlite3.Error as e:
            log.debug("write-ahead log not copied back", extra={"error": str(e)})  # tried again at the next failure

    def make_room(self, now: Now, is_last: bool = False) -> None:
        """Evict for a disk that stays full; is_last: at once, because memory does not outlive this process."""
        since_us = self._short_since_us
        if since_us is None or not self.write_failed or not (is_last or now.wall_us - since_us >= PATIENCE_S * _US):
            return
        over = max(self.room.log_bytes, self.waiting.size_bytes // 2) + 2 * _SLACK_BYTES
        while over > 0:
            before = self.store.free_bytes()
            if not self._evict(now, over, "disk full"):
                return
            self._relieve()
            over -= max(self.store.free_bytes() - before, 1)

    def _evict(self, now: Now, over_bytes: int, why: str) -> int:
        """Batches evicted; 0 when there are none, or when the disk refuses even that."""
        gone: list[int] = []
        done = self.attempt(
            now, lambda change: gone.append(evict(change, over_bytes, self.holds, why)), is_freeing=True
        )
        if done and gone[0]:
            log.warning("batches evicted", extra={"batches": gone[0], "why": why})
        return gone[0] if done else 0

    def keep(self, now: Now) -> None:
        """What the store itself needs now: replaced when torn, room on a full disk, the reserve back."""
        if self.suspect:
            self._replace_store()
        self.make_room(now)
        if self.is_full:
            self.keep_to_quota(now)
        if now.wall_us >= self._reserve_at_us:
            self._reserve_at_us = now.wall_us + _RESERVE_EVERY_US
            self._take_reserve(now)

    def _take_reserve(self, now: Now) -> None:
        """Make the reserve again, from free pages of the store when the disk alone does not have them."""
        if self.room.has_reserve:
            self._short_since_us = None
            return
        room = self.room
        is_back = room.take()
        unused = room.free_bytes() + self.store.free_bytes() + self.store.log_bytes()
        if not is_back and unused > room.reserve_bytes * 3 // 2 + room.log_bytes:
            is_back = self._shrink(now) and room.take()
        if is_back:
            self._short_since_us = None
            log.info("reserve made again", extra={"reserve_bytes": self.room.reserve_bytes})

    def _replace_store(self) -> None:
        """The file is torn: set it aside and go on in a new one; what is in memory is written there."""
        log.error("store replaced", extra={"why": self.suspect or self.write_failed})
        self.waiting.none_journaled()
        self.store.close()
        self.store, self.state, gap = self._reopen(self.state)
        self._limit_log()
        self.records.append(gap)
        self.generation += 1
        self.suspect = ""

    def bound_memory(self) -> None:
        """Drop the oldest frames that are only in memory when they exceed the bound, and own up to it."""
        for frames in self.waiting.drop_over(self.policy.max_memory_bytes):
            self.pending.lost("write_failed", loss_of(frames, self.write_failed))

    # --- the quota

    def keep_to_quota(self, now: Now) -> None:
        """Evict what the quota no longer holds, each run of batches with its gap record in the same transaction."""
        quota = self.policy.quota_bytes
        if self.store.size_bytes() > quota:
            self._limit_log()
            if not self._shrink(now):
                return
        while self.store.size_bytes() > quota:
            over = self.store.size_bytes() - int(quota * budget.TARGET)
            gone = self._evict(now, over, "quota")
            self.is_full = not gone and not self.write_failed
            if not gone or not self._shrink(now):
                return
        self.is_full = False

    def _limit_log(self) -> None:
        """The write-ahead log stays well below a small quota, and below what the reserve can make good."""
        self.store.limit_log(min(self.policy.quota_bytes // 8, self.room.log_bytes))

    def _shrink(self, now: Now) -> bool:
        """Give free pages back to the file system. False when the disk refuses."""
        try:
            self.store.shrink()
        except sqlite3.Error as e:
            self._failed(str(e), now, is_damage(e), self.room.is_short(e))
            return False
        return True

    # --- the hub's contradictions

    def renounce(self, now: Now) -> None:
        """The hub has other batches under our stream than we: an earlier copy of the store was put back, or another
        device is our clone. A new stream begins, and what was contradicted is sealed again in it."""
        if not self._contradicted and not self._is_behind:
            return
        contradicted, self._contradicted = list(dict.fromkeys(self._contradicted)), []
        is_behind, self._is_behind = self._is_behind, False
        is_own = is_behind or any(key >> SEQ_BITS == self.state.chain.stream_no for key in contradicted)
        why = "the hub has later batches" if is_behind else "the hub has other batches"
        why += " under this stream: the store was put back from a copy, or this device has a clone"

        def work(change: Change) -> None:
            if is_own:
                change.begin_stream(why)
            for key in contradicted:
                change.seal_again(key)

        if not self.attempt(now, work):
            self._contradicted, self._is_behind = contradicted, is_behind
        elif is_own:
            log.error("stream begun anew", extra={"why": why, "sealed_again": len(contradicted)})

"""The recorder: frames in, journal rows and sealed batches out. No thread, no socket, no clock of its own.

Every change of what is on disk happens in one transaction together with the state that speaks of it, so a power cut
between any two instructions leaves the file as it was before or after the whole step. What is in memory and not yet on
disk is at most a second of frames, and after a failed write a bounded number of bytes; what falls out is a gap record.
"""

import sqlite3
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cbor2

from agent import budget, journal, store
from agent.clock_model import ClockModel
from agent.policy import Policy, Totals
from agent.sealing import MAX_BATCH_BYTES, Content, Signer, seal, split
from agent.session import PREROLL_US, Identity, RecorderState, pack_state
from agent.store import JournalRow, OutboxRow, Store
from agent.tally import Tally, count
from agent.waiting import Loss, Now, Waiting, loss_of
from shared.batch import Counts
from shared.frames import Frames, join
from shared.ids import new_id
from shared.receipt import Receipt
from shared.records import DirectiveReport, Finding, Gap, Record
from shared.topics import Lane

_US = 1_000_000
LOSS_PATIENCE_US = 5 * _US
"""How long losses are added up before a gap record tells of them (the end of a flight does not wait)."""
_EARLY_US = 400_000
"""When the journal is due and a batch nearly so, the batch is sealed instead: those frames are then written once."""
RECEIPT_PATIENCE_US = 5 * _US
"""How long receipts wait for a transaction to travel in, before they get one of their own."""


Boundary = Callable[[sqlite3.Connection, "RecorderState"], None]
"""What else happens in the transaction that seals: a session opens or closes."""


Reopen = Callable[["RecorderState"], tuple[Store, "RecorderState", Gap]]
"""Sets a torn store aside and gives a new one, its state and the gap record that says so."""


@dataclass(slots=True)
class _Guard:
    """Whether the guarded step failed."""

    failed: bool = False


class Recorder:
    """See the module. Used by one thread; `receipts` and `receipted` may be used by another."""

    def __init__(
        self, opened: Store, state: RecorderState, signer: Signer, clock: ClockModel, policy: Policy, reopen: Reopen
    ) -> None:  # fmt: skip
        self.store = opened
        self.state = state
        self.signer = signer
        self.clock = clock
        self.policy = policy
        self.is_live = False
        """Whether the link to the hub is up: short batches in the live lane."""
        self.vehicle: Identity | None = None
        self.totals = Totals()
        self.losses: dict[str, Loss] = {}
        self.records: list[Record] = []
        self.receipts: deque[Receipt] = deque()
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
        self.reopen = reopen
        self._waiting = Waiting()
        self._counts = Counts()
        self._receipts_since_us: int | None = None
        self._retry_at_us = 0
        self._position = state.position
        self._losses_since_us: int | None = None

    # --- frames in

    def add(self, frames: Frames, now: Now, position: int | None = None) -> None:
        """Take frames that were received; they are on disk within journal_us of the next `tick`s."""
        if position is not None:
            self._position = position
        if not len(frames):
            return
        self.totals.frames += len(frames)
        self.totals.raw_bytes += len(frames.data)
        if self.is_full:
            return self.lost("write_failed", loss_of(frames, "the quota is full of held flights"))
        self._waiting.add(frames, now.wall_us)
        if self._waiting.size_bytes >= MAX_BATCH_BYTES and self._is_kept(now) and not self._is_resting(now):
            self.seal_now(now)

    def take_back(self, frames: Frames, row: JournalRow, now: Now) -> None:
        """A journal row of an earlier run: already on disk, to be sealed."""
        self._waiting.take_back(frames, row.id, now.wall_us)
        self._position = max(self._position, row.position)

    def saw_damage(self, bad_crc: int, junk_bytes: int) -> None:
        """Damage that the scanner met since the last call."""
        c = self._counts
        self._counts = replace(c, bad_crc=c.bad_crc + bad_crc, junk_bytes=c.junk_bytes + junk_bytes)
        self.totals.bad_crc += bad_crc
        self.totals.junk_bytes += junk_bytes

    def lost(self, reason: str, loss: Loss) -> None:
        """Own up to a loss; a gap record goes out with the next batch."""
        self.losses.setdefault(reason, Loss()).add(loss)
        self._counts = replace(self._counts, dropped=self._counts.dropped + (loss.frames or 0))

    # --- what is due

    def tick(self, now: Now) -> None:
        """Journal or seal what is due. Never raises for a full or failing disk: it is tried again a second later."""
        if self._is_resting(now):
            return self._bound_memory()
        if self.suspect:
            self._replace_store()
        if self.is_full:
            self.keep_to_quota(now)
        span_us, batch_us = self._waiting.span_us(now), self.policy.live_us if self.is_live else self.policy.backlog_us
        is_journal_due = self._waiting.fresh_us(now) >= self.policy.journal_us
        if not self._is_kept(now):
            self._waiting.trim(now.recorder_us - PREROLL_US)
        elif span_us >= batch_us or (is_journal_due and span_us >= batch_us - _EARLY_US):
            self.seal_now(now)
        elif is_journal_due:
            self.journal_now(now)
        if self.receipts and self._receipts_since_us is None:
            self._receipts_since_us = now.wall_us
        waited = now.wall_us - (self._receipts_since_us or now.wall_us)
        if self.receipts and (waited > RECEIPT_PATIENCE_US or len(self.receipts) > 100):
            with self._guarded(now), self._change():
                pass
        if self.damaged:
            self.give_up(now)
        if self.losses and self._losses_since_us is None:
            self._losses_since_us = now.wall_us
        if self.records or self._is_loss_due(now):
            self.report((), now)

    def _is_loss_due(self, now: Now) -> bool:
        """Losses that go on are told of every few seconds, not ten times a second."""
        return self._losses_since_us is not None and now.wall_us - self._losses_since_us >= LOSS_PATIENCE_US

    def _is_kept(self, now: Now) -> bool:
        """Whether frames are recorded now, or only held as pre-roll."""
        return self.policy.record != "armed" or self.state.session is not None or self._is_pinned(now.recorder_us)

    def _is_pinned(self, time_us: int) -> bool:
        return self.state.pin_until_us is not None and time_us <= self.state.pin_until_us

    def _is_resting(self, now: Now) -> bool:
        """Whether a write failed a moment ago; it is tried again a second later."""
        return bool(self.write_failed) and now.wall_us < self._retry_at_us

    def journal_now(self, now: Now) -> bool:
        """Put what is only in memory on disk. False when the disk refuses."""
        w = self._waiting
        if not w.fresh:
            return True
        frames = join(w.fresh)
        session = self.state.session.session if self.state.session else None
        row = JournalRow(0, self.state.boot, session, len(frames), self._position, journal.pack(frames))
        with self._guarded(now) as guard, self.store.transaction() as conn:
            row_id = store.add_journal(conn, row)
            self._apply_receipts(conn)
        if guard.failed:
            return False
        w.now_journaled(frames, row_id)
        self.totals.journaled += len(frames)
        return True

    def seal_now(self, now: Now, boundary: Boundary | None = None) -> bool:
        """Seal all that waits (and open or close a session at this boundary), in one transaction."""
        w = self._waiting
        if not w.fresh and not w.journaled and boundary is None:
            return True
        frames = w.all()
        fresh = sum(len(f) for f in w.fresh)
        with self._guarded(now) as guard, self._change() as (conn, draft):
            for part in split(frames):
                self._put_frames(conn, draft, part)
            store.drop_journal(conn, w.last_id)
            draft.position = self._position
            self._put_waiting_records(conn, draft, now, boundary is not None)
            if boundary is not None:
                boundary(conn, draft)
            draft.trim_recent(now.recorder_us)
        if guard.failed:
            return False
        self._waiting, self._position = Waiting(), self.state.position
        self.totals.journaled += fresh
        self.totals.sealed += len(frames)
        self.keep_to_quota(now)
        return True

    # --- sessions, records, pins

    def arm(self, vehicle: Identity, at_us: int, now: Now) -> bool:
        """The vehicle armed: what came before is sealed, a session opens. False when the disk refuses."""

        def boundary(conn: sqlite3.Connection, draft: RecorderState) -> None:
            opened = draft.open_session(vehicle, at_us)
            self.put_records(conn, draft, (opened.opening(),), now)
            self.totals.sessions += 1

        return self.state.session is not None or self.seal_now(now, boundary)

    def disarm(self, reason: str, at_us: int | None, now: Now) -> bool:
        """The session ends (disarmed, reboot, link_lost, stopped): its last batch is sealed, its manifest goes out."""
        return self.state.session is None or self.seal_now(now, lambda c, d: self._close(c, d, reason, at_us, now))

    def new_boot(self, now: Now, epoch: uuid.UUID | None = None, reason: str = "reboot") -> bool:
        """The vehicle rebooted (or recorder time began anew: `epoch`): an open session closes, another boot begins."""

        def boundary(conn: sqlite3.Connection, draft: RecorderState) -> None:
            self._close(conn, draft, reason, None, now)
            draft.boot, draft.covered_us = new_id(), None
            if epoch is not None:
                draft.epoch, draft.position = epoch, 0
            draft.wire.clear()
            draft.recent.clear()

        return self.seal_now(now, boundary)

    def _close(
        self, conn: sqlite3.Connection, draft: RecorderState, reason: str, at_us: int | None, now: Now
    ) -> None:  # fmt: skip
        if draft.session is None:
            return
        closing = draft.session.closing(reason, draft.chain, at_us)
        draft.session = None
        self.put_records(conn, draft, (closing,), now)

    def report(self, records: tuple[Record, ...], now: Now) -> bool:
        """Send records at once, in the alert lane; the journal is written with them (a finding may precede a crash)."""
        self.records += records
        self.journal_now(now)
        with self._guarded(now) as guard, self._change() as (conn, draft):
            self._put_waiting_records(conn, draft, now, self._is_loss_due(now))
        return not guard.failed

    def pin(self, from_us: int, to_us: int, now: Now) -> int:
        """Keep full-rate data of a span from eviction until it is receipted; returns batches newly pinned."""
        pinned = 0
        with self._guarded(now), self._change() as (conn, draft):
            draft.pin_until_us = max(to_us, draft.pin_until_us or to_us)
            pinned = store.pin_span(conn, from_us, to_us)
        return pinned

    def give_up(self, now: Now) -> None:
        """Take damaged batches out, with a gap record in the same transaction."""
        rows = {row.id: row for row in list(self.damaged)}
        with self._guarded(now) as guard, self._change() as (conn, draft):
            gone = [
                replace(gap, detail="damaged on disk") for gap in budget.gaps(list(rows.values()), store.streams(conn))
            ]
            store.drop_outbox(conn, list(rows))
            self.put_records(conn, draft, tuple(gone), now)
        if not guard.failed:
            self.damaged.clear()

    def set_policy(self, policy: Policy, report: DirectiveReport, values: bytes, now: Now) -> None:
        """Record by another policy from here on, and say so; both are on disk together."""
        self.seal_now(now)
        self._remember("policy", values, report, now)
        self.policy = policy

    def set_holds(self, holds: set[bytes], report: DirectiveReport, now: Now) -> None:
        """Hold these sessions against eviction."""
        self._remember("holds", cbor2.dumps(sorted(holds)), report, now)
        self.holds = holds

    def _remember(self, key: str, value: bytes, report: DirectiveReport, now: Now) -> None:
        with self._guarded(now), self._change() as (conn, draft):
            store.set_state(conn, key, value)
            store.set_state(conn, "directive", cbor2.dumps(report.version))
            self.put_records(conn, draft, (report,), now)

    def finish(self, now: Now) -> None:
        """Put everything on disk, losses told of; an open session goes on at the next start."""
        is_needed = bool(self.losses)
        self.seal_now(now, (lambda _conn, _draft: None) if is_needed else None)
        self.apply_receipts(now)

    def end_of_log(self, now: Now) -> bool:
        """The log is played to its end: everything is sealed, an open session closes, the next play begins anew."""

        def boundary(conn: sqlite3.Connection, draft: RecorderState) -> None:
            self._close(conn, draft, "stopped", None, now)
            draft.boot, draft.epoch, draft.covered_us, draft.position = new_id(), new_id(), None, 0
            draft.wire.clear()
            draft.recent.clear()

        return self.seal_now(now, boundary)

    def unwritten(self) -> list[Frames]:
        """What is only in memory."""
        return list(self._waiting.fresh)

    def is_empty(self) -> bool:
        """Whether nothing waits: no frame unsealed, no batch without receipt."""
        with self.store.lock:
            return not self.unwritten() and not self._waiting.journaled and not store.queued(self.store.conn)

    def apply_receipts(self, now: Now) -> None:
        """Delete what is receipted without waiting for company."""
        if self.receipts:
            with self._guarded(now), self._change():
                pass

    # --- inside a transaction

    @contextmanager
    def _change(self) -> Iterator[tuple[sqlite3.Connection, RecorderState]]:
        """A transaction with a draft of the state, which becomes the state when it is on disk."""
        draft = self.state.copy()
        before = replace(self.totals), list(self.records), dict(self.losses), self._counts
        try:
            with self.store.transaction() as conn:
                yield conn, draft
                self._apply_receipts(conn)
                store.set_state(conn, "recorder", pack_state(draft))
        except BaseException:
            self.totals, self.records, self.losses, self._counts = before
            raise
        self.state = draft

    def _put_frames(self, conn: sqlite3.Connection, draft: RecorderState, frames: Frames) -> None:
        tally, draft.wire = count(frames, draft.wire)
        tally.bad_crc, tally.junk_bytes = self._counts.bad_crc, self._counts.junk_bytes
        covered = draft.covered_us if draft.covered_us is not None else int(frames.time_us.min()) - 1
        until = max(covered, int(frames.time_us.max()))
        counts = replace(self._counts, frames=len(frames), bytes=len(frames.data))
        content = Content(
            boot=draft.boot, session=draft.session.session if draft.session else None,
            lane=Lane.live if self.is_live else Lane.backlog, covers=(covered, until), clock=self.clock.mappings(),
            counts=counts, frames=frames, vehicle=self._address(), pinned=self._is_pinned(int(frames.time_us[0])),
        )  # fmt: skip
        draft.covered_us = until
        self._put(conn, draft, content, tally)
        self._counts = Counts()

    def _put_waiting_records(self, conn: sqlite3.Connection, draft: RecorderState, now: Now, is_all: bool) -> None:
        """Seal the records that wait into one batch of the alert lane; is_all: losses too, as gap records."""
        session = draft.session.session if draft.session else None
        losses = self.losses if is_all else {}
        gaps = [
            Gap(reason, draft.chain.stream, session=session, frames=loss.frames, size_bytes=loss.size_bytes,
                from_us=loss.from_us, to_us=loss.to_us, detail=loss.detail)
            for reason, loss in losses.items()
        ]  # fmt: skip
        if self.records or gaps:
            self.put_records(conn, draft, (*self.records, *gaps), now)
        self.records = []
        if is_all:
            self.losses, self._losses_since_us = {}, None

    def put_records(
        self, conn: sqlite3.Connection, draft: RecorderState, records: tuple[Record, ...], now: Now
    ) -> None:
        """Seal records into one batch of the alert lane."""
        at = draft.covered_us if draft.covered_us is not None else now.recorder_us
        content = Content(
            boot=draft.boot, session=_session_of(draft, records), lane=Lane.alert, covers=(at, at),
            clock=self.clock.mappings(), records=records, vehicle=self._address(),
        )  # fmt: skip
        self.totals.gaps += sum(isinstance(r, Gap) for r in records)
        self.totals.findings += sum(isinstance(r, Finding) for r in records)
        self._put(conn, draft, content, Tally(batches=1))

    def _put(self, conn: sqlite3.Connection, draft: RecorderState, content: Content, tally: Tally) -> None:
        row, envelope, draft.chain = seal(draft.chain, self.signer, content)
        store.add_outbox(conn, row, envelope)
        draft.sealed(row.seq, tally, content.frames is not None)
        self.totals.batches += 1
        self.totals.wire_bytes += row.size

    def _address(self) -> tuple[int, int] | None:
        return (self.vehicle.sysid, self.vehicle.compid) if self.vehicle else None

    def _apply_receipts(self, conn: sqlite3.Connection) -> None:
        """Delete what the hub has signed for; a digest that is not ours deletes nothing."""
        if not self.receipts:
            return
        numbers = {stream: no for no, stream in store.streams(conn).items()}
        done: list[int] = []
        for _ in range(len(self.receipts)):
            receipt = self.receipts.popleft()
            if receipt.stream not in numbers:
                continue
            for seq, digest in receipt.committed().items():
                key = numbers[receipt.stream] << store.SEQ_BITS | seq
                ours = store.outbox_digest(conn, key)
                self.totals.receipt_mismatch += ours is not None and ours != digest
                if ours == digest:
                    done.append(key)
        store.drop_outbox(conn, done)
        self.totals.receipted += len(done)
        self._receipts_since_us = None

    # --- when the disk is full, failing or damaged

    @contextmanager
    def _guarded(self, now: Now) -> Iterator[_Guard]:
        """Catch what the disk can do; what was to be written stays in memory and is tried again."""
        guard = _Guard()
        try:
            yield guard
        except sqlite3.Error as e:
            guard.failed = True
            self.totals.write_errors += 1
            self.write_failed = str(e)
            self._retry_at_us = now.wall_us + _US
            if store.is_damage(e):
                self._replace_store()
            self._bound_memory()
        else:
            self.write_failed = ""

    def _replace_store(self) -> None:
        """The file is torn: set it aside and go on in a new one; what is in memory is written there."""
        self._waiting.none_journaled()
        self.store.close()
        self.store, self.state, gap = self.reopen(self.state)
        self.records.append(gap)
        self.generation += 1
        self.suspect = ""

    def _bound_memory(self) -> None:
        """Drop the oldest frames that are only in memory when they exceed the bound, and own up to it."""
        for frames in self._waiting.drop_over(self.policy.max_memory_bytes):
            self.lost("write_failed", loss_of(frames, self.write_failed))

    def keep_to_quota(self, now: Now) -> None:
        """Evict what the quota no longer holds, each run of batches with its gap record in the same transaction."""
        if self.store.size_bytes() > self.policy.quota_bytes:
            with self._guarded(now):
                self.store.limit_log(self.policy.quota_bytes)
                self.store.shrink()
        while self.store.size_bytes() > self.policy.quota_bytes:
            over = self.store.size_bytes() - int(self.policy.quota_bytes * budget.TARGET)
            rows: list[OutboxRow] = []
            with self._guarded(now) as guard, self._change() as (conn, draft):
                rows = budget.choose(store.evictable(conn, sorted(self.holds), budget.MAX_ROWS), over)
                names = store.streams(conn)
                store.drop_outbox(conn, [row.id for row in rows])
                if rows:
                    self.put_records(conn, draft, tuple(budget.gaps(rows, names)), now)
            self.is_full = not rows and not guard.failed
            if guard.failed or not rows:
                return
            self.store.shrink()
        self.is_full = False


def _session_of(draft: RecorderState, records: tuple[Record, ...]) -> uuid.UUID | None:
    """The flight that records belong to: the open one, else the one that they name."""
    if draft.session is not None:
        return draft.session.session
    named = (getattr(record, "session", None) for record in records)
    return next((session for session in named if session is not None), None)

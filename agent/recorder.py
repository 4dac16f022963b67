"""The recorder: frames in, journal rows and sealed batches out. No thread, no socket, no clock of its own.

Every change of what is on disk happens in one transaction together with the state that speaks of it (`change.py`), so a
power cut between any two instructions leaves the file as it was before or after the whole step. What is in memory and
not yet on disk is at most a second of frames, and after a failed write a bounded number of bytes; what falls out is a
gap record. What the disk and the hub do to the store is in `keeper.py`.
"""

import uuid
from collections import Counter
from collections.abc import Callable

import cbor2

from agent import journal, store
from agent.change import Change
from agent.eviction import give_up_damaged
from agent.keeper import Keeper
from agent.policy import Policy
from agent.sealing import split
from agent.session import PREROLL_US, Identity
from agent.store import JournalRow
from agent.waiting import Loss, Now, loss_of
from shared.frames import Frames, join
from shared.ids import new_id
from shared.records import DirectiveReport, Record

_US = 1_000_000
LOSS_PATIENCE_US = 5 * _US
"""How long losses are added up before a gap record tells of them (the end of a flight does not wait)."""
_EARLY_US = 400_000
"""When the journal is due and a batch nearly so, the batch is sealed instead: those frames are then written once."""
RECEIPT_PATIENCE_US = 5 * _US
"""How long receipts wait for a transaction to travel in, before they get one of their own."""

Boundary = Callable[[Change], None]
"""What else happens in the transaction that seals: a session opens or closes."""


class Recorder(Keeper):
    """See the module. Used by one thread; `receipts`, `damaged` and `suspect` may be used by another."""

    # --- frames in

    def add(self, frames: Frames, now: Now, position: int | None = None) -> None:
        """Take frames that were received; they are on disk within journal_us of the next `tick`s."""
        if position is not None:
            self.position = position
        if not len(frames):
            return
        self.totals.frames += len(frames)
        self.totals.raw_bytes += len(frames.data)
        if self.is_full:
            return self.lost("write_failed", loss_of(frames, "the quota is full of held flights"))
        self.waiting.add(frames, now.wall_us)
        if self.waiting.size_bytes >= self.part_bytes and self._is_kept(now) and not self.write_failed:
            self.seal_now(now)

    def take_back(self, frames: Frames, row: JournalRow, now: Now) -> None:
        """A journal row of an earlier run: already on disk, to be sealed."""
        self.waiting.take_back(frames, row.id, now.wall_us)
        self.position = max(self.position, row.position)

    # --- what is due

    def tick(self, now: Now) -> None:
        """Journal or seal what is due. Never raises for a full or failing disk: it is tried again a second later."""
        if self.is_resting(now):
            return self.bound_memory()
        self.keep(now)
        self._write_frames(now)
        self._hear_hub(now)
        if self.damaged:
            rows = {row.id: row for row in list(self.damaged)}
            if self.attempt(now, lambda change: give_up_damaged(change, rows.values()), is_freeing=True):
                self.damaged.clear()
        waiting = self.pending
        if waiting.losses and waiting.losses_since_us is None:
            waiting.losses_since_us = now.wall_us
        if waiting.records or self._is_loss_due(now):
            self.report((), now)

    def _write_frames(self, now: Now) -> None:
        w, batch_us = self.waiting, self.policy.live_us if self.is_live else self.policy.backlog_us
        span_us = w.span_us(now)
        is_journal_due = w.fresh_us(now) >= self.policy.journal_us
        if not self._is_kept(now):
            w.trim(now.recorder_us - PREROLL_US)
        elif (
            span_us >= batch_us
            or (is_journal_due and span_us >= batch_us - _EARLY_US)
            or w.fresh_bytes >= self.part_bytes
        ):
            self.seal_now(now)
        elif is_journal_due:
            self.journal_now(now)

    def _hear_hub(self, now: Now) -> None:
        """Receipts that found no transaction to travel in for a while; batches that the hub contradicts."""
        if self.receipts and self.receipts_since_us is None:
            self.receipts_since_us = now.wall_us
        waited = now.wall_us - (self.receipts_since_us or now.wall_us)
        if self.receipts and (waited > RECEIPT_PATIENCE_US or len(self.receipts) > 100):
            self.apply_receipts(now)
        self.renounce(now)

    def _is_loss_due(self, now: Now) -> bool:
        """Losses that go on are told of every few seconds, not ten times a second."""
        since_us = self.pending.losses_since_us
        return since_us is not None and now.wall_us - since_us >= LOSS_PATIENCE_US

    def _is_kept(self, now: Now) -> bool:
        """Whether frames are recorded now, or only held as pre-roll."""
        state = self.state
        return self.policy.record != "armed" or state.session is not None or state.is_pinned(now.recorder_us)

    def journal_now(self, now: Now) -> bool:
        """Put what is only in memory on disk. False when the disk refuses."""
        if not self.waiting.fresh:
            return True
        frames = join(self.waiting.fresh)
        session = self.state.session.session if self.state.session else None
        row = JournalRow(0, self.state.boot, session, len(frames), self.position, journal.pack(frames))
        ids: list[int] = []
        if not self.attempt(now, lambda c: ids.append(store.add_journal(c.conn, row)), is_state_changed=False):
            return False
        self.waiting.now_journaled(frames, ids[0])
        self.totals.journaled += len(frames)
        return True

    def seal_now(self, now: Now, boundary: Boundary | None = None) -> bool:
        """Seal all that waits (and open or close a session at this boundary); False when the disk refuses.

        One transaction; more only when a failing disk let much wait, so that what is on disk needs no room twice.
        """
        if not self.waiting.fresh and not self.waiting.journaled and boundary is None:
            return True
        while left := self._seal_part(now, boundary):
            if left < 0:
                return False
        self.position = self.state.position
        self.keep_to_quota(now)
        return True

    def _seal_part(self, now: Now, boundary: Boundary | None) -> int:
        """One transaction of `seal_now`; how many frames are left for the next, -1 when the disk refuses."""
        frames, chunks, left = self.waiting.head(self.part_bytes)
        fresh = sum(len(f) for f in self.waiting.fresh[:chunks])
        last_id = self.waiting.last_id

        def work(change: Change) -> None:
            for part in split(frames, self.part_bytes):
                change.put_frames(part)
            store.drop_journal(change.conn, last_id)
            change.state.position = max(self.position - left, change.state.position)
            if not left:
                change.put_waiting_records(boundary is not None)
                if boundary is not None:
                    boundary(change)
            change.state.trim_recent(now.recorder_us)

        if not self.attempt(now, work):
            return -1
        self.waiting.now_sealed(chunks)
        self.totals.journaled += fresh
        self.totals.sealed += len(frames)
        return left

    # --- sessions, records, pins

    def arm(self, vehicle: Identity, at_us: int, now: Now) -> bool:
        """The vehicle armed: what came before is sealed, a session opens. False when the disk refuses."""
        return self.state.session is not None or self.seal_now(now, lambda change: change.open_flight(vehicle, at_us))

    def disarm(self, reason: str, at_us: int | None, now: Now) -> bool:
        """The session ends (disarmed, reboot, link_lost, stopped): its last batch is sealed, its manifest goes out."""
        return self.state.session is None or self.seal_now(now, lambda change: change.close_flight(reason, at_us))

    def new_boot(self, now: Now, epoch: uuid.UUID | None = None, reason: str = "reboot") -> bool:
        """The vehicle rebooted (or recorder time began anew: `epoch`): an open session closes, another boot begins."""

        def boundary(change: Change) -> None:
            change.close_flight(reason, None)
            change.begin_boot(epoch)

        return self.seal_now(now, boundary)

    def end_of_log(self, now: Now) -> bool:
        """The log is played to its end: everything is sealed, an open session closes, the next play begins anew."""

        def boundary(change: Change) -> None:
            change.close_flight("stopped", None)
            change.begin_boot(new_id())

        self.apply_receipts(now)
        self.keep(now)
        return self.seal_now(now, boundary)

    def finish(self, now: Now) -> None:
        """Put everything on disk, losses told of; an open session goes on at the next start."""
        for _ in range(2):
            boundary: Boundary | None = (lambda _: None) if self.losses else None
            if self.seal_now(now, boundary):
                break
            self.make_room(now, is_last=True)
        self.apply_receipts(now)

    def report(self, records: tuple[Record, ...], now: Now) -> bool:
        """Send records at once, in the alert lane; the journal is written with them (a finding may precede a crash)."""
        self.records += records
        self.journal_now(now)
        return self.attempt(now, lambda change: change.put_waiting_records(self._is_loss_due(now)))

    def pin(self, from_us: int, to_us: int, now: Now) -> int:
        """Keep full-rate data of a span from eviction until it is receipted; returns batches newly pinned."""
        pinned: list[int] = []

        def work(change: Change) -> None:
            change.state.pin_until_us = max(to_us, change.state.pin_until_us or to_us)
            pinned.append(store.pin_span(change.conn, from_us, to_us))

        self.attempt(now, work)
        return sum(pinned)

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
        def work(change: Change) -> None:
            store.set_state(change.conn, key, value)
            store.set_state(change.conn, "directive", cbor2.dumps(report.version))
            change.put_records((report,))

        self.attempt(now, work)

    def saw_damage(self, bad_crc: int, junk_bytes: int) -> None:
        """Damage that the scanner met since the last call."""
        self.pending.saw_damage(bad_crc, junk_bytes)

    def lost(self, reason: str, loss: Loss) -> None:
        """Own up to a loss; a gap record goes out with the next batch."""
        self.pending.lost(reason, loss)

    def left_out(self, source: tuple[int, int], count: int) -> None:
        """So many frames of a source came and are not recorded, by rule: no loss on the wire."""
        self.pending.left_out = self.pending.left_out + Counter({source: count})

    def unwritten(self) -> list[Frames]:
        """What is only in memory."""
        return list(self.waiting.fresh)

    def is_empty(self) -> bool:
        """Whether nothing waits: no frame unsealed, no word of a loss, no batch without receipt."""
        if self.unwritten() or self.waiting.journaled or self.losses or self.records:
            return False
        with self.store.lock:
            return not store.queued(self.store.conn)

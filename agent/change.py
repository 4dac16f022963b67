"""What one transaction does to the store, and the working copy of all that it changes in memory.

The recorder takes the copies over when the transaction is on disk, and drops them when it is not.
"""

import sqlite3
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agent import store
from agent.policy import Totals
from agent.sealing import Chain, Content, Signer, seal
from agent.session import Identity, RecorderState, pack_state
from agent.tally import RESTART_SPAN, Source, Tally, count
from agent.waiting import Loss
from shared import batch as wire
from shared import envelope
from shared.batch import Counts
from shared.clock import TimeMapping
from shared.codec import decode_block
from shared.errors import Refused
from shared.frames import Frames
from shared.ids import new_id
from shared.receipt import Receipt
from shared.records import Finding, Gap, Record, SessionClose, SessionOpen, from_map
from shared.topics import Lane


@dataclass(slots=True)
class Pending:
    """What the next transactions will tell: records and losses that wait, damage counted, what the run came to."""

    totals: Totals = field(default_factory=Totals)
    records: list[Record] = field(default_factory=list)
    losses: dict[str, Loss] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    losses_since_us: int | None = None
    left_out: Counter[Source] = field(default_factory=Counter)
    """Frames since the last batch that are not recorded, by rule (an offload's answers)."""

    def saw_damage(self, bad_crc: int, junk_bytes: int) -> None:
        """Damage on the wire."""
        c = self.counts
        self.counts = replace(c, bad_crc=c.bad_crc + bad_crc, junk_bytes=c.junk_bytes + junk_bytes)
        self.totals.bad_crc += bad_crc
        self.totals.junk_bytes += junk_bytes

    def lost(self, reason: str, loss: Loss) -> None:
        """Own up to a loss."""
        self.losses.setdefault(reason, Loss()).add(loss)
        self.counts = replace(self.counts, dropped=self.counts.dropped + (loss.frames or 0))

    def copy(self) -> "Pending":
        """A draft that may be changed or thrown away."""
        return replace(self, totals=replace(self.totals), records=list(self.records), losses=dict(self.losses))


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What goes into every batch sealed now. now_us: recorder time. vehicle: (sysid, compid)."""

    signer: Signer
    clock: tuple[TimeMapping, ...]
    vehicle: tuple[int, int] | None
    lane: Lane
    now_us: int


class Change:
    """See the module. Every method writes through `conn`, whose transaction the caller owns."""

    def __init__(self, conn: sqlite3.Connection, state: RecorderState, pending: Pending, now: Circumstances) -> None:
        self.conn = conn
        self.state = state.copy()
        self.pending = pending.copy()
        self.contradicted: list[int] = []
        """Batches of ours that the hub says it has with other bytes."""
        self.is_behind = False
        """Whether the hub has batches of our stream that we have not made: an earlier store was put back."""
        self._now = now

    def save(self) -> None:
        """The state, as it is to be found after a power cut."""
        store.set_state(self.conn, "recorder", pack_state(self.state))

    # --- batches

    def put_frames(self, frames: Frames) -> None:
        """Seal frames into one batch of the flight that is open."""
        state, counts = self.state, self.pending.counts
        tally, state.wire = count(frames, state.wire)
        tally.bad_crc, tally.junk_bytes = counts.bad_crc, counts.junk_bytes
        self._explain_losses(tally)
        covered = state.covered_us if state.covered_us is not None else int(frames.time_us.min()) - 1
        until = max(covered, int(frames.time_us.max()))
        content = Content(
            boot=state.boot, session=state.session.session if state.session else None, lane=self._now.lane,
            covers=(covered, until), clock=self._now.clock,
            counts=replace(counts, frames=len(frames), bytes=len(frames.data)), frames=frames,
            vehicle=self._now.vehicle, pinned=state.is_pinned(int(frames.time_us[0])),
        )  # fmt: skip
        state.covered_us = until
        self._put(content, tally)
        self.pending.counts = Counts()

    def _explain_losses(self, tally: Tally) -> None:
        """What was left out by rule did come. What is left of it may lie before the first frame of the next batch."""
        left_out, lost = self.pending.left_out, tally.wire_lost
        tally.wire_lost = lost - left_out
        self.pending.left_out = Counter({source: min(n, RESTART_SPAN) for source, n in (left_out - lost).items()})

    def put_records(self, records: tuple[Record, ...]) -> None:
        """Seal records into one batch of the alert lane."""
        state = self.state
        at = state.covered_us if state.covered_us is not None else self._now.now_us
        content = Content(
            boot=state.boot, session=_session_of(state, records), lane=Lane.alert, covers=(at, at),
            clock=self._now.clock, records=records, vehicle=self._now.vehicle,
        )  # fmt: skip
        self.pending.totals.gaps += sum(isinstance(r, Gap) for r in records)
        self.pending.totals.findings += sum(isinstance(r, Finding) for r in records)
        self._put(content, Tally(batches=1))

    def put_waiting_records(self, is_all: bool) -> None:
        """Seal the records that wait into one batch; is_all: losses too, as gap records."""
        waiting, session = self.pending, self.state.session
        gaps = [
            Gap(reason, self.state.chain.stream, session=session.session if session else None, frames=loss.frames,
                size_bytes=loss.size_bytes, from_us=loss.from_us, to_us=loss.to_us, detail=loss.detail)
            for reason, loss in (waiting.losses if is_all else {}).items()
        ]  # fmt: skip
        if waiting.records or gaps:
            self.put_records((*waiting.records, *gaps))
        waiting.records = []
        if is_all:
            waiting.losses, waiting.losses_since_us = {}, None

    def _put(self, content: Content, tally: Tally) -> None:
        row, sealed, self.state.chain = seal(self.state.chain, self._now.signer, content)
        store.add_outbox(self.conn, row, sealed)
        self.state.sealed(row.seq, tally, content.frames is not None)
        self.pending.totals.batches += 1
        self.pending.totals.wire_bytes += row.size

    # --- flights and boots

    def open_flight(self, vehicle: Identity, at_us: int) -> None:
        """A flight begins, and is announced at once."""
        opened = self.state.open_session(vehicle, at_us)
        self.put_records((opened.opening(),))
        self.pending.totals.sessions += 1

    def close_flight(self, reason: str, at_us: int | None) -> None:
        """The manifest of the open flight, when there is one, goes out after its last batch."""
        if self.state.session is not None:
            closing = self.state.session.closing(reason, self.state.chain, at_us)
            self.state.session = None
            self.put_records((closing,))

    def begin_boot(self, epoch: uuid.UUID | None) -> None:
        """Another boot; epoch: of another clock, whose times and file position start anew."""
        state = self.state
        state.boot, state.covered_us = new_id(), None
        if epoch is not None:
            state.epoch, state.position = epoch, 0
        state.wire.clear()
        state.recent.clear()

    # --- what the hub says

    def apply_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Delete what the hub has signed for; a digest that is not ours deletes nothing."""
        if not receipts:
            return
        numbers = {stream: no for no, stream in store.streams(self.conn).items()}
        done: list[int] = []
        for receipt in receipts:
            if receipt.stream not in numbers:
                continue
            for seq, digest in receipt.committed().items():
                key = numbers[receipt.stream] << store.SEQ_BITS | seq
                ours = store.outbox_digest(self.conn, key)
                if ours == digest:
                    done.append(key)
                elif ours is not None:
                    self.contradicted.append(key)
                chain = self.state.chain
                self.is_behind |= receipt.stream == chain.stream and seq >= chain.next_seq
        store.drop_outbox(self.conn, done)
        self.pending.totals.receipted += len(done)
        self.pending.totals.receipt_mismatch += len(self.contradicted)

    def begin_stream(self, why: str) -> None:
        """The old stream cannot be gone on with: a new one, with the word why. An open flight begins anew with it."""
        state, old = self.state, self.state.chain.stream
        session = state.session.session if state.session else None
        stream = new_id()
        state.chain = Chain(store.add_stream(self.conn, stream), stream)
        state.session = None
        state.recent.clear()
        self.put_records((Gap("store_reset", old, session=session, frames=0, detail=why),))

    def seal_again(self, key: int) -> None:
        """Put what a contradicted batch holds under the present stream: the hub will never take it under the old.

        It belongs to no flight then: the manifests of a stream cover its own sequences alone.
        """
        sealed = store.envelope(self.conn, key)
        store.drop_outbox(self.conn, [key])
        if sealed is None:
            return
        try:
            body = wire.decode(envelope.peek(sealed)[1])
            frames = decode_block(body.columns).frames() if body.columns else None
            records = tuple(r for m in body.records if (r := from_map(m)) is not None)
        except Refused as e:
            seq = key & (1 << store.SEQ_BITS) - 1
            return self.put_records((Gap("store_reset", self.state.chain.stream, detail=f"batch {seq}: {e.reason}"),))
        records = tuple(r for r in records if not isinstance(r, SessionOpen | SessionClose))
        if frames is None and not records:
            return
        content = Content(
            boot=body.boot, session=None, lane=body.lane, covers=body.covers, clock=body.clock, counts=body.counts,
            frames=frames, records=records, vehicle=body.vehicle,
        )  # fmt: skip
        self._put(content, Tally(batches=1) if frames is None else count(frames, {})[0])


def _session_of(state: RecorderState, records: tuple[Record, ...]) -> uuid.UUID | None:
    """The flight that records belong to: the open one, else the one that they name."""
    if state.session is not None:
        return state.session.session
    named = (getattr(record, "session", None) for record in records)
    return next((session for session in named if session is not None), None)

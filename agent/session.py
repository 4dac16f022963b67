"""Flight sessions: arm to disarm of the latched vehicle within a boot. Pure.

A session's batches are its own: a batch ends where arming or disarming is seen. Its pre-roll (up to 30 s of batches
before arming, none of another flight) belongs to it by reference: SessionOpen.first_seq. The manifest in SessionClose
counts all batches first_seq .. last_seq of the stream.
"""

import uuid
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import cbor2

from agent.sealing import Chain
from agent.tally import Source, Tally
from shared.ids import new_id
from shared.records import SessionClose, SessionOpen

PREROLL_US = 30_000_000


@dataclass(frozen=True, slots=True)
class Identity:
    """What the vehicle says that it is (HEARTBEAT, AUTOPILOT_VERSION)."""

    sysid: int
    compid: int
    autopilot: int = 0
    vehicle_type: int = 0
    firmware: str = ""


@dataclass(slots=True)
class OpenSession:
    """A flight in progress and its manifest so far (sealed batches only)."""

    session: uuid.UUID
    boot: uuid.UUID
    vehicle: Identity
    armed_us: int
    first_seq: int
    first_us: int
    tally: Tally

    def opening(self) -> SessionOpen:
        """The record that announces it."""
        v = self.vehicle
        return SessionOpen(
            self.session, self.boot, self.armed_us, self.first_seq, self.first_us, v.sysid, v.compid, v.autopilot,
            v.vehicle_type, v.firmware,
        )  # fmt: skip

    def closing(self, reason: str, chain: Chain, disarmed_us: int | None) -> SessionClose:
        """The record that ends it, after its last batch was sealed (chain.head is that batch's digest)."""
        t = self.tally
        last_seq = chain.next_seq - 1
        return SessionClose(
            session=self.session, reason=reason, first_seq=self.first_seq, last_seq=last_seq,
            batches=max(last_seq - self.first_seq + 1, 0), frames=t.frames, size_bytes=t.size_bytes,
            frames_by_message=dict(t.by_message),
            wire_lost={f"{sysid}/{compid}": n for (sysid, compid), n in t.wire_lost.items()},
            first_us=self.first_us, last_us=self.armed_us if t.last_us is None else t.last_us,
            armed_us=self.armed_us, disarmed_us=disarmed_us, chain_head=chain.head,
            junk_bytes=t.junk_bytes, bad_crc=t.bad_crc,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SealedTally:
    """A sealed batch, remembered as possible pre-roll."""

    seq: int
    tally: Tally


@dataclass(slots=True)
class RecorderState:
    """All that must survive a power cut, changed only together with the batches that it speaks of.

    boot: of the vehicle; epoch: which clock stamps frames (a machine's boot, or a
    log; another one: recorder times start anew). covered_us: up to
    where batches of this boot cover time. wire: newest wire sequence per source. position: frames taken from a file.
    recent: pre-roll, not persisted (after a restart it is shorter).
    """

    chain: Chain
    boot: uuid.UUID
    epoch: uuid.UUID
    covered_us: int | None = None
    session: OpenSession | None = None
    wire: dict[Source, int] = field(default_factory=dict)
    position: int = 0
    pin_until_us: int | None = None
    recent: deque[SealedTally] = field(default_factory=deque)

    def copy(self) -> "RecorderState":
        """A draft that may be changed or thrown away."""
        session = self.session and replace(self.session, tally=_copy(self.session.tally))
        return replace(self, session=session, wire=dict(self.wire), recent=deque(self.recent))

    def is_pinned(self, time_us: int) -> bool:
        """Whether what is recorded at this time is kept from eviction."""
        return self.pin_until_us is not None and time_us <= self.pin_until_us

    def sealed(self, seq: int, tally: Tally, is_flight: bool) -> None:
        """A batch was sealed: count it into the open session, or keep it as pre-roll of the next."""
        if self.session is not None:
            self.session.tally.add(tally)
        elif is_flight:
            self.recent.append(SealedTally(seq, tally))

    def open_session(self, vehicle: Identity, armed_us: int) -> OpenSession:
        """Begin a flight at arming; the pre-roll in `recent` becomes its own."""
        while self.recent and (self.recent[0].tally.last_us or 0) < armed_us - PREROLL_US:
            self.recent.popleft()
        tally = Tally()
        for earlier in self.recent:
            tally.add(earlier.tally)
        first_seq = self.recent[0].seq if self.recent else self.chain.next_seq
        first_us = armed_us if tally.first_us is None else min(tally.first_us, armed_us)
        self.recent.clear()
        self.session = OpenSession(new_id(), self.boot, vehicle, armed_us, first_seq, first_us, tally)
        return self.session

    def trim_recent(self, now_us: int) -> None:
        """Forget what is too old to be pre-roll."""
        while self.recent and (self.recent[0].tally.last_us or 0) < now_us - PREROLL_US:
            self.recent.popleft()


def _copy(tally: Tally) -> Tally:
    return replace(tally, by_message=tally.by_message.copy(), wire_lost=tally.wire_lost.copy())


def pack_state(state: RecorderState) -> bytes:
    """The state as CBOR for the store."""
    s, c = state.session, state.chain
    body: dict[str, Any] = {
        "stream": [c.stream_no, c.stream.bytes, c.next_seq, c.head],
        "boot": [state.boot.bytes, state.epoch.bytes],
        "covered_us": state.covered_us,
        "wire": [[*source, seq] for source, seq in state.wire.items()],
        "position": state.position,
        "pin": state.pin_until_us,
    }
    if s is not None:
        v, t = s.vehicle, s.tally
        body["session"] = {
            "ids": [s.session.bytes, s.boot.bytes],
            "vehicle": [v.sysid, v.compid, v.autopilot, v.vehicle_type, v.firmware],
            "start": [s.armed_us, s.first_seq, s.first_us],
            "tally": [t.batches, t.frames, t.size_bytes, t.bad_crc, t.junk_bytes, t.first_us, t.last_us],
            "messages": dict(t.by_message),
            "lost": [[*source, n] for source, n in t.wire_lost.items()],
        }
    return cbor2.dumps(body)


def unpack_state(body: bytes) -> RecorderState:
    """The state as it was stored. ValueError and its kin when it is not one."""
    m = cbor2.loads(body)
    no, stream, next_seq, head = m["stream"]
    boot, epoch = (uuid.UUID(bytes=b) for b in m["boot"])
    wire = {(sysid, compid): seq for sysid, compid, seq in m["wire"]}
    chain = Chain(no, uuid.UUID(bytes=stream), next_seq, head)
    session = _unpack_session(m["session"]) if "session" in m else None
    return RecorderState(chain, boot, epoch, m["covered_us"], session, wire, m["position"], m["pin"])


def _unpack_session(m: dict[str, Any]) -> OpenSession:
    session, boot = (uuid.UUID(bytes=b) for b in m["ids"])
    batches, frames, size, bad_crc, junk, first, last = m["tally"]
    tally = Tally(batches, frames, size, bad_crc, junk, first_us=first, last_us=last)
    tally.by_message.update(m["messages"])
    tally.wire_lost.update({(sysid, compid): n for sysid, compid, n in m["lost"]})
    armed_us, first_seq, first_us = m["start"]
    return OpenSession(session, boot, Identity(*m["vehicle"]), armed_us, first_seq, first_us, tally)

"""A recorder on a real SQLite file with a clock that the test sets, and frames made to order."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastcrc import crc16

from agent import journal, store
from agent.clock_model import ClockModel
from agent.companion import Voice
from agent.identity import signer_of
from agent.policy import Policy
from agent.recorder import Recorder
from agent.recovery import start
from agent.session import Identity
from agent.waiting import Now
from shared import batch as wire
from shared import envelope
from shared.codec import decode_block
from shared.frames import Frames, join
from shared.layouts import LAYOUTS

SECOND = 1_000_000
COPTER = Identity(1, 1, 3, 2, "")


class Talker:
    """An autopilot that says what it is told to, each frame numbered."""

    def __init__(self, sysid: int = 1) -> None:
        self._voice = Voice(sysid)
        self._count = 0
        self._dice = random.Random(sysid)

    def heartbeat(self, armed: bool = False, mode: int = 0) -> bytes:
        values = {
            "type": 2,
            "autopilot": 3,
            "base_mode": 128 if armed else 0,
            "custom_mode": mode,
            "mavlink_version": 3,
        }
        return self._from_autopilot(0, values)

    def system_time(self, utc_us: int, boot_ms: int) -> bytes:
        return self._from_autopilot(2, {"time_unix_usec": utc_us, "time_boot_ms": boot_ms})

    def attitude(self) -> bytes:
        """A frame that no other frame equals, and that packs badly."""
        self._count += 1
        names = ("roll", "pitch", "yaw", "rollspeed", "pitchspeed", "yawspeed")
        return self._from_autopilot(30, {"time_boot_ms": self._count} | {n: self._dice.random() for n in names})

    def _from_autopilot(self, msgid: int, values: dict[str, Any]) -> bytes:
        frame = bytearray(self._voice.frame(msgid, values))
        frame[6] = 1
        crc = int(crc16.mcrf4xx(bytes(frame[1:-2]) + bytes((LAYOUTS[msgid].crc_extra,))))
        return bytes(frame[:-2]) + crc.to_bytes(2, "little")


def frames_of(raw: list[bytes], time_us: int, step_us: int = 1000) -> Frames:
    """Frames received from time_us on, step_us apart."""
    offsets = np.concatenate([[0], np.cumsum([len(f) for f in raw])]).astype(np.int64)
    return Frames(b"".join(raw), offsets, time_us + step_us * np.arange(len(raw), dtype=np.int64))


@dataclass
class Bench:
    """A recorder and everything needed to start it again."""

    path: Path
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    epoch: uuid.UUID = field(default_factory=uuid.uuid4)
    policy: Policy = field(default_factory=Policy)
    clock: ClockModel = field(default_factory=ClockModel)
    talker: Talker = field(default_factory=Talker)
    now_us: int = 1000 * SECOND

    def __post_init__(self) -> None:
        self.recorder = self.start()

    def start(self) -> Recorder:
        """Start (again) on the same file."""
        find = {signer_of(self.key).key_id: self.key.public_key()}.get
        self.recorder = start(self.path, signer_of(self.key), find, self.clock, self.policy, self.epoch, self.now)
        self.recorder.vehicle = COPTER
        return self.recorder

    @property
    def now(self) -> Now:
        return Now(self.now_us, self.now_us)

    def fly(self, seconds: float, rate_hz: int = 50) -> Frames:
        """Feed frames for so long, ticking ten times a second; returns them."""
        fed = []
        for _ in range(int(seconds * 10)):
            frames = frames_of([self.talker.attitude() for _ in range(rate_hz // 10)], self.now_us)
            self.now_us += SECOND // 10
            self.recorder.add(frames, self.now)
            self.recorder.tick(self.now)
            fed.append(frames)
        return join(fed)

    @property
    def stream(self) -> uuid.UUID:
        return self.recorder.state.chain.stream

    def batches(self) -> dict[tuple[uuid.UUID, int], tuple[wire.Batch, bytes]]:
        """What the outbox holds, decoded; (stream, seq) -> (batch, digest)."""
        return outbox_of(self.recorder)

    def records(self) -> list[dict[str, Any]]:
        return [r for _, (b, _) in sorted(self.batches().items()) for r in b.records]

    def sealed_frames(self) -> Frames:
        return sealed_frames(self.batches())

    def journaled_frames(self) -> Frames:
        with self.recorder.store.lock:
            return join([journal.unpack(row.body) for row in store.journal_rows(self.recorder.store.conn)])


def outbox_of(recorder: Recorder) -> dict[tuple[uuid.UUID, int], tuple[wire.Batch, bytes]]:
    found = {}
    with recorder.store.lock:
        conn = recorder.store.conn
        for row in store.outbox_rows(conn):
            sealed = store.envelope(conn, row.id)
            assert sealed is not None and envelope.digest(sealed) == row.digest
            body = wire.decode(envelope.peek(sealed)[1])
            found[body.stream, body.seq] = (body, row.digest)
    return found


def sealed_frames(batches: dict[tuple[uuid.UUID, int], tuple[wire.Batch, bytes]]) -> Frames:
    return join([decode_block(b.columns).frames() for _, (b, _) in sorted(batches.items()) if b.columns])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "store.db")
    yield made
    made.recorder.store.close()

"""A small signed flight and its evidence file, made with real keys."""

import uuid
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.export.evidence import DeviceKey, Header, write_evidence
from shared.batch import GENESIS, Batch, Counts, encode
from shared.clock import ClockSource, TimeMapping
from shared.codec import encode_block
from shared.envelope import BATCH_TYPE, digest, seal
from shared.frames import Frames
from shared.ids import key_id
from shared.records import Gap, SessionClose, to_map
from shared.topics import Lane
from tests.fix_frames import mavlink_frame

COMMITTED_US = 1_700_000_100_000_000


def new_key(seed: int) -> tuple[Ed25519PrivateKey, bytes]:
    """(private key, raw public key), the same for the same seed."""
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return key, key.public_key().public_bytes_raw()


@dataclass
class SignedFlight:
    """A flight of `batches` batches with `frames` frames each, then the batch with its closing record."""

    batches: int = 3
    frames: int = 4
    stream: uuid.UUID = field(default_factory=lambda: uuid.UUID(int=1))
    flight: uuid.UUID = field(default_factory=lambda: uuid.UUID(int=2))
    device: tuple[Ed25519PrivateKey, bytes] = field(default_factory=lambda: new_key(1))
    hub: tuple[Ed25519PrivateKey, bytes] = field(default_factory=lambda: new_key(2))
    lost: tuple[int, ...] = ()
    """Sequences that were sealed, then evicted; the batch with the closing record says so."""
    is_closed: bool = True
    manifest_frames: int | None = None

    def envelopes(self) -> dict[int, bytes]:
        """Sequence -> envelope, without those lost."""
        prev, made = GENESIS, {}
        for seq in range(1, self.batches + 1):
            made[seq] = self.seal(seq, prev, self.block(seq))
            prev = digest(made[seq])
        gaps = [
            Gap("evicted", self.stream, s, s, [digest(made[s])], self.flight, self.frames, len(made[s]))
            for s in self.lost
        ]
        close = [self.close(prev)] if self.is_closed else []
        records = tuple(to_map(r) for r in (*gaps, *close))
        if records:
            made[self.batches + 1] = self.seal(self.batches + 1, prev, b"", records)
        return {s: e for s, e in made.items() if s not in self.lost}

    def block(self, seq: int) -> bytes:
        frames = [mavlink_frame(i % 2 * 30, bytes(28 if i % 2 else 9), seq=i) for i in range(self.frames)]
        offsets = np.concatenate([[0], np.cumsum([len(f) for f in frames])]).astype(np.int64)
        times = np.arange(self.frames, dtype=np.int64) * 1000 + seq * 1_000_000
        return encode_block(Frames(b"".join(frames), offsets, times))

    def seal(self, seq: int, prev: bytes, columns: bytes, records: tuple = ()) -> bytes:
        batch = Batch(
            self.stream, seq, uuid.UUID(int=3), self.flight, Lane.live, prev, (seq * 10**6, seq * 10**6 + 999_999),
            (TimeMapping(ClockSource.gps, 0, 1_700_000_000_000_000, 1000),),
            Counts(self.frames if columns else 0), columns, records, (1, 1),
        )  # fmt: skip
        return seal(encode(batch), self.device[0], key_id(self.device[1]), BATCH_TYPE)

    def close(self, head: bytes) -> SessionClose:
        by_message = Counter((i % 2 * 30) for _ in range(self.batches) for i in range(self.frames))
        frames = self.batches * self.frames if self.manifest_frames is None else self.manifest_frames
        return SessionClose(
            self.flight, "disarmed", 1, self.batches, self.batches, frames, 0, dict(by_message), {"1/1": 0},
            0, 1, 0, 1, head,
        )  # fmt: skip

    def evidence(self, envelopes: dict[int, bytes] | None = None, committed: dict[int, bytes] | None = None) -> bytes:
        """The file; envelopes and committed digests as they are unless given."""
        envelopes = self.envelopes() if envelopes is None else envelopes
        if committed is None:
            committed = {s: digest(e) for s, e in envelopes.items()}
        device = DeviceKey(key_id(self.device[1]), self.device[1], COMMITTED_US - 10**9, None)
        header = Header(
            self.flight, self.stream, uuid.UUID(int=3), uuid.UUID(int=4), "Org", uuid.UUID(int=5), "Quad",
            COMMITTED_US, (device,), (self.hub[1],),
        )  # fmt: skip
        parts = [envelopes[s] for s in sorted(envelopes)]
        return b"".join(write_evidence(header, parts, committed, COMMITTED_US, self.hub[0], key_id(self.hub[1])))

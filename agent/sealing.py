"""Sealing: frames or records become a signed, chained batch whose sequence and bytes are fixed for ever. Pure."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.store import OutboxRow
from shared import batch as wire
from shared import envelope
from shared.clock import TimeMapping
from shared.codec import encode_block
from shared.frames import Frames
from shared.records import Record, to_map
from shared.topics import Lane

MAX_BATCH_BYTES = 256 << 10
"""Raw MAVLink bytes in one batch, at most (a single frame has 280)."""
LONGEST_US = 1 << 60
"""No batch covers time further from 0 than this (36,000 years), whatever a log's damaged stamps say: hubs refuse it."""


@dataclass(frozen=True, slots=True)
class Signer:
    """The device key and its id."""

    key: Ed25519PrivateKey
    key_id: bytes


@dataclass(frozen=True, slots=True)
class Chain:
    """Where a stream stands: the sequence of its next batch and the digest of its last (GENESIS: none yet)."""

    stream_no: int
    stream: uuid.UUID
    next_seq: int = 1
    head: bytes = wire.GENESIS


@dataclass(frozen=True, slots=True)
class Content:
    """What goes into one batch. pinned: kept from eviction. The rest: shared.batch.Batch."""

    boot: uuid.UUID
    session: uuid.UUID | None
    lane: Lane
    covers: tuple[int, int]
    clock: tuple[TimeMapping, ...]
    counts: wire.Counts = field(default_factory=wire.Counts)
    frames: Frames | None = None
    records: tuple[Record, ...] = ()
    vehicle: tuple[int, int] | None = None
    pinned: bool = False


def seal(chain: Chain, signer: Signer, content: Content) -> tuple[OutboxRow, bytes, Chain]:
    """(facts, envelope, chain after it)."""
    c = content
    first_us, last_us = (max(-LONGEST_US, min(t, LONGEST_US)) for t in c.covers)
    body = wire.Batch(
        stream=chain.stream, seq=chain.next_seq, boot=c.boot, session=c.session, lane=c.lane, prev=chain.head,
        covers=(first_us, last_us), clock=c.clock, counts=c.counts, vehicle=c.vehicle,
        columns=encode_block(c.frames) if c.frames is not None and len(c.frames) else b"",
        records=tuple(to_map(r) for r in c.records),
    )  # fmt: skip
    sealed = envelope.seal(wire.encode(body), signer.key, signer.key_id, envelope.BATCH_TYPE)
    row = row_of(body, sealed, chain.stream_no, c.pinned)
    return row, sealed, replace(chain, next_seq=chain.next_seq + 1, head=row.digest)


def row_of(body: wire.Batch, sealed: bytes, stream_no: int, pinned: bool) -> OutboxRow:
    """The outbox facts of a sealed batch."""
    return OutboxRow(
        stream_no, body.seq, body.lane, len(sealed), body.counts.frames, *body.covers, pinned, body.session,
        envelope.digest(sealed),
    )  # fmt: skip


def split(frames: Frames, max_bytes: int = MAX_BATCH_BYTES) -> Sequence[Frames]:
    """The frames in parts of at most max_bytes raw bytes (at least one frame each), in order."""
    parts, start, n = [], 0, len(frames)
    while start < n:
        limit = int(frames.offsets[start]) + max_bytes
        stop = max(int(frames.offsets.searchsorted(limit, "right")) - 1, start + 1)
        parts.append(frames.slice(start, min(stop, n)))
        start = stop
    return parts

"""Whether an envelope is let in. Pure: bytes, keys and streams in, `Admitted` or `Refusal` out.

The checks, in this order; the first that fails names the refusal:

1. size of the envelope                      envelope_too_large
2. its shape and content type                envelope_malformed, content_type
3. a signature by a known key                unknown_key, bad_signature
4. the key is not revoked                    revoked_key
5. the batch parses                          batch_malformed, batch_version
6. the columns' declared size                block_too_large (the actual size: by the codec, when they are opened)
7. the stream belongs to this aircraft       stream_of_other_aircraft
8. the sequence: the first, and only the first, has no predecessor      sequence_start
9. the topic's aircraft is the key's         topic_of_other_aircraft
10. the topic's organisation is the key's    topic_of_other_organisation

What needs the database is checked as it is committed (`commit.py`): the stream's and the session's aircraft, the
sequence, log records (`log_malformed`, `log_of_other_aircraft`), what a station may tell (`flight_of_station`).
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared import batch as batches
from shared.batch import Batch
from shared.envelope import BATCH_TYPE, Opened, digest, open_envelope
from shared.errors import Refused
from shared.topics import Up, parse_up


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A device's signing key as the registry knows it. revoked_us: us since 1970 UTC, None while it holds."""

    key_id: bytes
    org_id: uuid.UUID
    aircraft_id: uuid.UUID
    public: Ed25519PublicKey
    revoked_us: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Admitted:
    """A batch that may be committed for `key.org_id`, `key.aircraft_id`."""

    topic: str
    envelope: bytes
    digest: bytes
    key: DeviceKey
    batch: Batch


@dataclass(frozen=True, slots=True, eq=False)
class Refusal:
    """An envelope that may not, and who is told.

    org_id: the signer's organisation once the signature held, else the one that the topic names (which the broker
    ties to the sender's credentials), else None. The rest as far as it was known.
    """

    topic: str
    envelope: bytes
    digest: bytes
    reason: str
    detail: str
    org_id: uuid.UUID | None
    aircraft_id: uuid.UUID | None = None
    key_id: bytes | None = None
    stream_id: uuid.UUID | None = None
    seq: int | None = None


FindKey = Callable[[bytes], DeviceKey | None]
FindStream = Callable[[uuid.UUID, uuid.UUID], uuid.UUID | None]
"""(org_id, stream_id) -> aircraft_id of a stream that is known already."""


def admit(topic: str, envelope: bytes, find_key: FindKey, find_stream: FindStream, now_us: int) -> Admitted | Refusal:
    """Check one envelope that came on `topic` at `now_us` (hub's clock, us since 1970 UTC)."""
    up = _parse_topic(topic)
    opened: Opened | None = None
    batch: Batch | None = None
    key: DeviceKey | None = None
    try:
        opened = open_envelope(envelope, lambda kid: k.public if (k := find_key(kid)) else None, BATCH_TYPE)
        key = find_key(opened.key_id)
        assert key is not None
        _check_key(key, now_us)
        batch = batches.decode(opened.payload)
        _check_columns(batch)
        _check_stream(batch, key, find_stream)
        _check_topic(topic, up, key)
        return Admitted(topic, envelope, opened.digest, key, batch)
    except Refused as e:
        return Refusal(
            topic[:200], envelope, opened.digest if opened else digest(envelope), e.reason, e.detail[:500],
            key.org_id if key else (up.org_id if up else None),
            key.aircraft_id if key else (up.aircraft_id if up else None),
            opened.key_id if opened else None,
            batch.stream if batch else None,
            batch.seq if batch else None,
        )  # fmt: skip


def refuse(item: Admitted, error: Refused) -> Refusal:
    """An admitted batch that a later step found to be hostile or damaged after all."""
    key, batch = item.key, item.batch
    return Refusal(
        item.topic[:200], item.envelope, item.digest, error.reason, error.detail[:500], key.org_id, key.aircraft_id,
        key.key_id, batch.stream, batch.seq,
    )  # fmt: skip


def _parse_topic(topic: str) -> Up | None:
    try:
        return parse_up(topic)
    except ValueError:
        return None


def _check_key(key: DeviceKey, now_us: int) -> None:
    if key.revoked_us is not None and now_us >= key.revoked_us:
        raise Refused("revoked_key", f"key {key.key_id.hex()}")


def _check_columns(batch: Batch) -> None:
    """What a batch says that it holds must be possible before anything is unpacked."""
    if batch.counts.frames > MAX_FRAMES:
        raise Refused("block_too_large", f"{batch.counts.frames} frames, at most {MAX_FRAMES}")


def _check_stream(batch: Batch, key: DeviceKey, find_stream: FindStream) -> None:
    owner = find_stream(key.org_id, batch.stream)
    if owner is not None and owner != key.aircraft_id:
        raise Refused("stream_of_other_aircraft", f"stream {batch.stream}")
    if (batch.seq == 1) != (batch.prev == batches.GENESIS):
        raise Refused("sequence_start", f"batch {batch.seq} and its predecessor's digest do not fit")


def _check_topic(topic: str, up: Up | None, key: DeviceKey) -> None:
    if up is None or up.aircraft_id != key.aircraft_id:
        raise Refused("topic_of_other_aircraft", f"topic {topic[:200]!r}, key of aircraft {key.aircraft_id}")
    if up.org_id != key.org_id:
        raise Refused("topic_of_other_organisation", f"topic {topic[:200]!r}, key of organisation {key.org_id}")


MAX_FRAMES = 40_000
MAX_BLOCK_BYTES = 8 << 20
"""More than any aircraft puts into a batch (256 KiB of frames of 8 bytes or more, each at most 255 bytes when
zero-extended), and half of what the wire allows: a block at both limits costs about 100 MB while it is decoded."""

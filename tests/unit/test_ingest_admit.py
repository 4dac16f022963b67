"""Admission: the numbered checks, each alone and in their order."""

import uuid
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from hub.ingest.admit import Admitted, DeviceKey, Refusal, admit
from shared import batch as batches
from shared import topics
from shared.batch import Batch, Counts
from shared.envelope import BATCH_TYPE, MAX_ENVELOPE_BYTES, RECEIPT_TYPE, digest, seal
from shared.ids import key_id, new_id
from shared.topics import Lane

SIGNER = Ed25519PrivateKey.generate()
ORG, AIRCRAFT, OTHER = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
PUBLIC = SIGNER.public_key()
KEY = DeviceKey(key_id(PUBLIC.public_bytes_raw()), ORG, AIRCRAFT, PUBLIC, None)
TOPIC = topics.up(ORG, AIRCRAFT, Lane.live)
STREAM = new_id()
NOW = 1_000


def batch(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "stream": STREAM, "seq": 1, "boot": new_id(), "session": None, "lane": Lane.live, "prev": batches.GENESIS,
        "covers": (0, 0), "clock": (), "counts": Counts(),
    }  # fmt: skip
    return batches.encode(Batch(**(fields | changes)))


def envelope(payload: bytes | None = None, signer: Ed25519PrivateKey = SIGNER, content_type: str = BATCH_TYPE) -> bytes:
    return seal(batch() if payload is None else payload, signer, KEY.key_id, content_type)


def result(
    data: bytes, topic: str = TOPIC, key: DeviceKey | None = KEY, owner: uuid.UUID | None = None
) -> Admitted | Refusal:
    return admit(topic, data, lambda k: key if key and k == key.key_id else None, lambda o, s: owner, NOW)


def reason(*args: Any, **kwargs: Any) -> str:
    out = result(*args, **kwargs)
    assert isinstance(out, Refusal)
    return out.reason


def test_what_is_right_is_admitted() -> None:
    data = envelope()
    out = result(data, owner=AIRCRAFT)
    assert isinstance(out, Admitted)
    assert (out.digest, out.key, out.batch.stream) == (digest(data), KEY, STREAM)


REVOKED = DeviceKey(KEY.key_id, ORG, AIRCRAFT, PUBLIC, NOW)
STRAY = topics.up(OTHER, OTHER, Lane.live)


@pytest.mark.parametrize(
    ("wanted", "data", "options"),
    [
        ("envelope_too_large", bytes(MAX_ENVELOPE_BYTES + 1), {"topic": "x", "key": None}),
        ("envelope_malformed", b"\xd2\x84", {"topic": "x", "key": None}),
        ("content_type", envelope(content_type=RECEIPT_TYPE), {"topic": "x", "key": None}),
        ("unknown_key", envelope(b"junk"), {"topic": "x", "key": None}),
        ("bad_signature", envelope(b"junk", Ed25519PrivateKey.generate()), {"topic": "x", "key": REVOKED}),
        ("revoked_key", envelope(b"junk"), {"topic": "x", "key": REVOKED}),
        ("batch_malformed", envelope(b"junk"), {"topic": "x", "owner": OTHER}),
        ("block_too_large", envelope(batch(counts=Counts(1 << 40), seq=2)), {"topic": "x", "owner": OTHER}),
        ("stream_of_other_aircraft", envelope(batch(seq=2)), {"topic": "x", "owner": OTHER}),
        ("sequence_start", envelope(batch(seq=2)), {"topic": "x"}),
        ("sequence_start", envelope(batch(prev=b"p" * 32)), {"topic": "x"}),
        ("topic_of_other_aircraft", envelope(), {"topic": "x"}),
        ("topic_of_other_aircraft", envelope(), {"topic": STRAY}),
        ("topic_of_other_organisation", envelope(), {"topic": topics.up(OTHER, AIRCRAFT, Lane.live)}),
    ],
)
def test_the_first_check_that_fails_names_the_refusal(wanted: str, data: bytes, options: dict[str, Any]) -> None:
    assert reason(data, **options) == wanted


def test_a_key_revoked_in_the_future_still_holds() -> None:
    later = DeviceKey(KEY.key_id, ORG, AIRCRAFT, PUBLIC, NOW + 1)
    assert isinstance(result(envelope(), key=later), Admitted)


def test_an_unproven_sender_is_charged_to_the_topics_organisation_and_a_proven_one_to_its_own() -> None:
    unproven = result(envelope(), topic=STRAY, key=None)
    proven = result(envelope(), topic=STRAY)
    assert isinstance(unproven, Refusal) and isinstance(proven, Refusal)
    assert (unproven.org_id, proven.org_id) == (OTHER, ORG)


@given(st.binary(max_size=400), st.text(max_size=80))
def test_arbitrary_input_is_refused_and_never_raises(data: bytes, topic: str) -> None:
    assert isinstance(result(data, topic=topic), Refusal)


@given(st.binary(max_size=400))
def test_an_arbitrary_signed_payload_never_raises(payload: bytes) -> None:
    assert isinstance(result(envelope(payload)), Refusal)

"""The envelope: signed by a known key, in the one encoding, or refused with the reason."""

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared import envelope, ids
from shared.envelope import BATCH_TYPE, RECEIPT_TYPE, open_envelope, peek, seal
from shared.errors import Refused

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY_ID = ids.key_id(KEY.public_key().public_bytes_raw())
PAYLOAD = b"what is signed"


def find(key_id: bytes):
    return KEY.public_key() if key_id == KEY_ID else None


def refusal(data: bytes, content_type: str = BATCH_TYPE, **limits: int) -> str:
    with pytest.raises(Refused) as caught:
        open_envelope(data, find, content_type, **limits)
    return caught.value.reason


def signed(protected: bytes, payload: object = PAYLOAD, key: Ed25519PrivateKey = KEY) -> bytes:
    signature = key.sign(cbor2.dumps(["Signature1", protected, b"", payload]))
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))


def test_what_was_sealed_opens_with_its_key_and_digest() -> None:
    sealed = seal(PAYLOAD, KEY, KEY_ID, BATCH_TYPE)
    opened = open_envelope(sealed, find, BATCH_TYPE)
    assert (opened.payload, opened.key_id, opened.digest) == (PAYLOAD, KEY_ID, envelope.digest(sealed))
    assert peek(sealed) == (KEY_ID, PAYLOAD)


def test_every_changed_bit_is_refused() -> None:
    sealed = seal(PAYLOAD, KEY, KEY_ID, BATCH_TYPE)
    for at in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[at] ^= 1 << bit
            assert refusal(bytes(changed)) in ("envelope_malformed", "content_type", "unknown_key", "bad_signature")


def test_every_shortening_and_every_added_byte_is_refused() -> None:
    sealed = seal(PAYLOAD, KEY, KEY_ID, BATCH_TYPE)
    for end in range(len(sealed)):
        assert refusal(sealed[:end]) == "envelope_malformed"
    assert refusal(sealed + b"\0") == "envelope_malformed"


def test_a_key_that_is_not_known_is_refused() -> None:
    assert refusal(seal(PAYLOAD, KEY, bytes(16), BATCH_TYPE)) == "unknown_key"


def test_another_key_under_a_known_id_is_a_bad_signature() -> None:
    assert refusal(seal(PAYLOAD, Ed25519PrivateKey.generate(), KEY_ID, BATCH_TYPE)) == "bad_signature"


def test_a_receipt_is_no_batch() -> None:
    assert refusal(seal(PAYLOAD, KEY, KEY_ID, RECEIPT_TYPE)) == "content_type"


def test_the_size_is_checked_before_anything_is_parsed() -> None:
    assert refusal(b"\xd2\x84" + bytes(100), max_bytes=101) == "envelope_too_large"


def test_the_older_name_of_the_algorithm_is_accepted_and_others_are_not() -> None:
    older = cbor2.dumps({1: -8, 3: BATCH_TYPE, 4: KEY_ID})
    assert open_envelope(signed(older), find, BATCH_TYPE).payload == PAYLOAD
    assert refusal(signed(cbor2.dumps({1: -7, 3: BATCH_TYPE, 4: KEY_ID}))) == "envelope_malformed"


@pytest.mark.parametrize(
    "protected",
    [
        cbor2.dumps({3: BATCH_TYPE, 1: -19, 4: KEY_ID}),
        cbor2.dumps({1: -19, 3: BATCH_TYPE, 4: KEY_ID, 5: 1}),
        cbor2.dumps({1: True, 3: BATCH_TYPE, 4: KEY_ID}),
        cbor2.dumps({1: -19, 3: BATCH_TYPE, 4: KEY_ID[:15]}),
        cbor2.dumps([1, -19, 3, BATCH_TYPE, KEY_ID]),
        b"",
        b"\xff",
    ],
)
def test_other_headers_are_refused_even_when_signed(protected: bytes) -> None:
    assert refusal(signed(protected)) == "envelope_malformed"


def test_a_payload_that_is_not_bytes_is_refused() -> None:
    assert refusal(signed(cbor2.dumps({1: -19, 3: BATCH_TYPE, 4: KEY_ID}), "text")) == "envelope_malformed"


def test_the_key_id_is_the_head_of_the_keys_digest() -> None:
    assert KEY_ID.hex() == "56475aa75463474c0285df5dbf2bcab7"

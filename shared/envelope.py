"""Envelope: COSE_Sign1 (RFC 9052) with Ed25519 (RFC 9864, alg -19; the older EdDSA, -8, is accepted).

Layout: 18([h'protected', {}, payload, signature]); protected = {1: alg, 3: content type, 4: key id}, nothing else.
Only the one deterministic encoding (RFC 8949, 4.2) is accepted: every bit of an envelope is either signed or fixed.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.errors import MALFORMED, Refused

BATCH_TYPE = "application/vnd.dbx.batch.v1"
RECEIPT_TYPE = "application/vnd.dbx.receipt.v1"
LOG_RECEIPT_TYPE = "application/vnd.dbx.logreceipt.v1"
DIRECTIVE_TYPE = "application/vnd.dbx.directive.v1"
BUNDLE_TYPE = "application/vnd.dbx.bundle.v1"
EVIDENCE_TYPE = "application/vnd.dbx.evidence.v1"
MAX_ENVELOPE_BYTES = 1 << 20

_ED25519, _EDDSA = -19, -8
_TAG = 18


@dataclass(frozen=True, slots=True)
class Opened:
    """An envelope whose signature holds. digest is the SHA-256 of the whole envelope."""

    key_id: bytes
    content_type: str
    payload: bytes
    digest: bytes


def digest(envelope: bytes) -> bytes:
    """The 32-byte digest by which batches are chained and receipted: SHA-256 of the envelope."""
    return hashlib.sha256(envelope).digest()


def seal(payload: bytes, key: Ed25519PrivateKey, key_id: bytes, content_type: str) -> bytes:
    """Sign `payload`; returns the envelope's bytes."""
    protected = cbor2.dumps({1: _ED25519, 3: content_type, 4: key_id})
    signature = key.sign(_to_be_signed(protected, payload))
    return cbor2.dumps(cbor2.CBORTag(_TAG, [protected, {}, payload, signature]))


def open_envelope(
    envelope: bytes, find_key: Callable[[bytes], Ed25519PublicKey | None], content_type: str,
    max_bytes: int = MAX_ENVELOPE_BYTES,
) -> Opened:  # fmt: skip
    """Verify. Refused: envelope_too_large, envelope_malformed, content_type, unknown_key, bad_signature."""
    protected, payload, signature, head = _parts(envelope, max_bytes)
    key_id, found_type = head
    if found_type != content_type:
        raise Refused("content_type", f"{found_type[:80]!r} instead of {content_type!r}")
    key = find_key(key_id)
    if key is None:
        raise Refused("unknown_key", key_id.hex())
    try:
        key.verify(signature, _to_be_signed(protected, payload))
    except InvalidSignature:
        raise Refused("bad_signature", f"key {key_id.hex()}") from None
    return Opened(key_id, found_type, payload, digest(envelope))


def peek(envelope: bytes, max_bytes: int = MAX_ENVELOPE_BYTES) -> tuple[bytes, bytes]:
    """(key id, payload) without checking the signature: for the store that made it, never for outside input."""
    _, payload, _, head = _parts(envelope, max_bytes)
    return head[0], payload


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    return cbor2.dumps(["Signature1", protected, b"", payload])


def _parts(envelope: bytes, max_bytes: int) -> tuple[bytes, bytes, bytes, tuple[bytes, str]]:
    if len(envelope) > max_bytes:
        raise Refused("envelope_too_large", f"{len(envelope)} bytes, at most {max_bytes}")
    if envelope[:2] != b"\xd2\x84":
        raise Refused("envelope_malformed", "not a tagged COSE_Sign1")
    try:
        protected, unprotected, payload, signature = cbor2.loads(envelope[1:])
        head = cbor2.loads(protected)
        alg, content_type, key_id = (head[k] for k in (1, 3, 4))
        same = (
            unprotected == {}
            and len(head) == 3
            and isinstance(payload, bytes)
            and isinstance(signature, bytes)
            and isinstance(content_type, str)
            and isinstance(key_id, bytes)
            and type(alg) is int
            and cbor2.dumps({1: alg, 3: content_type, 4: key_id}) == protected
            and cbor2.dumps(cbor2.CBORTag(_TAG, [protected, {}, payload, signature])) == envelope
        )
    except MALFORMED:
        raise Refused("envelope_malformed", "not CBOR of the documented shape") from None
    if not same or len(key_id) != 16 or len(signature) != 64:
        raise Refused("envelope_malformed", "not the deterministic encoding")
    if alg not in (_ED25519, _EDDSA):
        raise Refused("envelope_malformed", f"algorithm {alg}")
    return protected, payload, signature, (key_id, content_type)

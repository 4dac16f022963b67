"""The evidence file (`.dbxe`): one flight, as the aircraft signed it, in one CBOR sequence (RFC 8742).

    header            a map: format, flight, organisation, aircraft, device keys with their validity, hub keys
    batch envelopes   byte for byte as received, in order of sequence (also those with gap records and manifest)
    receipts          COSE_Sign1 by the hub: which sequences are committed, with their digests
    trailer           COSE_Sign1 by the hub: offset, length and SHA-256 of every item before it

Every item but the header is a COSE_Sign1 of its own, so that every byte of the file is under a signature or a digest
that is. Nothing here needs a database or a network. docs/evidence.md has the format in full.
"""

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.envelope import EVIDENCE_TYPE, RECEIPT_TYPE, peek, seal
from shared.errors import MALFORMED, Refused
from shared.receipt import encode_receipt, make_receipt

FORMAT = "dbx-evidence"
VERSION = 1
MAX_TRAILER_BYTES = 64 << 20
_RECEIPT_DIGESTS = 1024
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A device's Ed25519 public key (32 bytes) and when it counted, us since 1970 UTC (None: no such moment)."""

    key_id: bytes
    public_key: bytes
    valid_from_utc_us: int | None
    revoked_utc_us: int | None


@dataclass(frozen=True, slots=True)
class Header:
    """What the file is about. Names are for people; ids and keys are what is checked."""

    flight: uuid.UUID
    stream: uuid.UUID
    boot: uuid.UUID | None
    org_id: uuid.UUID
    org_name: str
    aircraft_id: uuid.UUID
    aircraft_name: str
    made_utc_us: int
    device_keys: tuple[DeviceKey, ...]
    hub_keys: tuple[bytes, ...]
    """Raw 32-byte Ed25519 public keys."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the sequence: its place in the file and its digest as the trailer has it."""

    offset: int
    length: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Trailer:
    """The hub's signed list of all items before the trailer."""

    flight: uuid.UUID
    items: tuple[Item, ...]
    sealed_utc_us: int


def encode_header(header: Header) -> bytes:
    """The header as CBOR."""
    keys = [
        {
            "key_id": k.key_id,
            "public_key": k.public_key,
            "valid_from_utc_us": k.valid_from_utc_us,
            "revoked_utc_us": k.revoked_utc_us,
        }
        for k in header.device_keys
    ]
    return cbor2.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "flight": header.flight.bytes,
            "stream": header.stream.bytes,
            "boot": header.boot.bytes if header.boot else None,
            "org": {"id": header.org_id.bytes, "name": header.org_name},
            "aircraft": {"id": header.aircraft_id.bytes, "name": header.aircraft_name},
            "made_utc_us": header.made_utc_us,
            "device_keys": keys,
            "hub_keys": list(header.hub_keys),
        }
    )


def decode_header(data: bytes) -> Header:
    """Parse the first item. Refused: evidence_header."""
    try:
        body = cbor2.loads(data)
        if body["format"] != FORMAT or body["version"] != VERSION:
            raise ValueError(f"format {body['format']!r} version {body['version']!r}")
        return Header(
            uuid.UUID(bytes=body["flight"]),
            uuid.UUID(bytes=body["stream"]),
            None if body["boot"] is None else uuid.UUID(bytes=body["boot"]),
            uuid.UUID(bytes=body["org"]["id"]),
            _text(body["org"]["name"]),
            uuid.UUID(bytes=body["aircraft"]["id"]),
            _text(body["aircraft"]["name"]),
            _int(body["made_utc_us"]),
            tuple(_device_key(k) for k in body["device_keys"]),
            tuple(_bytes(k, 32) for k in body["hub_keys"]),
        )
    except MALFORMED as e:
        raise Refused("evidence_header", str(e)[:200]) from None


def decode_trailer(payload: bytes) -> Trailer:
    """Parse the trailer's payload. Refused: evidence_trailer."""
    try:
        body = cbor2.loads(payload)
        if body[0] != VERSION:
            raise ValueError(f"version {body[0]!r}")
        items = tuple(Item(_int(at), _int(size), _bytes(sha, 32)) for at, size, sha in body[2])
        return Trailer(uuid.UUID(bytes=body[1]), items, _int(body[3]))
    except MALFORMED as e:
        raise Refused("evidence_trailer", str(e)[:200]) from None


def write_evidence(
    header: Header, envelopes: Sequence[bytes], committed: dict[int, bytes], committed_utc_us: int,
    key: Ed25519PrivateKey, hub_key_id: bytes,
) -> Iterator[bytes]:  # fmt: skip
    """The file, item by item. envelopes: in order of sequence; committed: sequence -> digest, from the ledger;
    committed_utc_us: when the last of them was. key: the hub's signing key, whose public half is in the header."""
    items: list[list[Any]] = []
    offset = 0
    receipts = _receipts(header.stream, committed, committed_utc_us, key, hub_key_id)
    for item in (encode_header(header), *envelopes, *receipts):
        items.append([offset, len(item), hashlib.sha256(item).digest()])
        offset += len(item)
        yield item
    trailer = cbor2.dumps({0: VERSION, 1: header.flight.bytes, 2: items, 3: header.made_utc_us})
    yield seal(trailer, key, hub_key_id, EVIDENCE_TYPE)


def find_trailer(data: bytes) -> int | None:
    """Offset of the trailer; None when there is none. It is found by the constant head of its protected header, from
    the end, so that damage before it does not hide it."""
    marker = cbor2.dumps(EVIDENCE_TYPE)
    # Before the text: tag and array (2), byte string head (2), map head, algorithm (2), the key 3.
    at = data.rfind(marker) - 8
    return at if at >= 0 and data[at : at + 2] == b"\xd2\x84" else None


def read_trailer(data: bytes, at: int) -> tuple[bytes, Trailer]:
    """(key id, trailer) at `at`, its signature not checked. Refused: evidence_trailer, envelope_malformed, ..."""
    key_id, payload = peek(data[at:], MAX_TRAILER_BYTES)
    return key_id, decode_trailer(payload)


def item_end(data: bytes, at: int) -> int:
    """Where the CBOR item that starts at `at` ends. ValueError: not well-formed, of indefinite length, or cut off."""
    pending = 1
    while pending:
        if at >= len(data):
            raise ValueError("cut off")
        major, info, at = data[at] >> 5, data[at] & 31, at + 1
        if info > 27:
            raise ValueError("not deterministic CBOR")
        size = 0 if info < 24 else 1 << (info - 24)
        value = int.from_bytes(data[at : at + size]) if size else info
        at += size + (value if major in (2, 3) else 0)
        pending += {4: value, 5: 2 * value, 6: 1}.get(major, 0) - 1
        if at > len(data) or pending > len(data):
            raise ValueError("cut off")
    return at


def _receipts(
    stream: uuid.UUID, committed: dict[int, bytes], at_us: int, key: Ed25519PrivateKey, key_id: bytes
) -> Iterator[bytes]:
    sequences = sorted(committed)
    for i in range(0, len(sequences), _RECEIPT_DIGESTS):
        part = {s: committed[s] for s in sequences[i : i + _RECEIPT_DIGESTS]}
        yield seal(encode_receipt(make_receipt(stream, part, at_us)), key, key_id, RECEIPT_TYPE)


def _device_key(body: dict[str, Any]) -> DeviceKey:
    times = [body[k] for k in ("valid_from_utc_us", "revoked_utc_us")]
    return DeviceKey(
        _bytes(body["key_id"], 16),
        _bytes(body["public_key"], 32),
        None if times[0] is None else _int(times[0]),
        None if times[1] is None else _int(times[1]),
    )


def _bytes(value: Any, length: int) -> bytes:
    if type(value) is not bytes or len(value) != length:
        raise ValueError(f"not {length} bytes")
    return value


def _int(value: Any) -> int:
    if type(value) is not int or not _INT_MIN <= value <= _INT_MAX:
        raise ValueError("not an integer")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("not text")
    return value

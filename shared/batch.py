"""Batch: the unit of sync. A CBOR map with integer keys (docs/wire.md), around one compressed block of columns."""

import uuid
from dataclasses import dataclass, field
from typing import Any

import cbor2

from shared.clock import ClockSource, TimeMapping
from shared.errors import MALFORMED, Refused
from shared.topics import Lane

VERSION = 1
GENESIS = bytes(32)
"""`prev` of a stream's first batch."""
MAX_RECORDS = 1000
MAX_MAPPINGS = 16
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True)
class Counts:
    """What the link saw in this batch's span. Frames are whole MAVLink frames in the block; bytes are theirs."""

    frames: int = 0
    bytes: int = 0
    bad_crc: int = 0
    junk_bytes: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One sealed batch.

    covers: (from_us, to_us] on the recorder's clock: consecutive frame batches of a boot cover time without overlap.
    clock: mappings to UTC known when sealed, best last. vehicle: (sysid, compid) of the autopilot, once latched.
    columns: block of shared.codec, b"" when the batch only carries records. records: maps of shared.records.
    extra: fields of later minor versions, kept as they came.
    """

    stream: uuid.UUID
    seq: int
    boot: uuid.UUID
    session: uuid.UUID | None
    lane: Lane
    prev: bytes
    covers: tuple[int, int]
    clock: tuple[TimeMapping, ...]
    counts: Counts
    columns: bytes = b""
    records: tuple[dict[str, Any], ...] = ()
    vehicle: tuple[int, int] | None = None
    extra: dict[int, Any] = field(default_factory=dict)

    def best_clock(self) -> TimeMapping:
        """The mapping with the best source; TimeMapping UNKNOWN when there is none."""
        known = [m for m in self.clock if m.utc_us is not None]
        return max(known, key=lambda m: m.source) if known else TimeMapping(ClockSource.unknown, 0, None, -1)


def encode(batch: Batch) -> bytes:
    """The batch as deterministic CBOR, ready to be sealed in an envelope."""
    c = batch.counts
    body: dict[int, Any] = {
        0: VERSION,
        1: batch.stream.bytes,
        2: batch.seq,
        3: batch.boot.bytes,
        5: int(batch.lane),
        6: [[int(m.source), m.mono_us, m.utc_us, m.uncertainty_us] for m in batch.clock],
        7: batch.prev,
        8: list(batch.covers),
        9: [c.frames, c.bytes, c.bad_crc, c.junk_bytes, c.dropped],
    }
    if batch.session is not None:
        body[4] = batch.session.bytes
    if batch.columns:
        body[10] = batch.columns
    if batch.records:
        body[11] = list(batch.records)
    if batch.vehicle is not None:
        body[12] = list(batch.vehicle)
    return cbor2.dumps(body | batch.extra)


def decode(payload: bytes) -> Batch:
    """Parse a verified payload. Refused: batch_malformed, batch_version."""
    try:
        body = cbor2.loads(payload)
        if type(body) is not dict or not all(type(k) is int for k in body):
            raise Refused("batch_malformed", "not a map with integer keys")
        if type(body.get(0)) is not int or body[0] != VERSION:
            raise Refused("batch_version", f"version {str(body.get(0))[:40]!r}, this code reads {VERSION}")
        return _from_map(body)
    except Refused:
        raise
    except MALFORMED as e:
        raise Refused("batch_malformed", str(e)[:200]) from None


def _int(value: Any, low: int = -_INT64, high: int = _INT64 - 1) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{str(value)[:40]!r} is not an integer in [{low}, {high}]")
    return value


def _bytes(value: Any, length: int | None = None) -> bytes:
    if type(value) is not bytes or (length is not None and len(value) != length):
        raise ValueError("bytes of the wrong length")
    return value


def _mapping(item: Any) -> TimeMapping:
    source, mono, utc, uncertainty = item
    utc = None if utc is None else _int(utc)
    return TimeMapping(ClockSource(_int(source)), _int(mono), utc, _int(uncertainty, -1))


def _plain(value: Any) -> Any:
    """The value, if it is nothing but maps, arrays, text, bytes and numbers: CBOR tags can make far stranger things."""
    if type(value) is dict:
        for k, v in value.items():
            _plain(k)
            _plain(v)
    elif type(value) is list:
        for v in value:
            _plain(v)
    elif type(value) is int:
        _int(value, -_INT64, 2 * _INT64 - 1)
    elif type(value) not in (str, bytes, float, bool, type(None)):
        raise ValueError(f"a {type(value).__name__} in a batch")
    return value


def _from_map(body: dict[int, Any]) -> Batch:
    records = body.get(11, [])
    if type(records) is not list or len(records) > MAX_RECORDS or not all(type(r) is dict for r in records):
        raise ValueError("records")
    covers = [_int(t) for t in body[8]]
    if len(covers) != 2 or covers[0] > covers[1]:
        raise ValueError("covers")
    if len(body[6]) > MAX_MAPPINGS:
        raise ValueError("too many clock mappings")
    counts = [_int(n, 0) for n in body[9][:5]]
    vehicle = body.get(12)
    return Batch(
        stream=uuid.UUID(bytes=_bytes(body[1], 16)),
        seq=_int(body[2], 1),
        boot=uuid.UUID(bytes=_bytes(body[3], 16)),
        session=uuid.UUID(bytes=_bytes(body[4], 16)) if 4 in body else None,
        lane=Lane(_int(body[5])),
        prev=_bytes(body[7], 32),
        covers=(covers[0], covers[1]),
        clock=tuple(_mapping(m) for m in body[6]),
        counts=Counts(*counts),
        columns=_bytes(body.get(10, b"")),
        records=tuple(_plain(r) for r in records),
        vehicle=None if vehicle is None else (_int(vehicle[0], 0, 255), _int(vehicle[1], 0, 255)),
        extra={_int(k): _plain(v) for k, v in body.items() if not 0 <= k <= 12},
    )

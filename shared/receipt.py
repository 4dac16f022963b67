"""Receipt: the hub's signed word that sequence ranges of a stream are committed; log receipt: that recorded logs are
whole. And directive: its signed wish."""

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cbor2

from shared.errors import MALFORMED, Refused

VERSION = 1
MAX_DIGESTS = 4096
MAX_LOGS = 10_000
"""Logs of one log receipt, and of one question for them."""
MAX_OPEN_DIRECTIVES = 50
"""Of one aircraft, unanswered: what one retained message holds."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Batches of `stream` that are committed.

    ranges: inclusive, ascending, disjoint (first, last). digests: SHA-256 of each envelope, in the order of the ranges.
    committed_us: when, us since 1970 UTC by the hub's clock.
    """

    stream: uuid.UUID
    ranges: tuple[tuple[int, int], ...]
    digests: tuple[bytes, ...]
    committed_us: int

    def committed(self) -> dict[int, bytes]:
        """Sequence -> digest."""
        sequences = (s for first, last in self.ranges for s in range(first, last + 1))
        return dict(zip(sequences, self.digests, strict=True))


@dataclass(frozen=True, slots=True)
class LogCommitted:
    """A recorded log that the hub holds whole. log: SHA-256 of the unpacked log. committed_us: when its bytes were
    found to be complete, us since 1970 UTC by the hub's clock."""

    log: bytes
    size_bytes: int
    committed_us: int


@dataclass(frozen=True, slots=True)
class LogReceipt:
    """Which of the logs that were asked for are whole in the hub; of what is not named nothing is promised."""

    logs: tuple[LogCommitted, ...]
    issued_us: int


@dataclass(frozen=True, slots=True)
class Directive:
    """What the hub wants of one aircraft.

    version: monotonic per aircraft; kind: recording_policy, capture, hold, model.
    """

    aircraft: uuid.UUID
    version: int
    kind: str
    body: dict[str, Any]
    issued_us: int


def make_receipt(stream: uuid.UUID, committed: dict[int, bytes], committed_us: int) -> Receipt:
    """A receipt for sequence -> digest."""
    ranges: list[list[int]] = []
    for seq in sorted(committed):
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1][1] = seq
        else:
            ranges.append([seq, seq])
    return Receipt(
        stream, tuple((a, b) for a, b in ranges), tuple(committed[s] for s in sorted(committed)), committed_us
    )


def encode_receipt(receipt: Receipt) -> bytes:
    """The receipt as CBOR, ready to be sealed with RECEIPT_TYPE."""
    ranges = [list(r) for r in receipt.ranges]
    return cbor2.dumps(
        {0: VERSION, 1: receipt.stream.bytes, 2: ranges, 3: list(receipt.digests), 4: receipt.committed_us}
    )


def decode_receipt(payload: bytes) -> Receipt:
    """Parse a verified payload. Refused("receipt_malformed")."""
    try:
        body = cbor2.loads(payload)
        if body[0] != VERSION:
            raise ValueError("version")
        ranges = tuple((a, b) for a, b in body[2])
        digests = tuple(body[3])
        if not all(type(n) is int for n in (body[4], *itertools.chain(*ranges))) or type(body[1]) is not bytes:
            raise ValueError("fields")
        total = sum(b - a + 1 for a, b in ranges)
        ordered = all(a <= b for a, b in ranges) and all(p[1] < q[0] for p, q in itertools.pairwise(ranges))
        if (
            not ordered
            or total != len(digests)
            or total > MAX_DIGESTS
            or any(type(d) is not bytes or len(d) != 32 for d in digests)
        ):
            raise ValueError("ranges and digests do not agree")
        return Receipt(uuid.UUID(bytes=body[1]), ranges, digests, body[4])
    except MALFORMED as e:
        raise Refused("receipt_malformed", str(e)[:200]) from None


def encode_log_receipt(receipt: LogReceipt) -> bytes:
    """The log receipt as CBOR, ready to be sealed with LOG_RECEIPT_TYPE."""
    logs = [[c.log, c.size_bytes, c.committed_us] for c in receipt.logs]
    return cbor2.dumps({0: VERSION, 1: logs, 2: receipt.issued_us})


def decode_log_receipt(payload: bytes) -> LogReceipt:
    """Parse a verified payload. Refused("receipt_malformed")."""
    try:
        body = cbor2.loads(payload)
        if body[0] != VERSION or type(body[1]) is not list or len(body[1]) > MAX_LOGS or type(body[2]) is not int:
            raise ValueError("fields")
        for log, size_bytes, committed_us in body[1]:
            if type(log) is not bytes or len(log) != 32 or type(size_bytes) is not int or type(committed_us) is not int:
                raise ValueError("a log")
        return LogReceipt(tuple(LogCommitted(*c) for c in body[1]), body[2])
    except MALFORMED as e:
        raise Refused("receipt_malformed", str(e)[:200]) from None


def encode_directive(directive: Directive) -> bytes:
    """The directive as CBOR, ready to be sealed with DIRECTIVE_TYPE."""
    d = directive
    return cbor2.dumps({0: VERSION, 1: d.aircraft.bytes, 2: d.version, 3: d.kind, 4: d.body, 5: d.issued_us})


def decode_directive(payload: bytes) -> Directive:
    """Parse a verified payload. Refused("directive_malformed")."""
    try:
        body = cbor2.loads(payload)
        kinds = {1: bytes, 2: int, 3: str, 4: dict, 5: int}
        if body[0] != VERSION or any(type(body[k]) is not kind for k, kind in kinds.items()):
            raise ValueError("fields")
        return Directive(uuid.UUID(bytes=body[1]), body[2], body[3], body[4], body[5])
    except MALFORMED as e:
        raise Refused("directive_malformed", str(e)[:200]) from None


def pack_directives(envelopes: Sequence[bytes]) -> bytes:
    """The one retained message of an aircraft's directive topic: all that it has not answered, by rising version."""
    return cbor2.dumps(list(envelopes))


def unpack_directives(payload: bytes) -> list[bytes]:
    """The envelopes of a message on the directive topic, none of them verified yet. Refused("directive_malformed")."""
    try:
        found = cbor2.loads(payload)
    except MALFORMED as e:
        raise Refused("directive_malformed", str(e)[:200]) from None
    if type(found) is not list or len(found) > MAX_OPEN_DIRECTIVES or any(type(e) is not bytes for e in found):
        raise Refused("directive_malformed", f"no array of at most {MAX_OPEN_DIRECTIVES} envelopes")
    return found

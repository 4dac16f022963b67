"""Records: small signed facts that travel in a batch beside (or instead of) frames. CBOR maps with text keys.

Every record has `type`. Ids are 16-byte strings on the wire and UUIDs here; times are us on the recorder's clock.
Unknown types and fields are kept by whoever passes them on.
"""

import math
import types
import typing
import uuid
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from shared.errors import Refused


@dataclass(frozen=True, slots=True)
class SessionOpen:
    """A flight session began: the vehicle was armed at `armed_us`. Pre-roll: batches from `first_seq` on."""

    type: ClassVar[str] = "session_open"
    session: uuid.UUID
    boot: uuid.UUID
    armed_us: int
    first_seq: int
    first_us: int
    sysid: int
    compid: int
    autopilot: int
    """MAV_AUTOPILOT of the vehicle's HEARTBEAT."""
    vehicle_type: int
    """MAV_TYPE of the vehicle's HEARTBEAT."""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class SessionClose:
    """A flight session ended, with its manifest. It covers batches first_seq .. last_seq of the stream.

    frames_by_message: message id -> frames. wire_lost: "sysid/compid" -> frames that the wire's sequence numbers miss.
    chain_head: digest of batch last_seq. reason: disarmed, reboot, clock_reset, link_lost, stopped.
    """

    type: ClassVar[str] = "session_close"
    session: uuid.UUID
    reason: str
    first_seq: int
    last_seq: int
    batches: int
    frames: int
    size_bytes: int
    frames_by_message: dict[int, int]
    wire_lost: dict[str, int]
    first_us: int
    last_us: int
    armed_us: int
    disarmed_us: int | None
    chain_head: bytes
    junk_bytes: int = 0
    bad_crc: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Signed word that something was lost, and why.

    reason: evicted, store_reset, journal_torn, link_overflow, write_failed. stream, first_seq, last_seq: which sealed
    batches will never come (evicted); digests: theirs, 32 bytes per sequence, so that the chain still holds. Sequences
    are None when what was lost had not been sealed.
    """

    type: ClassVar[str] = "gap"
    reason: str
    stream: uuid.UUID
    first_seq: int | None = None
    last_seq: int | None = None
    digests: list[bytes] = field(default_factory=list)
    session: uuid.UUID | None = None
    frames: int | None = None
    """Frames lost; None when nobody can know."""
    size_bytes: int | None = None
    from_us: int | None = None
    to_us: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a model or rule says of a span of flight. score, threshold: in the model's own unit, higher is worse.

    evidence: the features that stand out, [{"feature", "value", "nominal", "weight"}], at most 10.
    """

    type: ClassVar[str] = "finding"
    finding: uuid.UUID
    session: uuid.UUID | None
    kind: str
    severity: str
    """info, warning or critical."""
    score: float
    threshold: float
    start_us: int
    end_us: int
    model: str
    feature_version: int
    evidence: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DirectiveReport:
    """What became of a directive. state: enacted, refused, superseded."""

    type: ClassVar[str] = "directive_report"
    version: int
    kind: str
    state: str
    at_us: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """Which model bundle this aircraft runs, said when that changes and after a flight with two of them.

    number: rises with each report of one agent's folder. stage: packaged, shadow, canary or fleet, of the newer of the
    two. active, other: names of the one whose findings are raised and of the one beside it (""); digests: 32 bytes.
    flown_s: seconds in flight that both judged; agreed_s: of those, those in which both or neither had an open finding.
    """

    type: ClassVar[str] = "model_report"
    number: int
    at_us: int
    stage: str
    active: str
    active_digest: bytes
    other: str = ""
    other_digest: bytes | None = None
    flown_s: int = 0
    agreed_s: int = 0
    active_findings: int = 0
    other_findings: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LogPart:
    """A slice of a recorded log's packed form (docs/log-packing.md), in the bulk lane.

    log: SHA-256 of the unpacked log, 32 bytes: the log's name everywhere. offset: where the slice begins in the packed
    form. packed: at most 128 KiB.
    """

    type: ClassVar[str] = "log_part"
    log: bytes
    offset: int
    packed: bytes


@dataclass(frozen=True, slots=True)
class LogManifest:
    """A recorded log, said after its last part: what it is, what its packed form comes to, whose it is.

    format: dataflash, dataflash-text, ulog, tlog, raw. origin: card (imported by a person), offload (fetched from the
    autopilot), upload (through the hub's API). aircraft: as the person or the hardware id said; None: not known yet.
    """

    type: ClassVar[str] = "log"
    log: bytes
    size_bytes: int
    packed_bytes: int
    packed_sha256: bytes
    format: str
    name: str
    origin: str
    imported_us: int
    """By the importing device's clock, us since 1970 UTC."""
    aircraft: uuid.UUID | None = None
    hardware_ids: list[str] = field(default_factory=list)


Record = SessionOpen | SessionClose | Gap | Finding | DirectiveReport | ModelReport | LogPart | LogManifest
_TYPES: dict[str, type[Any]] = {
    c.type: c for c in (SessionOpen, SessionClose, Gap, Finding, DirectiveReport, ModelReport, LogPart, LogManifest)
}


def to_map(record: Record) -> dict[str, Any]:
    """The record as a CBOR-ready map; fields that are None are left out."""
    body = {k: v.bytes if isinstance(v, uuid.UUID) else v for k, v in asdict(record).items() if v is not None}
    return {"type": record.type} | body


def from_map(body: dict[str, Any]) -> Record | None:
    """Parse a record; None for a type that this code does not know. Refused("record_malformed") on a wrong shape."""
    name = body.get("type")
    if type(name) is not str:
        raise Refused("record_malformed", "no type")
    cls = _TYPES.get(name)
    if cls is None:
        return None
    known = {f.name: f for f in fields(cls)}
    try:
        absent = {k: None for k, f in known.items() if type(None) in typing.get_args(f.type)}
        values = absent | {k: _read(known[k].type, v) for k, v in body.items() if k in known}
        return cls(**values)  # type: ignore[no-any-return]
    except (TypeError, ValueError, AttributeError, OverflowError) as e:
        raise Refused("record_malformed", f"{cls.type}: {e}"[:200]) from None


def _read(kind: Any, value: Any) -> Any:
    """Check a value against a field's declared type (strict: no coercion) and turn ids into UUIDs."""
    options = typing.get_args(kind) if typing.get_origin(kind) in (types.UnionType, typing.Union) else (kind,)
    if value is None and type(None) in options:
        return None
    for option in options:
        origin = typing.get_origin(option) or option
        if origin is uuid.UUID and type(value) is bytes and len(value) == 16:
            return uuid.UUID(bytes=value)
        if origin is float and type(value) in (int, float) and math.isfinite(value):
            return float(value)
        if origin is int and type(value) is int and -(1 << 63) <= value < 1 << 63:
            return value
        if origin is str and type(value) is str and len(value) <= 4000:
            return value
        if origin is bytes and type(value) is bytes:
            return value
        if origin in (list, dict) and type(value) is origin:
            return _read_items(option, value)
    raise ValueError(f"wrong type: {type(value).__name__}")


def _read_items(kind: Any, value: Any) -> Any:
    args = typing.get_args(kind)
    if len(value) > 4096:
        raise ValueError("too many items")
    if isinstance(value, dict):
        if args[1] is Any:
            return value
        return {_read(args[0], k): _read(args[1], v) for k, v in value.items()}
    return [_read(args[0], v) for v in value]

"""How to record, as settings and directives say; and what a run has come to."""

from dataclasses import dataclass

_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Policy:
    """record: "always", or "armed" (then only the pre-roll is kept, in memory). journal_us: when frames go to disk.

    live_us, backlog_us: length of a batch while the hub is reached and while it is not.
    """

    record: str = "always"
    journal_us: int = 850_000
    live_us: int = 2 * _US
    backlog_us: int = 30 * _US
    max_memory_bytes: int = 16 << 20
    quota_bytes: int = 2 << 30


@dataclass(slots=True)
class Totals:
    """What this process has done; bytes are raw MAVLink except wire_bytes (envelopes)."""

    frames: int = 0
    journaled: int = 0
    sealed: int = 0
    batches: int = 0
    raw_bytes: int = 0
    wire_bytes: int = 0
    bad_crc: int = 0
    junk_bytes: int = 0
    sessions: int = 0
    findings: int = 0
    gaps: int = 0
    receipted: int = 0
    receipt_mismatch: int = 0
    write_errors: int = 0

"""What of a flight or stream is committed, as the API reads it from the ledger, and the envelopes themselves."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from hub.store.query import Query, run

PAGE_BATCHES = 200


@dataclass(frozen=True, slots=True)
class Committed:
    """What the ledger holds of a range of sequences. holes: [[first, last], ...] between the first and the last of
    them. is_chained: every batch names the one before it, wherever both are here."""

    batches: int
    frames: int
    bad_crc: int
    junk_bytes: int
    first_seq: int | None
    last_seq: int | None
    is_chained: bool
    holes: list[list[int]]


@dataclass(frozen=True, slots=True)
class GapRow:
    """A gap record. record_*: the batch that carried it."""

    reason: str
    frames: int | None
    stream_id: UUID
    first_seq: int | None
    last_seq: int | None
    from_utc_us: int | None
    to_utc_us: int | None
    detail: str
    record_stream_id: UUID
    record_seq: int


@dataclass(frozen=True, slots=True)
class EnvelopeRow:
    """One batch as received."""

    seq: int
    boot_id: UUID
    digest: bytes
    received_utc_us: int
    envelope: bytes


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream and its aircraft."""

    stream_id: UUID
    aircraft_id: UUID
    newest_seq: int


@dataclass(frozen=True, slots=True)
class Span:
    """First and last sequence; None when there is none."""

    first_seq: int | None
    last_seq: int | None


COMMITTED = Query(
    "committed_range",
    """WITH b AS (
        SELECT seq, frames, bad_crc, junk_bytes, prev_digest, lag(seq) OVER w AS before,
            lag(digest) OVER w AS before_digest
        FROM ingest_batches WHERE org_id = $1 AND stream_id = $2::uuid AND seq BETWEEN $3::bigint AND $4::bigint
        WINDOW w AS (ORDER BY seq))
    SELECT count(*), coalesce(sum(frames), 0)::bigint, coalesce(sum(bad_crc), 0)::bigint,
        coalesce(sum(junk_bytes), 0)::bigint, min(seq), max(seq),
        coalesce(bool_and(before IS NULL OR before < seq - 1 OR before_digest = prev_digest), true),
        coalesce(jsonb_agg(jsonb_build_array(before + 1, seq - 1) ORDER BY seq) FILTER (WHERE before < seq - 1), '[]')
    FROM b""",
    Committed,
)
"""$2 stream, $3 and $4 first and last sequence."""

GAPS = Query(
    "flight_gaps",
    """SELECT reason, frames, stream_id, first_seq, last_seq, from_utc_us, to_utc_us, detail, record_stream_id,
        record_seq
    FROM gaps WHERE org_id = $1 AND (session_id = $2::uuid
        OR (stream_id = $3::uuid AND first_seq <= $5::bigint AND last_seq >= $4::bigint)
        OR (session_id IS NULL AND reason = 'store_reset' AND record_stream_id <> $3::uuid
            AND EXISTS (SELECT FROM flight_sessions s WHERE s.org_id = $1 AND s.session_id = $2::uuid
                AND s.aircraft_id = gaps.aircraft_id AND s.close_reason = 'store_reset')))
    ORDER BY first_seq NULLS LAST, record_seq, record_no LIMIT 1000""",
    GapRow,
)
"""$2 session, $3 stream, $4 and $5 first and last sequence. A reset that could not name what it lost goes with every
flight that was closed for it."""

SPAN_OF_SESSION = Query(
    "span_of_session",
    """SELECT min(seq), max(seq) FROM ingest_batches
    WHERE org_id = $1 AND session_id = $2::uuid AND stream_id = $3::uuid""",
    Span,
)

OTHER_SPANS = Query(
    "other_spans",
    """SELECT stream_id, min(seq), max(seq) FROM ingest_batches
    WHERE org_id = $1 AND session_id = $2::uuid AND stream_id <> $3::uuid GROUP BY stream_id ORDER BY stream_id""",
    lambda stream_id, first, last: (stream_id, first, last),
)
"""Where a flight went on in another stream: the recorder's store was replaced in flight."""

GET_STREAM = Query(
    "get_stream",
    "SELECT stream_id, aircraft_id, newest_seq FROM streams WHERE org_id = $1 AND stream_id = $2::uuid",
    StreamRow,
)

_ENVELOPES = Query(
    "envelopes",
    """SELECT b.seq, b.boot_id, b.digest, (extract(epoch FROM b.received_at) * 1000000)::bigint, e.envelope
    FROM ingest_batches b JOIN batch_envelopes e ON e.org_id = $1 AND e.stream_id = b.stream_id AND e.seq = b.seq
    WHERE b.org_id = $1 AND b.stream_id = $2 AND b.seq >= $3 AND b.seq <= $4 ORDER BY b.seq LIMIT $5""",
    EnvelopeRow,
)
_BOOT_CLOCKS = Query(
    "boot_clocks",
    """SELECT DISTINCT ON (boot_id) boot_id, clock_offset_us FROM ingest_batches
    WHERE org_id = $1 AND stream_id = $2 AND clock_offset_us IS NOT NULL
    ORDER BY boot_id, clock_source DESC, clock_uncertainty_us, seq DESC""",
    lambda boot_id, offset_us: (boot_id, offset_us),
)


def envelopes(conn: Connection[Any], org_id: UUID, stream_id: UUID, first_seq: int, last_seq: int) -> list[EnvelopeRow]:
    """Up to PAGE_BATCHES batches of [first_seq, last_seq], in order."""
    return run(conn, _ENVELOPES, org_id, stream_id, first_seq, last_seq, PAGE_BATCHES)


def boot_clocks(conn: Connection[Any], org_id: UUID, stream_id: UUID) -> dict[UUID, int]:
    """Boot -> what to add for UTC, us, by the best mapping that any of its batches carried."""
    return dict(run(conn, _BOOT_CLOCKS, org_id, stream_id))

"""Streams, the ledger of batches, and their envelopes: what ingest writes and settling reads."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from hub.store.rows import RowArray
from shared.clock import UNKNOWN, ClockSource, TimeMapping

Connection = psycopg.Connection[Any]
BatchKey = tuple[uuid.UUID, int]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One committed batch, as completeness and settling need it. derived: see migration 0003."""

    stream_id: uuid.UUID
    seq: int
    boot_id: uuid.UUID
    session_id: uuid.UUID | None
    digest: bytes
    prev_digest: bytes
    covers: tuple[int, int]
    frames: int
    derived: int


def find_streams(conn: Connection, org_id: uuid.UUID, stream_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """stream -> aircraft of those that are known."""
    rows = conn.execute(
        "SELECT stream_id, aircraft_id FROM streams WHERE org_id = %s AND stream_id = ANY (%s)", (org_id, [*stream_ids])
    )
    return dict(rows.fetchall())


_UPSERT_STREAMS = """
INSERT INTO streams AS s (org_id, stream_id, aircraft_id, key_id, newest_seq, newest_boot, is_live)
SELECT r.org_id, r.stream_id, r.aircraft_id, r.key_id, r.newest_seq, r.newest_boot, r.is_live
FROM unnest(%b::streams[]) r ORDER BY r.stream_id
ON CONFLICT (org_id, stream_id) DO UPDATE SET last_seen_at = now(), is_live = s.is_live OR excluded.is_live,
    newest_boot = CASE WHEN excluded.newest_seq > s.newest_seq THEN excluded.newest_boot ELSE s.newest_boot END,
    newest_seq = greatest(s.newest_seq, excluded.newest_seq)
WHERE s.aircraft_id = excluded.aircraft_id
RETURNING stream_id
"""


def upsert_streams(conn: Connection, rows: RowArray) -> set[uuid.UUID]:
    """Make or refresh streams; a stream that belongs to another aircraft is left alone and not returned."""
    return {stream for (stream,) in conn.execute(_UPSERT_STREAMS, (rows,)).fetchall()}


_REVIVED = """
SELECT DISTINCT s.aircraft_id, s.stream_id, n.stream_id FROM streams s
JOIN streams n ON n.org_id = s.org_id AND n.aircraft_id = s.aircraft_id AND n.key_id = s.key_id AND n.is_live
    AND n.first_seen_at > s.first_seen_at AND n.first_seen_at < now() - interval '5 seconds'
WHERE s.org_id = %s AND s.stream_id = ANY (%s)
"""


def revived_streams(
    conn: Connection, org_id: uuid.UUID, stream_ids: Sequence[uuid.UUID]
) -> list[tuple[uuid.UUID, uuid.UUID, uuid.UUID]]:
    """(aircraft, stream, newer stream of the same key) of those streams that a newer one had replaced for 5 s or more.

    A device has one store and so one living stream: an older one that goes on is a copied identity or a store put back.
    """
    return [(a, s, n) for a, s, n in conn.execute(_REVIVED, (org_id, [*stream_ids])).fetchall()]


_LEDGER_COLUMNS = (
    "org_id, stream_id, seq, aircraft_id, boot_id, session_id, digest, prev_digest, covers_from_us, covers_to_us,"
    " clock_offset_us, clock_uncertainty_us, frames, frame_bytes, envelope_bytes, bad_crc, junk_bytes,"
    " dropped, grid_rows,"
    " lane, clock_source, derived, lat_deg, lon_deg, alt_rel_m_max, groundspeed_mps_max, battery_v_min,"
    " battery_remaining_pct_min, vibe_mps2_max"
)
_INSERT_BATCHES = (
    f"INSERT INTO ingest_batches ({_LEDGER_COLUMNS}) SELECT {_LEDGER_COLUMNS} FROM unnest(%b::ingest_batches[])"  # noqa: S608
    " ON CONFLICT (org_id, stream_id, seq) DO NOTHING RETURNING stream_id, seq"
)


def insert_batches(conn: Connection, rows: RowArray) -> set[BatchKey]:
    """Enter batches into the ledger; returns those that were new. Everything else of a batch follows from that."""
    return {(stream, int(seq)) for stream, seq in conn.execute(_INSERT_BATCHES, (rows,)).fetchall()}


def find_digests(conn: Connection, org_id: uuid.UUID, keys: Sequence[BatchKey]) -> dict[BatchKey, bytes]:
    """Digests of batches that are in the ledger."""
    rows = conn.execute(
        "SELECT stream_id, seq, digest FROM ingest_batches"
        " WHERE org_id = %s AND (stream_id, seq) IN (SELECT * FROM unnest(%s::uuid[], %s::bigint[]))",
        (org_id, [k[0] for k in keys], [k[1] for k in keys]),
    )
    return {(stream, int(seq)): bytes(digest) for stream, seq, digest in rows.fetchall()}


def insert_envelopes(conn: Connection, rows: RowArray) -> None:
    """Keep the envelopes of batches that were just entered."""
    conn.execute(
        "INSERT INTO batch_envelopes (org_id, stream_id, seq, envelope)"
        " SELECT org_id, stream_id, seq, envelope FROM unnest(%b::batch_envelopes[])",
        (rows,),
    )


_OVERLAPS = """
SELECT n.stream_id, n.seq FROM unnest(%s::uuid[], %s::bigint[]) AS n (stream_id, seq)
JOIN ingest_batches b ON b.org_id = %s AND b.stream_id = n.stream_id AND b.seq = n.seq
WHERE b.session_id IS NOT NULL AND EXISTS (
    SELECT FROM ingest_batches o WHERE o.org_id = b.org_id AND o.session_id = b.session_id AND o.boot_id = b.boot_id
    AND o.covers_to_us > b.covers_from_us AND o.covers_from_us < b.covers_to_us AND o.grid_rows > 0
    AND (o.stream_id, o.seq) <> (b.stream_id, b.seq))
"""


def overlapping(conn: Connection, org_id: uuid.UUID, keys: Sequence[BatchKey]) -> set[BatchKey]:
    """Those batches whose span another batch of the session covers too. An honest aircraft makes none."""
    rows = conn.execute(_OVERLAPS, ([k[0] for k in keys], [k[1] for k in keys], org_id))
    return {(stream, int(seq)) for stream, seq in rows.fetchall()}


def mark_derived(conn: Connection, org_id: uuid.UUID, keys: Sequence[BatchKey], derived: int) -> None:
    """Say what became of a batch's derivation (migration 0003)."""
    conn.execute(
        "UPDATE ingest_batches SET derived = %s"
        " WHERE org_id = %s AND (stream_id, seq) IN (SELECT * FROM unnest(%s::uuid[], %s::bigint[]))",
        (derived, org_id, [k[0] for k in keys], [k[1] for k in keys]),
    )


_MEMBERS = """
SELECT b.stream_id, b.seq, b.boot_id, b.session_id, b.digest, b.prev_digest, b.covers_from_us, b.covers_to_us, b.frames,
    b.derived
FROM ingest_batches b WHERE b.org_id = %(org)s AND b.session_id = %(session)s
UNION
SELECT b.stream_id, b.seq, b.boot_id, b.session_id, b.digest, b.prev_digest, b.covers_from_us, b.covers_to_us, b.frames,
    b.derived
FROM flight_sessions s JOIN ingest_batches b ON b.org_id = s.org_id AND b.stream_id = s.stream_id
    AND b.seq >= s.first_seq AND b.seq <= coalesce(s.last_seq,
        (SELECT max(m.seq) FROM ingest_batches m WHERE m.org_id = s.org_id AND m.session_id = s.session_id))
WHERE s.org_id = %(org)s AND s.session_id = %(session)s
ORDER BY 1, 2
"""


def session_batches(conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID) -> list[LedgerRow]:
    """The batches of a session: those that name it, and those between its first (pre-roll) and its last sequence."""
    rows = conn.execute(_MEMBERS, {"org": org_id, "session": session_id}).fetchall()
    return [LedgerRow(r[0], int(r[1]), r[2], r[3], bytes(r[4]), bytes(r[5]), (int(r[6]), int(r[7])), int(r[8]),
                      int(r[9])) for r in rows]  # fmt: skip


def read_envelopes(conn: Connection, org_id: uuid.UUID, keys: Sequence[BatchKey]) -> dict[BatchKey, bytes]:
    """Envelopes as received."""
    rows = conn.execute(
        "SELECT stream_id, seq, envelope FROM batch_envelopes"
        " WHERE org_id = %s AND (stream_id, seq) IN (SELECT * FROM unnest(%s::uuid[], %s::bigint[]))",
        (org_id, [k[0] for k in keys], [k[1] for k in keys]),
    )
    return {(stream, int(seq)): bytes(envelope) for stream, seq, envelope in rows.fetchall()}


def best_clock(
    conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID, boot_id: uuid.UUID, stream_ids: Sequence[uuid.UUID]
) -> TimeMapping:
    """The best mapping that any batch of a boot carried: by source, then the least uncertain, then the latest."""
    row = conn.execute(
        "SELECT clock_source, clock_offset_us, clock_uncertainty_us FROM ingest_batches"
        " WHERE org_id = %s AND stream_id = ANY (%s) AND aircraft_id = %s AND boot_id = %s"
        " AND clock_offset_us IS NOT NULL"
        " ORDER BY clock_source DESC, CASE WHEN clock_uncertainty_us < 0 THEN NULL ELSE clock_uncertainty_us END"
        " NULLS LAST, seq DESC LIMIT 1",
        (org_id, sorted(set(stream_ids)), aircraft_id, boot_id),
    ).fetchone()
    return UNKNOWN if row is None else TimeMapping(ClockSource(row[0]), 0, int(row[1]), int(row[2]))

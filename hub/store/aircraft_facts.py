"""What the hub holds of one aircraft, in numbers: for the demo's report and for tests of the whole path."""

from dataclasses import dataclass

from hub.store.query import Query, scalar


@dataclass(frozen=True, slots=True)
class Facts:
    """duplicates: telemetry rows whose (session, time) occurs more than once; never but by a fault of ours.
    unsettled: flights that are live, not derived for good, have rows that are not analysed yet, or wait to be
    settled again because data came late."""

    batches: int
    frames: int
    frame_bytes: int
    envelope_bytes: int
    bad_crc: int
    junk_bytes: int
    rows: int
    duplicates: int
    sessions: int
    unsettled: int
    findings: int
    gaps: int
    gap_frames: int
    quarantined: int


FACTS = Query(
    "aircraft_facts",
    """SELECT l.batches, l.frames, l.frame_bytes, l.envelope_bytes, l.bad_crc, l.junk_bytes, t.n, t.n - t.times,
        s.n, s.unsettled, f.n, g.n, g.frames, q.n
    FROM (SELECT count(*) AS batches, coalesce(sum(frames), 0)::bigint AS frames,
            coalesce(sum(frame_bytes), 0)::bigint AS frame_bytes,
            coalesce(sum(envelope_bytes), 0)::bigint AS envelope_bytes, coalesce(sum(bad_crc), 0)::bigint AS bad_crc,
            coalesce(sum(junk_bytes), 0)::bigint AS junk_bytes
        FROM ingest_batches WHERE org_id = $1 AND aircraft_id = $2::uuid) l,
    (SELECT count(*) AS n, count(DISTINCT (c.session_id, c.t0_utc_us + i * 100000)) AS times
        FROM telemetry_chunks c, generate_series(0, c.n - 1) i WHERE c.org_id = $1 AND c.aircraft_id = $2::uuid) t,
    (SELECT count(*) AS n, count(*) FILTER (WHERE state = 'live' OR settled_at IS NULL
            OR EXISTS (SELECT FROM telemetry_chunks c WHERE c.org_id = $1 AND c.session_id = fs.session_id)
            AND NOT EXISTS (SELECT FROM ml_analysis_results r WHERE r.org_id = $1 AND r.session_id = fs.session_id)
            OR EXISTS (SELECT FROM jobs j WHERE j.org_id = $1 AND j.subject_id = fs.session_id)
        ) AS unsettled
        FROM flight_sessions fs WHERE org_id = $1 AND aircraft_id = $2::uuid) s,
    (SELECT count(*) AS n FROM findings WHERE org_id = $1 AND aircraft_id = $2::uuid) f,
    (SELECT count(*) AS n, coalesce(sum(frames), 0)::bigint AS frames
        FROM gaps WHERE org_id = $1 AND aircraft_id = $2::uuid) g,
    (SELECT count(*) AS n FROM quarantine WHERE org_id = $1 AND aircraft_id = $2::uuid) q""",
    Facts,
)
"""$2: the aircraft."""

STREAMS = Query(
    "aircraft_streams",
    "SELECT stream_id FROM streams WHERE org_id = $1 AND aircraft_id = $2::uuid ORDER BY first_seen_at, stream_id",
    scalar,
)
"""The streams of aircraft $2, oldest first."""

-- What came from the aircraft: streams, the ledger of batches, the envelopes as received, gaps, and what was refused.
-- No trigger on these tables: the envelopes are the evidence.

CREATE TABLE streams (
    org_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    aircraft_id uuid NOT NULL,
    key_id bytea NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    newest_seq bigint NOT NULL,
    newest_boot uuid NOT NULL,
    is_live boolean NOT NULL DEFAULT true,
    PRIMARY KEY (org_id, stream_id),
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry
) WITH (fillfactor = 50);
CREATE INDEX streams_aircraft ON streams (org_id, aircraft_id);
SELECT make_tenant_table('streams');

-- The ledger: one row per committed batch. (stream_id, seq) commits once: idempotency hangs on this key alone.
-- derived: 0 rows made (or none to make), 1 derivation failed (to be derived again), 2 left to settling (pre-roll, overlap).
-- Aggregates are physical values of the batch's grid rows, NULL when the aircraft said nothing of them.
CREATE TABLE ingest_batches (
    org_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    aircraft_id uuid NOT NULL,
    boot_id uuid NOT NULL,
    session_id uuid,
    digest bytea NOT NULL,
    prev_digest bytea NOT NULL,
    covers_from_us bigint NOT NULL,
    covers_to_us bigint NOT NULL,
    clock_offset_us bigint,
    clock_uncertainty_us bigint,
    received_at timestamptz NOT NULL DEFAULT now(),
    frames integer NOT NULL,
    frame_bytes integer NOT NULL,
    envelope_bytes integer NOT NULL,
    bad_crc integer NOT NULL DEFAULT 0,
    junk_bytes integer NOT NULL DEFAULT 0,
    dropped integer NOT NULL DEFAULT 0,
    grid_rows integer NOT NULL DEFAULT 0,
    lane smallint NOT NULL,
    clock_source smallint NOT NULL,
    derived smallint NOT NULL DEFAULT 0,
    lat_deg double precision,
    lon_deg double precision,
    alt_rel_m_max real,
    groundspeed_mps_max real,
    battery_v_min real,
    battery_remaining_pct_min real,
    vibe_mps2_max real,
    PRIMARY KEY (org_id, stream_id, seq),
    FOREIGN KEY (org_id, stream_id) REFERENCES streams
);
CREATE INDEX ingest_batches_session ON ingest_batches (org_id, session_id, covers_to_us) WHERE session_id IS NOT NULL;
CREATE INDEX ingest_batches_failed ON ingest_batches (org_id, stream_id, seq) WHERE derived = 1;
CREATE INDEX ingest_batches_received ON ingest_batches USING brin (received_at);
SELECT make_tenant_table('ingest_batches');

CREATE TABLE batch_envelopes (
    org_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    seq bigint NOT NULL,
    envelope bytea NOT NULL,
    PRIMARY KEY (org_id, stream_id, seq),
    FOREIGN KEY (org_id, stream_id, seq) REFERENCES ingest_batches ON DELETE CASCADE
);
-- Already compressed by the aircraft.
ALTER TABLE batch_envelopes ALTER COLUMN envelope SET STORAGE EXTERNAL;
SELECT make_tenant_table('batch_envelopes');

-- The signed word of an aircraft that something was lost. record_*: the batch that carried it.
CREATE TABLE gaps (
    org_id uuid NOT NULL,
    record_stream_id uuid NOT NULL,
    record_seq bigint NOT NULL,
    record_no smallint NOT NULL,
    aircraft_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    session_id uuid,
    reason text NOT NULL,
    first_seq bigint,
    last_seq bigint,
    digests bytea[] NOT NULL DEFAULT '{}',
    frames bigint,
    size_bytes bigint,
    from_us bigint,
    to_us bigint,
    from_utc_us bigint,
    to_utc_us bigint,
    detail text NOT NULL DEFAULT '',
    PRIMARY KEY (org_id, record_stream_id, record_seq, record_no),
    FOREIGN KEY (org_id, record_stream_id, record_seq) REFERENCES ingest_batches ON DELETE CASCADE
);
CREATE INDEX gaps_stream ON gaps (org_id, stream_id, first_seq);
CREATE INDEX gaps_session ON gaps (org_id, session_id) WHERE session_id IS NOT NULL;
SELECT make_tenant_table('gaps');

-- Refused input: never lost silently, never trusted. The same bytes refused again only count up.
CREATE TABLE quarantine (
    org_id uuid NOT NULL REFERENCES organizations,
    quarantine_id uuid NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL DEFAULT '',
    topic text NOT NULL DEFAULT '',
    key_id bytea,
    aircraft_id uuid,
    stream_id uuid,
    seq bigint,
    digest bytea NOT NULL,
    size_bytes integer NOT NULL,
    envelope bytea,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    times bigint NOT NULL DEFAULT 1,
    resolved_at timestamptz,
    PRIMARY KEY (org_id, quarantine_id),
    UNIQUE (org_id, digest, reason)
);
ALTER TABLE quarantine ALTER COLUMN envelope SET STORAGE EXTERNAL;
CREATE INDEX quarantine_seen ON quarantine (org_id, last_seen_at);
SELECT make_tenant_table('quarantine');

-- The newest of each aircraft, for maps and lists; advisory, overwritten in place.
CREATE TABLE aircraft_state (
    org_id uuid NOT NULL,
    aircraft_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    boot_id uuid NOT NULL,
    session_id uuid,
    seen_at timestamptz NOT NULL DEFAULT now(),
    at_utc_us bigint NOT NULL,
    sysid smallint,
    compid smallint,
    mav_type smallint,
    mav_autopilot smallint,
    firmware text NOT NULL DEFAULT '',
    armed boolean,
    flight_mode bigint,
    lat_deg double precision,
    lon_deg double precision,
    alt_msl_m real,
    alt_rel_m real,
    groundspeed_mps real,
    heading_deg real,
    battery_v real,
    battery_remaining_pct real,
    PRIMARY KEY (org_id, aircraft_id),
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry
) WITH (fillfactor = 50);
SELECT make_tenant_table('aircraft_state');

GRANT SELECT, INSERT, UPDATE ON streams, aircraft_state TO dbx_ingest;
GRANT SELECT, INSERT, UPDATE (derived) ON ingest_batches TO dbx_ingest;
GRANT SELECT, INSERT ON batch_envelopes, gaps TO dbx_ingest;
GRANT SELECT, INSERT, UPDATE, DELETE ON quarantine TO dbx_ingest;
GRANT SELECT ON streams, ingest_batches, batch_envelopes, gaps, quarantine, aircraft_state TO dbx_api, dbx_worker;
GRANT UPDATE (derived) ON ingest_batches TO dbx_worker;
GRANT UPDATE ON aircraft_state TO dbx_worker;
GRANT UPDATE, DELETE ON quarantine TO dbx_worker;
GRANT UPDATE (resolved_at) ON quarantine TO dbx_api;
GRANT SELECT ON streams, ingest_batches, batch_envelopes, gaps, quarantine TO dbx_auditor;

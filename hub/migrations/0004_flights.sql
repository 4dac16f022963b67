-- Flights and what is known of them.

-- One row per flight session. It exists as soon as a batch names it; the opening and closing records fill it in.
-- clock_offset_us: what was added to the recorder's clock for every row of this session; only settling changes it, so that
-- no timestamp occurs twice. Manifest columns (close_reason ... chain_head) are NULL until the closing record came.
CREATE TABLE flight_sessions (
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    aircraft_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    boot_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'closed')),
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    opened boolean NOT NULL DEFAULT false,
    first_seq bigint,
    last_seq bigint,
    first_us bigint,
    last_us bigint,
    armed_us bigint,
    disarmed_us bigint,
    clock_source smallint NOT NULL DEFAULT 0,
    clock_offset_us bigint NOT NULL DEFAULT 0,
    clock_uncertainty_us bigint NOT NULL DEFAULT -1,
    started_utc_us bigint NOT NULL,
    ended_utc_us bigint NOT NULL,
    sysid smallint,
    compid smallint,
    mav_type smallint,
    mav_autopilot smallint,
    firmware text NOT NULL DEFAULT '',
    close_reason text,
    manifest_batches bigint,
    manifest_frames bigint,
    manifest_bytes bigint,
    frames_by_message jsonb,
    wire_lost jsonb,
    junk_bytes bigint,
    bad_crc bigint,
    chain_head bytea,
    grid_rows bigint NOT NULL DEFAULT 0,
    max_alt_rel_m real,
    max_groundspeed_mps real,
    distance_m real,
    complete boolean NOT NULL DEFAULT false,
    PRIMARY KEY (org_id, session_id),
    FOREIGN KEY (org_id, stream_id) REFERENCES streams
) WITH (fillfactor = 70);
CREATE INDEX flight_sessions_list ON flight_sessions (org_id, state DESC, started_utc_us DESC, session_id);
CREATE INDEX flight_sessions_aircraft ON flight_sessions (org_id, aircraft_id, started_utc_us DESC);
CREATE INDEX flight_sessions_stream ON flight_sessions (org_id, stream_id, first_seq);
SELECT make_tenant_table('flight_sessions');

-- Derived from frames; (stream_id, seq, event_no) says from which batch.
CREATE TABLE flight_events (
    org_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    seq bigint NOT NULL,
    event_no integer NOT NULL,
    aircraft_id uuid NOT NULL,
    session_id uuid,
    at_utc_us bigint NOT NULL,
    at_us bigint NOT NULL,
    kind text NOT NULL,
    severity text NOT NULL,
    text text NOT NULL DEFAULT '',
    value double precision,
    PRIMARY KEY (org_id, stream_id, seq, event_no),
    FOREIGN KEY (org_id, stream_id, seq) REFERENCES ingest_batches ON DELETE CASCADE
);
CREATE INDEX flight_events_session ON flight_events (org_id, session_id, at_utc_us);
SELECT make_tenant_table('flight_events');

CREATE TABLE findings (
    org_id uuid NOT NULL,
    finding_id uuid NOT NULL,
    aircraft_id uuid NOT NULL,
    session_id uuid,
    source text NOT NULL CHECK (source IN ('aircraft', 'hub')),
    kind text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    score double precision NOT NULL,
    threshold double precision NOT NULL,
    start_us bigint NOT NULL,
    end_us bigint NOT NULL,
    start_utc_us bigint NOT NULL,
    end_utc_us bigint NOT NULL,
    model text NOT NULL,
    feature_version integer NOT NULL,
    evidence jsonb NOT NULL DEFAULT '[]',
    shap jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, finding_id),
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry
);
CREATE INDEX findings_session ON findings (org_id, session_id, start_utc_us);
SELECT make_tenant_table('findings');

-- The seed's shape. data_version: digest over the batches that were read, so that a result can be reproduced.
CREATE TABLE ml_analysis_results (
    org_id uuid NOT NULL,
    analysis_id uuid NOT NULL,
    session_id uuid NOT NULL,
    aircraft_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    detected_aircraft_type text NOT NULL,
    aircraft_confidence real NOT NULL CHECK (aircraft_confidence BETWEEN 0 AND 1),
    anomaly_detected boolean NOT NULL,
    risk_score real NOT NULL CHECK (risk_score BETWEEN 0 AND 1),
    risk_level text NOT NULL CHECK (risk_level IN ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')),
    shap_values jsonb NOT NULL DEFAULT '[]',
    ai_report_content text NOT NULL DEFAULT '',
    model_version text NOT NULL,
    feature_version integer NOT NULL,
    data_version text NOT NULL,
    PRIMARY KEY (org_id, analysis_id),
    UNIQUE (org_id, session_id, model_version, data_version),
    FOREIGN KEY (org_id, session_id) REFERENCES flight_sessions ON DELETE CASCADE
);
CREATE INDEX ml_analysis_results_session ON ml_analysis_results (org_id, session_id, created_at DESC);
SELECT make_tenant_table('ml_analysis_results');

-- Which findings become alerts. Without a rule of its own an organisation is alerted of warnings and critical findings.
CREATE TABLE alert_rules (
    org_id uuid NOT NULL REFERENCES organizations,
    rule_id uuid NOT NULL,
    name text NOT NULL,
    finding_kind text,
    min_severity text NOT NULL CHECK (min_severity IN ('info', 'warning', 'critical')),
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, rule_id)
);
SELECT make_tenant_table('alert_rules');
SELECT make_audited_table('alert_rules');

-- The same thing again (dedupe_key) only counts up.
CREATE TABLE alerts (
    org_id uuid NOT NULL REFERENCES organizations,
    alert_id uuid NOT NULL,
    dedupe_key text NOT NULL,
    kind text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    aircraft_id uuid,
    session_id uuid,
    text text NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    times bigint NOT NULL DEFAULT 1,
    acknowledged_at timestamptz,
    acknowledged_by text,
    PRIMARY KEY (org_id, alert_id),
    UNIQUE (org_id, dedupe_key)
);
CREATE INDEX alerts_raised ON alerts (org_id, raised_at DESC);
SELECT make_tenant_table('alerts');
-- What a person does to an alert is audited; raising one is not.
CREATE TRIGGER audit AFTER UPDATE OF acknowledged_at ON alerts FOR EACH ROW EXECUTE FUNCTION write_audit('');

-- The hub's signed wishes. envelope: as signed and sent.
CREATE TABLE directives (
    org_id uuid NOT NULL,
    aircraft_id uuid NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    kind text NOT NULL CHECK (kind IN ('recording_policy', 'capture', 'hold', 'model')),
    body jsonb NOT NULL,
    envelope bytea NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'issued' CHECK (state IN ('issued', 'enacted', 'refused', 'superseded')),
    reported_at timestamptz,
    report_detail text NOT NULL DEFAULT '',
    PRIMARY KEY (org_id, aircraft_id, version),
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry
);
SELECT make_tenant_table('directives');
SELECT make_audited_table('directives', 'envelope');

-- Work for the worker. At most one waiting job per kind and subject; a job is started under a lease and deleted when done.
CREATE TABLE jobs (
    org_id uuid NOT NULL REFERENCES organizations,
    job_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind = 'settle'),
    subject_id uuid NOT NULL,
    run_after timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, job_id)
);
CREATE UNIQUE INDEX jobs_waiting ON jobs (org_id, kind, subject_id) WHERE started_at IS NULL;
CREATE INDEX jobs_due ON jobs (run_after);
SELECT make_tenant_table('jobs');

GRANT SELECT, INSERT, UPDATE ON flight_sessions TO dbx_ingest;
GRANT SELECT, INSERT ON flight_events TO dbx_ingest;
GRANT SELECT, INSERT ON findings TO dbx_ingest;
GRANT SELECT, INSERT, UPDATE ON alerts, jobs TO dbx_ingest;
GRANT SELECT ON alert_rules TO dbx_ingest;
GRANT SELECT, UPDATE (state, reported_at, report_detail) ON directives TO dbx_ingest;
GRANT SELECT, UPDATE ON flight_sessions TO dbx_worker;
GRANT SELECT, INSERT, DELETE ON flight_events TO dbx_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON findings, ml_analysis_results, jobs TO dbx_worker;
GRANT SELECT, INSERT, UPDATE ON alerts TO dbx_worker;
GRANT SELECT ON alert_rules, directives TO dbx_worker;
GRANT SELECT ON flight_sessions, flight_events, findings, ml_analysis_results, alerts TO dbx_api, dbx_auditor;
GRANT UPDATE (acknowledged_at, acknowledged_by) ON alerts TO dbx_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON alert_rules TO dbx_api;
GRANT SELECT, INSERT ON directives TO dbx_api;
GRANT SELECT, INSERT, UPDATE ON jobs TO dbx_api;
GRANT SELECT ON alert_rules, directives, jobs TO dbx_auditor;

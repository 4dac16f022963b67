-- Recorded logs: the stations that import them, how they came (parts and deliveries), what they are, and the flights that
-- they tell of together with live streams. The bytes stay in batch_envelopes; everything else here can be derived again.

-- A station is a field engineer's device, or the hub's own intake of uploads: it has keys like an aircraft, but never flies.
ALTER TABLE aircraft_registry ADD COLUMN kind text NOT NULL DEFAULT 'aircraft' CHECK (kind IN ('aircraft', 'station'));

-- Which chips speak for which aircraft. Many to many: autopilots move between airframes.
CREATE TABLE aircraft_hardware (
    org_id uuid NOT NULL,
    hardware_id text NOT NULL CHECK (length(hardware_id) BETWEEN 1 AND 200),
    aircraft_id uuid NOT NULL,
    learned_from text NOT NULL CHECK (learned_from IN ('stream', 'import', 'assignment')),
    learned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, hardware_id, aircraft_id),
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry
);
CREATE INDEX aircraft_hardware_aircraft ON aircraft_hardware (org_id, aircraft_id);
SELECT make_tenant_table('aircraft_hardware');

-- One row per log, whoever imported it how often. sha256: of the unpacked log, its name everywhere; log_id: its first 16
-- bytes, for jobs. stream_id, seq, record_no: the manifest of the delivery that it was assembled from.
-- state: arriving; whole (all bytes here, not read yet); damaged_in_transit (the bytes are not those that were named);
-- parsed; unassigned (parsed, but whose it is must be said by a person); failed (whole, but no flight log that we can read).
-- part_of: the log that holds all that this one holds. fingerprint: 8 bytes for each chunk of it.
CREATE TABLE logs (
    org_id uuid NOT NULL REFERENCES organizations,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    log_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'arriving'
        CHECK (state IN ('arriving', 'whole', 'damaged_in_transit', 'parsed', 'unassigned', 'failed')),
    reason text NOT NULL DEFAULT '',
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    whole_at timestamptz,
    read_at timestamptz,
    format text NOT NULL DEFAULT '',
    name text NOT NULL DEFAULT '',
    origin text NOT NULL DEFAULT '',
    size_bytes bigint,
    packed_bytes bigint,
    importer_id uuid,
    imported_utc_us bigint,
    stream_id uuid,
    seq bigint,
    record_no integer,
    aircraft_id uuid,
    assigned_aircraft_id uuid,
    assigned_by text,
    part_of bytea,
    first_utc_us bigint,
    last_utc_us bigint,
    clock_source smallint NOT NULL DEFAULT 0,
    firmware text NOT NULL DEFAULT '',
    vehicle text NOT NULL DEFAULT '',
    mav_type smallint,
    mav_autopilot smallint,
    hardware_ids text[] NOT NULL DEFAULT '{}',
    damaged_bytes bigint NOT NULL DEFAULT 0,
    survey jsonb NOT NULL DEFAULT '{}',
    damage jsonb NOT NULL DEFAULT '[]',
    fingerprint bytea NOT NULL DEFAULT '',
    PRIMARY KEY (org_id, sha256),
    UNIQUE (org_id, log_id),
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry,
    FOREIGN KEY (org_id, assigned_aircraft_id) REFERENCES aircraft_registry (org_id, aircraft_id),
    FOREIGN KEY (org_id, part_of) REFERENCES logs (org_id, sha256)
);
CREATE INDEX logs_list ON logs (org_id, first_seen_at DESC, sha256);
CREATE INDEX logs_aircraft ON logs (org_id, aircraft_id, first_utc_us);
CREATE INDEX logs_parts_of ON logs (org_id, part_of) WHERE part_of IS NOT NULL;
SELECT make_tenant_table('logs');
-- Whose a log is, is said by people: that is audited. What the hub reads in it is not.
CREATE TRIGGER audit AFTER UPDATE OF assigned_aircraft_id ON logs FOR EACH ROW
    EXECUTE FUNCTION write_audit('survey', 'damage', 'fingerprint');

-- Each manifest that came, as it said it.
CREATE TABLE log_deliveries (
    org_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    seq bigint NOT NULL,
    record_no integer NOT NULL,
    sha256 bytea NOT NULL,
    importer_id uuid NOT NULL,
    aircraft_id uuid,
    size_bytes bigint NOT NULL,
    packed_bytes bigint NOT NULL,
    packed_sha256 bytea NOT NULL,
    format text NOT NULL,
    name text NOT NULL,
    origin text NOT NULL,
    imported_utc_us bigint NOT NULL,
    hardware_ids text[] NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, stream_id, seq, record_no),
    FOREIGN KEY (org_id, stream_id, seq) REFERENCES ingest_batches ON DELETE CASCADE
);
CREATE INDEX log_deliveries_log ON log_deliveries (org_id, sha256);
SELECT make_tenant_table('log_deliveries');

-- Where each slice of a log's packed form lies.
CREATE TABLE log_parts (
    org_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    seq bigint NOT NULL,
    record_no integer NOT NULL,
    sha256 bytea NOT NULL,
    part_offset bigint NOT NULL,
    size_bytes integer NOT NULL,
    PRIMARY KEY (org_id, stream_id, seq, record_no),
    FOREIGN KEY (org_id, stream_id, seq) REFERENCES ingest_batches ON DELETE CASCADE
);
CREATE INDEX log_parts_log ON log_parts (org_id, sha256, stream_id, part_offset);
SELECT make_tenant_table('log_parts');

-- Armed to disarmed within a log, as the log's own clock mapping dates it (clock_source 0: not dated, times since anything).
-- boot_at_us: when on that clock the autopilot was powered up; NULL when the log does not say.
CREATE TABLE log_sessions (
    org_id uuid NOT NULL,
    sha256 bytea NOT NULL,
    session_no integer NOT NULL,
    start_utc_us bigint NOT NULL,
    end_utc_us bigint NOT NULL,
    clock_source smallint NOT NULL,
    clock_uncertainty_us bigint NOT NULL,
    boot_at_us bigint,
    grid_rows bigint NOT NULL,
    inferred boolean NOT NULL,
    why text NOT NULL DEFAULT '',
    PRIMARY KEY (org_id, sha256, session_no),
    FOREIGN KEY (org_id, sha256) REFERENCES logs ON DELETE CASCADE
);
SELECT make_tenant_table('log_sessions');

-- Flights known from a log only: origin 'log', on the stream that brought it. boot_at_us: when on the recorder's clock the
-- autopilot was powered up. lost_rows: ticks between first and last for which the live stream has nothing; filled_rows:
-- those of them that a log has.
ALTER TABLE flight_sessions
    ADD COLUMN origin text NOT NULL DEFAULT 'live' CHECK (origin IN ('live', 'log')),
    ADD COLUMN boot_at_us bigint,
    ADD COLUMN lost_rows bigint NOT NULL DEFAULT 0,
    ADD COLUMN filled_rows bigint NOT NULL DEFAULT 0;

-- Which sessions of which logs are part of a flight. offset_us: what is added to the log's own dates to lie on the flight's
-- clock; method: how that was found (origin: the flight is this log's own).
CREATE TABLE flight_logs (
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    sha256 bytea NOT NULL,
    session_no integer NOT NULL,
    method text NOT NULL CHECK (method IN ('origin', 'boot', 'content', 'utc')),
    offset_us bigint NOT NULL,
    agreement real,
    attached_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, session_id, sha256, session_no),
    FOREIGN KEY (org_id, session_id) REFERENCES flight_sessions ON DELETE CASCADE,
    FOREIGN KEY (org_id, sha256, session_no) REFERENCES log_sessions ON DELETE CASCADE
);
CREATE INDEX flight_logs_log ON flight_logs (org_id, sha256, session_no);
SELECT make_tenant_table('flight_logs');

-- Where the rows of a flight with a log come from: these channels, in this span, so many rows, from this log or stream.
CREATE TABLE flight_sources (
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    source_no integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('onboard', 'telemetry', 'live')),
    sha256 bytea,
    stream_id uuid,
    channels text[] NOT NULL,
    from_utc_us bigint NOT NULL,
    to_utc_us bigint NOT NULL,
    grid_rows bigint NOT NULL,
    PRIMARY KEY (org_id, session_id, source_no),
    FOREIGN KEY (org_id, session_id) REFERENCES flight_sessions ON DELETE CASCADE
);
SELECT make_tenant_table('flight_sources');

ALTER TABLE jobs DROP CONSTRAINT jobs_kind_check, ADD CONSTRAINT jobs_kind_check CHECK (kind IN ('settle', 'log'));

GRANT SELECT, INSERT ON logs, log_deliveries, log_parts TO dbx_ingest;
GRANT SELECT ON logs, log_deliveries, log_parts, log_sessions, flight_logs, flight_sources, aircraft_hardware
    TO dbx_api, dbx_worker, dbx_auditor;
GRANT UPDATE (assigned_aircraft_id, assigned_by) ON logs TO dbx_api;
GRANT UPDATE (state, reason, whole_at, read_at, format, name, origin, size_bytes, packed_bytes, importer_id, imported_utc_us,
    stream_id, seq, record_no, aircraft_id, part_of, first_utc_us, last_utc_us, clock_source, firmware, vehicle, mav_type,
    mav_autopilot, hardware_ids, damaged_bytes, survey, damage, fingerprint) ON logs TO dbx_worker;
GRANT INSERT, DELETE ON log_sessions, flight_sources TO dbx_worker;
GRANT INSERT, UPDATE, DELETE ON flight_logs TO dbx_worker;
GRANT INSERT, UPDATE ON aircraft_hardware TO dbx_worker;
GRANT INSERT, DELETE ON flight_sessions TO dbx_worker;

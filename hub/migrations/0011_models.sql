-- Model bundles as they are released to aircraft, and what aircraft say of those that they run.

-- A finding comes when it begins, and again, with its end, when it has ended.
GRANT UPDATE (kind, severity, score, end_us, start_utc_us, end_utc_us, evidence) ON findings TO dbx_ingest;

-- A bundle as it was signed; an aircraft checks it again. name: as findings carry it. digest: SHA-256 of its bytes.
CREATE TABLE model_bundles (
    org_id uuid NOT NULL REFERENCES organizations,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    feature_version integer NOT NULL,
    bundle bytea NOT NULL CHECK (length(bundle) <= 4194304),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, digest)
);
ALTER TABLE model_bundles ALTER COLUMN bundle SET STORAGE EXTERNAL;
SELECT make_tenant_table('model_bundles');
SELECT make_audited_table('model_bundles', 'bundle');

CREATE TABLE model_releases (
    org_id uuid NOT NULL,
    release_id uuid NOT NULL,
    digest bytea NOT NULL,
    stage text NOT NULL CHECK (stage IN ('shadow', 'canary', 'fleet')),
    released_at timestamptz NOT NULL DEFAULT now(),
    released_by text NOT NULL,
    PRIMARY KEY (org_id, release_id),
    FOREIGN KEY (org_id, digest) REFERENCES model_bundles
);
CREATE INDEX model_releases_at ON model_releases (org_id, released_at);
SELECT make_tenant_table('model_releases');
SELECT make_audited_table('model_releases');

-- Which directive told an aircraft of a release; what became of it stands there.
CREATE TABLE model_release_aircraft (
    org_id uuid NOT NULL,
    release_id uuid NOT NULL,
    aircraft_id uuid NOT NULL,
    directive_version bigint NOT NULL,
    PRIMARY KEY (org_id, release_id, aircraft_id),
    FOREIGN KEY (org_id, release_id) REFERENCES model_releases,
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry
);
CREATE INDEX model_release_aircraft_of ON model_release_aircraft (org_id, aircraft_id);
SELECT make_tenant_table('model_release_aircraft');

-- What an aircraft says that it runs (record `model_report`); number rises with each report of one agent's folder.
-- flown_s to other_findings: how the one on trial compares with the other one, over the same seconds of flight.
CREATE TABLE model_reports (
    org_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    seq bigint NOT NULL,
    record_no integer NOT NULL,
    aircraft_id uuid NOT NULL,
    number bigint NOT NULL,
    at_utc_us bigint NOT NULL,
    stage text NOT NULL,
    active text NOT NULL,
    active_digest bytea NOT NULL,
    other text NOT NULL,
    other_digest bytea,
    flown_s bigint NOT NULL,
    agreed_s bigint NOT NULL,
    active_findings bigint NOT NULL,
    other_findings bigint NOT NULL,
    detail text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, stream_id, seq, record_no),
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry
);
CREATE INDEX model_reports_newest ON model_reports (org_id, aircraft_id, at_utc_us DESC, number DESC);
SELECT make_tenant_table('model_reports');

GRANT SELECT, INSERT ON model_bundles, model_releases, model_release_aircraft TO dbx_api;
GRANT SELECT ON model_reports TO dbx_api;
GRANT SELECT, INSERT ON model_reports TO dbx_ingest;
GRANT SELECT ON model_releases, model_release_aircraft, model_reports TO dbx_worker, dbx_auditor;
GRANT SELECT (org_id, digest, name, feature_version, created_at) ON model_bundles TO dbx_worker, dbx_auditor;

-- Organisations, aircraft, keys. And the one way to make a table a tenant table.
--
-- Two rules for columns: what was measured carries `*_utc_us` (bigint, us since 1970 UTC) or `*_us` (us on the recorder's
-- clock); what the hub or a person did carries `*_at` (timestamptz). Every tenant key begins with org_id.

-- Row-level security as every tenant table has it. After a transaction a local setting reads '', hence nullif; the
-- sub-select is evaluated once per statement.
CREATE FUNCTION make_tenant_table(target regclass) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format(
        'CREATE POLICY org_isolation_policy ON %s '
        'USING (org_id = (SELECT nullif(current_setting(''app.current_org_id'', true), '''')::uuid)) '
        'WITH CHECK (org_id = (SELECT nullif(current_setting(''app.current_org_id'', true), '''')::uuid))', target);
END $$;
REVOKE ALL ON FUNCTION make_tenant_table(regclass) FROM PUBLIC;

CREATE TABLE organizations (
    org_id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz
);
SELECT make_tenant_table('organizations');

CREATE TABLE aircraft_registry (
    org_id uuid NOT NULL REFERENCES organizations,
    aircraft_id uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    registration text,
    serial_number text,
    airframe text,
    notes text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    PRIMARY KEY (org_id, aircraft_id)
);
SELECT make_tenant_table('aircraft_registry');

-- The public half of each device's signing key. key_id is unique over all organisations: a batch names nothing else.
-- certificate_serial (hex): of the TLS certificate that came with it, which revoking the key revokes too.
CREATE TABLE device_keys (
    org_id uuid NOT NULL,
    key_id bytea NOT NULL CHECK (length(key_id) = 16),
    device_id uuid NOT NULL,
    aircraft_id uuid NOT NULL,
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    agent_version text NOT NULL DEFAULT '',
    hostname text NOT NULL DEFAULT '',
    certificate_serial text NOT NULL DEFAULT '' CHECK (certificate_serial ~ '^[0-9a-f]{0,40}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    revoked_reason text,
    PRIMARY KEY (org_id, key_id),
    UNIQUE (key_id),
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry
);
CREATE INDEX device_keys_aircraft ON device_keys (org_id, aircraft_id);
SELECT make_tenant_table('device_keys');

-- Single-use codes; only a digest is kept.
CREATE TABLE enrollment_codes (
    org_id uuid NOT NULL,
    code_digest bytea NOT NULL CHECK (length(code_digest) = 32),
    aircraft_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    used_by_key bytea,
    PRIMARY KEY (org_id, code_digest),
    UNIQUE (code_digest),
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry
);
SELECT make_tenant_table('enrollment_codes');

CREATE TABLE api_keys (
    org_id uuid NOT NULL REFERENCES organizations,
    key_id uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'auditor')),
    key_digest bytea NOT NULL CHECK (length(key_digest) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (org_id, key_id),
    UNIQUE (key_digest)
);
SELECT make_tenant_table('api_keys');

-- What is stored of an API key. The name is the seed's; it is a one-way digest, not an encryption: keys are 256 random
-- bits, so a plain SHA-256 cannot be searched, and a stolen database gives none of them back.
CREATE FUNCTION encrypt_api_key(api_key text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT sha256(convert_to('dbx-api-key-v1:' || api_key, 'UTF8')) $$;

CREATE TABLE api_requests (
    org_id uuid NOT NULL,
    request_id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    key_id uuid,
    method text NOT NULL,
    route text NOT NULL,
    status smallint NOT NULL,
    duration_us integer NOT NULL,
    address inet,
    PRIMARY KEY (org_id, request_id)
);
CREATE INDEX api_requests_at ON api_requests (org_id, at);
SELECT make_tenant_table('api_requests');

GRANT SELECT ON organizations, aircraft_registry TO dbx_ingest, dbx_api, dbx_worker, dbx_auditor;
GRANT INSERT, UPDATE ON organizations, aircraft_registry TO dbx_api;
GRANT SELECT ON device_keys TO dbx_ingest, dbx_api, dbx_worker, dbx_auditor;
GRANT INSERT, UPDATE (revoked_at, revoked_reason) ON device_keys TO dbx_api;
GRANT SELECT, INSERT, UPDATE (used_at, used_by_key) ON enrollment_codes TO dbx_api;
GRANT SELECT, INSERT, UPDATE (revoked_at, last_used_at) ON api_keys TO dbx_api;
GRANT SELECT, INSERT ON api_requests TO dbx_api;
GRANT SELECT ON api_requests TO dbx_worker, dbx_auditor;
GRANT SELECT (org_id, key_id, name, role, created_at, expires_at, revoked_at, last_used_at) ON api_keys TO dbx_auditor;

-- The hub itself, as an organisation: what nobody can be charged with (an unknown key, a topic of no organisation) is
-- quarantined here.
SET LOCAL app.current_org_id = '00000000-0000-0000-0000-000000000000';
INSERT INTO organizations (org_id, name) VALUES ('00000000-0000-0000-0000-000000000000', 'hub');

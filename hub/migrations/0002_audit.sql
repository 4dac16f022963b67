-- The audit log: who changed what, with old and new values, as a hash chain per organisation.
--
-- Written by row triggers on tables that a person or a process changes; there is none on the ingest path, where the
-- signed envelopes are the evidence. Append-only by privilege: no role but the owner may write here, and the trigger
-- function (security definer) is its only writer. Reference for the digest: docs and audit_digest() below.

CREATE TABLE audit_log (
    org_id uuid NOT NULL,
    audit_no bigint NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    database_role text NOT NULL,
    request_id text,
    address text,
    action text NOT NULL CHECK (action IN ('INSERT', 'UPDATE', 'DELETE')),
    table_name text NOT NULL,
    old_values jsonb,
    new_values jsonb,
    prev_digest bytea NOT NULL,
    digest bytea NOT NULL,
    PRIMARY KEY (org_id, audit_no)
);
SELECT make_tenant_table('audit_log');

CREATE TABLE audit_heads (
    org_id uuid PRIMARY KEY,
    audit_no bigint NOT NULL,
    digest bytea NOT NULL
);
SELECT make_tenant_table('audit_heads');

CREATE FUNCTION audit_digest(
    prev bytea, org_id uuid, audit_no bigint, at timestamptz, actor text, database_role text, request_id text, address text,
    action text, table_name text, old_values jsonb, new_values jsonb
) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE SET timezone = 'UTC' AS $$
    SELECT sha256(prev || convert_to(jsonb_build_array(org_id, audit_no, (extract(epoch FROM at) * 1000000)::bigint, actor,
        database_role, request_id, address, action, table_name, old_values, new_values)::text, 'UTF8'))
$$;

-- Secrets' digests are left out of the log: TG_ARGV names such columns.
CREATE FUNCTION write_audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    org uuid := CASE WHEN TG_OP = 'DELETE' THEN OLD.org_id ELSE NEW.org_id END;
    before jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) - TG_ARGV::text[] END;
    after jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) - TG_ARGV::text[] END;
    entry audit_log;
BEGIN
    IF before = after THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit_heads VALUES (org, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
    SELECT h.audit_no + 1, h.digest INTO entry.audit_no, entry.prev_digest FROM audit_heads h WHERE h.org_id = org FOR UPDATE;
    entry.org_id := org;
    entry.at := clock_timestamp();
    entry.actor := coalesce(nullif(current_setting('app.actor', true), ''), 'unknown');
    entry.database_role := session_user;
    entry.request_id := nullif(current_setting('app.request_id', true), '');
    entry.address := nullif(current_setting('app.address', true), '');
    entry.action := TG_OP;
    entry.table_name := TG_TABLE_NAME;
    entry.old_values := before;
    entry.new_values := after;
    entry.digest := audit_digest(entry.prev_digest, org, entry.audit_no, entry.at, entry.actor, entry.database_role,
        entry.request_id, entry.address, entry.action, entry.table_name, before, after);
    INSERT INTO audit_log VALUES (entry.*);
    UPDATE audit_heads h SET audit_no = entry.audit_no, digest = entry.digest WHERE h.org_id = org;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION write_audit() FROM PUBLIC;

CREATE FUNCTION make_audited_table(target regclass, hidden text DEFAULT '') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION write_audit(%L)',
        target, hidden);
END $$;
REVOKE ALL ON FUNCTION make_audited_table(regclass, text) FROM PUBLIC;

SELECT make_audited_table('organizations');
SELECT make_audited_table('aircraft_registry');
SELECT make_audited_table('device_keys');
SELECT make_audited_table('enrollment_codes', 'code_digest');
SELECT make_audited_table('api_keys', 'key_digest');

GRANT SELECT ON audit_log TO dbx_api, dbx_worker, dbx_auditor;
GRANT SELECT ON audit_heads TO dbx_auditor;

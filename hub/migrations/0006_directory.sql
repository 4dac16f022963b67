-- What must be looked up before the organisation is known: whose is this signing key, this API key, this enrolment code;
-- which jobs are due. Narrow functions, run as dbx_directory: a role that nobody can log in as or become, that may read a
-- few columns of four tables across organisations, and owns nothing but these functions.

CREATE POLICY directory_policy ON organizations FOR SELECT TO dbx_directory USING (true);
CREATE POLICY directory_policy ON device_keys FOR SELECT TO dbx_directory USING (true);
CREATE POLICY directory_policy ON api_keys FOR SELECT TO dbx_directory USING (true);
CREATE POLICY directory_policy ON enrollment_codes FOR SELECT TO dbx_directory USING (true);
CREATE POLICY directory_policy ON jobs FOR SELECT TO dbx_directory USING (true);
GRANT SELECT (org_id, name, closed_at) ON organizations TO dbx_directory;
GRANT SELECT (org_id, key_id, aircraft_id, public_key, created_at, revoked_at) ON device_keys TO dbx_directory;
GRANT SELECT (org_id, key_id, name, role, key_digest, expires_at, revoked_at) ON api_keys TO dbx_directory;
GRANT SELECT (org_id, code_digest, aircraft_id, expires_at, used_at) ON enrollment_codes TO dbx_directory;
GRANT SELECT (org_id, job_id, run_after, started_at) ON jobs TO dbx_directory;

GRANT USAGE, CREATE ON SCHEMA public TO dbx_directory;
SET LOCAL ROLE dbx_directory;

CREATE FUNCTION find_device_keys(wanted bytea[])
RETURNS TABLE (key_id bytea, org_id uuid, aircraft_id uuid, public_key bytea, revoked_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT k.key_id, k.org_id, k.aircraft_id, k.public_key, k.revoked_at FROM device_keys k WHERE k.key_id = ANY (wanted)
$$;

CREATE FUNCTION find_api_key(wanted_digest bytea)
RETURNS TABLE (org_id uuid, org_name text, key_id uuid, name text, role text, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT k.org_id, o.name, k.key_id, k.name, k.role, k.expires_at
    FROM api_keys k JOIN organizations o ON o.org_id = k.org_id
    WHERE k.key_digest = wanted_digest AND k.revoked_at IS NULL AND coalesce(k.expires_at > now(), true)
      AND o.closed_at IS NULL
$$;

CREATE FUNCTION find_enrollment_code(wanted_digest bytea)
RETURNS TABLE (org_id uuid, aircraft_id uuid, expires_at timestamptz, used_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT c.org_id, c.aircraft_id, c.expires_at, c.used_at FROM enrollment_codes c WHERE c.code_digest = wanted_digest
$$;

CREATE FUNCTION organisation_exists(wanted uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM organizations o WHERE o.org_id = wanted)
$$;

CREATE FUNCTION list_organisations() RETURNS TABLE (org_id uuid, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT o.org_id, o.name FROM organizations o WHERE o.closed_at IS NULL ORDER BY o.org_id
$$;

CREATE FUNCTION due_jobs(most integer, lease interval) RETURNS TABLE (org_id uuid, job_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT j.org_id, j.job_id FROM jobs j
    WHERE j.run_after <= now() AND coalesce(j.started_at < now() - lease, true)
    ORDER BY j.run_after LIMIT most
$$;

REVOKE ALL ON FUNCTION find_device_keys(bytea[]), find_api_key(bytea), find_enrollment_code(bytea), organisation_exists(uuid),
    list_organisations(), due_jobs(integer, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_device_keys(bytea[]) TO dbx_ingest, dbx_api;
GRANT EXECUTE ON FUNCTION find_api_key(bytea), find_enrollment_code(bytea) TO dbx_api;
GRANT EXECUTE ON FUNCTION organisation_exists(uuid) TO dbx_ingest;
GRANT EXECUTE ON FUNCTION list_organisations() TO dbx_worker, dbx_api;
GRANT EXECUTE ON FUNCTION due_jobs(integer, interval) TO dbx_worker;

SET LOCAL ROLE dbx_owner;
REVOKE CREATE ON SCHEMA public FROM dbx_directory;

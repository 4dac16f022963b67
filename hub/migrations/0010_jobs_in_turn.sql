-- Reading a log takes as long as the log is large: what else is due goes first.

GRANT SELECT (kind) ON jobs TO dbx_directory;
GRANT CREATE ON SCHEMA public TO dbx_directory;
SET LOCAL ROLE dbx_directory;

CREATE OR REPLACE FUNCTION due_jobs(most integer, lease interval) RETURNS TABLE (org_id uuid, job_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT j.org_id, j.job_id FROM jobs j
    WHERE j.run_after <= now() AND coalesce(j.started_at < now() - lease, true)
    ORDER BY j.kind = 'log', j.run_after LIMIT most
$$;

SET LOCAL ROLE dbx_owner;
REVOKE CREATE ON SCHEMA public FROM dbx_directory;

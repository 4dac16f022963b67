-- Views that an operator asks first, and the maintenance score.

CREATE VIEW active_flights WITH (security_invoker = true) AS
SELECT s.org_id, s.session_id, s.aircraft_id, a.name AS aircraft_name, s.mav_type, s.mav_autopilot, s.firmware,
    s.started_utc_us, s.ended_utc_us, s.last_seen_at, s.max_alt_rel_m, s.max_groundspeed_mps, s.grid_rows
FROM flight_sessions s JOIN aircraft_registry a ON a.org_id = s.org_id AND a.aircraft_id = s.aircraft_id
WHERE s.state = 'live';

CREATE VIEW system_health WITH (security_invoker = true) AS
SELECT o.org_id,
    (SELECT count(*) FROM aircraft_state s WHERE s.org_id = o.org_id AND s.seen_at > now() - interval '1 minute') AS aircraft_online,
    (SELECT count(*) FROM flight_sessions f WHERE f.org_id = o.org_id AND f.state = 'live') AS flights_live,
    (SELECT max(s.last_seen_at) FROM streams s WHERE s.org_id = o.org_id) AS last_batch_at,
    (SELECT count(*) FROM ingest_batches b WHERE b.org_id = o.org_id AND b.derived = 1) AS batches_not_derived,
    (SELECT count(*) FROM quarantine q WHERE q.org_id = o.org_id AND q.resolved_at IS NULL) AS quarantined,
    (SELECT count(*) FROM jobs j WHERE j.org_id = o.org_id) AS jobs_waiting,
    (SELECT count(*) FROM jobs j WHERE j.org_id = o.org_id AND j.last_error IS NOT NULL) AS jobs_failing,
    (SELECT count(*) FROM alerts a WHERE a.org_id = o.org_id AND a.acknowledged_at IS NULL) AS alerts_open
FROM organizations o;

-- 0 (nothing known against it) to 100: what findings of the last 30 days weigh (critical 25, warning 5, info 1; each finding
-- counts for its score over threshold, at most twofold). A first, open measure, not a prediction of failure.
CREATE FUNCTION calculate_maintenance_score(wanted_aircraft uuid) RETURNS double precision
LANGUAGE sql STABLE SECURITY INVOKER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT least(100, coalesce(sum(
        CASE severity WHEN 'critical' THEN 25 WHEN 'warning' THEN 5 ELSE 1 END
        * least(2, greatest(1, score / nullif(threshold, 0)))), 0))
    FROM findings
    WHERE org_id = (SELECT nullif(current_setting('app.current_org_id', true), '')::uuid)
      AND aircraft_id = wanted_aircraft AND created_at > now() - interval '30 days'
$$;
REVOKE ALL ON FUNCTION calculate_maintenance_score(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION calculate_maintenance_score(uuid) TO dbx_api, dbx_worker, dbx_auditor;
GRANT SELECT ON active_flights, system_health TO dbx_api, dbx_worker;

-- Predictive maintenance and feedback: what each flight did to an aircraft, what is mounted on it since when, what wears, what
-- was done about it and who signed, and what people say of findings. How it is judged: docs/maintenance.md.

-- One row per settled flight, written by the worker. NULL: the flight did not tell.
CREATE TABLE flight_rollups (
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    aircraft_id uuid NOT NULL,
    started_utc_us bigint NOT NULL,
    armed_s real NOT NULL,
    flying_s real NOT NULL,
    arm_cycles integer NOT NULL,
    battery_used_mah real,
    vibe_hover_x_mps2 real,
    vibe_hover_y_mps2 real,
    vibe_hover_z_mps2 real,
    vibe_cruise_x_mps2 real,
    vibe_cruise_y_mps2 real,
    vibe_cruise_z_mps2 real,
    hover_throttle_pct real,
    battery_ohm real,
    rotor_spread real,
    rate_error_radps real,
    PRIMARY KEY (org_id, session_id),
    FOREIGN KEY (org_id, session_id) REFERENCES flight_sessions ON DELETE CASCADE
);
CREATE INDEX flight_rollups_aircraft ON flight_rollups (org_id, aircraft_id, started_utc_us DESC);
SELECT make_tenant_table('flight_rollups');

-- What the series of an aircraft's rollups says of one quantity, written anew by the worker after each flight.
-- before, after: levels about the newest change; rate_per_10h: of a slow trend. A series has one of both or none.
CREATE TABLE maintenance_trends (
    org_id uuid NOT NULL,
    aircraft_id uuid NOT NULL,
    quantity text NOT NULL,
    flights integer NOT NULL,
    baseline double precision NOT NULL,
    spread double precision NOT NULL,
    latest double precision NOT NULL,
    changed_utc_us bigint,
    before double precision,
    after double precision,
    rate_per_10h double precision,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, aircraft_id, quantity),
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry
);
SELECT make_tenant_table('maintenance_trends');

-- Parts that wear. A battery is a component like any other, known by its serial; it moves between aircraft.
-- hours_before, cycles_before: what it had done when it was entered here. serviced_utc_us: limits count from then on.
CREATE TABLE maintenance_components (
    org_id uuid NOT NULL REFERENCES organizations,
    component_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('motor', 'esc', 'prop', 'battery', 'servo', 'airframe', 'other')),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    serial text CHECK (length(serial) BETWEEN 1 AND 200),
    capacity_mah double precision CHECK (capacity_mah > 0),
    hours_before double precision NOT NULL DEFAULT 0 CHECK (hours_before >= 0),
    cycles_before double precision NOT NULL DEFAULT 0 CHECK (cycles_before >= 0),
    serviced_utc_us bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, component_id),
    UNIQUE (org_id, component_id, kind),
    UNIQUE (org_id, kind, serial)
);
SELECT make_tenant_table('maintenance_components');
SELECT make_audited_table('maintenance_components');

CREATE TABLE work_orders (
    org_id uuid NOT NULL,
    work_order_id uuid NOT NULL,
    aircraft_id uuid NOT NULL,
    component_id uuid,
    reason text CHECK (length(reason) BETWEEN 1 AND 300),
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    detail text NOT NULL DEFAULT '',
    priority text NOT NULL CHECK (priority IN ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')),
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'in_progress', 'done', 'cancelled')),
    proposed boolean NOT NULL DEFAULT false,
    due_utc_us bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    closed_at timestamptz,
    PRIMARY KEY (org_id, work_order_id),
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry,
    FOREIGN KEY (org_id, component_id) REFERENCES maintenance_components
);
-- One open order per aircraft and reason, however many workers propose it.
CREATE UNIQUE INDEX work_orders_open ON work_orders (org_id, aircraft_id, reason)
    WHERE reason IS NOT NULL AND state IN ('open', 'in_progress');
CREATE INDEX work_orders_list ON work_orders (org_id, created_at DESC, work_order_id DESC);
CREATE INDEX work_orders_aircraft ON work_orders (org_id, aircraft_id, reason);
SELECT make_tenant_table('work_orders');
SELECT make_audited_table('work_orders');

-- Who signed which step of an order, when. Append-only: no role may change or delete it.
CREATE TABLE work_order_signatures (
    org_id uuid NOT NULL,
    work_order_id uuid NOT NULL,
    signature_no integer NOT NULL CHECK (signature_no > 0),
    state text NOT NULL CHECK (state IN ('in_progress', 'done', 'cancelled')),
    signed_by text NOT NULL CHECK (length(signed_by) BETWEEN 1 AND 200),
    key_id uuid NOT NULL,
    note text NOT NULL DEFAULT '',
    signed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, work_order_id, signature_no),
    FOREIGN KEY (org_id, work_order_id) REFERENCES work_orders
);
SELECT make_tenant_table('work_order_signatures');
SELECT make_audited_table('work_order_signatures');

-- Where a component was, from when to when. It is at one place at a time, and a place holds one of a kind.
CREATE TABLE maintenance_installations (
    org_id uuid NOT NULL,
    installation_id uuid NOT NULL,
    component_id uuid NOT NULL,
    kind text NOT NULL,
    aircraft_id uuid NOT NULL,
    position smallint CHECK (position BETWEEN 1 AND 32),
    installed_utc_us bigint NOT NULL,
    removed_utc_us bigint CHECK (removed_utc_us >= installed_utc_us),
    installed_order uuid,
    removed_order uuid,
    PRIMARY KEY (org_id, installation_id),
    FOREIGN KEY (org_id, component_id, kind) REFERENCES maintenance_components (org_id, component_id, kind),
    FOREIGN KEY (org_id, aircraft_id) REFERENCES aircraft_registry,
    FOREIGN KEY (org_id, installed_order) REFERENCES work_orders,
    FOREIGN KEY (org_id, removed_order) REFERENCES work_orders
);
CREATE UNIQUE INDEX maintenance_installations_now ON maintenance_installations (org_id, component_id)
    WHERE removed_utc_us IS NULL;
CREATE UNIQUE INDEX maintenance_installations_place ON maintenance_installations (org_id, aircraft_id, kind, position)
    WHERE removed_utc_us IS NULL AND position IS NOT NULL;
CREATE INDEX maintenance_installations_aircraft ON maintenance_installations (org_id, aircraft_id, installed_utc_us);
CREATE INDEX maintenance_installations_component ON maintenance_installations (org_id, component_id, installed_utc_us);
SELECT make_tenant_table('maintenance_installations');
SELECT make_audited_table('maintenance_installations');

-- Which batteries flew, where a person said so; it stands before what is installed.
CREATE TABLE flight_batteries (
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    component_id uuid NOT NULL,
    PRIMARY KEY (org_id, session_id, component_id),
    FOREIGN KEY (org_id, session_id) REFERENCES flight_sessions ON DELETE CASCADE,
    FOREIGN KEY (org_id, component_id) REFERENCES maintenance_components
);
CREATE INDEX flight_batteries_component ON flight_batteries (org_id, component_id);
SELECT make_tenant_table('flight_batteries');
SELECT make_audited_table('flight_batteries');

-- An organisation's own limits; a row with a NULL limit takes the default away.
CREATE TABLE maintenance_limits (
    org_id uuid NOT NULL REFERENCES organizations,
    kind text NOT NULL CHECK (kind IN ('motor', 'esc', 'prop', 'battery', 'servo', 'airframe', 'other')),
    quantity text NOT NULL CHECK (quantity IN ('hours', 'cycles')),
    most double precision CHECK (most > 0),
    PRIMARY KEY (org_id, kind, quantity)
);
SELECT make_tenant_table('maintenance_limits');
SELECT make_audited_table('maintenance_limits');

-- Starting points for an organisation that has said nothing; a maker's own figures go before them.
CREATE FUNCTION default_maintenance_limits() RETURNS TABLE (kind text, quantity text, most double precision)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
    VALUES ('motor', 'hours', 300.0::double precision), ('esc', 'hours', 400), ('prop', 'hours', 100),
        ('servo', 'hours', 250), ('airframe', 'hours', 200), ('battery', 'cycles', 200)
$$;

-- The limits in force.
CREATE VIEW maintenance_limits_now WITH (security_invoker = true) AS
SELECT o.org_id, coalesce(l.kind, d.kind) AS kind, coalesce(l.quantity, d.quantity) AS quantity,
    CASE WHEN l.kind IS NULL THEN d.most ELSE l.most END AS most, l.kind IS NULL AS is_default
FROM organizations o
    CROSS JOIN (SELECT * FROM default_maintenance_limits() UNION
        SELECT k, q, NULL::double precision FROM unnest(ARRAY['motor', 'esc', 'prop', 'battery', 'servo', 'airframe', 'other']) k,
            unnest(ARRAY['hours', 'cycles']) q
        WHERE NOT EXISTS (SELECT FROM default_maintenance_limits() f WHERE f.kind = k AND f.quantity = q)) d
    LEFT JOIN maintenance_limits l ON l.org_id = o.org_id AND l.kind = d.kind AND l.quantity = d.quantity;

-- Which component was on which flight: where a person named the batteries those, else what was installed when it began.
CREATE VIEW component_flights WITH (security_invoker = true) AS
SELECT i.org_id, i.component_id, r.session_id
FROM maintenance_installations i JOIN flight_rollups r ON r.org_id = i.org_id AND r.aircraft_id = i.aircraft_id
    AND r.started_utc_us >= i.installed_utc_us AND coalesce(r.started_utc_us < i.removed_utc_us, true)
WHERE i.kind <> 'battery'
    OR NOT EXISTS (SELECT FROM flight_batteries b WHERE b.org_id = r.org_id AND b.session_id = r.session_id)
UNION
SELECT b.org_id, b.component_id, b.session_id FROM flight_batteries b;

-- Hours and cycles of each component. A battery's cycles are full charges: what it gave over its capacity (without a
-- capacity: flights); of everything else, armings. Batteries flown together share what was used. Limits count since the
-- last service.
CREATE VIEW component_usage WITH (security_invoker = true) AS
SELECT c.org_id, c.component_id, u.flights, c.hours_before + u.hours AS hours, c.cycles_before + u.cycles AS cycles,
    u.hours_since + CASE WHEN c.serviced_utc_us IS NULL THEN c.hours_before ELSE 0 END AS hours_since_service,
    u.cycles_since + CASE WHEN c.serviced_utc_us IS NULL OR c.kind = 'battery' THEN c.cycles_before ELSE 0 END
        AS cycles_since_service,
    u.last_utc_us
FROM maintenance_components c CROSS JOIN LATERAL (
    SELECT count(*) AS flights, coalesce(sum(f.hours), 0) AS hours, coalesce(sum(f.cycles), 0) AS cycles,
        coalesce(sum(f.hours) FILTER (WHERE f.counts), 0) AS hours_since,
        coalesce(sum(f.cycles) FILTER (WHERE f.counts OR c.kind = 'battery'), 0) AS cycles_since,
        max(f.started_utc_us) AS last_utc_us
    FROM (SELECT r.started_utc_us, r.flying_s / 3600.0::double precision AS hours,
            coalesce(r.started_utc_us >= c.serviced_utc_us, true) AS counts,
            CASE WHEN c.kind <> 'battery' THEN r.arm_cycles
                WHEN c.capacity_mah IS NULL OR r.battery_used_mah IS NULL THEN 1
                ELSE r.battery_used_mah / c.capacity_mah / greatest(1, (SELECT count(*) FROM flight_batteries b
                    WHERE b.org_id = c.org_id AND b.session_id = r.session_id)) END::double precision AS cycles
        FROM component_flights cf JOIN flight_rollups r ON r.org_id = cf.org_id AND r.session_id = cf.session_id
        WHERE cf.org_id = c.org_id AND cf.component_id = c.component_id) f
) u;

-- What people say of findings; the newest row of a person (an API key) counts, earlier ones are its history. A finding that
-- the hub makes again gets a new id: what it was (source, kind, span) goes with the verdict.
CREATE TABLE finding_feedback (
    org_id uuid NOT NULL REFERENCES organizations,
    feedback_id uuid NOT NULL,
    finding_id uuid NOT NULL,
    session_id uuid,
    aircraft_id uuid NOT NULL,
    source text NOT NULL,
    found_kind text NOT NULL,
    start_us bigint NOT NULL,
    end_us bigint NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('confirmed', 'rejected', 'unsure')),
    kind text CHECK (kind ~ '^[a-z][a-z0-9_]{0,63}$'),
    note text NOT NULL DEFAULT '',
    key_id uuid NOT NULL,
    given_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, feedback_id)
);
CREATE INDEX finding_feedback_session ON finding_feedback (org_id, session_id);
CREATE INDEX finding_feedback_aircraft ON finding_feedback (org_id, aircraft_id);
SELECT make_tenant_table('finding_feedback');
SELECT make_audited_table('finding_feedback');

-- One verdict per finding and person: the newest of those on the same source, kind and span of a flight.
CREATE VIEW current_feedback WITH (security_invoker = true) AS
SELECT f.* FROM finding_feedback f
WHERE NOT EXISTS (SELECT FROM finding_feedback n WHERE n.org_id = f.org_id AND n.key_id = f.key_id AND n.source = f.source
    AND n.found_kind = f.found_kind AND (n.session_id = f.session_id OR n.finding_id = f.finding_id)
    AND n.start_us <= f.end_us AND n.end_us >= f.start_us
    AND (n.given_at, n.feedback_id) > (f.given_at, f.feedback_id));

-- Feature vectors in the spans of a flight's findings, kept so that a verdict can become a labelled example.
-- vectors: float32, little-endian, a row after the other. Features are consistencies and levels: no position is among them.
CREATE TABLE finding_vectors (
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    start_us bigint NOT NULL,
    end_us bigint NOT NULL,
    feature_version integer NOT NULL,
    aircraft_class text NOT NULL,
    features integer NOT NULL CHECK (features > 0),
    vectors bytea NOT NULL CHECK (length(vectors) % (4 * features) = 0),
    PRIMARY KEY (org_id, session_id, start_us, end_us),
    FOREIGN KEY (org_id, session_id) REFERENCES flight_sessions ON DELETE CASCADE
);
SELECT make_tenant_table('finding_vectors');

-- Whether feedback may leave the hub as training data: consent, never assumed.
ALTER TABLE organizations ADD COLUMN share_feedback boolean NOT NULL DEFAULT false;

-- Reasons to look after an aircraft, each with its weight 0..1; since_utc_us: its evidence begins then.
CREATE FUNCTION maintenance_reasons(wanted_aircraft uuid) RETURNS TABLE (reason text, quantity text, value double precision,
    baseline double precision, since_utc_us bigint, weight double precision, action text, component_id uuid)
LANGUAGE sql STABLE SECURITY INVOKER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH org AS (SELECT nullif(current_setting('app.current_org_id', true), '')::uuid AS id),
    closed AS (
        SELECT o.reason, max((extract(epoch FROM o.closed_at) * 1000000)::bigint) AS at_utc_us FROM work_orders o, org
        WHERE o.org_id = org.id AND o.aircraft_id = wanted_aircraft AND o.state IN ('done', 'cancelled') GROUP BY o.reason),
    flights AS (
        SELECT s.session_id, s.started_utc_us, row_number() OVER (ORDER BY s.started_utc_us DESC) - 1 AS ago
        FROM flight_sessions s, org WHERE s.org_id = org.id AND s.aircraft_id = wanted_aircraft
        ORDER BY s.started_utc_us DESC LIMIT 10),
    open_findings AS (
        SELECT f.kind, f.score, f.threshold, f.start_utc_us,
            CASE f.severity WHEN 'critical' THEN 0.75 WHEN 'warning' THEN 0.4 ELSE 0.1 END
            * CASE WHEN f.kind IN ('gps_jam', 'gps_glitch', 'gps_degraded', 'rc_loss') THEN 0.4 ELSE 1 END
            * 0.85 ^ l.ago AS weight
        FROM findings f JOIN flights l ON l.session_id = f.session_id CROSS JOIN org
            LEFT JOIN closed c ON c.reason = 'finding:' || f.kind
        WHERE f.org_id = org.id AND coalesce(l.started_utc_us > c.at_utc_us, true)
            AND NOT EXISTS (SELECT FROM current_feedback b WHERE b.org_id = org.id AND b.session_id = f.session_id
                AND b.source = f.source AND b.found_kind = f.kind AND b.verdict = 'rejected'
                AND b.start_us <= f.end_us AND b.end_us >= f.start_us)),
    trends AS (
        SELECT t.*, 'trend:' || t.quantity AS reason, CASE t.quantity WHEN 'hover_throttle_pct' THEN 'hover throttle'
                WHEN 'battery_ohm' THEN 'battery resistance' WHEN 'rotor_spread' THEN 'the spread of rotor speeds'
                WHEN 'rate_error_radps' THEN 'the error of body rates'
                ELSE 'vibration in ' || split_part(t.quantity, '_', 2) || ' (' || split_part(t.quantity, '_', 3) || ')' END AS words
        FROM maintenance_trends t CROSS JOIN org
            LEFT JOIN closed c ON c.reason = 'trend:' || t.quantity
        WHERE t.org_id = org.id AND t.aircraft_id = wanted_aircraft
            AND coalesce(coalesce(t.changed_utc_us, (extract(epoch FROM t.updated_at) * 1000000)::bigint) > c.at_utc_us, true)),
    worn AS (
        SELECT i.component_id, x.name, x.kind, m.quantity, m.most, i.installed_utc_us,
            CASE m.quantity WHEN 'hours' THEN u.hours_since_service ELSE u.cycles_since_service END AS used
        FROM org JOIN maintenance_installations i ON i.org_id = org.id AND i.removed_utc_us IS NULL
            JOIN maintenance_components x ON x.org_id = org.id AND x.component_id = i.component_id
            JOIN component_usage u ON u.org_id = org.id AND u.component_id = i.component_id
            JOIN maintenance_limits_now m ON m.org_id = org.id AND m.kind = x.kind
        WHERE i.aircraft_id = wanted_aircraft AND m.most IS NOT NULL)
    SELECT 'finding:' || f.kind, f.kind, max(f.score), (array_agg(f.threshold ORDER BY f.score DESC))[1], min(f.start_utc_us),
        least(0.9, max(f.weight) + 0.05 * (count(*) - 1))::double precision,
        'Inspect for ' || replace(f.kind, '_', ' ') || ': found ' || CASE count(*) WHEN 1 THEN 'once' ELSE count(*) || ' times' END
            || ' in the last 10 flights.', NULL::uuid
    FROM open_findings f GROUP BY f.kind
    UNION ALL
    SELECT t.reason, t.quantity, t.after, t.before, t.changed_utc_us, least(0.75, 0.25 + 0.5 * (t.after / t.before - 1)),
        'Find out why ' || t.words || ' rose from flight to flight.', NULL
    FROM trends t WHERE t.before > 0 AND t.after > t.before
    UNION ALL
    SELECT t.reason, t.quantity, t.latest, t.baseline, NULL, least(0.5, 0.1 + t.rate_per_10h / t.baseline),
        'Watch ' || t.words || ': it grows slowly.', NULL
    FROM trends t WHERE t.rate_per_10h > 0 AND t.baseline > 0
    UNION ALL
    SELECT 'limit:' || w.component_id || ':' || w.quantity, w.quantity, w.used, w.most, w.installed_utc_us,
        least(0.9, CASE WHEN w.used < w.most THEN 0.2 ELSE 0.55 + 0.7 * (w.used / w.most - 1) END),
        CASE WHEN w.used < w.most THEN 'Plan service of ' ELSE 'Service or replace ' END || w.kind || ' ' || w.name || '.',
        w.component_id
    FROM worn w WHERE w.used >= 0.9 * w.most
    UNION ALL
    SELECT 'order:' || o.work_order_id, 'days_overdue', (extract(epoch FROM now()) * 1000000 - o.due_utc_us)::double precision / 86400000000,
        0, o.due_utc_us,
        CASE o.priority WHEN 'CRITICAL' THEN 0.8 WHEN 'HIGH' THEN 0.6 WHEN 'MEDIUM' THEN 0.4 ELSE 0.2 END,
        'Finish the overdue work order: ' || o.title, o.component_id
    FROM work_orders o, org WHERE o.org_id = org.id AND o.aircraft_id = wanted_aircraft AND o.state IN ('open', 'in_progress')
        AND o.due_utc_us < extract(epoch FROM now()) * 1000000
$$;

-- How urgent an aircraft's maintenance is: 1 less the product of (1 - weight), so that independent reasons add up without ever
-- passing 1. Levels as of a flight's risk. The weights are engineering judgement, stated in docs/maintenance.md: no
-- measured probability of failure.
DROP FUNCTION calculate_maintenance_score(uuid);
CREATE FUNCTION calculate_maintenance_score(aircraft_id uuid) RETURNS TABLE (maintenance_urgency double precision,
    priority_level text, recommended_action text, reasons jsonb)
LANGUAGE sql STABLE SECURITY INVOKER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH found AS (SELECT * FROM maintenance_reasons($1)),
    summed AS (
        SELECT round(coalesce(1 - exp(sum(ln(1 - least(0.95, greatest(0, f.weight))))), 0)::numeric, 3) AS urgency,
            (array_agg(f.action ORDER BY f.weight DESC, f.reason))[1] AS action,
            coalesce(jsonb_agg(jsonb_build_object('reason', f.reason, 'quantity', f.quantity, 'value', f.value,
                'baseline', f.baseline, 'since_utc_us', f.since_utc_us, 'weight', round(f.weight::numeric, 3),
                'action', f.action, 'component_id', f.component_id) ORDER BY f.weight DESC, f.reason), '[]') AS reasons
        FROM found f)
    SELECT s.urgency::double precision,
        CASE WHEN s.urgency < 0.25 THEN 'LOW' WHEN s.urgency < 0.5 THEN 'MEDIUM' WHEN s.urgency < 0.8 THEN 'HIGH' ELSE 'CRITICAL' END,
        coalesce(s.action, 'Nothing known against it: keep to the maintenance plan.'), s.reasons
    FROM summed s
$$;
REVOKE ALL ON FUNCTION calculate_maintenance_score(uuid), maintenance_reasons(uuid), default_maintenance_limits() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION calculate_maintenance_score(uuid), maintenance_reasons(uuid), default_maintenance_limits()
    TO dbx_api, dbx_worker, dbx_auditor;

GRANT SELECT ON flight_rollups, maintenance_trends, maintenance_components, maintenance_installations, maintenance_limits,
    flight_batteries, work_orders, work_order_signatures, finding_feedback, maintenance_limits_now, component_flights,
    component_usage, current_feedback TO dbx_api, dbx_worker, dbx_auditor;
GRANT INSERT, UPDATE, DELETE ON flight_rollups, maintenance_trends TO dbx_worker;
GRANT SELECT, INSERT, DELETE ON finding_vectors TO dbx_worker;
GRANT SELECT ON finding_vectors TO dbx_api;
GRANT INSERT ON work_orders TO dbx_worker;
GRANT INSERT, UPDATE (serviced_utc_us) ON maintenance_components TO dbx_api;
GRANT INSERT, UPDATE (removed_utc_us, removed_order) ON maintenance_installations TO dbx_api;
GRANT INSERT, UPDATE (state, closed_at) ON work_orders TO dbx_api;
GRANT INSERT ON work_order_signatures, finding_feedback TO dbx_api;
GRANT INSERT, DELETE ON flight_batteries TO dbx_api;
GRANT INSERT, UPDATE (most) ON maintenance_limits TO dbx_api;

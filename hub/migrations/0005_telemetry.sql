-- Telemetry: written once, in batches, by one aircraft at a time; read by flight and channel. One row per run of grid rows,
-- one typed array per channel (shared/channels.py; text made by `python -m hub.store.channel_sql`).
--
-- Row i (from 0) is at t0_utc_us + i * 100 ms. Stored integers; a channel that the aircraft lacks is a NULL array, an absent
-- sample a NULL element. A sized channel holds n values of element 1, then n of element 2, as far as any element has data.
-- Live chunks name the batch they were made from (stream_id, seq); settled ones replace them.
-- Partitioned by day; chunks whose clock is unknown (1970) and days that have no partition lie in the default partition.
-- Application roles have no grant on partitions, only on this table.

CREATE TABLE telemetry_chunks (
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    t0_utc_us bigint NOT NULL,
    t1_utc_us bigint NOT NULL,
    aircraft_id uuid NOT NULL,
    stream_id uuid,
    seq bigint,
    n integer NOT NULL CHECK (n > 0),
    settled boolean NOT NULL,
    lat_deg integer[],
    lon_deg integer[],
    alt_msl_m integer[],
    alt_rel_m integer[],
    vel_north_mps smallint[],
    vel_east_mps smallint[],
    vel_down_mps smallint[],
    roll_rad smallint[],
    pitch_rad smallint[],
    yaw_rad smallint[],
    roll_rate_radps smallint[],
    pitch_rate_radps smallint[],
    yaw_rate_radps smallint[],
    roll_target_rad smallint[],
    pitch_target_rad smallint[],
    yaw_target_rad smallint[],
    acc_x_mps2 smallint[],
    acc_y_mps2 smallint[],
    acc_z_mps2 smallint[],
    vibe_x_mps2 smallint[],
    vibe_y_mps2 smallint[],
    vibe_z_mps2 smallint[],
    clip_count integer[],
    mag_x_ut smallint[],
    mag_y_ut smallint[],
    mag_z_ut smallint[],
    pressure_pa integer[],
    airspeed_mps smallint[],
    groundspeed_mps smallint[],
    climb_mps smallint[],
    heading_deg smallint[],
    throttle_pct smallint[],
    wind_speed_mps smallint[],
    wind_from_deg smallint[],
    battery_v smallint[],
    battery_a integer[],
    battery_used_mah integer[],
    battery_remaining_pct smallint[],
    board_v smallint[],
    gps_fix smallint[],
    gps_satellites smallint[],
    gps_hdop smallint[],
    gps_alt_msl_m integer[],
    gps_speed_mps smallint[],
    ekf_velocity_ratio smallint[],
    ekf_position_ratio smallint[],
    ekf_height_ratio smallint[],
    ekf_compass_ratio smallint[],
    ekf_flags integer[],
    motor_output_us smallint[],
    motor_rpm integer[],
    xtrack_error_m integer[],
    alt_error_m integer[],
    waypoint_distance_m integer[],
    mission_seq smallint[],
    armed smallint[],
    flight_mode bigint[],
    landed_state smallint[],
    sensors_health bigint[],
    cpu_load_pct smallint[],
    rc_rssi_pct smallint[],
    rc_input_us smallint[],
    PRIMARY KEY (org_id, session_id, t0_utc_us),
    CHECK (t1_utc_us = t0_utc_us + (n - 1) * 100000::bigint),
    FOREIGN KEY (org_id, session_id) REFERENCES flight_sessions ON DELETE CASCADE
) PARTITION BY RANGE (t0_utc_us);
SELECT make_tenant_table('telemetry_chunks');
CREATE TABLE telemetry_chunks_default PARTITION OF telemetry_chunks DEFAULT;

-- Makes the partition of one UTC day, taking along what lies in the default partition. False when the day is out of range
-- (clock unknown or nonsense) or has its partition already. Run by the worker, never on the ingest path.
CREATE FUNCTION create_telemetry_day(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    name text := 'telemetry_chunks_' || to_char(day, 'YYYYMMDD');
    from_us bigint := extract(epoch FROM day::timestamp)::bigint * 1000000;
    to_us bigint := from_us + 86400000000;
BEGIN
    IF day NOT BETWEEN current_date - 400 AND current_date + 7 OR to_regclass('public.' || name) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(name, 0));
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE telemetry_chunks INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    -- Attaching locks what the foreign key names. In the order in which ingest writes them, or the two wait for each other.
    LOCK TABLE flight_sessions IN SHARE ROW EXCLUSIVE MODE;
    LOCK TABLE telemetry_chunks_default IN ACCESS EXCLUSIVE MODE;
    CREATE TEMPORARY TABLE moving ON COMMIT DROP AS
        SELECT * FROM telemetry_chunks_default WHERE t0_utc_us >= from_us AND t0_utc_us < to_us;
    DELETE FROM telemetry_chunks_default WHERE t0_utc_us >= from_us AND t0_utc_us < to_us;
    -- Attached while empty: the foreign key's check of a whole table would be blinded by forced row-level security.
    EXECUTE format('ALTER TABLE telemetry_chunks ATTACH PARTITION public.%I FOR VALUES FROM (%s) TO (%s)', name, from_us, to_us);
    EXECUTE format('INSERT INTO public.%I SELECT * FROM pg_temp.moving', name);
    DROP TABLE pg_temp.moving;
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION create_telemetry_day(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_telemetry_day(date) TO dbx_worker;

GRANT SELECT, INSERT ON telemetry_chunks TO dbx_ingest;
GRANT SELECT, INSERT, DELETE ON telemetry_chunks TO dbx_worker;
GRANT SELECT ON telemetry_chunks TO dbx_api, dbx_auditor;

-- Plain rows for anyone with SQL: one per (session_id, timestamp), physical values. Pages and API read the arrays instead: a
-- view unnests all its arrays, whatever is asked of it, so ask the view of the channel group that is needed.

CREATE VIEW flight_telemetry WITH (security_invoker = true) AS
SELECT
    c.org_id, c.session_id, c.aircraft_id,
    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * 100000) * interval '1 microsecond' AS "timestamp",
    u.lat_deg / 10000000::float8 AS lat_deg,
    u.lon_deg / 10000000::float8 AS lon_deg,
    u.alt_msl_m / 100::float8 AS alt_msl_m,
    u.alt_rel_m / 100::float8 AS alt_rel_m,
    u.vel_north_mps / 100::float8 AS vel_north_mps,
    u.vel_east_mps / 100::float8 AS vel_east_mps,
    u.vel_down_mps / 100::float8 AS vel_down_mps,
    u.roll_rad / 10000::float8 AS roll_rad,
    u.pitch_rad / 10000::float8 AS pitch_rad,
    u.yaw_rad / 10000::float8 AS yaw_rad,
    u.roll_rate_radps / 1000::float8 AS roll_rate_radps,
    u.pitch_rate_radps / 1000::float8 AS pitch_rate_radps,
    u.yaw_rate_radps / 1000::float8 AS yaw_rate_radps,
    u.roll_target_rad / 10000::float8 AS roll_target_rad,
    u.pitch_target_rad / 10000::float8 AS pitch_target_rad,
    u.yaw_target_rad / 10000::float8 AS yaw_target_rad,
    u.acc_x_mps2 / 100::float8 AS acc_x_mps2,
    u.acc_y_mps2 / 100::float8 AS acc_y_mps2,
    u.acc_z_mps2 / 100::float8 AS acc_z_mps2,
    u.vibe_x_mps2 / 100::float8 AS vibe_x_mps2,
    u.vibe_y_mps2 / 100::float8 AS vibe_y_mps2,
    u.vibe_z_mps2 / 100::float8 AS vibe_z_mps2,
    u.clip_count AS clip_count,
    u.mag_x_ut / 20::float8 AS mag_x_ut,
    u.mag_y_ut / 20::float8 AS mag_y_ut,
    u.mag_z_ut / 20::float8 AS mag_z_ut,
    u.pressure_pa AS pressure_pa,
    u.airspeed_mps / 100::float8 AS airspeed_mps,
    u.groundspeed_mps / 100::float8 AS groundspeed_mps,
    u.climb_mps / 100::float8 AS climb_mps,
    u.heading_deg / 10::float8 AS heading_deg,
    u.throttle_pct / 10::float8 AS throttle_pct,
    u.wind_speed_mps / 100::float8 AS wind_speed_mps,
    u.wind_from_deg / 10::float8 AS wind_from_deg,
    u.battery_v / 100::float8 AS battery_v,
    u.battery_a / 100::float8 AS battery_a,
    u.battery_used_mah AS battery_used_mah,
    u.battery_remaining_pct AS battery_remaining_pct,
    u.board_v / 1000::float8 AS board_v,
    u.gps_fix AS gps_fix,
    u.gps_satellites AS gps_satellites,
    u.gps_hdop / 100::float8 AS gps_hdop,
    u.gps_alt_msl_m / 100::float8 AS gps_alt_msl_m,
    u.gps_speed_mps / 100::float8 AS gps_speed_mps,
    u.ekf_velocity_ratio / 1000::float8 AS ekf_velocity_ratio,
    u.ekf_position_ratio / 1000::float8 AS ekf_position_ratio,
    u.ekf_height_ratio / 1000::float8 AS ekf_height_ratio,
    u.ekf_compass_ratio / 1000::float8 AS ekf_compass_ratio,
    u.ekf_flags AS ekf_flags,
    ARRAY[u.motor_output_us_1, u.motor_output_us_2, u.motor_output_us_3, u.motor_output_us_4, u.motor_output_us_5, u.motor_output_us_6, u.motor_output_us_7, u.motor_output_us_8, u.motor_output_us_9, u.motor_output_us_10, u.motor_output_us_11, u.motor_output_us_12, u.motor_output_us_13, u.motor_output_us_14, u.motor_output_us_15, u.motor_output_us_16] AS motor_output_us,
    ARRAY[u.motor_rpm_1, u.motor_rpm_2, u.motor_rpm_3, u.motor_rpm_4, u.motor_rpm_5, u.motor_rpm_6, u.motor_rpm_7, u.motor_rpm_8] AS motor_rpm,
    u.xtrack_error_m / 100::float8 AS xtrack_error_m,
    u.alt_error_m / 100::float8 AS alt_error_m,
    u.waypoint_distance_m AS waypoint_distance_m,
    u.mission_seq AS mission_seq,
    u.armed AS armed,
    u.flight_mode AS flight_mode,
    u.landed_state AS landed_state,
    u.sensors_health AS sensors_health,
    u.cpu_load_pct / 10::float8 AS cpu_load_pct,
    u.rc_rssi_pct / 2::float8 AS rc_rssi_pct,
    ARRAY[u.rc_input_us_1, u.rc_input_us_2, u.rc_input_us_3, u.rc_input_us_4, u.rc_input_us_5, u.rc_input_us_6, u.rc_input_us_7, u.rc_input_us_8] AS rc_input_us
FROM telemetry_chunks c CROSS JOIN LATERAL unnest(
    c.lat_deg,
    c.lon_deg,
    c.alt_msl_m,
    c.alt_rel_m,
    c.vel_north_mps,
    c.vel_east_mps,
    c.vel_down_mps,
    c.roll_rad,
    c.pitch_rad,
    c.yaw_rad,
    c.roll_rate_radps,
    c.pitch_rate_radps,
    c.yaw_rate_radps,
    c.roll_target_rad,
    c.pitch_target_rad,
    c.yaw_target_rad,
    c.acc_x_mps2,
    c.acc_y_mps2,
    c.acc_z_mps2,
    c.vibe_x_mps2,
    c.vibe_y_mps2,
    c.vibe_z_mps2,
    c.clip_count,
    c.mag_x_ut,
    c.mag_y_ut,
    c.mag_z_ut,
    c.pressure_pa,
    c.airspeed_mps,
    c.groundspeed_mps,
    c.climb_mps,
    c.heading_deg,
    c.throttle_pct,
    c.wind_speed_mps,
    c.wind_from_deg,
    c.battery_v,
    c.battery_a,
    c.battery_used_mah,
    c.battery_remaining_pct,
    c.board_v,
    c.gps_fix,
    c.gps_satellites,
    c.gps_hdop,
    c.gps_alt_msl_m,
    c.gps_speed_mps,
    c.ekf_velocity_ratio,
    c.ekf_position_ratio,
    c.ekf_height_ratio,
    c.ekf_compass_ratio,
    c.ekf_flags,
    c.motor_output_us[0 * c.n + 1:1 * c.n],
    c.motor_output_us[1 * c.n + 1:2 * c.n],
    c.motor_output_us[2 * c.n + 1:3 * c.n],
    c.motor_output_us[3 * c.n + 1:4 * c.n],
    c.motor_output_us[4 * c.n + 1:5 * c.n],
    c.motor_output_us[5 * c.n + 1:6 * c.n],
    c.motor_output_us[6 * c.n + 1:7 * c.n],
    c.motor_output_us[7 * c.n + 1:8 * c.n],
    c.motor_output_us[8 * c.n + 1:9 * c.n],
    c.motor_output_us[9 * c.n + 1:10 * c.n],
    c.motor_output_us[10 * c.n + 1:11 * c.n],
    c.motor_output_us[11 * c.n + 1:12 * c.n],
    c.motor_output_us[12 * c.n + 1:13 * c.n],
    c.motor_output_us[13 * c.n + 1:14 * c.n],
    c.motor_output_us[14 * c.n + 1:15 * c.n],
    c.motor_output_us[15 * c.n + 1:16 * c.n],
    c.motor_rpm[0 * c.n + 1:1 * c.n],
    c.motor_rpm[1 * c.n + 1:2 * c.n],
    c.motor_rpm[2 * c.n + 1:3 * c.n],
    c.motor_rpm[3 * c.n + 1:4 * c.n],
    c.motor_rpm[4 * c.n + 1:5 * c.n],
    c.motor_rpm[5 * c.n + 1:6 * c.n],
    c.motor_rpm[6 * c.n + 1:7 * c.n],
    c.motor_rpm[7 * c.n + 1:8 * c.n],
    c.xtrack_error_m,
    c.alt_error_m,
    c.waypoint_distance_m,
    c.mission_seq,
    c.armed,
    c.flight_mode,
    c.landed_state,
    c.sensors_health,
    c.cpu_load_pct,
    c.rc_rssi_pct,
    c.rc_input_us[0 * c.n + 1:1 * c.n],
    c.rc_input_us[1 * c.n + 1:2 * c.n],
    c.rc_input_us[2 * c.n + 1:3 * c.n],
    c.rc_input_us[3 * c.n + 1:4 * c.n],
    c.rc_input_us[4 * c.n + 1:5 * c.n],
    c.rc_input_us[5 * c.n + 1:6 * c.n],
    c.rc_input_us[6 * c.n + 1:7 * c.n],
    c.rc_input_us[7 * c.n + 1:8 * c.n]) WITH ORDINALITY AS u(
    lat_deg, lon_deg, alt_msl_m, alt_rel_m, vel_north_mps, vel_east_mps, vel_down_mps, roll_rad, pitch_rad, yaw_rad, roll_rate_radps, pitch_rate_radps, yaw_rate_radps, roll_target_rad, pitch_target_rad, yaw_target_rad, acc_x_mps2, acc_y_mps2, acc_z_mps2, vibe_x_mps2, vibe_y_mps2, vibe_z_mps2, clip_count, mag_x_ut, mag_y_ut, mag_z_ut, pressure_pa, airspeed_mps, groundspeed_mps, climb_mps, heading_deg, throttle_pct, wind_speed_mps, wind_from_deg, battery_v, battery_a, battery_used_mah, battery_remaining_pct, board_v, gps_fix, gps_satellites, gps_hdop, gps_alt_msl_m, gps_speed_mps, ekf_velocity_ratio, ekf_position_ratio, ekf_height_ratio, ekf_compass_ratio, ekf_flags, motor_output_us_1, motor_output_us_2, motor_output_us_3, motor_output_us_4, motor_output_us_5, motor_output_us_6, motor_output_us_7, motor_output_us_8, motor_output_us_9, motor_output_us_10, motor_output_us_11, motor_output_us_12, motor_output_us_13, motor_output_us_14, motor_output_us_15, motor_output_us_16, motor_rpm_1, motor_rpm_2, motor_rpm_3, motor_rpm_4, motor_rpm_5, motor_rpm_6, motor_rpm_7, motor_rpm_8, xtrack_error_m, alt_error_m, waypoint_distance_m, mission_seq, armed, flight_mode, landed_state, sensors_health, cpu_load_pct, rc_rssi_pct, rc_input_us_1, rc_input_us_2, rc_input_us_3, rc_input_us_4, rc_input_us_5, rc_input_us_6, rc_input_us_7, rc_input_us_8, i);

CREATE VIEW flight_position WITH (security_invoker = true) AS
SELECT
    c.org_id, c.session_id, c.aircraft_id,
    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * 100000) * interval '1 microsecond' AS "timestamp",
    u.lat_deg / 10000000::float8 AS lat_deg,
    u.lon_deg / 10000000::float8 AS lon_deg,
    u.alt_msl_m / 100::float8 AS alt_msl_m,
    u.alt_rel_m / 100::float8 AS alt_rel_m,
    u.vel_north_mps / 100::float8 AS vel_north_mps,
    u.vel_east_mps / 100::float8 AS vel_east_mps,
    u.vel_down_mps / 100::float8 AS vel_down_mps
FROM telemetry_chunks c CROSS JOIN LATERAL unnest(
    c.lat_deg,
    c.lon_deg,
    c.alt_msl_m,
    c.alt_rel_m,
    c.vel_north_mps,
    c.vel_east_mps,
    c.vel_down_mps) WITH ORDINALITY AS u(
    lat_deg, lon_deg, alt_msl_m, alt_rel_m, vel_north_mps, vel_east_mps, vel_down_mps, i);

CREATE VIEW flight_attitude WITH (security_invoker = true) AS
SELECT
    c.org_id, c.session_id, c.aircraft_id,
    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * 100000) * interval '1 microsecond' AS "timestamp",
    u.roll_rad / 10000::float8 AS roll_rad,
    u.pitch_rad / 10000::float8 AS pitch_rad,
    u.yaw_rad / 10000::float8 AS yaw_rad,
    u.roll_rate_radps / 1000::float8 AS roll_rate_radps,
    u.pitch_rate_radps / 1000::float8 AS pitch_rate_radps,
    u.yaw_rate_radps / 1000::float8 AS yaw_rate_radps,
    u.roll_target_rad / 10000::float8 AS roll_target_rad,
    u.pitch_target_rad / 10000::float8 AS pitch_target_rad,
    u.yaw_target_rad / 10000::float8 AS yaw_target_rad
FROM telemetry_chunks c CROSS JOIN LATERAL unnest(
    c.roll_rad,
    c.pitch_rad,
    c.yaw_rad,
    c.roll_rate_radps,
    c.pitch_rate_radps,
    c.yaw_rate_radps,
    c.roll_target_rad,
    c.pitch_target_rad,
    c.yaw_target_rad) WITH ORDINALITY AS u(
    roll_rad, pitch_rad, yaw_rad, roll_rate_radps, pitch_rate_radps, yaw_rate_radps, roll_target_rad, pitch_target_rad, yaw_target_rad, i);

CREATE VIEW flight_motion WITH (security_invoker = true) AS
SELECT
    c.org_id, c.session_id, c.aircraft_id,
    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * 100000) * interval '1 microsecond' AS "timestamp",
    u.acc_x_mps2 / 100::float8 AS acc_x_mps2,
    u.acc_y_mps2 / 100::float8 AS acc_y_mps2,
    u.acc_z_mps2 / 100::float8 AS acc_z_mps2,
    u.vibe_x_mps2 / 100::float8 AS vibe_x_mps2,
    u.vibe_y_mps2 / 100::float8 AS vibe_y_mps2,
    u.vibe_z_mps2 / 100::float8 AS vibe_z_mps2,
    u.clip_count AS clip_count,
    u.mag_x_ut / 20::float8 AS mag_x_ut,
    u.mag_y_ut / 20::float8 AS mag_y_ut,
    u.mag_z_ut / 20::float8 AS mag_z_ut
FROM telemetry_chunks c CROSS JOIN LATERAL unnest(
    c.acc_x_mps2,
    c.acc_y_mps2,
    c.acc_z_mps2,
    c.vibe_x_mps2,
    c.vibe_y_mps2,
    c.vibe_z_mps2,
    c.clip_count,
    c.mag_x_ut,
    c.mag_y_ut,
    c.mag_z_ut) WITH ORDINALITY AS u(
    acc_x_mps2, acc_y_mps2, acc_z_mps2, vibe_x_mps2, vibe_y_mps2, vibe_z_mps2, clip_count, mag_x_ut, mag_y_ut, mag_z_ut, i);

CREATE VIEW flight_air WITH (security_invoker = true) AS
SELECT
    c.org_id, c.session_id, c.aircraft_id,
    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * 100000) * interval '1 microsecond' AS "timestamp",
    u.pressure_pa AS pressure_pa,
    u.airspeed_mps / 100::float8 AS airspeed_mps,
    u.groundspeed_mps / 100::float8 AS groundspeed_mps,
    u.climb_mps / 100::float8 AS climb_mps,
    u.heading_deg / 10::float8 AS heading_deg,
    u.throttle_pct / 10::float8 AS throttle_pct,
    u.wind_speed_mps / 100::float8 AS wind_speed_mps,
    u.wind_from_deg / 10::float8 AS wind_from_deg
FROM telemetry_chunks c CROSS JOIN LATERAL unnest(
    c.pressure_pa,
    c.airspeed_mps,
    c.groundspeed_mps,
    c.climb_mps,
    c.heading_deg,
    c.throttle_pct,
    c.wind_speed_mps,
    c.wind_from_deg) WITH ORDINALITY AS u(
    pressure_pa, airspeed_mps, groundspeed_mps, climb_mps, heading_deg, throttle_pct, wind_speed_mps, wind_from_deg, i);

CREATE VIEW flight_power WITH (security_invoker = true) AS
SELECT
    c.org_id, c.session_id, c.aircraft_id,
    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * 100000) * interval '1 microsecond' AS "timestamp",
    u.battery_v / 100::float8 AS battery_v,
    u.battery_a / 100::float8 AS battery_a,
    u.battery_used_mah AS battery_used_mah,
    u.battery_remaining_pct AS battery_remaining_pct,
    u.board_v / 1000::float8 AS board_v
FROM telemetry_chunks c CROSS JOIN LATERAL unnest(
    c.battery_v,
    c.battery_a,
    c.battery_used_mah,
    c.battery_remaining_pct,
    c.board_v) WITH ORDINALITY AS u(
    battery_v, battery_a, battery_used_mah, battery_remaining_pct, board_v, i);

CREATE VIEW flight_gps WITH (security_invoker = true) AS
SELECT
    c.org_id, c.session_id, c.aircraft_id,
    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * 100000) * interval '1 microsecond' AS "timestamp",
    u.gps_fix AS gps_fix,
    u.gps_satellites AS gps_satellites,
    u.gps_hdop / 100::float8 AS gps_hdop,
    u.gps_alt_msl_m / 100::float8 AS gps_alt_msl_m,
    u.gps_speed_mps / 100::float8 AS gps_speed_mps
FROM telemetry_chunks c CROSS JOIN LATERAL unnest(
    c.gps_fix,
    c.gps_satellites,
    c.gps_hdop,
    c.gps_alt_msl_m,
    c.gps_speed_mps) WITH ORDINALITY AS u(
    gps_fix, gps_satellites, gps_hdop, gps_alt_msl_m, gps_speed_mps, i);

CREATE VIEW flight_estimator WITH (security_invoker = true) AS
SELECT
    c.org_id, c.session_id, c.aircraft_id,
    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * 100000) * interval '1 microsecond' AS "timestamp",
    u.ekf_velocity_ratio / 1000::float8 AS ekf_velocity_ratio,
    u.ekf_position_ratio / 1000::float8 AS ekf_position_ratio,
    u.ekf_height_ratio / 1000::float8 AS ekf_height_ratio,
    u.ekf_compass_ratio / 1000::float8 AS ekf_compass_ratio,
    u.ekf_flags AS ekf_flags
FROM telemetry_chunks c CROSS JOIN LATERAL unnest(
    c.ekf_velocity_ratio,
    c.ekf_position_ratio,
    c.ekf_height_ratio,
    c.ekf_compass_ratio,
    c.ekf_flags) WITH ORDINALITY AS u(
    ekf_velocity_ratio, ekf_position_ratio, ekf_height_ratio, ekf_compass_ratio, ekf_flags, i);

CREATE VIEW flight_motors WITH (security_invoker = true) AS
SELECT
    c.org_id, c.session_id, c.aircraft_id,
    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * 100000) * interval '1 microsecond' AS "timestamp",
    ARRAY[u.motor_output_us_1, u.motor_output_us_2, u.motor_output_us_3, u.motor_output_us_4, u.motor_output_us_5, u.motor_output_us_6, u.motor_output_us_7, u.motor_output_us_8, u.motor_output_us_9, u.motor_output_us_10, u.motor_output_us_11, u.motor_output_us_12, u.motor_output_us_13, u.motor_output_us_14, u.motor_output_us_15, u.motor_output_us_16] AS motor_output_us,
    ARRAY[u.motor_rpm_1, u.motor_rpm_2, u.motor_rpm_3, u.motor_rpm_4, u.motor_rpm_5, u.motor_rpm_6, u.motor_rpm_7, u.motor_rpm_8] AS motor_rpm
FROM telemetry_chunks c CROSS JOIN LATERAL unnest(
    c.motor_output_us[0 * c.n + 1:1 * c.n],
    c.motor_output_us[1 * c.n + 1:2 * c.n],
    c.motor_output_us[2 * c.n + 1:3 * c.n],
    c.motor_output_us[3 * c.n + 1:4 * c.n],
    c.motor_output_us[4 * c.n + 1:5 * c.n],
    c.motor_output_us[5 * c.n + 1:6 * c.n],
    c.motor_output_us[6 * c.n + 1:7 * c.n],
    c.motor_output_us[7 * c.n + 1:8 * c.n],
    c.motor_output_us[8 * c.n + 1:9 * c.n],
    c.motor_output_us[9 * c.n + 1:10 * c.n],
    c.motor_output_us[10 * c.n + 1:11 * c.n],
    c.motor_output_us[11 * c.n + 1:12 * c.n],
    c.motor_output_us[12 * c.n + 1:13 * c.n],
    c.motor_output_us[13 * c.n + 1:14 * c.n],
    c.motor_output_us[14 * c.n + 1:15 * c.n],
    c.motor_output_us[15 * c.n + 1:16 * c.n],
    c.motor_rpm[0 * c.n + 1:1 * c.n],
    c.motor_rpm[1 * c.n + 1:2 * c.n],
    c.motor_rpm[2 * c.n + 1:3 * c.n],
    c.motor_rpm[3 * c.n + 1:4 * c.n],
    c.motor_rpm[4 * c.n + 1:5 * c.n],
    c.motor_rpm[5 * c.n + 1:6 * c.n],
    c.motor_rpm[6 * c.n + 1:7 * c.n],
    c.motor_rpm[7 * c.n + 1:8 * c.n]) WITH ORDINALITY AS u(
    motor_output_us_1, motor_output_us_2, motor_output_us_3, motor_output_us_4, motor_output_us_5, motor_output_us_6, motor_output_us_7, motor_output_us_8, motor_output_us_9, motor_output_us_10, motor_output_us_11, motor_output_us_12, motor_output_us_13, motor_output_us_14, motor_output_us_15, motor_output_us_16, motor_rpm_1, motor_rpm_2, motor_rpm_3, motor_rpm_4, motor_rpm_5, motor_rpm_6, motor_rpm_7, motor_rpm_8, i);

CREATE VIEW flight_nav WITH (security_invoker = true) AS
SELECT
    c.org_id, c.session_id, c.aircraft_id,
    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * 100000) * interval '1 microsecond' AS "timestamp",
    u.xtrack_error_m / 100::float8 AS xtrack_error_m,
    u.alt_error_m / 100::float8 AS alt_error_m,
    u.waypoint_distance_m AS waypoint_distance_m,
    u.mission_seq AS mission_seq
FROM telemetry_chunks c CROSS JOIN LATERAL unnest(
    c.xtrack_error_m,
    c.alt_error_m,
    c.waypoint_distance_m,
    c.mission_seq) WITH ORDINALITY AS u(
    xtrack_error_m, alt_error_m, waypoint_distance_m, mission_seq, i);

CREATE VIEW flight_state WITH (security_invoker = true) AS
SELECT
    c.org_id, c.session_id, c.aircraft_id,
    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * 100000) * interval '1 microsecond' AS "timestamp",
    u.armed AS armed,
    u.flight_mode AS flight_mode,
    u.landed_state AS landed_state,
    u.sensors_health AS sensors_health,
    u.cpu_load_pct / 10::float8 AS cpu_load_pct
FROM telemetry_chunks c CROSS JOIN LATERAL unnest(
    c.armed,
    c.flight_mode,
    c.landed_state,
    c.sensors_health,
    c.cpu_load_pct) WITH ORDINALITY AS u(
    armed, flight_mode, landed_state, sensors_health, cpu_load_pct, i);

CREATE VIEW flight_link WITH (security_invoker = true) AS
SELECT
    c.org_id, c.session_id, c.aircraft_id,
    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * 100000) * interval '1 microsecond' AS "timestamp",
    u.rc_rssi_pct / 2::float8 AS rc_rssi_pct,
    ARRAY[u.rc_input_us_1, u.rc_input_us_2, u.rc_input_us_3, u.rc_input_us_4, u.rc_input_us_5, u.rc_input_us_6, u.rc_input_us_7, u.rc_input_us_8] AS rc_input_us
FROM telemetry_chunks c CROSS JOIN LATERAL unnest(
    c.rc_rssi_pct,
    c.rc_input_us[0 * c.n + 1:1 * c.n],
    c.rc_input_us[1 * c.n + 1:2 * c.n],
    c.rc_input_us[2 * c.n + 1:3 * c.n],
    c.rc_input_us[3 * c.n + 1:4 * c.n],
    c.rc_input_us[4 * c.n + 1:5 * c.n],
    c.rc_input_us[5 * c.n + 1:6 * c.n],
    c.rc_input_us[6 * c.n + 1:7 * c.n],
    c.rc_input_us[7 * c.n + 1:8 * c.n]) WITH ORDINALITY AS u(
    rc_rssi_pct, rc_input_us_1, rc_input_us_2, rc_input_us_3, rc_input_us_4, rc_input_us_5, rc_input_us_6, rc_input_us_7, rc_input_us_8, i);

GRANT SELECT ON flight_telemetry, flight_position, flight_attitude, flight_motion, flight_air, flight_power, flight_gps, flight_estimator, flight_motors, flight_nav, flight_state, flight_link TO dbx_api, dbx_worker, dbx_auditor;

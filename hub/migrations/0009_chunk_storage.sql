-- A chunk of a live batch (20 rows, 4 to 5 kB) was cut into dozens of TOAST values, each tried for compression, to get its row
-- below 2 kB. With rows of up to half a page, inserting one takes less than half the processor time and no more disk; settled chunks
-- stay as large as they are. The same holds for the envelopes of live batches (2 to 3 kB).

ALTER TABLE batch_envelopes SET (toast_tuple_target = 4080);

DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'telemetry_chunks'::regclass LOOP
        EXECUTE format('ALTER TABLE %s SET (toast_tuple_target = 4080)', part);
    END LOOP;
END $$;

-- As in 0005, with that setting.
CREATE OR REPLACE FUNCTION create_telemetry_day(day date) RETURNS boolean
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
    EXECUTE format('CREATE TABLE public.%I (LIKE telemetry_chunks INCLUDING DEFAULTS INCLUDING CONSTRAINTS)'
                   ' WITH (toast_tuple_target = 4080)', name);
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

"""What a process that was taken over can do to the evidence and to the keys: nothing beyond its own work."""

import psycopg
import pytest

from hub.migrate import LOGIN_ROLES
from hub.store.tenant import tenant
from tests.fix_hub_database import HubDatabase

EVIDENCE = {
    "ingest_batches": {"derived"},
    "batch_envelopes": set(),
    "gaps": set(),
    "audit_log": set(),
    "device_keys": {"revoked_at", "revoked_reason"},
    "enrollment_codes": {"used_at", "used_by_key"},
    "api_keys": {"revoked_at", "last_used_at"},
}
"""Table -> columns that some login role may change. None may delete."""


@pytest.mark.parametrize("role", LOGIN_ROLES)
@pytest.mark.parametrize("table", EVIDENCE)
def test_no_process_may_change_evidence_or_swap_a_key(hub_database: HubDatabase, role: str, table: str) -> None:
    with hub_database.connect() as conn:
        rows = conn.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
            " AND has_column_privilege(%s, attrelid, attname, 'UPDATE')",
            (table, role),
        ).fetchall()
        deletes = conn.execute("SELECT has_table_privilege(%s, %s, 'DELETE, TRUNCATE')", (role, table)).fetchone()
    assert {name for (name,) in rows} <= EVIDENCE[table]
    assert deletes == (False,)


@pytest.mark.parametrize("role", [r for r in LOGIN_ROLES if r != "dbx_api"])
@pytest.mark.parametrize("column", ["api_keys.key_digest", "enrollment_codes.code_digest"])
def test_only_the_api_reads_digests_of_secrets(hub_database: HubDatabase, role: str, column: str) -> None:
    table, name = column.split(".")
    with hub_database.connect() as conn:
        asked = conn.execute("SELECT has_column_privilege(%s, %s, %s, 'SELECT')", (role, table, name)).fetchone()
    assert asked == (False,)


@pytest.mark.parametrize("role", LOGIN_ROLES)
@pytest.mark.parametrize(
    "attempt",
    [
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT rolpassword FROM pg_authid",
        "CREATE TABLE mine (a int)",
        "SET ROLE dbx_owner",
        "ALTER TABLE audit_log DISABLE TRIGGER ALL",
    ],
)
def test_no_process_reaches_beyond_its_tables(hub_database: HubDatabase, role: str, attempt: str) -> None:
    org = hub_database.new_organisation("Ours")
    with hub_database.connect(role) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege), tenant(conn, org):
        conn.execute(attempt)  # type: ignore[call-overload]


def test_a_temporary_table_does_not_catch_what_belongs_into_the_audit_log(hub_database: HubDatabase) -> None:
    org = hub_database.new_organisation("Ours")
    with hub_database.connect() as conn:  # as on a server whose administrator left temporary tables to everybody
        conn.execute(
            "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$"
        )
    with hub_database.connect("dbx_api") as conn:
        conn.execute("CREATE TEMP TABLE audit_log AS SELECT * FROM public.audit_log")
        conn.execute("CREATE TEMP TABLE audit_heads (org_id uuid PRIMARY KEY, audit_no bigint, digest bytea)")
        conn.execute("GRANT ALL ON pg_temp.audit_log, pg_temp.audit_heads TO PUBLIC")
        with tenant(conn, org, "thief"):
            conn.execute("UPDATE organizations SET name = 'stolen'")
        caught = conn.execute("SELECT count(*) FROM pg_temp.audit_log").fetchone()
    assert caught == (0,)


def test_functions_with_rights_of_their_own_look_for_temporary_tables_last(hub_database: HubDatabase) -> None:
    with hub_database.connect() as conn:
        rows = conn.execute(
            "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
            " AND NOT coalesce(proconfig @> ARRAY['search_path=pg_catalog, public, pg_temp'], false)"
        ).fetchall()
    assert rows == []

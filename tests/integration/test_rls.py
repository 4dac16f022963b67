"""The tenant wall, as the application's own roles, on every tenant table that the catalogue knows."""

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from hub.migrate import LOGIN_ROLES
from hub.store.channel_sql import views
from hub.store.tenant import tenant
from tests.fix_hub_database import HubDatabase

ID, BYTES16, BYTES32 = uuid.UUID(int=7), bytes(16), bytes(32)
TIMES = {"covers_from_us": 0, "covers_to_us": 1}
SPAN = {"start_us": 0, "end_us": 1, "start_utc_us": 0, "end_utc_us": 1}
# One valid row per tenant table (org_id is added); foreign keys are not looked at when the samples are written.
SAMPLES: dict[str, dict[str, Any]] = {
    "organizations": {"name": "x"},
    "aircraft_registry": {"aircraft_id": ID, "name": "x"},
    "device_keys": {"key_id": BYTES16, "device_id": ID, "aircraft_id": ID, "public_key": BYTES32},
    "enrollment_codes": {"code_digest": BYTES32, "aircraft_id": ID, "expires_at": "2030-01-01"},
    "api_keys": {"key_id": ID, "name": "x", "role": "viewer", "key_digest": BYTES32},
    "api_requests": {"request_id": ID, "method": "GET", "route": "/", "status": 200, "duration_us": 1},
    "audit_log": {
        "audit_no": 1, "at": "2026-01-01", "actor": "x", "database_role": "x", "action": "INSERT", "table_name": "x",
        "prev_digest": BYTES32, "digest": BYTES32,
    },
    "audit_heads": {"audit_no": 1, "digest": BYTES32},
    "streams": {"stream_id": ID, "aircraft_id": ID, "key_id": BYTES16, "newest_seq": 1, "newest_boot": ID},
    "ingest_batches": TIMES | {
        "stream_id": ID, "seq": 1, "aircraft_id": ID, "boot_id": ID, "session_id": ID, "digest": BYTES32,
        "prev_digest": BYTES32, "frames": 1, "frame_bytes": 1, "envelope_bytes": 1, "lane": 1, "clock_source": 0,
    },
    "batch_envelopes": {"stream_id": ID, "seq": 1, "envelope": b"x"},
    "gaps": {
        "record_stream_id": ID, "record_seq": 1, "record_no": 0, "aircraft_id": ID, "stream_id": ID, "reason": "evicted"
    },
    "quarantine": {"quarantine_id": ID, "reason": "x", "digest": BYTES32, "size_bytes": 1},
    "aircraft_state": {"aircraft_id": ID, "stream_id": ID, "boot_id": ID, "at_utc_us": 1},
    "flight_sessions": {
        "session_id": ID, "aircraft_id": ID, "stream_id": ID, "boot_id": ID, "started_utc_us": 0, "ended_utc_us": 1
    },
    "flight_events": {
        "stream_id": ID, "seq": 1, "event_no": 0, "aircraft_id": ID, "session_id": ID, "at_utc_us": 0, "at_us": 0,
        "kind": "armed", "severity": "info",
    },
    "findings": SPAN | {
        "finding_id": ID, "aircraft_id": ID, "source": "hub", "kind": "x", "severity": "info", "score": 1,
        "threshold": 1, "model": "x", "feature_version": 1,
    },
    "ml_analysis_results": {
        "analysis_id": ID, "session_id": ID, "aircraft_id": ID, "detected_aircraft_type": "x", "aircraft_confidence": 0,
        "anomaly_detected": False, "risk_score": 0, "risk_level": "LOW", "model_version": "1", "feature_version": 1,
        "data_version": "1",
    },
    "alert_rules": {"rule_id": ID, "name": "x", "min_severity": "info"},
    "alerts": {"alert_id": ID, "dedupe_key": "x", "kind": "x", "severity": "info", "text": "x"},
    "directives": {"aircraft_id": ID, "version": 1, "kind": "hold", "body": "{}", "envelope": b"x"},
    "jobs": {"job_id": ID, "kind": "settle", "subject_id": ID},
    "aircraft_hardware": {"hardware_id": "px4:1", "aircraft_id": ID, "learned_from": "stream"},
    "logs": {"sha256": BYTES32, "log_id": ID},
    "log_deliveries": {
        "stream_id": ID, "seq": 1, "record_no": 0, "sha256": BYTES32, "importer_id": ID, "size_bytes": 1,
        "packed_bytes": 1, "packed_sha256": BYTES32, "format": "tlog", "name": "x", "origin": "card",
        "imported_utc_us": 1, "hardware_ids": [],
    },
    "log_parts": {
        "stream_id": ID, "seq": 1, "record_no": 0, "sha256": BYTES32, "part_offset": 0, "size_bytes": 1
    },
    "log_sessions": {
        "sha256": BYTES32, "session_no": 0, "start_utc_us": 0, "end_utc_us": 1, "clock_source": 3,
        "clock_uncertainty_us": 0, "grid_rows": 1, "inferred": False,
    },
    "flight_logs": {"session_id": ID, "sha256": BYTES32, "session_no": 0, "method": "boot", "offset_us": 0},
    "flight_sources": {
        "session_id": ID, "source_no": 0, "kind": "live", "channels": ["lat_deg"], "from_utc_us": 0, "to_utc_us": 1,
        "grid_rows": 1,
    },
    "model_bundles": {"digest": BYTES32, "name": "x", "feature_version": 1, "bundle": b"x"},
    "model_releases": {"release_id": ID, "digest": BYTES32, "stage": "fleet", "released_by": "x"},
    "model_release_aircraft": {"release_id": ID, "aircraft_id": ID, "directive_version": 1},
    "model_reports": {
        "stream_id": ID, "seq": 1, "record_no": 0, "aircraft_id": ID, "number": 1, "at_utc_us": 0, "stage": "fleet",
        "active": "x", "active_digest": BYTES32, "other": "", "flown_s": 0, "agreed_s": 0, "active_findings": 0,
        "other_findings": 0, "detail": "",
    },
    "flight_rollups": {
        "session_id": ID, "aircraft_id": ID, "started_utc_us": 0, "armed_s": 1, "flying_s": 1, "arm_cycles": 1
    },
    "maintenance_trends": {
        "aircraft_id": ID, "quantity": "x", "flights": 8, "baseline": 1, "spread": 0, "latest": 1
    },
    "maintenance_components": {"component_id": ID, "kind": "motor", "name": "x"},
    "maintenance_installations": {
        "installation_id": ID, "component_id": ID, "kind": "motor", "aircraft_id": ID, "installed_utc_us": 0
    },
    "maintenance_limits": {"kind": "motor", "quantity": "hours", "most": 1},
    "flight_batteries": {"session_id": ID, "component_id": ID},
    "work_orders": {
        "work_order_id": ID, "aircraft_id": ID, "title": "x", "priority": "LOW", "created_by": "x"
    },
    "work_order_signatures": {
        "work_order_id": ID, "signature_no": 1, "state": "done", "signed_by": "x", "key_id": ID
    },
    "finding_feedback": {
        "feedback_id": ID, "finding_id": ID, "aircraft_id": ID, "source": "hub", "found_kind": "x", "start_us": 0,
        "end_us": 1, "verdict": "confirmed", "key_id": ID,
    },
    "finding_vectors": {
        "session_id": ID, "start_us": 0, "end_us": 1, "feature_version": 2, "aircraft_class": "copter", "features": 1,
        "vectors": bytes(4),
    },
    "telemetry_chunks": {
        "session_id": ID, "t0_utc_us": 0, "t1_utc_us": 0, "aircraft_id": ID, "n": 1, "settled": False, "armed": [1],
        "motor_rpm": [3000],
    },
}  # fmt: skip
MAINTENANCE_VIEWS = ("maintenance_limits_now", "component_flights", "component_usage", "current_feedback")
VIEWS = (*views(), "active_flights", "system_health", *MAINTENANCE_VIEWS)
Connection = psycopg.Connection[tuple[Any, ...]]


def insert(conn: Connection, table: str, org_id: uuid.UUID) -> None:
    row = {"org_id": org_id} | SAMPLES[table]
    columns = sql.SQL(", ").join(map(sql.Identifier, row))
    values = sql.SQL(", ").join(sql.Placeholder() * len(row))
    text = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), columns, values)
    conn.execute(text, [*row.values()])


def count(conn: Connection, table: str) -> int:
    row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
    assert row
    return int(row[0])


def may(conn: Connection, role: str, table: str, privilege: str) -> list[str]:
    """The columns for which a role has a privilege; for DELETE all or none."""
    question = (
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('public.' || %(table)s) AND attnum > 0"
        " AND NOT attisdropped AND CASE WHEN %(p)s IN ('DELETE', 'TRUNCATE')"
        " THEN has_table_privilege(%(role)s, attrelid, %(p)s)"
        " ELSE has_column_privilege(%(role)s, attrelid, attname, %(p)s) END"
    )
    return [name for (name,) in conn.execute(question, {"table": table, "role": role, "p": privilege})]


def tables(database: HubDatabase, role: str, privilege: str) -> dict[str, list[str]]:
    """The tenant tables on which a role has a privilege, with its columns."""
    with database.connect() as admin:
        found = {table: may(admin, role, table, privilege) for table in SAMPLES}
    return {table: columns for table, columns in found.items() if columns}


@pytest.fixture(scope="module")
def two(postgres_server: Any, hub_template: str) -> Iterator[tuple[HubDatabase, uuid.UUID, uuid.UUID]]:
    """A database in which two organisations have one row in each tenant table (unique columns differ by rule below)."""
    from tests.fix_postgres import drop_database, make_database

    database = HubDatabase(make_database(postgres_server, hub_template))
    ours, theirs = uuid.uuid4(), uuid.uuid4()
    with database.connect() as admin:
        admin.execute("SET session_replication_role = replica")
        for table in SAMPLES:
            insert(admin, table, ours)
        admin.execute("ALTER TABLE device_keys DROP CONSTRAINT device_keys_key_id_key")
        admin.execute("ALTER TABLE enrollment_codes DROP CONSTRAINT enrollment_codes_code_digest_key")
        admin.execute("ALTER TABLE api_keys DROP CONSTRAINT api_keys_key_digest_key")
        for table in SAMPLES:
            insert(admin, table, theirs)
    yield database, ours, theirs
    drop_database(database.database)


def test_the_samples_cover_every_table_that_has_an_organisation(hub_database: HubDatabase) -> None:
    with hub_database.connect() as admin:
        rows = admin.execute(
            "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, EXISTS (SELECT FROM pg_policy p"
            " WHERE p.polrelid = c.oid AND p.polname = 'org_isolation_policy' AND p.polcmd = '*') FROM pg_class c"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND c.relname <> 'schema_migrations'"
        ).fetchall()
    assert {r[0] for r in rows} == set(SAMPLES)
    assert all(r[1] and r[2] and r[3] for r in rows), "a tenant table without forced row-level security"


def test_every_tenant_key_begins_with_the_organisation(hub_database: HubDatabase) -> None:
    with hub_database.connect() as admin:
        rows = admin.execute(
            "SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint c JOIN pg_attribute a"
            " ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
            " WHERE c.contype = 'p' AND c.connamespace = 'public'::regnamespace"
        ).fetchall()
    assert {t for t, column in rows if column != "org_id"} == {"schema_migrations"}


def test_no_application_role_owns_bypasses_or_becomes_anything(hub_database: HubDatabase) -> None:
    with hub_database.connect() as admin:
        roles = admin.execute(
            "SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication FROM pg_roles"
            " WHERE rolname LIKE 'dbx%'"
        ).fetchall()
        owners = admin.execute(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
        members = admin.execute(
            "SELECT pg_get_userbyid(member) FROM pg_auth_members WHERE pg_get_userbyid(roleid) LIKE 'dbx%'"
        ).fetchall()
    assert dict(roles) == dict.fromkeys([*LOGIN_ROLES, "dbx_owner", "dbx_directory"], False)
    assert owners == [("dbx_owner",)]
    assert not {m for (m,) in members} & set(LOGIN_ROLES)


def test_partitions_are_closed_to_application_roles(hub_database: HubDatabase) -> None:
    with hub_database.connect("dbx_worker") as worker:
        assert worker.execute("SELECT create_telemetry_day(current_date)").fetchone() == (True,)
    with hub_database.connect() as admin:
        partitions = [
            name for (name,) in admin.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
        ]
        assert len(partitions) == 2
        open_to = [
            (r, p) for r in LOGIN_ROLES for p in partitions
            for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE") if may(admin, r, p, privilege)
        ]  # fmt: skip
    assert open_to == []


def test_views_run_with_the_rights_of_who_asks(hub_database: HubDatabase) -> None:
    with hub_database.connect() as admin:
        rows = admin.execute(
            "SELECT relname, reloptions FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert {name for name, _ in rows} == set(VIEWS)
    assert all(options == ["security_invoker=true"] for _, options in rows)


@pytest.mark.parametrize("role", LOGIN_ROLES)
def test_only_the_right_organisation_sees_its_rows(two: Any, role: str) -> None:
    database, ours, theirs = two
    readable = tables(database, role, "SELECT")
    assert readable
    with database.connect(role) as conn:
        for table in readable:
            assert count(conn, table) == 0, f"{table} without an organisation"
            for org_id in (ours, theirs):
                with tenant(conn, org_id):
                    found = conn.execute(sql.SQL("SELECT org_id FROM {}").format(sql.Identifier(table))).fetchall()
                    assert found == [(org_id,)], table
            assert count(conn, table) == 0, f"{table} just after a tenant transaction"
            with tenant(conn, uuid.uuid4()):
                assert count(conn, table) == 0, f"{table} as an organisation without rows"


@pytest.mark.parametrize("role", ["dbx_api", "dbx_worker", "dbx_auditor"])
@pytest.mark.parametrize("view", VIEWS)
def test_views_show_only_the_right_organisation(two: Any, role: str, view: str) -> None:
    database, ours, _ = two
    with database.connect(role) as conn:
        try:
            assert count(conn, view) == 0, "without an organisation"
        except psycopg.errors.InsufficientPrivilege:
            assert role == "dbx_auditor" and view in ("active_flights", "system_health")
            return
        with tenant(conn, ours):
            shown = conn.execute(sql.SQL("SELECT DISTINCT org_id FROM {}").format(sql.Identifier(view))).fetchall()
        assert {org for (org,) in shown} <= {ours}
        assert shown or view not in (
            "flight_telemetry",
            "flight_motors",
            "flight_state",
            "active_flights",
            "system_health",
        )
        assert count(conn, view) == 0, "just after a tenant transaction"


@pytest.mark.parametrize("role", LOGIN_ROLES)
def test_nobody_writes_a_row_of_another_organisation(two: Any, role: str) -> None:
    database, ours, theirs = two
    refused = pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security")
    with database.connect(role) as conn:
        for table in tables(database, role, "INSERT"):
            with refused:
                insert(conn, table, ours)  # without an organisation
            with refused, tenant(conn, theirs):
                insert(conn, table, ours)
            with tenant(conn, theirs):
                pass
            with refused:
                insert(conn, table, theirs)  # just after that organisation's transaction


@pytest.mark.parametrize("role", LOGIN_ROLES)
@pytest.mark.parametrize("privilege", ["UPDATE", "DELETE"])
def test_nobody_changes_or_deletes_a_row_of_another_organisation(two: Any, role: str, privilege: str) -> None:
    database, ours, theirs = two
    with database.connect(role) as conn:
        for table, columns in tables(database, role, privilege).items():
            change = sql.SQL(
                "UPDATE {0} SET {1} = {1} WHERE org_id = %s"
                if privilege == "UPDATE"
                else "DELETE FROM {0} WHERE org_id = %s"
            )
            statement = change.format(sql.Identifier(table), sql.Identifier(columns[-1]))
            assert conn.execute(statement, (ours,)).rowcount == 0, f"{table} without an organisation"
            with tenant(conn, theirs):
                assert conn.execute(statement, (ours,)).rowcount == 0, f"{table} as another one"
            assert conn.execute(statement, (theirs,)).rowcount == 0, f"{table} just after"


@pytest.mark.parametrize("role", LOGIN_ROLES)
def test_the_audit_log_can_neither_be_changed_nor_written_by_hand(two: Any, role: str) -> None:
    database, _, _ = two
    with database.connect() as admin:
        rights = [p for p in ("INSERT", "UPDATE", "DELETE", "TRUNCATE") if may(admin, role, "audit_log", p)]
    assert rights == []


def test_a_tenant_transaction_inside_another_is_refused(hub_database: HubDatabase) -> None:
    with (
        hub_database.connect("dbx_api") as conn,
        conn.transaction(),
        pytest.raises(RuntimeError, match="inside another"),
        tenant(conn, uuid.uuid4()),
    ):
        pass

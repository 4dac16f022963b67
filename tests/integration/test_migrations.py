"""Migrations: the same text gives the same schema, and a database that does not fit is refused."""

from pathlib import Path

import psycopg
import pytest

from hub.migrate import FOLDER, SchemaError, check, check_history, migrate, migrations
from hub.store.channel_sql import views
from shared.channels import CHANNELS
from tests.fix_hub_database import PASSWORDS, HubDatabase
from tests.fix_postgres import Database

SCHEMA = """
SELECT 'column', table_name || '.' || column_name, data_type || udt_name || is_nullable || coalesce(column_default, '')
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public'
UNION ALL SELECT 'function', proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'policy', tablename || '.' || policyname, coalesce(qual, '') || roles::text FROM pg_policies
UNION ALL SELECT 'grant', relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
ORDER BY 1, 2, 3
"""


def test_a_fresh_database_gets_the_same_schema_every_time(postgres: Database, hub_database: HubDatabase) -> None:
    applied = migrate(postgres.url(), PASSWORDS)
    assert applied == [m.name for m in migrations()]
    with psycopg.connect(postgres.url()) as one, hub_database.connect() as other:
        assert one.execute(SCHEMA).fetchall() == other.execute(SCHEMA).fetchall()


def test_a_migrated_database_is_left_alone(hub_database: HubDatabase) -> None:
    assert migrate(hub_database.url(), {}) == []
    with hub_database.connect("dbx_api") as api:
        check(api)


def test_an_empty_database_is_refused_with_what_to_do(postgres: Database) -> None:
    with psycopg.connect(postgres.url()) as conn, pytest.raises(SchemaError, match="dbx hub migrate"):
        check(conn)


def test_a_newer_database_is_refused(hub_database: HubDatabase) -> None:
    with hub_database.connect() as admin:
        admin.execute("INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, 'x', 'x')")
        with pytest.raises(SchemaError, match="newer version"):
            check(admin)
    with pytest.raises(SchemaError, match="newer version"):
        migrate(hub_database.url(), {})


def test_a_changed_migration_is_refused() -> None:
    wanted = migrations()
    with pytest.raises(SchemaError, match=wanted[0].name):
        check_history(wanted, {1: "another text's checksum"})


def test_a_failing_migration_leaves_nothing_behind(hub_database: HubDatabase, tmp_path: Path) -> None:
    for path in FOLDER.glob("*.sql"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / f"{len(migrations()) + 1:04}_broken.sql").write_text("CREATE TABLE half (x int); SELECT 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(hub_database.url(), {}, tmp_path)
    with hub_database.connect() as admin:
        assert admin.execute("SELECT to_regclass('half')").fetchone() == (None,)
        check(admin)


def test_migration_numbers_have_no_holes(tmp_path: Path) -> None:
    (tmp_path / "0002_late.sql").write_text("SELECT 1")
    with pytest.raises(SchemaError, match="without holes"):
        migrations(tmp_path)


def test_chunks_and_views_have_the_registrys_channels(hub_database: HubDatabase) -> None:
    query = (
        "SELECT column_name, udt_name FROM information_schema.columns WHERE table_name = %s"
        " AND table_schema = 'public' ORDER BY ordinal_position"
    )
    arrays = {"int16": "_int2", "int32": "_int4", "int64": "_int8"}
    with hub_database.connect() as admin:
        columns = dict(admin.execute(query, ("telemetry_chunks",)).fetchall())
        wanted = {c.name: arrays[c.dtype] for c in CHANNELS}
        assert {k: v for k, v in columns.items() if v.startswith("_")} == wanted
        for name, channels in views().items():
            shown = [column for column, _ in admin.execute(query, (name,)).fetchall()]
            assert shown == ["org_id", "session_id", "aircraft_id", "timestamp", *(c.name for c in channels)]

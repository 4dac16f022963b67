"""What may be looked up before the organisation is known, and that it is no more than that."""

import datetime as dt
import uuid

import psycopg
import pytest

from hub.store.tenant import HUB_ORG, tenant
from tests.fix_hub_database import HubDatabase

TODAY = dt.datetime.now(dt.UTC).date()


def test_a_device_key_is_found_with_its_organisation(hub_database: HubDatabase) -> None:
    org_id = hub_database.new_organisation()
    aircraft_id = hub_database.new_aircraft(org_id)
    with hub_database.connect("dbx_api") as api, tenant(api, org_id):
        api.execute(
            "INSERT INTO device_keys (org_id, key_id, device_id, aircraft_id, public_key) VALUES (%s, %s, %s, %s, %s)",
            (org_id, b"k" * 16, uuid.uuid4(), aircraft_id, b"p" * 32),
        )
    with hub_database.connect("dbx_ingest") as ingest:
        found = ingest.execute("SELECT * FROM find_device_keys(%s)", ([b"k" * 16, b"q" * 16],)).fetchall()
    assert found == [(b"k" * 16, org_id, aircraft_id, b"p" * 32, None)]


def test_an_api_key_is_found_by_its_digest_until_it_is_revoked(hub_database: HubDatabase) -> None:
    org_id, key_id = hub_database.new_organisation(), uuid.uuid4()
    find = "SELECT org_id, key_id, role FROM find_api_key(encrypt_api_key('dbx_secret'))"
    with hub_database.connect("dbx_api") as api:
        with tenant(api, org_id):
            api.execute(
                "INSERT INTO api_keys (org_id, key_id, name, role, key_digest)"
                " VALUES (%s, %s, 'x', 'viewer', encrypt_api_key('dbx_secret'))",
                (org_id, key_id),
            )
        assert api.execute(find).fetchall() == [(org_id, key_id, "viewer")]
        with tenant(api, org_id):
            api.execute("UPDATE api_keys SET revoked_at = now() WHERE org_id = %s", (org_id,))
        assert api.execute(find).fetchall() == []


@pytest.mark.parametrize("role", ["dbx_worker", "dbx_auditor"])
def test_roles_that_need_no_look_up_may_not_use_it(hub_database: HubDatabase, role: str) -> None:
    with hub_database.connect(role) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("SELECT * FROM find_device_keys(%s)", ([b"k" * 16],))


def test_the_hub_has_an_organisation_of_its_own(hub_database: HubDatabase) -> None:
    with hub_database.connect("dbx_ingest") as ingest:
        assert ingest.execute("SELECT organisation_exists(%s)", (HUB_ORG,)).fetchone() == (True,)
        assert ingest.execute("SELECT organisation_exists(%s)", (uuid.uuid4(),)).fetchone() == (False,)


def test_a_day_gets_its_partition_once_and_takes_its_rows_along(hub_database: HubDatabase) -> None:
    org_id, noon_us = uuid.uuid4(), int(dt.datetime.combine(TODAY, dt.time(12), dt.UTC).timestamp()) * 1_000_000
    with hub_database.connect() as admin:
        admin.execute("SET session_replication_role = replica")
        admin.execute(
            "INSERT INTO flight_sessions (org_id, session_id, aircraft_id, stream_id, boot_id,"
            " started_utc_us, ended_utc_us)"
            " VALUES (%s, %s, %s, %s, %s, 0, 0)",
            [org_id] * 5,
        )
        for t0 in (noon_us, 5_000_000):
            admin.execute(
                "INSERT INTO telemetry_chunks (org_id, session_id, t0_utc_us, t1_utc_us, aircraft_id, n, settled)"
                " VALUES (%s, %s, %s, %s, %s, 1, false)",
                (org_id, org_id, t0, t0, org_id),
            )
    with hub_database.connect("dbx_worker") as worker:
        assert worker.execute("SELECT create_telemetry_day(%s)", (TODAY,)).fetchone() == (True,)
        assert worker.execute("SELECT create_telemetry_day(%s)", (TODAY,)).fetchone() == (False,)
        assert worker.execute("SELECT create_telemetry_day('1970-01-01')").fetchone() == (False,)
        with tenant(worker, org_id):
            assert worker.execute("SELECT count(*) FROM telemetry_chunks").fetchone() == (2,)
    with hub_database.connect() as admin:
        assert admin.execute("SELECT count(*) FROM telemetry_chunks_default").fetchone() == (1,)

"""A hub's data folder: made once, opened by many, and its database and broker found."""

import json
import stat
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from hub.installation import Enrolling, Installation
from hub.migrate import migrate
from hub.settings import HubSettings
from tests.fix_broker import certificate_request, connect
from tests.fix_hub_database import PASSWORDS
from tests.fix_postgres import Database


def test_processes_that_open_it_at_once_share_every_secret(tmp_path: Path) -> None:
    settings = HubSettings(data_dir=tmp_path / "data")

    def secrets(_: int) -> tuple[bytes, bytes, str, str]:
        opened = Installation(settings)
        key = opened.hub_key.private_bytes_raw()
        return key, opened.pepper, str(opened.role_passwords), opened.authority.ca_pem

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(secrets, range(4)))) == 1
    for name in ("hub.key", "pepper", "roles.json"):
        assert stat.S_IMODE((settings.data_dir / "secrets" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((settings.data_dir / "secrets").stat().st_mode) == 0o700


def test_the_roles_of_a_database_of_ones_own_can_log_in(tmp_path: Path, postgres: Database) -> None:
    installation = Installation(HubSettings(data_dir=tmp_path, database_url=postgres.url()))
    (installation.secrets / "roles.json").write_text(
        json.dumps(PASSWORDS)
    )  # roles are the server's: shared by all tests
    migrate(installation.admin_url(), installation.role_passwords)
    with psycopg.connect(installation.database_url("dbx_api")) as connection:
        assert connection.execute("SELECT current_user::text, current_database()").fetchone() == (
            "dbx_api",
            postgres.name,
        )


def test_an_aircraft_that_enrols_is_let_in_at_the_running_broker(broker_folder: Path) -> None:
    installation = Installation(HubSettings(data_dir=broker_folder))
    assert installation.embedded_broker
    with installation.embedded_broker:
        enrolling = Enrolling(Installation(installation.settings))  # as the API's process opens it
        org, aircraft = uuid.uuid4(), uuid.uuid4()
        key, request = certificate_request()
        credentials = installation.authority.hub_client()
        mine = type(credentials)(broker_folder / "k", broker_folder / "c", credentials.ca)
        from cryptography.hazmat.primitives import serialization as s

        mine.key.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
        device = uuid.uuid4()
        signed = enrolling.certificate(request.decode(), org, aircraft, device)
        mine.certificate.write_text(signed.certificate_pem)
        enrolling.enrolled(org, aircraft, device)
        client = connect(installation.embedded_broker, mine)
        assert client.publish(f"dbx/v1/{org}/{aircraft}/up/live", b"hello")
        enrolling.revoked(org, aircraft, device, signed.serial)
        assert int(signed.serial, 16) in installation.authority.revoked()
        with pytest.raises(ConnectionError):
            connect(installation.embedded_broker, mine, timeout_s=2.0)
        client.close()
        assert enrolling.broker() == {"host": "127.0.0.1", "port": installation.embedded_broker.mqtt_port, "tls": True}

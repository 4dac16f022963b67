"""A migrated hub database, cloned per test from one template; connections as the application's own roles."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from hub.embedded.postgres import EmbeddedPostgres
from hub.migrate import LOGIN_ROLES, migrate
from hub.store.tenant import tenant
from tests.fix_postgres import Database, drop_database, make_database

PASSWORDS = {role: f"test-{role}" for role in LOGIN_ROLES}


@dataclass(frozen=True)
class HubDatabase:
    """`url(role)`: a libpq URL for dbx_ingest, dbx_api, dbx_worker or dbx_auditor, or the administrator."""

    database: Database

    def url(self, role: str | None = None) -> str:
        return self.database.url() if role is None else self.database.url(role, PASSWORDS[role])

    def connect(self, role: str | None = None) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url(role), autocommit=True)

    def new_organisation(self, name: str = "Test Air") -> uuid.UUID:
        """A new organisation, made as the API would."""
        org_id = uuid.uuid4()
        with self.connect("dbx_api") as conn, tenant(conn, org_id, actor="test"):
            conn.execute("INSERT INTO organizations (org_id, name) VALUES (%s, %s)", (org_id, name))
        return org_id

    def new_aircraft(self, org_id: uuid.UUID, name: str = "N1") -> uuid.UUID:
        """A new aircraft of an organisation."""
        aircraft_id = uuid.uuid4()
        with self.connect("dbx_api") as conn, tenant(conn, org_id, actor="test"):
            conn.execute(
                "INSERT INTO aircraft_registry (org_id, aircraft_id, name) VALUES (%s, %s, %s)",
                (org_id, aircraft_id, name),
            )
        return aircraft_id


@pytest.fixture(scope="session")
def hub_template(postgres_server: EmbeddedPostgres) -> str:
    """The name of a migrated, empty database that nobody is connected to."""
    database = make_database(postgres_server)
    migrate(database.url(), PASSWORDS)
    return database.name


@pytest.fixture
def hub_database(postgres_server: EmbeddedPostgres, hub_template: str) -> Iterator[HubDatabase]:
    """A migrated database of its own."""
    database = make_database(postgres_server, hub_template)
    yield HubDatabase(database)
    drop_database(database)

"""A real PostgreSQL: one embedded server per test session, an empty database of its own for each test that asks."""

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from hub.embedded import postgres as embedded

# A test's database need not survive a power cut; tests of durability start servers of their own.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "'512MB'"}
_names = itertools.count(1)


@dataclass(frozen=True)
class Database:
    """One database of the session's server. `url()` is the superuser's; `url(role, password)` another role's."""

    server: embedded.EmbeddedPostgres
    name: str

    def url(self, role: str = embedded.SUPERUSER, password: str | None = None) -> str:
        return self.server.url(self.name, role, password)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[embedded.EmbeddedPostgres]:
    """The session's server."""
    with tempfile.TemporaryDirectory(prefix="dbx-test-") as folder:
        data_dir = Path(folder) / "postgres"
        server = embedded.start(data_dir, settings=FAST)
        yield server
        server.stop()
        embedded.remove(data_dir)


def make_database(server: embedded.EmbeddedPostgres, template: str = "template1") -> Database:
    """A new database, cloned from `template` (which nobody may be connected to)."""
    name = f"test_{next(_names)}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return Database(server, name)


def drop_database(database: Database) -> None:
    with psycopg.connect(database.server.url(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{database.name}" WITH (FORCE)')


@pytest.fixture
def postgres(postgres_server: embedded.EmbeddedPostgres) -> Iterator[Database]:
    """An empty database."""
    database = make_database(postgres_server)
    yield database
    drop_database(database)

"""Migrations: plain numbered SQL, one transaction each, under one advisory lock, with their checksums recorded.

Run as a role that may create roles (the server's administrator). Everything is then owned by dbx_owner, who cannot log
in; the application logs in as dbx_ingest, dbx_api, dbx_worker, dbx_auditor, none of which owns or bypasses anything.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

FOLDER = Path(__file__).parent / "migrations"
OWNER = "dbx_owner"
DIRECTORY = "dbx_directory"
LOGIN_ROLES = ("dbx_ingest", "dbx_api", "dbx_worker", "dbx_auditor")
_LOCK = 0x6462785F6D6967  # "dbx_mig"
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class SchemaError(RuntimeError):
    """The database does not fit this code: newer schema, or a migration that was changed after it ran."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, name, text and the SHA-256 of the text."""

    number: int
    name: str
    text: str
    checksum: str


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """All migrations in order. SchemaError when the numbers have holes or double."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if not match:
            raise SchemaError(f"{path.name} is no migration name: 0001_words.sql")
        text = path.read_text(encoding="utf-8")
        found.append(Migration(int(match[1]), path.stem, text, hashlib.sha256(text.encode()).hexdigest()))
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise SchemaError("migration numbers must run from 0001 without holes")
    return found


def migrate(admin_url: str, passwords: Mapping[str, str], folder: Path = FOLDER) -> list[str]:
    """Bring the database at `admin_url` to this code's schema; returns the names of what was applied.

    passwords: login role -> password; roles are created as needed, given passwords are set. SchemaError when the
    database is newer than this code or its history differs.
    """
    wanted = migrations(folder)
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        _ensure_roles(conn, passwords)
        _ensure_schema(conn)
        done = _applied(conn)
        check_history(wanted, done)
        return [_apply(conn, m) for m in wanted if m.number not in done]


def check(conn: psycopg.Connection[tuple[object, ...]], folder: Path = FOLDER) -> None:
    """SchemaError unless the database has exactly this code's schema; every hub process calls it before it starts."""
    wanted = migrations(folder)
    try:
        done = _applied(conn)
    except psycopg.errors.UndefinedTable:
        raise SchemaError("the database has no schema yet: run `dbx hub migrate`") from None
    check_history(wanted, done)
    if len(done) < len(wanted):
        raise SchemaError(
            f"the database is at migration {len(done)}, this code needs {len(wanted)}: run `dbx hub migrate`"
        )


def check_history(wanted: list[Migration], done: Mapping[int, str]) -> None:
    """SchemaError when `done` (number -> checksum) is newer than, or not a prefix of, `wanted`."""
    if done and max(done) > len(wanted):
        raise SchemaError(
            f"the database is at migration {max(done)}, this code knows {len(wanted)}: install a newer version"
        )
    for m in wanted:
        if m.number in done and done[m.number] != m.checksum:
            raise SchemaError(
                f"migration {m.name} was changed after it had run: this database was made"
                " by another version; use that one, or another data folder"
            )


def _ensure_roles(conn: psycopg.Connection[tuple[object, ...]], passwords: Mapping[str, str]) -> None:
    """Roles belong to the whole server, and several databases may be migrated at once: make, or find made."""
    for role in (OWNER, DIRECTORY, *LOGIN_ROLES):
        name = sql.Identifier(role)
        login = "LOGIN" if role in LOGIN_ROLES else "NOLOGIN"
        if not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
            try:
                conn.execute(sql.SQL(f"CREATE ROLE {{}} {login} NOCREATEDB NOCREATEROLE NOINHERIT").format(name))
            except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                continue
        if role in passwords:
            # Its verifier, not the password: a server that logs statements logs this one too.
            word = conn.pgconn.encrypt_password(passwords[role].encode(), role.encode(), b"scram-sha-256").decode()
            conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(word)))
    superuser = conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if superuser == (False,):
        conn.execute(sql.SQL("GRANT {}, {} TO current_user").format(sql.Identifier(OWNER), sql.Identifier(DIRECTORY)))


def _ensure_schema(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    # Who may make temporary tables may put one in the way of a name. (Where the database is another's, it is left so:
    # functions with rights of their own look for temporary tables last.)
    database = sql.Identifier(conn.info.dbname)
    conn.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database))
    conn.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(database, sql.Identifier(OWNER)))
    conn.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    conn.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {OWNER} WITH GRANT OPTION")
    conn.execute(f"GRANT USAGE ON SCHEMA public TO {', '.join(LOGIN_ROLES)}")
    with conn.transaction():
        conn.execute(f"SET LOCAL ROLE {OWNER}")
        conn.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (number integer PRIMARY KEY, name text NOT NULL,"
            " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        conn.execute(f"GRANT SELECT ON schema_migrations TO {', '.join(LOGIN_ROLES)}")


def _applied(conn: psycopg.Connection[tuple[object, ...]]) -> dict[int, str]:
    rows = conn.execute("SELECT number, checksum FROM schema_migrations ORDER BY number").fetchall()
    return {int(str(n)): str(c) for n, c in rows}


def _apply(conn: psycopg.Connection[tuple[object, ...]], m: Migration) -> str:
    # lock_timeout: rather fail and be run again than stop every reader behind a waiting ALTER TABLE.
    with conn.transaction():
        conn.execute("SET LOCAL lock_timeout = '5s'")
        conn.execute(f"SET LOCAL ROLE {OWNER}")
        conn.execute(m.text.encode())
        conn.execute(f"SET LOCAL ROLE {OWNER}")
        conn.execute(
            "INSERT INTO schema_migrations (number, name, checksum) VALUES (%s, %s, %s)", (m.number, m.name, m.checksum)
        )
    return m.name

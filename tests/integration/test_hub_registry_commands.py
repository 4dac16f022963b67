"""`dbx hub org|key|aircraft|audit` against a real database."""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub import cli
from hub.api.tokens import Tokens
from hub.settings import HubSettings
from hub.store import keys
from hub.store.query import run
from hub.store.tenant import HUB_ORG
from tests.fix_hub_database import HubDatabase

PEPPER = b"x" * 32
UNKNOWN = "01a20694-0508-7f7c-b111-6b29ca86396d"


@dataclass
class TestInstallation:
    """What the commands need of a data folder."""

    __test__ = False
    database: HubDatabase
    settings: HubSettings
    pepper: bytes = PEPPER

    def database_url(self, role: str) -> str:
        return self.database.url(role)


@pytest.fixture
def dbx(hub_database: HubDatabase, monkeypatch, capsys, tmp_path) -> Callable[..., Any]:
    """Runs `dbx hub <words> --json`; gives (exit status, what it printed)."""
    made = TestInstallation(hub_database, HubSettings(data_dir=Path(tmp_path)))
    monkeypatch.setattr("hub.commands_registry.Installation", lambda settings: made)

    def run_it(*words: str) -> tuple[int, Any]:
        status = cli.main([*words, "--json"])
        out = capsys.readouterr().out
        return status, json.loads(out) if out else None

    return run_it


def test_an_organisation_and_a_working_key_are_made_at_the_console(dbx, hub_database) -> None:
    org = dbx("org", "create", "Acme")[1]
    made = dbx("key", "create", "--org", "Acme", "--role", "viewer")[1]
    with hub_database.connect("dbx_api") as conn:
        owner = run(conn, keys.FIND_OWNER, HUB_ORG, Tokens(PEPPER).keyed_hash(made["key"]))[0]
    assert str(owner.org_id) == org["org_id"] and owner.role == "viewer"
    assert made["key"] not in json.dumps(dbx("key", "list", "--org", org["org_id"])[1])


def test_a_key_revoked_at_the_console_opens_nothing(dbx, hub_database) -> None:
    dbx("org", "create", "Acme")
    made = dbx("key", "create", "--org", "Acme")[1]
    assert dbx("key", "revoke", "--org", "Acme", made["id"])[1]["revoked_utc_us"]
    with hub_database.connect("dbx_api") as conn:
        assert run(conn, keys.FIND_OWNER, HUB_ORG, Tokens(PEPPER).keyed_hash(made["key"])) == []


def test_aircraft_and_codes_are_made_at_the_console(dbx) -> None:
    dbx("org", "create", "Acme")
    aircraft = dbx("aircraft", "create", "--org", "Acme", "Quad")[1]["id"]
    assert [a["id"] for a in dbx("aircraft", "list", "--org", "Acme")[1]] == [aircraft]
    assert len(dbx("aircraft", "enroll-code", "--org", "Acme", aircraft)[1]["code"]) == 23
    assert dbx("aircraft", "keys", "--org", "Acme", aircraft) == (0, [])


@pytest.mark.parametrize(
    "words",
    [
        ("key", "list", "--org", "Nobody"),
        ("aircraft", "enroll-code", "--org", "Acme", UNKNOWN),
        ("key", "revoke", "--org", "Acme", UNKNOWN),
    ],
)
def test_what_does_not_exist_is_said_with_exit_status_1(dbx, words) -> None:
    dbx("org", "create", "Acme")
    assert dbx(*words)[0] == 1


def test_two_organisations_of_one_name_must_be_told_apart_by_id(dbx) -> None:
    ids = [dbx("org", "create", "Acme")[1]["org_id"] for _ in range(2)]
    assert dbx("key", "list", "--org", "Acme")[0] == 1 and dbx("key", "list", "--org", ids[0])[0] == 0


def test_the_audit_chain_is_checked_and_a_changed_entry_found(dbx, hub_database) -> None:
    dbx("org", "create", "Acme")
    dbx("aircraft", "create", "--org", "Acme", "Quad")
    status, rows = dbx("audit", "verify")
    assert status == 0 and [r["entries"] for r in rows if r["name"] == "Acme"] == [2]
    with hub_database.connect() as conn:
        conn.execute("UPDATE audit_log SET actor = 'nobody' WHERE table_name = 'aircraft_registry'")
    status, rows = dbx("audit", "verify", "--org", "Acme")
    assert status == 1 and rows[0]["first_broken"] == 2


def test_the_parser_has_no_command_without_a_verb() -> None:
    with pytest.raises(SystemExit):
        cli.main(["org"])
    assert isinstance(cli.parser(), argparse.ArgumentParser)


def test_a_station_is_made_and_listed_apart_from_aircraft(dbx) -> None:
    dbx("org", "create", "Acme")
    made = dbx("aircraft", "create", "--org", "Acme", "Laptop", "--station")[1]
    dbx("aircraft", "create", "--org", "Acme", "Quad")
    assert made["kind"] == "station"
    assert [a["name"] for a in dbx("aircraft", "list", "--org", "Acme")[1]] == ["Quad"]
    assert [a["name"] for a in dbx("aircraft", "list", "--org", "Acme", "--stations")[1]] == ["Laptop"]
    assert dbx("aircraft", "enroll-code", "--org", "Acme", made["id"])[0] == 0

"""`dbx hub org|key|aircraft|audit ...`: what an operator does at the console. Secrets are printed once, to stdout."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID

import psycopg

from hub.api.tokens import Tokens, new_api_key, new_code
from hub.api.views import aircraft_view, device_key_view
from hub.installation import Installation
from hub.settings import HubSettings
from hub.store import aircraft, enrollment, keys, organisations
from hub.store.audit import verify_chain
from hub.store.organisations import Organisation
from hub.store.query import run
from hub.store.tenant import HUB_ORG, tenant
from shared.ids import new_id

Work = Callable[[psycopg.Connection[Any], argparse.Namespace, Installation], int]
ACTOR = "console"
_MOST = 10_000


class Wrong(Exception):
    """What was asked for cannot be done; the text says why."""


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands to `dbx hub`."""
    org = _group(add, "org", "organisations (tenants)")
    _verb(org, "create", _org_create, "make an organisation").add_argument("name")
    _verb(org, "list", _org_list, "list them")
    key = _group(add, "key", "API keys of an organisation")
    made = _verb(key, "create", _key_create, "make a key; it is shown once", org=True)
    made.add_argument("--name", default="key", help="what it is for")
    made.add_argument("--role", choices=("viewer", "operator", "admin", "auditor"), default="admin")
    _verb(key, "list", _key_list, "list them, without the keys", org=True)
    _verb(key, "revoke", _key_revoke, "revoke one", org=True).add_argument("key_id", type=UUID)
    craft = _group(add, "aircraft", "aircraft, their enrolment and device keys")
    known = _verb(craft, "create", _aircraft_create, "make an aircraft, or a station, known", org=True)
    known.add_argument("name")
    known.add_argument("--station", action="store_true", help="a field engineer's device, which imports logs")
    listed = _verb(craft, "list", _aircraft_list, "list them", org=True)
    listed.add_argument("--stations", action="store_true", help="the stations instead")
    code = _verb(craft, "enroll-code", _code_create, "make a single-use code, good for 15 minutes", org=True)
    code.add_argument("aircraft_id", type=UUID)
    _verb(craft, "keys", _device_keys, "list device keys", org=True).add_argument("aircraft_id", type=UUID)
    revoke = _verb(craft, "revoke-key", _device_revoke, "revoke a device's key", org=True)
    revoke.add_argument("aircraft_id", type=UUID)
    revoke.add_argument("key_id", type=bytes.fromhex, help="32 hex digits")
    revoke.add_argument("--reason", default="revoked at the console")
    audit = _group(add, "audit", "the audit log")
    _verb(audit, "verify", _audit_verify, "check the hash chain of one organisation, or of all", org=None)


def _group(add: Callable[..., argparse.ArgumentParser], name: str, text: str) -> Any:
    return add(name, _unreachable, text).add_subparsers(required=True, metavar="VERB")


def _verb(group: Any, name: str, work: Work, text: str, org: bool | None = False) -> argparse.ArgumentParser:
    """org: True demands --org, None takes it, False has none."""
    made: argparse.ArgumentParser = group.add_parser(name, help=text, description=text)
    made.add_argument("--json", action="store_true", help="print JSON")
    made.add_argument("--data", metavar="FOLDER", default=argparse.SUPPRESS, help="data folder")
    if org is not False:
        made.add_argument("--org", required=bool(org), metavar="NAME-OR-ID", help="which organisation")
    made.set_defaults(run=_runner(work))
    return made


def _unreachable(args: argparse.Namespace, settings: HubSettings) -> int:
    return 2


def _runner(work: Work) -> Callable[[argparse.Namespace, HubSettings], int]:
    def run_it(args: argparse.Namespace, settings: HubSettings) -> int:
        installation = Installation(settings)
        try:
            with psycopg.connect(installation.database_url("dbx_api"), autocommit=True, connect_timeout=10) as conn:
                return work(conn, args, installation)
        except psycopg.OperationalError as e:
            print(f"the database cannot be reached (is the hub running?): {e}", file=sys.stderr)
        except Wrong as e:
            print(str(e), file=sys.stderr)
        return 1

    return run_it


# --- organisations and keys -------------------------------------------------------------------------------------------


def _org_create(conn: psycopg.Connection[Any], args: argparse.Namespace, hub: Installation) -> int:
    org_id = new_id()
    with tenant(conn, org_id, ACTOR):
        made = organisations.create_organisation(conn, org_id, args.name)
    return _show(args, asdict(made), f"{made.org_id}  {made.name}")


def _org_list(conn: psycopg.Connection[Any], args: argparse.Namespace, hub: Installation) -> int:
    return _show_all(args, [asdict(o) for o in _all(conn)], ("org_id", "name"))


def _key_create(conn: psycopg.Connection[Any], args: argparse.Namespace, hub: Installation) -> int:
    secret = new_api_key()
    hashed = Tokens(hub.pepper).keyed_hash(secret)
    with _tenant(conn, args) as org:
        made = keys.create_key(conn, org.org_id, new_id(), args.name, args.role, hashed)
    return _show(args, asdict(made) | {"key": secret, "org_id": org.org_id}, secret)


def _key_list(conn: psycopg.Connection[Any], args: argparse.Namespace, hub: Installation) -> int:
    with _tenant(conn, args) as org:
        rows = run(conn, keys.LIST_KEYS, org.org_id)
    return _show_all(args, [asdict(k) for k in rows], ("id", "role", "name", "revoked_utc_us"))


def _key_revoke(conn: psycopg.Connection[Any], args: argparse.Namespace, hub: Installation) -> int:
    with _tenant(conn, args) as org:
        row = keys.revoke_key(conn, org.org_id, args.key_id)
    if row is None:
        raise Wrong(f"{org.name} has no key {args.key_id}")
    return _show(args, asdict(row), f"revoked: {row.id} ({row.name}); it is refused within seconds")


# --- aircraft ---------------------------------------------------------------------------------------------------------


def _aircraft_create(conn: psycopg.Connection[Any], args: argparse.Namespace, hub: Installation) -> int:
    aircraft_id = new_id()
    with _tenant(conn, args) as org:
        aircraft.create_aircraft(conn, org.org_id, aircraft_id, args.name, kind=_kind(args.station))
    body = {"id": aircraft_id, "name": args.name, "kind": _kind(args.station)}
    return _show(args, body, f"{aircraft_id}  {args.name}")


def _aircraft_list(conn: psycopg.Connection[Any], args: argparse.Namespace, hub: Installation) -> int:
    with _tenant(conn, args) as org:
        rows = run(conn, aircraft.LIST_AIRCRAFT, org.org_id, None, None, _MOST, _kind(args.stations))
    return _show_all(args, [aircraft_view(a) for a in rows], ("id", "name", "online"))


def _kind(is_station: bool) -> str:
    return "station" if is_station else "aircraft"


def _code_create(conn: psycopg.Connection[Any], args: argparse.Namespace, hub: Installation) -> int:
    code = new_code()
    hashed = Tokens(hub.pepper).keyed_hash(code)
    with _tenant(conn, args) as org:
        if not run(conn, aircraft.GET_AIRCRAFT, org.org_id, args.aircraft_id):
            raise Wrong(f"{org.name} has no aircraft {args.aircraft_id}")
        expires = enrollment.create_code(conn, org.org_id, args.aircraft_id, hashed)
    return _show(args, {"code": code, "expires_utc_us": expires, "hub": hub.settings.api_url}, code)


def _device_keys(conn: psycopg.Connection[Any], args: argparse.Namespace, hub: Installation) -> int:
    with _tenant(conn, args) as org:
        rows = run(conn, aircraft.DEVICE_KEYS, org.org_id, args.aircraft_id)
    return _show_all(args, [device_key_view(k) for k in rows], ("key_id", "hostname", "revoked_utc_us"))


def _device_revoke(conn: psycopg.Connection[Any], args: argparse.Namespace, hub: Installation) -> int:
    with _tenant(conn, args) as org:
        row = aircraft.revoke_device_key(conn, org.org_id, args.aircraft_id, args.key_id, args.reason)
    if row is None:
        raise Wrong("that aircraft has no such device key")
    return _show(args, device_key_view(row), f"revoked: {row.key_id.hex()}; its batches are quarantined from now on")


# --- audit ------------------------------------------------------------------------------------------------------------


def _audit_verify(conn: psycopg.Connection[Any], args: argparse.Namespace, hub: Installation) -> int:
    chosen = [_find(conn, args.org)] if args.org else [Organisation(HUB_ORG, "hub"), *_all(conn)]
    results = []
    with psycopg.connect(hub.database_url("dbx_auditor"), autocommit=True) as auditor:
        for org in chosen:
            with tenant(auditor, org.org_id, ACTOR):
                entries, broken = verify_chain(auditor, org.org_id)
            results.append({"org_id": org.org_id, "name": org.name, "entries": entries, "first_broken": broken})
    if args.json:
        _show_all(args, results, ())
    else:
        for r in results:
            words = "the chain holds" if r["first_broken"] is None else f"BROKEN at entry {r['first_broken']}"
            print(f"{r['name']} ({r['org_id']}): {r['entries']} entries, {words}")
    return 1 if any(r["first_broken"] is not None for r in results) else 0


# --- asking and printing ----------------------------------------------------------------------------------------------


def _all(conn: psycopg.Connection[Any]) -> list[Organisation]:
    return run(conn, organisations.LIST_ALL, HUB_ORG)


def _find(conn: psycopg.Connection[Any], wanted: str) -> Organisation:
    found = [o for o in _all(conn) if wanted in (str(o.org_id), o.name)]
    if len(found) != 1:
        called = (
            f"{len(found)} organisations are called {wanted!r}; give the id"
            if found
            else f"no organisation is called {wanted!r}"
        )
        raise Wrong(f"{called}: `dbx hub org list` shows all, with ids")
    return found[0]


@contextmanager
def _tenant(conn: psycopg.Connection[Any], args: argparse.Namespace) -> Iterator[Organisation]:
    org = _find(conn, args.org)
    with tenant(conn, org.org_id, ACTOR):
        yield org


def _show(args: argparse.Namespace, body: dict[str, Any], text: str) -> int:
    print(json.dumps(body, default=str) if args.json else text)
    return 0


def _show_all(args: argparse.Namespace, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> int:
    if args.json:
        print(json.dumps(rows, default=str))
    else:
        for row in rows:
            print("  ".join("-" if row[c] is None else str(row[c]) for c in columns))
    return 0

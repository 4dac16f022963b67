"""`dbx doctor`: what this machine has for the demo, the hub and the tests: one line each, OK or FAILED with a hint."""

import argparse
import json
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from hub.settings import HubSettings, SettingsError, load

LEAST_FREE_BYTES = 1 << 30


class Missing(Exception):
    """A precondition that does not hold; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One checked precondition. An optional one that fails costs a feature or a test, not the hub."""

    name: str
    ok: bool
    optional: bool
    text: str


Check = Callable[[HubSettings], str]


def check_python(_: HubSettings) -> str:
    return f"{platform.python_version()} ({sys.executable})"


def check_database(settings: HubSettings) -> str:
    """A server of one's own answers and lets us make roles; or the embedded server's binaries are there."""
    if not settings.database_url:
        from hub.embedded.binaries import find_postgres, major_version
        from hub.embedded.process import server_account

        try:
            folder, account = find_postgres(), server_account()
        except RuntimeError as error:
            raise Missing(str(error)) from None
        return f"embedded PostgreSQL {major_version(folder)}" + (f", run as {account.name}" if account else "")
    import psycopg

    try:
        with psycopg.connect(settings.database_url, connect_timeout=10) as conn:
            may = conn.execute("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user").fetchone()
            version = conn.info.server_version // 10000
    except psycopg.Error as error:
        raise Missing(f"DBX_DATABASE_URL: {str(error).strip().splitlines()[0]}") from None
    if version < 15:
        raise Missing(f"DBX_DATABASE_URL: PostgreSQL {version}; needs 15 or newer")
    if not may or not may[0]:
        raise Missing("DBX_DATABASE_URL: this role may not create roles; ALTER ROLE ... CREATEROLE")
    return f"PostgreSQL {version} at DBX_DATABASE_URL"


def check_broker(settings: HubSettings) -> str:
    from hub.embedded.broker import find_mosquitto, find_nats
    from hub.installation import Installation

    if settings.mqtt_url:
        address = Installation(settings).broker
        return _answers(address.host, address.port, "DBX_MQTT_URL")
    try:
        return f"embedded {find_mosquitto() if settings.broker == 'mosquitto' else find_nats()}"
    except RuntimeError as error:
        raise Missing(str(error)) from None


def _answers(host: str, port: int, setting: str) -> str:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        raise Missing(f"{setting}: {host}:{port} does not answer ({error})") from None
    return f"{host}:{port} answers"


def check_disk(settings: HubSettings) -> str:
    """The data folder can be written and has room."""
    folder = settings.data_dir
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
            os.fsync(probe.fileno())
    except OSError as error:
        raise Missing(
            f"{folder} cannot be written ({error.strerror}); choose another with --data or DBX_DATA"
        ) from None
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise Missing(f"{folder} has {free >> 20} MB free; needs {LEAST_FREE_BYTES >> 20} MB")
    return f"{free >> 30} GB free in {folder}"


def check_port(settings: HubSettings) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.api_host, settings.api_port))
        except OSError as error:
            raise Missing(f"{settings.api_host}:{settings.api_port}: {error.strerror}; set DBX_API_PORT") from None
    return f"{settings.api_host}:{settings.api_port} is free"


def check_mosquitto(_: HubSettings) -> str:
    from hub.embedded.broker import find_mosquitto

    try:
        return str(find_mosquitto())
    except RuntimeError:
        raise Missing("the tests with MQTT 5 skip; apt install mosquitto") from None


def check_browser(_: HubSettings) -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        raise Missing("the tests of the pages skip; apt install chromium")
    return found


def check_flights(_: HubSettings) -> str:
    from shared.command import ROOT

    folder = ROOT / "deploy" / "demo"
    found = sorted(folder.glob("*.tlog.zst"))
    if not found:
        raise Missing(f"no recorded flights in {folder}; give one with dbx demo --log FILE")
    return f"{len(found)} recorded flights"


CHECKS: tuple[tuple[str, bool, Check], ...] = (
    ("Python", False, check_python),
    ("data folder", False, check_disk),
    ("database", False, check_database),
    ("broker", False, check_broker),
    ("API port", False, check_port),
    ("demo flights", True, check_flights),
    ("mosquitto", True, check_mosquitto),
    ("browser", True, check_browser),
)


def examine(settings: HubSettings) -> list[Line]:
    """Run every check; none stops the others."""
    lines = []
    for name, optional, check in CHECKS:
        try:
            lines.append(Line(name, True, optional, check(settings)))
        except Missing as missing:
            lines.append(Line(name, False, optional, str(missing)))
    return lines


def main(argv: Sequence[str]) -> int:
    """Print the lines; 1 when something that the hub needs is missing."""
    parser = argparse.ArgumentParser(prog="dbx doctor", description=__doc__)
    parser.add_argument("--data", metavar="FOLDER", help="data folder (default: $DBX_DATA, else .dbx in the checkout)")
    parser.add_argument("--json", action="store_true", help="one JSON list instead of lines")
    args = parser.parse_args(argv)
    try:
        lines = examine(load(os.environ, args.data))
    except SettingsError as error:
        lines = [Line("settings", False, False, mistake) for mistake in error.mistakes]
    if args.json:
        print(json.dumps([asdict(line) for line in lines]))
    else:
        for line in lines:
            word = "OK      " if line.ok else "missing " if line.optional else "FAILED  "
            print(f"{word} {line.name:13} {line.text}")
    return int(any(not line.ok and not line.optional for line in lines))

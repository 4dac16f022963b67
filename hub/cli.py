"""`dbx hub ...`: parses and calls, nothing more. Each command imports its part when it runs."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from uuid import UUID

from hub.settings import HubSettings, SettingsError, load
from shared.logs import configure

MODULES: tuple[str, ...] = ("hub.commands_registry",)  # further modules with commands: each offers `add_commands(add)`
Command = Callable[[argparse.Namespace, HubSettings], int]
Add = Callable[[str, Command, str], argparse.ArgumentParser]


def parser() -> argparse.ArgumentParser:
    """The whole command line of `dbx hub`."""
    top = argparse.ArgumentParser(prog="dbx hub", description="The cloud side: ingest, API, worker, administration.")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data", metavar="FOLDER", help="data folder (default: $DBX_DATA, else .dbx in the checkout)")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, parents=[shared], help=text, description=text)
        made.set_defaults(run=run)
        return made

    add("up", _up, "run everything on this machine: embedded servers, ingest, api, worker")
    for name, text in (("ingest", "take batches from the broker into the database"), ("api", "serve API and pages"),
                       ("worker", "settle, analyse, keep house")):  # fmt: skip
        add(name, _process(name), text)
    add("migrate", _migrate, "bring the database to this version's schema")
    broker = add("broker-files", _broker_files, "write certificates and configuration for a broker of your own")
    broker.add_argument("kind", choices=("mosquitto", "nats"))
    broker.add_argument("--out", required=True, metavar="FOLDER", help="where to write them")
    broker.add_argument(
        "--device", action="append", default=[], metavar="ORG/AIRCRAFT/DEVICE", help="nats: who is let in"
    )
    broker.add_argument("--host", action="append", required=True, help="name or address that aircraft connect to")
    for module in MODULES:
        importlib.import_module(module).add_commands(add)
    return top


def main(argv: Sequence[str]) -> int:
    """Run one hub command; returns its exit status."""
    args = parser().parse_args(argv)
    try:
        settings = load(os.environ, args.data)
    except SettingsError as error:
        print("dbx hub: these settings cannot be used (docs/settings.md):", file=sys.stderr)
        print("\n".join(f"  {mistake}" for mistake in error.mistakes), file=sys.stderr)
        return 2
    configure(settings.log_format)
    run: Command = args.run
    return run(args, settings)


def _process(name: str) -> Command:
    """ingest, api, worker: `hub/<name>/process.py` offers `run(installation, stop)` and returns when `stop` is set."""

    def run(args: argparse.Namespace, settings: HubSettings) -> int:
        from hub.installation import Installation
        from hub.up import until_signal

        process = importlib.import_module(f"hub.{name}.process")
        process.run(Installation(settings), until_signal())
        return 0

    return run


def _up(args: argparse.Namespace, settings: HubSettings) -> int:
    from hub.up import RunningHub, until_signal

    stop = until_signal()
    with RunningHub(settings):
        print(f"dbx hub: running; pages and API at {settings.api_url}  (data in {settings.data_dir})", file=sys.stderr)
        stop.wait()
    return 0


def _migrate(args: argparse.Namespace, settings: HubSettings) -> int:
    from hub.installation import Installation
    from hub.migrate import migrate

    installation = Installation(settings)
    done = migrate(installation.admin_url(), installation.role_passwords)
    print(f"applied: {', '.join(done)}" if done else "the schema is up to date")
    return 0


def _broker_files(args: argparse.Namespace, settings: HubSettings) -> int:
    from pathlib import Path

    from hub.embedded.devices import Device
    from hub.embedded.files import write_broker_files
    from hub.installation import Installation

    try:
        devices = [Device(*map(UUID, pair.split("/"))) for pair in args.device]
    except (ValueError, TypeError):
        print("dbx hub broker-files: --device takes ids: ORG/AIRCRAFT/DEVICE", file=sys.stderr)
        return 2
    for path in write_broker_files(args.kind, Installation(settings).authority, args.host, Path(args.out), devices):
        print(path)
    return 0

"""`dbx demo`: everything on this machine, by the real path and with real processes.

The hub comes up with its servers; an aircraft enrols through the API with a code; its agent plays a recorded flight
over its file link; batches go through the broker to ingest and PostgreSQL, receipts come back; then the flight is
exported from the hub again and compared with the recording.
"""

import argparse
import contextlib
import fcntl
import itertools
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hub.demo_aircraft import DemoFailed
from hub.demo_log import DemoLog, craft_name, open_demo_log
from hub.demo_run import Demo, counted, is_accounted_for, make_owner, say
from hub.embedded import postgres
from hub.settings import HubSettings, SettingsError, load
from hub.up import RunningHub, until_signal
from shared.command import ROOT
from shared.errors import Refused, plainly
from shared.logs import configure

FLIGHTS = ROOT / "deploy" / "demo"


def main(argv: Sequence[str]) -> int:
    """Run the demo. Exit 0 when stopped by the user, or with --once when every frame is accounted for."""
    made = parser()
    args = made.parse_args(argv)
    if not _is_speed(args.speed):
        made.error(f"argument --speed: 'max' or a number above 0, not {args.speed!r}")
    configure(level=30)
    try:
        settings = load(os.environ, args.data)
        return once(settings, args) if args.once else live(settings, args)
    except SettingsError as error:
        print(
            "\n".join(["dbx demo: these settings cannot be used (docs/settings.md):", *error.mistakes]), file=sys.stderr
        )
    except (DemoFailed, Refused, RuntimeError, OSError) as error:
        say(f"dbx demo: {error.detail or error.reason if isinstance(error, Refused) else plainly(error)}")
    return 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="dbx demo", description=__doc__.splitlines()[0] if __doc__ else "")
    made.add_argument(
        "--once", action="store_true", help="to the end of the logs, then report and stop; leaves nothing"
    )
    made.add_argument("--speed", default="1", help='"max", or times real time (default 1)')
    made.add_argument(
        "--log", action="append", metavar="FILE", help="a .tlog or .ulg, packed (.zst, .gz) or not; again for more"
    )
    made.add_argument(
        "--json", action="store_true", help="with --once: the report as one JSON object on standard output"
    )
    made.add_argument(
        "--data", metavar="FOLDER", help="data folder (default: $DBX_DATA, else .dbx; --once: one of its own)"
    )
    return made


def _is_speed(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return text == "max" or 0 < float(text) < float("inf")
    return False


def logs_of(args: argparse.Namespace, work: Path) -> list[DemoLog]:
    """The logs to play: those named, else the demo's first."""
    return [open_demo_log(Path(name), work) for name in args.log or [FLIGHTS / "copter.tlog.zst"]]


def once(settings: HubSettings, args: argparse.Namespace) -> int:
    """To the end of the logs, report, stop, leave nothing behind."""
    with own_folder(args.data) as folder:
        began = time.monotonic()
        logs = logs_of(args, folder / "played")
        stop = until_signal()
        settings = replace(settings, data_dir=folder, api_port=free_port(settings.api_host))
        say(f"starting database, broker and hub in {folder}")
        with (
            RunningHub(settings, folder / "hub.log") as hub,
            contextlib.closing(Demo(hub, make_owner(hub.installation), stop)) as demo,
        ):
            say(f"the hub is up after {time.monotonic() - began:.1f} s")
            lines = []
            for number, log in enumerate(logs, 1):
                aircraft = demo.fly(log, f"{number}-{craft_name(log)}"[:60], args.speed)
                if stop.is_set():
                    raise DemoFailed("interrupted")
                lines.append(demo.report(log, aircraft))
        report = {"seconds": round(time.monotonic() - began, 3), "logs": lines}
    show(report, args.json)
    return int(not all(map(is_accounted_for, lines)))


def show(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(report))
        return
    for line in report["logs"]:
        verdict = "every frame accounted for" if is_accounted_for(line) else "NOT every frame is accounted for"
        same = "identical" if line["identical"] else "not identical"
        say("")
        print(f"{line['log']}: {verdict}; the export is {same}")
        print("  " + ", ".join(f"{name} {value}" for name, value in line.items() if name not in ("log", "identical")))
    print(f"{report['seconds']} s")


@contextlib.contextmanager
def own_folder(wanted: str | None) -> Iterator[Path]:
    """A data folder that is removed afterwards, with the embedded database wherever it lies."""
    folder = Path(tempfile.mkdtemp(prefix="dbx-demo-", dir=wanted)).resolve()
    folder.chmod(0o711)  # the database's account must pass through; all that is secret lies in folders of 0700
    try:
        yield folder
    finally:
        postgres.remove(folder / "postgres")
        shutil.rmtree(folder, ignore_errors=True)


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def live(settings: HubSettings, args: argparse.Namespace) -> int:
    """In real time until Ctrl-C; the data stays, and the next start goes on."""
    stop = until_signal()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with alone(settings.data_dir) as lock:
        if not is_free(settings.api_host, settings.api_port):
            taken, settings = settings.api_port, replace(settings, api_port=free_port(settings.api_host))
            say(f"port {taken} is taken by another program; using {settings.api_port}")
        lock.write_text(settings.api_url)
        say(f"starting database, broker and hub (data in {settings.data_dir})")
        run(settings, args, stop)
    return 0


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """Hold a data folder for one demo; DemoFailed, with the other's address, while another one runs in it. The system
    frees the lock when its holder ends, however that was."""
    path = folder / "demo.lock"
    with path.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoFailed(
                f"a demo is already running with the data in {folder}: its page is {path.read_text() or 'coming up'}\n"
                "     Open that, or run a second one beside it with its own data:  ./dbx demo --data FOLDER"
            ) from None
        yield path


def run(settings: HubSettings, args: argparse.Namespace, stop: threading.Event) -> None:
    """The hub and its aircraft until Ctrl-C."""
    messages = settings.data_dir / "hub.log"
    messages.unlink(missing_ok=True)
    with RunningHub(settings, messages) as hub:
        owner = make_owner(hub.installation)
        say(f"\n  the operator's page:  {settings.api_url}/\n  sign in with the key: {owner.key}\n")
        say(f"  Ctrl-C stops all; the data stays. Messages of the hub: {messages}\n")
        with contextlib.closing(Demo(hub, owner, stop)) as demo:
            fly_on(demo, args, stop)
        if not stop.is_set():
            say("the pages stay up until Ctrl-C")
        stop.wait()
        say("stopping ...")
    say(f"stopped; the data is in {settings.data_dir}")


def fly_on(demo: Demo, args: argparse.Namespace, stop: threading.Event) -> None:
    """Fly the logs that are named; else one of the demo's flights: the one that an earlier run left unfinished, or the
    next that this data folder has not seen, or again from the first with another aircraft."""
    if args.log:
        for log in logs_of(args, demo.folder / "played"):
            fly_to_end(demo, log, craft_name(log), args.speed, stop)
        return
    flights = [open_demo_log(path, demo.folder) for path in sorted(FLIGHTS.glob("*.tlog.zst"))]
    for number in itertools.count(1):
        for log in flights:
            name = craft_name(log) + (f"-{number}" if number > 1 else "")
            if not demo.has_flown(log, name):
                fly_to_end(demo, log, name, args.speed, stop)
                return


def fly_to_end(demo: Demo, log: DemoLog, name: str, speed: str, stop: threading.Event) -> None:
    aircraft = demo.fly(log, name, speed)
    if not stop.is_set():
        facts = demo.wait_settled(aircraft)
        counts = f"{facts.frames:,} of {len(log.frames):,} frames"
        say(f"{name}: {counts} in the hub, {counted(facts.gaps, 'gap')}, {counted(facts.findings, 'finding')}")

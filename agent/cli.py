"""`dbx agent`: parses and calls, nothing more."""

import argparse
import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from agent import settings as settings_file
from agent.settings import AgentSettings, SettingsError
from shared.errors import Refused, plainly

OK, FAILED, USAGE = 0, 1, 2
_STALE_S = 20
_UNRECEIPTED_S = 600


def main(argv: list[str]) -> int:
    """Run one command; returns its exit status."""
    args = _parser().parse_args(argv)
    try:
        return int(args.call(args, _settings(args)))
    except SettingsError as e:
        print("dbx agent: the settings have mistakes:", *e.mistakes, sep="\n  ", file=sys.stderr)
    except (Refused, OSError, sqlite3.Error) as e:
        print(f"dbx agent {args.verb}: {plainly(e)}", file=sys.stderr)
    return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dbx agent", description="The recorder on the aircraft.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, help=f"settings file (default {settings_file.DEFAULT_PATH})")
    common.add_argument("--data", type=Path, help="data folder, instead of the settings' data_dir")
    common.add_argument("--json", action="store_true", help="machine-readable output")

    verb = verbs.add_parser("enroll", parents=[common], help="make this device's keys and have the hub sign for them")
    verb.add_argument("hub_url")
    verb.add_argument("code")
    verb.add_argument("--ca", type=Path, help="CA certificate of the hub's HTTPS, when the system does not know it")
    verb.set_defaults(call=_enroll)

    verb = verbs.add_parser("run", parents=[common], help="record and send")
    verb.add_argument("--log", type=Path, help="play this recorded log instead of the link")
    verb.add_argument("--speed", help='speed of --log: a factor, or "max" (default: the settings\')')
    verb.add_argument("--once", action="store_true", help="with a log: stop when all of it is receipted by the hub")
    verb.add_argument("--timeout", type=float, default=3600, help="with --once: give up after so many seconds")
    verb.add_argument("--summary", type=Path, help="write what the run came to into this file, as JSON")
    verb.set_defaults(call=_run)

    verb = verbs.add_parser("import", parents=[common], help="queue recorded logs: files, or folders and all below")
    verb.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    verb.add_argument("--aircraft", help="whose logs they are: name or id (default: by the hardware ids in them)")
    verb.add_argument("--dry-run", action="store_true", help="say what would be done")
    verb.set_defaults(call=_import)

    verb = verbs.add_parser("sync", parents=[common], help="send imported logs until the hub has receipted all")
    verb.add_argument("--timeout", type=float, default=3600, help="give up after so many seconds")
    verb.set_defaults(call=_sync)

    verb = verbs.add_parser("card", parents=[common], help="say whether every log on a card is whole in the hub")
    verb.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    verb.set_defaults(call=_card)

    for name, call, text in (
        ("status", _status, "what the running agent is doing"),
        ("doctor", _doctor, "check link, rights, disk, store, clock, certificate, broker"),
        ("stop", _stop, "stop the running agent: drain to disk, send a last time"),
    ):
        verbs.add_parser(name, parents=[common], help=text).set_defaults(call=call)
    return parser


def _settings(args: argparse.Namespace) -> AgentSettings:
    """The settings file with the command line on top; without a file, the defaults."""
    overrides: dict[str, Any] = {}
    if args.data is not None:
        overrides["data_dir"] = str(args.data.resolve())
    if getattr(args, "log", None) is not None:
        overrides |= {"link.kind": "file", "link.path": str(args.log.resolve())}
    if getattr(args, "speed", None) is not None:
        overrides["link.speed"] = _speed(args.speed)
    if args.config is not None:
        return settings_file.load(args.config, overrides)
    if settings_file.DEFAULT_PATH.exists():
        return settings_file.load(settings_file.DEFAULT_PATH, overrides)
    return settings_file.parse(settings_file.tree_of(overrides), Path.cwd())


def _speed(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _say(args: argparse.Namespace, facts: dict[str, Any], text: str) -> None:
    print(json.dumps(facts) if args.json else text)


def _enroll(args: argparse.Namespace, settings: AgentSettings) -> int:
    from agent.enroll import enroll
    from agent.identity import IdentityError
    from agent.version import VERSION

    try:
        made = enroll(args.hub_url, args.code, settings.identity_dir, VERSION, args.ca)
    except IdentityError as e:
        print(f"dbx agent enroll: {e}", file=sys.stderr)
        return FAILED
    facts = {
        "kind": made.kind,
        "aircraft_id": str(made.aircraft_id),
        "org_id": str(made.org_id),
        "key_id": made.signer.key_id.hex(),
    }
    _say(args, facts, f"enrolled as {made.kind} {made.aircraft_id}; keys in {made.folder}")
    return OK


def _run(args: argparse.Namespace, settings: AgentSettings) -> int:
    from agent import identity, logs
    from agent.daemon import Daemon

    if args.once and settings.link.kind != "file":
        print('dbx agent run: --once needs a log (--log FILE, or link.kind = "file")', file=sys.stderr)
        return USAGE
    logs.set_up(settings.log_format)
    try:
        me = identity.load(settings.identity_dir)
    except identity.IdentityError as e:
        print(f"dbx agent run: {e}", file=sys.stderr)
        return FAILED
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with only_one(settings.data_dir):
        daemon = Daemon(settings, me)
        status = daemon.run_once(args.timeout) if args.once else daemon.run()
    summary = daemon.summary()
    if args.summary is not None:
        args.summary.write_text(json.dumps(summary))
    if args.json:
        print(json.dumps(summary))
    return status


class only_one:
    """A lock on the data folder: two agents on one store would be one stream with two writers."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"

    def __enter__(self) -> None:
        import fcntl

        self._file = self._path.open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise OSError(f"another agent is recording into {self._path.parent}; see: dbx agent status") from None

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _read_status(settings: AgentSettings) -> dict[str, Any] | None:
    """What the running agent wrote; None when there is none, `is_running` False when it no longer lives."""
    path = settings.data_dir / "status.json"
    if not path.exists():
        return None
    facts: dict[str, Any] = json.loads(path.read_text())
    facts["is_running"] = facts["is_running"] and _lives(facts["pid"])
    facts["age_s"] = max(int(time.time()) - facts["at_unix_s"], 0)
    return facts


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:  # one that has ended, and whose parent has not looked yet, is gone too
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


def _status(args: argparse.Namespace, settings: AgentSettings) -> int:
    facts = _read_status(settings)
    if facts is None:
        _say(args, {"is_running": False}, f"no agent has run in {settings.data_dir}")
        return FAILED
    flight = f"flight {facts['session']}" if facts["session"] else "no flight"
    hub = f"hub by {facts['uplink_protocol']}" if facts["online"] else f"no hub ({facts['uplink_trouble'] or 'yet'})"
    link = "link open" if facts["link_open"] else f"link closed ({facts['link_trouble']})"
    text = [
        f"{'running' if facts['is_running'] else 'not running'}, as of {facts['age_s']} s ago",
        f"  {link}; {'armed' if facts['armed'] else 'disarmed'} {facts['mode']}; {flight}; clock: {facts['clock']}",
        f"  {facts['frames']} frames received, {facts['sealed']} sealed in {facts['batches']} batches, "
        f"{facts['receipted']} receipted; {facts['bad_crc']} damaged; {facts['gaps']} gap records",
        f"  {hub}; waiting: {facts['queued'] or 'nothing'}; store {facts['store_bytes'] >> 10} kB "
        f"of {facts['quota_bytes'] >> 20} MB, {facts['disk_bytes_per_hour'] >> 20} MB written per hour",
    ]
    if facts["unreceipted_oldest_s"] > _UNRECEIPTED_S:
        text.append(f"  a batch sent {facts['unreceipted_oldest_s']} s ago has no receipt: the hub may have refused it")
    if facts["write_trouble"] or facts["fatal"]:
        text.append(f"  TROUBLE: {facts['write_trouble']} {facts['fatal']}")
    _say(args, facts, "\n".join(text))
    return OK if facts["is_running"] and facts["age_s"] < _STALE_S else FAILED


def _import(args: argparse.Namespace, settings: AgentSettings) -> int:
    from agent.imports_cli import import_logs

    return import_logs(args, settings)


def _sync(args: argparse.Namespace, settings: AgentSettings) -> int:
    from agent.imports_cli import sync_logs

    return sync_logs(args, settings)


def _card(args: argparse.Namespace, settings: AgentSettings) -> int:
    from agent.imports_cli import judge_card

    return judge_card(args, settings)


def _doctor(args: argparse.Namespace, settings: AgentSettings) -> int:
    from agent.doctor import examine

    status = _read_status(settings)
    is_ok, found = True, []
    for finding in examine(settings, is_recording=bool(status and status["is_running"])):
        is_ok &= finding.is_ok
        found.append(finding._asdict())
        if not args.json:
            print(f"{finding.name:12} {'OK    ' if finding.is_ok else 'FAILED'} {finding.detail}", flush=True)
    if args.json:
        print(json.dumps({"is_ok": is_ok, "checks": found}))
    return OK if is_ok else FAILED


def _stop(args: argparse.Namespace, settings: AgentSettings) -> int:
    facts = _read_status(settings)
    if facts is None or not facts["is_running"]:
        _say(args, {"stopped": False}, f"no agent is running in {settings.data_dir}")
        return FAILED
    os.kill(facts["pid"], signal.SIGTERM)
    deadline = time.monotonic() + 30
    while _lives(facts["pid"]):
        if time.monotonic() > deadline:
            print(f"dbx agent stop: process {facts['pid']} does not end", file=sys.stderr)
            return FAILED
        time.sleep(0.05)
    _say(args, {"stopped": True}, "stopped")
    return OK

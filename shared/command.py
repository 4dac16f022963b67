"""The dbx command: dispatches by name and imports only what the named command needs.

This module is on the path of every start, `--help` included: it imports nothing heavy and knows the others by
name alone.
"""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

ROOT = Path(__file__).resolve().parent.parent
BENCHES = ROOT / "tests" / "bench"
# name -> (module with `main(argv) -> int`, the extra that installs it)
COMMANDS = {
    "demo": ("hub.demo", "hub"),
    "agent": ("agent.cli", "agent"),
    "hub": ("hub.cli", "hub"),
    "models": ("models.cli", "models"),
    "analyze": ("hub.analyze", "hub"),
    "inspect": ("firmware_bridge.inspect", "agent"),
    "verify": ("hub.verify", "hub"),
    "export": ("hub.export.cli", "hub"),
    "doctor": ("hub.doctor", "hub"),
}

HELP = """\
usage: dbx COMMAND [options]        (each command answers --help)

  demo      everything on this machine: database, broker, hub and one aircraft flying a recorded flight
              demo                          play it in real time, print the address of the operator's page
              demo --once --speed max [--log FILE ...] [--json]    to the end of the logs, then report
  agent     the recorder on the aircraft
              enroll run status doctor stop
              import PATH...   sync   card PATH            recorded logs, from any card, with a network or without
  hub       the cloud side
              up ingest api worker migrate broker-files org key aircraft audit
  models    train, evaluate and package the anomaly models
              dataset train evaluate show publish releases
  inspect   say what is in recorded logs, damaged ones too: inspect FILE... [--json]
  analyze   judge the flights in recorded logs: analyze FILE... [--json] [--jobs N]
  verify    check an exported evidence file offline: verify FILE
  export    recorded logs as csv, parquet, mcap, geojson, kml, gpx: export FILE ... --format FORMAT [--private]
  doctor    check that this machine has what the demo and the tests need
  test      all checks: style, types, then every test      test [--fast] [pytest arguments]
  bench     measure: bench NAME [--json ...]; without a name, lists the benches

Documents: README.md, docs/
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if args else 2
    if args[0] == "--version":
        print(f"dbx {version()}")
        return 0
    return dispatch(args[0], args[1:])


def dispatch(name: str, rest: list[str]) -> int:
    """Find and run the named command. An unknown name or a part that is not installed is said, with what to do."""
    if name == "test":
        return run_tests(rest)
    if name == "bench":
        return run_bench(rest)
    if name not in COMMANDS:
        print(f"dbx: no command named {name!r}; `dbx --help` lists them", file=sys.stderr)
        return 2
    module, extra = COMMANDS[name]
    try:
        command = cast(Callable[[list[str]], int], importlib.import_module(module).main)
        return command(rest)
    except ModuleNotFoundError as missing:
        print(f"dbx {name}: {missing.name} is not installed", file=sys.stderr)
        print(
            f"     in a checkout remove .venv and run it again; else pip install 'dbx-aviation[{extra}]'",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        return 130


def version() -> str:
    """The version that pyproject.toml gives, from a checkout or from the installed package."""
    pyproject = ROOT / "pyproject.toml"
    if pyproject.exists() and (found := re.search(r'^version = "(.+)"', pyproject.read_text(), re.M)):
        return found.group(1)
    return importlib.import_module("importlib.metadata").version("dbx-aviation")  # type: ignore[no-any-return]


def run_tests(args: list[str]) -> int:
    """All checks when called bare or with --fast (no slow tests); with pytest arguments, pytest alone."""
    if not (ROOT / "tests").is_dir():
        print("dbx test: runs in a checkout of the project, not in an installed package", file=sys.stderr)
        return 2
    fast = "--fast" in args
    args = [arg for arg in args if arg != "--fast"]
    failed = [] if args else failed_checks()
    pytest = [sys.executable, "-m", "pytest", *(["-m", "not slow"] if fast else []), *(args or ["-rs"])]
    if not any(arg == "-p" or arg.startswith(("-n", "--numprocesses", "--pdb")) for arg in args):
        pytest += ["-n", "2", "--dist", "loadfile"]
    status = subprocess.call(pytest, cwd=ROOT)
    if failed:
        print(f"dbx test: failed besides the tests: {', '.join(failed)}", file=sys.stderr)
    return status or len(failed)


def failed_checks() -> list[str]:
    """Run style and type checks; the names of those that failed."""
    checks = (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",))
    failed = []
    for check in checks:
        print(f"== {' '.join(check)}", flush=True)
        if subprocess.call([sys.executable, "-m", *check, *(["."] if check[0] == "ruff" else [])], cwd=ROOT):
            failed.append(" ".join(check))
    return failed


def run_bench(args: list[str]) -> int:
    """Run `tests/bench/NAME.py` in its own process, so that it measures nothing of ours."""
    names = sorted(path.stem for path in BENCHES.glob("[a-z]*.py") if "\ndef main(" in path.read_text())
    if not args or args[0] in ("-h", "--help") or args[0] not in names:
        print("usage: dbx bench NAME [options]; benches: " + (", ".join(names) or "none"), file=sys.stderr)
        return 0 if args and args[0] in ("-h", "--help") else 2
    call = f"import importlib, sys; sys.exit(importlib.import_module('tests.bench.{args[0]}').main(sys.argv[1:]))"
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.call([sys.executable, "-c", call, *args[1:]], env={**os.environ, "PYTHONPATH": path})


if __name__ == "__main__":
    sys.exit(main())

"""The process that queues one fetched log: `python -m agent.offload_import DATA_DIR IDENTITY_DIR FILE`."""

import contextlib
import os
import sqlite3
import sys
from pathlib import Path

from agent import identity
from agent.imports import ImportQueue
from agent.imports_fleet import Fleet
from agent.offload_handover import LATER, NO_LOG, TAKEN
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import survey
from shared.errors import Refused, plainly

NICE = 19


def queue_log(data_dir: Path, identity_dir: Path, path: Path) -> int:
    """Queue one log; the exit status. Whose it is, its chip says; a chip that nobody knows is this aircraft's."""
    me = identity.load(identity_dir)
    try:
        source = LogSource(path)
    except Refused:
        return NO_LOG
    found = survey(source)
    with contextlib.closing(ImportQueue(data_dir, me)) as queue:
        owner = Fleet(queue).owner(found.hardware_ids).aircraft
        queue.add(source, found, owner if owner == me.aircraft_id else None, "offload")
    return TAKEN


def main(words: list[str]) -> int:
    """Run on the words of the command line."""
    os.nice(NICE)
    data_dir, identity_dir, path = map(Path, words)
    try:
        return queue_log(data_dir, identity_dir, path)
    except (Refused, OSError, sqlite3.Error) as e:
        print(f"dbx agent: {plainly(e)}", file=sys.stderr)
        return LATER


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

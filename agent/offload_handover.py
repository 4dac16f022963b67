"""Gives a fetched log to the import, in a process of its own with the lowest priority (`offload_import`).

Reading and packing a log is seconds of work; the recorder's threads must not share an interpreter with it. The process
is ended when the vehicle is about to fly; the import goes on later where it was broken off.
"""

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("dbx.offload")
TAKEN, LATER, NO_LOG = 0, 1, 4
"""Exit statuses of the import: queued; not now; never, because it is no flight log."""
_POLL_S = 0.1


def take_over(data_dir: Path, identity_dir: Path, path: Path, may_go_on: Callable[[], bool]) -> bool:
    """Whether nothing is left to do with the file: it is queued, or is no flight log (the autopilot still has it)."""
    command = [sys.executable, "-m", "agent.offload_import", str(data_dir), str(identity_dir), str(path)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if not may_go_on():
            process.terminate()
            process.wait()
            return False
        time.sleep(_POLL_S)
    if process.returncode == NO_LOG:
        log.warning("fetched file is no flight log: dropped", extra={"file": path.name})
    elif process.returncode != TAKEN:
        log.warning("fetched log not queued yet", extra={"file": path.name, "status": process.returncode})
    return process.returncode in (TAKEN, NO_LOG)

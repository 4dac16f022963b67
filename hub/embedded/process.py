"""Child servers: unprivileged when we are root, gone when their parent is, and never a zombie taken for a server."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ACCOUNTS = ("dbx", "postgres", "nobody")  # who a server runs as when we are root; the first that exists


@dataclass(frozen=True)
class Account:
    """An account to run a server as."""

    name: str
    uid: int
    gid: int

    def can_reach(self, path: Path) -> bool:
        """Whether the account may enter every folder down to `path` and read there (mode bits; no ACLs)."""
        for step in (path, *path.resolve().parents):
            status = step.stat()
            needed = 0o5 if step is path else 0o1
            mine = status.st_uid == self.uid
            if (status.st_mode >> (6 if mine else 0)) & needed != needed:
                return False
        return True


def server_account() -> Account | None:
    """The account that servers run as: None (ourselves) unless we are root, as whom PostgreSQL refuses to run."""
    if os.geteuid() != 0:
        return None
    import pwd

    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return Account(name, found.pw_uid, found.pw_gid)
    raise RuntimeError(f"running as root needs one of the accounts {', '.join(ACCOUNTS)} for the database server")


def spawn(command: Sequence[str | Path], account: Account | None, cwd: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own (a Ctrl-C in the terminal is ours, not the server's), output to `log`."""
    who: dict[str, Any] = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    return subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        start_new_session=True,
        **who,
    )


class Lifeline:
    """Stops a server when this process is gone, however it went: a shell that waits for the end of our pipe to it."""

    def __init__(self, pid: int, sign: int = signal.SIGINT) -> None:
        born = _born(pid)  # so that no other process is hit that got the number since
        same = f"[ \"$(cut -d' ' -f22 /proc/{pid}/stat)\" = {born} ] && " if born else ""
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", f"cat >/dev/null; {same}kill -{int(sign)} {pid}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def cut(self) -> None:
        """Give up the watch without stopping the server."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        if self._shell.stdin:
            with contextlib.suppress(OSError):
                self._shell.stdin.close()


def _born(pid: int) -> str:
    """When the process began, as the kernel counts; empty where it does not say."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().split()[21]
    return ""


def is_running(pid: int, name: str) -> bool:
    """Whether process `pid` lives and runs the program `name` (its file name). A zombie does not live."""
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)  # one of our own that died is collected here
    if Path("/proc/self/stat").exists():
        try:
            program, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
            return program == name[:15] and rest.split()[0] not in "ZX"
        except (OSError, IndexError):
            return False
    seen = subprocess.run(["ps", "-p", str(pid), "-o", "stat=,comm="], capture_output=True, text=True).stdout.split()
    return len(seen) > 1 and not seen[0].startswith("Z") and Path(seen[1]).name == name


def wait_gone(pid: int, name: str, timeout_s: float) -> bool:
    """Wait until the process is gone; False when it still lives after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while is_running(pid, name):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return ""

"""The embedded PostgreSQL: one server for one data folder, reached through a Unix socket only.

    <data_dir>/cluster      PGDATA, 0700            <data_dir>/password   the superuser's, random, 0600
    <data_dir>/socket       socket folder, 0700     <data_dir>/start.log  what the server says before its own log opens

As root the server runs as an unprivileged account. When that account cannot reach `data_dir` (a checkout in
root's home), the folder lies below /var/lib/dbx and `data_dir` is a link to it. Started twice, there is one
server: the second start finds it. After kill -9 the next start recovers every committed row. The server stops
when its starter is gone.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, urlencode

from hub.embedded.binaries import find_postgres, reachable
from hub.embedded.process import Account, Lifeline, is_running, server_account, spawn, tail, wait_gone

SUPERUSER = "postgres"
PORT = 5432  # names the socket file; nothing listens on TCP
START_LIMIT_S = 600.0  # crash recovery of a large database takes minutes
OUT_OF_REACH = Path("/var/lib/dbx")
LONGEST_SOCKET_DIR = 80  # bytes; a socket path holds at most 103 on macOS, 107 on Linux
SETTINGS = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "password_encryption": "'scram-sha-256'",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "logging_collector": "on",
    "log_filename": "'%a.log'",  # one per weekday, overwritten a week later: bounded
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "max_connections": "200",
    "max_wal_size": "'2GB'",
}


class EmbeddedPostgres:
    """A running server. `owned` says whether this process started it; only then does `stop` stop it."""

    def __init__(
        self, home: Path, binaries: Path, account: Account | None, child: subprocess.Popen[bytes] | None
    ) -> None:
        self.home = home
        self.binaries = binaries
        self.account = account
        self.socket_dir = _socket_dir(home)
        self.pid = _pid(home / "cluster")
        self.owned = child is not None
        self._child = child
        self._lifeline = Lifeline(child.pid) if child else None

    def url(self, database: str = "postgres", role: str = SUPERUSER, password: str | None = None) -> str:
        """A libpq URL for a role. The superuser's password is filled in; other roles bring theirs."""
        return url(self.home, database, role, password)

    def stop(self, timeout_s: float = 60.0) -> None:
        """Fast shutdown (sessions ended, checkpoint written) of a server that we started. Harmless when repeated."""
        if self._child is None:
            return
        self._cut_lifeline()
        for sign, patience_s in ((signal.SIGINT, timeout_s), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            with suppress(ProcessLookupError):
                os.kill(self._child.pid, sign)
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(patience_s)
                break
        self._child = None

    def kill(self) -> None:
        """kill -9 of the server process, as a crash; `start` on the same folder recovers."""
        self._cut_lifeline()
        os.kill(self.pid, signal.SIGKILL)
        if self._child:
            self._child.wait()
            self._child = None

    def _cut_lifeline(self) -> None:
        if self._lifeline:
            self._lifeline.cut()
            self._lifeline = None

    def __enter__(self) -> "EmbeddedPostgres":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def start(
    data_dir: Path, *, start_limit_s: float = START_LIMIT_S, settings: Mapping[str, str] | None = None
) -> EmbeddedPostgres:
    """Start the server of `data_dir`, making the cluster first where there is none; or find the one that runs already.

    `settings` are further `name: value` lines of postgresql.conf. RuntimeError says why, with the log's end, when the
    server cannot start or is not ready after `start_limit_s`.
    """
    account = server_account()
    home = _home(data_dir, account)
    deadline = time.monotonic() + start_limit_s
    with _locked(home):
        binaries = reachable(find_postgres(), account, OUT_OF_REACH)
        if not (home / "cluster" / "PG_VERSION").exists():
            _make_cluster(home, binaries, account)
        _configure(home, account, settings or {})
        while True:
            if _is_served(home, binaries, deadline):
                return EmbeddedPostgres(home, binaries, account, None)
            child = _launch(home, binaries, account)
            if _wait_ready(home, binaries, child, deadline):
                return EmbeddedPostgres(home, binaries, account, child)
            # Sessions of a killed server may hold its shared memory for a moment longer: try again until the deadline.
            said = tail(home / "start.log")
            if "still in use" not in said or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL in {home} does not start:\n{said}")
            time.sleep(0.3)


def url(data_dir: Path, database: str = "postgres", role: str = SUPERUSER, password: str | None = None) -> str:
    """The same as `EmbeddedPostgres.url`, for a process that did not start the server."""
    home = data_dir.resolve()
    secret = (home / "password").read_text() if role == SUPERUSER and password is None else password
    who = quote(role) + (f":{quote(secret, safe='')}" if secret is not None else "")
    return f"postgresql://{who}@/{quote(database)}?{urlencode({'host': _socket_dir(home), 'port': PORT})}"


def remove(data_dir: Path) -> None:
    """Delete a stopped server's folder, also where `data_dir` is a link to it."""
    target = data_dir.resolve()
    shutil.rmtree(target, ignore_errors=True)
    if data_dir.is_symlink():
        data_dir.unlink()
    shutil.rmtree(_socket_dir(target), ignore_errors=True)


def _home(data_dir: Path, account: Account | None) -> Path:
    """The folder that the server can really use for `data_dir`, owned by its account."""
    if not data_dir.exists():
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        if account and not account.can_reach(data_dir.parent.resolve()):
            OUT_OF_REACH.mkdir(mode=0o755, parents=True, exist_ok=True)
            target = OUT_OF_REACH / hashlib.sha256(str(data_dir.absolute()).encode()).hexdigest()[:16]
            target.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileExistsError):
                data_dir.symlink_to(target)
        else:
            data_dir.mkdir(mode=0o700, exist_ok=True)
    home = data_dir.resolve()
    home.chmod(0o700)
    if account and home.stat().st_uid != account.uid:
        os.chown(home, account.uid, account.gid)
    return home


def _socket_dir(home: Path) -> Path:
    """`home/socket`, or a short folder in the temporary directory where that path is too long for a socket."""
    folder = home / "socket"
    if len(os.fsencode(folder)) > LONGEST_SOCKET_DIR:
        name = f"dbx-{os.geteuid()}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"
        folder = Path(tempfile.gettempdir()) / name
    return folder


def _make_socket_dir(home: Path, account: Account | None) -> Path:
    folder = _socket_dir(home)
    owner = account.uid if account else os.geteuid()
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid == os.geteuid() and account:
        os.chown(folder, account.uid, account.gid)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != owner or status.st_mode & 0o077:
        raise RuntimeError(f"socket folder {folder} belongs to somebody else or is open to others; remove it")
    return folder


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    with (home / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_cluster(home: Path, binaries: Path, account: Account | None) -> None:
    """initdb into a folder beside, renamed when complete, so that an interrupted one leaves nothing half made."""
    half = home / "cluster.new"
    shutil.rmtree(half, ignore_errors=True)
    _write_private(home / "password", secrets.token_urlsafe(32), account)
    command: list[str | Path] = [binaries / "initdb", "-D", half, "-U", SUPERUSER, "--auth=scram-sha-256",
               f"--pwfile={home / 'password'}", "--no-locale", "--encoding=UTF8", "--data-checksums"]  # fmt: skip
    with (home / "start.log").open("wb") as log:
        if spawn(command, account, home, log).wait() != 0:
            raise RuntimeError(f"initdb failed in {home}:\n{tail(home / 'start.log')}")
    half.rename(home / "cluster")


def _write_private(path: Path, text: str, account: Account | None) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
        if account:
            os.fchown(out.fileno(), account.uid, account.gid)


def _configure(home: Path, account: Account | None, extra: Mapping[str, str]) -> None:
    """Write our settings to a file of their own that postgresql.conf includes last."""
    folder = _make_socket_dir(home, account)
    lines = {**SETTINGS, "unix_socket_directories": f"'{folder}'", "port": str(PORT), **extra}
    cluster = home / "cluster"
    _write_private(cluster / "dbx.conf", "".join(f"{name} = {value}\n" for name, value in lines.items()), account)
    main = cluster / "postgresql.conf"
    include = "include_if_exists = 'dbx.conf'"
    if include not in main.read_text():
        with main.open("a") as out:
            out.write(f"\n{include}\n")


def _pid(cluster: Path) -> int:
    """The process id in postmaster.pid; 0 when there is none."""
    try:
        return int((cluster / "postmaster.pid").read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _answers(home: Path, binaries: Path) -> bool:
    """pg_isready: accepting connections."""
    command: list[str | Path] = [binaries / "pg_isready", "-q", "-h", _socket_dir(home), "-p", str(PORT), "-t", "5"]
    return subprocess.run(command, cwd=home).returncode == 0


def _is_served(home: Path, binaries: Path, deadline: float) -> bool:
    """Whether a server already runs for this folder; waits while one starts or stops, drops what a dead one left."""
    cluster = home / "cluster"
    while pid := _pid(cluster):
        if not is_running(pid, "postgres"):
            (cluster / "postmaster.pid").unlink(missing_ok=True)
            return False
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        if "stopping" in lines[-1:][0]:
            wait_gone(pid, "postgres", max(0.0, deadline - time.monotonic()))
        elif _answers(home, binaries):
            return True
        if time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL in {home} (process {pid}) neither answers nor ends")
        time.sleep(0.1)
    return False


def _launch(home: Path, binaries: Path, account: Account | None) -> subprocess.Popen[bytes]:
    with (home / "start.log").open("wb") as log:
        return spawn([binaries / "postgres", "-D", home / "cluster"], account, home, log)


def _wait_ready(home: Path, binaries: Path, child: subprocess.Popen[bytes], deadline: float) -> bool:
    """Wait until it accepts connections. False when it ended instead; RuntimeError at the deadline."""
    pause_s = 0.02
    while child.poll() is None:
        if _answers(home, binaries):
            return True
        if time.monotonic() > deadline:
            child.send_signal(signal.SIGQUIT)
            child.wait()
            raise RuntimeError(f"PostgreSQL in {home} is not ready in time:\n{tail(home / 'start.log')}")
        time.sleep(pause_s)
        pause_s = min(0.5, pause_s * 1.3)
    return False

"""The embedded PostgreSQL: one server per folder, private, crash-safe, gone with its parent."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from hub.embedded import postgres as embedded
from hub.embedded.process import is_running, wait_gone
from tests.fix_postgres import Database

START_AND_WAIT = """
import sys, time
from pathlib import Path
from hub.embedded import postgres
server = postgres.start(Path(sys.argv[1]))
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "postgres"
    embedded.remove(tmp_path / "postgres")


def test_the_session_gives_each_test_an_empty_database(postgres: Database) -> None:
    with psycopg.connect(postgres.url()) as connection:
        assert connection.execute("SELECT count(*) FROM pg_stat_user_tables").fetchone() == (0,)
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)


def test_after_kill_9_every_committed_row_is_there(folder: Path) -> None:
    server = embedded.start(folder)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        for n in range(50):
            connection.execute("INSERT INTO kept VALUES (%s)", (n,))
        server.kill()
    with embedded.start(folder) as again, psycopg.connect(again.url()) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (50,)


def test_two_starts_at_once_make_one_server(folder: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(embedded.start, [folder, folder])
    try:
        assert first.pid == second.pid
        assert {first.owned, second.owned} == {True, False}
    finally:
        first.stop()
        second.stop()


def test_nothing_listens_on_tcp_and_a_wrong_password_is_refused(folder: Path) -> None:
    with embedded.start(folder) as server:
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url(password="wrong"))
        modes = {name: stat.S_IMODE((server.home / name).stat().st_mode) for name in ("password", "cluster")}
        assert modes == {"password": 0o600, "cluster": 0o700}
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700


@pytest.mark.slow
def test_the_server_stops_when_its_starter_is_killed(folder: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-c", START_AND_WAIT, str(folder)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    pid = int(starter.stdout.readline())
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    assert wait_gone(pid, "postgres", 20)


def test_a_leftover_pid_file_of_another_process_does_not_stop_a_start(folder: Path) -> None:
    with embedded.start(folder) as server:
        pid_file = server.home / "cluster" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")  # as after a reboot that reused the number
    with embedded.start(folder) as server, psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_zombie_is_not_taken_for_a_server() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    while Path(f"/proc/{child.pid}/stat").read_text().split()[2] != "Z":
        time.sleep(0.01)
    assert not is_running(child.pid, "python")


def test_an_interrupted_first_start_is_begun_again(folder: Path) -> None:
    with embedded.start(folder) as server:
        half = server.home / "cluster.new"
    (server.home / "cluster").rename(half)
    (half / "PG_VERSION").unlink()
    with embedded.start(folder) as server, psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not half.exists()


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="max_connections"):
        embedded.start(folder, settings={"max_connections": "-5"})

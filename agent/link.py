"""The link to the autopilot: bytes in, stamped when they came, never waiting for anybody; and what we send.

A reading thread fills a bounded inbox; when nobody empties it, the oldest bytes are dropped and counted. A port that
breaks is opened again, with a pause that doubles to 10 s.
"""

import contextlib
import logging
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import serial

from agent.settings import LinkSettings

log = logging.getLogger("dbx.link")
READ_BYTES = 65536
GATHER_S = 0.004
"""After bytes came, wait this long for the rest of a burst: fewer wake-ups. Stamps are as exact as this."""
_TIMEOUT_S = 0.5
_MOST_DATAGRAMS = 256


class Port(Protocol):
    """An open link. read: some bytes, b"" after a time-out; OSError when it broke. write: never waits."""

    def read(self) -> bytes: ...
    def drain(self) -> bytes: ...
    def write(self, data: bytes) -> bool: ...
    def close(self) -> None: ...


class Inbox:
    """Chunks of (us, bytes) between the reading thread and the pipeline; bounded in bytes, the oldest fall out."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._chunks: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._dropped: tuple[int, int, int] | None = None

    def put(self, time_us: int, data: bytes) -> None:
        """Add a chunk; drops the oldest when there is no room."""
        with self._lock:
            self._chunks.append((time_us, data))
            self._size += len(data)
            while self._size > self._max_bytes and len(self._chunks) > 1:
                at, oldest = self._chunks.popleft()
                self._size -= len(oldest)
                size, first, _ = self._dropped or (0, at, at)
                self._dropped = (size + len(oldest), first, at)

    def take(self) -> tuple[list[tuple[int, bytes]], tuple[int, int, int] | None]:
        """(all chunks, what was dropped since the last call as (bytes, from us, to us))."""
        with self._lock:
            chunks, dropped = list(self._chunks), self._dropped
            self._chunks.clear()
            self._size, self._dropped = 0, None
        return chunks, dropped


def _is_readable(sock: socket.socket) -> bool:
    """Wait for something to read; False after a time-out."""
    return bool(select.select([sock], [], [], _TIMEOUT_S)[0])


class SerialPort:
    """A serial device."""

    def __init__(self, device: str, baud: int) -> None:
        try:
            self._serial = serial.Serial(device, baud, timeout=_TIMEOUT_S, write_timeout=0, exclusive=True)
        except (serial.SerialException, ValueError) as e:
            raise OSError(str(e)) from None

    def read(self) -> bytes:
        try:
            first = self._serial.read(1)
        except serial.SerialException as e:
            raise OSError(str(e)) from None
        return bytes(first)

    def drain(self) -> bytes:
        try:
            return bytes(self._serial.read(min(self._serial.in_waiting, READ_BYTES)))
        except serial.SerialException as e:
            raise OSError(str(e)) from None

    def write(self, data: bytes) -> bool:
        try:
            return bool(self._serial.write(data) == len(data))
        except (serial.SerialException, OSError):
            return False

    def close(self) -> None:
        self._serial.close()


class UdpPort:
    """UDP. As server: bound, answers whoever sent last. As client: sends to the address given, hears its answers."""

    def __init__(self, host: str, port: int, is_server: bool) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.setblocking(False)
        self._peer: tuple[str, int] | None = None
        try:
            if is_server:
                self._socket.bind((host, port))
            else:
                self._peer = (socket.gethostbyname(host), port)
                self._socket.bind(("", 0))
        except OSError:
            self._socket.close()
            raise
        self._is_server = is_server
        self.port = self._socket.getsockname()[1]

    def read(self) -> bytes:
        if not _is_readable(self._socket):
            return b""
        data, sender = self._socket.recvfrom(READ_BYTES)
        if self._is_server:
            self._peer = sender
        return data

    def drain(self) -> bytes:
        parts = []
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MOST_DATAGRAMS):
                parts.append(self._socket.recv(READ_BYTES))
        return b"".join(parts)

    def write(self, data: bytes) -> bool:
        if self._peer is None:
            return False
        try:
            return self._socket.sendto(data, self._peer) == len(data)
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()


class TcpPort:
    """A TCP connection to an autopilot, a router or a simulator."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=5)
        self._socket.setblocking(False)

    def read(self) -> bytes:
        if not _is_readable(self._socket):
            return b""
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError("the other side closed the connection")
        return data

    def drain(self) -> bytes:
        try:
            return self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> bool:
        try:
            return self._socket.send(data) == len(data)
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()


def open_port(settings: LinkSettings) -> Port:
    """Open the link that the settings name. OSError when it cannot be opened."""
    if settings.kind == "serial":
        return SerialPort(settings.device, settings.baud)
    if settings.kind == "tcp":
        return TcpPort(settings.host, settings.port)
    return UdpPort(settings.host, settings.port, settings.kind == "udp-server")


class LinkReader:
    """The link thread: opens the port, stamps what arrives, opens again when it breaks."""

    def __init__(self, settings: LinkSettings, clock: Callable[[], int]) -> None:
        self.inbox = Inbox(settings.queue_kb << 10)
        self.is_open = False
        self.trouble = ""
        self.bytes_in = 0
        self.tap: Callable[[bytes], None] = lambda data: None
        """Is given everything that comes, after the inbox; must not wait."""
        self._settings = settings
        self._clock = clock
        self._port: Port | None = None

    def run(self, stop: threading.Event) -> None:
        """Read until stop."""
        pause_s = 0.5
        while not stop.is_set():
            try:
                self._port = open_port(self._settings)
                self.is_open, self.trouble, pause_s = True, "", 0.5
                log.info("link open", extra={"kind": self._settings.kind})
                self._read(self._port, stop)
            except OSError as e:
                if str(e) != self.trouble:
                    log.warning("link trouble", extra={"error": str(e)})
                self.trouble = str(e)
            finally:
                self._close()
            stop.wait(pause_s)
            pause_s = min(pause_s * 2, 10)

    def _read(self, port: Port, stop: threading.Event) -> None:
        while not stop.is_set():
            data = port.read()
            if not data:
                continue
            at_us = self._clock()
            time.sleep(GATHER_S)
            data += port.drain()
            self.bytes_in += len(data)
            self.inbox.put(at_us, data)
            self.tap(data)

    def send(self, data: bytes) -> bool:
        """Send now or not at all."""
        port = self._port
        return self.is_open and self._settings.is_writable and port is not None and port.write(data)

    def _close(self) -> None:
        """Only by the reading thread: a port closed under a read raises whatever its driver likes."""
        self.is_open = False
        port, self._port = self._port, None
        if port is not None:
            port.close()

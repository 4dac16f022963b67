"""An autopilot that serves its logs over UDP at a link's speed, with a link's faults; and the same in virtual time."""

import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastcrc import crc16

from firmware_bridge.columns import columns_of, fields
from firmware_bridge.framing import Scanner
from firmware_bridge.mavftp import Exchange, Op, Packet
from shared.layouts import LAYOUTS
from tests.fix_log_server import END, FTP, LogServer


def row_of(msgid: int, values: dict[str, Any]) -> Any:
    """A message's fields as the agent gets them."""
    row = np.zeros(1, LAYOUTS[msgid].dtype)
    for name, value in values.items():
        row[name] = value
    return row[0]


def frame_of(msgid: int, values: dict[str, Any], seq: int, sysid: int = 1, compid: int = 1) -> bytes:
    """A MAVLink 2 frame."""
    payload = row_of(msgid, values).tobytes().rstrip(b"\0") or b"\0"
    head = bytes((len(payload), 0, 0, seq & 0xFF, sysid, compid)) + msgid.to_bytes(3, "little")
    crc = crc16.mcrf4xx(head + payload + bytes((LAYOUTS[msgid].crc_extra,)))
    return b"\xfd" + head + payload + int(crc).to_bytes(2, "little")


@dataclass
class Faults:
    """What a link does to packets, each with its probability."""

    loss: float = 0.0
    twice: float = 0.0
    late: float = 0.0
    seed: int = 1
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def through(self, items: list[Any]) -> list[Any]:
        """What arrives of these, in which order."""
        kept = [i for i in items if self.dice.random() >= self.loss]
        kept = [i for item in kept for i in [item] * (2 if self.dice.random() < self.twice else 1)]
        for i in range(len(kept) - 1):
            if self.dice.random() < self.late:
                kept[i], kept[i + 1] = kept[i + 1], kept[i]
        return kept


def converse(
    exchange: Exchange, server: LogServer, faults: Faults | None = None, limit_s: float = 600, per_tick: int = 3,
    meanwhile: Callable[[float], None] = lambda now_s: None,
) -> float:  # fmt: skip
    """Carry an exchange to its end in virtual time, ticks of 10 ms with so many packets; the seconds it took.

    AssertionError when it does not end within limit_s.
    """
    faults, now_s = faults or Faults(), 0.0
    while not (exchange.is_done or exchange.failure):
        assert now_s < limit_s, "it does not end"
        meanwhile(now_s)
        for msgid, values in faults.through(exchange.due(now_s)):
            server.receive(msgid, row_of(msgid, values))
        replies = [r for _ in range(per_tick) if (r := server.stream()) is not None]
        for msgid, values in faults.through(replies):
            exchange.hear(msgid, row_of(msgid, values), now_s)
        now_s += 0.01
    for msgid, values in exchange.leave() if exchange.failure else []:
        server.receive(msgid, row_of(msgid, values))
    return now_s


class ScriptedAutopilot:
    """Talks to an agent's UDP port: HEARTBEAT and attitude, and answers requests for logs at kbit_s.

    heard: (when, message id, fields) of all that came, but HEARTBEATs. answers_sent: (when, bytes of the frame).
    idle_s: after which sessions are closed (ArduPilot 20 s, PX4 10 s). Its state is changed by the test's thread.
    """

    def __init__(
        self, port: int, server: LogServer, kbit_s: float = 2000, faults: Faults | None = None, compid: int = 1,
        is_px4: bool = False, idle_s: float = 3.0,
    ) -> None:  # fmt: skip
        self.server = server
        self.heard: list[tuple[float, int, Any]] = []
        self.is_armed = False
        self.is_silent = False
        self.answers_sent: list[tuple[float, int]] = []
        self._kbit_s = kbit_s
        self._faults = faults or Faults()
        self._compid = compid
        self._autopilot = 12 if is_px4 else 3
        self._idle_s = idle_s
        self._asked_s = 0.0
        self._seq = 0
        self._boot_s = time.monotonic()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._to = ("127.0.0.1", port)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def requests(self) -> list[tuple[float, int]]:
        """(when, message id) of what was asked."""
        return [(at, msgid) for at, msgid, _ in self.heard]

    def ftp(self) -> list[Packet]:
        """The FTP requests that came."""
        return [p for msgid, p in self.server.requests if msgid == FTP and isinstance(p, Packet)]

    def is_idle(self) -> bool:
        """Whether nothing is open any more."""
        return not self.server.sessions and not self.server.is_downloading

    def ended(self) -> bool:
        """Whether the last thing asked was an end."""
        last = self.server.requests[-1]
        return last[0] == END or (isinstance(last[1], Packet) and last[1].op == Op.TERMINATE)

    def say(self, msgid: int, values: dict[str, Any], sysid: int = 1, compid: int | None = None) -> None:
        """Send a message of the test's own, also another system's."""
        frame = frame_of(msgid, values, self._seq, sysid, self._compid if compid is None else compid)
        if compid is None and sysid == 1:
            self._seq += 1
        self._send(frame)

    def reboot(self) -> None:
        """Forgets what was open; its clock begins anew."""
        self.server.reboot()
        self._boot_s = time.monotonic()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _send(self, frame: bytes) -> None:
        if not self.is_silent:
            self._socket.sendto(frame, self._to)

    def _run(self) -> None:
        scanner, tick, free_s = Scanner(), 0, time.monotonic()
        next_s = time.monotonic()
        while not self._stop.is_set():
            now_s = time.monotonic()
            self._read(scanner)
            if now_s >= next_s:
                next_s += 0.05
                self._telemetry(tick)
                tick += 1
            free_s = self._stream(max(free_s, now_s - 0.05))
            if now_s - self._asked_s > self._idle_s:
                self.server.sessions.clear()
            self._stop.wait(0.002)

    def _telemetry(self, tick: int) -> None:
        boot_ms = int((time.monotonic() - self._boot_s) * 1000)
        if tick % 10 == 0:  # 2 Hz
            beat = {"type": 2, "autopilot": self._autopilot, "base_mode": 128 if self.is_armed else 0}
            self.say(0, beat | {"mavlink_version": 3})
        self.server.is_armed = self.is_armed
        self.say(30, {"time_boot_ms": boot_ms, "roll": random.random()})

    def _stream(self, free_s: float) -> float:
        """Send log packets as long as the link has room; when it is free again."""
        while free_s <= time.monotonic():
            reply = self.server.stream()
            if reply is None:
                return free_s
            for msgid, values in self._faults.through([reply]):
                if msgid == FTP:
                    values = values | {"target_system": 1, "target_component": 191}
                frame = frame_of(msgid, values, self._seq, compid=self._compid)
                self._send(frame)
                self.answers_sent.append((time.monotonic(), len(frame)))
                free_s += len(frame) * 8 / (self._kbit_s * 1000)
            self._seq += 1
        return free_s

    def _read(self, scanner: Scanner) -> None:
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                return
            for group in columns_of(scanner.feed(data, 0)).groups:
                for row in fields(group):
                    if group.msgid == 0:
                        continue
                    self._asked_s = time.monotonic()
                    self.heard.append((self._asked_s, group.msgid, row.copy()))
                    if self._faults.dice.random() >= self._faults.loss and not self.is_silent:
                        self.server.receive(group.msgid, row)

"""Companion manners on the link: HEARTBEAT at 1 Hz, message rates asked for and put back, text to the pilot.

Never a command of flight: the one command sent is MAV_CMD_SET_MESSAGE_INTERVAL; for an offload, what MAY_SAY names.
Messages are MAVLink 2, encoded by the frozen layouts (shared.layouts), as mavlink.io "Packet Serialization" says.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from fastcrc import crc16

from agent.session import Identity
from firmware_bridge import rates
from firmware_bridge.log_request import LOG_REQUEST_DATA, LOG_REQUEST_END, LOG_REQUEST_LIST
from firmware_bridge.mavftp import FILE_TRANSFER_PROTOCOL, Message
from shared.layouts import LAYOUTS

STATUSTEXT = 253
MAY_SAY = frozenset({FILE_TRANSFER_PROTOCOL, LOG_REQUEST_LIST, LOG_REQUEST_DATA, LOG_REQUEST_END})
"""What `say` passes on: requests for files and logs."""
SEVERITY = {"critical": 2, "warning": 4, "info": 6}
"""Finding severity -> MAV_SEVERITY."""
_TEXT_BYTES = 50
_PACE = 4
"""Rate requests sent a second: an autopilot's command queue is short."""


class Voice:
    """What we say on the link, numbered as the protocol wants. sysid: the vehicle's."""

    def __init__(self, sysid: int) -> None:
        self.sysid = sysid
        self._seq = 0
        self._lock = threading.Lock()

    def frame(self, msgid: int, values: dict[str, Any]) -> bytes:
        """One MAVLink 2 frame of a known message; fields that are not named are 0."""
        layout = LAYOUTS[msgid]
        row = np.zeros(1, layout.dtype)
        for name, value in values.items():
            row[name] = value
        payload = row.tobytes().rstrip(b"\0") or b"\0"
        with self._lock:
            number, self._seq = self._seq, (self._seq + 1) & 0xFF
        head = bytes((len(payload), 0, 0, number, self.sysid, rates.COMPANION_COMPID)) + msgid.to_bytes(3, "little")
        crc = int(crc16.mcrf4xx(head + payload + bytes((layout.crc_extra,))))
        return b"\xfd" + head + payload + crc.to_bytes(2, "little")

    def statustext(self, severity: str, text: str) -> bytes:
        """A line for the ground station (cut to 50 bytes)."""
        raw = text.encode("ascii", "replace")[:_TEXT_BYTES]
        return self.frame(STATUSTEXT, {"severity": SEVERITY.get(severity, 6), "text": raw})


class Companion:
    """Says what is due, once a second. profile: of firmware_bridge.rates, or "none" to leave the rates alone."""

    def __init__(self, send: Callable[[bytes], bool], profile: str) -> None:
        self._send = send
        self._profile = profile
        self._voice: Voice | None = None
        self._target: tuple[int, int] | None = None
        self._asked: list[int] = []
        self._to_ask: list[tuple[int, dict[str, Any]]] = []

    def every_second(self, vehicle: Identity | None, is_healthy: bool) -> None:
        """HEARTBEAT (none while we know that we are at fault), and some rate requests of a newly latched vehicle."""
        if vehicle is None:
            return
        if self._target != (vehicle.sysid, vehicle.compid):
            self._meet(vehicle)
        assert self._voice is not None
        if is_healthy:
            self._send(self._voice.frame(*rates.heartbeat()))
        for _ in range(min(_PACE, len(self._to_ask))):
            if not self._send(self._voice.frame(*self._to_ask[0])):
                return
            self._to_ask.pop(0)

    def ask_again(self) -> None:
        """The vehicle rebooted and has forgotten its rates."""
        self._target = None

    def tell_pilot(self, severity: str, text: str) -> bool:
        """A STATUSTEXT for the ground station. Whether it was sent."""
        return self._voice is not None and self._send(self._voice.statustext(severity, text))

    def say(self, message: Message) -> bool:
        """A request of an offload, from any thread. Whether it was sent. ValueError for any other message."""
        if message[0] not in MAY_SAY:
            raise ValueError(f"message {message[0]} is never sent")
        return self._voice is not None and self._send(self._voice.frame(*message))

    def leave(self) -> None:
        """Put the rates back."""
        if self._voice is not None and self._target is not None:
            for message in rates.restorations(self._target, self._asked):
                self._send(self._voice.frame(*message))
        self._asked = []

    def _meet(self, vehicle: Identity) -> None:
        self._target = (vehicle.sysid, vehicle.compid)
        if self._voice is None or self._voice.sysid != vehicle.sysid:
            self._voice = Voice(vehicle.sysid)
        if self._profile in ("serial", "lte"):
            wanted = rates.intervals("serial" if self._profile == "serial" else "lte", vehicle.autopilot)
            self._asked, self._to_ask = list(wanted), rates.requests(self._target, wanted)

"""The uplink thread: sends sealed batches in order of lanes, takes receipts and directives, reconnects for ever.

MQTT 5 is tried first; a broker that refuses or drops it gets 3.1.1 the next time. Time-out on each PUBACK, then a new
connection and everything unconfirmed again. Nothing is deleted here: receipts whose signature holds go to the recorder.
"""

import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from agent.identity import Identity
from agent.mqtt import UNSUPPORTED_VERSION, V5, V311, Address, Connection, Event
from agent.sending import Outbox, Sending
from agent.settings import UplinkSettings
from agent.window import Window
from shared import envelope
from shared.errors import Refused
from shared.receipt import Directive, decode_directive, decode_receipt, unpack_directives
from shared.topics import Lane

log = logging.getLogger("dbx.uplink")
CONNACK_TIMEOUT_S = 15.0
LONGEST_PAUSE_S = 30.0
FAREWELL_S = 5.0
STATE_EVERY_S = 30.0
_ONE_OF_BULK = 2
"""A slow lane has half of a window."""


class Uplink:
    """See the module. `wake` may be called by any thread; the rest is the uplink thread's, but for plain attributes."""

    def __init__(
        self,
        identity: Identity,
        settings: UplinkSettings,
        outbox: Outbox,
        state: Callable[[], dict[str, Any]],
        role: str = "",
    ) -> None:
        """role: tells this connection from others of the same identity (the recorder has none)."""
        self.is_connected = False
        self.is_live = False
        """Whether batches reach the broker now; decides lane and length of the next ones."""
        self.trouble = ""
        self.protocol = ""
        self.directives: deque[Directive] = deque()
        self.refused = 0
        self.farewell_s = FAREWELL_S
        """How long the last sending may take after stop."""
        self.reconnects = 0
        self.unreceipted_oldest_s = 0
        """How long ago the oldest batch without receipt was sent first: long when the hub refuses it."""
        self._identity = identity
        self._settings = settings
        self._state = state
        self._role = role
        self._events: queue.Queue[Event] = queue.Queue()
        self._own = Sending(outbox, self._window(settings.max_in_flight))
        self._imports: Sending | None = None
        self._connection: Connection | None = None
        self._mids: dict[int, tuple[Sending, int]] = {}
        self._version = V5
        self._opened_s = 0.0
        self._retry_s = 0.0
        self._pause_s = 1.0
        self._said_s = 0.0
        self._heard: set[bytes] = set()

    def _window(self, max_in_flight: int) -> Window:
        s = self._settings
        return Window(
            max_in_flight=max_in_flight, puback_timeout_s=s.puback_timeout_s, receipt_timeout_s=s.receipt_timeout_s
        )

    def send_too(self, imports: Outbox) -> None:
        """Send these as well: one batch at a time, and only while nothing of our own is left to send or under way."""
        self._imports = Sending(imports, self._window(_ONE_OF_BULK))
        self.wake()

    def _sendings(self) -> list[Sending]:
        return [self._own] if self._imports is None else [self._own, self._imports]

    @property
    def address(self) -> Address:
        """Where the broker is: the settings, else as enrolment said."""
        s, i = self._settings, self._identity
        return Address(s.host or i.mqtt_host, s.port or i.mqtt_port, s.keepalive_s)

    def wake(self) -> None:
        """There is something new to send."""
        self._events.put(Event("wake"))

    def run(self, stop: threading.Event) -> None:
        """Send until stop, then a bounded last time."""
        while not stop.is_set():
            self.step(time.monotonic(), 0.5)
        deadline = time.monotonic() + self.farewell_s
        while self.is_connected and time.monotonic() < deadline and not self._own.is_drained():
            self.step(time.monotonic(), 0.1)
        if self._connection and self.is_connected:
            self._connection.say_state(self._state() | {"online": False})
            self._connection.close()

    def step(self, now_s: float, wait_s: float) -> None:
        """Wait up to wait_s for something to happen and do what is due."""
        if self._connection is None:
            if now_s >= self._retry_s:
                self._connect(now_s)
            else:
                wait_s = min(wait_s, self._retry_s - now_s)
        self._handle_events(wait_s)
        now_s = time.monotonic()
        if self._connection is None:
            return
        if not self.is_connected:
            if now_s - self._opened_s > CONNACK_TIMEOUT_S:
                self._lose(now_s, "no CONNACK", is_version_suspect=True)
            return
        if any(s.window.is_stuck(now_s) for s in self._sendings()):
            return self._lose(now_s, f"no PUBACK for {self._settings.puback_timeout_s:g} s")
        for sending in self._sendings():
            sending.refresh(now_s)
        self.is_live = not self._own.window.is_slow(now_s)
        if now_s - self._said_s > STATE_EVERY_S:
            self._connection.say_state(self._state() | {"online": True})
            self._said_s = now_s
            for sending in self._sendings():
                sending.forget_gone()
        self.unreceipted_oldest_s = int(max(s.window.oldest_s(now_s) for s in self._sendings()))
        if self._send(self._connection, self._own) and self._imports is not None and self._own.is_idle():
            self._send(self._connection, self._imports)

    def _send(self, connection: Connection, sending: Sending) -> bool:
        """Send what the window has room for. False when the connection failed."""
        for lane in Lane:
            while found := sending.next(lane):
                row, body = found
                try:
                    mid = connection.publish(lane, body)
                except (OSError, ValueError) as e:
                    sending.queue.again([row])
                    self._lose(time.monotonic(), str(e))
                    return False
                self._mids[mid] = sending, row.id
                sending.window.send(row, time.monotonic())
        return True

    def _connect(self, now_s: float) -> None:
        connection = Connection(self._identity, self._version, self._events, self._role)
        self._drop_events()
        try:
            connection.open(self.address)
        except OSError as e:
            return self._later(now_s, str(e))
        self._connection, self._opened_s = connection, time.monotonic()

    def _drop_events(self) -> None:
        """Events of an earlier connection mean nothing any more, but for what the hub said."""
        while not self._events.empty():
            event = self._events.get_nowait()
            if event.kind == "message":
                self._take(event)

    def _later(self, now_s: float, why: str) -> None:
        if why != self.trouble:
            log.warning("uplink trouble", extra={"error": why, "retry_s": round(self._pause_s, 1)})
        self.trouble = why
        self._retry_s = now_s + self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads reconnects
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def _lose(self, now_s: float, why: str, is_version_suspect: bool = False) -> None:
        """The connection is of no use any more."""
        connection, self._connection = self._connection, None
        was_connected, self.is_connected, self.is_live = self.is_connected, False, False
        if connection is not None:
            connection.close()
        for sending in self._sendings():
            sending.queue.again(sending.window.disconnected())
        self._mids.clear()
        self._later(now_s, why)
        if is_version_suspect and not was_connected:
            if self._version == V5:
                self._retry_s = now_s  # the fall-back at once; only when that fails too, pause
            self._version = V311 if self._version == V5 else V5

    def _handle_events(self, wait_s: float) -> None:
        try:
            event = self._events.get(timeout=max(wait_s, 0.001))
            while True:
                self._handle(event)
                event = self._events.get_nowait()
        except queue.Empty:
            return

    def _handle(self, event: Event) -> None:
        now_s = time.monotonic()
        if event.kind == "message":
            return self._take(event)
        if self._connection is None:
            return
        if event.kind == "puback":
            sending, key = self._mids.pop(event.code, (self._own, -1))
            sending.window.ack(key, now_s)
        elif event.kind == "connected":
            self._connected(now_s)
        elif event.kind == "refused":
            self._lose(now_s, event.text, event.code in UNSUPPORTED_VERSION)
        elif event.kind == "disconnected":
            self._lose(now_s, f"disconnected: {event.text}", is_version_suspect=not self.is_connected)

    def _connected(self, now_s: float) -> None:
        assert self._connection is not None
        self.protocol = "5" if self._version == V5 else "3.1.1"
        log.info("uplink connected", extra={"mqtt": self.protocol, "after": self.trouble})
        self._connection.subscribe()
        self.is_connected = self.is_live = True
        self.reconnects += 1
        self.trouble, self._pause_s = "", 1.0
        self._said_s = now_s - STATE_EVERY_S - 1

    def _take(self, event: Event) -> None:
        """A receipt or directive: believed only by the hub's signature."""
        kind = event.topic.rpartition("/")[2]
        try:
            if kind == "receipt":
                opened = envelope.open_envelope(event.payload, self._identity.find_hub, envelope.RECEIPT_TYPE)
                receipt = decode_receipt(opened.payload)
                any(s.take_receipt(receipt, event.payload) for s in self._sendings())
            elif kind == "directive":
                for each in unpack_directives(event.payload):
                    self._take_directive(each)
        except Refused as e:
            self.refused += 1
            log.warning("refused", extra={"topic": event.topic, "reason": e.reason, "detail": e.detail})

    def _take_directive(self, sealed: bytes) -> None:
        """One of the list, which the broker sends again at each connection: what was heard before means nothing new."""
        if (digest := envelope.digest(sealed)) in self._heard:
            return
        opened = envelope.open_envelope(sealed, self._identity.find_hub, envelope.DIRECTIVE_TYPE)
        directive = decode_directive(opened.payload)
        if directive.aircraft != self._identity.aircraft_id:
            raise Refused("directive_aircraft", str(directive.aircraft))
        self._heard.add(digest)
        self.directives.append(directive)

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

from agent import store
from agent.identity import Identity
from agent.mqtt import UNSUPPORTED_VERSION, V5, V311, Address, Connection, Event
from agent.recorder import Recorder
from agent.send_queue import SendQueue
from agent.settings import UplinkSettings
from agent.window import Window
from shared import envelope
from shared.errors import Refused
from shared.receipt import Directive, Receipt, decode_directive, decode_receipt, unpack_directives
from shared.topics import Lane

log = logging.getLogger("dbx.uplink")
CONNACK_TIMEOUT_S = 15.0
LONGEST_PAUSE_S = 30.0
FAREWELL_S = 5.0
STATE_EVERY_S = 30.0


class Uplink:
    """See the module. `wake` may be called by any thread; the rest is the uplink thread's, but for plain attributes."""

    def __init__(
        self, identity: Identity, settings: UplinkSettings, recorder: Recorder, state: Callable[[], dict[str, Any]]
    ) -> None:
        self.is_connected = False
        self.is_live = False
        """Whether batches reach the broker now; decides lane and length of the next ones."""
        self.trouble = ""
        self.protocol = ""
        self.directives: deque[Directive] = deque()
        self.refused = 0
        self.reconnects = 0
        self.unreceipted_oldest_s = 0
        """How long ago the oldest batch without receipt was sent first: long when the hub refuses it."""
        self._identity = identity
        self._settings = settings
        self._recorder = recorder
        self._state = state
        self._events: queue.Queue[Event] = queue.Queue()
        self._queue = SendQueue(recorder)
        self._window = Window(
            max_in_flight=settings.max_in_flight, puback_timeout_s=settings.puback_timeout_s,
            receipt_timeout_s=settings.receipt_timeout_s,
        )  # fmt: skip
        self._connection: Connection | None = None
        self._mids: dict[int, int] = {}
        self._version = V5
        self._opened_s = 0.0
        self._retry_s = 0.0
        self._pause_s = 1.0
        self._said_s = 0.0
        self._streams: dict[Any, int] = {}
        self._heard: set[bytes] = set()

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
        deadline = time.monotonic() + FAREWELL_S
        while self.is_connected and time.monotonic() < deadline and not self._is_drained():
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
        if self._window.is_stuck(now_s):
            return self._lose(now_s, f"no PUBACK for {self._window.puback_timeout_s:g} s")
        if self._queue.is_reset():
            self._window.sent.clear()
        self._queue.again(self._window.overdue(now_s))
        self.is_live = not self._window.is_slow(now_s)
        if now_s - self._said_s > STATE_EVERY_S:
            self._connection.say_state(self._state() | {"online": True})
            self._said_s = now_s
            self._forget_gone()
        self.unreceipted_oldest_s = int(self._window.oldest_s(now_s))
        self._send(self._connection)

    def _forget_gone(self) -> None:
        """What was evicted or sealed again is not waited for."""
        with self._recorder.store.lock:
            present = store.outbox_ids(self._recorder.store.conn)
        for key in self._window.unreceipted() - present:
            self._window.forget(key)

    def _is_drained(self) -> bool:
        with self._recorder.store.lock:
            left = store.outbox_ids(self._recorder.store.conn)
        return not left - self._receipted_ids()

    def _receipted_ids(self) -> set[int]:
        return {
            self._streams[r.stream] << store.SEQ_BITS | seq
            for r in list(self._recorder.receipts)
            if r.stream in self._streams
            for seq in r.committed()
        }

    def _send(self, connection: Connection) -> None:
        for lane in Lane:
            while self._window.has_room(lane):
                found = self._queue.next(lane)
                if found is None:
                    break
                row, body = found
                try:
                    mid = connection.publish(lane, body)
                except (OSError, ValueError) as e:
                    self._queue.again([row])
                    return self._lose(time.monotonic(), str(e))
                self._mids[mid] = row.id
                self._window.send(row, time.monotonic())

    def _connect(self, now_s: float) -> None:
        connection = Connection(self._identity, self._version, self._events)
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
        self._queue.again(self._window.disconnected())
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
            self._window.ack(self._mids.pop(event.code, -1), now_s)
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
                self.take_receipt(decode_receipt(opened.payload))
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

    def take_receipt(self, receipt: Receipt) -> None:
        """A receipt whose signature holds."""
        if receipt.stream not in self._streams:
            with self._recorder.store.lock:
                self._streams = {i: no for no, i in store.streams(self._recorder.store.conn).items()}
        number = self._streams.get(receipt.stream)
        if number is None:
            return
        for seq, digest in receipt.committed().items():
            self._window.receipt(number << store.SEQ_BITS | seq, digest)
        self._recorder.receipts.append(receipt)

"""Directives on their way to aircraft: published retained, tried again until the broker has them.

What is not yet published when a process ends is not lost: it is in the database, and every API process publishes the
newest unanswered directive of each aircraft again when it starts. Aircraft ignore what they have seen, by version.
"""

import logging
import queue
import ssl
import threading
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from hub.store import organisations
from hub.store.directives import unanswered_directives
from hub.store.query import run
from hub.store.tenant import HUB_ORG, tenant
from shared import topics

log = logging.getLogger("dbx.api")
_ACK_S = 10.0
_LONGEST_PAUSE_S = 30.0


class Outgoing(NamedTuple):
    """A signed directive and for whom."""

    org_id: uuid.UUID
    aircraft_id: uuid.UUID
    envelope: bytes


def unanswered(database_url: str) -> list[Outgoing]:
    """The newest directive of each aircraft of each organisation, where the aircraft has not answered it."""
    found: list[Outgoing] = []
    with psycopg.connect(database_url, autocommit=True) as conn:
        for org in run(conn, organisations.LIST_ALL, HUB_ORG):
            with tenant(conn, org.org_id):
                found += [Outgoing(org.org_id, *row) for row in unanswered_directives(conn, org.org_id)]
    return found


class DirectivePublisher:
    """A thread that publishes what `send` is given. unanswered: what to publish at the start."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        unanswered: Callable[[], Iterable[Outgoing]] = lambda: (),
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._unanswered = unanswered
        self._waiting: queue.SimpleQueue[Outgoing | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="directives", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def send(self, directive: Outgoing) -> None:
        """Publish as soon as the broker can be reached."""
        self._waiting.put(directive)

    def close(self) -> None:
        """Stop; what waits stays in the database."""
        self._stop.set()
        self._waiting.put(None)
        self._thread.join(_ACK_S)

    def _run(self) -> None:
        if not self._until_done(self._send_unanswered):
            return
        while (item := self._waiting.get()) is not None and not self._stop.is_set():
            self._until_done(partial(self._publish, item))

    def _send_unanswered(self) -> None:
        for directive in self._unanswered():
            self.send(directive)

    def _until_done(self, work: Callable[[], object]) -> bool:
        """Try with growing pauses; False when stopped."""
        pause_s = 0.5
        while not self._stop.is_set():
            try:
                work()
                return True
            except Exception as e:
                log.warning("directive not published; trying again", extra={"error": str(e)[:200], "pause_s": pause_s})
            self._stop.wait(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
        return False

    def _publish(self, d: Outgoing) -> None:
        """One connection per directive: they are rare."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"dbx-api-{uuid.uuid4().hex}")
        if self._tls:
            client.tls_set_context(self._tls)
        connected = threading.Event()
        client.on_connect = lambda *_: connected.set()
        client.connect(self._host, self._port, keepalive=30)
        client.loop_start()
        try:
            if not connected.wait(_ACK_S):
                raise TimeoutError("the broker did not answer")
            sent = client.publish(topics.directive(d.org_id, d.aircraft_id), d.envelope, qos=1, retain=True)
            sent.wait_for_publish(_ACK_S)
            if not sent.is_published():
                raise TimeoutError("the broker did not acknowledge")
        finally:
            client.disconnect()
            client.loop_stop()

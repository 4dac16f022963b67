"""Directives on their way to aircraft: published retained, tried again until the broker has them.

A topic holds one retained message: the list of all directives that the aircraft has not answered, so that one without a
session at the broker misses none. What is not yet published when a process ends is not lost: it is in the database, and
every API process publishes the lists again when it starts. Aircraft ignore what they have seen, by version.
"""

import logging
import queue
import ssl
import threading
import uuid
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from hub.store import organisations
from hub.store.directives import aircraft_with_open_directives, open_directives
from hub.store.query import run
from hub.store.tenant import HUB_ORG, tenant
from shared import topics
from shared.receipt import MAX_OPEN_DIRECTIVES, pack_directives

log = logging.getLogger("dbx.api")
_ACK_S = 10.0
_LONGEST_PAUSE_S = 30.0


class Addressee(NamedTuple):
    """An aircraft that has directives to hear."""

    org_id: uuid.UUID
    aircraft_id: uuid.UUID


class OpenDirectives:
    """What is unanswered, as the database (as dbx_api) says now."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    def addressees(self) -> list[Addressee]:
        """The aircraft of all organisations that have not answered all their directives."""
        found: list[Addressee] = []
        with psycopg.connect(self._url, autocommit=True, connect_timeout=10) as conn:
            for org in run(conn, organisations.LIST_ALL, HUB_ORG):
                with tenant(conn, org.org_id):
                    waiting = aircraft_with_open_directives(conn, org.org_id)
                found += [Addressee(org.org_id, aircraft_id) for aircraft_id in waiting]
        return found

    def of(self, to: Addressee) -> bytes:
        """The aircraft's list, as it is published."""
        with psycopg.connect(self._url, autocommit=True, connect_timeout=10) as conn, tenant(conn, to.org_id):
            return pack_directives(open_directives(conn, to.org_id, to.aircraft_id)[:MAX_OPEN_DIRECTIVES])


class DirectivePublisher:
    """A thread that publishes the open directives of aircraft: of all at the start, then of those `send` names."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, directives: OpenDirectives) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._directives = directives
        self._waiting: queue.SimpleQueue[Addressee | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="directives", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def send(self, to: Addressee) -> None:
        """Publish the aircraft's list as soon as the broker can be reached."""
        self._waiting.put(to)

    def close(self) -> None:
        """Stop; what waits stays in the database."""
        self._stop.set()
        self._waiting.put(None)
        self._thread.join(_ACK_S)

    def _run(self) -> None:
        if not self._until_done(self._send_all):
            return
        while (item := self._waiting.get()) is not None and not self._stop.is_set():
            self._until_done(partial(self._publish, item))

    def _send_all(self) -> None:
        for to in self._directives.addressees():
            self.send(to)

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

    def _publish(self, to: Addressee) -> None:
        """Until the broker has what the database holds: another process may publish a newer list meanwhile."""
        wanted, published = self._directives.of(to), None
        while wanted != published and not self._stop.is_set():
            self._publish_list(to, wanted)
            wanted, published = self._directives.of(to), wanted

    def _publish_list(self, to: Addressee, payload: bytes) -> None:
        """One connection per list: they are rare."""
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
            sent = client.publish(topics.directive(*to), payload, qos=1, retain=True)
            sent.wait_for_publish(_ACK_S)
            if not sent.is_published():
                raise TimeoutError("the broker did not acknowledge")
        finally:
            client.disconnect()
            client.loop_stop()

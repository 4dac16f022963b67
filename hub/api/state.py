"""What every route needs: readers, connections for writes, keys. Made once per process."""

import asyncio
import queue
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import UUID

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.api.limits import RateLimit
from hub.api.pipeline import DatabaseGone, Reader
from hub.api.publisher import Addressee
from hub.api.queries import HOT
from hub.api.tokens import Tokens
from hub.pki import SignedDevice
from hub.store.tenant import tenant
from shared.ids import key_id

T = TypeVar("T")


class Enrolling(Protocol):
    """What enrolment needs of the rest of the hub."""

    def certificate(self, csr_pem: str, org_id: UUID, aircraft_id: UUID, device_id: UUID) -> SignedDevice:
        """The device's TLS certificate for its request. ValueError when the request is not acceptable."""

    def ca_pem(self) -> str:
        """The certificate authority that devices are to trust."""

    def broker(self) -> dict[str, Any]:
        """{host, port, tls} as devices reach it."""

    def enrolled(self, org_id: UUID, aircraft_id: UUID, device_id: UUID) -> None:
        """The broker is to let this device in from now on."""

    def revoked(self, org_id: UUID, aircraft_id: UUID, device_id: UUID, serial: str) -> None:
        """The broker is to shut this device out, now. Harmless when repeated."""


class Receiving(Protocol):
    """Admission and commit of envelopes, the same path as from the broker."""

    def commit(self, org_id: UUID, aircraft_id: UUID, envelopes: list[bytes]) -> list[bytes]:
        """Signed receipts for what is committed; refused envelopes are in quarantine when this returns."""

    def close(self) -> None:
        """Let go of the database."""


class Publishing(Protocol):
    """Directives to aircraft, by the broker."""

    def start(self) -> None:
        """Begin."""

    def send(self, to: Addressee) -> None:
        """Publish the open directives of an aircraft as soon as the broker can be reached. Returns at once."""

    def close(self) -> None:
        """Stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """What the API is made of. database_url: as dbx_api; pepper: secret from outside the database; hub_key: the hub's
    signing key; hub_keys: raw public keys of the hub, present and past."""

    database_url: str
    pepper: bytes
    hub_key: Ed25519PrivateKey
    hub_keys: tuple[bytes, ...] = ()
    enrolling: Enrolling | None = None
    receiving: Receiving | None = None
    publishing: Publishing | None = None
    is_https: bool = False
    """Whether browsers reach the API by https: then the session's cookie is for https alone."""
    max_log_bytes: int = 4 << 30
    """Of a log's file that is uploaded."""
    spool: Path | None = None
    """Where uploads wait; None: the system's folder for temporary files."""
    release_keys: tuple[bytes, ...] = ()
    """Further public keys whose model bundles may be released."""
    requests_per_s: float = 200.0
    burst: int = 400


class WritePool:
    """A few synchronous connections for writes and long reads, used in threads; made when needed."""

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._idle: queue.LifoQueue[psycopg.Connection[Any] | None] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(None)
        self._closed = threading.Event()

    @contextmanager
    def connection(self, wait_s: float = 10.0) -> Iterator[psycopg.Connection[Any]]:
        """A connection in autocommit mode. DatabaseGone when none can be had."""
        try:
            conn = self._idle.get(timeout=wait_s)
        except queue.Empty:
            raise DatabaseGone("all connections are in use") from None
        try:
            if conn is None or _has_ended(conn):
                conn = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
                conn.execute("SET timezone = 'UTC'; SET statement_timeout = '60s'; SET application_name = 'dbx-api'")
            yield conn
        except psycopg.OperationalError as e:
            raise DatabaseGone(str(e)) from None
        finally:
            self._idle.put(None if conn is None or conn.closed or self._closed.is_set() else conn)

    def close(self) -> None:
        """Close what is idle."""
        self._closed.set()
        with suppress(queue.Empty):
            while True:
                conn = self._idle.get_nowait()
                if conn is not None:
                    conn.close()


def _has_ended(conn: psycopg.Connection[Any]) -> bool:
    """Whether an idle connection is no more: the server that restarted has said good-bye, or nothing, and closed it."""
    if not conn.closed and select.select([conn.fileno()], [], [], 0)[0]:
        conn.close()
    return bool(conn.closed)


class ApiState:
    """One process' worth of the API; lives on one event loop."""

    def __init__(self, parts: ApiParts) -> None:
        self.parts = parts
        self.tokens = Tokens(parts.pepper)
        self.reader = Reader(parts.database_url, HOT, 2)
        self.bulk = Reader(parts.database_url, (), 2)
        self.writes = WritePool(parts.database_url, 4)
        self.limit = RateLimit(parts.requests_per_s, parts.burst)
        self.strangers = RateLimit(1.0, 30)
        """Wrong keys and codes, per address."""
        self.heavy = asyncio.Semaphore(2)
        """Telemetry answers in the making: each may take hundreds of megabytes."""
        self.hub_key_raw = parts.hub_key.public_key().public_bytes_raw()
        self.hub_key_id = key_id(self.hub_key_raw)
        self.started_s = time.time()

    async def write(self, who: "Actor", work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Run `work` in a thread, in one tenant transaction of the actor's organisation."""
        return await asyncio.to_thread(self.write_now, who, work)

    def write_now(self, who: "Actor", work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """The same, in the calling thread."""
        with self.writes.connection() as conn, tenant(conn, who.org_id, who.name, who.request_id, who.address):
            return work(conn)

    def log_now(self, org_id: UUID, work: Callable[[psycopg.Connection[Any]], None]) -> None:
        """Run `work` as the hub itself, in the calling thread."""
        with self.writes.connection() as conn, tenant(conn, org_id, "hub api"):
            work(conn)

    def close(self) -> None:
        """Close every connection, stop every thread."""
        for part in (self.parts.publishing, self.parts.receiving):
            if part is not None:
                part.close()
        self.reader.close()
        self.bulk.close()
        self.writes.close()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something, for the audit log."""

    org_id: UUID
    name: str
    request_id: str
    address: str

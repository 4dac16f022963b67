"""The ingest process: one intake, one database connection; any number of them side by side."""

import fcntl
import hashlib
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import psycopg

from hub.ingest.intake import Intake, Stopped
from hub.ingest.intake_mqtt import MqttAddress, MqttIntake
from hub.ingest.intake_nats import NatsAddress, NatsIntake
from hub.ingest.memory import keep_freed_memory
from hub.ingest.pipeline import Arrival, HubKey, Pipeline, SignedReceipt
from hub.installation import BrokerAddress, Installation
from hub.migrate import check
from shared.ids import key_id

log = logging.getLogger("dbx.ingest")
LONGEST_PAUSE_S = 10.0
REPORT_S = 60.0
MOST_SLOTS = 256


class Database:
    """The pipeline on a connection that is made again when it breaks."""

    def __init__(self, url: str, hub_key: HubKey, stop: threading.Event) -> None:
        self._url = url
        self._hub_key = hub_key
        self._stop = stop
        self._pipeline: Pipeline | None = None
        self._reported_s = time.monotonic()

    def take(self, arrivals: Sequence[Arrival]) -> list[SignedReceipt]:
        """Commit; while the database is gone, wait and try again. Stopped when the process is to end meanwhile."""
        pause_s, failures = 0.1, 0
        while True:
            try:
                receipts = self._open().handle(arrivals)
            except psycopg.Error as e:
                failures += 1
                if failures in (1, 10) or failures % 100 == 0:
                    log.error("database failed; nothing acknowledged", extra={"error": str(e), "times": failures})
                self.close()
            else:
                if failures:
                    log.info("database is back", extra={"times": failures})
                self._report()
                return receipts
            if self._stop.wait(pause_s):
                raise Stopped
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _open(self) -> Pipeline:
        if self._pipeline is None:
            conn = psycopg.connect(self._url, autocommit=True, connect_timeout=10, application_name="dbx-ingest")
            check(conn)
            conn.execute("SET statement_timeout = '60s'")
            conn.execute("SET client_min_messages = error")
            self._pipeline = Pipeline(conn, self._hub_key)
        return self._pipeline

    def close(self) -> None:
        """Drop the connection."""
        if self._pipeline is not None:
            self._pipeline.conn.close()
            self._pipeline = None

    def _report(self) -> None:
        if self._pipeline is not None and time.monotonic() > self._reported_s + REPORT_S:
            log.info("ingested", extra=dict(self._pipeline.counters))
            self._reported_s = time.monotonic()


def run(installation: Installation, stop: threading.Event) -> None:
    """Take in batches until `stop`. What `dbx hub ingest` runs."""
    keep_freed_memory()
    key = installation.hub_key
    hub_key = HubKey(key, key_id(key.public_key().public_bytes_raw()))
    database = Database(installation.database_url("dbx_ingest"), hub_key, stop)
    with Slot(installation.folder / "ingest") as slot:
        log.info("ingest runs", extra={"slot": slot.number})
        try:
            intake_of(installation.broker, slot.number).run(database.take, stop)
        finally:
            database.close()


def intake_of(broker: BrokerAddress, slot: int) -> Intake:
    """The intake for a broker: JetStream for nats://, else MQTT."""
    tls = broker.credentials.client_context()
    if broker.scheme == "nats":
        return NatsIntake(NatsAddress(f"tls://{broker.host}:{broker.port}", tls))
    return MqttIntake(MqttAddress(broker.host, broker.port, tls, session_name(broker)), slot)


def session_name(broker: BrokerAddress) -> str:
    """Of the hub's sessions at an MQTT broker. Who knows one can take it over: made from our TLS key."""
    secret = b"dbx-ingest-session-v1\0" + broker.credentials.key.read_bytes()
    return f"dbx-ingest-{hashlib.sha256(secret).hexdigest()[:32]}"


class Slot:
    """The lowest number that no other ingest process of this data folder holds: what its broker session is named by."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._file: IO[str] | None = None
        self.number = 0

    def __enter__(self) -> "Slot":
        for number in range(MOST_SLOTS):
            file = (self._folder / f"slot-{number}").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            self._file, self.number = file, number
            return self
        raise RuntimeError(f"more than {MOST_SLOTS} ingest processes on one data folder")

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

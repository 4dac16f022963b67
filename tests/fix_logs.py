"""Recorded logs on their way into a hub: stations that pack and seal them as the import tool does."""

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_bridge.log_packing import pack
from firmware_bridge.log_tables import LogFormat
from hub.ingest.pipeline import Arrival, HubKey, Pipeline
from hub.ingest.table_rows import RowTypes
from hub.store.log_arrivals import log_id
from hub.store.rows import use_rows
from hub.store.tenant import tenant
from hub.worker.log_shelf import LogShelf, open_shelf
from hub.worker.logs import take_in
from hub.worker.settle import Settled, settle
from shared.ids import key_id
from shared.records import LogManifest, LogPart, Record
from shared.topics import Lane
from tests.fix_dataflash import dataflash_log
from tests.fix_fleet import Hub, Recorder
from tests.fix_hub_database import HubDatabase

IMPORTED_US = 1_790_000_000_000_000
PART_BYTES = 16 << 10


def new_station(database: HubDatabase, org_id: uuid.UUID, name: str = "Laptop", kind: str = "station") -> Recorder:
    """An enrolled station (or aircraft) of an organisation."""
    r = Recorder(org_id, uuid.uuid4())
    public = r.key.public_key().public_bytes_raw()
    with database.connect("dbx_api") as api, tenant(api, org_id, actor="test"):
        api.execute(
            "INSERT INTO aircraft_registry (org_id, aircraft_id, name, kind) VALUES (%s, %s, %s, %s)",
            (org_id, r.aircraft_id, name, kind),
        )
        api.execute(
            "INSERT INTO device_keys (org_id, key_id, device_id, aircraft_id, public_key) VALUES (%s, %s, %s, %s, %s)",
            (org_id, r.key_id, uuid.uuid4(), r.aircraft_id, public),
        )
    return r


def records_of(
    data: bytes, format: LogFormat = "dataflash", aircraft: uuid.UUID | None = None, part_bytes: int = PART_BYTES,
    **changes: Any,
) -> list[Record]:  # fmt: skip
    """A log's parts, in order, and its manifest. changes: fields of the manifest to set otherwise."""
    name = hashlib.sha256(data).digest()
    packed = b"".join(pack([data], format))
    parts: list[Record] = [
        LogPart(name, at, packed[at : at + part_bytes]) for at in range(0, len(packed), part_bytes)
    ]  # fmt: skip
    facts: dict[str, Any] = {
        "log": name, "size_bytes": len(data), "packed_bytes": len(packed),
        "packed_sha256": hashlib.sha256(packed).digest(), "format": format, "name": "00000042.BIN", "origin": "card",
        "imported_us": IMPORTED_US, "aircraft": aircraft,
    }  # fmt: skip
    return [*parts, LogManifest(**(facts | changes))]


def sealed(r: Recorder, records: Sequence[Record], together: int = 4) -> list[Arrival]:
    """Records in bulk batches of a station."""
    groups = [records[at : at + together] for at in range(0, len(records), together)]
    envelopes = [r.seal(records=g, lane=Lane.bulk, clock=(), vehicle=None) for g in groups]
    return [r.arrival(e, Lane.bulk) for e in envelopes]


def store_log(database: HubDatabase, org_id: uuid.UUID, data: bytes | None = None) -> bytes:
    """A log that has come to the hub and was taken in; its SHA-256."""
    data = dataflash_log(8.0) if data is None else data
    key = Ed25519PrivateKey.generate()
    with database.connect("dbx_ingest") as conn:
        pipeline = Pipeline(conn, HubKey(key, key_id(key.public_key().public_bytes_raw())))
        pipeline.handle(sealed(new_station(database, org_id), records_of(data)))
    name = hashlib.sha256(data).digest()
    with database.connect("dbx_worker") as conn, open_shelf() as shelf:
        use_rows(conn)
        take_in(conn, RowTypes(conn), org_id, log_id(name), shelf)
    return name


@dataclass
class LogHub:
    """A hub that ingests and takes logs in, job by job, as the worker would."""

    hub: Hub
    conn: psycopg.Connection[Any]
    shelf: LogShelf
    types: RowTypes = field(init=False)

    def __post_init__(self) -> None:
        use_rows(self.conn)
        self.types = RowTypes(self.conn)

    def station(self, org_id: uuid.UUID, name: str = "Laptop") -> Recorder:
        return new_station(self.hub.database, org_id, name)

    def send(self, arrivals: Sequence[Arrival]) -> None:
        self.hub.pipeline.handle(arrivals)

    def deliver(self, station: Recorder, data: bytes, format: LogFormat = "dataflash", **facts: Any) -> bytes:
        """Have a station send a log; its SHA-256."""
        self.send(sealed(station, records_of(data, format, **facts)))
        return hashlib.sha256(data).digest()

    def take_in(self, org_id: uuid.UUID, log: bytes) -> list[uuid.UUID]:
        """Do the job on a log, and settle what it names."""
        flights = take_in(self.conn, self.types, org_id, log_id(log), self.shelf)
        for flight in flights:
            self.settle(org_id, flight)
        return flights

    def settle(self, org_id: uuid.UUID, flight: uuid.UUID) -> Settled | None:
        return settle(self.conn, self.types, org_id, flight, self.shelf)

    def log(self, org_id: uuid.UUID, log: bytes, columns: str = "state") -> Any:
        """Columns of a log's row."""
        rows = self.hub.rows(org_id, f"SELECT {columns} FROM logs WHERE sha256 = %s", log)
        return rows[0][0] if len(rows[0]) == 1 else rows[0]

    def telemetry(self, org_id: uuid.UUID, flight: uuid.UUID) -> list[tuple[Any, ...]]:
        """Rows of a flight, in order, without their ids."""
        query = 'SELECT * FROM flight_telemetry WHERE session_id = %s ORDER BY "timestamp"'
        return [r[3:] for r in self.hub.rows(org_id, query, flight)]


@pytest.fixture
def log_hub(ingest_hub: Hub) -> Iterator[LogHub]:
    """Ingest and worker over one database."""
    with ingest_hub.database.connect("dbx_worker") as conn, open_shelf() as shelf:
        yield LogHub(ingest_hub, conn, shelf)

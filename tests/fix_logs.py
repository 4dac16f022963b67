"""Recorded logs on their way into a hub: stations that pack and seal them as the import tool does."""

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_bridge.grid import ChannelGrid
from firmware_bridge.log_flight import derive
from firmware_bridge.log_packing import pack
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import survey
from firmware_bridge.log_tables import LogFormat
from hub.ingest.pipeline import Arrival, HubKey, Pipeline
from hub.ingest.table_rows import RowTypes
from hub.store.log_arrivals import log_id
from hub.store.logs import assign
from hub.store.rows import use_rows
from hub.store.tenant import tenant
from hub.worker.log_shelf import LogShelf, open_shelf
from hub.worker.logs import take_in
from hub.worker.rederive import joined
from hub.worker.settle import Settled, settle
from shared.clock import ClockSource, TimeMapping
from shared.frames import Frames
from shared.ids import key_id, new_id
from shared.records import LogManifest, LogPart, Record, SessionClose, SessionOpen
from shared.timeline import physical
from shared.topics import Lane
from tests.fix_dataflash import dataflash_log
from tests.fix_fleet import Hub, Recorder, frame
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

    def assign(self, org_id: uuid.UUID, log: bytes, aircraft: uuid.UUID | None) -> None:
        """Say whose a log is, as a person does."""
        with self.hub.database.connect("dbx_api") as api, tenant(api, org_id, actor="test"):
            assign(api, org_id, log, aircraft, "test")

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


@dataclass(frozen=True)
class Flown:
    """A flight as the autopilot's own log has it, and what it would have sent meanwhile. first_us, last_us: UTC of
    its rows. boot_us: UTC of its power-up."""

    log: bytes
    first_us: int
    last_us: int
    armed_us: int
    disarmed_us: int
    boot_us: int
    grid: ChannelGrid

    def frames(self, first_us: int, last_us: int, base_us: int) -> Frames:
        """HEARTBEAT, ATTITUDE and GLOBAL_POSITION_INT at (first, last] UTC, on a clock that begins at base."""
        raw: list[bytes] = []
        times: list[int] = []
        values = physical(self.grid.values)
        for i in np.flatnonzero((self.grid.tick_us > first_us) & (self.grid.tick_us <= last_us)).tolist():
            at = int(self.grid.tick_us[i])
            now = {k: float(v[i]) for k, v in values.items() if v.ndim == 1 and not np.isnan(v[i])}
            boot_ms, n = (at - self.boot_us) // 1000, len(raw)
            is_armed = self.armed_us <= at < self.disarmed_us
            if at % 1_000_000 == 0:
                raw.append(frame(0, n, type=2, autopilot=3, base_mode=128 * is_armed, custom_mode=5, system_status=4))
            raw.append(frame(30, n, time_boot_ms=boot_ms, roll=now["roll_rad"], pitch=now["pitch_rad"],
                             yaw=now["yaw_rad"]))  # fmt: skip
            if "lat_deg" in now:
                raw.append(frame(33, n, time_boot_ms=boot_ms, lat=round(now["lat_deg"] * 1e7),
                                 lon=round(now["lon_deg"] * 1e7), relative_alt=round(now["alt_rel_m"] * 1e3),
                                 alt=round(now.get("alt_msl_m", 0) * 1e3)))  # fmt: skip
            times += [at - base_us] * (len(raw) - len(times))
        offsets = np.concatenate([[0], np.cumsum([len(r) for r in raw])]).astype(np.int64)
        return Frames(b"".join(raw), offsets, np.array(times, np.int64))


def flown(seconds: float = 40.0, **how: Any) -> Flown:
    """A hop of a quadcopter; `how`: see dataflash_log. One with GPS: without it nothing is dated."""
    data = dataflash_log(seconds, **how)
    source = LogSource(data, "a.BIN")
    found = survey(source)
    (flight,) = derive(source, found)
    whole, offset, boot = joined(flight.grids), flight.offset_us, flight.boot
    ticks = whole.tick_us + offset
    assert boot.boot_us is not None
    return Flown(
        data, int(ticks[0]), int(ticks[-1]), flight.session.start_us + offset, flight.session.end_us + offset,
        boot.first_us - boot.boot_us + offset, ChannelGrid(ticks, whole.values),
    )  # fmt: skip


def fly_live(
    r: Recorder, f: Flown, lost: Sequence[tuple[float, float]] = (), is_dated: bool = True, base_us: int | None = None
) -> tuple[uuid.UUID, list[bytes]]:
    """The live stream of a flight without what falls in `lost` (seconds after its first row): session, envelopes.

    base_us: UTC of the recorder's time 0."""
    session, base, first_seq = new_id(), f.first_us - 100_000 if base_us is None else base_us, r.seq + 1
    r.clock = (TimeMapping(ClockSource.gps, 0, base, 1000),) if is_dated else ()
    armed, end = f.armed_us - base, f.disarmed_us - base
    out = [r.seal(session=session, lane=Lane.alert,
                  records=[SessionOpen(session, r.boot, armed, first_seq, 0, 1, 1, 3, 2, "")])]  # fmt: skip
    first = f.first_us - 100_000 - base
    for at in range(first, end, 2_000_000):
        covers = (at, min(at + 2_000_000, end))
        if not any(a <= (at - first) / 1e6 < b for a, b in lost):
            out.append(r.seal(f.frames(base + covers[0], base + covers[1], base), covers, session))
    closing = SessionClose(session, "disarmed", first_seq, r.seq, len(out), r.frames, 0, {}, {}, 0, end, armed, end,
                           r.prev)  # fmt: skip
    out.append(r.seal(session=session, records=[closing], lane=Lane.alert))
    return session, out

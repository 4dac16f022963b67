"""A fleet for tests of the hub: aircraft with keys, and the batches that their agents would seal."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.ingest.pipeline import Arrival, HubKey, Pipeline
from hub.store.tenant import tenant
from shared import batch as batches
from shared import topics
from shared.batch import Batch, Counts
from shared.clock import ClockSource, TimeMapping
from shared.codec import encode_block
from shared.envelope import BATCH_TYPE, digest, seal
from shared.frames import Frames, no_frames
from shared.ids import key_id, new_id
from shared.layouts import LAYOUTS
from shared.records import Record, SessionClose, SessionOpen, to_map
from shared.topics import Lane
from tests.fix_hub_database import HubDatabase

UTC0_US = 1_780_000_000_000_000
"""The UTC of recorder time 0 in these tests."""


def crc(msgid: int, body: bytes) -> bytes:
    """MAVLink's checksum over the frame from its length on, with CRC_EXTRA."""
    from pymavlink.generator.mavcrc import x25crc

    c = x25crc(body)
    c.accumulate(bytes([LAYOUTS[msgid].crc_extra]))
    return int(c.crc).to_bytes(2, "little")


def frame(msgid: int, seq: int, sysid: int = 1, compid: int = 1, **fields: Any) -> bytes:
    """One MAVLink 2 frame, payload truncated as the protocol says."""
    record = np.zeros(1, LAYOUTS[msgid].dtype)
    for name, value in fields.items():
        record[name] = value
    payload = record.tobytes().rstrip(b"\0") or b"\0"
    body = bytes([len(payload), 0, 0, seq % 256, sysid, compid]) + msgid.to_bytes(3, "little") + payload
    return b"\xfd" + body + crc(msgid, body)


def flight_frames(from_us: int, to_us: int, armed: bool = True) -> Frames:
    """Frames in (from, to]: HEARTBEAT at 1 Hz, ATTITUDE, GLOBAL_POSITION_INT, SYS_STATUS at 10 Hz."""
    raw: list[bytes] = []
    times: list[int] = []
    first = from_us // 100_000 + 1
    for k in range(first, to_us // 100_000 + 1):
        t = k * 100_000
        if k % 10 == 0:
            raw.append(frame(0, k, type=2, autopilot=3, base_mode=128 if armed else 0, custom_mode=4, system_status=4))
        raw.append(frame(30, k, time_boot_ms=t // 1000, roll=0.1, pitch=(k % 7) / 100, yaw=1.0))
        raw.append(
            frame(33, k, time_boot_ms=t // 1000, lat=473977418 + k, lon=85455939, alt=500_000, relative_alt=10_000 + k)
        )
        raw.append(frame(1, k, voltage_battery=12_000 - k % 100, current_battery=1500, battery_remaining=80))
        times += [t] * (len(raw) - len(times))
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in raw])]).astype(np.int64)
    return Frames(b"".join(raw), offsets, np.array(times, np.int64))


@dataclass
class Recorder:
    """An aircraft's agent as the hub sees it: seals what it is given, in sequence, chained."""

    org_id: uuid.UUID
    aircraft_id: uuid.UUID
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    stream: uuid.UUID = field(default_factory=new_id)
    boot: uuid.UUID = field(default_factory=new_id)
    clock: tuple[TimeMapping, ...] = (TimeMapping(ClockSource.gps, 0, UTC0_US, 1000),)
    seq: int = 0
    prev: bytes = batches.GENESIS
    at_us: int = 0
    frames: int = 0

    @property
    def key_id(self) -> bytes:
        return key_id(self.key.public_key().public_bytes_raw())

    def seal(
        self, frames: Frames | None = None, covers: tuple[int, int] | None = None, session: uuid.UUID | None = None,
        records: Sequence[Record] = (), lane: Lane = Lane.live, **changes: Any,
    ) -> bytes:  # fmt: skip
        """The next envelope. changes: fields of Batch to set otherwise."""
        frames = no_frames() if frames is None else frames
        self.seq += 1
        fields: dict[str, Any] = {
            "stream": self.stream, "seq": self.seq, "boot": self.boot, "session": session, "lane": lane,
            "prev": self.prev, "covers": covers or (self.at_us, self.at_us), "clock": self.clock,
            "counts": Counts(len(frames), len(frames.data)), "columns": encode_block(frames) if len(frames) else b"",
            "records": tuple(to_map(r) for r in records), "vehicle": (1, 1),
        }  # fmt: skip
        envelope = seal(batches.encode(Batch(**(fields | changes))), self.key, self.key_id, BATCH_TYPE)
        self.prev = digest(envelope)
        self.frames += len(frames)
        return envelope

    def fly(self, span_us: int, session: uuid.UUID | None = None, armed: bool = True) -> bytes:
        """The next span_us of flight, sealed."""
        covers = (self.at_us, self.at_us + span_us)
        self.at_us += span_us
        return self.seal(flight_frames(*covers, armed), covers, session)

    def arrival(self, envelope: bytes, lane: Lane = Lane.live) -> Arrival:
        return Arrival(topics.up(self.org_id, self.aircraft_id, lane), envelope)

    def arrivals(self, envelopes: Sequence[bytes]) -> list[Arrival]:
        return [self.arrival(e) for e in envelopes]


@dataclass
class Flight:
    """A whole flight: envelopes in order; session; how many frames and grid rows it has."""

    session: uuid.UUID
    envelopes: list[bytes]
    frames: int


def whole_flight(r: Recorder, batches_: int = 5, span_us: int = 2_000_000) -> Flight:
    """Pre-roll, opening record, `batches_` in flight, closing record with its manifest."""
    session = new_id()
    first_seq, first_us = r.seq + 1, r.at_us
    before = r.frames
    out = [r.fly(span_us, armed=False)]
    opening = SessionOpen(session, r.boot, r.at_us, first_seq, first_us, 1, 1, 3, 2, "ArduCopter 4.6.3")
    out.append(r.seal(session=session, records=[opening], lane=Lane.alert))
    out += [r.fly(span_us, session) for _ in range(batches_)]
    frames = r.frames - before
    closing = SessionClose(
        session, "disarmed", first_seq, r.seq, r.seq - first_seq + 1, frames, 0, {}, {"1/1": 3}, first_us, r.at_us,
        opening.armed_us, r.at_us, r.prev,
    )  # fmt: skip
    out.append(r.seal(session=session, records=[closing], lane=Lane.alert))
    return Flight(session, out, frames)


@dataclass
class Hub:
    """A hub's ingest on a database of its own."""

    database: HubDatabase
    hub_key: HubKey
    pipeline: Pipeline

    def new_recorder(self, org_id: uuid.UUID | None = None, **fields: Any) -> Recorder:
        """An enrolled aircraft, in a new organisation unless one is given."""
        org_id = org_id or self.database.new_organisation()
        recorder = Recorder(org_id, self.database.new_aircraft(org_id), **fields)
        self.enrol(recorder)
        return recorder

    def enrol(self, r: Recorder) -> None:
        with self.database.connect("dbx_api") as api, tenant(api, r.org_id, actor="test"):
            api.execute(
                "INSERT INTO device_keys (org_id, key_id, device_id, aircraft_id, public_key) VALUES (%s, %s,"
                " %s, %s, %s)",
                (r.org_id, r.key_id, uuid.uuid4(), r.aircraft_id, r.key.public_key().public_bytes_raw()),
            )

    def rows(self, org_id: uuid.UUID, query: str, *params: Any, role: str = "dbx_worker") -> list[tuple[Any, ...]]:
        """Read as a tenant."""
        with self.database.connect(role) as conn, tenant(conn, org_id):
            return conn.execute(query, params).fetchall()  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def ingest_hub(hub_database: HubDatabase) -> Iterator[Hub]:
    """Ingest as dbx_ingest."""
    key = Ed25519PrivateKey.generate()
    hub_key = HubKey(key, key_id(key.public_key().public_bytes_raw()))
    with hub_database.connect("dbx_ingest") as conn:
        yield Hub(hub_database, hub_key, Pipeline(conn, hub_key))

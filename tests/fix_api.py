"""The API over a real database: two organisations, keys of every role, one recorded flight each."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.testclient import TestClient

from hub.api.app import build_app
from hub.api.receiving import UploadReceiving
from hub.api.state import ApiParts
from hub.api.tokens import Tokens, new_api_key
from hub.ingest.pipeline import HubKey
from hub.pki import DeviceAuthority, SignedDevice
from hub.store.keys import create_key
from hub.store.tenant import tenant
from shared.envelope import digest
from shared.ids import key_id, new_id
from tests.fix_evidence import SignedFlight, new_key
from tests.fix_hub_database import HubDatabase

PEPPER = b"p" * 32
START_UTC_US = 1_700_000_000_000_000
HUB_KEY, HUB_PUBLIC = new_key(2)


@dataclass(frozen=True)
class StoredFlight:
    """Ids of a flight in the database, and what was signed on board."""

    flight_id: uuid.UUID
    aircraft_id: uuid.UUID
    stream_id: uuid.UUID
    device_key_id: str
    signed: SignedFlight


@dataclass
class Tenant:
    """An organisation with a key per role; `get`, `post` act with its viewer's or admin's key."""

    client: TestClient
    database: HubDatabase
    org_id: uuid.UUID
    keys: dict[str, str]
    key_ids: dict[str, uuid.UUID]

    def get(self, path: str, role: str = "viewer", **more: Any) -> Any:
        return self.client.get(path, headers=self.auth(role) | more.pop("headers", {}), **more)

    def post(self, path: str, body: Any = None, role: str = "admin", **more: Any) -> Any:
        return self.client.post(path, json=body, headers=self.auth(role) | more.pop("headers", {}), **more)

    def auth(self, role: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[role]}"}

    def store_flight(self, name: str = "Quad", start_utc_us: int = START_UTC_US, rows: int = 100) -> StoredFlight:
        """A closed, complete flight of `rows` grid rows, written as ingest writes it."""
        device = Ed25519PrivateKey.generate()
        raw = device.public_key().public_bytes_raw()
        signed = SignedFlight(stream=new_id(), flight=new_id(), device=(device, raw), hub=(HUB_KEY, HUB_PUBLIC))
        aircraft_id = self.database.new_aircraft(self.org_id, name)
        with self.database.connect("dbx_api") as conn, tenant(conn, self.org_id):
            conn.execute(
                "INSERT INTO device_keys (org_id, key_id, device_id, aircraft_id, public_key) VALUES (%s,%s,%s,%s,%s)",
                (self.org_id, key_id(raw), uuid.uuid4(), aircraft_id, raw),
            )
        with self.database.connect("dbx_ingest") as conn, tenant(conn, self.org_id):
            _store(conn, self.org_id, aircraft_id, signed, start_utc_us, rows)
        return StoredFlight(signed.flight, aircraft_id, signed.stream, key_id(raw).hex(), signed)


def _store(conn: Any, org: uuid.UUID, aircraft: uuid.UUID, signed: SignedFlight, start_utc_us: int, rows: int) -> None:
    boot, kid = uuid.UUID(int=3), key_id(signed.device[1])
    end = start_utc_us + (rows - 1) * 100_000
    conn.execute(
        "INSERT INTO streams (org_id, stream_id, aircraft_id, key_id, newest_seq, newest_boot)"
        " VALUES (%s,%s,%s,%s,%s,%s)",
        (org, signed.stream, aircraft, kid, signed.batches + 1, boot),
    )
    prev = bytes(32)
    for seq, envelope in signed.envelopes().items():
        frames = signed.frames if seq <= signed.batches else 0
        conn.execute(
            "INSERT INTO ingest_batches (org_id, stream_id, seq, aircraft_id, boot_id, session_id, digest, prev_digest,"
            " covers_from_us, covers_to_us, clock_offset_us, clock_uncertainty_us, frames, frame_bytes, envelope_bytes,"
            " lane, clock_source) VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,1000,%s,0,%s,1,3)",
            (org, signed.stream, seq, aircraft, boot, signed.flight, digest(envelope), prev, seq * 10**6,
             seq * 10**6 + 999_999, START_UTC_US, frames, len(envelope)),
        )  # fmt: skip
        conn.execute("INSERT INTO batch_envelopes VALUES (%s,%s,%s,%s)", (org, signed.stream, seq, envelope))
        prev = digest(envelope)
    conn.execute(
        "INSERT INTO flight_sessions (org_id, session_id, aircraft_id, stream_id, boot_id, state, first_seq, last_seq,"
        " clock_source, clock_offset_us, started_utc_us, ended_utc_us, sysid, compid, mav_type, mav_autopilot,"
        " close_reason, manifest_batches, manifest_frames, frames_by_message, wire_lost, complete, max_alt_rel_m)"
        " VALUES (%s,%s,%s,%s,%s,'closed',1,%s,3,%s,%s,%s,1,1,2,3,'disarmed',%s,%s,'{}','{}',true,12.5)",
        (org, signed.flight, aircraft, signed.stream, boot, signed.batches, START_UTC_US, start_utc_us, end,
         signed.batches, signed.batches * signed.frames),
    )  # fmt: skip
    motors = [1000 + i % 1000 for i in range(rows)] + [1500] * rows
    conn.execute(
        "INSERT INTO telemetry_chunks (org_id, session_id, t0_utc_us, t1_utc_us, aircraft_id, n, settled, lat_deg,"
        " lon_deg, alt_msl_m, battery_v, armed, flight_mode, motor_output_us)"
        " VALUES (%s,%s,%s,%s,%s,%s,false,%s,%s,%s,%s,%s,%s,%s)",
        (org, signed.flight, start_utc_us, end, aircraft, rows, [473977418 + i for i in range(rows)], [85455939] * rows,
         [48812] * rows, [None, *(1200 + i % 900 for i in range(rows - 1))], [0] * 10 + [1] * (rows - 10),
         [5] * (rows // 2) + [6] * (rows - rows // 2),
         motors),
    )  # fmt: skip
    conn.execute(
        "INSERT INTO flight_events VALUES (%s,%s,1,0,%s,%s,%s,0,'armed','info','armed',NULL)",
        (org, signed.stream, aircraft, signed.flight, start_utc_us + 10**6),
    )
    conn.execute(
        "INSERT INTO findings (org_id, finding_id, aircraft_id, session_id, source, kind, severity, score, threshold,"
        " start_us, end_us, start_utc_us, end_utc_us, model, feature_version, evidence) VALUES"
        " (%s,%s,%s,%s,'aircraft','vibration','warning',0.9,0.5,0,1,%s,%s,'m1',1,'[]')",
        (org, new_id(), aircraft, signed.flight, start_utc_us, start_utc_us + 10**6),
    )


@dataclass
class SimpleEnrolling:
    """A real device authority; the broker is only told of."""

    authority: DeviceAuthority
    let_in: list[tuple[uuid.UUID, uuid.UUID]] = field(default_factory=list)
    shut_out: list[tuple[uuid.UUID, str]] = field(default_factory=list)

    def certificate(
        self, csr_pem: str, org_id: uuid.UUID, aircraft_id: uuid.UUID, device_id: uuid.UUID
    ) -> SignedDevice:
        return self.authority.sign_device(csr_pem, org_id, aircraft_id, device_id)

    def ca_pem(self) -> str:
        return self.authority.ca_pem

    def broker(self) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": 8883, "tls": True}

    def enrolled(self, org_id: uuid.UUID, aircraft_id: uuid.UUID, device_id: uuid.UUID) -> None:
        self.let_in.append((org_id, aircraft_id))

    def revoked(self, org_id: uuid.UUID, aircraft_id: uuid.UUID, device_id: uuid.UUID, serial: str) -> None:
        self.shut_out.append((aircraft_id, serial))


@pytest.fixture
def api_client(hub_database: HubDatabase, tmp_path: Path) -> Iterator[TestClient]:
    """The application on a database of its own."""
    receiving = UploadReceiving(hub_database.url("dbx_ingest"), HubKey(HUB_KEY, key_id(HUB_PUBLIC)))
    parts = ApiParts(
        database_url=hub_database.url("dbx_api"), pepper=PEPPER, hub_key=HUB_KEY, receiving=receiving,
        enrolling=SimpleEnrolling(DeviceAuthority(tmp_path / "pki")),
    )  # fmt: skip
    with TestClient(build_app(parts)) as client:
        yield client


@pytest.fixture
def new_tenant(api_client: TestClient, hub_database: HubDatabase) -> Callable[[str], Tenant]:
    """Makes an organisation with a key of every role."""
    tokens = Tokens(PEPPER)

    def make(name: str) -> Tenant:
        org_id = hub_database.new_organisation(name)
        keys, ids = {}, {}
        with hub_database.connect("dbx_api") as conn, tenant(conn, org_id):
            for role in ("viewer", "operator", "admin", "auditor"):
                keys[role] = new_api_key()
                ids[role] = create_key(conn, org_id, new_id(), role, role, tokens.keyed_hash(keys[role])).id
        return Tenant(api_client, hub_database, org_id, keys, ids)

    return make


@pytest.fixture
def ours(new_tenant: Callable[[str], Tenant]) -> Tenant:
    """The organisation under test."""
    return new_tenant("Ours")


@pytest.fixture
def theirs(new_tenant: Callable[[str], Tenant]) -> Tenant:
    """Another organisation."""
    return new_tenant("Theirs")

"""An aircraft with flights of which rollups are known, as the worker writes them."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hub.store import maintenance
from hub.store.maintenance import QUANTITIES, Rollup
from hub.store.tenant import tenant
from hub.worker.maintenance import renew
from shared.ids import new_id
from tests.fix_api import START_UTC_US, Tenant

HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Flyer:
    """An aircraft of a tenant. `fly` adds a flight that begins `hour` hours after START_UTC_US."""

    of: Tenant
    aircraft_id: uuid.UUID
    first_flight: uuid.UUID

    def fly(self, hour: int, flying_s: float = 1800, used_mah: float | None = None, **measures: float) -> uuid.UUID:
        session = new_id()
        with self.of.database.connect() as admin, tenant(admin, self.of.org_id):
            admin.execute(
                "INSERT INTO flight_sessions (org_id, session_id, aircraft_id, stream_id, boot_id, state,"
                " started_utc_us, ended_utc_us) SELECT org_id, %s, aircraft_id, stream_id, boot_id, 'closed', %s, %s"
                " FROM flight_sessions WHERE session_id = %s",
                (session, START_UTC_US + hour * HOUR_US, START_UTC_US + hour * HOUR_US + 1, self.first_flight),
            )
        rollup = Rollup(flying_s + 60, flying_s, 1, used_mah, dict.fromkeys(QUANTITIES, None) | measures)
        with self.worker() as conn, tenant(conn, self.of.org_id, actor="worker"):
            maintenance.put_rollup(conn, self.of.org_id, self.aircraft_id, session, rollup)
        return session

    def find(self, session: uuid.UUID, kind: str, severity: str = "critical", start_us: int = 0) -> uuid.UUID:
        """A finding of the hub, as the worker writes it."""
        finding = new_id()
        with self.worker() as conn, tenant(conn, self.of.org_id, actor="worker"):
            conn.execute(
                "INSERT INTO findings (org_id, finding_id, aircraft_id, session_id, source, kind, severity, score,"
                " threshold, start_us, end_us, start_utc_us, end_utc_us, model, feature_version)"
                " VALUES (%s, %s, %s, %s, 'hub', %s, %s, 2, 1, %s, %s, 0, 1, 'edge 2', 2)",
                (self.of.org_id, finding, self.aircraft_id, session, kind, severity, start_us, start_us + 9),
            )
        return finding

    def renew(self) -> None:
        """What the worker does after each flight: trends, then proposals."""
        with self.worker() as conn, tenant(conn, self.of.org_id, actor="worker"):
            renew(conn, self.of.org_id, self.aircraft_id)

    def worker(self) -> Any:
        return self.of.database.connect("dbx_worker")

    def path(self, end: str) -> str:
        return f"/v1/aircraft/{self.aircraft_id}/{end}"

    def score(self) -> dict[str, Any]:
        return self.of.get(self.path("maintenance")).json()  # type: ignore[no-any-return]


@pytest.fixture
def new_flyer() -> Callable[..., Flyer]:
    """Makes an aircraft of a tenant, without findings."""

    def make(of: Tenant, name: str = "Quad") -> Flyer:
        stored = of.store_flight(name)
        with of.database.connect("dbx_worker") as conn, tenant(conn, of.org_id):
            conn.execute("DELETE FROM findings WHERE org_id = %s", (of.org_id,))
        return Flyer(of, stored.aircraft_id, stored.flight_id)

    return make


@pytest.fixture
def flyer(ours: Tenant, new_flyer: Callable[..., Flyer]) -> Flyer:
    """An aircraft of the organisation under test."""
    return new_flyer(ours)

"""A recorded flight through ingest, settling and what the worker makes of it for maintenance; findings by hand."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pytest

from hub.ingest.table_rows import RowTypes
from hub.store.rows import use_rows
from hub.store.tenant import tenant
from hub.worker.analysis import Analyst
from hub.worker.maintenance import maintain
from hub.worker.settle import Settled, settle
from shared.features import FEATURES
from shared.frames import Frames
from shared.ids import new_id
from shared.scoring import packaged_bundle
from tests.fix_fleet import Hub, Recorder
from tests.fix_model_flights import MOTOR_STOPS_S
from tests.integration.test_models_in_the_hub import fly, work


@dataclass
class Flown:
    """A settled flight, and the worker's connection."""

    hub: Hub
    recorder: Recorder
    session: uuid.UUID
    settled: Settled
    conn: psycopg.Connection[Any]

    def maintain(self) -> None:
        r = self.recorder
        with tenant(self.conn, r.org_id, actor="worker"):
            maintain(self.conn, r.org_id, r.aircraft_id, self.session, self.settled.grids, "copter")

    def find(self, kind: str, start_us: int, end_us: int) -> None:
        r = self.recorder
        with tenant(self.conn, r.org_id, actor="worker"):
            self.conn.execute(
                "INSERT INTO findings (org_id, finding_id, aircraft_id, session_id, source, kind, severity, score,"
                " threshold, start_us, end_us, start_utc_us, end_utc_us, model, feature_version)"
                " VALUES (%s, %s, %s, %s, 'hub', %s, 'critical', 2, 1, %s, %s, 0, 1, 'edge 2', 2)",
                (r.org_id, new_id(), r.aircraft_id, self.session, kind, start_us, end_us),
            )

    def rows(self, query: str) -> list[Any]:
        return self.hub.rows(self.recorder.org_id, query)


@pytest.fixture
def flown(ingest_hub: Hub, motor_failure: Frames) -> Iterator[Flown]:
    r = ingest_hub.new_recorder()
    session, envelopes = fly(r, motor_failure)
    ingest_hub.pipeline.handle(r.arrivals(envelopes))
    with ingest_hub.database.connect("dbx_worker") as conn:
        use_rows(conn)
        settled = settle(conn, RowTypes(conn), r.org_id, session)
        assert settled is not None
        yield Flown(ingest_hub, r, session, settled, conn)


def test_a_flight_has_one_rollup_however_often_it_is_looked_at(flown: Flown) -> None:
    flown.maintain()
    query = "SELECT session_id, flying_s, arm_cycles, vibe_hover_z_mps2, battery_used_mah FROM flight_rollups"
    first = flown.rows(query)
    ((session, flying_s, arm_cycles, vibration, used),) = first
    assert session == flown.session and arm_cycles == 1
    assert 0.6 * MOTOR_STOPS_S < flying_s <= 26
    assert vibration is None or 0 < vibration < 100
    assert 0 < used < 2000
    flown.maintain()
    assert flown.rows(query) == first


def test_the_vectors_in_each_findings_span_are_kept_and_replaced(flown: Flown) -> None:
    begin = int(flown.settled.grids[0].tick_us[0])
    flown.find("motor_fail", begin + 10_000_000, begin + 15_000_000)
    flown.find("vibration", begin, begin + 20_000_000)
    for _ in range(2):
        flown.maintain()
    kept = flown.rows("SELECT start_us, features, vectors, aircraft_class FROM finding_vectors ORDER BY start_us DESC")
    assert [(k[0] - begin, k[1], k[3]) for k in kept] == [
        (10_000_000, len(FEATURES), "copter"),
        (0, len(FEATURES), "copter"),
    ]
    vectors = np.frombuffer(kept[0][2], "<f4").reshape(-1, len(FEATURES))
    assert 5 <= len(vectors) <= 6 and np.isfinite(vectors).any()


def test_a_flight_without_findings_keeps_no_vectors(flown: Flown) -> None:
    flown.maintain()
    assert flown.rows("SELECT count(*) FROM finding_vectors") == [(0,)]


def test_a_failed_motor_is_proposed_to_be_seen_to_once(flown: Flown) -> None:
    begin = int(flown.settled.grids[0].tick_us[0])
    flown.find("motor_fail", begin, begin + 1)
    flown.find("motor_fail", begin + 5, begin + 9)
    for _ in range(2):
        flown.maintain()
    assert flown.rows("SELECT reason, state, proposed, priority FROM work_orders") == [
        ("finding:motor_fail", "open", True, "CRITICAL")
    ]


def test_the_worker_does_all_this_after_the_analysis(ingest_hub: Hub, motor_failure: Frames) -> None:
    r = ingest_hub.new_recorder()
    session, envelopes = fly(r, motor_failure)
    ingest_hub.pipeline.handle(r.arrivals(envelopes))
    with ingest_hub.database.connect("dbx_worker") as conn:
        work(ingest_hub, conn, Analyst(packaged_bundle()))
    assert ingest_hub.rows(r.org_id, "SELECT session_id FROM flight_rollups") == [(session,)]
    spans = ingest_hub.rows(r.org_id, "SELECT DISTINCT start_us, end_us FROM findings ORDER BY 1, 2")
    assert spans and ingest_hub.rows(r.org_id, "SELECT start_us, end_us FROM finding_vectors ORDER BY 1, 2") == spans

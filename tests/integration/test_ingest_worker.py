"""The worker on a real database: jobs that ingest asked for, done."""

from collections.abc import Iterator
from typing import Any

import pytest

from hub.ingest.pipeline import Arrival
from hub.worker import process as worker_process
from hub.worker.analysis import Analyst
from hub.worker.process import Worker
from shared.scoring import packaged_bundle
from tests.fix_fleet import Hub, whole_flight


@pytest.fixture
def worker(ingest_hub: Hub) -> Iterator[Worker]:
    with ingest_hub.database.connect("dbx_worker") as conn:
        yield Worker(conn, Analyst(packaged_bundle()))


def make_due(hub: Hub) -> None:
    with hub.database.connect() as admin:
        admin.execute("UPDATE jobs SET run_after = now() - interval '1 minute', started_at = NULL")


def test_a_closed_flight_is_settled_and_analysed(ingest_hub: Hub, worker: Worker) -> None:
    r = ingest_hub.new_recorder()
    flight = whole_flight(r, batches_=8)
    ingest_hub.pipeline.handle(r.arrivals(flight.envelopes))
    make_due(ingest_hub)
    assert worker.run_due() == 1
    rows = ingest_hub.rows(
        r.org_id,
        "SELECT s.complete, s.settled_at IS NOT NULL, m.risk_level FROM flight_sessions s"
        " JOIN ml_analysis_results m ON m.session_id = s.session_id",
    )
    assert rows == [(True, True, rows[0][2])]
    assert ingest_hub.rows(r.org_id, "SELECT count(*) FROM jobs") == [(0,)]
    assert worker.run_due() == 0


def test_a_flight_whose_aircraft_fell_silent_is_closed_and_opened_again_by_more_data(
    ingest_hub: Hub, worker: Worker
) -> None:
    r = ingest_hub.new_recorder()
    *flight, closing = whole_flight(r, batches_=3).envelopes
    late = flight.pop()
    ingest_hub.pipeline.handle(r.arrivals(flight))
    with ingest_hub.database.connect() as admin:
        admin.execute("UPDATE flight_sessions SET last_seen_at = now() - interval '3 hours'")
    worker.run_due()
    make_due(ingest_hub)
    worker.run_due()
    state = "SELECT state, close_reason FROM flight_sessions"
    assert ingest_hub.rows(r.org_id, state) == [("closed", "silent")]
    assert ingest_hub.rows(r.org_id, "SELECT count(*) FROM ml_analysis_results") == [(1,)]
    ingest_hub.pipeline.handle(r.arrivals([late]))
    assert ingest_hub.rows(r.org_id, state)[0][0] == "live"
    ingest_hub.pipeline.handle(r.arrivals([closing]))
    assert ingest_hub.rows(r.org_id, state) == [("closed", "disarmed")]


def test_jobs_of_all_organisations_are_done(ingest_hub: Hub, worker: Worker) -> None:
    arrivals: list[Arrival] = []
    recorders = [ingest_hub.new_recorder() for _ in range(3)]
    for r in recorders:
        arrivals += r.arrivals(whole_flight(r, batches_=2).envelopes)
    ingest_hub.pipeline.handle(arrivals)
    make_due(ingest_hub)
    assert worker.run_due() == 3


def test_a_job_that_fails_says_why_and_waits(ingest_hub: Hub, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    r = ingest_hub.new_recorder()
    ingest_hub.pipeline.handle(r.arrivals(whole_flight(r, batches_=2).envelopes))
    make_due(ingest_hub)

    def failing(*_: Any) -> None:
        raise ZeroDivisionError("a bug of ours")

    with monkeypatch.context() as patch:
        patch.setattr(worker_process, "settle", failing)
        assert worker.run_due() == 1
    rows = ingest_hub.rows(r.org_id, "SELECT last_error, run_after > now(), attempts FROM jobs")
    assert rows == [("ZeroDivisionError: a bug of ours", True, 1)]
    assert worker.run_due() == 0
    make_due(ingest_hub)
    assert worker.run_due() == 1
    assert ingest_hub.rows(r.org_id, "SELECT count(*) FROM jobs") == [(0,)]


def test_a_flight_that_closes_is_settled_at_once_although_its_opening_asked_for_later(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    envelopes = whole_flight(r).envelopes
    due = "SELECT extract(epoch FROM run_after - now()) FROM jobs"
    ingest_hub.pipeline.handle(r.arrivals(envelopes[:-1]))
    assert 5 < ingest_hub.rows(r.org_id, due)[0][0] <= 10
    ingest_hub.pipeline.handle(r.arrivals(envelopes[-1:]))
    ((wait_s,),) = ingest_hub.rows(r.org_id, due)
    assert wait_s <= 1

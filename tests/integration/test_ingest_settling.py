"""Settling: a flight derived again, whole and once, whatever came when."""

import random
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.ingest.table_rows import RowTypes
from hub.store.rows import use_rows
from hub.worker.settle import settle
from shared.clock import ClockSource, TimeMapping
from shared.ids import new_id
from shared.records import Gap, SessionOpen
from shared.topics import Lane
from tests.fix_fleet import UTC0_US, Hub, Recorder, flight_frames, whole_flight

TIMES = (
    'SELECT (extract(epoch FROM "timestamp") * 1000000)::bigint FROM flight_state WHERE session_id = %s'
    ' ORDER BY "timestamp"'
)


@pytest.fixture
def worker(ingest_hub: Hub) -> Iterator[tuple[psycopg.Connection[Any], RowTypes]]:
    with ingest_hub.database.connect("dbx_worker") as conn:
        use_rows(conn)
        yield conn, RowTypes(conn)


def times(hub: Hub, org_id: uuid.UUID, session: uuid.UUID) -> list[int]:
    return [t for (t,) in hub.rows(org_id, TIMES, session)]


def test_a_settled_flight_has_its_pre_roll_and_held_values(ingest_hub: Hub, worker: Any) -> None:
    r = ingest_hub.new_recorder()
    flight = whole_flight(r, batches_=3)
    ingest_hub.pipeline.handle(r.arrivals(flight.envelopes))
    settled = settle(*worker, r.org_id, flight.session)
    assert settled is not None and settled.state == "closed"
    assert times(ingest_hub, r.org_id, flight.session) == [UTC0_US + k * 100_000 for k in range(1, 81)]
    armed = ingest_hub.rows(
        r.org_id, 'SELECT armed FROM flight_state WHERE session_id = %s ORDER BY "timestamp"', flight.session
    )
    assert [a for (a,) in armed] == [None] * 9 + [0] * 20 + [1] * 51
    chunks = ingest_hub.rows(r.org_id, "SELECT n, settled FROM telemetry_chunks")
    assert chunks == [(80, True)]
    row = ingest_hub.rows(
        r.org_id, "SELECT complete, started_utc_us, ended_utc_us, grid_rows, round(distance_m) FROM flight_sessions"
    )
    assert row == [(True, UTC0_US + 2_000_000, UTC0_US + 8_000_000, 80, 0)]


def test_events_are_told_once_and_from_the_beginning(ingest_hub: Hub, worker: Any) -> None:
    r = ingest_hub.new_recorder()
    flight = whole_flight(r, batches_=3)
    ingest_hub.pipeline.handle(r.arrivals(flight.envelopes))
    for _ in range(2):
        settle(*worker, r.org_id, flight.session)
        rows = ingest_hub.rows(
            r.org_id,
            "SELECT kind, at_utc_us FROM flight_events WHERE session_id = %s ORDER BY at_utc_us",
            flight.session,
        )
        assert rows == [("mode", UTC0_US + 1_000_000), ("armed", UTC0_US + 3_000_000)]


def test_settling_twice_changes_nothing(ingest_hub: Hub, worker: Any) -> None:
    r = ingest_hub.new_recorder()
    flight = whole_flight(r)
    ingest_hub.pipeline.handle(r.arrivals(flight.envelopes))
    settle(*worker, r.org_id, flight.session)
    before = ingest_hub.rows(r.org_id, "SELECT * FROM telemetry_chunks")
    settle(*worker, r.org_id, flight.session)
    assert ingest_hub.rows(r.org_id, "SELECT * FROM telemetry_chunks") == before


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
def test_order_duplicates_and_late_data_never_matter(ingest_hub: Hub, worker: Any, seed: int) -> None:
    dice = random.Random(seed)
    r = ingest_hub.new_recorder()
    flight = whole_flight(r, batches_=6, span_us=700_000)
    sent = flight.envelopes + dice.choices(flight.envelopes, k=5)
    dice.shuffle(sent)
    while sent:
        count = dice.randint(1, 5)
        ingest_hub.pipeline.handle(r.arrivals(sent[:count]))
        del sent[:count]
        if dice.random() < 0.4:
            settle(*worker, r.org_id, flight.session)
        found = times(ingest_hub, r.org_id, flight.session)
        assert len(found) == len(set(found)), "a timestamp twice"
    settle(*worker, r.org_id, flight.session)
    assert times(ingest_hub, r.org_id, flight.session) == [UTC0_US + k * 100_000 for k in range(1, 50)]
    assert ingest_hub.rows(r.org_id, "SELECT complete FROM flight_sessions WHERE session_id = %s", flight.session) == [
        (True,)
    ]
    total = ingest_hub.rows(r.org_id, "SELECT count(*), sum(frames) FROM ingest_batches WHERE stream_id = %s", r.stream)
    assert total == [(len(flight.envelopes), flight.frames)]


def test_late_data_asks_for_settling_again(ingest_hub: Hub, worker: Any) -> None:
    r = ingest_hub.new_recorder()
    flight = whole_flight(r)
    late = flight.envelopes.pop(3)
    ingest_hub.pipeline.handle(r.arrivals(flight.envelopes))
    settle(*worker, r.org_id, flight.session)
    assert ingest_hub.rows(r.org_id, "SELECT complete FROM flight_sessions") == [(False,)]
    with ingest_hub.database.connect() as admin:
        admin.execute("DELETE FROM jobs")
    ingest_hub.pipeline.handle(r.arrivals([late]))
    assert ingest_hub.rows(r.org_id, "SELECT kind, subject_id FROM jobs") == [("settle", flight.session)]
    settle(*worker, r.org_id, flight.session)
    assert ingest_hub.rows(r.org_id, "SELECT complete FROM flight_sessions") == [(True,)]


def test_rows_recorded_before_the_clock_was_known_are_timed_again(ingest_hub: Hub, worker: Any) -> None:
    r = ingest_hub.new_recorder(clock=())
    session = new_id()
    first = [r.fly(2_000_000, session), r.fly(2_000_000, session)]
    ingest_hub.pipeline.handle(r.arrivals(first))
    assert times(ingest_hub, r.org_id, session)[0] == 100_000, "shown as 1970 while unknown"
    r.clock = (TimeMapping(ClockSource.gps, 1_000_000, UTC0_US + 1_000_000, 500),)
    ingest_hub.pipeline.handle(r.arrivals([r.fly(2_000_000, session)]))
    found = times(ingest_hub, r.org_id, session)
    assert found == [k * 100_000 for k in range(1, 61)], "one clock for all rows until settled"
    assert ingest_hub.rows(r.org_id, "SELECT kind FROM jobs") == [("settle",)]
    settle(*worker, r.org_id, session)
    ingest_hub.pipeline.handle(r.arrivals([r.fly(2_000_000, session)]))
    assert times(ingest_hub, r.org_id, session) == [UTC0_US + k * 100_000 for k in range(1, 81)]


def test_batches_that_claim_the_same_time_give_each_row_once(ingest_hub: Hub, worker: Any) -> None:
    r = ingest_hub.new_recorder()
    session = new_id()
    frames = flight_frames(0, 3_000_000)
    envelopes = [r.seal(frames, (0, 3_000_000), session), r.seal(frames, (1_000_000, 4_000_000), session)]
    for e in envelopes:
        ingest_hub.pipeline.handle(r.arrivals([e]))
    found = times(ingest_hub, r.org_id, session)
    assert len(found) == len(set(found)) == 30
    settle(*worker, r.org_id, session)
    found = times(ingest_hub, r.org_id, session)
    assert len(found) == len(set(found)) >= 30


def test_two_flights_share_a_pre_roll_without_sharing_rows(ingest_hub: Hub, worker: Any) -> None:
    r: Recorder = ingest_hub.new_recorder()
    one, two = whole_flight(r, batches_=2), whole_flight(r, batches_=2)
    ingest_hub.pipeline.handle(r.arrivals(one.envelopes + two.envelopes))
    for session in (one.session, two.session, one.session):
        settle(*worker, r.org_id, session)
    rows = ingest_hub.rows(r.org_id, "SELECT complete, grid_rows FROM flight_sessions ORDER BY started_utc_us")
    assert rows == [(True, 60), (True, 60)]


def opened(r: Recorder) -> tuple[uuid.UUID, list[bytes]]:
    """A flight in the air: its session, and its envelopes so far."""
    session = new_id()
    opening = SessionOpen(session, r.boot, r.at_us, r.seq + 1, r.at_us, 1, 1, 3, 2)
    return session, [r.seal(session=session, records=[opening], lane=Lane.alert), r.fly(2_000_000, session)]


def state_of(hub: Hub, r: Recorder, session: uuid.UUID) -> tuple[str, str | None]:
    ((state, reason),) = hub.rows(
        r.org_id, "SELECT state, close_reason FROM flight_sessions WHERE session_id = %s", session
    )
    return state, reason


@pytest.mark.parametrize("is_told", [True, False])
def test_a_flight_whose_recorder_goes_on_with_another_store_is_closed(
    ingest_hub: Hub, worker: Any, is_told: bool
) -> None:
    old = ingest_hub.new_recorder()
    torn, envelopes = opened(old)
    ingest_hub.pipeline.handle(old.arrivals(envelopes))
    new = Recorder(old.org_id, old.aircraft_id, old.key)
    gap = Gap("store_reset", new.stream, detail="nothing could be read")
    flown, envelopes = opened(new)
    ingest_hub.pipeline.handle(new.arrivals([new.seal(records=[gap], lane=Lane.alert)] if is_told else envelopes))
    waiting = ingest_hub.rows(old.org_id, "SELECT count(*) FROM jobs WHERE subject_id = %s", torn)
    assert waiting == [(1,)]
    settle(*worker, old.org_id, torn)
    assert state_of(ingest_hub, old, torn) == ("closed", "store_reset")
    if not is_told:
        settle(*worker, old.org_id, flown)
        assert state_of(ingest_hub, new, flown) == ("live", None)


def test_a_gap_record_that_names_the_old_stream_closes_its_flight_whichever_came_first(
    ingest_hub: Hub, worker: Any
) -> None:
    old = ingest_hub.new_recorder()
    torn, envelopes = opened(old)
    new = Recorder(old.org_id, old.aircraft_id, old.key)
    gap = Gap("store_reset", old.stream, session=torn)
    ingest_hub.pipeline.handle(new.arrivals([new.seal(records=[gap], lane=Lane.alert)]))
    ingest_hub.pipeline.handle(old.arrivals(envelopes))
    settle(*worker, old.org_id, torn)
    assert state_of(ingest_hub, old, torn) == ("closed", "store_reset")


def test_a_second_recorder_of_an_aircraft_closes_no_flight_of_the_first(ingest_hub: Hub, worker: Any) -> None:
    first = ingest_hub.new_recorder()
    session, envelopes = opened(first)
    ingest_hub.pipeline.handle(first.arrivals(envelopes))
    second = Recorder(first.org_id, first.aircraft_id)
    ingest_hub.enrol(second)
    ingest_hub.pipeline.handle(second.arrivals(opened(second)[1]))
    settle(*worker, first.org_id, session)
    assert state_of(ingest_hub, first, session) == ("live", None)

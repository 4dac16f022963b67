"""Ingest on a real database, as its own role: envelopes in, rows and signed receipts out."""

import time

import pytest

from shared.clock import ClockSource, TimeMapping
from shared.envelope import RECEIPT_TYPE, digest, open_envelope
from shared.ids import new_id
from shared.receipt import decode_receipt
from shared.records import SessionOpen
from shared.topics import Lane
from tests.fix_fleet import UTC0_US, Hub, flight_frames, whole_flight


def test_a_flight_is_committed_and_receipted(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    flight = whole_flight(r)
    receipts = ingest_hub.pipeline.handle(r.arrivals(flight.envelopes))
    assert [(x.org_id, x.aircraft_id) for x in receipts] == [(r.org_id, r.aircraft_id)]
    opened = open_envelope(receipts[0].envelope, lambda _: ingest_hub.hub_key.key.public_key(), RECEIPT_TYPE)
    receipt = decode_receipt(opened.payload)
    assert receipt.committed() == {i: digest(e) for i, e in enumerate(flight.envelopes, 1)}
    rows = ingest_hub.rows(r.org_id, "SELECT count(*), sum(frames) FROM ingest_batches")
    assert rows == [(len(flight.envelopes), flight.frames)]
    state = ingest_hub.rows(
        r.org_id, "SELECT state, opened, firmware, manifest_frames, chain_head FROM flight_sessions"
    )
    assert state == [("closed", True, "ArduCopter 4.6.3", flight.frames, digest(flight.envelopes[-2]))]


def test_rows_are_on_the_grid_once_with_the_values_that_were_sent(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    flight = whole_flight(r, batches_=3)
    ingest_hub.pipeline.handle(r.arrivals(flight.envelopes))
    rows = ingest_hub.rows(
        r.org_id,
        'SELECT (extract(epoch FROM "timestamp") * 1000000)::bigint, lat_deg, battery_v, motor_rpm, armed'
        ' FROM flight_telemetry WHERE session_id = %s ORDER BY "timestamp"',
        flight.session,
    )
    assert [t for t, *_ in rows] == [UTC0_US + k * 100_000 for k in range(21, 81)]
    assert [lat for _, lat, *_ in rows] == [pytest.approx((473977418 + k) / 1e7, abs=1e-9) for k in range(21, 81)]
    assert rows[0][2] == 11.98
    assert rows[0][3] == [None] * 8
    said = [armed for *_, armed in rows]
    assert said == sorted(said), "what the HEARTBEAT before the flight said holds until the next"
    assert set(said) == {0, 1}


@pytest.mark.parametrize("lost", [None, 3])
def test_values_are_held_across_live_batches_unless_one_is_missing(ingest_hub: Hub, lost: int | None) -> None:
    r = ingest_hub.new_recorder()
    flight = whole_flight(r, batches_=4)
    for i, envelope in enumerate(flight.envelopes):
        if i != lost:
            ingest_hub.pipeline.handle(r.arrivals([envelope]))
    rows = ingest_hub.rows(
        r.org_id, 'SELECT armed FROM flight_telemetry WHERE session_id = %s ORDER BY "timestamp"', flight.session
    )
    assert len(rows) == (80 if lost is None else 60)
    unknown = [i for i, (armed,) in enumerate(rows) if armed is None]
    assert bool(unknown) == (lost is not None)
    assert lost is None or unknown[0] == 20, "right after the one that is missing"


STATE = "SELECT armed, battery_v, abs(at_utc_us - extract(epoch FROM now()) * 1000000) < 60000000 FROM aircraft_state"


def test_the_newest_state_follows_the_aircraft(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder(clock=clock_now())
    ingest_hub.pipeline.handle(r.arrivals([r.fly(2_000_000, armed=False), r.fly(2_000_000)]))
    armed, battery_v, is_now = ingest_hub.rows(r.org_id, STATE)[0]
    assert (armed, round(battery_v, 2), is_now) == (True, 11.96, True)


@pytest.mark.parametrize("years", [-60, -10, 10])
def test_a_wrong_clock_never_shuts_out_what_comes_later(ingest_hub: Hub, years: int) -> None:
    r = ingest_hub.new_recorder(clock=clock_now(years))
    ingest_hub.pipeline.handle([r.arrival(r.fly(2_000_000))])
    r.clock = clock_now()
    ingest_hub.pipeline.handle([r.arrival(r.fly(2_000_000, armed=False))])
    assert ingest_hub.rows(r.org_id, STATE)[0][::2] == (False, True)


def test_records_that_overtake_the_backlog_of_their_flight_do_not_shut_it_out(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()  # its clock says a day long past
    backlog = r.seal(flight_frames(0, 2_000_000), (0, 2_000_000), lane=Lane.backlog)
    opening = SessionOpen(new_id(), r.boot, 0, 1, 0, 1, 1, 3, 2, "ArduCopter 4.6.3")
    alert = r.seal(session=opening.session, records=[opening], lane=Lane.alert)
    ingest_hub.pipeline.handle([r.arrival(alert, Lane.alert)])
    ingest_hub.pipeline.handle([r.arrival(backlog, Lane.backlog)])
    ((battery_v, firmware),) = ingest_hub.rows(r.org_id, "SELECT battery_v, firmware FROM aircraft_state")
    assert (round(battery_v, 2), firmware) == (11.98, "ArduCopter 4.6.3")


def test_a_live_aircraft_without_a_clock_is_seen_now(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder(clock=())
    ingest_hub.pipeline.handle([r.arrival(r.fly(2_000_000))])
    assert ingest_hub.rows(r.org_id, STATE)[0][::2] == (True, True)


def clock_now(years: int = 0) -> tuple[TimeMapping, ...]:
    """A mapping by which recorder time 0 is now, or years from now."""
    now_us = int(time.time() * 1e6) + years * 31_557_600_000_000
    return (TimeMapping(ClockSource.system, 0, now_us, 1000),)

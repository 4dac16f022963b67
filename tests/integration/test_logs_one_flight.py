"""One flight from its live stream and its logs: no holes, no doubles, and it is known what came from where."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge.logs import open_log
from firmware_bridge.tlog import read_tlog, write_tlog
from shared.frames import Frames
from tests.fix_dataflash import dataflash_log
from tests.fix_fleet import Recorder
from tests.fix_logs import Flown, LogHub, flown, fly_live

HOLES = [(10.0, 16.0), (24.0, 30.0)]
COUNTS = "SELECT lost_rows, filled_rows FROM flight_sessions"
HOW = "SELECT method, offset_us FROM flight_logs"


@pytest.fixture(scope="module")
def hop() -> Flown:
    return flown()


@pytest.fixture
def aircraft(log_hub: LogHub) -> Recorder:
    return log_hub.hub.new_recorder()


def ticks(log_hub: LogHub, org_id: uuid.UUID, flight: uuid.UUID) -> list[int]:
    query = (
        'SELECT (extract(epoch FROM "timestamp") * 1000000)::bigint FROM flight_state WHERE session_id = %s'
        ' ORDER BY "timestamp"'
    )
    return [t for (t,) in log_hub.hub.rows(org_id, query, flight)]


def flights(log_hub: LogHub, r: Recorder) -> list[Any]:
    return log_hub.hub.rows(r.org_id, "SELECT session_id, origin FROM flight_sessions ORDER BY started_utc_us, origin")


def rows(log_hub: LogHub, org_id: uuid.UUID, flight: uuid.UUID) -> dict[int, tuple[Any, ...]]:
    return dict(zip(ticks(log_hub, org_id, flight), log_hub.telemetry(org_id, flight), strict=True))


def events(log_hub: LogHub, r: Recorder, flight: uuid.UUID) -> list[tuple[str, str]]:
    query = "SELECT kind, text FROM flight_events WHERE session_id = %s ORDER BY at_utc_us, event_no"
    return log_hub.hub.rows(r.org_id, query, flight)


def alone(log_hub: LogHub, data: bytes) -> dict[int, tuple[Any, ...]]:
    """The rows of a log that is imported where nothing else is."""
    r = log_hub.hub.new_recorder()
    log_hub.take_in(r.org_id, log_hub.deliver(log_hub.station(r.org_id), data, aircraft=r.aircraft_id))
    ((flight, origin),) = flights(log_hub, r)
    assert origin == "log"
    return rows(log_hub, r.org_id, flight)


def differing(merged: dict[int, tuple[Any, ...]], log: dict[int, tuple[Any, ...]]) -> list[int]:
    """The log's times at which the merged flight says another thing than the log."""
    return [
        t for t, row in log.items()
        if t not in merged or any(a is not None and a != b for a, b in zip(row, merged[t], strict=True))
    ]  # fmt: skip


def import_log(log_hub: LogHub, r: Recorder, data: bytes, **facts: Any) -> bytes:
    log = log_hub.deliver(log_hub.station(r.org_id), data, **({"aircraft": r.aircraft_id} | facts))
    log_hub.take_in(r.org_id, log)
    return log


def test_a_log_fills_the_holes_of_the_live_stream(log_hub: LogHub, aircraft: Recorder, hop: Flown) -> None:
    session, envelopes = fly_live(aircraft, hop, lost=HOLES)
    log_hub.send(aircraft.arrivals(envelopes))
    log_hub.settle(aircraft.org_id, session)
    assert log_hub.hub.rows(aircraft.org_id, COUNTS)[0][1] == 0
    import_log(log_hub, aircraft, hop.log)
    assert flights(log_hub, aircraft) == [(session, "live")]
    after = ticks(log_hub, aircraft.org_id, session)
    assert set(np.diff(after).tolist()) == {100_000} and len(after) == len(set(after))
    assert log_hub.hub.rows(aircraft.org_id, COUNTS) == [(120, 120)]
    assert not differing(rows(log_hub, aircraft.org_id, session), alone(log_hub, hop.log))


def test_it_is_known_what_came_from_where(log_hub: LogHub, aircraft: Recorder, hop: Flown) -> None:
    session, envelopes = fly_live(aircraft, hop, lost=HOLES)
    log_hub.send(aircraft.arrivals(envelopes))
    log = import_log(log_hub, aircraft, hop.log)
    found = log_hub.hub.rows(
        aircraft.org_id,
        "SELECT kind, sha256, stream_id, channels, from_utc_us, to_utc_us, grid_rows FROM flight_sources"
        " WHERE session_id = %s AND 'roll_rad' = ANY (channels) ORDER BY source_no",
        session,
    )
    assert [(kind, sha, stream) for kind, sha, stream, *_ in found] == [("onboard", log, None)]
    ((first, last, count),) = [row[4:] for row in found]
    assert (first, last, count) == (hop.first_us, hop.last_us, len(hop.grid.tick_us))


def test_settling_again_changes_nothing(log_hub: LogHub, aircraft: Recorder, hop: Flown) -> None:
    session, envelopes = fly_live(aircraft, hop, lost=HOLES)
    log_hub.send(aircraft.arrivals(envelopes))
    import_log(log_hub, aircraft, hop.log)
    tables = ("telemetry_chunks", "flight_events", "flight_sources", "flight_logs")
    before = [log_hub.hub.rows(aircraft.org_id, f"SELECT * FROM {t} ORDER BY 1, 2, 3, 4") for t in tables]
    log_hub.settle(aircraft.org_id, session)
    assert [log_hub.hub.rows(aircraft.org_id, f"SELECT * FROM {t} ORDER BY 1, 2, 3, 4") for t in tables] == before


def test_a_live_stream_that_comes_after_its_log_gives_the_same_flight(
    log_hub: LogHub, aircraft: Recorder, hop: Flown
) -> None:
    session, envelopes = fly_live(aircraft, hop, lost=HOLES)
    log_hub.send(aircraft.arrivals(envelopes))
    import_log(log_hub, aircraft, hop.log)
    first = rows(log_hub, aircraft.org_id, session), events(log_hub, aircraft, session)

    other = log_hub.hub.new_recorder()
    import_log(log_hub, other, hop.log)
    ((by_log, _),) = flights(log_hub, other)
    later, envelopes = fly_live(other, hop, lost=HOLES)
    log_hub.send(other.arrivals(envelopes))
    log_hub.settle(other.org_id, later)
    assert flights(log_hub, other) == [(later, "live")] and by_log != later
    assert (rows(log_hub, other.org_id, later), events(log_hub, other, later)) == first


def test_an_undated_live_stream_is_dated_by_the_log_of_the_same_boot(
    log_hub: LogHub, aircraft: Recorder, hop: Flown
) -> None:
    session, envelopes = fly_live(aircraft, hop, lost=HOLES, is_dated=False)
    log_hub.send(aircraft.arrivals(envelopes))
    log_hub.settle(aircraft.org_id, session)
    import_log(log_hub, aircraft, hop.log)
    assert flights(log_hub, aircraft) == [(session, "live")]
    ((started, source),) = log_hub.hub.rows(aircraft.org_id, "SELECT started_utc_us, clock_source FROM flight_sessions")
    assert abs(started - hop.armed_us) < 200_000 and source == 3
    assert not differing(rows(log_hub, aircraft.org_id, session), alone(log_hub, hop.log))


def test_an_undated_log_is_laid_on_the_live_stream_of_the_same_boot(
    log_hub: LogHub, aircraft: Recorder, hop: Flown
) -> None:
    session, envelopes = fly_live(aircraft, hop, lost=HOLES)
    log_hub.send(aircraft.arrivals(envelopes))
    import_log(log_hub, aircraft, dataflash_log(40.0, has_gps=False))
    assert flights(log_hub, aircraft) == [(session, "live")]
    assert [m for m, _ in log_hub.hub.rows(aircraft.org_id, HOW)] == ["boot"]
    after = ticks(log_hub, aircraft.org_id, session)
    assert set(np.diff(after).tolist()) == {100_000}


def test_another_flight_of_the_aircraft_is_not_touched(log_hub: LogHub, aircraft: Recorder, hop: Flown) -> None:
    session, envelopes = fly_live(aircraft, hop)
    log_hub.send(aircraft.arrivals(envelopes))
    log_hub.settle(aircraft.org_id, session)
    before = rows(log_hub, aircraft.org_id, session)
    import_log(log_hub, aircraft, flown(week_ms=205_200_000 + 3_600_000).log)
    assert [o for _, o in flights(log_hub, aircraft)] == ["live", "log"]
    log_hub.settle(aircraft.org_id, session)
    assert rows(log_hub, aircraft.org_id, session) == before


def test_a_log_of_another_aircraft_is_not_merged(log_hub: LogHub, aircraft: Recorder, hop: Flown) -> None:
    session, envelopes = fly_live(aircraft, hop, lost=HOLES)
    log_hub.send(aircraft.arrivals(envelopes))
    other = log_hub.hub.new_recorder(aircraft.org_id)
    import_log(log_hub, aircraft, hop.log, aircraft=other.aircraft_id)
    log_hub.settle(aircraft.org_id, session)
    assert log_hub.hub.rows(aircraft.org_id, COUNTS + " WHERE origin = 'live'") == [(120, 0)]


def test_the_same_log_by_three_people_is_one(log_hub: LogHub, aircraft: Recorder, hop: Flown) -> None:
    logs = {import_log(log_hub, aircraft, hop.log, name=f"{i}.BIN") for i in range(3)}
    ((flight, origin),) = flights(log_hub, aircraft)
    assert len(logs) == 1 and origin == "log"
    assert log_hub.hub.rows(aircraft.org_id, "SELECT count(*) FROM logs") == [(1,)]
    assert log_hub.hub.rows(aircraft.org_id, "SELECT count(*) FROM log_deliveries") == [(3,)]
    assert rows(log_hub, aircraft.org_id, flight) == alone(log_hub, hop.log)


@pytest.fixture(scope="module")
def long_hop() -> Flown:
    return flown(60.0)


def parts_of(data: bytes) -> dict[str, bytes]:
    third = len(data) // 3
    return {"prefix": data[: 2 * third], "tail": data[third + 7 :], "cut": data[:third] + data[-third:]}


@pytest.mark.parametrize("which", ["prefix", "tail", "cut"])
def test_a_part_of_a_log_that_is_here_refers_to_it(
    log_hub: LogHub, aircraft: Recorder, long_hop: Flown, which: str
) -> None:
    whole = import_log(log_hub, aircraft, long_hop.log)
    ((flight, _),) = flights(log_hub, aircraft)
    before = rows(log_hub, aircraft.org_id, flight)
    part = import_log(log_hub, aircraft, parts_of(long_hop.log)[which])
    assert log_hub.log(aircraft.org_id, part, "part_of") == whole
    assert flights(log_hub, aircraft) == [(flight, "log")] and rows(log_hub, aircraft.org_id, flight) == before


@pytest.mark.parametrize("which", ["prefix", "tail", "cut"])
def test_a_whole_log_supersedes_the_part_that_came_before(
    log_hub: LogHub, aircraft: Recorder, long_hop: Flown, which: str
) -> None:
    part = import_log(log_hub, aircraft, parts_of(long_hop.log)[which])
    whole = import_log(log_hub, aircraft, long_hop.log)
    assert log_hub.log(aircraft.org_id, part, "part_of") == whole
    ((flight, _),) = flights(log_hub, aircraft)
    assert [s for (s,) in log_hub.hub.rows(aircraft.org_id, "SELECT sha256 FROM flight_logs")] == [whole]
    assert rows(log_hub, aircraft.org_id, flight) == alone(log_hub, long_hop.log)


def test_a_lost_link_makes_two_flights_of_one_log_with_each_row_once(log_hub: LogHub, aircraft: Recorder) -> None:
    f = flown(60.0)
    half = Flown(f.log, f.first_us, f.last_us, f.armed_us, f.first_us + 24_000_000, f.boot_us, f.grid)
    one, envelopes = fly_live(aircraft, half)
    log_hub.send(aircraft.arrivals(envelopes))
    again_us = f.first_us + 34_000_000
    rest = Flown(f.log, again_us, f.last_us, again_us, f.disarmed_us, f.boot_us, f.grid)
    two, envelopes = fly_live(aircraft, rest, base_us=f.first_us - 100_000)
    log_hub.send(aircraft.arrivals(envelopes))
    for session in (one, two):
        log_hub.settle(aircraft.org_id, session)
    import_log(log_hub, aircraft, f.log)
    for session in (one, two):
        log_hub.settle(aircraft.org_id, session)
    assert [o for _, o in flights(log_hub, aircraft)] == ["live", "live"]
    both = ticks(log_hub, aircraft.org_id, one) + ticks(log_hub, aircraft.org_id, two)
    assert len(both) == len(set(both)) and set(np.diff(both).tolist()) == {100_000}


def ground_station_log(f: Flown, by_us: int = 0) -> bytes:
    """What a ground station recorded, whose clock is `by_us` off."""
    frames = f.frames(f.first_us - 1, f.last_us, 0)
    return write_tlog(Frames(frames.data, frames.offsets, frames.time_us + by_us))


@pytest.mark.parametrize("order", ["ground first", "onboard first"])
def test_a_ground_stations_and_the_autopilots_log_are_one_flight(
    log_hub: LogHub, aircraft: Recorder, hop: Flown, order: str
) -> None:
    logs: list[tuple[bytes, Any]] = [(ground_station_log(hop, 3_600_000_000), "tlog"), (hop.log, "dataflash")]
    for data, kind in logs if order == "ground first" else logs[::-1]:
        import_log(log_hub, aircraft, data, format=kind)
    ((flight, origin),) = flights(log_hub, aircraft)
    assert origin == "log" and len(log_hub.hub.rows(aircraft.org_id, HOW)) == 2
    assert not differing(rows(log_hub, aircraft.org_id, flight), alone(log_hub, hop.log))


def test_events_are_told_once(log_hub: LogHub, aircraft: Recorder, hop: Flown) -> None:
    session, envelopes = fly_live(aircraft, hop, lost=HOLES)
    log_hub.send(aircraft.arrivals(envelopes))
    import_log(log_hub, aircraft, hop.log)
    kinds = [k for k, _ in events(log_hub, aircraft, session)]
    assert kinds.count("armed") == kinds.count("disarmed") == 1


def test_a_flight_of_a_log_that_went_to_another_aircraft_goes_with_it(
    log_hub: LogHub, aircraft: Recorder, hop: Flown
) -> None:
    log = import_log(log_hub, aircraft, hop.log)
    other = log_hub.hub.new_recorder(aircraft.org_id)
    log_hub.assign(aircraft.org_id, log, other.aircraft_id)
    log_hub.take_in(aircraft.org_id, log)
    found = log_hub.hub.rows(aircraft.org_id, "SELECT aircraft_id, grid_rows > 0 FROM flight_sessions")
    assert found == [(other.aircraft_id, True)]


@pytest.mark.slow
def test_a_real_firmwares_log_fills_the_holes_of_what_it_sent(
    log_hub: LogHub, aircraft: Recorder, flight_data: Path
) -> None:
    name = "f0010_copter-quad"
    log = open_log(flight_data / "flights" / "bin" / f"{name}.BIN.zst")
    sent = read_tlog(open_log(flight_data / "flights" / "tlog" / f"{name}.tlog.zst")).frames
    session, envelopes = fly_live(aircraft, Sent(sent), lost=[(30, 42), (66, 96)])
    log_hub.send(aircraft.arrivals(envelopes))
    import_log(log_hub, aircraft, log)
    assert flights(log_hub, aircraft) == [(session, "live")]
    after = ticks(log_hub, aircraft.org_id, session)
    assert set(np.diff(after).tolist()) == {100_000}
    ((lost, filled),) = log_hub.hub.rows(aircraft.org_id, COUNTS)
    assert 420 <= lost == filled <= 424
    assert log_hub.hub.rows(aircraft.org_id, "SELECT method, agreement FROM flight_logs") == [("boot", 1.0)]
    assert not differing(rows(log_hub, aircraft.org_id, session), alone(log_hub, log))


class Sent(Flown):
    """Frames that a real firmware sent, as `fly_live` takes a flight."""

    def __init__(self, frames: Frames) -> None:
        armed, disarmed = 1757608124819422, 1757608237000000  # as its heartbeats say
        set_ = object.__setattr__
        set_(self, "sent", frames)
        for name, value in {"first_us": armed - 5_000_000, "armed_us": armed, "disarmed_us": disarmed}.items():
            set_(self, name, value)

    def frames(self, first_us: int, last_us: int, base_us: int) -> Frames:
        sent: Frames = self.sent  # type: ignore[attr-defined]
        a, b = np.searchsorted(sent.time_us, [first_us, last_us], side="right")
        start, end = int(sent.offsets[a]), int(sent.offsets[b])
        return Frames(sent.data[start:end], sent.offsets[a : b + 1] - start, sent.time_us[a:b] - base_us)

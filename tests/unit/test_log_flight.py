"""A log's flights: pre-roll, channels, events, in UTC; several flights, boots, and logs that say little."""

import numpy as np
import pytest

from firmware_bridge.log_flight import PREROLL_US, LogFlight, derive
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import survey
from shared.channels import BY_NAME
from shared.clock import ClockSource
from tests.fix_dataflash import DataFlashWriter, dataflash_log
from tests.fix_tlog import START_US, flight_frames, raw_dump, tlog
from tests.fix_ulog import ulog_log

S = 1_000_000


def _flights(data: bytes) -> list[LogFlight]:
    source = LogSource(data, "log")
    return derive(source, survey(source))


def _kinds(flight: LogFlight) -> list[str]:
    return [e.kind for e in flight.events]


def _values(flight: LogFlight, name: str) -> np.ndarray:
    c = BY_NAME[name]
    stored = np.concatenate([g.values.get(name, np.full(len(g.tick_us), c.missing)) for g in flight.grids])
    return np.where(stored == c.missing, np.nan, stored * c.scale)


def _ticks(flight: LogFlight) -> np.ndarray:
    return np.concatenate([g.tick_us for g in flight.grids])


def test_a_dataflash_flight_has_its_channels_and_events() -> None:
    (flight,) = _flights(dataflash_log(20.0, armed_s=2.0, disarmed_s=18.0))
    assert {"lat_deg", "roll_rad", "battery_v", "motor_output_us", "armed", "flight_mode", "vel_north_mps"} <= {
        name for g in flight.grids for name in g.values
    }
    assert flight.boot.clock.source == ClockSource.gps
    assert ((_ticks(flight) + flight.offset_us) % 100_000 == 0).all()
    assert {"armed", "disarmed", "mode", "statustext"} <= set(_kinds(flight))
    assert [e.text for e in flight.events if e.kind == "mode"] == ["STABILIZE", "LOITER", "LAND"]
    assert np.nanmedian(_values(flight, "battery_v")) == pytest.approx(16.3, abs=0.2)


def test_a_flight_has_half_a_minute_of_pre_roll_and_nothing_after_disarming() -> None:
    (flight,) = _flights(dataflash_log(80.0, armed_s=50.0, disarmed_s=70.0, rate_hz=10))
    ticks = _ticks(flight)
    assert ticks[0] == pytest.approx(flight.session.start_us - PREROLL_US, abs=150_000)
    assert ticks[-1] <= flight.session.end_us
    armed = _values(flight, "armed")
    assert (armed[ticks < flight.session.start_us] == 0).all()
    assert (armed[(ticks > flight.session.start_us) & (ticks < flight.session.end_us)] == 1).all()


def test_the_pre_roll_of_a_second_flight_holds_nothing_of_the_first() -> None:
    frames = flight_frames(20, (2.0, 10.0)) + [
        (20 + t, f) for t, f in flight_frames(20, (3.0, 15.0), boot_ms=30_000, utc_us=0)
    ]
    first, second = _flights(tlog(frames))
    assert _ticks(second)[0] > first.session.end_us
    assert _kinds(second).count("armed") == 1
    assert _kinds(first).count("disarmed") == 1


def test_a_ulog_flight_has_its_channels_and_events() -> None:
    (flight,) = _flights(ulog_log(10, armed=(2.0, 8.0)))
    assert {"lat_deg", "roll_rad", "armed", "flight_mode"} <= {name for g in flight.grids for name in g.values}
    assert {"armed", "disarmed", "mode", "statustext"} <= set(_kinds(flight))
    assert np.nanmax(_values(flight, "alt_rel_m")) == pytest.approx(10, abs=1)


def test_a_telemetry_logs_flight_goes_the_way_of_the_live_path() -> None:
    (flight,) = _flights(tlog())
    assert flight.offset_us == 0
    assert flight.events[0].at_us == START_US
    assert [k for k in _kinds(flight) if k in ("armed", "disarmed")] == ["armed", "disarmed"]
    assert np.nanmax(_values(flight, "alt_rel_m")) == 10
    assert _ticks(flight)[0] >= START_US


def test_a_raw_dumps_ticks_are_whole_in_utc() -> None:
    (flight,) = _flights(raw_dump())
    assert ((_ticks(flight) + flight.offset_us) % 100_000 == 0).all()
    assert _ticks(flight)[0] + flight.offset_us == pytest.approx(START_US, abs=300_000)


def test_logs_one_behind_the_other_give_each_its_flight() -> None:
    first, second = _flights(dataflash_log(10.0, week_ms=0) + dataflash_log(9.0, week_ms=900_000, lat=10.0))
    assert np.nanmedian(_values(first, "lat_deg")) == pytest.approx(52.01, abs=0.1)
    assert np.nanmedian(_values(second, "lat_deg")) == pytest.approx(10.0, abs=0.1)


def test_a_hole_in_a_flight_has_no_rows() -> None:
    later = [(300 + t, f) for t, f in flight_frames(20, (-1.0, 15.0), boot_ms=310_000, utc_us=0)]
    (flight,) = _flights(tlog(flight_frames(20, (3.0, 99.0)) + later))
    seconds = (_ticks(flight) - START_US) / S
    assert not ((seconds > 26) & (seconds < 300)).any()
    assert (seconds > 300).any()


def test_a_log_whose_arming_is_not_known_is_one_inferred_flight_when_it_moved() -> None:
    log = DataFlashWriter()
    log.define(130, "GPS", "QBIHBcLLeeEe", "TimeUS,Status,GMS,GWk,NSats,HDop,Lat,Lng,Alt,Spd,GCrs,VZ")
    for i in range(100):
        log.write("GPS", S + i * 200_000, 3, 1000 + i * 200, 1800, 9, 120, 10**8, 10**7, 100, 1500, 0, 0)
    (flight,) = _flights(bytes(log.out))
    assert flight.session.inferred
    assert len(_ticks(flight)) == pytest.approx(200, abs=3)
    assert "armed" not in flight.grids[0].values


def test_a_log_without_a_flight_gives_none() -> None:
    assert _flights(tlog(flight_frames(20, (99.0, 100.0)))) == []


def test_errors_that_the_firmware_logs_are_failsafes_and_warnings() -> None:
    log = DataFlashWriter()
    log.define(131, "EV", "QB", "TimeUS,Id")
    log.define(132, "ERR", "QBB", "TimeUS,Subsys,ECode")
    for i in range(200):
        log.write("EV", S + i * 50_000, {0: 10, 199: 11}.get(i, 57))
        if i == 100:
            log.write("ERR", S + i * 50_000, 6, 1)
            log.write("ERR", S + i * 50_000, 18, 1)
    (flight,) = _flights(bytes(log.out))
    told = [(e.kind, e.severity, e.text) for e in flight.events if e.kind in ("failsafe", "statustext")]
    assert told == [("failsafe", "critical", "failsafe: battery (1)"), ("statustext", "warning", "barometer (1)")]


def test_how_a_log_is_packed_or_cut_changes_nothing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    data = dataflash_log(12.0)
    path = tmp_path / "x.BIN"
    path.write_bytes(data)
    source = LogSource(path)
    found = survey(source)
    calls: list[int] = []
    (ours,), (theirs,) = derive(source, found, calls.append), _flights(data)
    assert calls[-1] == len(data)
    assert (_ticks(ours) == _ticks(theirs)).all()
    assert ours.events == theirs.events

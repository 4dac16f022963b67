"""The survey of a log: who, when, how long armed; from logs made here."""

import numpy as np
import pytest

from firmware_bridge.log_arming import Arming, Said
from firmware_bridge.log_identity import ids_of_px4, ids_of_uid, ids_of_words
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_span import Span
from firmware_bridge.log_survey import Survey, survey
from shared.clock import ClockSource
from tests.fix_dataflash import DataFlashWriter, dataflash_log
from tests.fix_tlog import START_US, flight_frames, mavlink_message, raw_dump, tlog
from tests.fix_ulog import ulog_log

S = 1_000_000


def _survey(data: bytes) -> Survey:
    return survey(LogSource(data, "log"))


def _seconds(found: Survey) -> list[tuple[float, float, bool]]:
    """Sessions in seconds from their boot's start."""
    return [
        (round((s.start_us - found.boots[s.boot].first_us) / S, 1),
         round((s.end_us - found.boots[s.boot].first_us) / S, 1), s.inferred)
        for s in found.sessions
    ]  # fmt: skip


def test_a_dataflash_log_is_surveyed() -> None:
    found = _survey(dataflash_log(20.0, armed_s=2.0, disarmed_s=18.0))
    assert (found.format, found.firmware, found.version) == ("dataflash", "ArduCopter", "4.5.7")
    assert (found.vehicle, found.vehicle_type, found.frame, found.autopilot, found.sysid) == (
        "copter",
        2,
        "QUAD/X",
        3,
        1,
    )
    assert found.hardware_ids[0] == "ardupilot:003c00383133511235303035"
    assert _seconds(found) == [(2.0, 18.0, False)]
    assert found.messages["GPS"] == 100
    assert found.parameters["RTL_ALT"] == 3000.0
    boot = found.boots[0]
    assert boot.clock.source == ClockSource.gps
    assert boot.boot_us == boot.first_us


def test_the_digest_is_that_of_the_unpacked_log() -> None:
    import hashlib
    import zlib

    data = dataflash_log(3.0)
    packer = zlib.compressobj(wbits=31)
    assert _survey(packer.compress(data) + packer.flush()).sha256 == hashlib.sha256(data).digest()


def test_a_log_that_starts_armed_begins_its_flight_with_the_log_and_says_that_it_is_inferred() -> None:
    found = _survey(dataflash_log(10.0, armed_s=-1.0, disarmed_s=8.0))
    assert _seconds(found) == [(0.0, 8.0, True)]
    assert found.sessions[0].why == "starts armed"


def test_a_log_that_ends_armed_ends_its_flight_with_the_log() -> None:
    found = _survey(dataflash_log(10.0, armed_s=2.0, disarmed_s=99.0))
    assert found.sessions[0].why == "ends armed"
    assert found.sessions[0].end_us == found.boots[0].last_us


def test_a_log_without_gps_has_no_wall_clock() -> None:
    found = _survey(dataflash_log(5.0, has_gps=False))
    assert found.boots[0].clock.source == ClockSource.unknown


@pytest.mark.parametrize("week", [2341 % 1024, 2341])
def test_a_receiver_that_counts_weeks_modulo_1024_tells_the_same_date(week: int) -> None:
    found = _survey(dataflash_log(5.0, week=week))
    assert found.boots[0].clock.to_utc(found.boots[0].first_us) == pytest.approx(1_732_015_000 * S, abs=600_000 * S)


@pytest.mark.parametrize("week", [0, 3900])
def test_a_receiver_without_the_time_or_from_the_future_gives_none(week: int) -> None:
    assert _survey(dataflash_log(5.0, week=week)).boots[0].clock.source == ClockSource.unknown


def test_logs_one_behind_the_other_are_boots_with_their_own_clocks_and_flights() -> None:
    data = dataflash_log(10.0, armed_s=2.0, week_ms=0) + dataflash_log(
        8.0, armed_s=1.0, disarmed_s=5.0, week_ms=900_000
    )
    found = _survey(data)
    assert len(found.boots) == 2
    assert _seconds(found) == [(2.0, 9.0, False), (1.0, 5.0, False)]
    starts = [b.clock.to_utc(b.first_us) for b in found.boots]
    assert starts[1] - starts[0] == pytest.approx(900 * S, abs=S)  # type: ignore[operator]


def test_an_old_plane_that_logs_no_arming_flew_when_it_moved() -> None:
    log = DataFlashWriter()
    log.define(130, "GPS", "QBIHBcLLeeEe", "TimeUS,Status,GMS,GWk,NSats,HDop,Lat,Lng,Alt,Spd,GCrs,VZ")
    for i in range(100):
        log.write("GPS", 1_000_000 + i * 200_000, 3, 1000 + i * 200, 1800, 9, 120, 10, 10, 100, 1500, 0, 0)
    found = _survey(bytes(log.out))
    assert [(s.inferred, s.why) for s in found.sessions] == [(True, "no arming in the log, but it moved")]


def test_a_vehicle_that_stood_still_and_logs_no_arming_has_no_flight() -> None:
    log = DataFlashWriter()
    log.define(130, "GPS", "QBIHBcLLeeEe", "TimeUS,Status,GMS,GWk,NSats,HDop,Lat,Lng,Alt,Spd,GCrs,VZ")
    for i in range(100):
        log.write("GPS", 1_000_000 + i * 200_000, 3, 1000 + i * 200, 1800, 9, 120, 10, 10, 100, 5, 0, 0)
    assert _survey(bytes(log.out)).sessions == ()


def test_auto_armed_events_on_the_ground_are_no_arming() -> None:
    log = DataFlashWriter()
    log.define(131, "EV", "QB", "TimeUS,Id")
    for i in range(300):
        log.write("EV", 1_000_000 + i * 20_000, 15)
    log.write("EV", 8_000_000, 10)
    for i in range(100):
        log.write("EV", 8_000_000 + i * 20_000, 57)
    log.write("EV", 12_000_000, 11)
    found = _survey(bytes(log.out))
    assert [(s.start_us, s.end_us) for s in found.sessions] == [(8_000_000, 12_000_000)]


def test_a_ulog_is_surveyed() -> None:
    found = _survey(ulog_log(10, armed=(2.0, 8.0)))
    assert (found.format, found.firmware, found.vehicle, found.autopilot) == ("ulog", "PX4", "copter", 12)
    assert found.version.startswith("1.15")
    assert _seconds(found) == [(pytest.approx(2.0, abs=0.2), pytest.approx(8.0, abs=0.2), False)]
    assert "px4:000600000000313233343536373839303132" in found.hardware_ids
    assert found.boots[0].clock.source == ClockSource.gps


def test_a_ulog_indoors_has_no_wall_clock() -> None:
    assert _survey(ulog_log(5, utc_us=0)).boots[0].clock.source == ClockSource.unknown


def test_a_tlog_is_surveyed_and_the_ground_station_is_not_the_vehicle() -> None:
    found = _survey(tlog())
    assert (found.format, found.firmware, found.version) == ("tlog", "ArduCopter", "4.5.7")
    assert (found.sysid, found.compid, found.vehicle) == (1, 1, "copter")
    assert _seconds(found) == [(5.0, 25.0, False)]
    boot = found.boots[0]
    assert (boot.clock.source, boot.clock.offset_us(), boot.boot_us) == (ClockSource.log, 0, 10 * S)
    assert "ardupilot:003c00383133511235303035" in found.hardware_ids


def test_a_tlog_of_a_computer_whose_clock_was_wrong_has_gps_time() -> None:
    boot = _survey(tlog(start_us=START_US - 5_000 * S)).boots[0]
    assert boot.clock.source == ClockSource.gps
    assert boot.clock.to_utc(boot.first_us) == START_US


def test_a_tlog_of_1970_without_gps_time_has_no_wall_clock() -> None:
    assert _survey(tlog(flight_frames(utc_us=0), start_us=5 * S)).boots[0].clock.source == ClockSource.unknown


def test_a_simulator_that_ran_fast_is_told_by_the_vehicles_own_time() -> None:
    boot = _survey(tlog(flight_frames(60, utc_us=0), pace=20.0)).boots[0]
    assert boot.speed == pytest.approx(20.0, rel=0.02)


def test_a_recorder_whose_clock_ran_back_began_anew() -> None:
    data = tlog() + tlog(flight_frames(20, (3.0, 15.0)), start_us=START_US - 522 * S)
    found = _survey(data)
    assert len(found.boots) == 2
    assert _seconds(found) == [(5.0, 25.0, False), (3.0, 15.0, False)]
    assert found.seconds == pytest.approx(50, abs=1)


def test_a_reboot_of_the_vehicle_is_another_boot_and_ends_the_flight() -> None:
    first = flight_frames(30, (5.0, 99.0), boot_ms=60_000)
    second = [(30 + t, f) for t, f in flight_frames(20, (8.0, 15.0), boot_ms=1_000, utc_us=0)]
    found = _survey(tlog(first + second))
    assert len(found.boots) == 2
    assert [(s.boot, s.inferred) for s in found.sessions] == [(0, True), (1, False)]


def test_a_flight_that_a_power_cycle_ended_ends_where_the_vehicle_was_last_heard() -> None:
    first = flight_frames(30, (5.0, 99.0), boot_ms=60_000)
    second = [(3_400 + t, f) for t, f in flight_frames(20, (8.0, 15.0), boot_ms=1_000, utc_us=0)]
    found = _survey(tlog(first + second))
    assert _seconds(found) == [(5.0, 29.9, True), (8.0, 15.0, False)]
    assert found.seconds == pytest.approx(50, abs=1)


def test_a_hole_is_no_part_of_the_duration() -> None:
    later = [(3_400 + t, f) for t, f in flight_frames(20, (3.0, 15.0), boot_ms=3_410_000, utc_us=0)]
    assert _survey(tlog(flight_frames(utc_us=0) + later)).seconds == pytest.approx(50, abs=1)


def test_a_raw_dump_has_the_vehicles_clock_and_gps_time() -> None:
    found = _survey(raw_dump())
    boot = found.boots[0]
    assert boot.clock.source == ClockSource.gps
    assert boot.clock.to_utc(boot.first_us) == pytest.approx(START_US, abs=200_000)
    assert _seconds(found) == [(pytest.approx(5.0, abs=0.2), pytest.approx(25.0, abs=0.2), False)]


def test_another_vehicle_with_more_to_say_is_not_taken_for_the_autopilot() -> None:
    noise = [(t / 20, mavlink_message("HEARTBEAT", 1, 190, type=6, autopilot=3)) for t in range(600)]
    frames = sorted(flight_frames() + noise, key=lambda f: f[0])
    assert (_survey(tlog(frames)).sysid, _survey(tlog(frames)).compid) == (1, 1)


def test_strays_do_not_stretch_the_span() -> None:
    span = Span()
    span.add(
        [
            (("fast", 0), np.arange(1_000, 1_100) * S // 10),
            (("kept", 0), np.array([5])),
            (("late", 0), np.array([9_000 * S])),
        ]
    )
    assert span.bounds() == (100 * S, 1_099 * S // 10)


def test_a_reboot_with_no_word_of_disarming_and_then_arming_again_is_one_cycle_each() -> None:
    arming = Arming()
    arming.tell("event", [Said(5, True, True), Said(9, False, True), Said(12, True, True)])
    assert [(c.start_us, c.end_us, c.why) for c in arming.cycles(0, 20)] == [(5, 9, ""), (12, 20, "ends armed")]


def test_one_chip_has_the_same_ids_whoever_tells_them() -> None:
    words = (0x002F001F, 0x33375111, 0x37353832)
    uid2 = b"".join(w.to_bytes(4, "little") for w in words).ljust(18, b"\0")
    by_line, by_uid = set(ids_of_words(*words)), set(ids_of_uid(0, uid2))
    by_px4 = set(ids_of_px4("000600000000" + "".join(f"{w:08x}" for w in reversed(words))))
    assert by_line == by_uid == by_px4


def test_a_board_without_an_id_has_none() -> None:
    assert ids_of_uid(0, bytes(18)) == []

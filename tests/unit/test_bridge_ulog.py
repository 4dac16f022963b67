"""PX4 logs played as MAVLink: what pymavlink reads of it, and the troubles of real logs."""

from typing import Any

import pytest
from pymavlink.dialects.v20 import ardupilotmega

from firmware_bridge.framing import Scanner
from firmware_bridge.logs import read_recording
from firmware_bridge.modes import PX4, mode_name
from firmware_bridge.ulog_player import UlogFlight, play_ulog
from shared.errors import Refused
from tests.fix_ulog import UlogWriter, hover

UTC = 1_700_000_000_000_000


def decoded(flight: UlogFlight) -> dict[str, list[Any]]:
    parser = ardupilotmega.MAVLink(None)
    out: dict[str, list[Any]] = {}
    for m in parser.parse_buffer(flight.frames.data) or []:
        out.setdefault(m.get_type(), []).append(m)
    return out


def test_every_frame_is_a_right_mavlink_frame_numbered_in_order() -> None:
    flight = play_ulog(bytes(hover()))
    scanner = Scanner()
    assert len(scanner.feed(flight.frames.data, 0)) == len(flight.frames)
    assert (scanner.junk_bytes, scanner.bad_crc) == (0, 0)
    assert [flight.frames[i][4] for i in range(300)] == [i % 256 for i in range(300)]


def test_times_are_utc_by_the_receivers_clock_and_ascend() -> None:
    flight = play_ulog(bytes(hover()))
    assert flight.is_utc and flight.vehicle == (7, 1)
    assert flight.frames.time_us[0] == UTC + 2_000_000
    assert (flight.frames.time_us[1:] >= flight.frames.time_us[:-1]).all()


def test_times_are_since_boot_when_utc_was_never_known() -> None:
    flight = play_ulog(bytes(hover(utc_us=0)))
    assert not flight.is_utc
    assert flight.frames.time_us[0] == 2_000_000


def test_the_messages_say_what_the_topics_said() -> None:
    m = decoded(play_ulog(bytes(hover())))
    beats = m["HEARTBEAT"]
    assert [b.base_mode >> 7 for b in beats] == [0, 1, 1, 1, 1]
    assert mode_name(PX4, beats[0].type, beats[0].custom_mode) == "POSCTL"
    assert (beats[0].type, beats[0].autopilot, beats[0].get_srcSystem()) == (2, PX4, 7)
    assert m["ATTITUDE"][3].yawspeed == pytest.approx(0.3)
    fix = m["GPS_RAW_INT"][0]
    assert (fix.lat, fix.lon, fix.alt, fix.fix_type, fix.eph) == (471234567, 85000000, 488250, 3, 80)
    status = m["SYS_STATUS"][1]
    assert (status.load, status.voltage_battery, status.current_battery) == (250, 15500, 325)
    battery = m["BATTERY_STATUS"][0]
    assert (battery.voltages[:2], battery.current_consumed, battery.battery_remaining) == ([15500, 65535], 100, 50)
    assert [m["SERVO_OUTPUT_RAW"][0].servo1_raw, m["SERVO_OUTPUT_RAW"][0].servo5_raw] == [1500, 0]
    assert m["AUTOPILOT_VERSION"][0].flight_sw_version == 0x010F00FF
    assert m["SYSTEM_TIME"][0].time_unix_usec == UTC + 2_000_000


def test_what_the_log_does_not_hold_is_not_sent() -> None:
    assert not {"GLOBAL_POSITION_INT", "RC_CHANNELS", "VIBRATION"} & decoded(play_ulog(bytes(hover()))).keys()


def test_a_stream_is_no_faster_than_px4_sends_it() -> None:
    m = decoded(play_ulog(bytes(hover(seconds=10))))
    assert len(m["ATTITUDE"]) == 200
    assert len(m["SERVO_OUTPUT_RAW"]) == 100


def test_stray_stamps_do_not_stretch_the_flight() -> None:
    log = hover()
    log.row("vehicle_attitude", 0, q=[1, 0, 0, 0])
    log.row("vehicle_attitude", 1_200_000_000, q=[1, 0, 0, 0])
    log.row("battery_status", 5, voltage_v=15.0)
    flight = play_ulog(bytes(log))
    assert flight.frames.time_us[0] == UTC + 2_000_000
    assert flight.frames.time_us[-1] < UTC + 10_000_000


def test_a_retained_sample_from_before_the_start_still_counts() -> None:
    log = UlogWriter(start_us=2_000_000)
    log.topic("vehicle_attitude", q="float[4]")
    log.topic("vehicle_status", arming_state="uint8_t", nav_state="uint8_t")
    log.row("vehicle_status", 1_000, arming_state=2, nav_state=15)
    for i in range(40):
        log.row("vehicle_attitude", 2_000_000 + i * 50_000, q=[1, 0, 0, 0])
    assert [b.base_mode >> 7 for b in decoded(play_ulog(bytes(log)))["HEARTBEAT"]] == [1, 1]


def test_long_texts_travel_in_chunks_and_repeated_ones_once() -> None:
    log = hover()
    log.text(3_000_000, 4, "[commander] " + "x" * 60 + "\t")
    log.text(3_000_100, 4, "[commander] " + "x" * 60)
    chunks = decoded(play_ulog(bytes(log)))["STATUSTEXT"]
    assert [(c.chunk_seq, c.severity, len(c.text)) for c in chunks] == [(0, 4, 50), (1, 4, 22)]


def test_a_log_without_a_vehicle_type_still_says_what_flies() -> None:
    log = UlogWriter()
    log.topic("vehicle_attitude", q="float[4]")
    log.topic("vehicle_status", vehicle_type="uint8_t")
    for i in range(40):
        log.row("vehicle_attitude", 2_000_000 + i * 50_000, q=[1, 0, 0, 0])
        log.row("vehicle_status", 2_000_000 + i * 50_000, vehicle_type=2)
    assert decoded(play_ulog(bytes(log)))["HEARTBEAT"][0].type == 1


@pytest.mark.parametrize("cut", [20, 200, 3000])
def test_a_cut_log_gives_what_it_holds_or_is_refused(cut: int) -> None:
    try:
        flight = play_ulog(bytes(hover())[:cut])
    except Refused as e:
        assert e.reason == "log_damaged"
    else:
        assert len(flight.frames)


def test_recordings_are_told_by_content() -> None:
    assert read_recording(bytes(hover())).kind == "ulog"
    with pytest.raises(Refused, match="log_format"):
        read_recording(b"\xa3\x95\x80\x80" + bytes(100))
    with pytest.raises(Refused, match="log_empty"):
        read_recording(b"no frames here at all")

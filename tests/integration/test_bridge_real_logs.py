"""Whole logs of real autopilots: nothing lost, byte for byte, and what they are known to hold is found."""

import csv
from pathlib import Path
from typing import Any

import pytest
from pymavlink.dialects.v20 import ardupilotmega
from pymavlink.quaternion import Quaternion
from pyulog import ULog

from firmware_bridge.columns import columns_of
from firmware_bridge.events import Event, EventState, flight_events
from firmware_bridge.logs import read_log
from firmware_bridge.tlog import open_log, read_tlog, write_tlog
from firmware_bridge.vehicle import VehicleTracker

KINDS = ["copter-quad", "copter-hexa", "plane", "heli", "quadplane"]


def counts(folder: Path) -> dict[str, int]:
    with (folder / "real" / "manifest.csv").open() as f:
        return {row["file"]: int(row["n_messages"]) for row in csv.DictReader(f)}


def events_of(path: Path) -> tuple[list[Event], EventState, int]:
    frames = read_log(path).frames
    state = EventState()
    return flight_events(columns_of(frames), None, state), state, int(frames.time_us[0])


@pytest.mark.parametrize("kind", KINDS)
def test_flights_of_every_kind_are_written_again_byte_for_byte(flight_data: Path, kind: str) -> None:
    for path in sorted((flight_data / "flights" / "tlog").glob(f"*_{kind}.tlog.zst"))[::12]:
        data = open_log(path)
        log = read_tlog(data)
        assert (log.junk_bytes, log.bad_crc, log.unstamped) == (0, 0, 0)
        assert write_tlog(log.frames) == data


@pytest.mark.parametrize(
    "name",
    [
        "apm-copter-4.1.1-real-auto-36wp-terrainfs.tlog",
        "apm-copter-4.5.5-sitl-guided-takeoff-signedframe.tlog",
        "apm-quadplane-3.10dev-sitl-qloiter-transition-qland.tlog",
        "apm-rover-4.7dev-sitl-guided.tlog",
        "apm-rover-4.7dev-sitl-guided.raw",
    ],
)
def test_recordings_of_others_are_read_whole(flight_data: Path, name: str) -> None:
    data = open_log(flight_data / "real" / name)
    log = read_tlog(data)
    assert len(log.frames) == counts(flight_data)[name]
    assert len(log.frames.data) + (8 * len(log.frames) if log.stamped else 0) + log.junk_bytes == len(data)
    assert not log.stamped or write_tlog(log.frames) == data


def test_a_recording_cut_anywhere_loses_the_cut_frames_only(flight_data: Path) -> None:
    data = open_log(flight_data / "real" / "apm-copter-4.1.1-real-auto-36wp-terrainfs.tlog")
    whole = read_tlog(data).frames
    for cut in range(1, 400, 7):
        log = read_tlog(data[cut:-cut])
        first = next(i for i in range(cut) if whole[i] == log.frames[0])
        expected = whole.slice(first, first + len(log.frames))
        assert log.frames.data == expected.data
        assert log.frames.time_us[log.unstamped :].tolist() == expected.time_us[log.unstamped :].tolist()
        assert len(whole) - len(log.frames) <= 2 + 2 * cut // 20


def test_the_raw_dump_runs_as_long_as_the_vehicle_says(flight_data: Path) -> None:
    log = read_tlog(open_log(flight_data / "real" / "apm-rover-4.7dev-sitl-guided.raw"))
    assert not log.stamped
    assert float(log.frames.time_us[-1]) / 1e6 == pytest.approx(226.3, abs=1)


@pytest.mark.parametrize(
    "name,expected",
    [
        ("apm-copter-4.1.1-real-auto-36wp-terrainfs.tlog", (10, "copter", "AUTO")),
        ("apm-quadplane-3.10dev-sitl-qloiter-transition-qland.tlog", (1, "quadplane", "QLAND")),
        ("apm-rover-4.7dev-sitl-guided.tlog", (1, "rover", "GUIDED")),
        ("px4-quad-1.15-real-mission.ulg", (1, "copter", "LAND")),
    ],
)
def test_the_vehicle_and_its_modes_are_found(flight_data: Path, name: str, expected: tuple[int, str, str]) -> None:
    events, state, _ = events_of(flight_data / "real" / name)
    vehicle = state.tracker.vehicle
    assert vehicle is not None
    assert (vehicle.sysid, vehicle.vehicle_class) == expected[:2]
    assert expected[2] in [e.text for e in events if e.kind == "mode"]


def test_the_failsafes_that_are_known_are_found(flight_data: Path) -> None:
    ardupilot, _, _ = events_of(flight_data / "real" / "apm-copter-4.1.1-real-auto-36wp-terrainfs.tlog")
    assert "Failsafe: Terrain data missing" in [e.text for e in ardupilot if e.kind == "failsafe"]
    px4, _, start = events_of(flight_data / "real" / "px4-quad-1.16-real-indoor-lowbatt-failsafe.ulg")
    assert [(e.at_us - start) / 1e6 for e in px4 if e.kind == "failsafe"] == [pytest.approx(77, abs=0.5)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_simulated_flight_arms_and_takes_off(flight_data: Path, kind: str) -> None:
    path = sorted((flight_data / "flights" / "tlog").glob(f"*_{kind}.tlog.zst"))[1]
    events, state, _ = events_of(path)
    kinds = [e.kind for e in events]
    assert {"armed", "takeoff", "mode", "home"} <= set(kinds)
    wanted = {"heli": "helicopter", "plane": "plane", "quadplane": "quadplane"}.get(kind, "copter")
    assert state.tracker.vehicle is not None and state.tracker.vehicle.vehicle_class == wanted


def test_the_tracker_says_the_same_in_pieces_as_at_once(flight_data: Path) -> None:
    path = sorted((flight_data / "flights" / "tlog").glob("*_plane.tlog.zst"))[0]
    frames = read_tlog(open_log(path)).frames
    whole = VehicleTracker().update(frames)
    live = VehicleTracker()
    pieces = [c for i in range(0, len(frames), 50) for c in live.update(frames.slice(i, min(i + 50, len(frames))))]
    assert {(c.at_us, c.kind) for c in pieces if c.kind != "firmware"} == {
        (c.at_us, c.kind) for c in whole if c.kind != "firmware"
    }


ULOGS = [
    "px4-quad-1.12-sil-hover-motor1-eff00.ulg",
    "px4-quad-1.15-real-mission.ulg",
    "px4-quad-1.15-sitl-rtl-events.ulg",
    "px4-quad-1.16-real-indoor-lowbatt-failsafe.ulg",
]


@pytest.mark.parametrize("name", ULOGS)
def test_a_played_ulog_says_what_pyulog_reads(flight_data: Path, name: str) -> None:
    path = flight_data / "real" / name
    frames = read_log(path).frames
    messages: dict[str, list[Any]] = {}
    for m in ardupilotmega.MAVLink(None).parse_buffer(frames.data) or []:
        messages.setdefault(m.get_type(), []).append(m)
    assert sum(map(len, messages.values())) == len(frames)
    log = ULog(str(path), ["vehicle_attitude", "vehicle_local_position", "battery_status"])
    attitude = log.get_dataset("vehicle_attitude").data
    at = {int(t) // 1000: i for i, t in enumerate(attitude["timestamp"])}
    for m in messages["ATTITUDE"][::10]:
        i = at[m.time_boot_ms if m.time_boot_ms in at else m.time_boot_ms + (max(at) >> 32 << 32)]
        roll, pitch, yaw = Quaternion([float(attitude[f"q[{k}]"][i]) for k in range(4)]).euler
        assert (m.roll, m.pitch, m.yaw) == pytest.approx((roll, pitch, yaw), abs=1e-5)
    local = log.get_dataset("vehicle_local_position").data
    assert len(messages["LOCAL_POSITION_NED"]) == pytest.approx(len(local["timestamp"]), rel=0.15)
    volts = log.get_dataset("battery_status").data["voltage_v"]
    seen = [sum(v for v in m.voltages if v != 65535) / 1000 for m in messages["BATTERY_STATUS"]]
    assert min(volts) - 0.01 <= min(seen) and max(seen) <= max(volts) + 0.01

"""Channel values against pymavlink's own decoding, message by message, on every kind of vehicle and on real logs."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymavlink.dialects.v20 import ardupilotmega
from pymavlink.quaternion import Quaternion

from firmware_bridge.columns import columns_of
from firmware_bridge.grid import TICK_US, GridInput, to_grid
from firmware_bridge.tlog import open_log, read_tlog
from firmware_bridge.vehicle import find_vehicle
from shared.channels import BY_NAME
from shared.codec import decode_block, encode_block
from shared.frames import Frames

SPAN_US = 40_000_000
G = 9.80665

REFERENCE: dict[str, tuple[str, Callable[[Any], float | list[float]]]] = {
    "lat_deg": ("GLOBAL_POSITION_INT", lambda m: m.lat / 1e7 if m.lat or m.lon else math.nan),
    "lon_deg": ("GLOBAL_POSITION_INT", lambda m: m.lon / 1e7 if m.lat or m.lon else math.nan),
    "alt_msl_m": ("GLOBAL_POSITION_INT", lambda m: m.alt / 1000),
    "alt_rel_m": ("GLOBAL_POSITION_INT", lambda m: m.relative_alt / 1000),
    "vel_north_mps": ("GLOBAL_POSITION_INT", lambda m: m.vx / 100),
    "vel_down_mps": ("GLOBAL_POSITION_INT", lambda m: m.vz / 100),
    "heading_deg": ("GLOBAL_POSITION_INT", lambda m: m.hdg / 100),
    "roll_rad": ("ATTITUDE", lambda m: m.roll),
    "pitch_rad": ("ATTITUDE", lambda m: m.pitch),
    "yaw_rad": ("ATTITUDE", lambda m: m.yaw),
    "yaw_rate_radps": ("ATTITUDE", lambda m: m.yawspeed),
    "roll_target_rad": ("NAV_CONTROLLER_OUTPUT", lambda m: math.radians(m.nav_roll)),
    "yaw_target_rad": ("NAV_CONTROLLER_OUTPUT", lambda m: math.radians((m.nav_bearing + 180) % 360 - 180)),
    "waypoint_distance_m": ("NAV_CONTROLLER_OUTPUT", lambda m: m.wp_dist),
    "xtrack_error_m": ("NAV_CONTROLLER_OUTPUT", lambda m: m.xtrack_error),
    "acc_x_mps2": ("RAW_IMU", lambda m: m.xacc * G / 1000),
    "acc_z_mps2": ("RAW_IMU", lambda m: m.zacc * G / 1000),
    "mag_y_ut": ("RAW_IMU", lambda m: m.ymag / 10),
    "vibe_z_mps2": ("VIBRATION", lambda m: m.vibration_z),
    "clip_count": ("VIBRATION", lambda m: m.clipping_0 + m.clipping_1 + m.clipping_2),
    "pressure_pa": ("SCALED_PRESSURE", lambda m: m.press_abs * 100),
    "airspeed_mps": ("VFR_HUD", lambda m: m.airspeed),
    "groundspeed_mps": ("VFR_HUD", lambda m: m.groundspeed),
    "climb_mps": ("VFR_HUD", lambda m: m.climb),
    "throttle_pct": ("VFR_HUD", lambda m: m.throttle),
    "wind_speed_mps": ("WIND", lambda m: m.speed),
    "wind_from_deg": ("WIND", lambda m: m.direction % 360),
    "battery_v": ("SYS_STATUS", lambda m: m.voltage_battery / 1000),
    "sensors_health": ("SYS_STATUS", lambda m: m.onboard_control_sensors_health),
    "cpu_load_pct": ("SYS_STATUS", lambda m: m.load / 10),
    "board_v": ("POWER_STATUS", lambda m: m.Vcc / 1000),
    "gps_fix": ("GPS_RAW_INT", lambda m: m.fix_type),
    "gps_satellites": ("GPS_RAW_INT", lambda m: m.satellites_visible),
    "gps_hdop": ("GPS_RAW_INT", lambda m: m.eph / 100 if m.eph != 65535 else math.nan),
    "gps_alt_msl_m": ("GPS_RAW_INT", lambda m: m.alt / 1000),
    "ekf_compass_ratio": ("EKF_STATUS_REPORT", lambda m: m.compass_variance),
    "ekf_flags": ("EKF_STATUS_REPORT", lambda m: m.flags),
    "motor_output_us": (
        "SERVO_OUTPUT_RAW",
        lambda m: [getattr(m, f"servo{i}_raw") or math.nan for i in range(1, 17)],
    ),
    "rc_input_us": ("RC_CHANNELS", lambda m: [getattr(m, f"chan{i}_raw") or math.nan for i in range(1, 9)]),
    "mission_seq": ("MISSION_CURRENT", lambda m: m.seq),
    "armed": ("HEARTBEAT", lambda m: m.base_mode >> 7),
    "flight_mode": ("HEARTBEAT", lambda m: m.custom_mode),
}

FINER: dict[str, tuple[str, Callable[[Any], float | list[float]]]] = {
    "roll_target_rad": ("ATTITUDE_TARGET", lambda m: Quaternion(m.q).euler[0]),
    "yaw_target_rad": ("ATTITUDE_TARGET", lambda m: Quaternion(m.q).euler[2]),
}
"""Instead, where the vehicle sends it."""

LOGS = [
    "flights/tlog/f0010_copter-quad.tlog.zst",
    "flights/tlog/f0066_copter-hexa.tlog.zst",
    "flights/tlog/f0121_plane.tlog.zst",
    "flights/tlog/f0194_heli.tlog.zst",
    "flights/tlog/f0230_quadplane.tlog.zst",
    "real/apm-copter-4.1.1-real-auto-36wp-terrainfs.tlog",
    "real/apm-copter-4.5.5-sitl-guided-takeoff-signedframe.tlog",
    "real/apm-quadplane-3.10dev-sitl-qloiter-transition-qland.tlog",
    "real/apm-rover-4.7dev-sitl-guided.tlog",
]


def middle(frames: Frames) -> Frames:
    """The span around the middle of the log, where the vehicle moves."""
    start = int(frames.time_us[len(frames) // 2])
    a, b = np.searchsorted(frames.time_us, [start, start + SPAN_US])
    return frames.slice(int(a), int(b))


def decoded(frames: Frames, source: tuple[int, int]) -> dict[str, list[tuple[int, Any]]]:
    """By message name: (time, pymavlink's message) of the source."""
    parser = ardupilotmega.MAVLink(None)
    out: dict[str, list[tuple[int, Any]]] = {}
    for i in range(len(frames)):
        m = parser.decode(bytearray(frames[i]))
        is_first = all(not getattr(m, f) for f in ("id", "port") if f in m.fieldnames)
        if (m.get_srcSystem(), m.get_srcComponent()) == source and is_first:
            out.setdefault(m.get_type(), []).append((int(frames.time_us[i]), m))
    return out


@pytest.mark.parametrize("name", LOGS)
def test_channels_are_what_pymavlink_reads(flight_data: Path, name: str) -> None:
    frames = middle(read_tlog(open_log(flight_data / name)).frames)
    block = decode_block(encode_block(frames))
    source = find_vehicle(block)
    assert source is not None
    covers = (int(frames.time_us[0]) - 1, int(frames.time_us[-1]))
    grid = to_grid([GridInput(block, source, covers, 0, 3)])[0]
    assert not (grid.tick_us % TICK_US).any()
    messages = decoded(frames, source)
    compared = 0
    finer = {k: v for k, v in FINER.items() if v[0] in messages}
    for channel_name, (message, read) in (REFERENCE | finer).items():
        if message in messages:
            compared += compare(grid.tick_us, grid.values.get(channel_name), messages[message], channel_name, read)
    assert compared > 20 * len(grid.tick_us)


def compare(ticks: Any, stored: Any, messages: list[tuple[int, Any]], name: str, read: Callable[[Any], Any]) -> int:
    """Every tick against the newest message before it; the number of ticks that had one."""
    channel = BY_NAME[name]
    times = np.array([t for t, _ in messages])
    compared = 0
    for row, tick in enumerate(ticks.tolist()):
        i = int(np.searchsorted(times, tick, side="right")) - 1
        if i < 0 or tick - times[i] > channel.stale_s * 1e6:
            continue
        expected = np.asarray(read(messages[i][1]), np.float64)
        is_good = (expected >= channel.low) & (expected <= channel.high)
        got = np.full(expected.shape, channel.missing) if stored is None else stored[row]
        assert ((got != channel.missing) == is_good).all(), (name, tick, expected, got)
        error = np.abs(got * channel.scale - expected)[is_good]
        assert (error <= channel.scale * 0.501).all(), (name, tick, expected, got)
        compared += 1
    return compared


def test_columns_of_frames_are_the_codecs_columns(flight_data: Path) -> None:
    frames = middle(read_tlog(open_log(flight_data / LOGS[0])).frames)
    block, columns = decode_block(encode_block(frames)), columns_of(frames)
    ours = {(g.msgid, g.sysid, g.compid): (g.rows.tolist(), g.payload.tolist()) for g in columns.groups}
    theirs = {(g.msgid, g.sysid, g.compid): (g.rows.tolist(), g.payload.tolist()) for g in block.groups}
    assert ours == theirs

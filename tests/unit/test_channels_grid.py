"""Channels on the grid: held, stale, missing, scaled; several batches at once never mix."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from firmware_bridge.columns import FrameColumns, FrameGroup
from firmware_bridge.grid import MAX_TICKS, ChannelGrid, GridInput, carry_of, chained, to_grid
from firmware_bridge.modes import ARDUPILOT, PX4
from shared.channels import BY_NAME
from shared.layouts import LAYOUTS

ID = {layout.name: msgid for msgid, layout in LAYOUTS.items()}
VEHICLE = (1, 1)
S = 1_000_000


def block(*messages: tuple[int, str, dict[str, Any]], source: tuple[int, int] = VEHICLE) -> FrameColumns:
    """Columns of (time_us, message name, fields) in the order given."""
    names = sorted({name for _, name, _ in messages})
    groups = []
    for name in names:
        rows = [i for i, m in enumerate(messages) if m[1] == name]
        record = np.zeros(len(rows), LAYOUTS[ID[name]].dtype)
        for j, i in enumerate(rows):
            for field, value in messages[i][2].items():
                record[field][j] = value
        payload = record.view(np.uint8).reshape(len(rows), -1)
        groups.append(FrameGroup(ID[name], *source, np.array(rows, np.int32), payload))
    return FrameColumns(len(messages), np.array([m[0] for m in messages], np.int64), groups)


def grid(*messages: tuple[int, str, dict[str, Any]], covers: tuple[int, int] = (0, 10 * S), **more: Any) -> ChannelGrid:
    return to_grid([GridInput(block(*messages), VEHICLE, covers, **more)])[0]


def one(name: str, fields: dict[str, Any], channel: str, **more: Any) -> int | None:
    """The channel's stored value just after one message; None where missing."""
    values = grid((S, name, fields), **more).values.get(channel)
    return None if values is None or values[0] == BY_NAME[channel].missing else int(values[0])


def test_a_value_is_held_until_it_is_stale_and_then_missing() -> None:
    g = grid((S, "VFR_HUD", {"airspeed": 12.34}), (9 * S, "HEARTBEAT", {}))
    held = g.values["airspeed_mps"] != BY_NAME["airspeed_mps"].missing
    assert g.tick_us[held].tolist() == list(range(S, 3 * S + 1, 100_000))
    assert g.values["airspeed_mps"][0] == 1234


def test_channels_of_one_message_go_stale_each_in_its_own_time() -> None:
    status = (S, "SYS_STATUS", {"voltage_battery": 12_000, "battery_remaining": 50})
    g = grid(status, (4 * S, "HEARTBEAT", {}))
    at = g.tick_us.tolist().index(4 * S)
    assert g.values["battery_v"][at] == BY_NAME["battery_v"].missing
    assert g.values["battery_remaining_pct"][at] == 50


def test_rows_stop_where_nothing_was_heard_for_the_longest_hold() -> None:
    g = grid((S, "HEARTBEAT", {}), covers=(0, 3600 * S))
    assert g.tick_us.tolist() == list(range(S, 6 * S + 1, 100_000))


def test_a_batch_owns_the_ticks_after_its_start_up_to_its_end() -> None:
    g = grid((0, "HEARTBEAT", {}), (S, "HEARTBEAT", {}), covers=(0, S))
    assert g.tick_us.tolist() == list(range(100_000, S + 1, 100_000))


def test_ticks_are_whole_tenths_of_a_second_in_utc() -> None:
    offset = 1_700_000_000_012_345
    g = grid((S, "HEARTBEAT", {}), offset_us=offset)
    assert len(g.tick_us) and not ((g.tick_us + offset) % 100_000).any()


def test_neighbouring_batches_make_every_tick_once() -> None:
    beats = [(t, "HEARTBEAT", {}) for t in range(0, 10 * S, 500_000)]
    edges = [0, 1_234_567, 2_000_000, 2_050_000, 7_777_777, 10 * S]
    inputs = [
        GridInput(block(*[m for m in beats if a < m[0] <= b] or [(a, "HEARTBEAT", {})]), VEHICLE, (a, b), 777)
        for a, b in pairwise(edges)
    ]
    ticks = np.concatenate([g.tick_us for g in to_grid(inputs)])
    assert np.unique(ticks).tolist() == ticks.tolist()


def test_batches_evaluated_together_are_as_if_alone() -> None:
    inputs = [
        GridInput(block((S, "VFR_HUD", {"airspeed": 5 + i}), (S, "HEARTBEAT", {})), VEHICLE, (0, (i + 1) * S), i)
        for i in range(5)
    ]
    for together, item in zip(to_grid(inputs), inputs, strict=True):
        alone = to_grid([item])[0]
        assert together.tick_us.tolist() == alone.tick_us.tolist()
        assert {k: v.tolist() for k, v in together.values.items()} == {k: v.tolist() for k, v in alone.values.items()}


def test_a_value_never_reaches_into_another_batch() -> None:
    first = GridInput(block((S, "VFR_HUD", {"airspeed": 9.0})), VEHICLE, (0, S))
    second = GridInput(block((S + 1, "HEARTBEAT", {})), VEHICLE, (S, 2 * S))
    assert "airspeed_mps" not in to_grid([first, second])[1].values


def test_a_carry_holds_values_over_the_border() -> None:
    first = GridInput(block((S, "VFR_HUD", {"airspeed": 9.0})), VEHICLE, (0, S))
    second = GridInput(block((S + 1, "HEARTBEAT", {})), VEHICLE, (S, 2 * S), carry=carry_of(first))
    assert to_grid([second])[0].values["airspeed_mps"].tolist() == [900] * 10


def test_chained_batches_give_what_one_long_batch_gives() -> None:
    messages = [(t, "VFR_HUD", {"airspeed": t / S}) for t in range(0, 20 * S, 700_000)]
    messages += [(t, "SYS_STATUS", {"voltage_battery": t // 1000}) for t in range(0, 20 * S, 3_100_000)]
    messages.sort(key=lambda m: m[0])
    whole = to_grid([GridInput(block(*messages), VEHICLE, (-1, 20 * S))])[0]
    parts = [
        GridInput(block(*[m for m in messages if a < m[0] <= a + 2 * S]), VEHICLE, (a, a + 2 * S))
        for a in range(-1, 20 * S - 1, 2 * S)
    ]
    grids = to_grid(chained(parts))
    for name in ("airspeed_mps", "battery_v"):
        joined = np.concatenate([g.values[name] for g in grids])
        assert joined.tolist() == whole.values[name][: len(joined)].tolist()


@pytest.mark.parametrize(
    "name,fields,channel",
    [
        ("GLOBAL_POSITION_INT", {"hdg": 65535}, "heading_deg"),
        ("GLOBAL_POSITION_INT", {"lat": 0, "lon": 0}, "lat_deg"),
        ("SYS_STATUS", {"voltage_battery": 65535}, "battery_v"),
        ("SYS_STATUS", {"current_battery": -1}, "battery_a"),
        ("SYS_STATUS", {"battery_remaining": -1}, "battery_remaining_pct"),
        ("SYS_STATUS", {"onboard_control_sensors_present": 0}, "sensors_health"),
        ("GPS_RAW_INT", {"eph": 65535}, "gps_hdop"),
        ("GPS_RAW_INT", {"satellites_visible": 255}, "gps_satellites"),
        ("RC_CHANNELS", {"rssi": 255}, "rc_rssi_pct"),
        ("ATTITUDE", {"roll": float("nan")}, "roll_rad"),
        ("ATTITUDE", {"rollspeed": float("inf")}, "roll_rate_radps"),
        ("ATTITUDE", {"roll": 7.0}, "roll_rad"),
        ("VFR_HUD", {"airspeed": -3.0}, "airspeed_mps"),
        ("BATTERY_STATUS", {"voltages": [65535] * 10}, "battery_v"),
        ("BATTERY_STATUS", {"id": 1, "current_consumed": 10}, "battery_used_mah"),
        ("ATTITUDE_TARGET", {"type_mask": 128, "q": [1, 0, 0, 0]}, "roll_target_rad"),
        ("ATTITUDE_QUATERNION", {}, "roll_rad"),
        ("EXTENDED_SYS_STATE", {"landed_state": 0}, "landed_state"),
    ],
)
def test_a_sentinel_or_an_absurd_value_is_missing(name: str, fields: dict[str, Any], channel: str) -> None:
    assert one(name, fields, channel) is None


@pytest.mark.parametrize(
    "name,fields,channel,stored",
    [
        ("GLOBAL_POSITION_INT", {"lat": -353633515, "lon": 1491652412}, "lat_deg", -353633515),
        ("GLOBAL_POSITION_INT", {"relative_alt": -1550}, "alt_rel_m", -155),
        ("HEARTBEAT", {"base_mode": 217}, "armed", 1),
        ("HEARTBEAT", {"custom_mode": 0xFF040000}, "flight_mode", 0xFF040000),
        (
            "SYS_STATUS",
            {"onboard_control_sensors_health": 0xFFFFFFFF, "onboard_control_sensors_present": 1},
            "sensors_health",
            0xFFFFFFFF,
        ),
        ("WIND", {"direction": -90.0}, "wind_from_deg", 2700),
        ("WIND_COV", {"wind_x": 0.0, "wind_y": -3.0}, "wind_from_deg", 900),
        ("NAV_CONTROLLER_OUTPUT", {"nav_bearing": 270}, "yaw_target_rad", -15708),
        ("NAV_CONTROLLER_OUTPUT", {"nav_roll": 45.0}, "roll_target_rad", 7854),
        ("ATTITUDE_QUATERNION", {"q1": 0.7071068, "q4": 0.7071068}, "yaw_rad", 15708),
        ("ATTITUDE", {"yaw": 3.14159265}, "yaw_rad", 31416),
        ("RAW_IMU", {"zacc": -1000}, "acc_z_mps2", -981),
        ("HIGHRES_IMU", {"xmag": 0.25}, "mag_x_ut", 500),
        ("SCALED_PRESSURE", {"press_abs": 1013.25}, "pressure_pa", 101325),
        ("VIBRATION", {"clipping_0": 1, "clipping_1": 2, "clipping_2": 3}, "clip_count", 6),
        ("RC_CHANNELS", {"rssi": 254}, "rc_rssi_pct", 200),
        ("BATTERY_STATUS", {"voltages": [4200, 4100, *[65535] * 8]}, "battery_v", 830),
    ],
)
def test_a_value_is_scaled_to_the_registrys_integers(
    name: str, fields: dict[str, Any], channel: str, stored: int
) -> None:
    assert one(name, fields, channel) == stored


def test_px4_vibration_has_one_level_only() -> None:
    fields = {"vibration_x": 1.0, "vibration_z": 3.0}
    assert one("VIBRATION", fields, "vibe_x_mps2", autopilot=PX4) is None
    assert one("VIBRATION", fields, "vibe_z_mps2", autopilot=PX4) == 300
    assert one("VIBRATION", fields, "vibe_x_mps2", autopilot=ARDUPILOT) == 100


def test_the_more_trusted_source_wins_while_it_is_fresh() -> None:
    g = grid(
        (S, "ATTITUDE", {"roll": 0.1}),
        *[(t, "ATTITUDE_QUATERNION", {"q1": 1.0}) for t in range(S, 6 * S, 500_000)],
    )
    roll = dict(zip(g.tick_us.tolist(), g.values["roll_rad"].tolist(), strict=True))
    assert (roll[2 * S], roll[4 * S]) == (1000, 0)


def test_px4_motors_on_the_second_port_are_read_when_the_first_is_silent() -> None:
    fields = {"servo1_raw": 1327, "port": 1}
    on_px4 = grid((S, "SERVO_OUTPUT_RAW", fields), autopilot=PX4).values["motor_output_us"]
    assert on_px4[0][0] == 1327
    assert "motor_output_us" not in grid((S, "SERVO_OUTPUT_RAW", fields), autopilot=ARDUPILOT).values


def test_array_channels_have_one_column_per_element() -> None:
    servos = {f"servo{i}_raw": 1000 + i for i in range(1, 17)} | {"servo3_raw": 0}
    values = grid((S, "SERVO_OUTPUT_RAW", servos)).values["motor_output_us"]
    missing = BY_NAME["motor_output_us"].missing
    assert values[0].tolist() == [1001, 1002, missing, *range(1004, 1017)]


def test_other_systems_give_no_channel() -> None:
    gcs = block((S, "VFR_HUD", {"airspeed": 9.0}), source=(255, 190))
    assert to_grid([GridInput(gcs, VEHICLE, (0, 5 * S))])[0].values == {}


def test_a_vehicle_that_is_not_told_is_found_by_its_heartbeat() -> None:
    messages = ((S, "HEARTBEAT", {"type": 2, "autopilot": 3, "base_mode": 128}), (S, "VFR_HUD", {"airspeed": 9.0}))
    g = to_grid([GridInput(block(*messages, source=(10, 241)), None, (0, 2 * S))])[0]
    assert g.values["airspeed_mps"][0] == 900


def test_a_clock_running_back_within_a_batch_still_gives_the_newest_before_each_tick() -> None:
    g = grid((3 * S, "VFR_HUD", {"airspeed": 3.0}), (S, "VFR_HUD", {"airspeed": 1.0}))
    speed = dict(zip(g.tick_us.tolist(), g.values["airspeed_mps"].tolist(), strict=True))
    assert (speed[2 * S], speed[4 * S]) == (100, 300)


def test_no_inputs_and_empty_blocks_give_no_rows() -> None:
    assert to_grid([]) == []
    empty = FrameColumns(0, np.zeros(0, np.int64), [])
    assert len(to_grid([GridInput(empty, VEHICLE, (0, S))])[0].tick_us) == 0


def test_a_hostile_span_makes_a_bounded_number_of_rows() -> None:
    messages = ((-(1 << 62), "HEARTBEAT", {}), (1 << 62, "HEARTBEAT", {}))
    g = to_grid([GridInput(block(*messages), VEHICLE, (-(1 << 63), (1 << 63) - 1), 1 << 62)])[0]
    assert g.is_cut
    assert len(g.tick_us) <= MAX_TICKS

"""Features, version 2: pure, stable, robust to what is missing."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.channels import ANALYSED
from shared.features import (
    CONTEXT_TICKS,
    FEATURES,
    HOP_TICKS,
    NAMES,
    FeatureStream,
    airframe,
    flight_features,
)
from shared.scoring import Bundle, ratios
from shared.signals import CHANNELS_OF, REACH, flying, signals

Channels = dict[str, NDArray[np.floating]]
LONG = 240


def steady(n: int = LONG, **changes: NDArray[np.floating] | float) -> Channels:
    """A hover in which nothing happens; changes: channel -> what it is instead."""
    level: dict[str, NDArray[np.floating] | float] = {
        "armed": 1, "alt_rel_m": 20, "alt_msl_m": 120, "groundspeed_mps": 0, "gps_fix": 3, "gps_satellites": 11,
        "gps_hdop": 0.8, **dict.fromkeys(("roll_rad", "pitch_rad", "yaw_rad"), 0.0),
        **dict.fromkeys(("vel_north_mps", "vel_east_mps", "vel_down_mps"), 0.0),
        **dict.fromkeys(("acc_x_mps2", "acc_y_mps2", "acc2_x_mps2", "acc2_y_mps2"), 0.0),
        "acc_z_mps2": -9.80665, "acc2_z_mps2": -9.80665, **changes,
    }  # fmt: skip
    return {name: np.broadcast_to(np.asarray(v, np.float64), n).copy() for name, v in level.items()}


def last(channels: Channels, feature: str) -> float:
    """The newest vector's value of a feature."""
    return float(flight_features(channels)[1][-1, NAMES.index(feature)])


def test_every_feature_has_a_name_of_its_own_and_known_channels() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert {f.signal for f in FEATURES} <= set(CHANNELS_OF)
    assert {c for names in CHANNELS_OF.values() for c in names} <= ANALYSED


def test_every_signal_says_what_it_is_made_of_and_is_there_when_its_channels_are(gusty_channels: Channels) -> None:
    found = signals(gusty_channels)
    assert set(found) <= set(CHANNELS_OF)
    assert {f.signal for f in FEATURES} <= set(found)
    assert all(x.shape == (len(gusty_channels["armed"]),) for x in found.values())


@pytest.mark.parametrize("cut", [1, 9, 10, 11, 57, 100, 180, 181, 250])
def test_a_flight_in_two_pieces_gives_what_it_gives_whole(gusty_channels: Channels, cut: int) -> None:
    ends, vectors, in_flight = flight_features(gusty_channels)
    stream = FeatureStream()
    first = stream.push({n: x[:cut] for n, x in gusty_channels.items()})
    second = stream.push({n: x[cut:] for n, x in gusty_channels.items()})
    np.testing.assert_array_equal(np.concatenate([first[0], second[0] + cut]), ends)
    np.testing.assert_allclose(np.concatenate([first[1], second[1]]), vectors, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(np.concatenate([first[2], second[2]]), in_flight)


@pytest.mark.parametrize("part", ["gusty_channels", "failing_channels"])
def test_no_signal_looks_back_further_than_it_says(part: str, request: pytest.FixtureRequest) -> None:
    channels: Channels = request.getfixturevalue(part)
    whole = signals(channels)
    for start in (1, 40, 90):
        late = signals({n: x[start:] for n, x in channels.items()})
        for name, values in whole.items():
            np.testing.assert_allclose(late[name][REACH:], values[start + REACH :], rtol=1e-6, atol=1e-6, err_msg=name)


def test_no_feature_needs_more_than_the_context_that_is_kept() -> None:
    assert max(f.ticks for f in FEATURES) + REACH <= CONTEXT_TICKS


def test_the_same_ticks_give_the_same_vectors_and_are_left_as_they_were(gusty_channels: Channels) -> None:
    before = {name: values.copy() for name, values in gusty_channels.items()}
    np.testing.assert_array_equal(flight_features(gusty_channels)[1], flight_features(gusty_channels)[1])
    assert all(np.array_equal(before[n], gusty_channels[n], equal_nan=True) for n in gusty_channels)


@pytest.mark.parametrize("channel", sorted({c for names in CHANNELS_OF.values() for c in names}))
def test_without_a_channel_only_the_features_made_of_it_change(gusty_channels: Channels, channel: str) -> None:
    judges_flight = {"armed", "alt_rel_m", "groundspeed_mps"}
    if channel in judges_flight:
        pytest.skip("it also says what is flight, on which all comparisons with the flight's own past rest")
    whole = flight_features(gusty_channels)[1]
    without = flight_features({n: v for n, v in gusty_channels.items() if n != channel})[1]
    for i, feature in enumerate(FEATURES):
        if channel not in CHANNELS_OF[feature.signal]:
            np.testing.assert_array_equal(without[:, i], whole[:, i], feature.name)


def test_channels_that_are_absent_give_vectors_of_nothing_and_no_flight() -> None:
    ends, vectors, in_flight = flight_features({"roll_rad": np.full(LONG, np.nan)})
    assert len(ends) == LONG // HOP_TICKS
    assert np.isnan(vectors).all()
    assert not in_flight.any()


def test_nothing_at_all_is_no_vector() -> None:
    for nothing in ({}, {"roll_rad": np.zeros(0)}, {"unheard_of": np.zeros(50)}):
        assert len(flight_features(nothing)[0]) == 0


def test_a_value_present_for_less_than_a_third_of_its_span_says_nothing() -> None:
    few = np.where(np.arange(LONG) % 15 < 4, 0.8, np.nan)
    assert np.isnan(last(steady(vibe_x_mps2=few), "vibe_x_mean_8s"))


def test_channels_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        flight_features({"roll_rad": np.zeros(80), "pitch_rad": np.zeros(81)})


def test_a_channel_that_comes_or_goes_between_pieces_is_absent_where_it_is_not() -> None:
    stream, hover = FeatureStream(), steady(100)
    stream.push(hover)
    _, vectors, _ = stream.push({n: x for n, x in hover.items() if n != "acc2_x_mps2"})
    assert np.isnan(vectors[-1, NAMES.index("acc2_residual_x_middle")])
    _, vectors, _ = stream.push(hover)
    assert vectors[-1, NAMES.index("acc2_residual_x_middle")] == pytest.approx(0, abs=1e-6)


def test_an_accelerometer_bias_shows_against_the_change_of_velocity_and_against_the_other_one() -> None:
    hover = steady(acc_y_mps2=0.7)
    assert last(hover, "acc_residual_y_middle") == pytest.approx(0.7, abs=1e-3)
    assert last(hover, "acc_apart_y_middle") == pytest.approx(0.7, abs=1e-3)
    assert last(hover, "acc_residual_z_middle") == pytest.approx(0, abs=1e-3)
    assert last(hover, "acc2_residual_y_middle") == pytest.approx(0, abs=1e-3)


def test_what_vibration_alone_explains_is_no_difference_of_accelerometers() -> None:
    hover = steady(acc_y_mps2=0.7, vibe_x_mps2=0.0, vibe_y_mps2=1.0, vibe_z_mps2=0.0)
    assert last(hover, "acc_apart_y_middle") == 0
    assert last(hover, "acc_residual_y_middle") == pytest.approx(0.05, abs=1e-3)


def test_a_value_that_leaves_the_flights_own_past_shows_and_a_steady_one_does_not() -> None:
    rises = np.where(np.arange(LONG) < 200, 1.0, 6.0)
    assert last(steady(vibe_x_mps2=6.0), "vibe_x_off_3s") == pytest.approx(0, abs=1e-6)
    assert last(steady(vibe_x_mps2=rises), "vibe_x_off_3s") > 3


def test_before_there_is_a_past_nothing_is_compared_with_it() -> None:
    _, vectors, _ = flight_features(steady(vibe_x_mps2=1.0))
    column = vectors[:, NAMES.index("vibe_x_off_3s")]
    assert np.isnan(column[:8]).all()
    assert np.isfinite(column[-1])


def test_a_receiver_that_never_had_a_fix_says_nothing_and_one_that_loses_it_does() -> None:
    lost = np.where(np.arange(LONG) < 200, 3.0, 0.0)
    assert np.isnan(last(steady(gps_fix=0.0), "gps_fix_mean_1.5s"))
    assert last(steady(gps_fix=lost), "gps_fix_mean_1.5s") == 0


def test_a_health_bit_that_was_never_good_says_nothing_and_one_that_turns_does() -> None:
    gyro_bad = np.where(np.arange(LONG) < 200, 0xFFFFFFFF, 0xFFFFFFFE)
    enabled = np.full(LONG, 0xFFFFFFFF)
    bad = steady(sensors_health=np.full(LONG, 0xFFFFFFFE), sensors_enabled=enabled)
    turns = steady(sensors_health=gyro_bad, sensors_enabled=enabled)
    assert last(bad, "gyro_unhealthy_mean_1.5s") == 0
    assert last(turns, "gyro_unhealthy_mean_1.5s") == 1
    assert last(turns, "accel_unhealthy_mean_1.5s") == 0


def test_a_sensor_that_stops_is_told_from_a_link_that_is_silent() -> None:
    shake = np.random.default_rng(0).normal(0, 0.1, LONG)
    gyro = {f"gyro_{a}_radps": shake for a in "xyz"} | {f"gyro2_{a}_radps": shake for a in "xyz"}
    moving = steady(**gyro, roll_rad=0.01 * shake, acc_x_mps2=shake, acc2_x_mps2=shake)
    stops = {n: x.copy() for n, x in moving.items()}
    silent = {n: x.copy() for n, x in moving.items()}
    for name in stops:
        if name.startswith(("acc_", "gyro_")):
            stops[name][200:] = stops[name][200]
        silent[name][200:] = silent[name][200]
    assert last(moving, "imu_still_mean_2s") == 0
    assert last(stops, "imu_still_mean_2s") > 0.9
    assert last(silent, "imu_still_mean_2s") < 0.2


def test_a_steady_turn_leaves_the_turned_magnetic_field_still() -> None:
    yaw = np.linspace(-3.0, 3.0, LONG)
    turn = steady(yaw_rad=yaw, mag_x_ut=20 * np.cos(yaw), mag_y_ut=-20 * np.sin(yaw), mag_z_ut=40.0)
    assert last(turn, "mag_north_off") == pytest.approx(0, abs=1e-4)
    turn["mag_x_ut"][200:] += 8
    assert abs(last(turn, "mag_strength_off")) > 1


def test_an_engine_that_answers_its_command_with_less_shows_at_power_alone() -> None:
    pulses = np.full((LONG, 16), 1500.0)
    rpm = np.full((LONG, 8), np.nan)
    rpm[:, 2] = np.where(np.arange(LONG) < 200, 5000.0, 3000.0)
    assert last(steady() | {"motor_output_us": pulses, "motor_rpm": rpm}, "engine_response_off_1.5s") < -0.4
    idle = pulses.copy()
    idle[:, 2] = 1150
    assert np.isnan(last(steady() | {"motor_output_us": idle, "motor_rpm": rpm}, "engine_response_off_1.5s"))


def test_heights_that_leap_as_no_aircraft_climbs_are_not_believed() -> None:
    leaping = np.where(np.arange(LONG) % 20 < 10, 120.0, 900.0)
    assert abs(np.nan_to_num(last(steady(alt_msl_m=leaping), "energy_climb_mean"))) < 50


def test_messages_at_half_their_rate_leave_the_vectors_where_they_were(
    gusty_channels: Channels, edge_bundle: Bundle
) -> None:
    slower = {name: np.repeat(values[::2], 2, axis=0)[: len(values)] for name, values in gusty_channels.items()}
    n = min(len(slower["armed"]), len(gusty_channels["armed"])) // 10 * 10
    nominal = edge_bundle.classes["copter"]
    fast, slow = (
        ratios(flight_features({m: x[:n] for m, x in c.items()})[1], nominal) for c in (gusty_channels, slower)
    )
    moved = np.quantile(np.abs(slow - fast), 0.9, axis=0)
    assert [NAMES[i] for i in np.flatnonzero(moved > 0.5)] == []


def test_flight_is_armed_and_off_the_ground_or_fast() -> None:
    n = np.arange(30)
    state = {"armed": np.ones(30), "alt_rel_m": np.where(n < 20, 0.0, 5.0), "groundspeed_mps": np.where(n < 10, 0, 6.0)}
    assert flying(state).tolist() == [False] * 10 + [True] * 20
    assert not flying(state | {"armed": np.zeros(30)}).any()
    assert not flying({"armed": np.full(30, np.nan)}).any()


def test_an_aeroplane_with_four_driven_lift_outputs_is_a_quadplane() -> None:
    outputs = np.full((50, 16), np.nan)
    outputs[:, :4] = 1500
    assert airframe("plane", {"motor_output_us": outputs}) == "plane"
    outputs[:, 4:8] = 1000
    assert airframe("plane", {"motor_output_us": outputs}) == "quadplane"
    assert airframe("copter", {"motor_output_us": outputs}) == "copter"


def test_the_document_names_every_feature_with_its_channels() -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    assert [f.name for f in FEATURES if f"`{f.name}`" not in text] == []
    assert [c for names in CHANNELS_OF.values() for c in names if f"`{c}`" not in text] == []

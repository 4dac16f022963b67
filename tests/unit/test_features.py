"""Features: pure, stable, robust to what is missing."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.channels import BY_NAME
from shared.features import (
    FEATURES,
    NAMES,
    WINDOW_TICKS,
    airframe,
    flight_features,
    flying_windows,
    window_features,
)
from shared.series import CHANNELS_OF

Channels = dict[str, NDArray[np.floating]]


def window(channels: Channels, start: int = 100) -> Channels:
    return {name: values[start : start + WINDOW_TICKS] for name, values in channels.items()}


def test_every_feature_has_a_name_of_its_own_and_known_channels() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert {f.series for f in FEATURES} == set(CHANNELS_OF)
    assert {c for names in CHANNELS_OF.values() for c in names} <= set(BY_NAME)


def test_a_window_has_the_same_features_alone_and_in_its_flight(gusty_channels: Channels) -> None:
    ends, vectors = flight_features(gusty_channels)
    for end, vector in zip(ends.tolist(), vectors, strict=True):
        alone = window_features(window(gusty_channels, end - WINDOW_TICKS))
        np.testing.assert_array_equal(alone, vector)


def test_the_same_window_gives_the_same_vector_and_is_left_as_it_was(gusty_channels: Channels) -> None:
    given = window(gusty_channels)
    before = {name: values.copy() for name, values in given.items()}
    np.testing.assert_array_equal(window_features(given), window_features(given))
    assert all(np.array_equal(before[name], given[name], equal_nan=True) for name in given)


@pytest.mark.parametrize("channel", sorted({c for names in CHANNELS_OF.values() for c in names}))
def test_without_a_channel_only_the_features_made_of_it_change_and_none_is_invented(
    gusty_channels: Channels, channel: str
) -> None:
    given = window(gusty_channels)
    whole = window_features(given)
    without = window_features({name: v for name, v in given.items() if name != channel})
    for i, feature in enumerate(FEATURES):
        if channel in CHANNELS_OF[feature.series]:
            assert np.isnan(without[i]), feature.name
        else:
            np.testing.assert_equal(without[i], whole[i], feature.name)


def test_a_channel_present_for_a_third_of_the_window_says_nothing(gusty_channels: Channels) -> None:
    given = {name: values.copy() for name, values in window(gusty_channels).items()}
    given["gps_hdop"][33:] = np.nan
    assert np.isnan(window_features(given)[NAMES.index("gps_hdop_mean")])


def test_absent_channels_altogether_give_a_vector_of_nothing() -> None:
    assert np.isnan(window_features({"roll_rad": np.full(WINDOW_TICKS, np.nan)})).all()


def test_channels_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        window_features({"roll_rad": np.zeros(WINDOW_TICKS), "pitch_rad": np.zeros(WINDOW_TICKS + 1)})


def test_a_flight_shorter_than_a_window_has_no_vectors() -> None:
    short = {"roll_rad": np.zeros(WINDOW_TICKS - 1)}
    ends, vectors = flight_features(short)
    assert len(ends) == 0
    assert vectors.shape == (0, len(FEATURES))
    assert len(flying_windows(short)) == 0


def test_messages_at_half_their_rate_move_no_feature_out_of_the_nominal(
    gusty_channels: Channels, edge_bundle: "object"
) -> None:
    from shared.scoring import Bundle, deviations

    assert isinstance(edge_bundle, Bundle)
    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    given = window(gusty_channels)
    halved = {name: np.repeat(values[::2], 2, axis=0) for name, values in given.items()}
    moved = deviations(window_features(halved)[None], nominal) - deviations(window_features(given)[None], nominal)
    worst = int(np.abs(moved).argmax())
    assert np.abs(moved).max() < 2.0, NAMES[worst]


def test_roll_error_takes_the_short_way_round() -> None:
    ticks = np.full(WINDOW_TICKS, 3.1, np.float32)
    vector = window_features({"roll_rad": ticks, "roll_target_rad": -ticks})
    assert vector[NAMES.index("roll_error_mean")] == pytest.approx(6.2 - 2 * np.pi, abs=1e-4)


def test_a_steady_turn_leaves_the_turned_magnetic_field_still() -> None:
    yaw = np.linspace(-3.0, 3.0, WINDOW_TICKS)
    zero = np.zeros(WINDOW_TICKS)
    turn = {
        "yaw_rad": yaw, "roll_rad": zero, "pitch_rad": zero,
        "mag_x_ut": 20 * np.cos(yaw), "mag_y_ut": -20 * np.sin(yaw), "mag_z_ut": zero + 40,
    }  # fmt: skip
    vector = window_features(turn)
    assert vector[NAMES.index("mag_north_std")] < 1e-4
    turn["yaw_rad"] = yaw * 0.8
    assert window_features(turn)[NAMES.index("mag_north_std")] > 0.01


def test_an_accelerometer_bias_shows_as_a_residual() -> None:
    n = WINDOW_TICKS
    still = {c: np.zeros(n) for c in ("roll_rad", "pitch_rad", "yaw_rad", "vel_down_mps")}
    still |= {c: np.zeros(n) for c in ("vel_north_mps", "vel_east_mps")}
    acc = {"acc_x_mps2": np.zeros(n), "acc_y_mps2": np.full(n, 0.7), "acc_z_mps2": np.full(n, -9.80665)}
    vector = window_features(still | acc)
    assert vector[NAMES.index("acc_y_residual_mean")] == pytest.approx(0.7, abs=1e-3)
    assert vector[NAMES.index("acc_z_residual_mean")] == pytest.approx(0.0, abs=1e-3)


def test_a_crossing_of_the_date_line_is_no_jump() -> None:
    lon = (179.9999 + np.arange(WINDOW_TICKS) * 1e-5 + 180) % 360 - 180
    speed = np.full(WINDOW_TICKS, 1e-4 * 111_319.5)
    vector = window_features(
        {"lat_deg": np.zeros(WINDOW_TICKS), "lon_deg": lon, "vel_east_mps": speed, "vel_north_mps": speed * 0}
    )
    assert vector[NAMES.index("position_error_peak")] < 0.05


def test_only_windows_that_lie_in_flight_count_as_flying() -> None:
    armed = np.ones(300)
    height = np.where(np.arange(300) < 150, 0.0, 20.0)
    flying = flying_windows({"armed": armed, "alt_rel_m": height, "groundspeed_mps": np.zeros(300)})
    assert flying.tolist() == [False] * 14 + [True] * 7
    assert not flying_windows({"armed": armed * 0, "alt_rel_m": height}).any()


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

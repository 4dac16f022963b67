"""What is read out of a flight's channels: made flights with known truths."""

import numpy as np
import pytest

from hub.worker.maintenance import battery_ohm, battery_used_mah, roll_up, rotor_spread

N = 3000


def hovering(n: int = N) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    armed = np.ones(n)
    armed[:100] = armed[-100:] = 0
    return {
        "armed": armed,
        "alt_rel_m": np.where(armed > 0, 20.0, 0.0),
        "groundspeed_mps": np.zeros(n),
        "vel_down_mps": np.zeros(n),
        "throttle_pct": 42 + rng.normal(0, 1, n),
        "vibe_x_mps2": np.full(n, 3.0), "vibe_y_mps2": np.full(n, 4.0), "vibe_z_mps2": np.full(n, 5.0),
    }  # fmt: skip


def test_hours_and_armings_are_counted() -> None:
    channels = hovering()
    channels["armed"][1500:1600] = 0
    seen = roll_up(channels)
    assert seen is not None
    assert (seen.armed_s, seen.flying_s, seen.arm_cycles) == (270, 270, 2)


def test_a_hover_tells_of_hover_and_not_of_cruise() -> None:
    seen = roll_up(hovering())
    assert seen is not None
    assert seen.measures["hover_throttle_pct"] == pytest.approx(42, abs=0.2)
    assert seen.measures["vibe_hover_z_mps2"] == pytest.approx(5)
    assert seen.measures["vibe_cruise_z_mps2"] is None


def test_a_bump_does_not_count_as_vibration_of_the_flight() -> None:
    channels = hovering()
    channels["vibe_x_mps2"][500:520] = 200
    seen = roll_up(channels)
    assert seen is not None and seen.measures["vibe_hover_x_mps2"] == pytest.approx(3)


def test_absent_channels_are_absent_and_not_zero() -> None:
    seen = roll_up({"armed": np.ones(N), "alt_rel_m": np.full(N, 9.0)})
    assert seen is not None and seen.battery_used_mah is None
    assert set(seen.measures.values()) == {None}


def test_a_flight_without_channels_has_no_rollup() -> None:
    assert roll_up({}) is None


@pytest.mark.parametrize("ohm", [0.01, 0.03, 0.1])
def test_resistance_is_found_under_a_falling_voltage_and_noise(ohm: float) -> None:
    rng = np.random.default_rng(2)
    amps = 20 + 8 * np.sin(np.arange(N) / 40) + rng.normal(0, 0.5, N)
    volts = 25 - 2 * np.arange(N) / N - ohm * amps + rng.normal(0, 0.02, N)
    assert battery_ohm(volts, amps, np.ones(N, bool)) == pytest.approx(ohm, rel=0.1)


def test_a_steady_current_tells_nothing_of_resistance() -> None:
    volts = 25 + np.random.default_rng(3).normal(0, 0.02, N)
    amps = 20 + np.random.default_rng(4).normal(0, 0.01, N)
    assert battery_ohm(volts, amps, np.ones(N, bool)) is None


def test_charge_is_counted_over_a_reset_of_the_counter() -> None:
    used = np.concatenate([np.linspace(100, 400, N // 2), np.linspace(0, 250, N // 2)])
    assert battery_used_mah({"battery_used_mah": used}, np.ones(N, bool)) == pytest.approx(550)


def test_charge_is_the_current_over_time_where_nobody_counts() -> None:
    assert battery_used_mah({"battery_a": np.full(N, 36.0)}, np.ones(N, bool)) == pytest.approx(36 / 12 * 1000)


def test_a_rotor_that_turns_slower_for_the_same_command_shows_as_spread() -> None:
    pulses, rpm = np.full((N, 4), 1500.0), np.full((N, 4), 5000.0)
    rpm[:, 2] *= 0.8
    airborne = np.ones(N, bool)
    assert rotor_spread({"motor_output_us": pulses, "motor_rpm": rpm}, airborne) == pytest.approx(0.2)
    assert rotor_spread({"motor_output_us": pulses, "motor_rpm": rpm[:, :1]}, airborne) is None


def test_rates_are_held_against_the_commands_a_tick_before() -> None:
    target = np.sin(np.arange(N) / 5)
    late = np.concatenate([[0.0], target[:-1]])
    channels = hovering() | {f"{a}_rate_target_radps": target for a in ("roll", "pitch")}
    exact = roll_up(channels | {f"{a}_rate_radps": late for a in ("roll", "pitch")})
    off = roll_up(channels | {f"{a}_rate_radps": late + 0.1 for a in ("roll", "pitch")})
    assert exact is not None and exact.measures["rate_error_radps"] == pytest.approx(0, abs=1e-9)
    assert off is not None and off.measures["rate_error_radps"] == pytest.approx(0.1 * 2**0.5)

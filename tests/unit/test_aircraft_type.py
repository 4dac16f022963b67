"""Which class of aircraft flew, from its dynamics; what MAV_TYPE says counts only where these do not settle it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hub.worker.aircraft_type import detect
from shared.aircraft_type import ABSENT, FACTS, MOTION, OUTPUTS, ROTORS, TypeModel, facts, load_type_model
from shared.errors import Refused
from shared.signals import flying

Channels = dict[str, NDArray[np.floating]]
QUAD, WING, ROVER, HELI = 2, 1, 10, 4


@pytest.fixture(scope="module")
def types() -> TypeModel:
    return load_type_model()


def cruise(n: int = 900) -> Channels:
    """An aeroplane that circles: banked turns at 22 m/s, surfaces about their centre, one engine."""
    t = np.arange(n) / 10
    roll = 0.4 * np.sin(t / 6)
    outputs = np.full((n, 16), np.nan)
    outputs[:, 0], outputs[:, 1] = 1500 + 60 * np.sin(t), 1505 + 40 * np.cos(t / 2)
    outputs[:, 2], outputs[:, 3] = 1520 + 90 * np.sin(t / 9), 1500 + 12 * np.sin(t / 3)
    return {
        "armed": np.ones(n), "alt_rel_m": np.full(n, 80.0), "groundspeed_mps": 22 + 3 * np.sin(t / 11),
        "climb_mps": 0.4 * np.sin(t / 7), "roll_rad": roll, "pitch_rad": np.full(n, 0.03) - 0.08,
        "roll_rate_radps": np.gradient(roll, 0.1), "pitch_rate_radps": 0.05 * np.sin(t * 2),
        "yaw_rate_radps": 9.8 / 22 * np.tan(roll), "throttle_pct": 52 + 9 * np.sin(t / 9), "motor_output_us": outputs,
    }  # fmt: skip


def test_a_copter_is_told_from_its_dynamics_whatever_it_says(types: TypeModel, gusty_channels: Channels) -> None:
    for said in (QUAD, WING, 0):
        found = detect(said, gusty_channels, types)
        assert (found.name, found.confidence > 0.9) == ("copter", True)
        assert found.contradicted == (said == WING)


def test_an_aeroplane_is_told_from_its_dynamics_whatever_it_says(types: TypeModel) -> None:
    for said in (WING, QUAD, HELI, 0):
        found = detect(said, cruise(), types)
        assert (found.name, found.confidence > 0.9) == ("plane", True)
    assert "MAV_TYPE 2 says copter, which the flight contradicts" in detect(QUAD, cruise(), types).why


def test_what_the_autopilot_says_of_itself_raises_no_doubt_where_it_agrees(types: TypeModel) -> None:
    assert detect(WING, cruise(), types).confidence >= detect(0, cruise(), types).confidence


def test_without_a_flight_the_autopilot_is_believed_a_little(types: TypeModel) -> None:
    assert (detect(QUAD, {}, types).name, detect(QUAD, {}, types).confidence) == ("copter", 0.6)
    assert detect(0, {}, types).confidence == 0


def test_a_flight_that_tells_neither_speeds_nor_outputs_settles_nothing(types: TypeModel) -> None:
    bare = {"armed": np.ones(600), "alt_rel_m": np.full(600, 20.0)}
    assert (detect(HELI, bare, types).name, detect(HELI, bare, types).confidence) == ("helicopter", 0.6)
    assert detect(0, bare, types).confidence == 0


def test_a_rover_that_drives_fast_is_no_aeroplane(types: TypeModel) -> None:
    driving = cruise() | {"alt_rel_m": np.full(900, 0.4)}
    assert detect(ROVER, driving, types).name == "rover"


def test_facts_do_not_depend_on_the_order_of_the_outputs(gusty_channels: Channels) -> None:
    turned = dict(gusty_channels) | {"motor_output_us": np.asarray(gusty_channels["motor_output_us"])[:, ::-1]}
    in_flight = flying(gusty_channels)
    assert np.allclose(facts(gusty_channels, in_flight), facts(turned, in_flight), atol=1e-5)


@pytest.mark.parametrize(
    ("channel", "part"), [("groundspeed_mps", MOTION), ("motor_output_us", OUTPUTS), ("motor_rpm", ROTORS)]
)
def test_facts_without_their_channels_are_absent(gusty_channels: Channels, channel: str, part: slice) -> None:
    without = {name: values for name, values in gusty_channels.items() if name != channel}
    assert (facts(without, flying(gusty_channels))[part] == ABSENT).all()


def test_facts_of_nothing_are_all_absent() -> None:
    assert facts({}, np.zeros(0, bool)).tolist() == [ABSENT] * len(FACTS)


def test_a_bundle_of_another_kind_of_model_is_refused(types: TypeModel) -> None:
    from shared.aircraft_type import TYPE_BUNDLE
    from shared.scoring import EDGE_BUNDLE, load_bundle, read_keys

    with pytest.raises(Refused):
        load_type_model(EDGE_BUNDLE)
    with pytest.raises(Refused):
        load_bundle(TYPE_BUNDLE, read_keys())
    with pytest.raises(Refused):
        load_type_model(trusted_keys=[bytes(32)])


def test_the_packaged_model_named_flights_of_sites_that_it_had_not_seen(types: TypeModel) -> None:
    held_out = types.manifest["metrics"]
    assert held_out["right_and_sure"] / held_out["flights"] >= 0.99
    assert held_out["wrong_and_sure"] == 0
    assert types.manifest["parity"] < 1e-5

"""Mode names agree with the field's tables; a mode without a name never breaks anything."""

import pytest
from pymavlink import mavutil

from firmware_bridge.modes import (
    ARDUPILOT,
    PX4,
    autopilot_name,
    is_vehicle_type,
    mode_name,
    px4_custom_mode,
    vehicle_class,
)


@pytest.mark.parametrize("vehicle_type", [1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 19, 20, 21, 29, 35])
def test_ardupilot_modes_are_named_as_the_field_names_them(vehicle_type: int) -> None:
    table = mavutil.mode_mapping_bynumber(vehicle_type)
    assert {n: mode_name(ARDUPILOT, vehicle_type, n) for n in table} == table


@pytest.mark.parametrize("custom_mode", [main << 16 | sub << 24 for main in (1, 2, 3, 5, 6, 7, 8) for sub in (0,)])
def test_px4_main_modes_are_named_as_the_field_names_them(custom_mode: int) -> None:
    assert mode_name(PX4, 2, custom_mode) == mavutil.interpret_px4_mode(0, custom_mode)


@pytest.mark.parametrize("sub", [2, 3, 4, 5, 6, 7, 8])
def test_px4_auto_modes_are_named_as_the_field_names_them(sub: int) -> None:
    custom_mode = 4 << 16 | sub << 24
    assert mode_name(PX4, 2, custom_mode) == mavutil.interpret_px4_mode(0, custom_mode)


@pytest.mark.parametrize("nav_state,name", [(0, "MANUAL"), (3, "MISSION"), (5, "RTL"), (12, "LAND"), (21, "ORBIT")])
def test_a_px4_navigation_state_becomes_its_custom_mode(nav_state: int, name: str) -> None:
    assert mode_name(PX4, 2, px4_custom_mode(nav_state)) == name


def test_a_mode_or_autopilot_without_a_name_shows_its_number() -> None:
    assert mode_name(ARDUPILOT, 2, 99) == "MODE(99)"
    assert mode_name(77, 2, 5) == "MODE(5)"
    assert autopilot_name(77) == "autopilot 77"


@pytest.mark.parametrize(
    "vehicle_type,name",
    [(1, "plane"), (2, "copter"), (13, "copter"), (4, "helicopter"), (20, "quadplane"), (6, "unknown")],
)
def test_vehicle_types_have_a_class(vehicle_type: int, name: str) -> None:
    assert vehicle_class(vehicle_type) == name


def test_an_aeroplane_that_shows_q_modes_is_a_quadplane() -> None:
    assert vehicle_class(1, is_quadplane=True) == "quadplane"
    assert vehicle_class(2, is_quadplane=True) == "copter"


@pytest.mark.parametrize("vehicle_type", [5 + 1, 18, 26, 27, 30])
def test_ground_stations_companions_and_payloads_are_no_vehicles(vehicle_type: int) -> None:
    assert not is_vehicle_type(vehicle_type)

"""Where a place may hide in a log besides its position fields: private exports do not carry it on."""

from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.log_source import LogSource
from hub.export.log_files import Wish, export_log
from hub.export.private import NO_PLACES, Privacy
from hub.export.private_policy import keeps_parameter, policies
from tests.fix_private_logs import dataflash_text, secret_flight

FLIGHT = secret_flight()
LINES = dataflash_text(FLIGHT).decode().split("\n")
ROW = next(i for i, line in enumerate(LINES) if line.startswith("POS"))


def original(line: str, tmp_path: Path) -> str:
    """The private original of a text log that has this line among its own."""
    log = "\n".join([*LINES[:ROW], line, *LINES[ROW:]]).encode()
    out = tmp_path / "out.log"
    export_log(LogSource(log, "x.log"), Wish("original", private=True, seed=bytes(32)), out)
    return out.read_text()


@pytest.mark.parametrize(
    ("line", "kept", "hidden"),
    [
        ("VIBE, 61000000, 0, 1.5, 2.0, 3.0, 7, 47.1234567, 8.76", "VIBE, 61000000, 0, 1.5, 2.0, 3.0, 7\n", "47.12"),
        ("VIBE, 61000000, 0, N47.1234567, 2.25, 3.0, 7", "VIBE, 61000000, 0, nan, 2.25, 3.0, 7\n", "47.12"),
        ("VIBE, 61000000, 0, 1.50000000000000000000000471234567, 2.25, 3.0, 7", "61000000, 0, 1.5, 2.25", "47123"),
        (f"MSG, 61000000, {'Arming motors ' * 6}47.1234567 8.76", "MSG, 61000000, Arming motors ", "47.12"),
        ("MODE, 61000000, Oerlikon47.12, 3, 1", "MODE, 61000000, 0, 3, 1\n", "Oerlikon"),
        ("MODE, 61000000, ALT_HOLD, 3, 1", "MODE, 61000000, ALT_HOLD, 3, 1\n", "47.12"),
    ],
    ids=["surplus", "no number", "digits beyond a double", "the end of a long text", "a mode", "a usual mode"],
)  # fmt: skip
def test_a_line_of_text_tells_what_its_reader_took_and_no_more(
    line: str, kept: str, hidden: str, tmp_path: Path
) -> None:
    shown = original(line, tmp_path)
    assert kept in shown and hidden not in shown


def test_a_few_other_values_do_not_save_a_column_of_places() -> None:
    privacy = Privacy.over(bytes(32), (FLIGHT.lat, FLIGHT.lon), NO_PLACES)
    assert privacy.is_like_a_place(np.append(FLIGHT.lat, [0.5, 12.0, 99.0]))
    assert not privacy.is_like_a_place(np.linspace(0, 360, 700))


@pytest.mark.parametrize("name", ["SDLOG_UTC_OFFSET", "EKF2_MAG_DECL", "COMPASS_DEC", "BRD_RTC_TZ_MIN"])
def test_parameters_that_tell_a_region_are_left_out(name: str) -> None:
    assert not keeps_parameter(name)


def test_the_earth_magnetic_field_in_an_estimators_states_is_left_out() -> None:
    """PX4 up to 1.11: `estimator_status.states[16..18]`, and where it stands in [7..9]."""
    policy = policies("ulog")["estimator_status"]
    assert not policy.keeps("states[16]") and not policy.keeps("covariances[16]") and policy.keeps("vel_test_ratio")

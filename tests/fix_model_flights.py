"""Two short recorded flights, one with a motor failure and one in gusts, and the packaged model bundle."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_bridge.tlog import open_log, read_tlog
from models.channels import log_channels
from shared.frames import Frames
from shared.scoring import Bundle, packaged_bundle

FLIGHTS = Path(__file__).parent / "fixtures" / "flights"
MOTOR_STOPS_S = 18.0
"""After the first frame of the motor_fail flight."""


@pytest.fixture(scope="session")
def edge_bundle() -> Bundle:
    """The bundle that comes with the program."""
    return packaged_bundle()


@pytest.fixture(scope="session")
def motor_failure() -> Frames:
    """26 s of a quadcopter that loses a motor after MOTOR_STOPS_S."""
    return read_tlog(open_log(FLIGHTS / "motor_fail.tlog.zst")).frames


@pytest.fixture(scope="session")
def gusty_flight() -> Frames:
    """34 s of a healthy quadcopter in gusts."""
    return read_tlog(open_log(FLIGHTS / "gusts.tlog.zst")).frames


@pytest.fixture(scope="session")
def gusty_channels() -> dict[str, NDArray[np.floating]]:
    """The channels and sensed quantities of the flight in gusts, 10 Hz."""
    return log_channels(FLIGHTS / "gusts.tlog.zst")[1]


@pytest.fixture(scope="session")
def failing_channels() -> dict[str, NDArray[np.floating]]:
    """The same of the flight that loses a motor."""
    return log_channels(FLIGHTS / "motor_fail.tlog.zst")[1]

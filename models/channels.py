"""Channels and signals of a telemetry log: the same path as on the aircraft and in the hub, for training and
evaluation."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.columns import columns_of
from firmware_bridge.grid import GridInput, to_grid
from firmware_bridge.sensed import SensedReader
from firmware_bridge.tlog import open_log, read_tlog
from firmware_bridge.vehicle import find_vehicle
from shared.timeline import timeline


def log_channels(path: Path) -> tuple[NDArray[np.int64], dict[str, NDArray[np.floating]]]:
    """(tick_us [n], channel or sensed -> float [n(, size)]) of a `.tlog`, also packed. Refused, OSError: see
    open_log."""
    frames = read_tlog(open_log(path)).frames
    columns = columns_of(frames)
    vehicle = find_vehicle(columns)
    if vehicle is None:
        return np.zeros(0, np.int64), {}
    covers = (int(frames.time_us.min()) - 1, int(frames.time_us.max()))
    grid = to_grid([GridInput(columns, vehicle, covers)])[0]
    return timeline([(grid.tick_us, grid.values, SensedReader().read(columns, vehicle, grid.tick_us))])

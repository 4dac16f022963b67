"""What only the analysis reads is there on every way to it: from a log, from batches, from several sources."""

import itertools
import uuid

import numpy as np

from firmware_bridge.columns import columns_of
from firmware_bridge.grid import ChannelGrid, GridInput, to_grid
from firmware_bridge.log_flight import derive
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import survey
from firmware_bridge.sensed import SensedReader
from hub.worker.merge import merge, within
from hub.worker.rederive import Rederivation, joined, read_batch
from models.channels import log_channels
from shared.frames import Frames
from tests.fix_fleet import Recorder
from tests.fix_model_flights import FLIGHTS

NAMES = {"gyro_x_radps", "baro_pa", "gps_lat_deg", "system_status", "pitch_rate_target_radps"}


def at_once(frames: Frames) -> ChannelGrid:
    """The whole flight read in one go."""
    columns = columns_of(frames)
    covers = (int(frames.time_us[0]) - 1, int(frames.time_us[-1]))
    grid = to_grid([GridInput(columns, (1, 1), covers)])[0]
    return ChannelGrid(grid.tick_us, grid.values, sensed=SensedReader().read(columns, (1, 1), grid.tick_us))


def test_a_telemetry_log_gives_the_analysis_what_training_was_given() -> None:
    path = FLIGHTS / "motor_fail.tlog.zst"
    source = LogSource(path)
    (flight,) = derive(source, survey(source))
    grid = joined(flight.grids)
    tick_us, channels = log_channels(path)
    assert grid.sensed.keys() >= NAMES
    _, here, there = np.intersect1d(grid.tick_us + flight.offset_us, tick_us, return_indices=True)
    assert len(here) > 100
    for name, values in grid.sensed.items():
        assert np.allclose(values[here], channels[name][there], equal_nan=True), name


def test_batches_give_the_analysis_what_the_whole_flight_does(motor_failure: Frames) -> None:
    start = int(motor_failure.time_us[0]) - 1
    flight = Frames(motor_failure.data, motor_failure.offsets, motor_failure.time_us - start)
    recorder, work = Recorder(uuid.uuid4(), uuid.uuid4()), Rederivation(0, (1, 1), 3)
    edges = [*range(0, int(flight.time_us[-1]), 1_700_000), int(flight.time_us[-1])]
    at = np.searchsorted(flight.time_us, edges, side="right").tolist()
    for i, (first, stop) in enumerate(itertools.pairwise(at)):
        work.add(read_batch(recorder.seal(flight.slice(first, stop), (edges[i], edges[i + 1]))))
    grid, whole = joined(work.result.grids), at_once(flight)
    assert not work.result.failed
    _, here, there = np.intersect1d(grid.tick_us, whole.tick_us, return_indices=True)
    assert len(here) > 200
    assert grid.sensed.keys() == whole.sensed.keys() >= NAMES
    for name, values in grid.sensed.items():
        assert np.array_equal(values[here], whole.sensed[name][there], equal_nan=True), name


def test_two_sources_are_merged_the_better_first_filled_from_the_other() -> None:
    ticks = np.arange(4, dtype=np.int64) * 100_000
    best = ChannelGrid(ticks[:3], {}, sensed={"baro_pa": np.array([1.0, np.nan, 3.0])})
    other = ChannelGrid(ticks, {}, sensed={"baro_pa": np.full(4, 9.0), "baro2_pa": np.arange(4.0)})
    merged, _ = merge([best, other])
    assert merged.sensed["baro_pa"].tolist() == [1.0, 9.0, 3.0, 9.0]
    assert merged.sensed["baro2_pa"].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_flights_share_of_a_log_has_its_share_of_what_the_analysis_reads() -> None:
    ticks = np.arange(4, dtype=np.int64) * 100_000
    grid = ChannelGrid(ticks, {}, sensed={"baro_pa": np.arange(4.0)})
    assert within(grid, (100_000, 300_000)).sensed["baro_pa"].tolist() == [1.0, 2.0]


def test_grids_joined_have_no_value_where_one_of_them_read_none() -> None:
    first = ChannelGrid(np.array([0, 100_000], np.int64), {}, sensed={"baro_pa": np.array([1.0, 2.0])})
    second = ChannelGrid(np.array([200_000], np.int64), {})
    assert np.array_equal(joined([first, second]).sensed["baro_pa"], [1.0, 2.0, np.nan], equal_nan=True)

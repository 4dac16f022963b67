"""What only the analysis reads, from DataFlash and ULog: the vectors of a log are those of its telemetry."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_bridge.log_flight import derive
from firmware_bridge.log_sensed import DATAFLASH_SENSED, ULOG_SENSED
from firmware_bridge.log_source import log_sources
from firmware_bridge.log_survey import survey
from shared.channels import SENSED
from shared.features import NAMES, flight_features
from shared.scoring import Bundle, ratios
from shared.timeline import timeline

Channels = dict[str, NDArray[np.floating]]
NOT_LOGGED = {"sensors_enabled", "system_status", "gps_sacc_mps"}
"""DataFlash files have no health bits (the simulated receiver claims no speed accuracy over MAVLink)."""


def read(path: Path) -> tuple[NDArray[np.int64], Channels]:
    (source,) = log_sources(path)
    flight = derive(source, survey(source))[0]
    return timeline([(g.tick_us + flight.offset_us, g.values, g.sensed) for g in flight.grids])


def test_every_source_gives_known_quantities() -> None:
    known = {s.name for s in SENSED}
    for table in (*DATAFLASH_SENSED, *ULOG_SENSED):
        assert {name for column in table.columns for name, _ in column.targets} <= known


@pytest.fixture(scope="module")
def both(flight_data: Path) -> tuple[Channels, Channels]:
    """The same ticks of one flight by telemetry (4 to 10 Hz) and by the autopilot's own log (up to 400 Hz)."""
    folder = flight_data / "flights"
    found = [read(folder / "tlog" / "f0010_copter-quad.tlog.zst"), read(folder / "bin" / "f0010_copter-quad.BIN.zst")]
    begin, end = max(t[0] for t, _ in found), min(t[-1] for t, _ in found)
    by_tlog, by_bin = ({n: x[(t >= begin) & (t <= end)] for n, x in c.items()} for t, c in found)
    return by_tlog, by_bin


def test_a_dataflash_log_tells_all_that_telemetry_tells_but_health(both: tuple[Channels, Channels]) -> None:
    by_tlog, by_bin = both
    sensed = {s.name for s in SENSED}
    assert (set(by_tlog) & sensed) - set(by_bin) - NOT_LOGGED == set()


def test_log_and_telemetry_of_one_flight_give_nearly_the_same_vectors(
    both: tuple[Channels, Channels], edge_bundle: Bundle
) -> None:
    (_, of_tlog, flying), (_, of_bin, also_flying) = (flight_features(c) for c in both)
    nominal = edge_bundle.classes["copter"]
    known = np.isfinite(of_tlog) & np.isfinite(of_bin) & (flying & also_flying)[:, None]
    assert known.any(axis=0).mean() > 0.8
    moved = np.where(known, np.abs(ratios(of_tlog, nominal) - ratios(of_bin, nominal)), 0.0)
    typical = np.quantile(moved, 0.9, axis=0)
    assert {NAMES[i]: round(float(typical[i]), 2) for i in np.flatnonzero(typical > 0.5)} == {}
    scores = [edge_bundle.scores(v, nominal)[flying & also_flying] for v in (of_tlog, of_bin)]
    assert np.median(np.abs(scores[0] - scores[1])) < 0.15


@pytest.mark.parametrize("name", ["px4-quad-1.15-real-mission.ulg", "px4-quad-1.16-real-indoor-lowbatt-failsafe.ulg"])
def test_a_px4_log_tells_its_second_imu_its_barometer_and_its_rate_commands(flight_data: Path, name: str) -> None:
    _, channels = read(flight_data / "real" / name)
    expected = {"gyro_x_radps", "gyro2_x_radps", "acc2_z_mps2", "baro_pa", "roll_rate_target_radps"}
    assert expected - {n for n, x in channels.items() if np.isfinite(x).any()} == set()
    assert np.nanmedian(np.abs(channels["acc2_z_mps2"])) == pytest.approx(9.8, abs=1.5)
    assert 80_000 < np.nanmedian(channels["baro_pa"]) < 108_000

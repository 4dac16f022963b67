"""One flight recorded twice, as the autopilot's DataFlash log and as a telemetry log: both give the same channels.

What may differ, and why: a telemetry log's message is up to one stream interval old, so fast channels differ by what
they change in that time; DataFlash cuts EKF ratios to hundredths; VFR_HUD cuts throttle to whole percent.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_bridge.log_flight import LogFlight, derive
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import survey
from shared.channels import BY_NAME
from shared.timeline import timeline
from tests.fix_field_tools import FLIGHTS

Channels = dict[str, NDArray[np.floating]]
_BIN, _TLOG = FLIGHTS / "bin" / "f0010_copter-quad.BIN.zst", FLIGHTS / "tlog" / "f0010_copter-quad.tlog.zst"
ONLY_LIVE = {"board_v", "xtrack_error_m", "waypoint_distance_m", "sensors_health"}
"""Nothing in a copter's DataFlash log of this firmware and simulator says these."""
COARSER = {"throttle_pct": 1.0, "battery_a": 0.04, "mission_seq": 0.0, "landed_state": 2.0} | {
    f"ekf_{k}_ratio": 0.01 for k in ("velocity", "position", "height", "compass")
}
"""Half the ticks differ by no more than this, else by no more than two steps of the channel."""
LAGGING = {"lat_deg": 6e-6, "lon_deg": 9e-6, "alt_msl_m": 0.2, "vel_north_mps": 0.2, "vel_east_mps": 0.2,
           "vel_down_mps": 0.1, "roll_rad": 0.02, "pitch_rad": 0.03, "groundspeed_mps": 0.2, "climb_mps": 0.1,
           "battery_v": 0.02, "pressure_pa": 6, "mag_x_ut": 1.5, "gps_alt_msl_m": 0.6}  # fmt: skip
"""95 % of ticks differ by no more than this: 100 to 250 ms of change in this flight."""


def _derived(path) -> LogFlight:  # type: ignore[no-untyped-def]
    source = LogSource(path)
    (flight,) = derive(source, survey(source))
    return flight


@pytest.fixture(scope="module")
def twice() -> tuple[LogFlight, Channels, LogFlight, Channels]:
    """Both flights, and their channels at the ticks that both have."""
    if not _BIN.exists():
        pytest.skip("../shared/data is not here")
    flights = _derived(_BIN), _derived(_TLOG)
    lines = [timeline([(g.tick_us + f.offset_us, g.values, {}) for g in f.grids]) for f in flights]
    _, *at = np.intersect1d(lines[0][0], lines[1][0], return_indices=True)
    bin_channels, tlog_channels = ({n: v[i] for n, v in line[1].items()} for line, i in zip(lines, at, strict=True))
    return flights[0], bin_channels, flights[1], tlog_channels


def test_ticks_are_whole_tenths_of_a_second_in_utc_and_the_same_in_both(twice) -> None:  # type: ignore[no-untyped-def]
    bin_flight, bin_channels, tlog_flight, _ = twice
    for flight in (bin_flight, tlog_flight):
        assert all(((g.tick_us + flight.offset_us) % 100_000 == 0).all() for g in flight.grids)
    assert len(bin_channels["lat_deg"]) > 1_200


def test_both_know_the_same_channels(twice) -> None:  # type: ignore[no-untyped-def]
    _, bin_channels, _, tlog_channels = twice
    assert set(tlog_channels) - set(bin_channels) == ONLY_LIVE
    assert set(bin_channels) <= set(tlog_channels)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_channel_agrees_within_its_resolution_and_the_streams_latency(name: str, twice) -> None:  # type: ignore[no-untyped-def]
    _, bin_channels, _, tlog_channels = twice
    if name not in bin_channels or name not in tlog_channels:
        pytest.skip("not in both")
    a, b = (c[name].astype(np.float64) for c in (bin_channels, tlog_channels))
    differs = np.abs(a - b)
    if name.endswith("yaw_rad"):
        differs = np.minimum(differs, 2 * np.pi - differs)
    assert np.isfinite(differs).any()
    assert np.nanmedian(differs) <= COARSER.get(name, 2 * BY_NAME[name].scale) * 1.001
    if name in LAGGING:
        assert np.nanpercentile(differs, 95) <= LAGGING[name]


def test_arming_is_the_same_to_within_a_heartbeat(twice) -> None:  # type: ignore[no-untyped-def]
    bin_flight, _, tlog_flight, _ = twice
    for when in ("start_us", "end_us"):
        ours, theirs = (getattr(f.session, when) + f.offset_us for f in (bin_flight, tlog_flight))
        assert 0 <= theirs - ours <= 1_100_000


def test_modes_take_off_and_landing_are_told_by_both(twice) -> None:  # type: ignore[no-untyped-def]
    bin_flight, _, tlog_flight, _ = twice
    kinds = [[e.kind for e in f.events if e.kind in ("armed", "takeoff", "landed", "disarmed")]
             for f in (bin_flight, tlog_flight)]  # fmt: skip
    assert kinds[0] == kinds[1] == ["armed", "takeoff", "landed", "disarmed"]

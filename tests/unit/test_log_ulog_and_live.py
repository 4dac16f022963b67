"""A ULog's flight from its topics, and the log played as the MAVLink that PX4 would have sent: the same channels."""

import numpy as np

from firmware_bridge.columns import columns_of
from firmware_bridge.grid import GridInput, to_grid
from firmware_bridge.log_flight import PREROLL_US, derive
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import survey
from firmware_bridge.modes import PX4
from firmware_bridge.ulog_player import play_ulog
from shared.channels import BY_NAME
from shared.timeline import timeline
from tests.fix_ulog import ulog_log

SENT_AS_0 = {
    "airspeed_mps", "ekf_velocity_ratio", "ekf_position_ratio", "ekf_height_ratio", "ekf_compass_ratio",
    "throttle_pct", "cpu_load_pct",
}  # fmt: skip
"""PX4 sends 0 for what it does not know; a flight from the log leaves it absent."""
COARSER = {"heading_deg": 1.0}


def test_a_ulogs_topics_and_its_streams_give_the_same_channels() -> None:
    data = ulog_log(30, armed=(3.0, 27.0))
    source = LogSource(data)
    (flight,) = derive(source, survey(source))
    played = play_ulog(data)
    start, end = (t + flight.offset_us for t in (flight.session.start_us - PREROLL_US, flight.session.end_us))
    live = to_grid([GridInput(columns_of(played.frames), played.vehicle, (start, end), 0, PX4)])
    ours = timeline([(g.tick_us + flight.offset_us, g.values, {}) for g in flight.grids])
    theirs = timeline([(g.tick_us, g.values, {}) for g in live])
    _, *at = np.intersect1d(ours[0], theirs[0], return_indices=True)
    assert len(at[0]) > 200
    bad = {}
    for name in theirs[1].keys() - SENT_AS_0:
        if name not in ours[1]:
            bad[name] = "absent"
            continue
        differs = np.abs(ours[1][name][at[0]].astype(np.float64) - theirs[1][name][at[1]])
        if np.nanmedian(differs) > COARSER.get(name, 2 * BY_NAME[name].scale):
            bad[name] = f"{np.nanmedian(differs):.4g}"
    assert bad == {}

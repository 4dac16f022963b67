"""Channels of a flight made private: positions moved, none near home, and nothing that tells the place."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hub.export.private import NO_PLACES, Floats, Places, Privacy, is_place, new_seed
from hub.export.series import Series, physical
from shared.channels import BY_NAME, CHANNELS, Channel

LEFT_OUT = frozenset({"pressure_pa", "mag_x_ut", "mag_y_ut", "mag_z_ut", "waypoint_distance_m", "mission_seq"})
"""Pressure tells the altitude, the magnetic field the region, the distance to a waypoint where the mission lies."""
_LOOKED_AT = 62
KEPT = frozenset(c.name for c in CHANNELS[:_LOOKED_AT]) - LEFT_OUT
"""Channels that came after these are left out until somebody has looked at them."""
NEEDED = ("lat_deg", "lon_deg", "armed")
"""What must be read beside the channels that are asked for."""
_ALTITUDES = ("alt_msl_m", "gps_alt_msl_m")


def track_and_anchors(series: Series) -> tuple[Places, Places]:
    """All positions, and those of the first and last row with one and where arming changed."""
    lat, lon = (physical(BY_NAME[c], series.stored[c]) for c in ("lat_deg", "lon_deg"))
    known = np.flatnonzero(is_place(lat, lon))
    if not len(known):
        return NO_PLACES, NO_PLACES
    armed = series.stored.get("armed")
    changes = np.flatnonzero(np.diff(armed)) if armed is not None else np.zeros(0, np.intp)
    near = np.searchsorted(known, np.concatenate([changes, changes + 1]))
    rows = known[np.unique(np.concatenate([[0, len(known) - 1], near.clip(0, len(known) - 1)]))]
    return (lat[known], lon[known]), (lat[rows], lon[rows])


def privacy_of(series: Series, homes: Places = NO_PLACES) -> Privacy:
    """For a flight with these rows, by a seed that nobody knows."""
    track, ends = track_and_anchors(series)
    anchors = np.concatenate([ends[0], homes[0]]), np.concatenate([ends[1], homes[1]])
    return Privacy.over(new_seed(), track, anchors)


def private_series(series: Series, privacy: Privacy, wanted: Sequence[Channel] | None = None) -> Series:
    """The wanted channels (None: all that it has) as they may be seen."""
    names = [c.name for c in wanted] if wanted is not None else list(series.stored)
    stored = {n: series.stored[n].copy() for n in names if n in KEPT}
    for name in sorted(set(names) - stored.keys()):
        privacy.left_out.field("channels", name)
    lat, lon = (physical(BY_NAME[c], series.stored[c]) for c in ("lat_deg", "lon_deg"))
    known = is_place(lat, lon)
    inside = known & privacy.home.holds(lat, lon)
    privacy.left_out.rows_near_home += int(inside.sum())
    _place(stored, privacy, lat, lon, known & ~inside)
    return Series(series.time_utc_us + privacy.time_shift_us, stored)


def _place(
    stored: dict[str, NDArray[np.generic]], privacy: Privacy, lat: Floats, lon: Floats, seen: NDArray[np.bool_]
) -> None:
    moved = privacy.shift.move(lat[seen], lon[seen])
    for name, values in zip(("lat_deg", "lon_deg"), moved, strict=True):
        if name in stored:
            _fill(stored, BY_NAME[name], seen, values)
    for name in _ALTITUDES:
        if name in stored:
            channel = BY_NAME[name]
            there = seen & (stored[name] != channel.missing)
            _fill(stored, channel, there, physical(channel, stored[name][there]) + privacy.shift.alt_m)


def _fill(stored: dict[str, NDArray[np.generic]], channel: Channel, at: NDArray[np.bool_], values: Floats) -> None:
    """The channel's values at these rows, absent in all others."""
    column = np.full(len(at), channel.missing, channel.dtype)
    column[at] = np.round(values / channel.scale)
    stored[channel.name] = column

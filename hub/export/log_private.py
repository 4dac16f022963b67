"""What must be known of a recorded log before it can be made private: where it flew, began, ended and called home."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.log_survey import LogSession
from firmware_bridge.log_tables import LogFormat, Portion, Table
from hub.export.private import Floats, Places, Privacy, is_place, new_seed
from hub.export.private_frames import homes_in
from hub.export.private_policy import Dialect
from hub.export.private_rows import degrees, places_in

DIALECTS: dict[LogFormat, Dialect] = {
    "dataflash": "dataflash", "dataflash-text": "dataflash", "ulog": "ulog", "tlog": "mavlink", "raw": "mavlink",
}  # fmt: skip
_HOMES = {
    "ORGN": ("Lat", "Lng"), "CMD": ("Lat", "Lng"), "home_position": ("lat", "lon"),
    "vehicle_local_position": ("ref_lat", "ref_lon"), "estimator_local_position": ("ref_lat", "ref_lon"),
}  # fmt: skip
_STEP_US = 500_000


class Whereabouts:
    """Positions of a log, twice a second by source and boot, and the homes and origins that it names."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._boot = 0
        self._tracks: dict[tuple[int, str, int], list[NDArray[np.float64]]] = {}
        self._homes: list[Floats] = []

    def take(self, portion: Portion) -> None:
        """What a portion tells."""
        self._boot += portion.is_new_boot
        for table in portion.tables:
            self._take_track(table)
            self._take_homes(table)
        if portion.frames is not None:
            self._homes.append(np.stack(homes_in([portion.frames])))

    def privacy(self, sessions: Iterable[LogSession], seed: bytes | None, hide_time: bool) -> Privacy:
        """For the whole log. sessions: their ends are where it took off and landed."""
        tracks = {key: np.concatenate(parts, axis=1) for key, parts in self._tracks.items()}
        ends = list(self._ends(tracks, list(sessions)))
        empty = np.zeros((2, 0))
        track = np.concatenate([empty, *(t[1:] for t in tracks.values())], axis=1)
        anchors = np.concatenate([empty, *ends, *self._homes], axis=1)
        return Privacy.over(seed or new_seed(), _places(track), _places(anchors), hide_time)

    def _take_track(self, table: Table) -> None:
        places = places_in(self._dialect, table.name, table.rows)
        if places is None:
            return
        known = np.flatnonzero(is_place(*places))
        kept = known[np.flatnonzero(np.diff(table.time_us[known] // _STEP_US, prepend=-1))]
        rows = np.stack([table.time_us[kept].astype(np.float64), places[0][kept], places[1][kept]])
        self._tracks.setdefault((self._boot, table.name, table.instance), []).append(rows)

    def _take_homes(self, table: Table) -> None:
        lat, lon = _HOMES.get(table.name, ("", ""))
        names = table.rows.dtype.names or ()
        if lat not in names or lon not in names:
            return
        rows = table.rows
        if table.name == "CMD" and "CNum" in names:
            rows = rows[rows["CNum"] == 0]  # an ArduPilot's first mission item is home
        self._homes.append(np.unique(np.stack([degrees(rows[lat]), degrees(rows[lon])]), axis=1))

    def _ends(
        self, tracks: dict[tuple[int, str, int], NDArray[np.float64]], sessions: list[LogSession]
    ) -> Iterator[NDArray[np.float64]]:
        for (boot, _, _), track in tracks.items():
            if not track.shape[1]:
                continue
            moments = [t for s in sessions if s.boot == boot for t in (s.start_us, s.end_us)]
            near = [int(np.abs(track[0] - t).argmin()) for t in moments]
            yield track[1:, sorted({0, track.shape[1] - 1, *near})]


def _places(rows: NDArray[np.float64]) -> Places:
    return rows[0], rows[1]

"""Location privacy: a track moved rigidly by an unknown offset, without the area of home.

The globe is turned so that the flight's neighbourhood comes to lie elsewhere: a rotation keeps every distance and
angle, also over the antimeridian and near the poles. The latitude moves by 1 to 5 degrees only, so that metres stay
metres within 1e-3 on the ellipsoid too; the longitude by 10 to 180. Altitudes above sea level move by a constant of
100 to 600 m. All of it is drawn from a secret seed; nothing that is written tells it.
"""

import hashlib
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EARTH_M = 6_371_008.8
LEAST_RADIUS_M, MOST_RADIUS_M = 150.0, 300.0
SHARE, SMALLEST_M = 0.35, 20.0
_UNSET_DEG = 1e-3
"""Autopilots without a fix say (0, 0)."""
_NEAR_ZERO_DEG = 0.5
_APART_DEG = 2.0
"""A shifted coordinate keeps this far from the true ones, so that not even by chance one stands in the output."""


def new_seed() -> bytes:
    """32 bytes from the system's source of randomness."""
    return secrets.token_bytes(32)


def is_place(lat_deg: Floats, lon_deg: Floats) -> NDArray[np.bool_]:
    """Where a position is known at all: finite, within range, not the (0, 0) of a receiver without a fix."""
    known = np.isfinite(lat_deg) & np.isfinite(lon_deg) & (np.abs(lat_deg) <= 90) & (np.abs(lon_deg) <= 180)
    unset = (np.abs(lat_deg) < _UNSET_DEG) & (np.abs(lon_deg) < _UNSET_DEG)
    return np.asarray(known & ~unset)


def unit_vectors(lat_deg: Floats, lon_deg: Floats) -> Floats:
    """[n, 3] on the unit sphere."""
    lat, lon = np.radians(lat_deg), np.radians(lon_deg)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _frame(lat_deg: float, lon_deg: float) -> Floats:
    """East, north and up at a place, as the columns of a rotation."""
    lat, lon = np.radians(lat_deg), np.radians(lon_deg)
    east = [-np.sin(lon), np.cos(lon), 0.0]
    north = [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)]
    up = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    return np.array([east, north, up]).T


class _Draws:
    """Uniform numbers in [0, 1) from a seed, always the same ones in the same order."""

    def __init__(self, seed: bytes, purpose: bytes) -> None:
        self._words = np.frombuffer(hashlib.shake_256(purpose + seed).digest(8 * 4096), "<u8")
        self._used = 0

    def between(self, low: float, high: float) -> float:
        word = int(self._words[self._used % len(self._words)])
        self._used += 1
        return low + (high - low) * (word >> 11) / (1 << 53)

    def sign(self) -> float:
        return 1.0 if self.between(0, 1) < 0.5 else -1.0


@dataclass(frozen=True, slots=True)
class Shift:
    """What is added to a place. turn: rotation [3, 3] of the globe; alt_m: added to altitudes above sea level."""

    turn: Floats
    alt_m: float

    @staticmethod
    def draw(seed: bytes, lat_deg: float, lon_deg: float) -> "Shift":
        """The offset for a flight near this place. Exports of one flight with one seed get the same, for the place is
        taken to whole degrees."""
        near_lat, near_lon = float(np.round(lat_deg)), float(np.round(lon_deg))
        draws = _Draws(seed, b"dbx private shift 1")
        for _ in range(1000):
            to_lat = near_lat + draws.sign() * draws.between(1, 5)
            to_lon = _wrap(near_lon + draws.sign() * draws.between(10, 180))
            if abs(to_lat) > 80:
                to_lat = np.sign(to_lat) * (80 - draws.between(0, 5))
            if _is_apart(to_lat, near_lat, 0.9) and all(
                _is_apart(a, b, _APART_DEG) for a, b in ((to_lat, near_lon), (to_lon, near_lat), (to_lon, near_lon))
            ):
                break
        turn = _frame(to_lat, to_lon) @ _frame(near_lat, near_lon).T
        return Shift(turn, draws.sign() * draws.between(100, 600))

    def move(self, lat_deg: Floats, lon_deg: Floats) -> tuple[Floats, Floats]:
        """The places elsewhere, deg."""
        p = unit_vectors(lat_deg, lon_deg) @ self.turn.T
        lat = np.degrees(np.arctan2(p[..., 2], np.hypot(p[..., 0], p[..., 1])))
        return lat, np.degrees(np.arctan2(p[..., 1], p[..., 0]))


@dataclass(frozen=True, slots=True)
class HomeArea:
    """Circles round every take-off, landing and home. Each lies off its middle, so that the rim does not tell it.

    centres: unit vectors [n, 3]. radius_m: of all.
    """

    centres: Floats
    radius_m: float

    @staticmethod
    def round(seed: bytes, anchors: "Places", track: "Places | None" = None) -> "HomeArea":
        """At least LEAST_RADIUS_M round each anchor is inside; of a flight that stays near, SHARE of the greatest
        distance of its track from the nearest anchor, and SMALLEST_M at least."""
        keep = is_place(*anchors)
        lat, lon = _thin(anchors[0][keep], anchors[1][keep])
        draws = _Draws(seed, b"dbx private home 1")
        radius = draws.between(LEAST_RADIUS_M, MOST_RADIUS_M)
        least = LEAST_RADIUS_M
        if track is not None and (reach := _reach_m(track, (lat, lon))) * SHARE < least:
            radius *= max(reach * SHARE, SMALLEST_M) / least
            least = max(reach * SHARE, SMALLEST_M)
        bearing, away = draws.between(0, 2 * np.pi), draws.between(0, radius - least)
        lat_off = np.degrees(away * np.cos(bearing) / EARTH_M)
        lon_off = np.degrees(away * np.sin(bearing) / (EARTH_M * np.maximum(np.cos(np.radians(lat)), 1e-3)))
        return HomeArea(unit_vectors(np.clip(lat + lat_off, -90, 90), lon + lon_off), radius)

    def holds(self, lat_deg: Floats, lon_deg: Floats) -> NDArray[np.bool_]:
        """Which places lie inside a circle."""
        if not len(self.centres):
            return np.zeros(len(lat_deg), bool)
        limit = (self.radius_m / EARTH_M) ** 2
        places = unit_vectors(lat_deg, lon_deg)
        inside = np.zeros(len(places), bool)
        for centre in self.centres:  # squared chords: a cosine cannot tell 300 m from 0
            inside |= ((places - centre) ** 2).sum(axis=-1) <= limit
        return inside


def _reach_m(track: "Places", anchors: "Places") -> float:
    """The greatest distance of the track from the nearest anchor."""
    keep = is_place(*track)
    places, ends = unit_vectors(track[0][keep], track[1][keep]), unit_vectors(*anchors)
    if not len(places) or not len(ends):
        return 0.0
    nearest = np.full(len(places), np.inf)
    for end in ends:
        nearest = np.minimum(nearest, ((places - end) ** 2).sum(axis=-1))
    return float(np.sqrt(nearest.max()) * EARTH_M)


def _thin(lat_deg: Floats, lon_deg: Floats) -> tuple[Floats, Floats]:
    """Without those nearer than about 3 m to another."""
    _, first = np.unique(np.round(np.stack([lat_deg, lon_deg]) / 3e-5), axis=1, return_index=True)
    return lat_deg[first], lon_deg[first]


def _is_apart(a: float, b: float, least: float) -> bool:
    return abs(abs(a) - abs(b)) > least


def _wrap(deg: float) -> float:
    return (deg + 180.0) % 360.0 - 180.0


@dataclass(slots=True)
class LeftOut:
    """What a private export does not hold: counts by message; fields by message; the rest in numbers."""

    messages: Counter[str] = field(default_factory=Counter)
    fields: dict[str, set[str]] = field(default_factory=dict)
    rows_near_home: int = 0
    texts: int = 0
    parameters: int = 0

    def field(self, message: str, name: str) -> None:
        """A field of a message that is otherwise there."""
        self.fields.setdefault(message, set()).add(name)

    def as_json(self) -> dict[str, Any]:
        """For the report beside the export."""
        return {
            "messages": dict(sorted(self.messages.items())),
            "fields": {m: sorted(names) for m, names in sorted(self.fields.items())},
            "rows_near_home": self.rows_near_home,
            "texts": self.texts,
            "parameters": self.parameters,
        }


@dataclass(slots=True)
class Privacy:
    """How one export hides its place, and what it left out so far.

    hide_time: the time of day is not told either.
    """

    shift: Shift
    home: HomeArea
    bounds_deg: tuple[float, float, float, float]
    """Least and greatest true latitude, then longitude: a column that lies within them is taken for a position."""
    hide_time: bool = False
    left_out: LeftOut = field(default_factory=LeftOut)

    @staticmethod
    def over(seed: bytes, track: "Places", anchors: "Places", hide_time: bool = False) -> "Privacy":
        """For a flight with this track. anchors: take-offs, landings, homes, origins."""
        lat, lon = track
        keep = is_place(lat, lon)
        lat, lon = lat[keep], lon[keep]
        all_lat, all_lon = np.concatenate([lat, anchors[0]]), np.concatenate([lon, anchors[1]])
        known = is_place(all_lat, all_lon)
        all_lat, all_lon = all_lat[known], all_lon[known]
        first = (float(all_lat[0]), float(all_lon[0])) if len(all_lat) else (0.0, 0.0)
        low, high = (all_lat.min(), all_lat.max()) if len(all_lat) else (0.0, 0.0)
        west, east = (all_lon.min(), all_lon.max()) if len(all_lon) else (0.0, 0.0)
        bounds = (float(low) - 0.02, float(high) + 0.02, float(west) - 0.02, float(east) + 0.02)
        return Privacy(Shift.draw(seed, *first), HomeArea.round(seed, anchors, (lat, lon)), bounds, hide_time)

    def is_like_a_place(self, values: NDArray[Any]) -> bool:
        """Whether all that a column says lies where the flight was, in degrees, radians or 1e-7 degrees: the last guard
        against a position under an unexpected name. Near 0 degrees anything would: there it does not look."""
        told = values[np.isfinite(values) & (values != 0)].astype(np.float64)
        units = (1e-7,) if values.dtype.kind in "iu" else (1.0, 1e-7, float(180 / np.pi))
        low, high, west, east = self.bounds_deg
        spans = [(a, b) for a, b in ((low, high), (west, east)) if min(abs(a), abs(b)) > _NEAR_ZERO_DEG and a * b > 0]
        return len(told) > 0 and any(((told * u >= a) & (told * u <= b)).all() for u in units for a, b in spans)


Places = tuple[Floats, Floats]
"""Latitudes and longitudes, deg."""
NO_PLACES: Places = (np.zeros(0), np.zeros(0))

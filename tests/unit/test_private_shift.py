"""Location privacy: where a track goes, what of it is left, and that nothing tells the offset."""

import numpy as np
import pytest

from hub.export.private import EARTH_M, NO_PLACES, HomeArea, Privacy, Shift, is_place, new_seed, unit_vectors
from hub.export.private_texts import is_plain

SITES = [(47.39, 8.54), (-35.36, 149.16), (0.2, 179.99), (89.7, 10.0), (-89.9, -120.0), (69.68, 18.9), (1.0, -1.0)]


def walk(lat: float, lon: float, metres: float = 20_000.0) -> tuple[np.ndarray, np.ndarray]:
    """A winding way of some kilometres."""
    s = np.linspace(0, 1, 200)
    north, east = metres * s * np.cos(9 * s), metres * s * np.sin(7 * s)
    lats = np.clip(lat + np.degrees(north / EARTH_M), -89.999, 89.999)
    lons = lon + np.degrees(east / EARTH_M / np.maximum(np.cos(np.radians(lats)), 1e-4))
    return lats, (lons + 180) % 360 - 180


def chords(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    places = unit_vectors(lat, lon)
    return np.linalg.norm(places[:, None] - places[None], axis=-1) * EARTH_M


def ellipsoid(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """WGS84, ECEF metres at height 0: a judge that is not our sphere."""
    a, e2 = 6_378_137.0, 6.694379990141e-3
    y, x = np.radians(lat), np.radians(lon)
    n = a / np.sqrt(1 - e2 * np.sin(y) ** 2)
    return np.stack([n * np.cos(y) * np.cos(x), n * np.cos(y) * np.sin(x), n * (1 - e2) * np.sin(y)], axis=-1)


@pytest.mark.parametrize("site", SITES)
def test_every_distance_is_kept_on_the_sphere_and_on_the_ellipsoid(site: tuple[float, float]) -> None:
    track = walk(*site)
    for k in range(20):
        moved = Shift.draw(bytes([k]) * 32, *site).move(*track)
        before, after = chords(*track), chords(*moved)
        assert np.abs(before - after).max() < 1e-3
        p, q = ellipsoid(*track), ellipsoid(*moved)
        real = np.linalg.norm(p[:, None] - p[None], axis=-1)
        shown = np.linalg.norm(q[:, None] - q[None], axis=-1)
        far = real > 100
        assert np.abs(shown[far] / real[far] - 1).max() < (1e-3 if abs(site[0]) < 75 else 2e-3)


@pytest.mark.parametrize("site", SITES)
def test_no_coordinate_comes_to_lie_near_a_true_one(site: tuple[float, float]) -> None:
    lat, lon = walk(*site, metres=3000)
    for k in range(100):
        to_lat, to_lon = Shift.draw(bytes([k]) * 32, *site).move(lat, lon)
        if abs(site[0]) < 75:  # beyond, a few kilometres are many degrees of longitude
            assert np.abs(to_lat - lat).min() > 0.8 and np.abs((to_lon - lon + 180) % 360 - 180).min() > 5
        assert np.linalg.norm(unit_vectors(to_lat, to_lon) - unit_vectors(lat, lon), axis=-1).min() * EARTH_M > 80_000


def test_north_stays_north() -> None:
    lat, lon = np.array([47.39, 47.40]), np.array([8.54, 8.54])
    for k in range(20):
        a, b = Shift.draw(bytes([k]) * 32, 47.39, 8.54).move(lat, lon)
        east, north = (b[1] - b[0]) * np.cos(np.radians(a[0])), a[1] - a[0]
        assert abs(np.degrees(np.arctan2(east, north))) < 0.2


def test_offsets_differ_from_export_to_export_and_are_the_same_for_one_seed() -> None:
    seeds = [new_seed() for _ in range(50)]
    offsets = {tuple(np.round(Shift.draw(s, 47.39, 8.54).turn.ravel(), 6)) for s in seeds}
    assert len(offsets) == 50
    one, two = Shift.draw(seeds[0], 47.3901, 8.5402), Shift.draw(seeds[0], 47.3899, 8.5399)
    assert np.array_equal(one.turn, two.turn) and one.alt_m == two.alt_m


def test_the_offset_spreads_over_the_whole_range() -> None:
    moved = np.array(
        [np.ravel(Shift.draw(new_seed(), 47.0, 8.0).move(np.array([47.0]), np.array([8.0]))) for _ in range(400)]
    )
    assert moved[:, 0].min() < 43 and moved[:, 0].max() > 51  # 1 to 5 degrees either way
    assert np.histogram(moved[:, 1], 6, (-180, 180))[0].min() > 20


def test_everything_within_the_least_radius_of_an_anchor_lies_in_the_home_area_and_its_middle_is_elsewhere() -> None:
    track = walk(47.39, 8.54)
    anchors = track[0][[0, -1]], track[1][[0, -1]]
    offs = []
    for k in range(50):
        home = HomeArea.round(bytes([k]) * 32, anchors, track)
        away = (
            np.linalg.norm(unit_vectors(*track)[:, None] - unit_vectors(*anchors)[None], axis=-1).min(axis=1) * EARTH_M
        )
        inside = home.holds(*track)
        assert inside[away < 149.9].all() and not inside[away > 451].any()
        middle = unit_vectors(anchors[0][:1], anchors[1][:1])
        offs.append(np.linalg.norm(home.centres - middle, axis=-1).min() * EARTH_M)
    assert np.median(offs) > 10


def test_a_flight_that_stays_near_keeps_what_lies_beyond_a_third_of_its_reach() -> None:
    track = walk(47.39, 8.54, metres=100)
    anchors = track[0][:1], track[1][:1]
    inside = HomeArea.round(bytes(32), anchors, track).holds(*track)
    assert inside[0] and 0.05 < inside.mean() < 0.95


def test_without_a_fix_there_is_no_place() -> None:
    lat = np.array([0.0, 1e-5, np.nan, 91.0, 47.0, 0.0])
    lon = np.array([0.0, -1e-5, 8.0, 8.0, 181.0, 8.0])
    assert is_place(lat, lon).tolist() == [False, False, False, False, False, True]


def test_a_flight_without_any_position_can_be_made_private() -> None:
    privacy = Privacy.over(new_seed(), NO_PLACES, NO_PLACES)
    assert not privacy.home.holds(np.array([47.0]), np.array([8.0])).any()


@pytest.mark.parametrize(
    "text",
    ["Arming motors", "Mode AUTO", "EKF3 IMU0 is using GPS", "Reached command 4", "Flight plan received",
     "Battery 1 low", "Prearm: compass not calibrated"],
)  # fmt: skip
def test_what_every_autopilot_says_is_kept(text: str) -> None:
    assert is_plain(text)


@pytest.mark.parametrize(
    "text",
    ["home 47.3977418 8.5455939", "lat 473977418", "47 23 51N 8 32 44E", "Position 47.39 8.54", "Field Oerlikon ready",
     "CubeOrange 0021003A 31385115", "N 47.4", "32TMT 6543 4321", "/fs/microsd/log/2024-02-24/19_51_00.ulg", "geo:47,8",
     "u0qj9", "Position 47.4", "47°23'", "Hello Anna", "4 7 3 9", "EKF origin at 47.39"],
)  # fmt: skip
def test_a_text_that_may_tell_a_place_a_person_or_a_thing_is_left_out(text: str) -> None:
    assert not is_plain(text)

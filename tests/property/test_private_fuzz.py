"""Private exports of damaged and hostile logs: nothing but Refused escapes, and no true place does."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.log_source import LogSource
from hub.export.log_files import Wish, export_log
from hub.export.private import EARTH_M, Shift, unit_vectors
from hub.export.private_texts import is_plain
from shared.errors import Refused
from tests.fix_private import places_in_bytes
from tests.fix_private_logs import LOGS, secret_flight

FLIGHT = secret_flight()
SHORT = {kind: write(FLIGHT)[:120_000] for kind, write in LOGS.items()}
FORMATS = st.sampled_from(["original", "mcap", "geojson", "csv", "messages"])
DAMAGE = st.lists(st.tuples(st.integers(0, 119_000), st.binary(min_size=1, max_size=200)), max_size=12)


@pytest.mark.parametrize("kind", SHORT)
@settings(max_examples=12)
@given(DAMAGE, st.integers(100, 120_000), FORMATS)
def test_a_damaged_log_is_exported_or_refused_and_tells_no_place(
    kind: str, damage: list[tuple[int, bytes]], length: int, wanted: str
) -> None:
    data = bytearray(SHORT[kind])
    for at, body in damage:
        data[at : at + len(body)] = body
    wish = Wish("csv", messages=("all",), private=True, seed=bytes(32))
    if wanted != "messages":
        wish = Wish(wanted, private=True, seed=bytes(32))  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        try:
            written = export_log(LogSource(bytes(data[:length]), "x"), wish, Path(folder) / "out")
        except Refused:
            return
        shown = b"".join(p.read_bytes() for p in written.paths)
    assert wanted == "mcap" or places_in_bytes(shown, FLIGHT.true) == []


@settings(max_examples=200)
@given(
    st.floats(-90, 90),
    st.floats(-180, 180),
    st.binary(min_size=16, max_size=40),
    st.floats(0, 30_000),
    st.floats(0, 6.3),
)
def test_a_shift_keeps_any_distance_anywhere_and_leads_far_away(
    lat: float, lon: float, seed: bytes, metres: float, bearing: float
) -> None:
    lats = np.clip(np.array([lat, lat + np.degrees(metres * np.cos(bearing) / EARTH_M)]), -90, 90)
    lons = np.array([lon, lon + np.degrees(metres * np.sin(bearing) / EARTH_M)])
    moved = Shift.draw(seed, lat, lon).move(lats, lons)
    before, after = (np.linalg.norm(np.diff(unit_vectors(*p), axis=0)) * EARTH_M for p in ((lats, lons), moved))
    assert abs(before - after) < 1e-3
    assert np.linalg.norm(unit_vectors(*moved) - unit_vectors(lats, lons), axis=-1).min() * EARTH_M > 50_000


@settings(max_examples=300)
@given(
    st.floats(-90, 90),
    st.sampled_from(["home {:.5f}", "{:.4f}", "lat {:.2f}", "at {:.1f}", "{:.7f}, 8.5", "position {:.3f} m"]),
)
def test_no_text_with_a_coordinate_is_plain(lat: float, form: str) -> None:
    assert not is_plain(form.format(lat))

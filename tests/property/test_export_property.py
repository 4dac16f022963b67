"""Exports hold for any samples and any names."""

import json
import math
import xml.etree.ElementTree as ET

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.export.series import Series, buckets, columns
from hub.export.track import to_geojson, to_gpx, to_kml, track_of
from shared.channels import BY_NAME, CHANNELS

CHANNEL = st.sampled_from([c for c in CHANNELS if c.size == 1])


@settings(max_examples=100)
@given(CHANNEL, st.data(), st.integers(1, 40))
def test_buckets_agree_with_a_plain_loop(channel, data, points: int) -> None:
    info = np.iinfo(channel.dtype)
    values = data.draw(st.lists(st.integers(info.min, info.max) | st.just(channel.missing), min_size=1, max_size=60))
    steps = data.draw(st.lists(st.integers(1, 10**9), min_size=len(values), max_size=len(values)))
    series = Series(np.cumsum(np.array(steps, np.int64)), {channel.name: np.array(values, channel.dtype)})
    b = buckets(series, points)
    rows: dict[int, list[float]] = {}
    for t, v in zip(series.time_utc_us.tolist(), columns(series)[0].values.tolist(), strict=True):
        rows.setdefault((t - int(series.time_utc_us[0])) // b.bucket_us, []).append(v)
    assert len(rows) == len(b.time_utc_us) <= points
    for i, here in enumerate(rows[k] for k in sorted(rows)):
        present = [v for v in here if not math.isnan(v)]
        if not present:
            assert math.isnan(b.low[0][i]) and math.isnan(b.high[0][i]) and math.isnan(b.mean[0][i])
        else:
            assert (b.low[0][i], b.high[0][i]) == (min(present), max(present))
            assert math.isclose(b.mean[0][i], sum(present) / len(present), rel_tol=1e-9, abs_tol=1e-9)


@settings(max_examples=100)
@given(
    st.text(max_size=30), st.lists(st.tuples(*[st.integers(-(1 << 31), (1 << 31) - 1)] * 3), max_size=20), st.booleans()
)
def test_tracks_are_well_formed_whatever_the_name_and_the_samples(name: str, samples, has_time: bool) -> None:
    stored = {
        n: np.array([s[k] for s in samples], BY_NAME[n].dtype)
        for k, n in enumerate(("lat_deg", "lon_deg", "alt_msl_m"))
    }
    track = track_of(name, Series(np.arange(len(samples), dtype=np.int64) * 100_000, stored), has_time)
    ET.fromstring(to_gpx(track)), ET.fromstring(to_kml(track))
    geometry = json.loads(to_geojson(track))["geometry"]
    assert (geometry is None) == (len(track.lat_deg) < 2)

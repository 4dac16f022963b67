"""The flown track as GeoJSON (RFC 7946), KML 2.2 and GPX 1.1. Positions WGS84, altitude metres above mean sea level."""

import datetime as dt
import itertools
import re
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
import orjson
from numpy.typing import NDArray

from hub.export.series import Series, physical
from shared.channels import BY_NAME

TRACK_TYPES = {
    "geojson": "application/geo+json",
    "kml": "application/vnd.google-earth.kml+xml",
    "gpx": "application/gpx+xml",
}
CHANNELS = ("lat_deg", "lon_deg", "alt_msl_m")
# XML 1.0 has no way to write these, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Track:
    """N positions in order of time. alt_msl_m is NaN where unknown; time_utc_us is us since 1970 UTC."""

    name: str
    time_utc_us: NDArray[np.int64]
    lat_deg: NDArray[np.float64]
    lon_deg: NDArray[np.float64]
    alt_msl_m: NDArray[np.float64]
    has_time: bool = True
    """Whether the times are UTC at all (False while the clock source is unknown)."""


def track_of(name: str, series: Series, has_time: bool = True, max_points: int | None = None) -> Track:
    """The samples that have a position; (0, 0) is what autopilots send before the first fix and is left out.
    max_points: thin out evenly to at most so many, keeping first and last."""
    lat, lon, alt = (physical(BY_NAME[c], series.stored[c]) for c in CHANNELS)
    keep = np.flatnonzero(~np.isnan(lat) & ~np.isnan(lon) & ~((lat == 0) & (lon == 0)))
    if max_points is not None and len(keep) > max_points:
        keep = keep[np.unique(np.linspace(0, len(keep) - 1, max_points).astype(np.int64))]
    return Track(name, series.time_utc_us[keep], lat[keep], lon[keep], alt[keep], has_time)


def to_geojson(*tracks: Track) -> bytes:
    """A Feature, of several tracks a FeatureCollection: LineString, or null geometry with fewer than two positions
    (RFC 7946, 3.1.4 and 3.2); the times in `properties.coordinateProperties.times`, as is the custom. A crossing of the
    antimeridian cuts the line (3.1.9)."""
    features = [_feature(track) for track in tracks]
    body = features[0] if len(features) == 1 else {"type": "FeatureCollection", "features": features}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _feature(track: Track) -> dict[str, object]:
    points = _points(track)
    parts = _cut_at_antimeridian(track.lon_deg, points)
    geometry: dict[str, object] | None = None
    if len(points) >= 2:
        multi = len(parts) > 1
        geometry = {"type": "MultiLineString" if multi else "LineString", "coordinates": parts if multi else points}
    properties: dict[str, object] = {"name": track.name, "time_utc_us": track.time_utc_us}
    if track.has_time:
        properties["coordinateProperties"] = {"times": _iso(track.time_utc_us)}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def to_kml(*tracks: Track) -> bytes:
    """KML with one placemark for each track: a gx:Track (times) or, without UTC, a LineString."""
    name = _xml(tracks[0].name) if tracks else ""
    places = "".join(f"<Placemark><name>{_xml(t.name)}</name>{_kml_shape(t)}</Placemark>" for t in tracks)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<kml xmlns="http://www.opengis.net/kml/2.2" xmlns:gx="http://www.google.com/kml/ext/2.2">'
        f"<Document><name>{name}</name>{places}</Document></kml>\n"
    ).encode()


def _kml_shape(track: Track) -> str:
    points = _points(track)
    if track.has_time:
        whens = "".join(f"<when>{t}</when>" for t in _iso(track.time_utc_us))
        coords = "".join(f"<gx:coord>{' '.join(_numbers(p))}</gx:coord>" for p in points)
        return f"<gx:Track><altitudeMode>absolute</altitudeMode>{whens}{coords}</gx:Track>"
    coords = " ".join(",".join(_numbers(p)) for p in points)
    return f"<LineString><altitudeMode>absolute</altitudeMode><coordinates>{coords}</coordinates></LineString>"


def to_gpx(*tracks: Track) -> bytes:
    """GPX 1.1 with a track of one segment for each; elevation and time where known."""
    body = "".join(f"<trk><name>{_xml(t.name)}</name><trkseg>{_gpx_points(t)}</trkseg></trk>" for t in tracks)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<gpx version="1.1" creator="DBX Aviation" xmlns="http://www.topografix.com/GPX/1/1">'
        f"{body}</gpx>\n"
    ).encode()


def _gpx_points(track: Track) -> str:
    whens = [f"<time>{t}</time>" for t in _iso(track.time_utc_us)] if track.has_time else [""] * len(track.lat_deg)
    rows = zip(track.lat_deg, track.lon_deg, track.alt_msl_m, whens, strict=True)
    return "".join(
        f'<trkpt lat="{lat:.7f}" lon="{lon:.7f}">{"" if np.isnan(alt) else f"<ele>{alt:.2f}</ele>"}{when}</trkpt>'
        for lat, lon, alt, when in rows
    )


def _points(track: Track) -> list[list[float]]:
    """[lon, lat] or [lon, lat, alt] per position."""
    flat = zip(track.lon_deg.tolist(), track.lat_deg.tolist(), track.alt_msl_m.tolist(), strict=True)
    return [[x, y] if z != z else [x, y, z] for x, y, z in flat]


def _cut_at_antimeridian(lon_deg: NDArray[np.float64], points: list[list[float]]) -> list[list[list[float]]]:
    cuts = [0, *(np.flatnonzero(np.abs(np.diff(lon_deg)) > 180) + 1).tolist(), len(points)]
    return [points[a:b] if b - a > 1 else points[a:b] * 2 for a, b in itertools.pairwise(cuts) if b > a]


def _numbers(point: list[float]) -> list[str]:
    lon, lat, *alt = point
    return [f"{lon:.7f}", f"{lat:.7f}", f"{alt[0] if alt else 0:.2f}"]


def _iso(time_utc_us: NDArray[np.int64]) -> list[str]:
    texts: list[str] = np.datetime_as_string(time_utc_us.astype("datetime64[us]"), unit="ms").tolist()
    return [f"{t}Z" for t in texts]


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))


def iso_time(utc_us: int) -> str:
    """RFC 3339 text of us since 1970 UTC."""
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=utc_us)).isoformat()

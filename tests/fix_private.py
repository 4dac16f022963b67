"""Finding places in bytes: what a stranger would try on a file that claims to hold none."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

NEAR_DEG = 0.02
_ADJACENT = (4, 8, 12, 16)
_NUMBER = re.compile(rb"-?\d{1,11}(?:\.\d+)?")


@dataclass(frozen=True)
class TruePlaces:
    """Where a flight, its home and its mission really were, deg."""

    lat: np.ndarray
    lon: np.ndarray

    def bands(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return (self.lat.min() - NEAR_DEG, self.lat.max() + NEAR_DEG), (
            self.lon.min() - NEAR_DEG, self.lon.max() + NEAR_DEG,
        )  # fmt: skip

    def is_near(self, lat: float, lon: float, deg: float) -> bool:
        return bool((np.maximum(np.abs(self.lat - lat), np.abs(self.lon - lon)) < deg).any())


def places_in_bytes(data: bytes, true: TruePlaces) -> list[str]:
    """Each way in which the bytes tell a true position: adjacent numbers of any usual type, order and unit, at any
    offset; earth-centred coordinates; numbers written as text."""
    found = []
    for code in ("<i4", ">i4", "<f4", ">f4", "<f8", ">f8"):
        width = np.dtype(code).itemsize
        units = (1e-7,) if "i" in code else (1.0, 180 / np.pi)
        for unit in units:
            hits: tuple[dict[int, float], dict[int, float]] = ({}, {})
            for start in range(width):
                values = _numbers(data[start : start + (len(data) - start) // width * width], code) * unit
                for band, told in zip(true.bands(), hits, strict=True):
                    at = np.flatnonzero((values >= band[0]) & (values <= band[1]))
                    told.update(zip((at * width + start).tolist(), values[at].tolist(), strict=True))
            near = 0.002 if "i" in code else NEAR_DEG  # chance makes integers of any bytes
            lats, lons = hits
            found += [
                f"{code} * {unit} at {a}"
                for a in sorted(lats)
                for d in (*_ADJACENT, *(-d for d in _ADJACENT))
                if a + d in lons and true.is_near(lats[a], lons[a + d], near)
            ][:3]
    return found + list(_ecef(data, true)) + list(_text(data, true))


def _numbers(data: bytes, code: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        values = np.frombuffer(data, code).astype(np.float64)
        return np.where(np.abs(values) < 1e11, values, np.nan)


def _ecef(data: bytes, true: TruePlaces) -> Iterator[str]:
    a, e2 = 6_378_137.0, 6.694379990141e-3
    lat, lon = np.radians(true.lat.mean()), np.radians(true.lon.mean())
    n = a / np.sqrt(1 - e2 * np.sin(lat) ** 2)
    centre = n * np.cos(lat) * np.cos(lon), n * np.cos(lat) * np.sin(lon), n * (1 - e2) * np.sin(lat)
    for code, unit in (("<i4", 0.01), ("<f8", 1.0), ("<f4", 1.0), (">f8", 1.0)):
        width = np.dtype(code).itemsize
        for start in range(width):
            usable = (len(data) - start) // width * width
            v = _numbers(data[start : start + usable], code) * unit
            near = [np.abs(v - c) < 5_000 for c in centre]
            if len(v) > 2 and (near[0][:-2] & near[1][1:-1] & near[2][2:]).any():
                yield f"ECEF {code}"


def _text(data: bytes, true: TruePlaces) -> Iterator[str]:
    (low, high), (west, east) = true.bands()
    numbers = [(m.start(), float(m.group())) for m in _NUMBER.finditer(data)]
    for unit in (1.0, 1e-7):
        lons = {at for at, v in numbers if west <= v * unit <= east and v != int(v) * (unit == 1.0)}
        ordered = np.array(sorted(lons))
        for at, v in numbers:
            if low <= v * unit <= high and v != int(v) * (unit == 1.0) and len(ordered):
                i = np.searchsorted(ordered, at - 60)
                if i < len(ordered) and ordered[i] <= at + 60:
                    yield f"text * {unit} at {at}: {data[at : at + 40]!r}"
                    break


def coordinates_in_columns(columns: Iterable[tuple[str, Any]], true: TruePlaces) -> list[str]:
    """Columns whose values all lie where the flight was, in degrees, 1e-7 degrees or radians; a single latitude or
    longitude is enough."""
    found = []
    for name, values in columns:
        told = np.asarray(values)
        if told.dtype.kind not in "iuf" or "time" in name.lower():
            continue
        told = told[np.isfinite(told) & (told != 0)].astype(np.float64)
        units = (1e-7,) if np.asarray(values).dtype.kind in "iu" else (1.0, 1e-7, 180 / np.pi)
        for unit in units:
            for low, high in true.bands():
                if len(told) and ((told * unit >= low) & (told * unit <= high)).all():
                    found.append(f"{name} * {unit}")
    return found

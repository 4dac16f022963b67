"""Rows of messages made private: fields kept, moved or emptied by the allowlist; positions near home left out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hub.export.private import Privacy, is_place
from hub.export.private_policy import Dialect, Policy, keeps_parameter, policies
from hub.export.private_texts import is_plain

Rows = NDArray[Any]
_TEXT_FIELDS = {("mavlink", "STATUSTEXT"): "text", ("dataflash", "MSG"): "Message"}
_PARAMETER_FIELDS = {("mavlink", "PARAM_VALUE"): "param_id", ("dataflash", "PARM"): "Name"}
_TEXTS_THAT_STAY = frozenset({*_TEXT_FIELDS.values(), *_PARAMETER_FIELDS.values(), "Mode"})
_DEFINITIONS = frozenset({"FMT", "FMTU", "UNIT", "MULT"})
_PER_METRE = {"alt_m": 1.0, "alt_cm": 100.0, "alt_mm": 1000.0}


def is_allowed(dialect: Dialect, name: str) -> bool:
    """Whether anything of a message may stay."""
    return name in policies(dialect)


def private_rows(
    privacy: Privacy, dialect: Dialect, name: str, rows: Rows, gain: Mapping[str, float] | None = None
) -> tuple[Rows, NDArray[np.intp]]:
    """(rows that stay, changed; which they were). None stay of a message that is not on the list.

    rows: structured [n], integers of positions in 1e-7 deg, floats in deg. gain: metres per unit of altitude fields
    where the policy leaves that to the log (`alt`): without, 0.01 for integers and 1 for floats.
    """
    policy = policies(dialect).get(name)
    if policy is None:
        privacy.left_out.messages[name] += len(rows)
        return rows[:0], np.zeros(0, np.intp)
    keep = _kept(privacy, dialect, name, rows, policy)
    kept = rows[keep]
    out = np.zeros(len(kept), kept.dtype)
    fields = kept.dtype.names or ()
    for field in fields:
        if _stays(privacy, policy, name, field, kept[field]):
            out[field] = kept[field]
        elif field not in policy.moved:
            privacy.left_out.field(name, field)
    _move(privacy, policy, kept, out, gain or {})
    return out, keep


def _kept(privacy: Privacy, dialect: Dialect, name: str, rows: Rows, policy: Policy) -> NDArray[np.intp]:
    keep = np.ones(len(rows), bool)
    if (text := _TEXT_FIELDS.get((dialect, name))) and text in (rows.dtype.names or ()):
        keep = np.array([is_plain(t) for t in _texts(rows[text])], bool)
        if "id" in (rows.dtype.names or ()):
            keep &= rows["id"] == 0  # a text in several parts says what no part says
        privacy.left_out.texts += int((~keep).sum())
    elif (parameter := _PARAMETER_FIELDS.get((dialect, name))) and parameter in (rows.dtype.names or ()):
        keep = np.array([keeps_parameter(t) for t in _texts(rows[parameter])], bool)
        privacy.left_out.parameters += int((~keep).sum())
    else:
        for lat, lon in _pairs(policy, rows):
            places = degrees(rows[lat]), degrees(rows[lon])
            keep &= ~(is_place(*places) & privacy.home.holds(*places))
        privacy.left_out.rows_near_home += int((~keep).sum())
    return np.flatnonzero(keep)


def _stays(privacy: Privacy, policy: Policy, name: str, field: str, values: NDArray[Any]) -> bool:
    """Whether a field is copied as it is. Times count as short: a clock may run through any number."""
    if policy.moved.get(field) == "utc":
        return not privacy.hide_time
    if field in policy.moved or not policy.keeps(field):
        return False
    if values.dtype.kind not in "iuf" or "time" in field.lower():
        return values.dtype.kind not in "SU" or name in _DEFINITIONS or field in _TEXTS_THAT_STAY
    return name in _DEFINITIONS or not privacy.is_like_a_place(values)


def _move(privacy: Privacy, policy: Policy, rows: Rows, out: Rows, gain: Mapping[str, float]) -> None:
    """Positions and altitudes, where the row knows a position: of others the altitude would tell what was added."""
    known = np.zeros(len(rows), bool)
    for lat, lon in _pairs(policy, rows):
        here = is_place(degrees(rows[lat]), degrees(rows[lon]))
        moved = privacy.shift.move(degrees(rows[lat][here]), degrees(rows[lon][here]))
        for field, values in zip((lat, lon), moved, strict=True):
            column = out[field]
            column[here] = np.round(values * 1e7) if column.dtype.kind in "iu" else values
        known |= here
    for field, kind in policy.moved.items():
        if kind.startswith("alt") and field in (rows.dtype.names or ()):
            _raise(out[field], rows[field], known, privacy.shift.alt_m * _per_metre(kind, field, rows, gain))


def _raise(out: NDArray[Any], values: NDArray[Any], known: NDArray[np.bool_], by: float) -> None:
    told = known & (values != 0) & np.isfinite(values.astype(np.float64))
    raised = values[told].astype(np.float64) + by
    if out.dtype.kind in "iu":
        limits = np.iinfo(out.dtype)
        raised = np.clip(np.round(raised), limits.min, limits.max)
    out[told] = raised


def _per_metre(kind: str, field: str, rows: Rows, gain: Mapping[str, float]) -> float:
    if kind in _PER_METRE:
        return _PER_METRE[kind]
    return 1 / gain.get(field, 0.01 if rows[field].dtype.kind in "iu" else 1.0)


def _pairs(policy: Policy, rows: Rows) -> list[tuple[str, str]]:
    """The fields of each position: (latitude, longitude)."""
    names = rows.dtype.names or ()
    lats = [f for f in names if policy.moved.get(f) == "lat"]
    lons = [f for f in names if policy.moved.get(f) == "lon"]
    return list(zip(lats, lons, strict=False))


def places_in(dialect: Dialect, name: str, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The positions that a message of the vehicle's own whereabouts tells, deg; None when it is none."""
    policy = policies(dialect).get(name)
    pairs = _pairs(policy, rows) if policy else []
    return (degrees(rows[pairs[-1][0]]), degrees(rows[pairs[-1][1]])) if pairs else None


def degrees(values: NDArray[Any]) -> NDArray[np.float64]:
    """Integers are 1e-7 deg."""
    return values.astype(np.float64) * (1e-7 if values.dtype.kind in "iu" else 1.0)


def _texts(values: NDArray[Any]) -> list[str]:
    return [(v.split(b"\0")[0].decode("latin-1") if isinstance(v, bytes) else str(v)).strip() for v in values.tolist()]

"""What the analysis reads beside the channels: second sensors, rate commands, the receiver's own words
(`shared.channels.SENSED`).

The channels are what operators see and databases keep; these are only looked at, from the frames, on the ticks of the
channels' grid, as physical floats. Same rules: the newest message's value, held for HOLD_S, then NaN; nothing
interpolated.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.columns import Columns, fields
from shared.channels import SENSED
from shared.layouts import LAYOUTS

HOLD_S = 2.0
_ID = {layout.name: msgid for msgid, layout in LAYOUTS.items()}
RANGE = {s.name: (s.low, s.high) for s in SENSED}
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Field:
    """sensed = field * factor; `absent` (raw) is no value."""

    sensed: str
    field: str
    factor: float = 1.0
    absent: float | None = None


def _xyz(pattern: str, kind: str, factor: float) -> tuple[_Field, ...]:
    return tuple(_Field(pattern.replace("?", a), f"{a}{kind}", factor) for a in "xyz")


_MG = 9.80665e-3
SENSED_SOURCES: dict[int, tuple[_Field, ...]] = {
    _ID[name]: columns
    for name, columns in {
        "HEARTBEAT": (_Field("system_status", "system_status"),),
        "RAW_IMU": _xyz("gyro_?_radps", "gyro", 1e-3),
        "SCALED_IMU": _xyz("gyro_?_radps", "gyro", 1e-3),
        "HIGHRES_IMU": (*_xyz("gyro_?_radps", "gyro", 1.0), _Field("baro_pa", "abs_pressure", 100.0)),
        "SCALED_IMU2": (
            *_xyz("acc2_?_mps2", "acc", _MG), *_xyz("gyro2_?_radps", "gyro", 1e-3), *_xyz("mag2_?_ut", "mag", 0.1),
        ),
        "SCALED_PRESSURE": (_Field("baro_pa", "press_abs", 100.0),),
        "SCALED_PRESSURE2": (_Field("baro2_pa", "press_abs", 100.0),),
        "ATTITUDE_TARGET": (
            _Field("roll_rate_target_radps", "body_roll_rate"), _Field("pitch_rate_target_radps", "body_pitch_rate"),
            _Field("thrust_target", "thrust"),
        ),
        "GPS_RAW_INT": (
            _Field("gps_lat_deg", "lat", 1e-7, 0), _Field("gps_lon_deg", "lon", 1e-7, 0),
            _Field("gps_course_deg", "cog", 0.01, 65535), _Field("gps_hacc_m", "h_acc", 1e-3, 0),
            _Field("gps_sacc_mps", "vel_acc", 1e-3, 0),
        ),
        "EKF_STATUS_REPORT": (_Field("ekf_airspeed_ratio", "airspeed_variance"),),
        "ESTIMATOR_STATUS": (_Field("ekf_airspeed_ratio", "tas_ratio"),),
        "SYS_STATUS": (_Field("sensors_enabled", "onboard_control_sensors_enabled"),),
    }.items()
}  # fmt: skip
_FIRST_OF_SEVERAL = {_ID["RAW_IMU"]: "id", _ID["HIGHRES_IMU"]: "id"}


class SensedReader:
    """Reads one vehicle's batches in order; values held over their borders."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, NDArray[np.void]]] = {}

    def read(self, block: Columns, vehicle: tuple[int, int], tick_us: NDArray[np.int64]) -> dict[str, Floats]:
        """SENSED name -> float64 [ticks] at the (ascending) ticks; those that the block does not tell are left out."""
        out: dict[str, Floats] = {}
        for group in block.groups:
            if (group.sysid, group.compid) == vehicle and group.msgid in SENSED_SOURCES and len(group.rows):
                self._put(out, group.msgid, block.time_us[group.rows], fields(group), tick_us)
        for msgid, (time_us, record) in self._last.items():
            if not any(g.msgid == msgid and (g.sysid, g.compid) == vehicle for g in block.groups):
                _lay(out, msgid, np.array([time_us]), record, tick_us)
        return out

    def _put(
        self, out: dict[str, Floats], msgid: int, time_us: NDArray[np.int64], records: NDArray[np.void],
        tick_us: NDArray[np.int64],
    ) -> None:  # fmt: skip
        if msgid in _FIRST_OF_SEVERAL:
            keep = records[_FIRST_OF_SEVERAL[msgid]] == 0
            time_us, records = time_us[keep], records[keep]
        if msgid in self._last:
            before_us, record = self._last[msgid]
            time_us, records = np.concatenate([[before_us], time_us]), np.concatenate([record, records])
        if not len(time_us):
            return
        if (np.diff(time_us) < 0).any():
            order = np.argsort(time_us, kind="stable")
            time_us, records = time_us[order], records[order]
        self._last[msgid] = (int(time_us[-1]), records[-1:].copy())
        _lay(out, msgid, time_us, records, tick_us)


def _lay(
    out: dict[str, Floats], msgid: int, time_us: NDArray[np.int64], records: NDArray[np.void],
    tick_us: NDArray[np.int64],
) -> None:  # fmt: skip
    """The values of one message type on the ticks, where no other type gave one."""
    at = np.searchsorted(time_us, tick_us, side="right") - 1
    age = tick_us - time_us[np.maximum(at, 0)]
    is_fresh = (at >= 0) & (age >= 0) & (age <= HOLD_S * 1e6)
    if not is_fresh.any():
        return
    for column in SENSED_SOURCES[msgid]:
        raw = records[column.field].astype(np.float64)
        low, high = RANGE[column.sensed]
        values = raw * column.factor
        with np.errstate(invalid="ignore"):
            values[~((values >= low) & (values <= high))] = np.nan
        if column.absent is not None:
            values[raw == column.absent] = np.nan
        given = np.where(is_fresh, values[np.maximum(at, 0)], np.nan)
        held = out.get(column.sensed)
        out[column.sensed] = given if held is None else np.where(np.isfinite(held), held, given)

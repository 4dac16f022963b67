"""Which field predicts which: pairs that say the same thing in different messages or units. Frozen with block format 1.

A prediction is `rint(value of the source * scale)` in the target's unit, from the newest row of the source at or
before the target's row. Only the change of the difference is coded, so offsets (a bias, the home altitude) do not
matter. The encoder uses a pair only where it pays. A source is never itself a target, and both come from the same
sysid and compid.
"""

import math

SLOTS = 2
"""At most this many sources per target."""

Source = tuple[str, str, float]
_POSITION = "GLOBAL_POSITION_INT"
_LOCAL = "LOCAL_POSITION_NED"
_METRES = 0.011131884502145034
"""Metres per 1e-7 degree of latitude."""


def _pairs() -> dict[tuple[str, str], list[Source]]:
    pairs: dict[tuple[str, str], list[Source]] = {
        (_POSITION, "alt"): [(_POSITION, "relative_alt", 1.0)],
        (_POSITION, "hdg"): [("ATTITUDE", "yaw", 18000 / math.pi)],
        ("VFR_HUD", "heading"): [("ATTITUDE", "yaw", 180 / math.pi)],
        ("VFR_HUD", "alt"): [(_POSITION, "relative_alt", 1e-3)],
        ("VFR_HUD", "climb"): [(_POSITION, "vz", -0.01)],
        ("VFR_HUD", "airspeed"): [("VFR_HUD", "groundspeed", 1.0)],
        (_LOCAL, "x"): [(_POSITION, "lat", _METRES)],
        (_LOCAL, "y"): [(_POSITION, "lon", 0.9 * _METRES)],
        (_LOCAL, "z"): [("NAV_CONTROLLER_OUTPUT", "alt_error", 1.0), (_POSITION, "relative_alt", -1e-3)],
        ("AHRS2", "altitude"): [(_POSITION, "relative_alt", 1e-3)],
        ("AHRS2", "lat"): [(_POSITION, "lat", 1.0)],
        ("AHRS2", "lng"): [(_POSITION, "lon", 1.0)],
        ("GPS_RAW_INT", "alt_ellipsoid"): [("GPS_RAW_INT", "alt", 1.0)],
        ("SCALED_PRESSURE2", "press_abs"): [("SCALED_PRESSURE", "press_abs", 1.0)],
        ("SYSTEM_TIME", "time_unix_usec"): [("SYSTEM_TIME", "time_boot_ms", 1000.0)],
        ("BATTERY_STATUS", "current_battery"): [("SYS_STATUS", "current_battery", 1.0)],
        ("BATTERY_STATUS", "voltages"): [("SYS_STATUS", "voltage_battery", 1.0)],
        ("TERRAIN_REPORT", "lat"): [(_POSITION, "lat", 1.0)],
        ("TERRAIN_REPORT", "lon"): [(_POSITION, "lon", 1.0)],
        ("ALTITUDE", "altitude_relative"): [("ALTITUDE", "altitude_amsl", 1.0)],
        ("ALTITUDE", "altitude_local"): [("ALTITUDE", "altitude_amsl", 1.0)],
        ("ALTITUDE", "altitude_monotonic"): [("ALTITUDE", "altitude_amsl", 1.0)],
    }
    for axis, angle in (("x", "roll"), ("y", "pitch"), ("z", "yaw")):
        pairs[_LOCAL, f"v{axis}"] = [(_POSITION, f"v{axis}", 0.01)]
        pairs["RAW_IMU", f"{axis}gyro"] = [("ATTITUDE", f"{angle}speed", 1000.0)]
        pairs["AHRS2", angle] = [("ATTITUDE", angle, 1.0)]
        pairs["ATTITUDE_QUATERNION", f"{angle}speed"] = [("ATTITUDE", f"{angle}speed", 1.0)]
        for message in ("SCALED_IMU", "SCALED_IMU2", "SCALED_IMU3"):
            pairs[message, f"{axis}gyro"] = [("ATTITUDE", f"{angle}speed", 1000.0)]
            pairs[message, f"{axis}acc"] = [("RAW_IMU", f"{axis}acc", 1.0)]
            pairs[message, f"{axis}mag"] = [("RAW_IMU", f"{axis}mag", 1.0)]
    for field in ("time_usec", "lat", "lon", "alt", "eph", "epv", "vel", "cog"):
        pairs["GPS2_RAW", field] = [("GPS_RAW_INT", field, 1.0)]
    return pairs


PAIRS = _pairs()
"""(message, field) -> its sources [(message, field, scale)]; array fields: their first element."""

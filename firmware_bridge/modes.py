"""Flight modes and vehicle classes by name, ArduPilot and PX4.

Sources: ArduPilot `mode.h` of each vehicle (4.7), PX4 `commander/px4_custom_mode.h` and `msg/VehicleStatus.msg` (1.16),
MAVLink MAV_TYPE. A mode that has no name here is "MODE(n)", never an error: firmware is newer than any table.
"""

ARDUPILOT, PX4, INVALID = 3, 12, 8
"""MAV_AUTOPILOT values that matter here; INVALID marks what is no autopilot."""

_COPTER_MODES = {
    0: "STABILIZE", 1: "ACRO", 2: "ALT_HOLD", 3: "AUTO", 4: "GUIDED", 5: "LOITER", 6: "RTL", 7: "CIRCLE", 8: "POSITION",
    9: "LAND", 10: "OF_LOITER", 11: "DRIFT", 13: "SPORT", 14: "FLIP", 15: "AUTOTUNE", 16: "POSHOLD", 17: "BRAKE",
    18: "THROW", 19: "AVOID_ADSB", 20: "GUIDED_NOGPS", 21: "SMART_RTL", 22: "FLOWHOLD", 23: "FOLLOW", 24: "ZIGZAG",
    25: "SYSTEMID", 26: "AUTOROTATE", 27: "AUTO_RTL", 28: "TURTLE", 29: "RATE_ACRO",
}  # fmt: skip
_PLANE_MODES = {
    0: "MANUAL", 1: "CIRCLE", 2: "STABILIZE", 3: "TRAINING", 4: "ACRO", 5: "FBWA", 6: "FBWB", 7: "CRUISE",
    8: "AUTOTUNE", 10: "AUTO", 11: "RTL", 12: "LOITER", 13: "TAKEOFF", 14: "AVOID_ADSB", 15: "GUIDED",
    16: "INITIALISING", 17: "QSTABILIZE", 18: "QHOVER", 19: "QLOITER", 20: "QLAND", 21: "QRTL", 22: "QAUTOTUNE",
    23: "QACRO", 24: "THERMAL", 25: "LOITERALTQLAND", 26: "AUTOLAND",
}  # fmt: skip
_ROVER_MODES = {
    0: "MANUAL", 1: "ACRO", 2: "LEARNING", 3: "STEERING", 4: "HOLD", 5: "LOITER", 6: "FOLLOW", 7: "SIMPLE", 8: "DOCK",
    9: "CIRCLE", 10: "AUTO", 11: "RTL", 12: "SMART_RTL", 15: "GUIDED", 16: "INITIALISING",
}  # fmt: skip
_SUB_MODES = {
    0: "STABILIZE", 1: "ACRO", 2: "ALT_HOLD", 3: "AUTO", 4: "GUIDED", 7: "CIRCLE", 9: "SURFACE", 16: "POSHOLD",
    19: "MANUAL",
}  # fmt: skip
_TRACKER_MODES = {0: "MANUAL", 1: "STOP", 2: "SCAN", 4: "GUIDED", 10: "AUTO", 16: "INITIALISING"}
_BLIMP_MODES = {0: "LAND", 1: "MANUAL", 2: "VELOCITY", 3: "LOITER", 4: "RTL", 5: "AUTO", 6: "HOLD"}

_CLASSES: dict[str, tuple[int, ...]] = {
    "plane": (1, 16, 17, 28),
    "copter": (2, 3, 13, 14, 15, 29, 35, 43),
    "helicopter": (4,),
    "quadplane": (19, 20, 21, 22, 23, 24, 25, 47),
    "rover": (10,),
    "boat": (11,),
    "submarine": (12,),
    "tracker": (5,),
    "airship": (7, 8),
    "rocket": (9,),
}
_CLASS_OF = {vehicle_type: name for name, types in _CLASSES.items() for vehicle_type in types}
_ARDUPILOT_MODES: dict[str, dict[int, str]] = {
    "plane": _PLANE_MODES,
    "quadplane": _PLANE_MODES,
    "copter": _COPTER_MODES,
    "helicopter": _COPTER_MODES,
    "rover": _ROVER_MODES,
    "boat": _ROVER_MODES,
    "submarine": _SUB_MODES,
    "tracker": _TRACKER_MODES,
    "airship": _BLIMP_MODES,
}

_PX4_MAIN = {
    1: "MANUAL", 2: "ALTCTL", 3: "POSCTL", 4: "AUTO", 5: "ACRO", 6: "OFFBOARD", 7: "STABILIZED", 8: "RATTITUDE",
    9: "SIMPLE", 10: "TERMINATION", 11: "ALTITUDE_CRUISE",
}  # fmt: skip
_PX4_SUB = {
    (3, 1): "ORBIT", (3, 2): "POSITION_SLOW", (4, 1): "READY", (4, 2): "TAKEOFF", (4, 3): "LOITER", (4, 4): "MISSION",
    (4, 5): "RTL", (4, 6): "LAND", (4, 7): "RTGS", (4, 8): "FOLLOWME", (4, 9): "PRECLAND", (4, 10): "VTOL_TAKEOFF",
} | {(4, 10 + i): f"EXTERNAL{i}" for i in range(1, 9)}  # fmt: skip

_PX4_NAV_STATE = {
    0: (1, 0), 1: (2, 0), 2: (3, 0), 3: (4, 4), 4: (4, 3), 5: (4, 5), 6: (3, 2), 8: (11, 0), 10: (5, 0), 12: (4, 6),
    13: (10, 0), 14: (6, 0), 15: (7, 0), 16: (8, 0), 17: (4, 2), 18: (4, 6), 19: (4, 8), 20: (4, 9), 21: (3, 1),
    22: (4, 10),
} | {22 + i: (4, 10 + i) for i in range(1, 9)}  # fmt: skip

QUADPLANE_MODES = frozenset(range(17, 24)) | {25}
"""ArduPlane modes that only a quadplane flies: its HEARTBEAT type says FIXED_WING."""

_AUTOPILOTS = {ARDUPILOT: "ArduPilot", PX4: "PX4", 0: "generic"}


def mode_name(autopilot: int, vehicle_type: int, custom_mode: int) -> str:
    """The mode's name in its firmware's own words, e.g. "LOITER"; "MODE(n)" when there is none.

    autopilot: MAV_AUTOPILOT, vehicle_type: MAV_TYPE, custom_mode: HEARTBEAT.custom_mode.
    """
    if autopilot == PX4:
        main, sub = custom_mode >> 16 & 0xFF, custom_mode >> 24 & 0xFF
        return _PX4_SUB.get((main, sub)) or _PX4_MAIN.get(main) or f"MODE({custom_mode})"
    modes = _ARDUPILOT_MODES.get(_CLASS_OF.get(vehicle_type, ""), {}) if autopilot == ARDUPILOT else {}
    return modes.get(custom_mode, f"MODE({custom_mode})")


def px4_custom_mode(nav_state: int) -> int:
    """HEARTBEAT.custom_mode that PX4 sends for a `vehicle_status.nav_state`; 0 when it is not known."""
    main, sub = _PX4_NAV_STATE.get(nav_state, (0, 0))
    return main << 16 | sub << 24


def vehicle_class(vehicle_type: int, is_quadplane: bool = False) -> str:
    """The class of a MAV_TYPE: plane, copter, helicopter, quadplane, rover, boat, submarine, tracker, airship, rocket;
    "unknown" else.

    is_quadplane: the vehicle has shown that it is one (Q_ENABLE, a Q mode) although its type says FIXED_WING.
    """
    name = _CLASS_OF.get(vehicle_type, "unknown")
    return "quadplane" if is_quadplane and name == "plane" else name


def is_vehicle_type(vehicle_type: int) -> bool:
    """Whether a HEARTBEAT of this MAV_TYPE can come from an autopilot (no GCS, gimbal, camera, radio, companion)."""
    return vehicle_type in _CLASS_OF or vehicle_type in (0, 45, 46)


def autopilot_name(autopilot: int) -> str:
    """The firmware family of a MAV_AUTOPILOT value: "ArduPilot", "PX4", "generic" or "autopilot n"."""
    return _AUTOPILOTS.get(autopilot, f"autopilot {autopilot}")

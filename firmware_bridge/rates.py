"""What the agent asks of the autopilot: message rates, and those put back; and a companion's HEARTBEAT. Nothing else.

Messages are (id, fields) for whoever packs them: an aircraft needs no dialect in memory for three of them. Intervals
are asked for with MAV_CMD_SET_MESSAGE_INTERVAL, message by message, and put back with interval 0, the autopilot's own
default (what it was before is not kept: GET_MESSAGE_INTERVAL is answered by few firmwares).
Source: mavlink.io, "Requesting Messages", "Heartbeat/Connection Protocol", "MAVLink Companion Computers".
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from firmware_bridge.modes import INVALID, PX4
from shared.layouts import LAYOUTS

Profile = Literal["serial", "lte"]

COMPANION_COMPID = 191
"""MAV_COMP_ID_ONBOARD_COMPUTER."""
MAV_TYPE_ONBOARD_CONTROLLER = 18
MAV_STATE_ACTIVE = 4
HEARTBEAT, COMMAND_LONG = 0, 76
SET_MESSAGE_INTERVAL = 511
DEFAULT_INTERVAL = 0
HEARTBEAT_PERIOD_US = 1_000_000

_ID = {layout.name: msgid for msgid, layout in LAYOUTS.items()}
_BOTH: dict[str, float] = {
    "ATTITUDE": 10, "GLOBAL_POSITION_INT": 10, "SERVO_OUTPUT_RAW": 10, "VIBRATION": 5, "VFR_HUD": 5, "GPS_RAW_INT": 5,
    "LOCAL_POSITION_NED": 4, "ATTITUDE_TARGET": 4, "NAV_CONTROLLER_OUTPUT": 4, "SCALED_PRESSURE": 4, "SYS_STATUS": 4,
    "BATTERY_STATUS": 4, "RC_CHANNELS": 2, "SYSTEM_TIME": 2, "MISSION_CURRENT": 2, "EXTENDED_SYS_STATE": 2,
    "HOME_POSITION": 0.1, "POWER_STATUS": 1,
}  # fmt: skip
_ARDUPILOT: dict[str, float] = {
    "RAW_IMU": 10, "SCALED_IMU2": 4, "EKF_STATUS_REPORT": 4, "WIND": 4, "ESC_TELEMETRY_1_TO_4": 4,
    "ESC_TELEMETRY_5_TO_8": 4, "AHRS2": 1, "MEMINFO": 1,
}  # fmt: skip
_PX4: dict[str, float] = {
    "HIGHRES_IMU": 10, "ESTIMATOR_STATUS": 4, "WIND_COV": 4, "ALTITUDE": 4, "ACTUATOR_OUTPUT_STATUS": 10,
}  # fmt: skip
_SHARES: dict[Profile, float] = {"serial": 1.0, "lte": 0.5}


def intervals(profile: Profile, autopilot: int) -> dict[int, int]:
    """Message id -> interval in us. `serial`: a wired companion, full rates; `lte`: about half, for a thin link."""
    rates = _BOTH | (_PX4 if autopilot == PX4 else _ARDUPILOT)
    share = _SHARES[profile]
    return {_ID[name]: round(1e6 / (hz if hz <= 2 else hz * share)) for name, hz in rates.items()}


def requests(target: tuple[int, int], wanted: Mapping[int, int]) -> list[tuple[int, dict[str, Any]]]:
    """(message id, fields) of one COMMAND_LONG per message id -> interval_us, for the autopilot (sysid, compid)."""
    return [(COMMAND_LONG, _interval(target, msgid, interval_us)) for msgid, interval_us in wanted.items()]


def restorations(target: tuple[int, int], msgids: Iterable[int]) -> list[tuple[int, dict[str, Any]]]:
    """The requests that put the autopilot's own rates back; as `requests`."""
    return requests(target, dict.fromkeys(msgids, DEFAULT_INTERVAL))


def _interval(target: tuple[int, int], msgid: int, interval_us: int) -> dict[str, Any]:
    return {
        "target_system": target[0],
        "target_component": target[1],
        "command": SET_MESSAGE_INTERVAL,
        "param1": msgid,
        "param2": interval_us,
    }


def heartbeat() -> tuple[int, dict[str, Any]]:
    """(message id, fields) of a companion's HEARTBEAT, due every HEARTBEAT_PERIOD_US.

    Sent with the vehicle's sysid and component COMPANION_COMPID; none by a companion that knows itself to be faulted.
    """
    fields = {
        "type": MAV_TYPE_ONBOARD_CONTROLLER,
        "autopilot": INVALID,
        "system_status": MAV_STATE_ACTIVE,
        "mavlink_version": 3,
    }
    return HEARTBEAT, fields

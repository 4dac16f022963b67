"""Telemetry logs and raw dumps made here: one vehicle that arms, flies a line and disarms, with a ground station."""

import numpy as np

from shared.layouts import LAYOUTS
from tests.fix_mavlink_frames import make_frame

_ID = {layout.name: msgid for msgid, layout in LAYOUTS.items()}
START_US = 1_750_000_000_000_000


def mavlink_message(name: str, sysid: int = 1, compid: int = 1, **values: object) -> bytes:
    """One MAVLink 2 frame; fields not told are 0."""
    record = np.zeros(1, LAYOUTS[_ID[name]].dtype)
    for field, value in values.items():
        record[field] = value
    return make_frame(_ID[name], record.tobytes(), sysid=sysid, compid=compid)


def stamped(time_us: int, frame: bytes) -> bytes:
    """A frame as a tlog holds it."""
    return time_us.to_bytes(8, "big") + frame


def flight_frames(
    seconds: int = 30, armed: tuple[float, float] = (5.0, 25.0), boot_ms: int = 10_000, utc_us: int = START_US,
    autopilot: int = 3, vehicle_type: int = 2,
) -> list[tuple[float, bytes]]:  # fmt: skip
    """(seconds since the start, frame) of a flight. utc_us: SYSTEM_TIME at the start, 0: not known."""
    out: list[tuple[float, bytes]] = [
        (0.0, mavlink_message("STATUSTEXT", severity=6, text=b"ArduCopter V4.5.7 (2a3dc4b7)")),
        (0.0, mavlink_message("STATUSTEXT", severity=6, text=b"CubeOrange 003C0038 31335112 35303035")),
        (0.1, mavlink_message("HEARTBEAT", 255, 190, type=6, autopilot=8, base_mode=0)),
    ]
    for tenth in range(seconds * 10):
        t = tenth / 10
        is_armed = armed[0] <= t < armed[1]
        ms, up_mm = boot_ms + tenth * 100, 10_000 * is_armed
        place = {"lat": 520_000_000 + tenth * 10 * is_armed, "lon": 43_000_000, "alt": up_mm, "relative_alt": up_mm}
        out.append((t, mavlink_message("GLOBAL_POSITION_INT", time_boot_ms=ms, hdg=9000, **place)))
        out.append((t, mavlink_message("ATTITUDE", time_boot_ms=ms, roll=0.1, pitch=0.05, yaw=1.5)))
        if tenth % 10 == 0:
            beat = {"type": vehicle_type, "autopilot": autopilot, "custom_mode": 5 * is_armed, "system_status": 4}
            out.append((t, mavlink_message("HEARTBEAT", base_mode=81 | 128 * is_armed, **beat)))
            unix = utc_us + tenth * 100_000 if utc_us else 0
            out.append((t, mavlink_message("SYSTEM_TIME", time_boot_ms=ms, time_unix_usec=unix)))
    return out


def tlog(frames: list[tuple[float, bytes]] | None = None, start_us: int = START_US, pace: float = 1.0) -> bytes:
    """The frames with stamps from start_us on, `pace` times as fast as they were sent."""
    frames = flight_frames() if frames is None else frames
    return b"".join(stamped(start_us + round(t * 1e6 / pace), frame) for t, frame in frames)


def raw_dump(frames: list[tuple[float, bytes]] | None = None) -> bytes:
    """The frames alone."""
    return b"".join(frame for _, frame in (flight_frames() if frames is None else frames))

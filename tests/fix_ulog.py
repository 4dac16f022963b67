"""Small ULog files, written byte by byte, so that the player is tested without anyone's recording."""

import struct
from typing import Any

import numpy as np

_KINDS = {
    "uint8_t": "B", "int8_t": "b", "int32_t": "i", "uint16_t": "H", "uint32_t": "I", "uint64_t": "Q", "float": "f",
    "double": "d", "bool": "B",
}  # fmt: skip


class UlogWriter:
    """Definitions first, then data; `bytes()` gives the file."""

    def __init__(self, start_us: int = 1_000_000) -> None:
        self._out = bytearray(b"ULog\x01\x12\x35\x01" + struct.pack("<Q", start_us))
        self._formats: dict[str, list[tuple[str, str]]] = {}
        self._subscribed: dict[tuple[str, int], int] = {}
        self._data = bytearray()

    def _message(self, out: bytearray, kind: str, body: bytes) -> None:
        out += struct.pack("<HB", len(body), ord(kind)) + body

    def info(self, kind: str, name: str, value: Any) -> None:
        key = f"{kind} {name}".encode()
        self._message(self._out, "I", bytes([len(key)]) + key + struct.pack("<" + _KINDS[kind], value))

    def parameter(self, name: str, value: int) -> None:
        key = f"int32_t {name}".encode()
        self._message(self._out, "P", bytes([len(key)]) + key + struct.pack("<i", value))

    def topic(self, name: str, **fields: str) -> None:
        """A format: field name -> type; the timestamp comes by itself."""
        self._formats[name] = [("timestamp", "uint64_t"), *fields.items()]
        words = ";".join(f"{kind} {field}" for field, kind in self._formats[name])
        self._message(self._out, "F", f"{name}:{words};".encode())

    def row(self, name: str, time_us: int, instance: int = 0, **values: Any) -> None:
        """One sample; array fields are sequences."""
        key = (name, instance)
        if key not in self._subscribed:
            self._subscribed[key] = len(self._subscribed)
            self._message(self._data, "A", struct.pack("<BH", instance, self._subscribed[key]) + name.encode())
        body = struct.pack("<H", self._subscribed[key])
        for field, kind in self._formats[name]:
            value = time_us if field == "timestamp" else values.get(field, 0)
            base, _, count = kind.partition("[")
            items = list(np.atleast_1d(value)) if count else [value]
            items += [0] * (int(count[:-1]) - len(items)) if count else []
            body += struct.pack(f"<{len(items)}{_KINDS[base]}", *items)
        self._message(self._data, "D", body)

    def text(self, time_us: int, level: int, words: str) -> None:
        self._message(self._data, "L", struct.pack("<BQ", ord("0") + level, time_us) + words.encode())

    def __bytes__(self) -> bytes:
        return bytes(self._out + self._data)


def hover(seconds: int = 5, utc_us: int = 1_700_000_000_000_000) -> UlogWriter:
    """A quad that arms after one second and hovers in POSCTL; GPS time known."""
    log = UlogWriter()
    log.info("uint32_t", "ver_sw_release", 0x010F00FF)
    log.parameter("MAV_SYS_ID", 7)
    log.topic("vehicle_attitude", q="float[4]")
    log.topic("vehicle_angular_velocity", xyz="float[3]")
    log.topic("vehicle_status", arming_state="uint8_t", nav_state="uint8_t", system_type="uint8_t", failsafe="bool")
    log.topic("vehicle_gps_position", time_utc_usec="uint64_t", latitude_deg="double", longitude_deg="double",
              altitude_msl_m="double", fix_type="uint8_t", satellites_used="uint8_t", hdop="float")  # fmt: skip
    log.topic("battery_status", voltage_v="float", current_a="float", remaining="float", discharged_mah="float")
    log.topic("actuator_outputs", output="float[16]")
    log.topic("cpuload", load="float")
    for i in range(seconds * 20):
        t = 2_000_000 + i * 50_000
        log.row("vehicle_attitude", t, q=[1, 0, 0, 0])
        log.row("vehicle_angular_velocity", t, xyz=[0.1, 0.2, 0.3])
        if i % 10 == 0:
            log.row("vehicle_status", t, arming_state=2 if i >= 20 else 1, nav_state=2, system_type=2)
            log.row("vehicle_gps_position", t, time_utc_usec=utc_us + t, latitude_deg=47.1234567, longitude_deg=8.5,
                    altitude_msl_m=488.25, fix_type=3, satellites_used=11, hdop=0.8)  # fmt: skip
            log.row("battery_status", t, voltage_v=15.5, current_a=3.25, remaining=0.5, discharged_mah=100)
            log.row("cpuload", t, load=0.25)
        log.row("actuator_outputs", t, output=[1500, 1510, 1520, 1530])
    return log

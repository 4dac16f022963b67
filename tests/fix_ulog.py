"""Small ULog files, written byte by byte, so that readers are tested without anyone's recording."""

import json
import lzma
import struct
from typing import Any

import numpy as np

SYNC = b"\x2f\x73\x13\x20\x25\x0c\xbb\x12"
_KINDS = {
    "uint8_t": "B", "int8_t": "b", "int16_t": "h", "int32_t": "i", "int64_t": "q", "uint16_t": "H", "uint32_t": "I",
    "uint64_t": "Q", "float": "f", "double": "d", "bool": "B", "char": "c",
}  # fmt: skip


class UlogWriter:
    """Definitions first, then data; `bytes()` gives the file. start_us: the stamp in its header."""

    def __init__(self, start_us: int = 1_000_000, flags: bool = False) -> None:
        self._out = bytearray(b"ULog\x01\x12\x35\x01" + struct.pack("<Q", start_us))
        self._formats: dict[str, list[tuple[str, str]]] = {}
        self._subscribed: dict[tuple[str, int], int] = {}
        self._data = bytearray()
        self._appended: list[bytes] = []
        self._has_flags = flags

    def _message(self, out: bytearray, kind: str, body: bytes) -> None:
        out += struct.pack("<HB", len(body), ord(kind)) + body

    def _pair(self, kind: str, name: str, value: Any) -> bytes:
        key = f"{kind} {name}".encode()
        body = value if isinstance(value, bytes) else struct.pack("<" + _KINDS[kind], value)
        return bytes([len(key)]) + key + body

    def info(self, kind: str, name: str, value: Any) -> None:
        """A fact; of kind char[n] and other arrays the value is bytes."""
        self._message(self._out, "I", self._pair(kind, name, value))

    def infos(
        self, name: str, value: bytes, is_continued: bool = False, kind: str = "char", late: bool = False
    ) -> None:
        """A piece of a fact in several messages."""
        body = bytes([is_continued]) + self._pair(f"{kind}[{len(value)}]", name, value)
        self._message(self._data if late else self._out, "M", body)

    def parameter(self, name: str, value: float) -> None:
        """An initial parameter: int32 or float as the value is."""
        self._message(self._out, "P", self._pair("float" if isinstance(value, float) else "int32_t", name, value))

    def default(self, name: str, value: float, kinds: int = 1) -> None:
        """A parameter's default; kinds: bit 0 the system's, bit 1 the airframe's."""
        pair = self._pair("float" if isinstance(value, float) else "int32_t", name, value)
        self._message(self._out, "Q", bytes([kinds]) + pair)

    def change(self, name: str, value: float) -> None:
        """A parameter changed in flight."""
        self._message(self._data, "P", self._pair("float" if isinstance(value, float) else "int32_t", name, value))

    def topic(self, name: str, /, **fields: str) -> None:
        """A format: field name -> type; the timestamp comes by itself."""
        self.format(name, [("timestamp", "uint64_t"), *fields.items()])

    def format(self, name: str, fields: list[tuple[str, str]]) -> None:
        """A format as it stands, also one that others nest: (field name, type)."""
        self._formats[name] = fields
        words = ";".join(f"{kind} {field}" for field, kind in fields)
        self._message(self._out, "F", f"{name}:{words};".encode())

    def subscribe(self, name: str, instance: int = 0) -> int:
        """The message id of a topic's instance."""
        key = (name, instance)
        if key not in self._subscribed:
            self._subscribed[key] = len(self._subscribed)
            self._message(self._data, "A", struct.pack("<BH", instance, self._subscribed[key]) + name.encode())
        return self._subscribed[key]

    def row(self, name: str, time_us: int, /, instance: int = 0, **values: Any) -> None:
        """One sample; array fields are sequences. Padding at the end is not logged."""
        body = struct.pack("<H", self.subscribe(name, instance))
        last = max(i for i, (field, _) in enumerate(self._formats[name]) if not field.startswith("_padding"))
        for field, kind in self._formats[name][: last + 1]:
            value = time_us if field == "timestamp" else values.get(field, 0)
            base, _, count = kind.partition("[")
            items = list(np.atleast_1d(value)) if count else [value]
            items += [0] * (int(count[:-1]) - len(items)) if count else []
            body += struct.pack(f"<{len(items)}{_KINDS[base]}", *items)
        self._message(self._data, "D", body)

    def sample(self, name: str, body: bytes, instance: int = 0) -> None:
        """A sample as its bytes, for nested types and padding."""
        self._message(self._data, "D", struct.pack("<H", self.subscribe(name, instance)) + body)

    def text(self, time_us: int, level: int, words: str, tag: int | None = None) -> None:
        """A logged message, tagged when a tag is given."""
        level += ord("0")
        if tag is None:
            self._message(self._data, "L", struct.pack("<BQ", level, time_us) + words.encode())
        else:
            self._message(self._data, "C", struct.pack("<BHQ", level, tag, time_us) + words.encode())

    def sync(self) -> None:
        """A mark to find the messages again by."""
        self._message(self._data, "S", SYNC)

    def dropout(self, ms: int) -> None:
        """Data that the logger lost."""
        self._message(self._data, "O", struct.pack("<H", ms))

    def raw(self, kind: str, body: bytes) -> None:
        """Any message of the data section."""
        self._message(self._data, kind, body)

    def junk(self, data: bytes) -> None:
        """Bytes that are no message."""
        self._data += data

    def append(self) -> None:
        """What is written from here on is data appended later: the file says so in its flags."""
        self._appended.append(bytes(self._data))
        self._data = bytearray()
        self._has_flags = True

    def __bytes__(self) -> bytes:
        head, sections = self._out[:16], [*self._appended, bytes(self._data)]
        if not self._has_flags:
            return bytes(self._out) + b"".join(sections)
        at, offsets = len(self._out) + 3 + 40, []
        for section in sections[:-1]:
            at += len(section)
            offsets.append(at)
        body = bytes([1]) + bytes(7) + bytes([bool(offsets)]) + bytes(7) + struct.pack("<3Q", *(offsets + [0] * 3)[:3])
        flags = bytearray()
        self._message(flags, "B", body)
        return bytes(head + flags + self._out[16:]) + b"".join(sections)


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


def ulog_log(
    seconds: int = 10, start_us: int = 60_000_000, utc_us: int = 1_700_000_000_000_000,
    armed: tuple[float, float] = (2.0, 8.0), uuid: str = "000600000000313233343536373839303132",
    latitude: float = 47.1234567, longitude: float = 8.5432,
) -> bytes:  # fmt: skip
    """A short flight of a PX4 1.15 quad: take-off, a circle of 20 m in AUTO_MISSION, landing.

    start_us: its clock at the start. utc_us: UTC when its clock is 0 (0: the receiver never knew). armed: from, to,
    in seconds since the start. uuid: sys_uuid of its info. latitude, longitude: where it takes off.
    """
    return bytes(ulog_flight(seconds, start_us, utc_us, armed, uuid, latitude, longitude))


def ulog_flight(
    seconds: int = 10, start_us: int = 60_000_000, utc_us: int = 1_700_000_000_000_000,
    armed: tuple[float, float] = (2.0, 8.0), uuid: str = "000600000000313233343536373839303132",
    latitude: float = 47.1234567, longitude: float = 8.5432,
) -> UlogWriter:  # fmt: skip
    """The same, to be written on."""
    log = UlogWriter(start_us, flags=True)
    _define(log, uuid)
    log.text(start_us + 5_000, 6, "[logger] Start file log (type: full)\t")
    for i in range(seconds * 50):
        t, at_s = start_us + i * 20_000, i / 50
        is_armed = armed[0] <= at_s < armed[1]
        height = 10.0 * min(1.0, max(0.0, min(at_s - armed[0], armed[1] - at_s) / 2)) if is_armed else 0.0
        turn = 2 * np.pi * at_s / max(seconds, 1)
        north, east = (20 * np.sin(turn), 20 - 20 * np.cos(turn)) if height else (0.0, 0.0)
        _fast_rows(log, t, is_armed, north, east, height, turn)
        if i % 10 == 0:
            _slow_rows(log, t, utc_us, is_armed, latitude + north / 111_320, longitude + east / 75_700, 488.0 + height)
        if i % 50 == 0:
            log.sync()
        for moment, words in zip(armed, ("[commander] Armed by RC", "[commander] Disarmed by landing"), strict=True):
            if i == round(moment * 50):
                log.text(t, 6, words + "\t")
    log.change("MIS_TAKEOFF_ALT", 12.5)
    log.dropout(37)
    return log


def _define(log: UlogWriter, uuid: str) -> None:
    for name, words in {"ver_sw": "c78389a8", "ver_hw": "PX4_FMU_V6X", "sys_name": "PX4", "sys_uuid": uuid}.items():
        log.info(f"char[{len(words)}]", name, words.encode())
    log.info("uint32_t", "ver_sw_release", 0x010F00FF)
    log.info("int32_t", "time_ref_utc", 0)
    for name, value in {"MAV_SYS_ID": 3, "MAV_TYPE": 2, "SYS_AUTOSTART": 4001, "MIS_TAKEOFF_ALT": 2.5}.items():
        log.parameter(name, value)
    log.default("MIS_TAKEOFF_ALT", 2.0, 3)
    log.topic("vehicle_status", armed_time="uint64_t", arming_state="uint8_t", nav_state="uint8_t",
              vehicle_type="uint8_t", failsafe="bool", is_vtol="bool", system_type="uint8_t", system_id="uint8_t",
              _padding0="uint8_t[1]")  # fmt: skip
    log.topic("vehicle_attitude", timestamp_sample="uint64_t", q="float[4]", quat_reset_counter="uint8_t",
              _padding0="uint8_t[7]")  # fmt: skip
    log.topic("vehicle_angular_velocity", timestamp_sample="uint64_t", xyz="float[3]", _padding0="uint8_t[4]")
    log.topic("vehicle_local_position", x="float", y="float", z="float", vx="float", vy="float", vz="float",
              heading="float", ref_alt="float", ref_lat="double", ref_lon="double", z_global="bool")  # fmt: skip
    log.topic("vehicle_global_position", lat="double", lon="double", alt="float", eph="float", epv="float")
    for name in ("vehicle_gps_position", "sensor_gps"):
        log.topic(name, time_utc_usec="uint64_t", latitude_deg="double", longitude_deg="double",
                  altitude_msl_m="double", vel_m_s="float", cog_rad="float", eph="float", epv="float", hdop="float",
                  vdop="float", fix_type="uint8_t", satellites_used="uint8_t")  # fmt: skip
    log.topic("battery_status", voltage_v="float", current_a="float", remaining="float", discharged_mah="float",
              cell_count="uint8_t", voltage_cell_v="float[14]")  # fmt: skip
    log.topic("actuator_outputs", noutputs="uint32_t", output="float[16]", _padding0="uint8_t[4]")
    log.topic("vehicle_land_detected", landed="bool")
    log.topic("home_position", lat="double", lon="double", alt="float", valid_alt="bool", valid_hpos="bool")


def _fast_rows(
    log: UlogWriter, t: int, is_armed: bool, north: float, east: float, height: float, turn: float
) -> None:  # fmt: skip
    half = turn / 2
    log.row("vehicle_attitude", t, timestamp_sample=t - 200, q=[np.cos(half), 0, 0, np.sin(half)])
    log.row("vehicle_angular_velocity", t, timestamp_sample=t - 200, xyz=[0.01, 0.02, 0.3])
    log.row("vehicle_local_position", t, x=north, y=east, z=-height, vx=1.0, heading=turn, ref_alt=488.0, z_global=1)
    spin = [1500.0 + 10 * i for i in range(4)] if is_armed else [900.0] * 4
    log.row("actuator_outputs", t, noutputs=4, output=spin)
    log.row("actuator_outputs", t, instance=1, noutputs=0)


def _slow_rows(
    log: UlogWriter, t: int, utc_us: int, is_armed: bool, latitude: float, longitude: float, altitude: float
) -> None:  # fmt: skip
    log.row("vehicle_status", t, arming_state=2 if is_armed else 1, nav_state=3 if is_armed else 4, vehicle_type=1,
            system_type=2, system_id=3)  # fmt: skip
    log.row("vehicle_land_detected", t, landed=not is_armed)
    log.row("vehicle_global_position", t, lat=latitude, lon=longitude, alt=altitude, eph=0.6, epv=0.9)
    for name in ("vehicle_gps_position", "sensor_gps"):
        log.row(name, t, time_utc_usec=utc_us + t if utc_us else 0, latitude_deg=latitude, longitude_deg=longitude,
                altitude_msl_m=altitude, vel_m_s=1.0, eph=0.6, epv=0.9, hdop=0.8, vdop=1.1, fix_type=3,
                satellites_used=14)  # fmt: skip
    log.row("battery_status", t, voltage_v=15.5, current_a=12.5 if is_armed else 0.5, remaining=0.75,
            discharged_mah=100.0, cell_count=4, voltage_cell_v=[3.875] * 4)  # fmt: skip
    log.row("battery_status", t, instance=1, voltage_v=12.5, current_a=1.0, remaining=0.5)
    log.row("home_position", t, lat=latitude, lon=longitude, alt=488.0, valid_alt=1, valid_hpos=1)


def events_metadata(events: dict[int, str], arguments: dict[int, list[str]] | None = None) -> bytes:
    """PX4's event definitions as a log carries them (json, packed): id -> message, and its arguments' types."""
    listed = {
        str(number): {
            "name": f"event_{number}",
            "message": message,
            "arguments": [{"name": f"a{i}", "type": kind} for i, kind in enumerate((arguments or {}).get(number, []))],
        }
        for number, message in events.items()
    }
    definitions = {"version": 2, "components": {"1": {"event_groups": {"default": {"events": listed}}}}}
    return lzma.compress(json.dumps(definitions).encode())

"""Who flew: firmware, version, kind of vehicle, hardware, from what a log says of itself in its many ways."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from firmware_bridge.log_tables import LogFormat, Parameter, Portion
from firmware_bridge.modes import ARDUPILOT, PX4, autopilot_name, vehicle_class

_BANNER = re.compile(
    r"\b(Ardu(?:Copter|Plane|Rover|Sub)|APM:?(?:Copter|Plane|Rover)|APMrover2|AntennaTracker|Blimp|PX4)\s+"
    r"[Vv]?(\d+\.\d+[^\s()]*)"
)
_ID_LINE = re.compile(r"\b([0-9A-Fa-f]{8}) ([0-9A-Fa-f]{8}) ([0-9A-Fa-f]{8})\s*$")
_SIMULATED_ID = re.compile(r"^[0-9a-f]{32}$")
_FRAME = re.compile(r"^Frame: ([A-Z0-9_/+ -]{2,40})$")
_NAMES = {"APMrover2": "ArduRover", "APMCopter": "ArduCopter", "APMPlane": "ArduPlane", "APMRover": "ArduRover"}
_KINDS = {0: "-dev", 64: "-alpha", 128: "-beta", 192: "-rc", 255: ""}
_MAX_PARAMETERS = 20_000
_MAX_IDS = 16

_TYPE_OF_FIRMWARE = {"ArduCopter": 2, "ArduPlane": 1, "ArduRover": 10, "ArduSub": 12, "AntennaTracker": 5, "Blimp": 7}
_COPTER_FRAMES = {1: 2, 2: 13, 3: 14, 4: 14, 5: 13, 6: 4, 7: 15, 8: 3, 9: 3, 11: 4, 12: 29, 13: 4, 14: 35}
"""ArduCopter's FRAME_CLASS to MAV_TYPE, as its HEARTBEAT says it."""
_FRAME_WORDS = {"QUAD": 2, "HEXA": 13, "OCTA": 14, "Y6": 13, "TRI": 15, "HELI": 4, "SINGLE": 3, "COAX": 3}
_HELI = ("H_COL", "H_RSC", "H_SV", "H_SW")
"""Parameters that only helicopters have."""
_DATAFLASH_TYPES = {1: 10, 2: 1, 3: 2, 4: 5, 7: 12, 12: 7}
"""VER.BU (AP_Vehicle build types: rover, plane, copter, tracker, sub, blimp) to MAV_TYPE."""
_DATAFLASH_NAMES = {
    1: "ArduRover", 2: "ArduPlane", 3: "ArduCopter", 4: "AntennaTracker", 7: "ArduSub", 12: "Blimp",
}  # fmt: skip
_AIRFRAMES = (  # PX4 SYS_AUTOSTART: first id, last id, MAV_TYPE (docs.px4.io, "Airframes Reference")
    (2000, 2999, 1), (3000, 3099, 1), (4000, 4999, 2), (5000, 5999, 2), (6000, 7999, 13), (8000, 9999, 14),
    (10016, 10017, 2), (11000, 12999, 14), (13000, 13999, 22), (14000, 14999, 15), (15000, 15999, 4), (16000, 16999, 4),
    (50000, 59999, 10), (60000, 60999, 12),
)  # fmt: skip


@dataclass(slots=True)
class Identity:
    """What is known so far; "" and 0 where the log has not said."""

    format: LogFormat
    firmware: str = ""
    version: str = ""
    autopilot: int = 0
    vehicle_type: int = 0
    is_quadplane: bool = False
    sysid: int = 0
    frame: str = ""
    parameters: dict[str, float] = field(default_factory=dict)
    _ids: dict[str, None] = field(default_factory=dict)

    def read(self, portion: Portion) -> None:
        """What a portion says by texts, parameters, facts, and DataFlash's VER."""
        for text in portion.texts:
            self._text(text.text.strip())
        self._parameters(portion.parameters)
        if portion.info:
            self._facts(portion.info)
        version = portion.get("VER") if self.format.startswith("dataflash") else None
        if version is not None and len(version):
            self._version_message(version.rows[-1])

    def _text(self, text: str) -> None:
        if banner := _BANNER.search(text):
            name = banner[1].replace(":", "")
            self.firmware, self.version = _NAMES.get(name, name), banner[2]
        elif words := _ID_LINE.search(text):
            self.add_ids(ids_of_words(*(int(w, 16) for w in words.groups())))
        elif _SIMULATED_ID.match(text):
            self.add_ids([f"ardupilot:{text}"])
        elif found := _FRAME.match(text):
            self.frame = found[1]

    def _parameters(self, parameters: Iterable[Parameter]) -> None:
        for p in parameters:
            if p.name in self.parameters or len(self.parameters) < _MAX_PARAMETERS:
                self.parameters[p.name] = p.value

    def _version_message(self, row: Any) -> None:
        names = row.dtype.names
        if {"Maj", "Min", "Pat"} <= set(names) and not self.version:
            kind = _KINDS.get(int(row["FWT"]), "") if "FWT" in names else ""
            self.version = f"{int(row['Maj'])}.{int(row['Min'])}.{int(row['Pat'])}{kind}"
        if "BU" in names:
            self.vehicle_type = self.vehicle_type or _DATAFLASH_TYPES.get(int(row["BU"]), 0)
            self.firmware = self.firmware or _DATAFLASH_NAMES.get(int(row["BU"]), "")
        if "FWS" in names and not self.firmware:
            self._text(bytes(row["FWS"]).decode("utf-8", "replace").strip("\0 "))

    def _facts(self, info: Mapping[str, Any]) -> None:
        """A ULog's information messages."""
        release = info.get("ver_sw_release")
        if isinstance(release, int) and release > 0:
            self.version = release_text(release)
        if "ver_sw" in info or "sys_name" in info:
            self.firmware = str(info.get("sys_name", self.firmware or "PX4"))[:40]
        uuid = str(info.get("sys_uuid", "")).strip().lower()
        if re.fullmatch(r"[0-9a-f]{16,64}", uuid) and set(uuid) != {"0"}:
            self.add_ids(ids_of_px4(uuid))

    def add_ids(self, ids: Iterable[str]) -> None:
        """Hardware ids, each once."""
        for hardware_id in ids:
            if len(self._ids) < _MAX_IDS:
                self._ids[hardware_id] = None

    @property
    def hardware_ids(self) -> tuple[str, ...]:
        """All ids that the log gives."""
        return tuple(self._ids)

    def settle(self) -> None:
        """After the last portion: what follows from what was said."""
        if self.format.startswith("dataflash"):
            self._settle_dataflash()
        elif self.format == "ulog":
            self.autopilot, self.firmware = PX4, self.firmware or "PX4"
            self.sysid = self.sysid or _byte(self.parameters.get("MAV_SYS_ID"))
            self.vehicle_type = self.vehicle_type or _byte(self.parameters.get("MAV_TYPE")) or self._airframe()
        elif not self.firmware and self.autopilot in (ARDUPILOT, PX4):
            self.firmware = autopilot_name(self.autopilot)
        self.is_quadplane |= self.parameters.get("Q_ENABLE", 0) > 0 and self.vehicle_type == 1

    def _settle_dataflash(self) -> None:
        if self.firmware != "PX4":
            self.autopilot = ARDUPILOT
        self.vehicle_type = _TYPE_OF_FIRMWARE.get(self.firmware, self.vehicle_type)
        frame_class = int(self.parameters.get("FRAME_CLASS", self.parameters.get("H_FRAME_CLASS", -1)))
        if self.vehicle_type == 2:
            word = re.match(r"[A-Z0-9]+", self.frame)
            by_word = _FRAME_WORDS.get(word[0].rstrip("_"), 2) if word else 2
            by_word = 4 if any(name.startswith(_HELI) for name in self.parameters) else by_word
            self.vehicle_type = _COPTER_FRAMES.get(frame_class, by_word)
        elif self.vehicle_type == 10 and frame_class == 2:
            self.vehicle_type = 11
        for name in ("SYSID_THISMAV", "MAV_SYSID"):
            self.sysid = self.sysid or _byte(self.parameters.get(name))

    def _airframe(self) -> int:
        number = self.parameters.get("SYS_AUTOSTART", 0)
        return next((kind for first, last, kind in _AIRFRAMES if first <= number <= last), 0)

    @property
    def vehicle(self) -> str:
        """The class of the vehicle, "" while nothing is known of it."""
        return vehicle_class(self.vehicle_type, self.is_quadplane) if self.vehicle_type else ""


def _byte(value: float | None) -> int:
    return int(value) if value is not None and 1 <= value <= 255 else 0


def release_text(number: int) -> str:
    """A packed version (ver_sw_release) as "1.15.0". Its low byte, the kind of release, says dev of most releases."""
    return f"{number >> 24 & 0xFF}.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}"


def ids_of_words(*words: int) -> list[str]:
    """Ids of a chip whose unique id is these three 32-bit words, as ArduPilot's id line shows them.

    The same chip's AUTOPILOT_VERSION.uid2 (bytes, little-endian words) and PX4's sys_uuid (words in reverse).
    """
    joined = "".join(f"{w:08x}" for w in words)
    raw = b"".join(w.to_bytes(4, "little") for w in words)
    reverse = "".join(f"{w:08x}" for w in reversed(words))
    return [f"ardupilot:{joined}", f"mavlink:{raw.hex()}", f"px4:000600000000{reverse}"]


def ids_of_px4(uuid: str) -> list[str]:
    """Ids of a board whose PX4 sys_uuid this is (36 digits: a kind of board, padding, three words in reverse)."""
    if len(uuid) == 36 and uuid.startswith("0006"):
        words = [int(uuid[i : i + 8], 16) for i in (28, 20, 12)]
        return [f"px4:{uuid}", *(i for i in ids_of_words(*words) if not i.startswith("px4:"))]
    return [f"px4:{uuid}"]


def ids_of_uid(uid: int, uid2: bytes) -> list[str]:
    """Ids by AUTOPILOT_VERSION: uid2 (18 bytes, zeros: none), else uid."""
    raw = bytes(uid2).rstrip(b"\0")
    if not raw:
        return [f"mavlink:{uid:016x}"] if uid else []
    if len(uid2) == 18 and uid2[:2] == b"\0\x06" and not any(uid2[2:6]):
        return [f"mavlink:{bytes(uid2).hex()}", *ids_of_px4(bytes(uid2).hex())]
    if len(raw) <= 12 and not all(32 <= b < 127 for b in raw):  # simulators put the computer's name there
        chip = bytes(uid2)[:12]
        return ids_of_words(*(int.from_bytes(chip[i : i + 4], "little") for i in (0, 4, 8)))
    return [f"mavlink:{raw.hex()}"]

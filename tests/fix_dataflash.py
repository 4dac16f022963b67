"""DataFlash logs made here: a writer, and a short flight as ArduCopter 4.x logs it. Invented values, real formats."""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

CHARS = {
    "a": "64s", "b": "b", "B": "B", "g": "e", "h": "h", "H": "H", "i": "i", "I": "I", "f": "f", "d": "d", "n": "4s",
    "N": "16s", "Z": "64s", "c": "h", "C": "H", "e": "i", "E": "I", "L": "i", "M": "B", "q": "q", "Q": "Q",
}  # fmt: skip

# type, name, format characters, columns, units and multipliers (FMTU)
COPTER = (
    (180, "UNIT", "QbZ", "TimeUS,Id,Label", "s--", "F--"),
    (181, "MULT", "Qbd", "TimeUS,Id,Mult", "s--", "F--"),
    (64, "PARM", "QNff", "TimeUS,Name,Value,Default", "s---", "F---"),
    (91, "MSG", "QZ", "TimeUS,Message", "s-", "F-"),
    (116, "GPS", "QBBIHBcLLeffffB", "TimeUS,I,Status,GMS,GWk,NSats,HDop,Lat,Lng,Alt,Spd,GCrs,VZ,Yaw,U",
     "s#-s-S-DUmnhnh-", "F--C-0BGGB000--"),
    (100, "ATT", "QccccCCCCB", "TimeUS,DesRoll,Roll,DesPitch,Pitch,DesYaw,Yaw,ErrRP,ErrYaw,AEKF",
     "sddddhhdh-", "FBBBBBBBB-"),
    (162, "IMU", "QBffffffIIfBBHH", "TimeUS,I,GyrX,GyrY,GyrZ,AccX,AccY,AccZ,EG,EA,T,GH,AH,GHz,AHz",
     "s#EEEooo--O--zz", "F-000000-----00"),
    (114, "BAT", "QBfffffcfB", "TimeUS,Inst,Volt,VoltR,Curr,CurrTot,EnrgTot,Temp,Res,RemPct",
     "s#vvAaXOw%", "F-000C0?00"),
    (94, "RCOU", "QHHHH", "TimeUS,C1,C2,C3,C4", "sYYYY", "F----"),
    (127, "MODE", "QMBB", "TimeUS,Mode,ModeNum,Rsn", "s---", "F---"),
    (192, "EV", "QB", "TimeUS,Id", "s-", "F-"),
    (197, "ARM", "QBIBB", "TimeUS,ArmState,ArmChecks,Forced,Method", "s----", "F----"),
    (195, "ERR", "QBB", "TimeUS,Subsys,ECode", "s--", "F--"),
    (0, "CTUN", "Qffffffefffhh", "TimeUS,ThI,ABst,ThO,ThH,DAlt,Alt,BAlt,DSAlt,SAlt,TAlt,DCRt,CRt",
     "s----mmmmmmnn", "F----00B000BB"),
    (76, "XKF1", "QBccCfffffffccce", "TimeUS,C,Roll,Pitch,Yaw,VN,VE,VD,dPD,PN,PE,PD,GX,GY,GZ,OH",
     "s#ddhnnnnmmmkkkm", "F-BBB0000000BBBB"),
    (165, "VIBE", "QBfffI", "TimeUS,IMU,VibeX,VibeY,VibeZ,Clip", "s#ooo-", "F-000-"),
)  # fmt: skip
UNITS = {
    "-": "", "s": "s", "#": "instance", "d": "deg", "h": "degheading", "k": "deg/s", "D": "deglatitude",
    "U": "deglongitude", "m": "m", "n": "m/s", "o": "m/s/s", "E": "rad/s", "v": "V", "A": "A", "a": "Ah", "X": "W.h",
    "O": "degC", "w": "Ohm", "%": "%", "S": "satellites", "Y": "us", "z": "Hz",
}  # fmt: skip
MULTIPLIERS = {"-": 0.0, "?": 1.0, "0": 1.0, "A": 0.1, "B": 0.01, "C": 0.001, "F": 1e-6, "G": 1e-7}
PARAMETERS = {"FRAME_CLASS": 1.0, "FRAME_TYPE": 1.0, "SYSID_THISMAV": 1.0, "BATT_CAPACITY": 5200.0, "RTL_ALT": 1500.0,
              "ARMING_CHECK": 1.0, "FLTMODE1": 5.0, "LOG_BITMASK": 176126.0, "WPNAV_SPEED": 1000.0}  # fmt: skip
TEXTS = ("ArduCopter V4.5.7 (2a3dc4b7)", "ChibiOS: 6a85082c", "CubeOrange 003C0038 31335112 35303035", "Frame: QUAD/X")


@dataclass
class DataFlashWriter:
    """Messages of a DataFlash log. Values go in as raw numbers, as the format character stores them; str as bytes."""

    out: bytearray = field(default_factory=bytearray)
    formats: dict[str, tuple[int, str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.define(128, "FMT", "BBnNZ", "Type,Length,Name,Format,Columns")

    def define(self, kind: int, name: str, chars: str, columns: str) -> None:
        """Writes an FMT and puts it in force."""
        packing = "<" + "".join(CHARS[c] for c in chars)
        self.formats[name] = kind, packing, columns
        self.write("FMT", kind, 3 + struct.calcsize(packing), name, chars, columns)

    def write(self, name: str, *values: float | str) -> None:
        """Writes one message of a defined type."""
        kind, packing, _ = self.formats.get(name, (128, "<BB4s16s64s", ""))
        raw = [v.encode() if isinstance(v, str) else v for v in values]
        self.out += b"\xa3\x95" + bytes([kind]) + struct.pack(packing, *raw)


def dataflash_log(
    seconds: float = 20.0,
    *,
    start_us: int = 60_000_000,
    armed_s: float = 2.0,
    disarmed_s: float | None = None,
    week: int = 2341,
    week_ms: int = 205_200_000,
    lat: float = 52.0116,
    lon: float = 4.3571,
    texts: tuple[str, ...] = TEXTS,
    parameters: dict[str, float] | None = None,
    has_gps: bool = True,
    rate_hz: int = 25,
) -> bytes:
    """A hop of a quadcopter: take-off in STABILIZE, LOITER, LAND; climbs north-east with up to 10 m/s.

    start_us: the boot's clock when the log begins; armed_s, disarmed_s: after that (disarmed 1 s before the end unless
    told; one beyond `seconds` leaves the log ending armed, an armed_s below 0 lets it start armed). week, week_ms: GPS
    time at the start. IMU at rate_hz (two instances), ATT, CTUN, RCOU, XKF1, VIBE at 10, GPS at 5, BAT at 2 Hz.
    """
    log = DataFlashWriter()
    _head(log, start_us, texts, PARAMETERS if parameters is None else parameters)
    disarmed_s = seconds - 1 if disarmed_s is None else disarmed_s
    way_m = 0.0
    for step in range(int(seconds * rate_hz)):
        t = step / rate_hz
        us = start_us + 1_000 + round(t * 1e6)
        speed = _speed(t, armed_s, disarmed_s)
        way_m += speed / rate_hz
        for at, name, *values in _events(armed_s, disarmed_s):
            if t <= at < t + 1 / rate_hz:
                log.write(name, us, *values)
        _every_step(log, us, t)
        if _is_due(step, rate_hz, 10):
            _ten_hertz(log, us, t, speed)
        if has_gps and _is_due(step, rate_hz, 5):
            place = lat + way_m * 0.6 / 111_319.5, lon + way_m * 0.8 / (111_319.5 * math.cos(math.radians(lat)))
            _gps(log, us, (week, week_ms + int(t * 1000)), place, 10 + 0.3 * way_m, speed)
        if _is_due(step, rate_hz, 2):
            amps, left = 12.0 * (speed > 0), 100 - int(t) % 100
            log.write("BAT", us, 0, 16.4 - 0.01 * t, 16.5, amps, 3.3 * t, 0.05 * t, 2950, 0.012, left)
    return bytes(log.out)


def _head(log: DataFlashWriter, us: int, texts: tuple[str, ...], parameters: dict[str, float]) -> None:
    for kind, name, chars, columns, _, _ in COPTER[:2]:
        log.define(kind, name, chars, columns)
    log.define(179, "FMTU", "QBNN", "TimeUS,FmtType,UnitIds,MultIds")
    for unit, label in UNITS.items():
        log.write("UNIT", us, ord(unit), label)
    for multiplier, factor in MULTIPLIERS.items():
        log.write("MULT", us, ord(multiplier), factor)
    for kind, name, chars, columns, units, multipliers in COPTER:
        if name not in log.formats:
            log.define(kind, name, chars, columns)
        log.write("FMTU", us, kind, units, multipliers)
    for text in texts:
        log.write("MSG", us, text)
    for name, value in parameters.items():
        log.write("PARM", us, name, value, float("nan"))


def _events(armed_s: float, disarmed_s: float) -> Iterator[tuple[float | str, ...]]:
    """What happens once: when (s), message, values."""
    yield 0.0, "MODE", 0, 0, 1
    yield armed_s, "ARM", 1, 65535, 0, 1
    yield armed_s, "EV", 10
    yield armed_s + 2, "MODE", 5, 5, 1
    yield armed_s + 4, "PARM", "RTL_ALT", 3000.0, 1500.0
    yield disarmed_s - 3, "MODE", 9, 9, 1
    yield disarmed_s - 0.5, "MSG", "SIM Hit ground at 0.5 m/s"
    yield disarmed_s, "ARM", 0, 65535, 0, 1
    yield disarmed_s, "EV", 11


def _is_due(step: int, rate_hz: int, hz: int) -> bool:
    return step * hz // rate_hz != (step - 1) * hz // rate_hz


def _speed(t: float, armed_s: float, disarmed_s: float) -> float:
    return max(0.0, min(10.0, 2 * (t - armed_s - 1), 2 * (disarmed_s - 1 - t)))


def _every_step(log: DataFlashWriter, us: int, t: float) -> None:
    for instance in (0, 1):
        wave = 0.05 * math.sin(3 * t + instance)
        rates, forces = (wave, -wave, wave / 2), (wave, 2 * wave, -9.81 + wave)
        log.write("IMU", us, instance, *rates, *forces, 0, 0, 41.5, 1, 1, 1000, 1000)


def _gps(
    log: DataFlashWriter, us: int, time: tuple[int, int], place: tuple[float, float], alt_m: float, speed: float
) -> None:
    lat, lon = (round(degrees * 1e7) for degrees in place)
    log.write("GPS", us, 0, 3, time[1], time[0], 14, 80, lat, lon, int(100 * alt_m), speed, 53.13, -0.3 * speed, 0.0, 1)


def _ten_hertz(log: DataFlashWriter, us: int, t: float, speed: float) -> None:
    roll, climb, throttle = int(300 * math.sin(t)), int(30 * speed), 0.3 * (speed > 0)
    log.write("ATT", us, roll, roll + 5, -roll, 5 - roll, 5313, 5310, 1, 1, 3)
    log.write("CTUN", us, 0.5, 0.0, throttle, 0.3, 20.0, 0.3 * speed, climb, 0.0, 0.0, 0.0, climb, climb)
    log.write("RCOU", us, *(1000 + int(50 * speed) + motor * 5 * (speed > 0) for motor in range(4)))
    velocity, position = (0.6 * speed, 0.8 * speed, -0.3 * speed, 0.0), (0.0, 0.0, 0.0)
    log.write("XKF1", us, 0, roll, -roll, 5310, *velocity, *position, 1, 2, 3, 1000)
    log.write("VIBE", us, 0, 0.5 * speed, 0.4 * speed, 0.9 * speed, 0)

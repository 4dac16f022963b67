"""One invented flight with a home to hide, as every kind of log: a way of some kilometres, and places wherever a log
can tell them: home, mission, fence, rally, terrain, other traffic, raw GNSS, texts, parameters, unknown messages."""

import struct
from dataclasses import dataclass

import numpy as np

from firmware_bridge.packing import Outgoing, pack
from firmware_bridge.tlog import write_tlog
from shared.layouts import LAYOUTS
from tests.fix_dataflash import DataFlashWriter
from tests.fix_private import TruePlaces
from tests.fix_ulog import UlogWriter

RATE_HZ, SECONDS = 5, 300
START_UTC_US = 1_760_000_000_000_000
BOOT_US = 60_000_000
GPS_WEEK, GPS_MS = 2387, 291_200_000
SECRETS = ("Oerlikon", "N47.39", "0021003A", "HB-XYZ", "000600000000abcdef12")
TEXTS = ("Arming motors", "home 47.3977419 8.5455938", "Field Oerlikon", "at N47.39 E008.54", "CubeOrange 0021003A 313",
         "EKF origin 473977418 85455939", "call HB-XYZ")  # fmt: skip


@dataclass(frozen=True)
class SecretFlight:
    """t_s [n] since boot; where it was, above sea level; home."""

    t_s: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    alt_m: np.ndarray

    @property
    def home(self) -> tuple[float, float]:
        return float(self.lat[0]), float(self.lon[0])

    @property
    def true(self) -> TruePlaces:
        return TruePlaces(self.lat, self.lon)

    def metres_from_home(self) -> np.ndarray:
        north = np.radians(self.lat - self.lat[0]) * 6_371_008.8
        east = np.radians(self.lon - self.lon[0]) * 6_371_008.8 * np.cos(np.radians(self.lat[0]))
        return np.hypot(north, east)


def secret_flight(lat: float = 47.3977418, lon: float = 8.5455939) -> SecretFlight:
    """Out over two kilometres in a bow and back, 20 s on the ground at either end."""
    t = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    s = np.clip((t - 20) / (SECONDS - 40), 0, 1)
    north, east = 2000 * np.sin(np.pi * s), 900 * np.sin(2 * np.pi * s)
    lats = lat + np.degrees(north / 6_371_008.8)
    lons = lon + np.degrees(east / (6_371_008.8 * np.cos(np.radians(lat))))
    return SecretFlight(t, lats, (lons + 180) % 360 - 180, 431.5 + 120 * np.sin(np.pi * s))


def _times(flight: SecretFlight) -> list[int]:
    return (BOOT_US + np.round(flight.t_s * 1e6)).astype(int).tolist()


def _e7(degrees: float) -> int:
    return round(degrees * 1e7)


_DATAFLASH = (
    (64, "PARM", "QNff", "TimeUS,Name,Value,Default"),
    (91, "MSG", "QZ", "TimeUS,Message"),
    (116, "GPS", "QBBIHBcLLeffffB", "TimeUS,I,Status,GMS,GWk,NSats,HDop,Lat,Lng,Alt,Spd,GCrs,VZ,Yaw,U"),
    (117, "POS", "QLLfff", "TimeUS,Lat,Lng,Alt,RelHomeAlt,RelOriginAlt"),
    (100, "ATT", "QcccCd", "TimeUS,DesRoll,Roll,Pitch,Yaw,Spare"),
    (127, "MODE", "QMBB", "TimeUS,Mode,ModeNum,Rsn"), (197, "ARM", "QBIBB", "TimeUS,ArmState,ArmChecks,Forced,Method"),
    (130, "ORGN", "QBLLe", "TimeUS,Type,Lat,Lng,Alt"), (131, "CMD", "QHHHffffLLfB",
     "TimeUS,CTot,CNum,CId,Prm1,Prm2,Prm3,Prm4,Lat,Lng,Alt,Frame"),
    (132, "TERR", "QBLLHffHHf", "TimeUS,Status,Lat,Lng,Spacing,TerrH,CHeight,Pending,Loaded,ROfs"),
    (133, "RALY", "QBBLLhB", "TimeUS,Tot,Seq,Lat,Lng,Alt,Flags"), (134, "ADSB", "QIiiiHHhH",
     "TimeUS,ICAO_address,Lat,Lng,Alt,Heading,Hor_vel,Ver_vel,Squark"),
    (135, "MAG", "Qhhh", "TimeUS,MagX,MagY,MagZ"), (136, "BARO", "Qffc", "TimeUS,Alt,Press,Temp"),
    (137, "XKF1", "QBccCfffffffccce", "TimeUS,C,Roll,Pitch,Yaw,VN,VE,VD,dPD,PN,PE,PD,GX,GY,GZ,OH"),
    (138, "UBXR", "Qiii", "TimeUS,EcefX,EcefY,EcefZ"), (139, "MINE", "Qdd", "TimeUS,A,B"),
    (140, "VIBE", "QBfffI", "TimeUS,IMU,VibeX,VibeY,VibeZ,Clip"),
)  # fmt: skip


def dataflash_rows(flight: SecretFlight) -> list[tuple[str, list[float | str]]]:
    """(message, raw values) in order."""
    (lat, lon), at = flight.home, _times(flight)
    out: list[tuple[str, list[float | str]]] = [("MSG", [at[0], t]) for t in TEXTS]
    out += [
        ("PARM", [at[0], n, v, 0.0])
        for n, v in (("SIM_OPOS_LAT", lat), ("SIM_OPOS_LNG", lon), ("ATC_RAT_RLL_P", 0.135))
    ]
    out += [("ORGN", [at[0], 0, _e7(lat), _e7(lon), 43150])]
    out += [("CMD", [at[0], 2, i, 16, 0, 0, 0, 0, _e7(lat + i / 100), _e7(lon), 30, 3]) for i in range(2)]
    out += [("RALY", [at[0], 1, 0, _e7(lat), _e7(lon), 30, 0]), ("MINE", [at[0], lat, lon])]
    for i, us in enumerate(at):
        y, x = float(flight.lat[i]), float(flight.lon[i])
        alt = float(flight.alt_m[i])
        if i in (15 * RATE_HZ, (SECONDS - 15) * RATE_HZ):
            out += [("ARM", [us, int(i < 50 * RATE_HZ), 0, 0, 1]), ("MODE", [us, 3, 3, 1])]
        ms = GPS_MS + us // 1000
        out += [("GPS", [us, 0, 3, ms, GPS_WEEK, 14, 80, _e7(y), _e7(x), int(alt * 100), 12.0, 53.1, 0.0, 0.0, 1])]
        out += [("POS", [us, _e7(y), _e7(x), alt, alt - 431.5, alt - 431.5])]
        out += [("ATT", [us, 100, 110, 120, 130, y])]
        out += [
            ("VIBE", [us, 0, 1.0 + i % 7, 2.0, 3.0, 0]),
            ("XKF1", [us, 0, 1, 2, 3, 4, 5, 6, 0, 700, 80, 9, 1, 2, 3, 0]),
        ]
        out += [("MAG", [us, 211, -33, 431]), ("BARO", [us, alt - 431.5, 101325 - alt * 11.8, 2150])]
        out += [("TERR", [us, 2, _e7(y), _e7(x), 30, 431.5, 9.0, 0, 9, 0.0]), ("UBXR", [us, *_ecef_cm(y, x)])]
        out += [("ADSB", [us, 0x4B1234, _e7(y + 0.001), _e7(x), 900, 1, 2, 3, 7000])]
    return out


def dataflash(flight: SecretFlight) -> bytes:
    """As ArduCopter's binary log."""
    log = DataFlashWriter()
    for kind, name, chars, columns in _DATAFLASH:
        log.define(kind, name, chars, columns)
    for name, values in dataflash_rows(flight):
        log.write(name, *values)
    return bytes(log.out)


def dataflash_text(flight: SecretFlight) -> bytes:
    """As the text of the same log."""
    lines = ["ArduCopter V4.5.7 (2a3dc4b7)", "Free RAM: 4096"]
    chars_of = {}
    for kind, name, chars, columns in ((128, "FMT", "BBnNZ", "Type,Length,Name,Format,Columns"), *_DATAFLASH):
        chars_of[name] = chars
        lines.append(f"FMT, {kind}, 89, {name}, {chars}, {columns}")
    for name, values in dataflash_rows(flight):
        words = [_word(c, v) for c, v in zip(chars_of[name], values, strict=True)]
        lines.append(", ".join([name, *words]))
    return ("\n".join(lines) + "\n").encode()


def _word(char: str, value: float | str) -> str:
    if char == "L":
        return f"{float(value) * 1e-7:.7f}"
    return f"{float(value) / 100:.2f}" if char in "cCeE" else str(value)


def _ecef_cm(lat: float, lon: float) -> list[int]:
    a, e2 = 6_378_137.0, 6.694379990141e-3
    y, x = np.radians(lat), np.radians(lon)
    n = a / np.sqrt(1 - e2 * np.sin(y) ** 2)
    return [round(100 * v) for v in (n * np.cos(y) * np.cos(x), n * np.cos(y) * np.sin(x), n * (1 - e2) * np.sin(y))]


def ulog(flight: SecretFlight) -> bytes:
    """As PX4's log."""
    log, (lat, lon) = UlogWriter(BOOT_US, flags=True), flight.home
    for name, words in {"sys_name": "PX4", "sys_uuid": SECRETS[4], "site": "Oerlikon", "ver_hw": "V6X"}.items():
        log.info(f"char[{len(words)}]", name, words.encode())
    log.info("int32_t", "time_ref_utc", 7200)
    for name, value in (("MC_ROLL_P", 6.5), ("SIH_LOC_LAT0", lat), ("SIH_LOC_LON0", lon)):
        log.parameter(name, value)
    log.topic("vehicle_attitude", q="float[4]")
    log.topic("sensor_gps", time_utc_usec="uint64_t", lat="int32_t", lon="int32_t", alt="int32_t",
              alt_ellipsoid="int32_t", vel_m_s="float", fix_type="uint8_t", satellites_used="uint8_t")  # fmt: skip
    log.topic("vehicle_global_position", lat="double", lon="double", alt="float", terrain_alt="float")
    log.topic(
        "vehicle_local_position", ref_lat="double", ref_lon="double", x="float", y="float", vx="float", ref_alt="float"
    )
    log.topic("home_position", lat="double", lon="double", alt="float")
    log.topic("vehicle_status", arming_state="uint8_t", nav_state="uint8_t", system_type="uint8_t")
    log.topic("sensor_mag", x="float", y="float", z="float")
    log.topic("vehicle_air_data", baro_alt_meter="float", baro_pressure_pa="float", baro_temp_celcius="float")
    log.topic("my_topic", a="double", b="double")
    log.topic("position_setpoint_triplet", lat="double", lon="double")
    log.topic("cpuload", load="float", spare="double")
    for i, t in enumerate(_times(flight)):
        y, x, alt = float(flight.lat[i]), float(flight.lon[i]), float(flight.alt_m[i])
        if i == 0:
            log.row("home_position", t, lat=lat, lon=lon, alt=alt)
            log.row("position_setpoint_triplet", t, lat=lat + 0.01, lon=lon)
            for text in TEXTS:
                log.text(t, 6, text)
        armed = 15 * RATE_HZ <= i < (SECONDS - 15) * RATE_HZ
        log.row("vehicle_status", t, arming_state=2 if armed else 1, nav_state=3, system_type=2)
        log.row("vehicle_attitude", t, q=[0.7, 0.1, 0.1, 0.7])
        log.row("sensor_gps", t, time_utc_usec=START_UTC_US + t, lat=_e7(y), lon=_e7(x), alt=int(alt * 1000),
                alt_ellipsoid=int(alt * 1000) + 47_000, vel_m_s=12.0, fix_type=3, satellites_used=14)  # fmt: skip
        log.row("vehicle_global_position", t, lat=y, lon=x, alt=alt, terrain_alt=431.5)
        log.row("vehicle_local_position", t, ref_lat=lat, ref_lon=lon, x=700.0, y=80.0, vx=4.0, ref_alt=431.5)
        log.row("sensor_mag", t, x=0.21, y=-0.03, z=0.43)
        log.row("vehicle_air_data", t, baro_alt_meter=alt, baro_pressure_pa=101325 - 11.8 * alt, baro_temp_celcius=21.5)
        log.row("my_topic", t, a=y, b=x)
        log.row("cpuload", t, load=0.25, spare=x)
    return bytes(log)


def tlog(flight: SecretFlight, stamped: bool = True) -> bytes:
    """As a ground station's telemetry log, or as a raw dump."""
    (lat, lon), at = flight.home, np.array(_times(flight))
    boot_ms, n = (at // 1000).astype(np.uint32), len(at)
    y, x = np.round(flight.lat * 1e7).astype(np.int32), np.round(flight.lon * 1e7).astype(np.int32)
    mm = np.round(flight.alt_m * 1000).astype(np.int32)
    armed = (flight.t_s >= 15) & (flight.t_s < SECONDS - 15)
    once = at[:1]
    messages = [
        _rows(0, at, type=2, autopilot=3, base_mode=np.where(armed, 209, 81), custom_mode=3, system_status=4),
        _rows(2, at, time_unix_usec=START_UTC_US + at, time_boot_ms=boot_ms),
        _rows(33, at, time_boot_ms=boot_ms, lat=y, lon=x, alt=mm, relative_alt=mm - 431_500, vx=1200),
        _rows(24, at, time_usec=at, lat=y, lon=x, alt=mm, fix_type=3, satellites_visible=14, alt_ellipsoid=mm + 47_000),
        _rows(30, at, time_boot_ms=boot_ms, roll=0.1, pitch=0.2, yaw=0.3),
        _rows(32, at, time_boot_ms=boot_ms, x=700.0, y=80.0, z=-9.0, vx=4.0),
        _rows(74, at, airspeed=12.0, groundspeed=12.0, alt=flight.alt_m, climb=0.0),
        _rows(116, at, time_boot_ms=boot_ms, xmag=211, ymag=-33, zmag=431, zacc=-1000),
        _rows(29, at, time_boot_ms=boot_ms, press_abs=1013.25 - 0.118 * flight.alt_m, temperature=2150),
        _rows(133, at, lat=y, lon=x, grid_spacing=100), _rows(136, at, lat=y, lon=x, terrain_height=431.5),
        _rows(246, at, ICAO_address=0x4B1234, lat=y + 9000, lon=x, callsign=b"HB-XYZ"),
        _rows(178, at, roll=0.1, altitude=flight.alt_m, lat=y, lng=x),
        _rows(87, at, time_boot_ms=boot_ms, lat_int=y, lon_int=x, alt=flight.alt_m),
        _rows(242, once, latitude=_e7(lat), longitude=_e7(lon), altitude=431_500),
        _rows(49, once, latitude=_e7(lat), longitude=_e7(lon), altitude=431_500),
        _rows(73, once, x=_e7(lat + 0.01), y=_e7(lon), seq=1, command=16), _rows(39, once, x=lat + 0.01, y=lon, seq=2),
        _rows(76, once, param5=lat, param6=lon, command=179), _rows(160, once, lat=lat, lng=lon),
        _rows(175, once, lat=_e7(lat), lng=_e7(lon)),
        _rows(148, once, uid2=np.frombuffer(SECRETS[4][:18].encode(), "u1")),
        _rows(233, once, len=24, data=np.frombuffer(struct.pack("<3i", *_ecef_cm(lat, lon)).ljust(180, b"\0"), "u1")),
        *(_rows(253, once + i, severity=6, text=t.encode()) for i, t in enumerate(TEXTS)),
        *(_rows(22, once, param_id=k.encode(), param_value=v, param_type=9)
          for k, v in (("SIM_OPOS_LAT", lat), ("ATC_RAT_RLL_P", 0.135))),
    ]  # fmt: skip
    frames = pack(messages, 1, 1)
    assert n and len(frames) > 10 * n
    return write_tlog(frames, START_UTC_US) if stamped else frames.data


def _rows(msgid: int, time_us: np.ndarray, **values: object) -> Outgoing:
    record = np.zeros(len(time_us), LAYOUTS[msgid].dtype)
    for name, value in values.items():
        record[name] = value
    return Outgoing(msgid, record, time_us.astype(np.int64))


LOGS = {"dataflash": dataflash, "dataflash-text": dataflash_text, "ulog": ulog, "tlog": tlog,
        "raw": lambda flight: tlog(flight, stamped=False)}  # fmt: skip

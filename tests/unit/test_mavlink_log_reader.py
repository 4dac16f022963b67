"""Telemetry logs and raw dumps as tables: times, boots, what is lost and why."""

from typing import Any

import numpy as np
import pytest

from firmware_bridge.log_tables import Damage, Portion, read_all
from firmware_bridge.mavlink_log import RawReader, TlogReader
from firmware_bridge.tlog import write_tlog
from shared.frames import join
from shared.layouts import LAYOUTS
from tests.fix_frames import UNKNOWN_ID, mavlink_frame

T0 = 1_700_000_000_000_000
ATTITUDE, STATUSTEXT, PARAM_VALUE = 30, 253, 22


def payload(msgid: int, **values: Any) -> bytes:
    record = np.zeros(1, LAYOUTS[msgid].dtype)
    for name, value in values.items():
        record[name] = value
    return record.tobytes()


def attitude(i: int, **kwargs: Any) -> bytes:
    return mavlink_frame(ATTITUDE, payload(ATTITUDE, time_boot_ms=1000 + i, roll=i / 8), seq=i % 256, **kwargs)


def stamped(i: int, frame: bytes | None = None, order: Any = "big", t0: int = T0) -> bytes:
    return (t0 + i * 100_000).to_bytes(8, order) + (attitude(i) if frame is None else frame)


def read(data: bytes, piece_bytes: int = 4 << 20) -> list[Portion]:
    portions = read_all(TlogReader(piece_bytes), [data])
    rest = unaccounted(portions, data)
    assert rest % 8 == 0 and rest <= 8 * sum(len(p.frames) for p in portions if p.frames)  # the stamps
    return portions


def unaccounted(portions: list[Portion], data: bytes) -> int:
    """Bytes of the log that are neither a frame's nor damage."""
    assert [p.start for p in portions] == [0, *(p.end for p in portions)][: len(portions)]
    assert (portions[-1].end if portions else 0) == len(data)
    lost = sum(d.size for p in portions for d in p.damage)
    return len(data) - lost - sum(len(p.frames.data) for p in portions if p.frames)


def damage(portions: list[Portion]) -> list[Damage]:
    return [d for p in portions for d in p.damage]


CLEAN = b"".join(stamped(i) for i in range(200))
ROW = len(stamped(0))


def test_a_message_type_is_a_table_per_source_with_stamps_and_places() -> None:
    data = CLEAN + stamped(200, attitude(200, sysid=9, compid=3))
    (portion,) = read(data)
    assert [(t.name, t.instance, len(t)) for t in portion.tables] == [
        ("ATTITUDE", 0x0101, 200),
        ("ATTITUDE", 0x0903, 1),
    ]
    table = portion.tables[0]
    assert table.time_us.tolist() == [T0 + i * 100_000 for i in range(200)]
    assert table.rows["roll"].tolist() == [i / 8 for i in range(200)]
    assert table.at.tolist() == [i * ROW + 8 for i in range(200)]
    assert portion.counts == {"ATTITUDE": 201} and portion.damage == []


def test_the_frames_behind_the_tables_are_the_log_again() -> None:
    portions = read(CLEAN, piece_bytes=1000)
    assert len(portions) > 5
    assert write_tlog(join([p.frames for p in portions if p.frames])) == CLEAN
    assert [p.start for p in portions[1:]] == [p.end for p in portions[:-1]]


def test_versions_signatures_and_short_payloads_read_alike() -> None:
    kinds = [
        attitude(1, version=1), attitude(1), attitude(1, signed=True),
        mavlink_frame(ATTITUDE, payload(ATTITUDE, time_boot_ms=1001, roll=1 / 8)[:8], seq=1),
    ]  # fmt: skip
    (portion,) = read(CLEAN + b"".join(stamped(200 + i, f) for i, f in enumerate(kinds)))
    assert portion.counts == {"ATTITUDE": 204}
    assert portion.tables[0].rows[-4:].tolist() == [portion.tables[0].rows[1].tolist()] * 4


def test_a_clock_that_runs_back_is_another_boot() -> None:
    data = CLEAN + b"".join(stamped(i, t0=T0 - 522_000_000) for i in range(30))
    first, second = read(data)
    assert (first.is_new_boot, second.is_new_boot) == (False, True)
    assert (second.start, second.end) == (len(CLEAN), len(data))
    assert int(second.tables[0].time_us[0]) == T0 - 522_000_000


def test_a_clock_that_steps_back_a_little_is_no_boot() -> None:
    assert len(read(CLEAN + stamped(195))) == 1


def test_twelve_zeros_are_damage_between_boots() -> None:
    first, second = read(CLEAN + bytes(12) + CLEAN)
    assert second.is_new_boot and second.damage == [Damage(len(CLEAN), 12, "zeros")]
    assert first.damage == []


@pytest.mark.parametrize("piece_bytes", [64, 500, 7_210])
def test_twelve_zeros_are_seen_wherever_pieces_end(piece_bytes: int) -> None:
    portions = read(CLEAN + bytes(12) + CLEAN, piece_bytes)
    assert [p.start for p in portions if p.is_new_boot] == [len(CLEAN)]


def test_a_hole_in_time_is_no_boot() -> None:
    (portion,) = read(CLEAN + stamped(200, t0=T0 + 3_369_000_000))
    assert int(np.diff(portion.tables[0].time_us)[-1]) > 3_369_000_000


def test_little_endian_stamps_are_read_as_they_were_meant() -> None:
    (portion,) = read(b"".join(stamped(i, order="little") for i in range(50)))
    assert portion.tables[0].time_us.tolist() == [T0 + i * 100_000 for i in range(50)]


def test_a_log_that_starts_mid_frame_finds_its_first_stamp() -> None:
    (portion,) = read(CLEAN[13:])
    assert portion.counts == {"ATTITUDE": 199}
    assert int(portion.tables[0].time_us[0]) == T0 + 100_000
    assert portion.damage == [Damage(0, ROW - 13, "no_magic")]


def test_frames_of_another_dialect_are_damage_and_the_others_stay() -> None:
    rows = [stamped(i) + (stamped(i, attitude(i, extra=9)) if i % 3 == 0 else b"") for i in range(300)]
    (portion,) = read(b"".join(rows))
    assert portion.counts == {"ATTITUDE": 300}
    assert [(d.size, d.reason, d.detail) for d in portion.damage] == [(ROW, "bad_crc", "1 frame")] * 100


def test_a_damaged_frame_costs_that_frame_only() -> None:
    at = 50 * ROW + 20
    (portion,) = read(CLEAN[:at] + bytes([CLEAN[at] ^ 1]) + CLEAN[at + 1 :])
    assert portion.counts == {"ATTITUDE": 199}
    assert portion.damage == [Damage(50 * ROW, ROW, "bad_crc", "1 frame")]


@pytest.mark.parametrize("frames", [(50, 53), (50, 51, 52, 53), tuple(range(40, 110))])
def test_many_damaged_frames_do_not_hide_each_other(frames: tuple[int, ...]) -> None:
    data = bytearray(CLEAN)
    for i in frames:
        data[i * ROW + 24] ^= 0x10
    (portion,) = read(bytes(data))
    assert portion.counts == {"ATTITUDE": 200 - len(frames)}


def test_unknown_ids_are_kept_when_their_neighbours_vouch_for_them() -> None:
    data = CLEAN + stamped(200, mavlink_frame(UNKNOWN_ID, b"abc")) + stamped(201)
    (portion,) = read(data)
    assert portion.counts == {"ATTITUDE": 201, f"UNKNOWN_{UNKNOWN_ID}": 1}
    assert portion.frames is not None and len(portion.frames) == 202 and len(portion.tables) == 1


def test_noise_that_looks_like_a_frame_of_an_unknown_id_is_no_message() -> None:
    noise = mavlink_frame(895904, b"\x03\x04", sysid=0, compid=0)
    (portion,) = read(CLEAN + b"garbage" + noise + b"more" + b"".join(stamped(i) for i in range(200, 300)))
    assert portion.counts == {"ATTITUDE": 300}


def test_a_torn_last_frame_is_damage() -> None:
    (portion, tail) = read(CLEAN[:-4])
    assert portion.counts == {"ATTITUDE": 199}
    assert tail.damage == [Damage(199 * ROW, ROW - 4, "torn_end")]


@pytest.mark.parametrize("lost", [b"\n", b"\r"], ids=["LF", "CR"])
def test_a_log_that_was_converted_as_text_keeps_its_whole_frames(lost: bytes) -> None:
    values = np.random.default_rng(1).normal(size=400)
    frames = [
        mavlink_frame(ATTITUDE, payload(ATTITUDE, time_boot_ms=1000 + 100 * i, roll=values[i]), seq=i % 256)
        for i in range(400)
    ]
    rows = [stamped(i, f, t0=T0 + (1 << 41)) for i, f in enumerate(frames)]  # no such byte in the head of the stamps
    whole = sum(lost not in f for f in frames)
    portions = read(b"".join(rows).replace(lost, b""))
    assert sum(p.counts.get("ATTITUDE", 0) for p in portions) == whole < 400
    times = np.concatenate([t.time_us for p in portions for t in p.tables])
    assert int(times.min()) >= T0 + (1 << 41) and int(times.max()) < T0 + (1 << 41) + 40_000_000


def test_a_log_of_garbage_is_damage_from_end_to_end() -> None:
    assert damage(read(b"nothing of the kind " * 50)) == [Damage(0, 1000, "no_magic")]
    assert read(b"") == []


def test_texts_and_parameters_are_read() -> None:
    words = mavlink_frame(STATUSTEXT, payload(STATUSTEXT, severity=4, text=b"PreArm: \x1b[31mBad GPS\r"))
    plain = payload(PARAM_VALUE, param_id=b"RTL_ALT", param_value=1500.0, param_type=6)
    bits = payload(PARAM_VALUE, param_id=b"SYS_AUTOSTART", param_value=np.int32(4001).view("f4"), param_type=6)
    data = CLEAN + b"".join(stamped(200 + i, f) for i, f in enumerate(
        [words, mavlink_frame(PARAM_VALUE, plain), mavlink_frame(PARAM_VALUE, bits)]
    ))  # fmt: skip
    (portion,) = read(data)
    assert [(t.time_us, t.severity, t.text) for t in portion.texts] == [(T0 + 20_000_000, 4, "PreArm: Bad GPS")]
    assert [(p.name, p.value) for p in portion.parameters] == [("RTL_ALT", 1500.0), ("SYS_AUTOSTART", 4001.0)]


def test_a_clock_that_starts_anew_all_the_time_costs_no_portion_each() -> None:
    data = b"".join(stamped(-20 * i, attitude(i)) for i in range(3000))
    assert len(read(data)) <= 1001


RAW = b"".join(attitude(i) for i in range(300))


def raw(data: bytes, piece_bytes: int = 4 << 20) -> list[Portion]:
    portions = read_all(RawReader(piece_bytes), [data])
    assert unaccounted(portions, data) == 0
    return portions


def test_a_raw_dump_has_the_vehicles_own_time() -> None:
    beats = b"".join(attitude(i) + mavlink_frame() for i in range(300))
    (portion,) = raw(beats)
    times = [(1000 + i) * 1000 for i in range(300)]
    assert [t.time_us.tolist() for t in portion.tables] == [times, times]


@pytest.mark.parametrize("piece_bytes", [100, 1_000, 1 << 20])
def test_a_reboot_in_a_raw_dump_is_another_boot(piece_bytes: int) -> None:
    later = [mavlink_frame(ATTITUDE, payload(ATTITUDE, time_boot_ms=90_000 + i)) for i in range(50)]
    portions = raw(b"".join(later) + RAW, piece_bytes)
    boots = [p for p in portions if p.is_new_boot]
    assert [b.start for b in boots] == [sum(map(len, later))]
    assert int(boots[0].tables[0].time_us[0]) == 1_000_000


def test_damage_in_a_raw_dump_is_told_with_its_place() -> None:
    row = len(attitude(0))
    portions = raw(RAW[: 100 * row] + b"noise" + RAW[100 * row : -3])
    assert damage(portions) == [
        Damage(100 * row, 5, "no_magic"),
        Damage(len(RAW) + 5 - row, row - 3, "torn_end"),
    ]


def test_a_raw_dump_without_any_time_has_none() -> None:
    (portion,) = raw(mavlink_frame() * 50)
    assert set(portion.tables[0].time_us.tolist()) == {np.iinfo(np.int64).min}

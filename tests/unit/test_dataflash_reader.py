"""Tables, texts, parameters, time and boots of binary DataFlash logs."""

import struct

import numpy as np
import pytest

from firmware_bridge.dataflash import DataFlashReader
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import survey
from firmware_bridge.log_tables import NO_TIME, Parameter, Portion, Table, Text, read_all
from tests.fix_dataflash import PARAMETERS, TEXTS, DataFlashWriter, dataflash_log


def read(data: bytes) -> list[Portion]:
    return read_all(DataFlashReader(), [data])


def table(portions: list[Portion], name: str, instance: int | None = None) -> Table:
    found = next((t for p in portions if (t := p.get(name, instance)) is not None), None)
    assert found is not None, name
    return found


def damage(portions: list[Portion]) -> list[tuple[int, int, str]]:
    return [(d.offset, d.size, d.reason) for p in portions for d in p.damage]


def test_a_flight_is_read_with_all_its_messages() -> None:
    data = dataflash_log(10)
    (portion,) = read(data)
    assert (portion.start, portion.end, portion.damage, portion.is_new_boot) == (0, len(data), [], False)
    assert portion.counts["IMU"] == 500
    assert portion.counts["ATT"] == 100
    assert portion.counts["GPS"] == 50


def test_fields_come_as_written_and_scaled_by_their_character() -> None:
    gps = table(read(dataflash_log(10)), "GPS")
    assert gps.rows["Lat"].dtype == np.dtype("<i4")
    assert gps.values("Lat")[0] == pytest.approx(52.0116, abs=1e-6)
    assert gps.values("HDop")[0] == pytest.approx(0.8)
    assert gps.values("GWk")[0] == 2341


def test_every_message_knows_its_place_and_time() -> None:
    data = dataflash_log(10)
    att = table(read(data), "ATT")
    for at, time_us in zip(att.at.tolist(), att.time_us.tolist(), strict=True):
        assert data[at : at + 11] == b"\xa3\x95\x64" + struct.pack("<Q", time_us)


def test_instances_are_told_apart_by_the_field_that_fmtu_names() -> None:
    portions = read(dataflash_log(10))
    assert [t.instance for t in portions[0].tables if t.name == "IMU"] == [0, 1]
    assert set(table(portions, "IMU", 1).rows["I"].tolist()) == {1}


def test_units_carry_their_multiplier_as_a_prefix() -> None:
    portions = read(dataflash_log(10))
    assert table(portions, "CTUN").unit["CRt"] == "cm/s"
    assert table(portions, "GPS").unit["Lat"] == "deglatitude"
    assert table(portions, "ATT").unit["Roll"] == "deg"
    assert table(portions, "ATT").unit["TimeUS"] == "µs"


def test_every_format_character_is_read() -> None:
    log = DataFlashWriter()
    log.define(1, "ALL1", "abBhHiIqQ", "a,b,B,h,H,i,I,q,Q")
    log.define(2, "ALL2", "fdgnNZcCeELM", "f,d,g,n,N,Z,c,C,e,E,L,M")
    log.write("ALL1", struct.pack("<32h", *range(32)), -1, 255, -2, 65535, -3, 2**32 - 1, -(2**40), 2**63 + 1)
    log.write("ALL2", 1.5, 2.25, 0.5, "abcd", "N", "Z", -123, 123, -456, 456, -1234567, 9)
    portions = read(bytes(log.out))
    first, second = table(portions, "ALL1"), table(portions, "ALL2")
    assert first.rows["a"].tolist() == [list(range(32))]
    assert first.rows[list("bBhHiIqQ")].tolist() == [(-1, 255, -2, 65535, -3, 2**32 - 1, -(2**40), 2**63 + 1)]
    assert second.rows[list("fdgnNZM")].tolist() == [(1.5, 2.25, 0.5, b"abcd", b"N", b"Z", 9)]
    scaled = [second.values(name)[0] for name in "cCeEL"]
    assert scaled == pytest.approx([-1.23, 1.23, -4.56, 4.56, -0.1234567])


def test_what_the_firmware_said_is_given_as_texts() -> None:
    portions = read(dataflash_log(10))
    texts = portions[0].texts
    assert [t.text for t in texts] == [*TEXTS, "SIM Hit ground at 0.5 m/s"]
    assert isinstance(texts[0], Text)
    assert texts[0].severity == 6


def test_parameters_are_initial_until_they_change() -> None:
    parameters = read(dataflash_log(10))[0].parameters
    assert {p.name: p.value for p in parameters if p.is_initial} == PARAMETERS
    assert [p for p in parameters if not p.is_initial] == [Parameter("RTL_ALT", 3000.0, 66_001_000, False)]


def test_a_parameter_logged_again_with_the_same_value_has_not_changed() -> None:
    log = DataFlashWriter()
    log.define(64, "PARM", "QNf", "TimeUS,Name,Value")
    for time_us in (1, 2):
        log.write("PARM", time_us, "RTL_ALT", 15.0)
        log.write("PARM", time_us, "ODD", float("nan"))
    assert all(p.is_initial for p in read(bytes(log.out))[0].parameters)


def test_messages_without_a_time_take_that_of_the_last_one_before_them() -> None:
    log = DataFlashWriter()
    log.define(3, "MODE", "Mh", "Mode,ThrCrs")
    log.define(131, "IMU", "If", "TimeMS,GyrX")
    log.define(130, "GPS", "BIHLLI", "Status,TimeMS,Week,Lat,Lng,T")
    log.write("MODE", 0, 1)
    log.write("IMU", 500, 0.0)
    log.write("MODE", 5, 1)
    log.write("GPS", 3, 109_206_800, 1774, 1, 2, 700)
    log.write("MODE", 6, 1)
    portions = read(bytes(log.out))
    assert table(portions, "MODE").time_us.tolist() == [NO_TIME, 500_000, 700_000]
    assert table(portions, "GPS").time_us.tolist() == [700_000]


def test_a_clock_of_a_sensor_is_not_the_clock_of_the_log() -> None:
    log = DataFlashWriter()
    log.define(1, "IMU", "If", "TimeMS,GyrX")
    log.define(2, "ACC1", "IIf", "TimeMS,TimeUS,AccX")
    for number in range(10):
        log.write("IMU", 90_000 + number, 0.0)
        for sample in range(10):
            log.write("ACC1", number, sample, 0.0)
    (portion,) = read(bytes(log.out))
    assert portion.damage == []
    assert table([portion], "ACC1").time_us[0] == 90_000_000


def test_damage_names_the_type_that_is_not_known() -> None:
    data = dataflash_log(3)
    at = data.index(b"\xa3\x95\x64", len(data) // 2)
    (portion,) = read(data[: at + 2] + b"\xee" + data[at + 3 :])
    assert [(d.offset, d.size, d.reason, d.detail) for d in portion.damage] == [(at, 28, "unknown_type", "type 238")]


def test_gps_time_of_week_is_the_clock_of_a_log_that_has_no_other() -> None:
    log = DataFlashWriter()
    log.define(130, "GPS", "BIHLL", "Status,TimeMS,Week,Lat,Lng")
    log.define(1, "ATT", "cc", "Roll,Pitch")
    log.write("GPS", 3, 109_206_800, 1774, 1, 2)
    log.write("ATT", 100, 200)
    assert table(read(bytes(log.out)), "ATT").time_us.tolist() == [109_206_800_000]


def test_a_message_type_without_fields_is_counted() -> None:
    log = DataFlashWriter()
    log.define(10, "STRT", "", "")
    log.write("STRT")
    (portion,) = read(bytes(log.out))
    assert portion.counts["STRT"] == 1
    assert len(table([portion], "STRT")) == 1


def test_a_second_header_begins_a_boot() -> None:
    first, second = dataflash_log(4, start_us=500_000_000), dataflash_log(5, start_us=20_000_000)
    portions = read(first + second)
    assert [(p.start, p.end, p.is_new_boot) for p in portions] == [
        (0, len(first), False),
        (len(first), len(first) + len(second), True),
    ]
    assert not damage(portions)
    assert table(portions[1:], "FMT").time_us[0] == NO_TIME


def test_the_tail_of_a_log_is_read_by_the_formats_of_the_next_one() -> None:
    log = dataflash_log(4)
    tail = log[log.index(b"\xa3\x95\x64", len(log) // 2) :]
    first, second = read(tail + log)
    assert first.damage == []
    assert (first.end, second.is_new_boot) == (len(tail), True)
    parts = [table([portion], "ATT").rows.tobytes() for portion in (first, second)]
    assert parts[0]
    assert parts[1].endswith(parts[0])


def test_a_clock_that_falls_back_begins_a_boot() -> None:
    log = DataFlashWriter()
    log.define(192, "EV", "QB", "TimeUS,Id")
    for time_us in [*range(900_000_000, 900_020_000, 1000), *range(1_000_000, 1_020_000, 1000)]:
        log.write("EV", time_us, 1)
    portions = read(bytes(log.out))
    assert [p.is_new_boot for p in portions] == [False, True]
    assert [table([p], "EV").time_us[0] for p in portions] == [900_000_000, 1_000_000]


def test_a_hole_in_time_is_no_reboot_and_no_damage() -> None:
    log = DataFlashWriter()
    log.define(192, "EV", "QB", "TimeUS,Id")
    for time_us in [*range(1_000_000, 1_020_000, 1000), *range(90_000_000, 90_020_000, 1000)]:
        log.write("EV", time_us, 1)
    (portion,) = read(bytes(log.out))
    assert portion.damage == []
    assert len(table([portion], "EV")) == 40


def test_an_impossible_stamp_in_a_sound_chain_costs_only_the_stamp() -> None:
    log = DataFlashWriter()
    log.define(192, "EV", "QB", "TimeUS,Id")
    times = list(range(1_000_000, 1_030_000, 1000))
    times[12] |= 1 << 55
    for time_us in times:
        log.write("EV", time_us, 1)
    portions = read(bytes(log.out))
    event = table(portions, "EV")
    assert len(event) == 30
    assert event.time_us[12] == event.time_us[11]
    assert event.time_us.max() == times[-1]
    assert damage(portions) == [(int(event.at[12]), 0, "bad_time")]


def test_messages_made_up_by_garbage_do_not_poison_the_time() -> None:
    sound = dataflash_log(6)
    cut = sound.index(b"\xa3\x95\x64", 30_000)
    garbage = b"\x91" * 40 + 2 * (b"\xa3\x95\xc0" + struct.pack("<QB", 1 << 50, 1)) + b"\x91" * 40
    portions = read(sound[:cut] + garbage + sound[cut:])
    assert sum(p.counts.get("EV", 0) for p in portions) == 2
    assert max(int(t.time_us.max()) for p in portions for t in p.tables) < 67_000_000
    assert all(not p.is_new_boot for p in portions)
    assert sum(size for _, size, _ in damage(portions)) >= len(garbage)


def test_how_a_log_is_fed_changes_nothing() -> None:
    data = dataflash_log(5)
    whole = read_all(DataFlashReader(8192), [data])
    split = read_all(DataFlashReader(8192), [data[i : i + 777] for i in range(0, len(data), 777)])
    assert [(p.start, p.end, p.counts) for p in whole] == [(p.start, p.end, p.counts) for p in split]
    for one, other in zip(whole, split, strict=True):
        for a, b in zip(one.tables, other.tables, strict=True):
            assert a.rows.tobytes() == b.rows.tobytes()
            assert (a.at == b.at).all()


def test_blocks_give_what_the_whole_gives() -> None:
    data = dataflash_log(8)
    (whole,) = read(data)
    blocks = read_all(DataFlashReader(8192), [data])
    assert len(blocks) > 3
    for one in whole.tables:
        parts = [t for p in blocks for t in p.tables if (t.name, t.instance) == (one.name, one.instance)]
        assert np.concatenate([t.time_us for t in parts]).tolist() == one.time_us.tolist()
        assert b"".join(t.rows.tobytes() for t in parts) == one.rows.tobytes()


def test_a_hole_over_many_blocks_is_one_place_of_damage_in_the_survey() -> None:
    log = dataflash_log(3)
    found = survey(LogSource(log + bytes(5 << 20) + log))
    assert [(d.offset, d.size, d.reason) for d in found.damage] == [(len(log), 5 << 20, "zeros")]

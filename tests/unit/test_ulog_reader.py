"""The ULog reader, message type by message type, and the troubles of real logs."""

import struct

import numpy as np
import pytest

from firmware_bridge.log_tables import NO_TIME, Damage, Portion, read_all
from firmware_bridge.ulog_reader import ULogReader
from tests.fix_ulog import UlogWriter, events_metadata, hover, ulog_log


def read(data: bytes) -> list[Portion]:
    return read_all(ULogReader(), [data])


def last(log: UlogWriter | bytes) -> Portion:
    return read(bytes(log))[-1]


def damage(data: bytes) -> list[Damage]:
    return [d for p in read(data) for d in p.damage if d.size]


def simple(rows: int = 20) -> UlogWriter:
    log = UlogWriter()
    log.topic("battery_status", voltage_v="float", cells="uint16_t[3]")
    for i in range(rows):
        log.row("battery_status", 2_000_000 + i * 1_000, voltage_v=i / 2, cells=[i, 2, 3], instance=i % 2)
    return log


def test_a_topic_is_one_table_per_instance_with_its_fields_as_written() -> None:
    portion = last(simple())
    assert [(t.name, t.instance, len(t)) for t in portion.tables] == [
        ("battery_status", 0, 10),
        ("battery_status", 1, 10),
    ]
    table = portion.get("battery_status", 1)
    assert table is not None and table.rows.dtype.names == ("timestamp", "voltage_v", "cells")
    assert table.rows["voltage_v"].tolist() == [i / 2 for i in range(1, 20, 2)]
    assert table.rows["cells"].tolist() == [[i, 2, 3] for i in range(1, 20, 2)]
    assert table.time_us.tolist() == [2_000_000 + i * 1_000 for i in range(1, 20, 2)]
    assert portion.counts == {"battery_status": 20}


def test_a_row_says_where_in_the_log_it_stands() -> None:
    data = bytes(simple())
    table = last(data).tables[0]
    at = int(table.at[3])
    assert data[at + 2 : at + 3] == b"D"
    assert struct.unpack_from("<Q", data, at + 5)[0] == table.time_us[3]


def test_nested_types_are_flattened_and_padding_is_left_out() -> None:
    log = UlogWriter()
    log.format("esc_report", [("rpm", "int32_t"), ("state", "uint8_t"), ("_padding0", "uint8_t[3]")])
    log.topic(
        "esc_status",
        count="uint8_t",
        _padding0="uint8_t[3]",
        esc="esc_report[2]",
        name="char[4]",
        _padding1="uint8_t[2]",
    )
    body = struct.pack("<QB3xiB3xiB3x4s", 7, 2, 1000, 5, -2000, 6, b"ab")
    log.sample("esc_status", body)
    log.sample("esc_status", body + bytes(2))  # older firmware logs the padding at the end too
    rows = last(log).tables[0].rows
    assert rows.dtype.names == (
        "timestamp",
        "count",
        "esc[0].rpm",
        "esc[0].state",
        "esc[1].rpm",
        "esc[1].state",
        "name",
    )
    assert rows.tolist() == [(7, 2, 1000, 5, -2000, 6, b"ab")] * 2


def test_parameters_at_the_start_are_initial_and_later_ones_are_changes_in_time() -> None:
    log = simple()
    log.parameter("MAV_SYS_ID", 7)
    log.parameter("MC_ROLL_P", 6.5)
    log.change("MC_ROLL_P", 7.0)
    found = [(p.name, p.value, p.time_us, p.is_initial) for p in last(log).parameters]
    assert found == [
        ("MAV_SYS_ID", 7.0, NO_TIME, True),
        ("MC_ROLL_P", 6.5, NO_TIME, True),
        ("MC_ROLL_P", 7.0, 2_019_000, False),
    ]


def test_facts_come_as_the_log_spells_them() -> None:
    log = simple()
    log.info("char[3]", "sys_name", b"PX4")
    log.info("uint32_t", "ver_sw_release", 0x010F00FF)
    log.default("MIS_TAKEOFF_ALT", 2.5, kinds=3)
    log.infos("console", b"one ")
    log.infos("console", b"two", is_continued=True)
    log.infos("console", b"again", late=True)
    portions = read(bytes(log))
    info = {k: v for p in portions for k, v in p.info.items()}
    assert info == {
        "start_timestamp": 1_000_000, "file_version": 1, "sys_name": "PX4", "ver_sw_release": 0x010F00FF,
        "default_parameters": {0: {"MIS_TAKEOFF_ALT": 2.5}, 1: {"MIS_TAKEOFF_ALT": 2.5}},
        "console": [["one ", "two"], ["again"]],
    }  # fmt: skip


def test_texts_are_told_tagged_or_not_as_they_are() -> None:
    log = simple()
    log.text(3_000_000, 4, "[commander] Low battery\t")
    log.text(3_000_001, 2, "from a task", tag=9)
    assert [(t.time_us, t.severity, t.text) for t in last(log).texts] == [
        (3_000_000, 4, "[commander] Low battery\t"),
        (3_000_001, 2, "from a task"),
    ]


def test_a_dropout_is_damage_of_no_bytes() -> None:
    log = simple()
    log.dropout(213)
    log.sync()
    assert [(d.size, d.reason, d.detail) for d in last(log).damage] == [(0, "dropout", "213 ms")]


def event_log(with_metadata: bool = True) -> UlogWriter:
    log = UlogWriter()
    log.topic("event", id="uint32_t", event_sequence="uint16_t", arguments="uint8_t[25]", log_levels="uint8_t")
    numbers = {5: "Takeoff detected", 6: "RTL: climb to {1:.1m_v}, <param>RTL_TYPE</param> {2}"}
    packed = events_metadata(numbers, {6: ["float", "int8_t"]})
    if with_metadata:
        log.infos("metadata_events", packed[:50], kind="uint8_t")
    log.row("event", 2_000_000, id=1 << 24 | 5, log_levels=0x66)
    log.row("event", 2_000_001, id=1 << 24 | 6, arguments=[*struct.pack("<fb", 12.25, -3)], log_levels=0x44)
    log.row("event", 2_000_002, id=1 << 24 | 6, log_levels=0x99)  # protocol: for no one to read
    if with_metadata:
        log.infos("metadata_events", packed[50:], is_continued=True, kind="uint8_t", late=True)
    return log


def test_events_are_told_in_the_words_of_the_logs_own_metadata() -> None:
    texts = [(t.time_us, t.severity, t.text) for p in read(bytes(event_log())) for t in p.texts]
    assert texts == [(2_000_000, 6, "Takeoff detected"), (2_000_001, 4, "RTL: climb to 12.2 m, RTL_TYPE -3")]


def test_events_without_metadata_are_told_by_number() -> None:
    texts = [t.text for p in read(bytes(event_log(with_metadata=False))) for t in p.texts]
    assert texts == ["[Unknown event with ID 16777221]", "[Unknown event with ID 16777222]"]


def test_stamps_stay_as_they_are_written() -> None:
    log = UlogWriter(start_us=0)
    log.topic("home_position", lat="double")
    for stamp in (409_000_000, 0, 409_000_001, 409_000_000 + 1_174_000_000, 2**64 - 5):
        log.row("home_position", stamp)
    assert last(log).tables[0].time_us.tolist() == [409_000_000, 0, 409_000_001, 1_583_000_000, NO_TIME]


def test_appended_data_is_another_boot_even_behind_a_torn_message() -> None:
    log = simple()
    log.junk(b"\x20\x00D\x00\x00")  # the power was cut within a message
    log.append()
    for i in range(5):
        log.row("battery_status", 500 + i, voltage_v=1.0)
    portions = [p for p in read(bytes(log)) if p.tables]
    assert [(p.is_new_boot, sum(p.counts.values())) for p in portions] == [(False, 20), (True, 5)]
    assert [(d.size, d.reason) for p in portions for d in p.damage] == [(5, "torn_end")]


def test_a_crash_dump_that_was_appended_is_no_boot() -> None:
    log = simple()
    log.append()
    log.infos("hard_fault", b"registers", late=True)
    portions = read(bytes(log))
    assert not any(p.is_new_boot for p in portions)
    assert {k: v for p in portions for k, v in p.info.items()}["hard_fault"] == [["registers"]]


def test_logs_one_behind_the_other_are_boots_of_their_own() -> None:
    data = bytes(simple()) + bytes(hover(seconds=1))
    portions = read(data)
    assert [p.start for p in portions if p.is_new_boot] == [len(bytes(simple()))]
    assert damage(data) == []
    assert sum(p.counts.get("vehicle_attitude", 0) for p in portions) == 20


def test_flags_that_this_reader_does_not_know_are_said() -> None:
    data = bytearray(ulog_log(seconds=1))
    data[16 + 3 + 9] = 4
    found = [d for p in read(bytes(data)) for d in p.damage if d.reason == "unknown_flags"]
    assert len(found) == 1 and damage(bytes(data)) == []


def test_a_message_of_a_type_of_the_future_is_stepped_over() -> None:
    log = simple()
    log.raw("z", b"whatever")
    for i in range(5):
        log.row("battery_status", 3_000_000 + i)
    portion = last(log)
    assert portion.counts == {"battery_status": 25}
    assert [(d.size, d.reason) for d in portion.damage] == [(11, "unknown_type")]


def test_a_lost_subscription_costs_its_topic_only() -> None:
    data = bytes(simple(200))
    at = data.index(b"battery_status", data.index(b"A\x01"))
    hurt = data[: at - 6] + data[at + len(b"battery_status") :]  # instance 1 is never subscribed
    portion = last(hurt)
    assert portion.counts == {"battery_status": 100}
    assert {d.reason for d in portion.damage} == {"unknown_id"} and len(portion.damage) == 100


def test_a_topic_without_a_format_costs_that_topic_only() -> None:
    log = simple()
    log.raw("A", struct.pack("<BH", 0, 77) + b"never_defined")
    log.raw("D", struct.pack("<H", 77) + bytes(20))
    for i in range(5):
        log.row("battery_status", 3_000_000 + i)
    portion = last(log)
    assert portion.counts == {"battery_status": 25}
    assert [(d.reason, d.detail) for d in portion.damage] == [("bad_format", "never_defined")]


LOG = ulog_log(seconds=4)
ROWS = sum(sum(p.counts.values()) for p in read(LOG))


def rows_of(data: bytes) -> int:
    return sum(sum(p.counts.values()) for p in read(data))


@pytest.mark.parametrize("size", [b"\0\0", b"\xff\xff", b"\x50\x01"], ids=["zero", "huge", "wrong"])
def test_a_damaged_length_costs_that_message_only(size: bytes) -> None:
    at = int(last(LOG).tables[0].at[3])
    hurt = LOG[:at] + size + LOG[at + 2 :]
    assert rows_of(hurt) == ROWS - 1
    lost = LOG.index(b"D", at + 3)
    assert [(d.offset, d.reason) for d in damage(hurt)] == [(at, "bad_length")]
    assert damage(hurt)[0].size < lost


def test_lost_bytes_cost_the_messages_they_were_of() -> None:
    at = int(last(LOG).tables[2].at[10])
    assert rows_of(LOG[: at + 7] + LOG[at + 20 :]) >= ROWS - 2


def test_zeros_in_a_log_cost_what_they_overwrote() -> None:
    hurt = LOG[:20_000] + bytes(4096) + LOG[24_096:]
    found = damage(hurt)
    assert sum(d.size for d in found) < 4096 + 200
    assert rows_of(hurt) >= ROWS - 4096 // 15


def test_a_log_of_zeros_behind_its_end_says_so() -> None:
    assert damage(LOG + bytes(5000)) == [Damage(len(LOG), 5000, "zeros")]


def test_a_torn_end_is_damage() -> None:
    at = int(max(t.at[-1] for t in last(LOG).tables))
    assert damage(LOG[: at + 9]) == [Damage(at, 9, "torn_end")]


def test_without_its_header_a_log_still_gives_what_can_be_read() -> None:
    portions = read(LOG[16 + 43 + 5 :])  # header, flags, and the start of the first fact
    assert sum(sum(p.counts.values()) for p in portions) == ROWS
    assert portions[0].damage[0].reason == "bad_header"


def test_nothing_at_all_is_nothing() -> None:
    assert read(b"") == []
    assert [(d.offset, d.size, d.reason) for d in damage(b"UL")] == [(0, 2, "bad_header")]


def test_one_flipped_bit_anywhere_costs_little() -> None:
    rng = np.random.default_rng(3)
    begins = LOG.index(b"A\x00\x00\x00")
    for at in rng.integers(begins + 2_000, len(LOG), 60).tolist():
        hurt = bytearray(LOG)
        hurt[at] ^= 1 << int(rng.integers(0, 8))
        assert rows_of(bytes(hurt)) >= ROWS - 3

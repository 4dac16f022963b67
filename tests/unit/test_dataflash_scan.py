"""Where messages are found in sound and in damaged DataFlash bytes."""

import struct

import numpy as np
import pytest

from firmware_bridge.dataflash_formats import Formats
from firmware_bridge.dataflash_scan import LOOK_AHEAD, MAX_SIZE, Scanned, scan
from tests.fix_dataflash import DataFlashWriter, dataflash_log


def small_log(count: int = 20) -> tuple[bytes, list[int]]:
    """FMT of two types, then messages of 12 and 13 bytes by turns; and where each of those begins."""
    log = DataFlashWriter()
    log.define(192, "EV", "QB", "TimeUS,Id")
    log.define(195, "ERR", "QBB", "TimeUS,Subsys,ECode")
    places = []
    for number in range(count):
        places.append(len(log.out))
        if number % 2:
            log.write("ERR", 1000 * number, 5, 1)
        else:
            log.write("EV", 1000 * number, 77)
    return bytes(log.out), places


def found(scanned: Scanned) -> list[int]:
    return scanned.at[scanned.types != 128].tolist()


def test_a_sound_log_is_messages_from_end_to_end() -> None:
    data = dataflash_log(3)
    scanned = scan(data, Formats())
    assert scanned.damage == []
    assert scanned.at[0] == 0
    assert (scanned.at[1:] == scanned.at[:-1] + scanned.sizes[:-1]).all()
    assert scanned.at[-1] + scanned.sizes[-1] == scanned.end == len(data)


def test_a_head_within_a_payload_is_no_message() -> None:
    log = DataFlashWriter()
    log.define(91, "MSG", "QZ", "TimeUS,Message")
    log.formats["raw"] = 91, "<Q64s", ""
    log.out += b"\xa3\x95\x5b" + struct.pack("<Q64s", 5, b"x\xa3\x95\x5b and \xa3\x95\x80")
    log.write("MSG", 6, "sound")
    scanned = scan(bytes(log.out), Formats())
    assert scanned.types.tolist() == [128, 128, 91, 91]
    assert scanned.damage == []


@pytest.mark.parametrize("head", [b"\x23\x95", b"\xa3\x94", b"\0\0", b"\xff\xff", b"\xa3\x95"])
def test_a_message_with_a_broken_head_costs_itself_alone(head: bytes) -> None:
    data, places = small_log()
    hit = places[7]
    broken = data[:hit] + head + (b"\x07" if head == b"\xa3\x95" else data[hit + 2 : hit + 3]) + data[hit + 3 :]
    scanned = scan(broken, Formats())
    assert found(scanned) == [at for at in places if at != hit]
    assert [(start, end) for start, end, _ in scanned.damage] == [(hit, places[8])]


@pytest.mark.parametrize(("fill", "reason"), [(b"\0", "zeros"), (b"\xff", "erased")])
def test_a_hole_is_called_by_what_fills_it(fill: bytes, reason: str) -> None:
    data, places = small_log()
    start, end = places[5], places[12]
    scanned = scan(data[:start] + fill * (end - start) + data[end:], Formats())
    assert scanned.damage == [(start, end, reason)]
    assert found(scanned) == places[:5] + places[12:]


def test_a_message_that_a_cut_left_short_is_lost_and_the_next_is_read() -> None:
    data, places = small_log()
    cut = data[: places[5] + 6] + data[places[9] :]
    scanned = scan(cut, Formats())
    assert scanned.damage == [(places[5], places[5] + 6, "bad_length")]
    assert len(found(scanned)) == 5 + 11


def test_a_message_that_bytes_came_into_is_lost() -> None:
    data, places = small_log()
    scanned = scan(data[: places[5] + 6] + b"\r" + data[places[5] + 6 :], Formats())
    assert scanned.damage == [(places[5], places[6] + 1, "bad_header")]
    assert len(found(scanned)) == 19


def test_a_torn_last_message_is_damage() -> None:
    data, places = small_log()
    scanned = scan(data[:-4], Formats())
    assert scanned.damage == [(places[-1], len(data) - 4, "torn_end")]


def test_a_lone_head_in_garbage_is_no_message() -> None:
    data, _ = small_log()
    garbage = b"\x11\x22\x33" * 30 + b"\xa3\x95\xc0" + b"\x44" * 60
    scanned = scan(data + garbage + data, Formats())
    assert scanned.damage == [(len(data), len(data) + len(garbage), "bad_header")] or (
        scanned.damage[0][1] == len(data) + len(garbage) and len(scanned.damage) == 1
    )
    assert len(data) + garbage.index(b"\xa3\x95") not in scanned.at


def test_messages_of_a_type_without_fmt_are_damage_until_it_is_defined() -> None:
    log = DataFlashWriter()
    log.define(192, "EV", "QB", "TimeUS,Id")
    log.write("EV", 1, 1)
    begin = len(log.out)
    log.out += b"\xa3\x95\xc3" + struct.pack("<QBB", 2, 5, 1)
    log.write("EV", 3, 1)
    log.define(195, "ERR", "QBB", "TimeUS,Subsys,ECode")
    log.write("ERR", 4, 5, 1)
    scanned = scan(bytes(log.out), Formats())
    assert scanned.damage == [(begin, begin + 13, "unknown_type")]
    assert scanned.types.tolist() == [128, 128, 192, 192, 128, 195]


def test_an_fmt_may_define_a_type_anew() -> None:
    log = DataFlashWriter()
    log.define(192, "EV", "QB", "TimeUS,Id")
    log.write("EV", 1, 1)
    log.define(192, "EV", "QBB", "TimeUS,Id,More")
    log.write("EV", 2, 1, 9)
    scanned = scan(bytes(log.out), Formats())
    assert scanned.damage == []
    old, new = (scanned.formats[kind] for kind in scanned.kinds[scanned.types == 192].tolist())
    assert (old.columns, new.columns) == (("TimeUS", "Id"), ("TimeUS", "Id", "More"))


def test_a_length_that_contradicts_the_format_characters_gives_way_to_the_chain() -> None:
    data, places = small_log()
    at = data.index(b"\xa3\x95\x80\xc0")
    scanned = scan(data[: at + 4] + b"\x0e" + data[at + 5 :], Formats())
    assert found(scanned) == places
    assert scanned.damage == []


@pytest.mark.parametrize(("byte", "other"), [(b"\n", b"\r"), (b"\r", b"\n")])
def test_an_fmt_that_lost_its_line_end_byte_still_defines_its_type(byte: bytes, other: bytes) -> None:
    log = DataFlashWriter()
    log.define(byte[0], "STRT", "QB", "TimeUS,Id")
    log.define(192, "EV", "QB", "TimeUS,Id")
    log.write("EV", 1, other[0])
    whole = bytes(log.out)
    formats = Formats()
    scan(whole.replace(byte, b""), formats)
    assert formats.by_type[byte[0]].name == "STRT"


def test_pieces_give_what_the_whole_gives() -> None:
    data = dataflash_log(4)
    data = data[:9000] + data[9700:30000] + bytes(500) + data[30500:]
    whole = scan(data, Formats())
    formats, synced, base, at = Formats(), False, 0, []
    while base < len(data):
        piece = data[base : base + 5000]
        final = base + len(piece) == len(data)
        scanned = scan(piece, formats, synced, final)
        assert final or len(piece) - scanned.end <= LOOK_AHEAD + MAX_SIZE
        at.append(scanned.at + base)
        base, synced = base + scanned.end, scanned.synced
    assert np.concatenate(at).tolist() == whole.at.tolist()


@pytest.mark.parametrize("data", [b"", b"\xa3", b"\xa3\x95", b"\xa3\x95\x80", b"FMT, 128", bytes(1000)])
def test_what_is_no_log_is_damage(data: bytes) -> None:
    scanned = scan(data, Formats())
    assert len(scanned.at) == 0
    assert sum(end - start for start, end, _ in scanned.damage) == len(data) == scanned.end

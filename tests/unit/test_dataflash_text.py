"""Text DataFlash logs: lines as messages, whatever stands between them."""

import numpy as np
import pytest

from firmware_bridge.dataflash_lines import numbers
from firmware_bridge.dataflash_text import DataFlashTextReader
from firmware_bridge.log_tables import NO_TIME, Portion, read_all

LOG = b"""
9

ArduCopter V3.1 (5c6503e2)
Free RAM: 1044
FMT, 128, 89, FMT, BBnNZ, Type,Length,Name,Format
FMT, 129, 23, PARM, Nf, Name,Value
FMT, 130, 45, GPS, BIHLLI, Status,TimeMS,Week,Lat,Lng,T
FMT, 132, 67, MSG, Z, Message
FMT, 3, 6, MODE, Mh, Mode,ThrCrs
FMT, 1, 17, ATT, cccIf, Roll,Pitch,Yaw,Count,Error
FMT, 10, 3, STRT, ,
PARM, RTL_ALT, 1500.000
MSG, ArduCopter V3.1 (5c6503e2)
STRT,
MODE, STABILIZE, 352
GPS, 3, 109206800, 1774, -39.4950300, 176.7483511, 66937
ATT, 0.10, -4.66, 358.89, 4294967295, nan
MODE, 3, 352
ATT, 0.20, -4.70, 358.91, 7, 1.5
"""


def read(data: bytes) -> Portion:
    (portion,) = read_all(DataFlashTextReader(), [data])
    return portion


def rows(portion: Portion, name: str) -> list[tuple[object, ...]]:
    table = portion.get(name)
    return [] if table is None else table.rows.tolist()


def test_lines_become_messages_with_the_values_as_they_stand() -> None:
    portion = read(LOG)
    assert portion.counts == {"FMT": 7, "PARM": 1, "GPS": 1, "MSG": 1, "MODE": 2, "ATT": 2, "STRT": 1}
    assert rows(portion, "GPS") == [(3, 109206800, 1774, -39.49503, 176.7483511, 66937)]
    assert rows(portion, "ATT")[1] == (0.2, -4.7, 358.91, 7, 1.5)
    assert rows(portion, "ATT")[0][:4] == (0.1, -4.66, 358.89, 4294967295)
    assert np.isnan(rows(portion, "ATT")[0][4])  # type: ignore[arg-type]
    assert rows(portion, "MODE") == [(b"STABILIZE", 352), (b"3", 352)]
    assert portion.damage == []


def test_free_lines_before_the_first_fmt_are_texts() -> None:
    texts = read(LOG).texts
    assert [t.text for t in texts] == [
        "9",
        "ArduCopter V3.1 (5c6503e2)",
        "Free RAM: 1044",
        "ArduCopter V3.1 (5c6503e2)",
    ]
    assert LOG[texts[1].at :].startswith(b"ArduCopter")


def test_untimed_lines_take_the_time_of_the_last_timed_one() -> None:
    portion = read(LOG)
    modes, att = portion.get("MODE"), portion.get("ATT")
    assert modes is not None
    assert modes.time_us.tolist() == [NO_TIME, 66_937_000]
    assert att is not None
    assert att.gain == {}


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_other_line_ends_read_the_same(end: bytes) -> None:
    assert read(LOG.replace(b"\n", end)).counts == read(LOG).counts


def test_a_byte_order_mark_before_the_first_fmt_is_no_hindrance() -> None:
    assert read(b"\xef\xbb\xbf" + LOG[LOG.index(b"FMT") :]).counts == read(LOG).counts


def test_fields_may_stand_without_spaces() -> None:
    dense, plain = read(LOG.replace(b", ", b",")), read(LOG)
    assert dense.counts == plain.counts
    assert rows(dense, "GPS") == rows(plain, "GPS")


def test_a_text_keeps_its_commas() -> None:
    portion = read(LOG + b"MSG, Mode, set, by RC\n")
    assert portion.texts[-1].text == "Mode, set, by RC"


def test_a_text_in_another_encoding_is_read() -> None:
    portion = read(LOG + "MSG, Größe\n".encode("latin-1") + "MSG, Größe\n".encode())
    assert [t.text for t in portion.texts[-2:]] == ["Größe", "Größe"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"ATT, 0.10, -4.6", "bad_text"),
        (b"ATT, 0.10, x, y, 4, z", "bad_text"),
        (b"ATT, 0.10, -4.6, 358.89, 4.5, 1.0", "bad_text"),
        (b"ATT, 0.10, -4.6, 358.89, , 1.0", "bad_text"),
        (b"XYZ, 1, 2", "unknown_type"),
        (b"no message", "bad_text"),
        (b"FMT, x, 3", "bad_text"),
        (b"\0" * 40, "zeros"),
    ],
)
def test_a_bad_line_costs_itself_alone(line: bytes, reason: str) -> None:
    tail = b"ATT, 0.30, -4.70, 358.91, 8, 1.5\n"
    portion = read(LOG + line + b"\n" + tail)
    assert rows(portion, "ATT")[-1] == (0.3, -4.7, 358.91, 8, 1.5)
    assert portion.counts["ATT"] == 3
    assert [(d.offset, d.size, d.reason) for d in portion.damage] == [(len(LOG), len(line) + 1, reason)]


@pytest.mark.parametrize("token", [b"x", b"", b"1.2.3", b"--"])
def test_a_fraction_that_cannot_be_read_is_nan(token: bytes) -> None:
    row = rows(read(LOG + b"ATT, 0.10, %b, 358.89, 4, 1.0\n" % token), "ATT")[-1]
    assert (row[0], row[2:]) == (0.1, (358.89, 4, 1.0))
    assert np.isnan(row[1])  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "text", ["0.1", "-0.5", "123456.789", "1e-3", "-39.4950300", "0.0000001", "123456789012345678.5", "7"]
)
def test_numbers_are_the_doubles_that_python_reads(text: str) -> None:
    assert numbers(f" {text}, 2.50, -{text.lstrip('-')}".encode()).tolist() == [float(text), 2.5, -abs(float(text))]


def test_damage_names_the_type_that_is_not_known() -> None:
    (damage,) = read(LOG + b"XYZ, 1, 2\n").damage
    assert damage.detail == "XYZ"


def test_what_stands_behind_the_last_field_is_left_out() -> None:
    assert rows(read(LOG + b"ATT, 1, 2, 3, 4, 5, 6, 7\n"), "ATT")[-1] == (1.0, 2.0, 3.0, 4, 5.0)


def test_a_second_header_begins_a_boot() -> None:
    first, second = read_all(DataFlashTextReader(), [LOG + LOG[LOG.index(b"FMT") :]])
    assert (first.is_new_boot, second.is_new_boot) == (False, True)
    assert first.counts == second.counts


def test_a_type_may_be_defined_anew() -> None:
    portion = read(LOG + b"FMT, 1, 9, ATT, cc, Roll,Pitch\nATT, 1.5, 2.5\n")
    assert [t.rows.dtype.names for t in portion.tables if t.name == "ATT"][-1] == ("Roll", "Pitch")
    assert portion.counts["ATT"] == 3


def test_how_a_log_is_fed_changes_nothing() -> None:
    data = LOG + b"".join(b"ATT, %d.5, 1.0, 2.0, %d, 0.5\n" % (n, n) for n in range(2000))
    whole = read_all(DataFlashTextReader(4096), [data])
    split = read_all(DataFlashTextReader(4096), [data[i : i + 333] for i in range(0, len(data), 333)])
    assert [(p.start, p.end, p.counts) for p in whole] == [(p.start, p.end, p.counts) for p in split]
    assert sum(p.counts.get("ATT", 0) for p in whole) == 2002
    assert not any(p.damage for p in whole)

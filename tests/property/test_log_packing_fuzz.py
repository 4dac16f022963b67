"""The packed form gives back any bytes, and a reader of it is not led astray by any."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.log_packing import pack, unpack
from firmware_bridge.log_packing.container import SEGMENT_BYTES
from firmware_bridge.log_packing.dataflash import DataFlashSplitter
from firmware_bridge.log_packing.decode import decode
from firmware_bridge.log_packing.encode import encode
from firmware_bridge.log_packing.numbers import MALFORMED
from firmware_bridge.log_packing.ulog import ULogSplitter
from firmware_bridge.log_tables import LogFormat
from firmware_bridge.tlog import open_log
from shared.errors import Refused
from tests.fix_agent import DEMO_LOG
from tests.fix_dataflash import dataflash_log
from tests.fix_ulog import ulog_log

FORMATS: tuple[LogFormat, ...] = ("dataflash", "dataflash-text", "ulog", "tlog", "raw")
LOGS: dict[LogFormat, bytes] = {
    "dataflash": dataflash_log(),
    "ulog": ulog_log(),
    "tlog": open_log(DEMO_LOG)[:150_000],
}
MAGICS = (
    b"\xa3\x95",
    b"\xa3\x95\x80",
    b"ULog\x01\x12\x35",
    b"\xfd\x09",
    b"\xfe\x02",
    b"FMT, ",
    b"\x10\0D\1\0",
    b"\0" * 40,
)
salted = st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(MAGICS)), max_size=40).map(b"".join)


@st.composite
def damaged_logs(draw: st.DrawFn) -> tuple[LogFormat, bytes]:
    """A log with bytes changed, cut out, put in twice and zeroed; and a format that need not be its own."""
    own = draw(st.sampled_from(sorted(LOGS)))
    data = bytearray(LOGS[own])
    rng = random.Random(draw(st.integers(0, 1 << 32)))
    for _ in range(draw(st.integers(0, 12))):
        at, size = rng.randrange(len(data)), rng.choice((1, 3, 50, 4096))
        harm = rng.randrange(4)
        if harm == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif harm == 1:
            del data[at : at + size]
        elif harm == 2:
            data[at:at] = data[at : at + size]
        else:
            data[at : at + size] = bytes(len(data[at : at + size]))
    return draw(st.sampled_from((own, own, *FORMATS))), bytes(data)


@given(st.sampled_from(FORMATS), salted)
@settings(max_examples=150)
def test_any_bytes_come_back_whatever_format_they_are_said_to_have(format_: LogFormat, data: bytes) -> None:
    assert b"".join(unpack(pack([data], format_))) == data


@given(damaged_logs())
@settings(max_examples=40)
def test_damaged_logs_come_back_as_they_are(log: tuple[LogFormat, bytes]) -> None:
    format_, data = log
    assert b"".join(unpack(pack([data], format_))) == data


@given(st.sampled_from(sorted(LOGS)), st.lists(st.integers(0, 100_000), max_size=6))
@settings(max_examples=15)
def test_pieces_do_not_change_the_packed_form(format_: LogFormat, cuts: list[int]) -> None:
    data = LOGS[format_]
    ends = sorted(cuts)
    pieces = [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]
    assert b"".join(pack(pieces, format_)) == b"".join(pack([data], format_))


PACKED = {format_: b"".join(pack([data[:60_000]], format_)) for format_, data in LOGS.items()}


@given(st.sampled_from(sorted(LOGS)), st.data())
@settings(max_examples=150)
def test_damage_to_the_packed_form_is_refused_or_leaves_the_size(format_: LogFormat, draw: st.DataObject) -> None:
    packed = bytearray(PACKED[format_])
    for at in draw.draw(st.lists(st.integers(0, len(packed) - 1), min_size=1, max_size=3)):
        packed[at] ^= draw.draw(st.integers(1, 255))
    packed = packed[: draw.draw(st.sampled_from((len(packed), len(packed) - 1, len(packed) // 2)))]
    try:
        out = b"".join(unpack([bytes(packed)]))
    except Refused:
        return
    assert len(out) == len(LOGS[format_][:60_000])


def columns_of(format_: LogFormat) -> tuple[bytes, int]:
    """(content of a columns segment, bytes of log in it)"""
    data = LOGS[format_][:60_000]
    splitter = DataFlashSplitter() if format_ == "dataflash" else ULogSplitter()
    return encode(data, splitter.split(data, is_last=True)), len(data)


CONTENTS = [columns_of("dataflash"), columns_of("ulog")]


@given(st.sampled_from(CONTENTS), st.data())
@settings(max_examples=300)
def test_hostile_columns_are_refused_or_give_the_size_that_was_said(
    content: tuple[bytes, int], draw: st.DataObject
) -> None:
    columns, size = bytearray(content[0]), content[1]
    head = st.integers(0, 400) | st.integers(0, len(columns) - 1)
    for at in draw.draw(st.lists(head, min_size=1, max_size=4)):
        columns[at] = draw.draw(st.integers(0, 255))
    size += draw.draw(st.sampled_from((0, 0, 0, 1, -1)))
    try:
        assert len(decode(bytes(columns), size)) == size
    except Refused as e:
        assert e.reason == MALFORMED


@given(st.binary(max_size=200), st.integers(0, 300))
@settings(max_examples=300)
def test_columns_of_nothing_but_noise_are_refused_or_give_the_size(content: bytes, size: int) -> None:
    try:
        assert len(decode(content, size)) == size
    except Refused as e:
        assert e.reason == MALFORMED


@given(salted)
@settings(max_examples=60)
def test_what_is_no_packed_form_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        list(unpack([data]))


def test_a_log_of_many_segments_comes_back() -> None:
    data = LOGS["dataflash"] * (1 + 3 * SEGMENT_BYTES // len(LOGS["dataflash"]))
    packed = list(pack([data], "dataflash"))
    assert len(packed) >= 5
    assert b"".join(unpack(packed)) == data

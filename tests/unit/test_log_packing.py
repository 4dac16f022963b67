"""The packed form: what it comes to, what it refuses, what it costs in memory."""

import struct
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import zstandard

from firmware_bridge.log_packing import pack, unpack
from firmware_bridge.log_packing.container import COLUMNS, END, MOST_BYTES, PLAIN
from firmware_bridge.log_packing.numbers import varints
from firmware_bridge.tlog import open_log
from shared.errors import Refused
from tests.fix_agent import DEMO_LOG
from tests.fix_dataflash import dataflash_log
from tests.fix_ulog import ulog_log

HEAD = struct.Struct("<BII")
MAGIC = b"DBXL\x01"


def segment(kind: int, size: int, body: bytes) -> bytes:
    return HEAD.pack(kind, size, len(body)) + body


def end(total: int) -> bytes:
    return segment(END, 0, struct.pack("<Q", total))


def kinds(packed: bytes) -> list[int]:
    """The kinds of the segments of a packed form."""
    found, at = [], len(MAGIC)
    while at < len(packed):
        kind, _, length = HEAD.unpack_from(packed, at)
        found.append(kind)
        at += HEAD.size + length
    return found


def refused(*parts: bytes) -> str:
    with pytest.raises(Refused) as e:
        list(unpack([b"".join(parts)]))
    return e.value.reason


@pytest.mark.parametrize(
    ("data", "format_", "most"),
    [
        (dataflash_log(60, rate_hz=50), "dataflash", 0.25),
        (ulog_log(60), "ulog", 0.25),
        (open_log(DEMO_LOG), "tlog", 0.2),
    ],
)
def test_logs_pack_to_a_fraction_of_what_a_general_compressor_makes_of_them(data, format_, most) -> None:  # type: ignore[no-untyped-def]
    packed = b"".join(pack([data], format_))
    assert b"".join(unpack([packed])) == data
    assert len(packed) < most * len(data)
    assert len(packed) < len(zstandard.compress(data, 19))


def test_a_log_without_a_byte_is_a_header_and_an_end() -> None:
    packed = b"".join(pack([], "dataflash"))
    assert packed == MAGIC + end(0)
    assert b"".join(unpack([packed])) == b""


def test_a_short_log_takes_the_shorter_of_both_ways() -> None:
    data = dataflash_log(1, rate_hz=1)
    packed = b"".join(pack([data], "dataflash"))
    assert kinds(packed) in ([PLAIN, END], [COLUMNS, END])
    assert len(packed) <= len(zstandard.compress(data, 19)) + len(MAGIC) + 2 * HEAD.size + 8


def test_instances_of_a_message_that_take_turns_pack_as_well_as_one_after_the_other() -> None:
    alone = len(b"".join(pack([dataflash_log(30, rate_hz=100)], "dataflash")))
    assert alone < 0.22 * len(dataflash_log(30, rate_hz=100))


def test_damage_in_the_middle_costs_no_more_than_the_damaged_messages() -> None:
    data = dataflash_log(60, rate_hz=50)
    noise = np.random.default_rng(1).integers(0, 256, 500, np.uint8).tobytes()
    damaged = data[:70_000] + noise + data[70_200:]
    whole, broken = (len(b"".join(pack([d], "dataflash"))) for d in (data, damaged))
    assert broken < whole + 2_000


def test_a_segment_that_declares_more_than_it_may_is_refused_before_it_is_read() -> None:
    assert refused(MAGIC, HEAD.pack(PLAIN, MOST_BYTES + 1, 10)) == "packing_malformed"
    assert refused(MAGIC, HEAD.pack(PLAIN, 10, MOST_BYTES + 1)) == "packing_malformed"


def test_a_bomb_is_refused_by_what_it_declares() -> None:
    bomb = zstandard.compress(bytes(200 << 20), 19)
    tracemalloc.start()
    assert refused(MAGIC, segment(PLAIN, 1000, bomb)) == "packing_malformed"
    assert refused(MAGIC, segment(COLUMNS, 1000, bomb)) == "packing_malformed"
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_bomb_that_declares_nothing_is_refused() -> None:
    packer = zstandard.ZstdCompressor(write_content_size=False)
    body = packer.compress(bytes(10 << 20))
    assert refused(MAGIC, segment(PLAIN, 1000, body)) == "packing_malformed"


def test_a_column_that_promises_more_values_than_the_log_has_bytes_is_refused() -> None:
    content = varints([1, 1_000_000, 1, 3, 1_000_000, 0])
    assert refused(MAGIC, segment(COLUMNS, 1000, zstandard.compress(content)), end(1000)) == "packing_malformed"


def test_a_total_that_is_not_what_was_there_is_refused() -> None:
    body = segment(PLAIN, 3, zstandard.compress(b"abc"))
    assert b"".join(unpack([MAGIC, body, end(3)])) == b"abc"
    assert refused(MAGIC, body, end(4)) == "packing_malformed"


def test_a_packed_form_cut_at_a_segment_is_refused_and_what_came_before_is_given() -> None:
    reader = unpack([MAGIC, segment(PLAIN, 3, zstandard.compress(b"abc"))])
    assert next(reader) == b"abc"
    with pytest.raises(Refused, match="cut short"):
        next(reader)


def test_bytes_behind_the_end_are_refused() -> None:
    assert refused(MAGIC, end(0), b"x") == "packing_malformed"


def test_memory_does_not_grow_with_the_log() -> None:
    log = dataflash_log(30, rate_hz=50)

    def pieces() -> Iterator[bytes]:
        for _ in range(24 * (1 << 20) // len(log)):
            yield log

    tracemalloc.start()
    size = sum(len(data) for data in unpack(pack(pieces(), "dataflash")))
    assert size > 23 << 20
    assert tracemalloc.get_traced_memory()[1] < 24 << 20
    tracemalloc.stop()

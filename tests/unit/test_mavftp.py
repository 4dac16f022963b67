"""MAVLink FTP: listing, fetching, checksums, and what a link and a server do to them."""

import random
from itertools import pairwise

import numpy as np
import pytest

from firmware_bridge.mavftp import (
    Checksum,
    Entry,
    Line,
    Listing,
    Nak,
    Op,
    Packet,
    crc32,
    entries_of,
    pack,
    parse,
    reset_sessions,
)
from firmware_bridge.mavftp_fetch import Fetch
from tests.fix_log_server import FTP, LogServer
from tests.fix_scripted_autopilot import Faults, converse, row_of

PATH = "/APM/LOGS/00000007.BIN"
TARGET = (1, 1)


def some_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def fetched(fetch: Fetch, size: int, before: bytes = b"") -> bytes:
    whole = bytearray(before.ljust(size, b"\0"))
    for offset, data in fetch.fresh:
        whole[offset : offset + len(data)] = data
    return bytes(whole)


def ops(server: LogServer) -> list[int]:
    return [p.op for msgid, p in server.requests if msgid == FTP and isinstance(p, Packet)]


def test_a_packet_survives_its_bytes() -> None:
    packet = Packet(65535, 3, Op.ACK, 4, Op.OPEN, True, 0xFFFFFFFF, b"abcd")
    assert parse(pack(packet)) == packet and len(pack(packet)) == 251


def test_the_checksum_is_the_autopilots_and_not_zlibs() -> None:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ 0xEDB88320 if byte & 1 else byte >> 1
        table.append(byte)
    data, plain = some_bytes(1000), 0
    for byte in data:
        plain = table[(plain ^ byte) & 0xFF] ^ plain >> 8
    assert crc32(data) == plain and crc32(data[300:], crc32(data[:300])) == plain


def test_a_listing_counts_skipped_entries_and_not_empty_ones() -> None:
    count, entries = entries_of(b"S\0D2026-05-01\0Fa.ulg\t12\0\0Fb.ulg\t-1\0Fbad\0F\xff\xff\t1\0")
    assert count == 6
    assert entries == [Entry("2026-05-01", 0, True), Entry("a.ulg", 12, False), Entry("b.ulg", 0xFFFFFFFF, False)]


@pytest.mark.parametrize("style", ["ardupilot", "px4"])
def test_a_folder_is_listed_to_its_end_over_a_lossy_link(style: str) -> None:
    files = {f"/log/{i:08d}.BIN": bytes(i) for i in range(1, 200)}
    listing = Listing(Line(TARGET, 65_500), "/log")
    converse(listing, LogServer(files, style), Faults(loss=0.2, twice=0.1, seed=3))
    assert [e.name for e in listing.entries] == [f"{i:08d}.BIN" for i in range(1, 200)]
    assert [e.size for e in listing.entries] == list(range(1, 200))


def test_a_folder_that_is_not_there_is_told_from_silence() -> None:
    absent, silent = Listing(Line(TARGET), "/nowhere"), Listing(Line(TARGET), "/log")
    converse(absent, LogServer({}))
    converse(silent, LogServer({}, has_ftp=False))
    assert (absent.nak, silent.nak) == (Nak.NOT_FOUND, Nak.SILENT)


CASES = [
    ("px4", True, Faults()),
    ("ardupilot", False, Faults()),
    ("ardupilot", True, Faults()),
    ("px4", True, Faults(loss=0.1, twice=0.05, late=0.2, seed=5)),
    ("ardupilot", False, Faults(loss=0.1, twice=0.05, late=0.2, seed=6)),
    ("ardupilot", True, Faults(loss=0.1, twice=0.05, late=0.2, seed=7)),
]


@pytest.mark.parametrize(("style", "is_burst", "faults"), CASES)
def test_a_file_arrives_whole_whatever_the_link_does(style: str, is_burst: bool, faults: Faults) -> None:
    data = some_bytes(300_017)
    server = LogServer({PATH: data}, style)
    fetch = Fetch(Line(TARGET, 65_000), PATH, len(data), is_burst=is_burst)
    converse(fetch, server, faults)
    assert not fetch.failure and fetched(fetch, len(data)) == data
    assert sum(len(d) for _, d in fetch.fresh) == len(data), "bytes came twice"
    assert (Op.BURST in ops(server)) == is_burst and ops(server)[-1] == Op.TERMINATE


def test_a_clean_link_is_asked_for_each_byte_once() -> None:
    data = some_bytes(200_000)
    for style, is_burst in (("px4", True), ("ardupilot", False)):
        server = LogServer({PATH: data}, style)
        converse(Fetch(Line(TARGET), PATH, len(data), is_burst=is_burst), server)
        reads = [p for _, p in server.requests if isinstance(p, Packet) and p.op == Op.READ]
        assert sum(p.size for p in reads) <= (len(data) if not is_burst else 2000)
        assert len([o for o in ops(server) if o == Op.BURST]) <= (0 if not is_burst else 7)


def test_requests_are_numbered_beyond_the_packets_of_a_burst() -> None:
    for cut, least in ((0, 147), (20, 2000)):  # the end of a burst that breaks off is not heard
        server = LogServer({PATH: some_bytes(80_000)}, "px4", burst_cut=cut)
        converse(Fetch(Line(TARGET, 65_000), PATH, 80_000), server)
        numbers = [p.seq for _, p in server.requests if isinstance(p, Packet) and p.op == Op.BURST]
        steps = [(b - a) & 0xFFFF for a, b in pairwise(numbers)]
        assert steps and min(steps) >= least


def test_bursts_that_break_off_are_gone_on_with() -> None:
    data = some_bytes(120_000)
    server = LogServer({PATH: data}, "px4", burst_cut=20)
    fetch = Fetch(Line(TARGET), PATH, len(data))
    converse(fetch, server)
    assert fetched(fetch, len(data)) == data


def test_a_server_without_bursts_is_read_block_by_block() -> None:
    data = some_bytes(30_000)
    for error in (Nak.UNKNOWN_COMMAND, Nak.FAIL):
        server = LogServer({PATH: data}, "px4", naks={Op.BURST: [error]})
        fetch = Fetch(Line(TARGET), PATH, len(data))
        converse(fetch, server)
        assert fetched(fetch, len(data)) == data and ops(server).count(Op.BURST) == 1


def test_a_board_that_gives_48_bytes_at_a_time_is_not_asked_twice_for_each() -> None:
    data = some_bytes(20_000)
    server = LogServer({PATH: data}, most_read=48)
    fetch = Fetch(Line(TARGET), PATH, len(data), is_burst=False)
    converse(fetch, server)
    assert fetched(fetch, len(data)) == data and ops(server).count(Op.READ) < 1.1 * len(data) / 48 + 10


def test_what_is_there_already_is_not_fetched_again() -> None:
    data = some_bytes(100_000)
    server = LogServer({PATH: data})
    fetch = Fetch(Line(TARGET), PATH, len(data), 60_000, data[59_910:60_000], is_burst=False)
    converse(fetch, server)
    assert fetched(fetch, len(data), data[:60_000]) == data
    assert sum(len(d) for _, d in fetch.fresh) == 40_000


def test_another_file_under_the_same_name_is_not_gone_on_with() -> None:
    data, old = some_bytes(100_000), some_bytes(100_000, 2)
    fetch = Fetch(Line(TARGET), PATH, len(data), 60_000, old[59_910:60_000])
    converse(fetch, server := LogServer({PATH: data}))
    assert fetch.failure == "changed" and not fetch.fresh and ops(server)[-1] == Op.TERMINATE


def test_a_file_that_grew_or_shrank_since_it_was_listed_is_left() -> None:
    for size, why in ((90_000, "growing"), (110_000, "changed")):
        fetch = Fetch(Line(TARGET), PATH, size)
        converse(fetch, server := LogServer({PATH: some_bytes(100_000)}))
        assert fetch.failure == why and not server.sessions


def test_a_size_that_is_not_true_ends_and_costs_no_memory() -> None:
    data = some_bytes(5_000)
    for style, is_burst in (("px4", True), ("ardupilot", False)):
        server = LogServer({PATH: data}, style, claims={PATH: 0xFFFFFFFF})
        fetch = Fetch(Line(TARGET), PATH, 0xFFFFFFFF, is_burst=is_burst)
        converse(fetch, server)
        assert fetch.failure == "changed" and len(fetch.missing.holes) <= 3


def test_a_session_in_use_is_left_alone() -> None:
    server = LogServer({PATH: b"x" * 900}, "px4", sessions={0: "/of/a/ground/station"})
    fetch = Fetch(Line(TARGET), PATH, 900)
    converse(fetch, server)
    assert fetch.failure == "no_session" and ops(server) == [Op.OPEN] and server.sessions


def test_a_session_that_was_closed_is_opened_again() -> None:
    data = some_bytes(200_000)
    for style, is_burst in (("px4", True), ("ardupilot", False)):
        server = LogServer({PATH: data}, style)
        reboots = iter([0.3, 0.6])
        due = [next(reboots)]

        def reboot(now_s: float, server: LogServer = server, due: list[float] = due) -> None:
            if due and now_s > due[0]:
                server.reboot()
                due.clear()

        fetch = Fetch(Line(TARGET), PATH, len(data), is_burst=is_burst)
        converse(fetch, server, meanwhile=reboot)
        assert fetched(fetch, len(data)) == data and ops(server).count(Op.OPEN) == 2


def test_a_server_that_falls_silent_is_given_up_with_an_end() -> None:
    data = some_bytes(200_000)
    for is_burst in (True, False):
        server = LogServer({PATH: data}, "px4")

        def fall_silent(now_s: float, server: LogServer = server) -> None:
            server.has_ftp = now_s < 0.3
            if not server.has_ftp:
                server._burst = None

        fetch = Fetch(Line(TARGET), PATH, len(data), is_burst=is_burst)
        assert converse(fetch, server, meanwhile=fall_silent) < 120
        assert fetch.failure == "silent" and ops(server)[-1] == Op.TERMINATE


def test_errors_while_reading_end_it_sooner_or_later() -> None:
    for op in (Op.READ, Op.BURST):
        server = LogServer({PATH: bytes(50_000)}, "px4", naks={op: [Nak.ERRNO] * 1000})
        fetch = Fetch(Line(TARGET), PATH, 50_000, is_burst=op == Op.BURST)
        converse(fetch, server)
        assert fetch.failure == "refused with error 2" and not server.sessions


def test_a_pace_is_kept() -> None:
    data = some_bytes(100_000)
    for style, is_burst in (("px4", True), ("ardupilot", False)):
        fetch = Fetch(Line(TARGET), PATH, len(data), is_burst=is_burst, bytes_s=10_000)
        took_s = converse(fetch, LogServer({PATH: data}, style))
        assert fetched(fetch, len(data)) == data and 6 < took_s < 12


def test_leaving_says_one_end_and_nothing_after() -> None:
    server, line = LogServer({PATH: some_bytes(50_000)}), Line(TARGET)
    fetch = Fetch(line, PATH, 50_000)
    assert fetch.leave() == [], "nothing was opened"
    with pytest.raises(AssertionError, match="does not end"):
        converse(fetch, server, limit_s=0.3)
    assert len(fetch.leave()) == 1 and fetch.leave() == []


def heard(exchange: Fetch, packet: Packet) -> None:
    exchange.hear(FTP, row_of(FTP, {"payload": np.frombuffer(pack(packet), np.uint8)}), 0)


def test_packets_of_an_earlier_file_are_not_taken_for_this_one() -> None:
    fetch = Fetch(Line(TARGET, 1000), PATH, 900, is_burst=False)
    fetch.due(0)
    heard(fetch, Packet(1002, 0, Op.ACK, 4, Op.OPEN, False, 0, (900).to_bytes(4, "little")))
    assert fetch.session == 0
    heard(fetch, Packet(990, 0, Op.ACK, 239, Op.BURST, False, 0, bytes(239)))
    heard(fetch, Packet(1003, 1, Op.ACK, 239, Op.READ, False, 0, bytes(239)))
    assert not fetch.fresh, "an old number, another session"
    heard(fetch, Packet(1003, 0, Op.ACK, 239, Op.READ, False, 0, bytes(239)))
    assert len(fetch.fresh) == 1


def test_a_checksum_is_asked_for_and_an_odd_answer_is_none() -> None:
    data = some_bytes(1_000)
    right, absent = Checksum(Line(TARGET), PATH, 1), Checksum(Line(TARGET), PATH, 1)
    converse(right, LogServer({PATH: data}))
    converse(absent, LogServer({PATH: data}, has_crc=False))
    assert right.value == crc32(data) and absent.value is None


def test_sessions_are_reset_on_request() -> None:
    server = LogServer({}, sessions={3: PATH})
    converse(reset_sessions(Line(TARGET)), server, Faults(loss=0.5, seed=2))
    assert not server.sessions

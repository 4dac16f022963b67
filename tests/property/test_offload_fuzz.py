"""The machines of an offload under anything that a link may bring: no exception, no loop, no unbounded memory."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.offload_signs import listen, without_answers
from firmware_bridge.framing import Scanner
from firmware_bridge.log_request import LogEntry, LogFetch, LogListing
from firmware_bridge.mavftp import Checksum, Line, Listing, Op, Packet, entries_of, pack, parse
from firmware_bridge.mavftp_fetch import Fetch
from firmware_bridge.missing import MOST_HOLES, Missing
from tests.fix_log_server import ENTRY, FTP, LOG_DATA, LogServer
from tests.fix_scripted_autopilot import Faults, converse, frame_of, row_of

BYTE = st.integers(0, 255)
U32 = st.integers(0, 0xFFFFFFFF) | st.sampled_from([0, 1, 239, 1000, 0xFFFFFFFF])
IDS = [0, 30, 75, 76, 77, 110, 118, 120, 253]
OPS = st.sampled_from([int(op) for op in Op]) | BYTE
PACKETS = st.builds(
    Packet, st.integers(0, 60) | st.integers(0, 0xFFFF), st.integers(0, 2), OPS, BYTE, OPS, st.booleans(), U32,
    st.binary(max_size=239),
)  # fmt: skip


@given(st.binary(max_size=300))
def test_any_bytes_are_a_packet_and_any_data_a_listing(data: bytes) -> None:
    packet = parse(data)
    assert len(packet.data) <= 239
    count, entries = entries_of(packet.data)
    assert len(entries) <= count <= 239


@given(st.integers(0, 400), st.lists(st.tuples(st.integers(-5, 420), st.integers(-5, 420)), max_size=60))
def test_what_is_missing_is_what_did_not_come(size: int, spans: list[tuple[int, int]]) -> None:
    missing, left = Missing(size), set(range(size))
    for start, stop in spans:
        new = missing.take(start, stop)
        came = {i for a, b in new for i in range(a, b)}
        assert came == left & set(range(start, stop)) and sum(b - a for a, b in new) == len(came)
        left -= came
    assert {i for a, b in missing.holes for i in range(a, b)} == left and missing.count() == len(left)
    assert missing.is_whole == (not left) and missing.prefix == (min(left) if left else size)


def test_scattered_bytes_do_not_fill_the_memory() -> None:
    missing = Missing(1 << 32)
    for i in range(3 * MOST_HOLES):
        missing.take(4 * i, 4 * i + 1)
    assert len(missing.holes) <= MOST_HOLES


@settings(max_examples=150)
@given(st.data(), st.booleans(), st.lists(PACKETS, max_size=60))
def test_ftp_machines_survive_any_answers(data: st.DataObject, is_burst: bool, packets: list[Packet]) -> None:
    size = data.draw(st.integers(0, 0xFFFFFFFF))
    line = Line((1, 1))
    machines = [
        Fetch(line, "/a.bin", size, is_burst=is_burst),
        Fetch(line, "/a.bin", size, min(size, 100), bytes(min(size, 90)), is_burst),
        Listing(line, "/log"),
        Checksum(line, "/a.bin", 1),
    ]
    for machine in machines:
        now_s = 0.0
        for packet in packets:
            assert len(machine.due(now_s)) <= 8
            if data.draw(st.booleans()):  # an answer that fits what was asked
                packet = Packet((line._seq + 1) & 0xFFFF, *[getattr(packet, n) for n in Packet.__slots__[1:]])
            machine.hear(FTP, row_of(FTP, {"payload": np.frombuffer(pack(packet), np.uint8)}), now_s)
            now_s += 0.3
        if isinstance(machine, Fetch):
            assert all(at >= 0 and at + len(part) <= size for at, part in machine.fresh)
        assert len(machine.leave()) <= 1 and machine.leave() == []


@settings(max_examples=150)
@given(st.integers(0, 0xFFFFFFFF), st.lists(st.tuples(U32, st.integers(0, 2), BYTE), max_size=60))
def test_log_fetches_survive_any_data(size: int, packets: list[tuple[int, int, int]]) -> None:
    fetch, now_s = LogFetch((1, 1), LogEntry(1, 0, size)), 0.0
    for offset, log_id, count in packets:
        assert len(fetch.due(now_s)) <= 1
        fetch.hear(LOG_DATA, row_of(LOG_DATA, {"ofs": offset, "id": log_id, "count": count}), now_s)
        now_s += 0.4
    assert all(at >= 0 and at + len(part) <= size for at, part in fetch.fresh)


@given(st.lists(st.tuples(*[st.integers(0, 0xFFFF)] * 3), max_size=40))
def test_log_lists_survive_any_entries(entries: list[tuple[int, int, int]]) -> None:
    listing, now_s = LogListing((1, 1)), 0.0
    for log_id, count, last in entries:
        listing.due(now_s)
        listing.hear(ENTRY, row_of(ENTRY, {"id": log_id, "num_logs": count, "last_log_num": last}), now_s)
        now_s += 0.6
    assert len(listing.entries) <= 5000


@settings(max_examples=120)
@given(
    st.integers(1, 40_000), st.sampled_from(["ardupilot", "px4"]), st.booleans(), st.integers(0, 99),
    st.floats(0, 0.3), st.floats(0, 0.2), st.integers(0, 0xFFFF),
)  # fmt: skip
def test_a_file_arrives_whole_over_any_link(
    size: int, style: str, is_burst: bool, seed: int, loss: float, late: float, first_seq: int
) -> None:
    content = np.random.default_rng(seed).bytes(size)
    fetch = Fetch(Line((1, 1), first_seq), "/a.bin", size, is_burst=is_burst)
    converse(fetch, LogServer({"/a.bin": content}, style), Faults(loss, loss / 2, late, seed))
    got = bytearray(size)
    for offset, part in fetch.fresh:
        got[offset : offset + len(part)] = part
    assert bytes(got) == content or fetch.failure == "silent"
    assert loss > 0.2 or not fetch.failure


@settings(max_examples=120)
@given(st.lists(st.tuples(st.sampled_from(IDS), BYTE, BYTE), max_size=40), st.binary())
def test_frames_of_any_kind_are_listened_to_and_none_is_lost_but_answers(
    messages: list[tuple[int, int, int]], junk: bytes
) -> None:
    raw = [frame_of(msgid, {}, i, sysid or 1, compid or 1) for i, (msgid, sysid, compid) in enumerate(messages)]
    frames = Scanner().feed(b"".join(raw) + junk, 5)
    listen(frames, (1, 1))
    kept, count = without_answers(frames, (1, 1))
    assert len(kept) + count == len(frames)
    assert [kept[i] for i in range(len(kept))] == [
        f for f in (frames[i] for i in range(len(frames)))
        if not (f[0] == 0xFD and (f[5], f[6]) == (1, 1) and int.from_bytes(f[7:10], "little") in (110, 118, 120))
    ]  # fmt: skip

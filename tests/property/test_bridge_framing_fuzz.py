"""Any bytes at all: nothing raises, every byte is accounted for, splits change nothing."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.framing import Scanner
from firmware_bridge.tlog import read_tlog, write_tlog
from shared.frames import join
from shared.layouts import LAYOUTS
from tests.fix_frames import UNKNOWN_ID, mavlink_frame

KNOWN = [0, 1, 24, 30, 33, 65, 74, 147, 230, 253]

known_frames = st.builds(
    mavlink_frame, msgid=st.sampled_from(KNOWN), payload=st.binary(min_size=1, max_size=255),
    seq=st.integers(0, 255), sysid=st.integers(1, 255), compid=st.integers(1, 255), version=st.sampled_from([1, 2]),
    signed=st.booleans(),
)  # fmt: skip
foreign_frames = st.builds(mavlink_frame, msgid=st.sampled_from(KNOWN), extra=st.integers(0, 255))
unknown_frames = st.builds(mavlink_frame, msgid=st.just(UNKNOWN_ID), payload=st.binary(max_size=20))
magic = st.sampled_from([b"\xfd", b"\xfe", b"\xfd\x00\x00", b"\xfd\xff\x01\x00", b"\xfe\x09\x01\x01\x01\x00"])
pieces = st.one_of(known_frames, foreign_frames, unknown_frames, st.binary(max_size=30), magic)
streams = st.lists(pieces, max_size=12).map(b"".join)


@settings(max_examples=300)
@given(streams, st.lists(st.integers(0, 4000), max_size=8))
def test_every_byte_is_a_frames_or_junk_and_splits_change_nothing(data: bytes, cuts: list[int]) -> None:
    whole = Scanner()
    expected = join([whole.feed(data, 0), whole.finish()])
    assert len(expected.data) + whole.junk_bytes == len(data)
    split = Scanner()
    edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    parts = [split.feed(data[a:b], 0) for a, b in pairwise(edges)]
    got = join([*parts, split.finish()])
    assert got.equals(expected)
    assert (split.bad_crc, split.junk_bytes) == (whole.bad_crc, whole.junk_bytes)


@settings(max_examples=40)
@given(streams)
def test_feeding_byte_by_byte_changes_nothing(data: bytes) -> None:
    whole, single = Scanner(), Scanner()
    expected = join([whole.feed(data, 0), whole.finish()])
    got = join([*(single.feed(data[i : i + 1], 0) for i in range(len(data))), single.finish()])
    assert got.equals(expected)
    assert (single.bad_crc, single.junk_bytes) == (whole.bad_crc, whole.junk_bytes)


@settings(max_examples=150)
@given(st.lists(known_frames, max_size=20))
def test_known_frames_in_a_row_are_all_found(frames: list[bytes]) -> None:
    scanner = Scanner()
    got = join([scanner.feed(b"".join(frames), 0), scanner.finish()])
    assert [got[i] for i in range(len(got))] == frames


stamps = st.integers(1, 4_000_000_000_000_000)


@settings(max_examples=200)
@given(st.lists(st.tuples(stamps, known_frames), min_size=2, max_size=20))
def test_a_clean_tlog_is_written_again_byte_for_byte(rows: list[tuple[int, bytes]]) -> None:
    data = b"".join(stamp.to_bytes(8, "big") + frame for stamp, frame in rows)
    log = read_tlog(data)
    if not log.swapped:  # a stamp of many zero bytes reads well both ways
        assert log.frames.time_us.tolist() == [stamp for stamp, _ in rows]
        assert write_tlog(log.frames) == data


@settings(max_examples=200)
@given(st.lists(st.tuples(st.binary(min_size=8, max_size=8), pieces), max_size=12), st.binary(max_size=20))
def test_any_bytes_read_as_a_log_are_accounted_for(rows: list[tuple[bytes, bytes]], tail: bytes) -> None:
    data = b"".join(stamp + piece for stamp, piece in rows) + tail
    log = read_tlog(data)
    stamp_bytes = 8 * (len(log.frames) - log.unstamped) if log.stamped else 0
    assert len(log.frames.data) + stamp_bytes + log.junk_bytes == len(data)


def test_the_ids_used_here_are_known() -> None:
    assert all(msgid in LAYOUTS for msgid in KNOWN) and UNKNOWN_ID not in LAYOUTS

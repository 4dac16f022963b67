"""Any bytes as a telemetry log or a raw dump: nothing is raised, every byte is accounted for, splits change nothing."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge import framing
from firmware_bridge.log_tables import Damage, LogReader, Portion, read_all
from firmware_bridge.mavlink_log import RawReader, TlogReader
from firmware_bridge.tlog import read_tlog
from shared.frames import Frames, join
from tests.fix_frames import UNKNOWN_ID, mavlink_frame

KNOWN = [0, 1, 22, 24, 30, 33, 65, 74, 147, 230, 253]
T0 = 1_700_000_000_000_000

good = st.builds(
    mavlink_frame, msgid=st.sampled_from(KNOWN), payload=st.binary(min_size=1, max_size=40), seq=st.integers(0, 255),
    sysid=st.sampled_from([0, 1, 1, 255]), version=st.sampled_from([1, 2]), signed=st.booleans(),
)  # fmt: skip
foreign = st.builds(mavlink_frame, msgid=st.sampled_from(KNOWN), extra=st.integers(0, 255))
unknown = st.builds(mavlink_frame, msgid=st.just(UNKNOWN_ID), payload=st.binary(max_size=20))
junk = st.one_of(st.binary(max_size=30), st.just(bytes(12)), st.sampled_from([b"\xfd", b"\xfe", b"\xfd\x00\x00"]))
stamps = st.one_of(st.integers(T0, T0 + 10**7), st.integers(0, 2**63)).map(lambda t: t.to_bytes(8, "big"))
rows = st.one_of(
    st.tuples(stamps, good), st.tuples(stamps, good), st.tuples(stamps, foreign), st.tuples(stamps, unknown),
    st.tuples(junk, good), st.tuples(junk, junk),
)  # fmt: skip
logs = st.lists(rows.map(b"".join), max_size=25).map(b"".join)
bare = st.lists(st.one_of(good, good, good, foreign, unknown, junk), max_size=25).map(b"".join)


@pytest.fixture(autouse=True, scope="module")
def runs_in_small_pieces() -> object:
    """Whole runs and gathering are for long logs; here they are tried on short ones."""
    before = framing.RUNS_FROM, framing.FEW_PIECES
    framing.RUNS_FROM, framing.FEW_PIECES = 0, 1
    yield
    framing.RUNS_FROM, framing.FEW_PIECES = before


def read(reader: LogReader, data: bytes, cuts: list[int]) -> list[Portion]:
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    return read_all(reader, (data[a:b] for a, b in pairwise(edges)))


def frames_of(portions: list[Portion]) -> Frames:
    return join([p.frames for p in portions if p.frames])


def damage(portions: list[Portion]) -> list[Damage]:
    return [d for p in portions for d in p.damage]


def accounted(data: bytes, portions: list[Portion]) -> int:
    """Bytes that are neither a frame's nor damage; the ranges of damage lie apart, in order and inside."""
    assert [p.start for p in portions] == [0, *(p.end for p in portions)][: len(portions)]
    assert (portions[-1].end if portions else 0) == len(data)
    lost = damage(portions)
    assert all(a.offset + a.size < b.offset for a, b in pairwise(lost))
    assert all(d.size > 0 and d.offset >= 0 and d.offset + d.size <= len(data) for d in lost)
    for p in portions:
        for t in p.tables:
            at = int(t.at[-1])
            assert data[at] in b"\xfd\xfe" and p.start <= at < p.end
    return len(data) - len(frames_of(portions).data) - sum(d.size for d in lost)


@settings(max_examples=150)
@given(logs)
def test_the_frames_of_a_telemetry_log_are_those_that_it_is_read_whole_with(data: bytes) -> None:
    portions = read(TlogReader(), data, [])
    whole = read_tlog(data)
    if whole.stamped:
        assert frames_of(portions).equals(whole.frames)
        assert sum(d.size for d in damage(portions)) == whole.junk_bytes
    rest = accounted(data, portions)
    assert rest % 8 == 0 and rest <= 8 * len(frames_of(portions))


@settings(max_examples=120)
@given(logs, st.lists(st.integers(0, 3000), max_size=5), st.sampled_from([30, 200, 1000]))
def test_splits_of_a_telemetry_log_change_nothing(data: bytes, cuts: list[int], piece_bytes: int) -> None:
    first = (T0).to_bytes(8, "big") + mavlink_frame()  # says the order of the stamps' bytes
    a, b = read(TlogReader(piece_bytes), first + data, cuts), read(TlogReader(), first + data, [])
    assert frames_of(a).equals(frames_of(b))
    assert damage(a) == damage(b)
    assert [p.start for p in a if p.is_new_boot] == [p.start for p in b if p.is_new_boot]


@settings(max_examples=120)
@given(bare, st.lists(st.integers(0, 3000), max_size=5), st.sampled_from([30, 200, 1000]))
def test_splits_of_a_raw_dump_change_nothing(data: bytes, cuts: list[int], piece_bytes: int) -> None:
    a, b = read(RawReader(piece_bytes), data, cuts), read(RawReader(), data, [])
    assert accounted(data, b) == 0
    assert frames_of(a).data == frames_of(b).data
    assert np.array_equal(frames_of(a).offsets, frames_of(b).offsets)
    assert damage(a) == damage(b)


@settings(max_examples=80)
@given(st.binary(max_size=800))
def test_garbage_is_read_as_either(data: bytes) -> None:
    read(TlogReader(50), data, [])
    read(RawReader(50), data, [])


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 30), st.integers(1, 255)), min_size=1, max_size=30))
def test_checking_many_crcs_at_once_finds_what_checking_each_does(flips: list[tuple[int, int, int]]) -> None:
    made = [mavlink_frame(30, bytes(range(1, 29)), seq=i, signed=i % 7 == 0, version=1 + i % 2) for i in range(100)]
    for i, at, bits in flips:
        hurt = bytearray(made[i])
        hurt[2 + at % (len(hurt) - 2)] ^= bits
        made[i] = bytes(hurt)
    data = b"".join(bytes(8) + f for f in made)
    at_once = read(TlogReader(), data, [])
    framing.RUNS_FROM = 1 << 40
    try:
        assert frames_of(read(TlogReader(), data, [])).equals(frames_of(at_once))
    finally:
        framing.RUNS_FROM = 0

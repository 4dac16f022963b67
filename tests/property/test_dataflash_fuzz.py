"""Whatever a DataFlash log holds: nothing raises, no byte is unaccounted for, and feeds change nothing."""

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_bridge.dataflash import DataFlashReader
from firmware_bridge.dataflash_text import DataFlashTextReader
from firmware_bridge.dataflash_time import LATEST_US
from firmware_bridge.log_tables import NO_TIME, Portion, read_all
from tests.fix_dataflash import dataflash_log

BLOCK = 4096
LOG = dataflash_log(2)
HEAD = LOG.index(b"\xa3\x95\x74")  # behind FMT, PARM and MSG: the first GPS
TEXT = b"ArduCopter V3.1\nFMT, 128, 89, FMT, BBnNZ, Type,Length,Name,Format,Columns\n"
TEXT += b"FMT, 1, 17, ATT, QcchZ, TimeUS,R,P,N,T\n"
TEXT += b"".join(b"ATT, %d, 0.5, -%d.25, %d, abc\n" % (n * 1000, n, n) for n in range(300))

fragments = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"\xa3\x95", b"\xa3\x95\x80", b"\xa3\x95\x64", bytes(300), b"\xff" * 300, b"\n", b", ", b"FMT, "]),
    st.integers(0, len(LOG) - 200).map(lambda at: LOG[at : at + 200]),
)
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 400), fragments), max_size=8)


def edited(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """The data with bytes taken out and others put in, at places told as parts of its length."""
    for place, gone, fragment in changes:
        at = int(place * len(data))
        data = data[:at] + fragment + data[at + gone :]
    return data


def accounted(portions: list[Portion], size: int) -> list[tuple[int, int]]:
    """What is read and what is lost, in order; fails unless that is every byte of the log once."""
    spans = [(0, portions[0].start)] + [(p.start, p.end) for p in portions]
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert portions[-1].end == size
    out = []
    for p in portions:
        inner = [(d.offset, d.offset + d.size) for d in p.damage if d.size]
        for t in p.tables:
            inner += [(at, at + 3 + t.rows.dtype.itemsize) for at in t.at.tolist()]
        assert all(p.start <= a < b <= p.end for a, b in inner)
        out += inner
    out.sort()
    assert all(a[1] == b[0] for a, b in pairwise(out))
    assert not out or (out[0][0], out[-1][1]) == (0, size)
    return out


def gist(portions: list[Portion]) -> list[object]:
    """All that portions hold, comparable."""
    return [
        (p.start, p.end, p.counts, p.is_new_boot, p.damage, p.texts, [repr(x) for x in p.parameters],
         [(t.name, t.instance, t.time_us.tolist(), t.at.tolist(), t.rows.tobytes(), t.unit) for t in p.tables])
        for p in portions
    ]  # fmt: skip


def pieces(data: bytes, cuts: list[float]) -> list[bytes]:
    """The data in pieces, cut at parts of its length."""
    places = [0, *sorted(int(cut * len(data)) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


@settings(max_examples=150)
@given(st.lists(fragments, max_size=20).map(b"".join))
def test_any_bytes_are_messages_or_damage(data: bytes) -> None:
    portions = read_all(DataFlashReader(BLOCK), [data])
    if data:
        accounted(portions, len(data))


@settings(max_examples=150)
@given(edits)
@example([(0.0215, 0, bytes(22) + b"\xa3\x95\xb3" + bytes(41) + b"\xa3\x95" + bytes(13))])
def test_every_byte_of_an_edited_log_is_in_a_message_or_in_damage(changes: list[tuple[float, int, bytes]]) -> None:
    data = edited(LOG, changes)
    portions = read_all(DataFlashReader(BLOCK), [data])
    if data:
        accounted(portions, len(data))
    for portion in portions:
        for table in portion.tables:
            assert ((table.time_us == NO_TIME) | ((table.time_us >= 0) & (table.time_us <= LATEST_US))).all()


@settings(max_examples=60)
@given(edits, st.lists(st.floats(0, 1), max_size=6))
def test_feeds_change_nothing(changes: list[tuple[float, int, bytes]], cuts: list[float]) -> None:
    data = edited(LOG, changes)
    whole = read_all(DataFlashReader(BLOCK), [data])
    assert gist(read_all(DataFlashReader(BLOCK), pieces(data, cuts))) == gist(whole)


@settings(max_examples=100)
@given(st.floats(0, 1), st.binary(min_size=1, max_size=600).map(lambda raw: raw.replace(b"\xa3", b"\x21")))
def test_overwritten_bytes_cost_no_message_beyond_their_neighbours(place: float, garbage: bytes) -> None:
    sound = accounted(read_all(DataFlashReader(), [LOG]), len(LOG))
    start = HEAD + int(place * (len(LOG) - HEAD - len(garbage)))
    end = start + len(garbage)
    (portion,) = read_all(DataFlashReader(), [LOG[:start] + garbage + LOG[end:]])
    read = {at for table in portion.tables for at in table.at.tolist()}
    before = [a for a, b in sound if b <= start][:-1]
    behind = [a for a, _ in sound if a >= end]
    assert read.issuperset(before)
    assert read.issuperset(behind)


@settings(max_examples=100)
@given(edits, st.lists(st.floats(0, 1), max_size=6))
def test_text_logs_never_fail_and_feeds_change_nothing(
    changes: list[tuple[float, int, bytes]], cuts: list[float]
) -> None:
    data = edited(TEXT, changes)
    whole = read_all(DataFlashTextReader(BLOCK), [data])
    assert gist(read_all(DataFlashTextReader(BLOCK), pieces(data, cuts))) == gist(whole)
    if whole:
        assert (whole[0].start, whole[-1].end) == (0, len(data))
        assert all(a.end == b.start for a, b in pairwise(whole))


@settings(max_examples=60)
@given(st.integers(0, 299), st.binary(min_size=1, max_size=40))
def test_one_bad_line_costs_no_other(number: int, garbage: bytes) -> None:
    lines = TEXT.splitlines(keepends=True)
    lines[3 + number] = garbage + b"\n"
    (portion,) = read_all(DataFlashTextReader(), [b"".join(lines)])
    table = portion.get("ATT")
    assert table is not None
    assert set(range(300)) - {number} <= set(table.rows["N"].tolist())

"""Damaged and hostile ULogs: nothing is raised, every byte is accounted for, and splits change nothing."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.log_tables import Damage, Portion, Table, read_all
from firmware_bridge.ulog_reader import ULogReader
from firmware_bridge.ulog_scan import FILE_HEADER, MAGIC, SYNC
from tests.fix_ulog import UlogWriter, hover, ulog_log


def _nested() -> bytes:
    log = UlogWriter(flags=True)
    log.format("point", [("x", "float"), ("_padding0", "uint8_t[4]")])
    log.topic("line", ends="point[2]", label="char[5]")
    for i in range(30):
        log.sample("line", (5_000 + i).to_bytes(8, "little") + bytes(16) + b"abcde", instance=i % 3)
    log.append()
    for i in range(10):
        log.sample("line", (100 + i).to_bytes(8, "little") + bytes(16) + b"abcde", instance=i % 3)
    log.text(7, 3, "appended", tag=4)
    return bytes(log)


WHOLE = (bytes(hover(seconds=1)), ulog_log(seconds=1), _nested())
STRANGE = (MAGIC, SYNC, b"\x08\x00S" + SYNC, b"D" * 500, WHOLE[2], WHOLE[0][:2000])
damage = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 60_000), st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("insert"), st.integers(0, 60_000), st.binary(max_size=300)),
    st.tuples(st.just("zeros"), st.integers(0, 60_000), st.integers(1, 3_000).map(bytes)),
    st.tuples(st.just("cut"), st.integers(0, 60_000), st.integers(1, 3_000).map(bytes)),
    st.tuples(
        st.just("insert"), st.integers(0, 60_000), st.sampled_from([MAGIC, SYNC, b"\x08\x00S" + SYNC, b"D" * 500])
    ),
    st.tuples(st.just("insert"), st.integers(0, 60_000), st.sampled_from([WHOLE[2], WHOLE[0][:2000]])),
)


def damaged(data: bytes, hurts: list[tuple[str, int, bytes]]) -> bytes:
    for how, at, what in hurts:
        at = at % (len(data) + 1)
        behind = at if how == "insert" else at + len(what)
        data = data[:at] + (b"" if how == "cut" else what) + data[behind:]
    return data


def read(data: bytes, piece_bytes: int, cuts: list[int]) -> list[Portion]:
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    return read_all(ULogReader(piece_bytes), (data[a:b] for a, b in pairwise(edges)))


def joined(portions: list[Portion]) -> dict[str, object]:
    """What a log held, whatever the portions' cuts."""
    tables: dict[tuple[str, int, str], list[Table]] = {}
    for t in (t for p in portions for t in p.tables):
        tables.setdefault((t.name, t.instance, str(t.rows.dtype)), []).append(t)
    return {
        "at": {k: np.concatenate([t.at for t in v]).tolist() for k, v in tables.items()},
        "times": {k: np.concatenate([t.time_us for t in v]).tolist() for k, v in tables.items()},
        "rows": {k: b"".join(t.rows.tobytes() for t in v) for k, v in tables.items()},
        "texts": [t for p in portions for t in p.texts],
        "parameters": repr([x for p in portions for x in p.parameters]),
        "damage": merged([d for p in portions for d in p.damage]),
        "info": {k: v for p in portions for k, v in p.info.items()},
    }


def merged(damages: list[Damage]) -> list[Damage]:
    out: list[Damage] = []
    for d in damages:
        before = Damage(out[-1].offset, d.offset - out[-1].offset, d.reason, d.detail) if out else None
        if out and d.size and out[-1] == before:
            d = Damage(out.pop().offset, before.size + d.size, d.reason, d.detail)
        out.append(d)
    return out


def messages(data: bytes, portions: list[Portion]) -> int:
    """Bytes of the log that are in no damage range, by walking from one to the next."""
    pos, read_bytes = 0, 0
    lost = {d.offset: d.size for p in portions for d in p.damage if d.size}
    while pos < len(data):
        if pos in lost:
            pos += lost.pop(pos)
            continue
        size = FILE_HEADER if data.startswith(MAGIC, pos) else 3 + int.from_bytes(data[pos : pos + 2], "little")
        read_bytes += size
        pos += size
    assert not lost and pos == len(data)
    return read_bytes


logs = st.builds(damaged, st.sampled_from(WHOLE), st.lists(damage, max_size=5))


@settings(max_examples=150)
@given(logs)
def test_every_byte_is_a_messages_or_damage(data: bytes) -> None:
    portions = read(data, 4 << 20, [])
    assert [p.start for p in portions[1:]] == [p.end for p in portions[:-1]]
    assert (portions[-1].end if portions else 0) == len(data)
    messages(data, portions)
    for p in portions:
        assert p.counts == {k: sum(len(t) for t in p.tables if t.name == k) for k in p.counts}
        assert all(p.start <= int(t.at.min()) and int(t.at.max()) < p.end for t in p.tables)


@settings(max_examples=120)
@given(logs, st.lists(st.integers(0, 60_000), max_size=6), st.sampled_from([64, 1000, 20_000]))
def test_splits_change_nothing(data: bytes, cuts: list[int], piece_bytes: int) -> None:
    assert joined(read(data, piece_bytes, cuts)) == joined(read(data, 4 << 20, []))


@settings(max_examples=150)
@given(
    st.binary(max_size=600), st.lists(st.tuples(st.sampled_from("ABCDFILMOPQRS"), st.binary(max_size=40)), max_size=12)
)
def test_garbage_and_made_up_messages(junk: bytes, made: list[tuple[str, bytes]]) -> None:
    log = UlogWriter()
    for kind, body in made:
        log.raw(kind, body)
    for data in (junk, MAGIC + junk, bytes(log), bytes(log) + junk):
        messages(data, read(data, 4 << 20, []))


@settings(max_examples=60)
@given(logs)
def test_rows_are_the_bytes_of_the_log(data: bytes) -> None:
    for p in read(data, 4 << 20, []):
        for t in p.tables:
            at = int(t.at[len(t) // 2])
            body = data[at + 5 : at + 5 + t.rows.dtype.itemsize]
            assert np.frombuffer(body, t.rows.dtype)[0].tobytes() == t.rows[len(t) // 2].tobytes()

"""A damaged store: set aside, salvaged, owned up to; recording goes on."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from agent import journal
from agent.salvage import KEPT_ASIDE
from shared.errors import Refused
from shared.frames import join
from tests.fix_agent import check_chain
from tests.fix_recorder import COPTER, Bench, Talker, frames_of, sealed_frames

Damage = Callable[[Path, random.Random], None]


def truncate(path: Path, dice: random.Random) -> None:
    with path.open("r+b") as file:
        file.truncate(dice.randrange(path.stat().st_size))


def flip_bytes(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(200):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def zero_pages(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(5):
        page = dice.randrange(len(data) // 1024) * 1024
        data[page : page + 1024] = bytes(1024)
    path.write_bytes(data)


def garbage_header(path: Path, dice: random.Random) -> None:
    with path.open("r+b") as file:
        file.write(dice.randbytes(100))


def empty(path: Path, dice: random.Random) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_bytes, zero_pages, garbage_header, empty])
@pytest.mark.parametrize("seed", range(4))
def test_recording_goes_on_and_what_is_salvaged_is_unaltered(bench: Bench, damage: Damage, seed: int) -> None:
    bench.recorder.is_live = True
    bench.recorder.arm(COPTER, bench.now_us, bench.now)
    bench.fly(30, rate_hz=100)
    before, journaled, session = bench.batches(), bench.journaled_frames(), bench.recorder.state.session
    bench.recorder.store.shrink()  # everything into the main file, where the damage goes
    bench.recorder.store.close()
    damage(bench.path, random.Random(seed))
    bench.start().is_live = True
    fresh = bench.fly(8)
    bench.recorder.seal_now(bench.now)
    after = bench.batches()
    assert all(before[key][1] == digest for key, (_, digest) in after.items() if key in before)
    own = {key: value for key, value in after.items() if key[0] == bench.stream}
    assert sealed_frames(own).data.endswith(fresh.data)
    if bench.stream not in {stream for stream, _ in before}:
        check_chain(own)
        gaps = [r for b, _ in own.values() for r in b.records if r["type"] == "gap"]
        assert [g["reason"] for g in gaps] == ["store_reset"] or damage is empty
        assert sealed_frames(own).data in (journaled.data + fresh.data, fresh.data)
    assert session is not None


def test_a_store_of_a_newer_schema_is_set_aside_and_its_batches_are_still_sent(bench: Bench) -> None:
    bench.recorder.is_live = True
    bench.fly(9.5)
    before, journaled = bench.batches(), bench.journaled_frames()
    bench.recorder.store.conn.execute("PRAGMA user_version = 99")
    bench.recorder.store.close()
    bench.start().is_live = True
    fresh = bench.fly(4)
    bench.recorder.seal_now(bench.now)
    after = bench.batches()
    assert before.items() <= after.items()
    own = {key: value for key, value in after.items() if key not in before}
    assert sealed_frames(own).data == join([journaled, fresh]).data
    assert "newer" in bench.records()[-1]["detail"] or any("newer" in r.get("detail", "") for r in bench.records())


def test_damage_met_while_recording_costs_no_frame_that_is_in_memory(bench: Bench) -> None:
    bench.recorder.is_live = True
    bench.fly(6)
    before = bench.batches()
    bench.recorder.store.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    bench.fly(0.5)
    data = bytearray(bench.path.read_bytes())
    for page in range(1, len(data) // 1024):
        data[page * 1024 : page * 1024 + 64] = b"\xff" * 64
    bench.path.write_bytes(data)
    bench.recorder.store.conn.execute("PRAGMA shrink_memory").fetchall()
    bench.recorder.store.conn.execute("PRAGMA cache_size = 1").fetchall()
    fed = bench.fly(10)
    bench.recorder.seal_now(bench.now)
    own = {key: value for key, value in bench.batches().items() if key[0] == bench.stream}
    assert bench.recorder.generation == 1 and bench.stream not in {stream for stream, _ in before}
    assert sealed_frames(own).data.endswith(fed.data)
    check_chain(own)


def test_a_write_ahead_log_cut_short_costs_only_its_last_transactions(bench: Bench) -> None:
    bench.recorder.is_live = True
    fed = bench.fly(7)
    bench.recorder.store.conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    fed = join([fed, bench.fly(4)])
    wal = bench.path.with_name(bench.path.name + "-wal")
    saved, cut = bench.path.read_bytes(), wal.read_bytes()[: wal.stat().st_size - 700]
    bench.recorder.store.close()
    bench.path.write_bytes(saved)
    wal.write_bytes(cut)
    bench.start()
    bench.recorder.seal_now(bench.now)
    check_chain(bench.batches())
    assert fed.data.startswith(bench.sealed_frames().data)


def test_old_set_aside_files_do_not_fill_the_disk(bench: Bench) -> None:
    for _ in range(4):
        bench.fly(2)
        bench.recorder.store.close()
        bench.path.write_bytes(b"not a database at all" * 100)
        bench.start()
    assert (
        len({p.name for p in bench.path.parent.iterdir() if ".torn-" in p.name and "-wal" not in p.name}) <= KEPT_ASIDE
    )


def test_a_damaged_journal_row_is_a_gap_record_and_the_others_are_sealed(bench: Bench) -> None:
    bench.fly(4.2)
    conn = bench.recorder.store.conn
    rows = conn.execute("SELECT id, frames, body FROM journal ORDER BY id").fetchall()
    body = bytearray(rows[1][2])
    body[len(body) // 2] ^= 1
    conn.execute("UPDATE journal SET body = ? WHERE id = ?", (bytes(body), rows[1][0]))
    whole = join([journal.unpack(bytes(b)) for i, _, b in rows if i != rows[1][0]])
    bench.recorder.store.close()
    bench.start()
    bench.recorder.finish(bench.now)
    assert bench.sealed_frames().equals(whole)
    (gap,) = bench.records()
    assert (gap["reason"], gap["frames"]) == ("journal_torn", rows[1][1])


_BODIES = [journal.pack(frames_of([Talker().attitude() for _ in range(n)], 5)) for n in (3, 40, 2500)]


@given(st.sampled_from(_BODIES), st.data())
@budget(max_examples=200)
def test_no_changed_byte_of_a_journal_row_goes_unnoticed(body: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(body) - 1))
    bad = bytearray(body)
    bad[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Refused):
        journal.unpack(bytes(bad))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_as_a_journal_row_are_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        journal.unpack(body)


def test_the_database_of_sqlite_is_used_as_it_is(bench: Bench) -> None:
    """The pragmas on which durability and wear depend are in force."""
    conn: sqlite3.Connection = bench.recorder.store.conn
    found = {
        name: conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "page_size")
    }
    assert found == {"journal_mode": "wal", "synchronous": 2, "page_size": 1024}

"""The agent's SQLite file itself: opened by several processes at once, and given back to the disk."""

import multiprocessing as mp
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from agent import imports_store
from agent.store import Store
from tests.fix_imports import Station


def _open(path: Path, start: Barrier, said: "Queue[str]") -> None:
    start.wait()
    try:
        store = Store(path)
        store.migrate(imports_store.migrations)
        store.close()
        said.put("opened")
    except Exception as e:
        said.put(f"{type(e).__name__}: {e}")


def test_processes_that_open_a_new_file_at_once_all_open_it(tmp_path: Path) -> None:
    for k in range(8):
        path, start, said = tmp_path / f"{k}.db", mp.Barrier(4), mp.Queue()
        openers = [mp.Process(target=_open, args=(path, start, said)) for _ in range(4)]
        for p in openers:
            p.start()
        assert [said.get(timeout=30) for _ in openers] == ["opened"] * 4
        for p in openers:
            p.join()


def test_a_shrink_gives_back_a_megabyte_not_a_page(station: Station) -> None:
    store = Store(station.folder / "x.db")
    with store.transaction() as conn:
        conn.execute("CREATE TABLE filler (body BLOB)")
        conn.executemany("INSERT INTO filler VALUES (zeroblob(900))", [()] * 3000)
    with store.transaction() as conn:
        conn.execute("DELETE FROM filler")
    before = store.free_bytes()
    store.shrink()
    assert before > 2 << 20 and before - store.free_bytes() >= 1 << 20

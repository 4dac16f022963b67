"""A card may be wiped only when every byte of every log on it is proven to be in the hub."""

import gzip
import os
import zipfile
from pathlib import Path

import pytest

from agent.card import Card, FileVerdict, may_be_wiped
from agent.imports import ImportQueue
from agent.imports_run import Import, find_files
from tests.fix_agent import HubKey
from tests.fix_imports import Station, surveyed, write_log


@pytest.fixture
def card(station: Station) -> Path:
    """A card with two logs on it."""
    folder = station.folder / "card"
    write_log(folder / "LOGS" / "1.BIN", 8)
    write_log(folder / "LOGS" / "2.BIN", 9)
    return folder


def judged(queue: ImportQueue, card: Path) -> list[FileVerdict]:
    return [v for path in find_files([card], queue.folder) for v in Card(queue).judge(path)]


def imported(queue: ImportQueue, card: Path) -> None:
    for _ in Import(queue, None, False, None, lambda _what, _n: None).run(find_files([card], queue.folder)):
        pass


def receipt_all(station: Station, queue: ImportQueue, leave_out: int = 0) -> None:
    for row in queue.imports():
        station.receipt(queue, row.stream_no, leave_out)


def test_a_card_that_was_never_imported_is_not_to_be_wiped(station: Station, card: Path) -> None:
    found = judged(station.queue(), card)
    assert [v.state for v in found] == ["not imported"] * 2 and not may_be_wiped(found)


def test_queued_logs_are_not_to_be_wiped(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    found = judged(queue, card)
    assert [v.state for v in found] == ["queued"] * 2 and not may_be_wiped(found)


def test_receipts_for_all_but_the_last_batch_do_not_free_a_card(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    receipt_all(station, queue, leave_out=1)
    found = judged(queue, card)
    assert [v.state for v in found] == ["sending"] * 2 and not may_be_wiped(found)


def test_receipts_for_every_batch_free_a_card_and_are_still_good_after_a_restart(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    receipt_all(station, queue)
    queue.close()
    found = judged(station.queue(), card)
    assert [v.state for v in found] == ["whole"] * 2 and may_be_wiped(found)
    assert all(v.proof == "batch receipts" and v.receipts == 1 and v.committed_us for v in found)


def test_a_log_receipt_frees_a_card(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    queue.take_log_receipt(station.log_receipt(*((row.log, row.size) for row in queue.imports())))
    found = judged(queue, card)
    assert may_be_wiped(found) and {v.proof for v in found} == {"log receipt"}


def test_one_log_without_a_receipt_keeps_the_whole_card(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    first = queue.imports()[0]
    station.receipt(queue, first.stream_no)
    found = judged(queue, card)
    assert [v.state for v in found] == ["whole", "queued"] and not may_be_wiped(found)


def test_receipts_in_the_store_that_another_key_signed_prove_nothing(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    station.hub_key = HubKey()
    receipt_all(station, queue)
    found = judged(queue, card)
    assert {v.state for v in found} == {"queued"} and not may_be_wiped(found)


def test_a_receipt_in_the_store_that_was_tampered_with_proves_nothing(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    receipt_all(station, queue)
    with queue.store.transaction() as conn:
        for id_, body in conn.execute("SELECT id, body FROM receipt").fetchall():
            conn.execute("UPDATE receipt SET body = ? WHERE id = ?", (body[:-1] + bytes([body[-1] ^ 1]), id_))
    assert not may_be_wiped(judged(queue, card))


def test_a_log_that_changed_by_one_byte_is_not_the_one_that_was_imported(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    receipt_all(station, queue)
    path = card / "LOGS" / "1.BIN"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    stat = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    found = judged(queue, card)
    assert [v.state for v in found] == ["changed since import", "whole"] and not may_be_wiped(found)


def test_a_log_that_grew_since_is_not_the_one_that_was_imported(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    receipt_all(station, queue)
    with (card / "LOGS" / "2.BIN").open("ab") as out:
        out.write(b"\xa3\x95\x80")
    assert not may_be_wiped(judged(queue, card))


def test_other_files_are_named_and_do_not_block(station: Station, card: Path) -> None:
    (card / "DCIM").mkdir()
    (card / "DCIM" / "photo.jpg").write_bytes(b"\xff\xd8 a photo")
    (card / "EMPTY.BIN").write_bytes(b"")
    queue = station.queue()
    imported(queue, card)
    receipt_all(station, queue)
    found = judged(queue, card)
    assert may_be_wiped(found)
    assert {Path(v.file).name for v in found if v.state == "no log"} == {"photo.jpg", "EMPTY.BIN"}


def test_a_folder_that_cannot_be_read_keeps_the_card(
    station: Station, card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = station.queue()
    imported(queue, card)
    receipt_all(station, queue)
    assert may_be_wiped(judged(queue, card))
    (card / "LOST.DIR").mkdir()
    real = os.scandir

    def broken(path: str) -> object:
        if str(path).endswith("LOST.DIR"):
            raise OSError(5, "Input/output error", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", broken)
    found = judged(queue, card)
    assert "unreadable" in {v.state for v in found} and not may_be_wiped(found)


def test_a_card_without_a_log_is_not_said_to_be_safe(station: Station) -> None:
    folder = station.folder / "card"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(b"\xff\xd8 a photo")
    assert not may_be_wiped(judged(station.queue(), folder))


def test_a_packed_log_is_judged_by_what_is_in_it(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    receipt_all(station, queue)
    packed = gzip.compress((card / "LOGS" / "1.BIN").read_bytes())
    (card / "1.BIN.gz").write_bytes(packed)
    assert may_be_wiped(judged(queue, card))
    (card / "1.BIN.gz").write_bytes(packed[: len(packed) // 2])
    found = judged(queue, card)
    assert not may_be_wiped(found) and "cut short" in {v.state for v in found}


def test_each_log_in_a_zip_counts(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    receipt_all(station, queue)
    other = write_log(station.folder / "other.BIN", 11)
    with zipfile.ZipFile(card / "all.zip", "w") as out:
        out.write(card / "LOGS" / "1.BIN", "1.BIN")
        out.write(other, "other.BIN")
    found = [v for v in judged(queue, card) if "zip" in v.file]
    assert {v.state for v in found} == {"whole", "not imported"} and not may_be_wiped(judged(queue, card))


def test_a_torn_store_claims_nothing(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    receipt_all(station, queue)
    queue.close()
    file = station.data / "imports.db"
    data = bytearray(file.read_bytes())
    data[2048:8192] = bytes(6144)
    file.write_bytes(data)
    again = station.queue()
    assert again.was_torn and not may_be_wiped(judged(again, card))


def test_an_import_that_was_broken_off_is_not_whole_whatever_is_receipted(station: Station, card: Path) -> None:
    queue = station.queue()
    imported(queue, card)
    receipt_all(station, queue)
    with queue.store.transaction() as conn:
        conn.execute("UPDATE import SET state = 0")
    assert not may_be_wiped(judged(queue, card))


def test_a_log_that_was_imported_under_another_name_is_whole(station: Station, card: Path) -> None:
    queue = station.queue()
    queue.add(*surveyed(card / "LOGS" / "1.BIN"), None, "card")
    receipt_all(station, queue)
    (card / "LOGS" / "1.BIN").rename(card / "renamed")
    (card / "LOGS" / "2.BIN").unlink()
    assert may_be_wiped(judged(queue, card))

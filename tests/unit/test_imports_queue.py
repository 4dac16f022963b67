"""Recorded logs in their queue: whole, once, whatever happens meanwhile."""

import gzip
import hashlib
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent import imports, imports_packing, imports_store, store
from agent.imports import ImportQueue
from agent.imports_store import ImportState
from firmware_bridge.log_packing import container
from shared.envelope import MAX_ENVELOPE_BYTES
from shared.errors import Refused
from shared.receipt import make_receipt
from shared.records import LogPart
from shared.topics import Lane
from tests.fix_imports import Station, logs_of, queued_batches, surveyed, write_log


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short log makes many batches, in many transactions."""
    monkeypatch.setattr(imports, "SLICE_BYTES", 1000)
    monkeypatch.setattr(imports_packing, "SLICES_AT_ONCE", 2)
    monkeypatch.setattr(container, "SEGMENT_BYTES", 20_000)


def test_a_queued_log_comes_back_from_its_batches_byte_for_byte(station: Station, small_slices: None) -> None:
    path = write_log(station.folder / "00000012.BIN")
    queue, aircraft = station.queue(), uuid.uuid4()
    done = queue.add(*surveyed(path), aircraft, "card")
    batches = queued_batches(queue)
    ((manifest, data),) = logs_of(batches).values()
    assert data == path.read_bytes()
    assert done.is_new and done.packed_bytes == manifest.packed_bytes < len(data) / 3
    assert (manifest.log, manifest.size_bytes) == (hashlib.sha256(data).digest(), len(data))
    assert (manifest.name, manifest.origin, manifest.format) == ("00000012.BIN", "card", "dataflash")
    assert manifest.aircraft == aircraft and manifest.hardware_ids
    packed = b"".join(r["packed"] for b, _ in batches.values() for r in b.records if r["type"] == LogPart.type)
    assert hashlib.sha256(packed).digest() == manifest.packed_sha256


def test_imported_logs_go_in_the_bulk_lane_in_envelopes_that_the_wire_takes(station: Station) -> None:
    queue = station.queue()
    queue.add(*surveyed(write_log(station.folder / "a.BIN", 120, rate_hz=100)), None, "card")
    assert {b.lane for b, _ in queued_batches(queue).values()} == {Lane.bulk}
    assert queue.waiting()[1] < MAX_ENVELOPE_BYTES


def test_the_same_log_packed_or_renamed_is_the_same_import(station: Station) -> None:
    path = write_log(station.folder / "a.BIN")
    other = station.folder / "renamed.log.gz"
    other.write_bytes(gzip.compress(path.read_bytes()))
    queue = station.queue()
    queue.add(*surveyed(path), None, "card")
    before = queued_batches(queue)
    again = queue.add(*surveyed(other), None, "offload")
    assert not again.is_new and not again.is_assigned
    assert queued_batches(queue) == before


def test_an_aircraft_said_later_goes_out_as_a_second_manifest(station: Station) -> None:
    path, aircraft = write_log(station.folder / "a.BIN"), uuid.uuid4()
    queue = station.queue()
    queue.add(*surveyed(path), None, "card")
    assert queue.add(*surveyed(path), aircraft, "card").is_assigned
    ((manifest, data),) = logs_of(queued_batches(queue)).values()
    assert manifest.aircraft == aircraft and data == path.read_bytes()
    assert not queue.add(*surveyed(path), aircraft, "card").is_assigned


class _Killed(BaseException):
    """The process ends here."""


def _kill_at(monkeypatch: pytest.MonkeyPatch, write: int, is_after: bool) -> None:
    """End at the n-th transaction of slices, before it or after it."""
    count, real = 0, ImportQueue._write

    def dying(self: ImportQueue, row: imports_store.ImportRow, offset: int, slices: Sequence[bytes]) -> None:
        nonlocal count
        count += 1
        if count == write and not is_after:
            raise _Killed
        real(self, row, offset, slices)
        if count == write:
            raise _Killed

    monkeypatch.setattr(ImportQueue, "_write", dying)


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("write", [1, 2, 4])
def test_an_import_broken_off_goes_on_where_it_ended(
    station: Station, small_slices: None, monkeypatch: pytest.MonkeyPatch, write: int, is_after: bool
) -> None:
    path = write_log(station.folder / "a.BIN")
    queue = station.queue()
    with monkeypatch.context() as patch:
        _kill_at(patch, write, is_after)
        with pytest.raises(_Killed):
            queue.add(*surveyed(path), None, "card")
    before = queued_batches(queue)
    queue.close()
    again = station.queue()
    assert again.imports()[0].state == ImportState.packing
    assert again.add(*surveyed(path), None, "card").is_new
    after = queued_batches(again)
    assert before.items() <= after.items()
    ((_, data),) = logs_of(after).values()
    assert data == path.read_bytes()


def test_readers_of_the_queue_begin_anew_when_an_older_import_goes_on(
    station: Station, small_slices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (write_log(station.folder / f"{n}.BIN", 10 + n) for n in (1, 2))
    queue, reader = station.queue(), station.queue()
    with monkeypatch.context() as patch:
        _kill_at(patch, 1, is_after=True)
        with pytest.raises(_Killed):
            queue.add(*surveyed(first), None, "card")
    queue.add(*surveyed(second), None, "card")
    reader.follow()
    before = reader.generation
    queue.add(*surveyed(first), None, "card")
    reader.follow()
    assert reader.generation > before


def test_what_another_version_packed_otherwise_begins_in_another_stream(
    station: Station, small_slices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_log(station.folder / "a.BIN")
    queue = station.queue()
    with monkeypatch.context() as patch:
        _kill_at(patch, 2, is_after=True)
        with pytest.raises(_Killed):
            queue.add(*surveyed(path), None, "card")
    with queue.store.transaction() as conn:
        conn.execute("UPDATE slice SET packed = zeroblob(32) WHERE id % 2 = 0")
    queue.add(*surveyed(path), None, "card")
    batches = queued_batches(queue)
    assert len({stream for stream, _ in batches}) == 2
    ((_, data),) = logs_of(batches).values()
    assert data == path.read_bytes()


def test_a_file_that_changes_while_it_is_read_gets_no_manifest(station: Station) -> None:
    path = write_log(station.folder / "a.BIN")
    source, found = surveyed(path)
    queue = station.queue()
    with pytest.raises(Refused, match="log_changed"):
        queue.add(source, replace(found, sha256=bytes(32)), None, "card")
    assert logs_of(queued_batches(queue)) == {}


def test_too_full_a_disk_refuses_before_anything_is_written(station: Station) -> None:
    path = write_log(station.folder / "a.BIN")
    queue = station.queue(keep_free_bytes=shutil.disk_usage(station.folder).total * 2)
    with pytest.raises(Refused, match="disk_full"):
        queue.add(*surveyed(path), None, "card")
    assert queue.imports() == [] and queue.waiting() == (0, 0)


def test_a_disk_that_fills_meanwhile_refuses_and_the_import_goes_on_later(
    station: Station, small_slices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_log(station.folder / "a.BIN")
    queue = station.queue()
    asked = 0

    def fills_up(self: ImportQueue, size_bytes: int) -> None:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise Refused("disk_full", "now")

    with monkeypatch.context() as patch:
        patch.setattr(ImportQueue, "make_room", fills_up)
        with pytest.raises(Refused, match="disk_full"):
            queue.add(*surveyed(path), None, "card")
    assert queue.waiting()[0] > 0
    queue.add(*surveyed(path), None, "card")
    ((_, data),) = logs_of(queued_batches(queue)).values()
    assert data == path.read_bytes()


def test_an_aircrafts_device_imports_for_no_other_aircraft(station: Station) -> None:
    path = write_log(station.folder / "a.BIN")
    queue = ImportQueue(station.data, replace(station.identity, kind="aircraft"), 0)
    with pytest.raises(Refused, match="log_of_other_aircraft"):
        queue.add(*surveyed(path), uuid.uuid4(), "card")
    assert queue.add(*surveyed(path), station.identity.aircraft_id, "card").is_new


def test_receipted_batches_leave_the_outbox_and_their_receipts_stay(station: Station, small_slices: None) -> None:
    queue = station.queue()
    done = queue.add(*surveyed(write_log(station.folder / "a.BIN")), None, "card")
    row = queue.find(done.log)
    assert row is not None
    station.receipt(queue, row.stream_no, leave_out=1)
    assert queue.waiting()[0] == 1
    kept = imports_store.slices(queue.store.conn, row.stream_no)
    assert sum(s.receipt is None for s in kept) == 1


def test_room_on_the_disk_comes_back_when_all_is_receipted(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "_WORTH_GIVING_BYTES", 10_000)
    queue = station.queue()
    done = queue.add(*surveyed(write_log(station.folder / "a.BIN", 120, rate_hz=100)), None, "card")
    row = queue.find(done.log)
    assert row is not None
    station.receipt(queue, row.stream_no)
    used = queue.store.size_bytes() - queue.store.log_bytes()
    queue.give_back()
    assert queue.store.free_bytes() == 0
    assert (station.data / imports.FILE).stat().st_size <= used


def test_a_log_that_the_hub_has_is_not_sent(station: Station) -> None:
    queue = station.queue()
    done = queue.add(*surveyed(write_log(station.folder / "a.BIN")), None, "card")
    assert queue.take_log_receipt(station.log_receipt((done.log, done.size_bytes))) == {done.log}
    assert queue.waiting() == (0, 0)


def test_a_log_receipt_of_another_size_or_another_key_changes_nothing(station: Station) -> None:
    queue = station.queue()
    done = queue.add(*surveyed(write_log(station.folder / "a.BIN")), None, "card")
    before = queue.waiting()
    queue.take_log_receipt(station.log_receipt((done.log, done.size_bytes + 1)))
    with pytest.raises(Refused):
        queue.take_log_receipt(station.log_receipt((done.log, done.size_bytes), key=type(station.hub_key)()))
    assert queue.waiting() == before


def test_a_torn_store_is_set_aside_and_its_logs_can_be_imported_again(station: Station) -> None:
    path = write_log(station.folder / "a.BIN")
    queue = station.queue()
    queue.add(*surveyed(path), None, "card")
    queue.close()
    file = station.data / imports.FILE
    data = bytearray(file.read_bytes())
    data[1024 * 3 : 1024 * 6] = bytes(1024 * 3)
    file.write_bytes(data)
    again = station.queue()
    assert again.was_torn
    assert again.find(hashlib.sha256(path.read_bytes()).digest()) is None
    assert again.add(*surveyed(path), None, "card").is_new
    assert list(Path(station.data).glob("imports.db.torn-*"))


def test_a_batch_damaged_on_disk_makes_its_log_one_to_be_imported_again(station: Station) -> None:
    path = write_log(station.folder / "a.BIN")
    queue = station.queue()
    done = queue.add(*surveyed(path), None, "card")
    queue.damaged.append(store.outbox_rows(queue.store.conn)[0])
    queue.drop_damaged(queue.damaged)
    assert queue.find(done.log) is None and queue.waiting() == (0, 0)
    assert queue.add(*surveyed(path), None, "card").is_new


def test_a_hub_that_has_other_batches_of_a_stream_makes_its_log_one_to_be_imported_again(station: Station) -> None:
    queue = station.queue()
    done = queue.add(*surveyed(write_log(station.folder / "a.BIN")), None, "card")
    row = queue.find(done.log)
    assert row is not None
    stream = store.streams(queue.store.conn)[row.stream_no]
    queue.hear(make_receipt(stream, {1: bytes(32)}, 1), b"")
    queue.settle()
    assert queue.find(done.log) is None

"""Starting: what an earlier run left in the store is put in order before new frames come.

Journal rows of an earlier run are sealed first, under the boot and session that they were recorded in. The same clock
(same machine boot, or the same log) goes on with its boot and an open session; another clock closes that session.
"""

import logging
import sqlite3
import uuid
from pathlib import Path

import cbor2

from agent import journal, salvage, store
from agent.clock_model import ClockModel
from agent.policy import Policy
from agent.recorder import Recorder
from agent.room import LEAST_DISK_BYTES, Room
from agent.salvage import FindKey, Salvaged, open_store, reset_gap, set_aside
from agent.sealing import Chain, Signer
from agent.session import RecorderState, unpack_state
from agent.store import Store
from agent.waiting import Now
from shared.errors import Refused
from shared.frames import Frames, no_frames
from shared.ids import new_id
from shared.records import Gap

log = logging.getLogger("dbx.recorder")


def start(
    path: Path, signer: Signer, find_key: FindKey, clock: ClockModel, policy: Policy, epoch: uuid.UUID, now: Now
) -> Recorder:  # fmt: skip
    """Open the store and put it in order. OSError or sqlite3.Error when the folder cannot be written at all.

    epoch: which clock stamps frames from now on (session.RecorderState).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    room = Room(path.parent)
    opened = _open(path, find_key, room)
    state, gap = _first_state(opened.store, opened.salvaged, epoch)

    def reopen(before: RecorderState) -> tuple[Store, RecorderState, Gap]:
        return _reopen(path, find_key, before)

    recorder = Recorder(opened.store, state, signer, clock, policy, room, reopen)
    holds = remembered(opened.store, "holds")
    recorder.holds = set(holds) if isinstance(holds, list) else set()
    if gap is not None:
        recorder.records.append(gap)
    _settle(recorder, epoch, now)
    return recorder


def _open(path: Path, find_key: FindKey, room: Room) -> salvage.Opened:
    """Open the store; on a full disk with what the reserve gives."""
    store_bytes = path.stat().st_size if path.exists() else 0
    if room.free_bytes() + store_bytes < LEAST_DISK_BYTES:
        log.warning("little room on the disk", extra={"free_bytes": room.free_bytes(), "store_bytes": store_bytes})
    try:
        return open_store(path, find_key)
    except sqlite3.Error as e:
        if not room.has_reserve or not room.is_short(e):
            raise
        log.warning("disk full at the start, reserve given up", extra={"error": str(e)})
        room.give_up()
        return open_store(path, find_key)


def remembered(opened: Store, key: str) -> object:
    """A CBOR value of the store's state; None when there is none."""
    with opened.lock:
        value = store.get_state(opened.conn, key)
    return None if value is None else cbor2.loads(value)


def _first_state(opened: Store, salvaged: Salvaged | None, epoch: uuid.UUID) -> tuple[RecorderState, Gap | None]:
    with opened.lock:
        body = store.get_state(opened.conn, "recorder")
    if body is not None:
        return unpack_state(body), None
    return new_state(opened, salvaged, epoch)


def new_state(opened: Store, salvaged: Salvaged | None, epoch: uuid.UUID) -> tuple[RecorderState, Gap | None]:
    """The state of a store without one: a new stream; boot, epoch and file position as salvaged, where they were."""
    stream = new_id()
    with opened.transaction() as conn:
        number = store.add_stream(conn, stream)
    state = RecorderState(Chain(number, stream), new_id(), epoch)
    if salvaged is None:
        return state, None
    if salvaged.state is not None:
        state.boot, state.epoch = salvaged.state.boot, salvaged.state.epoch
        state.covered_us, state.position = salvaged.state.covered_us, salvaged.state.position
    return state, reset_gap(salvaged, stream)


def _reopen(path: Path, find_key: FindKey, before: RecorderState) -> tuple[Store, RecorderState, Gap]:
    """The store tore while in use: its frames that are not sealed are still in memory, so its journal is dropped."""
    try:
        opened = open_store(path, find_key)
        if opened.salvaged is None:  # it opens all the same; damage met once is not trusted again
            opened.store.close()
            aside = set_aside(path)
            opened = _salvage_again(path, aside, find_key)
    except sqlite3.Error:
        set_aside(path)
        opened = open_store(path, find_key)
    salvaged = opened.salvaged or Salvaged("damaged while in use")
    salvaged.state = before
    with opened.store.transaction() as conn:
        store.drop_journal(conn, 1 << 62)
    state, gap = new_state(opened.store, salvaged, before.epoch)
    assert gap is not None
    state.wire = before.wire
    return opened.store, state, gap


def _salvage_again(path: Path, aside: Path, find_key: FindKey) -> "salvage.Opened":
    found = salvage.read_torn(aside, find_key, "damaged while in use")
    fresh = Store(path)
    salvage.put_back(fresh, found)
    return salvage.Opened(fresh, found)


def _settle(recorder: Recorder, epoch: uuid.UUID, now: Now) -> None:
    """Seal the journal of the earlier run; end its boot when its clock is not ours."""
    same = recorder.state.epoch == epoch
    clock, recorder.clock = recorder.clock, recorder.clock if same else ClockModel()
    _seal_journal(recorder, now)
    if not same and not recorder.new_boot(now, epoch):
        recorder.make_room(now, is_last=True)
        if not recorder.new_boot(now, epoch):  # frames of this clock under the earlier boot would get wrong times
            raise OSError(f"the store cannot be written: {recorder.write_failed}; free some space on the disk")
    recorder.clock = clock


def _seal_journal(recorder: Recorder, now: Now) -> None:
    with recorder.store.lock:
        rows = store.journal_rows(recorder.store.conn)
    if not rows:
        return
    for row in rows:
        frames = _frames(recorder, row)
        recorder.take_back(frames, row, now)
    recorder.seal_now(now)


def _frames(recorder: Recorder, row: store.JournalRow) -> Frames:
    try:
        return journal.unpack(row.body)
    except Refused as torn:
        session = row.session
        gap = Gap("journal_torn", recorder.state.chain.stream, session=session, frames=row.frames, detail=torn.detail)
        recorder.records.append(gap)
        return no_frames()

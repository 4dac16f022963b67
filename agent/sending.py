"""One outbox on its way to the hub: what is next, what is under way, whose receipts are whose."""

import sqlite3
import uuid
from collections import deque
from typing import Protocol

from agent import store
from agent.send_queue import SendQueue
from agent.store import OutboxRow, Store
from agent.window import Window
from shared.receipt import Receipt
from shared.topics import Lane


class Outbox(Protocol):
    """Sealed batches in a store, and who takes what becomes of them: the recorder, or the imported logs."""

    store: Store
    generation: int
    """Grows when the store is replaced."""
    suspect: str
    """What a reader met that only damage explains."""
    damaged: deque[OutboxRow]
    """Batches found damaged on disk."""

    def hear(self, receipt: Receipt, sealed: bytes) -> None:
        """A receipt whose signature holds, and its envelope."""


class Sending:
    """See the module. The uplink thread's."""

    def __init__(self, outbox: Outbox, window: Window) -> None:
        self.queue = SendQueue(outbox)
        self.window = window
        self._outbox = outbox
        self._streams: dict[uuid.UUID, int] = {}
        self._receipted: set[int] = set()

    def next(self, lane: Lane) -> tuple[OutboxRow, bytes] | None:
        """The next batch of a lane, when the window has room for it."""
        return self.queue.next(lane) if self.window.has_room(lane) else None

    def refresh(self, now_s: float) -> None:
        """Follow a replaced store; what waits for its receipt too long is sent again."""
        if self.queue.is_reset():
            self.window.sent.clear()
        self.queue.again(self.window.overdue(now_s))

    def is_idle(self) -> bool:
        """Whether the broker has confirmed all that was sent."""
        return all(s.acked_s is not None for s in self.window.sent.values())

    def _present(self) -> set[int]:
        """Ids of what is in the outbox; when it cannot be read just now, of all that was sent."""
        try:
            with self._outbox.store.lock:
                return store.outbox_ids(self._outbox.store.conn)
        except sqlite3.ProgrammingError:  # the store is being replaced
            pass
        except sqlite3.DatabaseError as e:
            self._outbox.suspect = str(e)
        return self.window.unreceipted() | self._receipted

    def forget_gone(self) -> None:
        """What was receipted, evicted or sealed again is not waited for."""
        if waited := self.window.unreceipted() | self._receipted:
            present = self._present()
            self._receipted &= present
            for key in waited - present:
                self.window.forget(key)

    def is_drained(self) -> bool:
        """Whether all that is in the outbox is receipted."""
        return not self._present() - self._receipted

    def _read_streams(self) -> None:
        try:
            with self._outbox.store.lock:
                self._streams = {i: no for no, i in store.streams(self._outbox.store.conn).items()}
        except sqlite3.ProgrammingError:  # the store is being replaced; the hub says it again
            pass
        except sqlite3.DatabaseError as e:
            self._outbox.suspect = str(e)

    def take_receipt(self, receipt: Receipt, sealed: bytes) -> bool:
        """A receipt whose signature holds. False when it speaks of no stream of this outbox."""
        if receipt.stream not in self._streams:
            self._read_streams()
        number = self._streams.get(receipt.stream)
        if number is None:
            return False
        for seq, digest in receipt.committed().items():
            key = number << store.SEQ_BITS | seq
            self._receipted.add(key)
            self.window.receipt(key, digest)
        self._outbox.hear(receipt, sealed)
        return True

"""What goes out next: reads the outbox in order of lanes, and gives again what was lost on the way."""

import sqlite3
from collections import deque
from typing import TYPE_CHECKING

from agent import store
from agent.store import OutboxRow
from shared.envelope import digest
from shared.topics import Lane

if TYPE_CHECKING:
    from agent.sending import Outbox

_PAGE = 64


class SendQueue:
    """A reader of an outbox for one uplink. Follows its owner when the store is replaced."""

    def __init__(self, outbox: "Outbox") -> None:
        self._outbox = outbox
        self._generation = outbox.generation
        self._cursor: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self._pages: dict[Lane, deque[OutboxRow]] = {lane: deque() for lane in Lane}
        self._again: dict[Lane, deque[OutboxRow]] = {lane: deque() for lane in Lane}

    def is_reset(self) -> bool:
        """Whether the store was replaced since the last call; everything is then given from the start."""
        if self._generation == self._outbox.generation:
            return False
        self.__init__(self._outbox)  # type: ignore[misc]
        return True

    def next(self, lane: Lane) -> tuple[OutboxRow, bytes] | None:
        """The next batch of a lane with its bytes; None when there is none.

        A batch whose bytes no longer have their digest is damaged on disk: it is handed to the outbox's owner, who
        takes it out.
        """
        try:
            return self._next(lane)
        except sqlite3.ProgrammingError:  # the store is being replaced; `is_reset` says when it is
            return None
        except sqlite3.DatabaseError as e:
            self._outbox.suspect = str(e)
            return None

    def _next(self, lane: Lane) -> tuple[OutboxRow, bytes] | None:
        opened = self._outbox.store
        while row := self._next_row(lane):
            with opened.lock:
                body = store.envelope(opened.conn, row.id)
            if body is None:
                continue
            if digest(body) == row.digest:
                return row, body
            self._outbox.damaged.append(row)
        return None

    def _next_row(self, lane: Lane) -> OutboxRow | None:
        if self._again[lane]:
            return self._again[lane].popleft()
        page = self._pages[lane]
        if not page:
            opened = self._outbox.store
            with opened.lock:
                page.extend(store.outbox_after(opened.conn, lane, self._cursor[lane], _PAGE))
            if page:
                self._cursor[lane] = page[-1].id
        return page.popleft() if page else None

    def again(self, rows: list[OutboxRow]) -> None:
        """Give these before anything else of their lane, in order."""
        for row in sorted(rows, key=lambda r: r.id, reverse=True):
            self._again[row.lane].appendleft(row)

"""The running agent's part in imported logs: it gives them to the uplink, and settles what the hub says of them.

The uplink reads through an opening of its own, so that it never waits for the disk of whoever imports.
"""

import logging
import sqlite3
import threading
from pathlib import Path
from typing import Protocol

from agent.identity import Identity
from agent.imports import FILE, ImportQueue
from agent.repeated import Repeated
from agent.sending import Outbox

log = logging.getLogger("dbx.imports")
EVERY_S = 0.5


class Sender(Protocol):
    """An uplink, as far as it is needed here."""

    def send_too(self, imports: Outbox) -> None: ...
    def wake(self) -> None: ...


class ImportsThread:
    """See the module. Costs nothing while no log was ever imported in the folder."""

    def __init__(self, folder: Path, identity: Identity, uplink: Sender) -> None:
        self._folder = folder
        self._identity = identity
        self._uplink = uplink
        self._read: ImportQueue | None = None
        self._written: ImportQueue | None = None
        self._trouble = Repeated(log, "imported logs not kept", "imported logs kept again")

    def run(self, stop: threading.Event) -> None:
        """Until stop. Trouble with the file is said, and tried again; it never ends the recorder."""
        while not stop.wait(EVERY_S):
            try:
                self.step()
                self._trouble.worked()
            except (OSError, sqlite3.Error) as e:
                self._trouble.failed(str(e))
        if self._written is not None:
            self._written.close()

    def step(self) -> None:
        """Open when there is something; settle what was heard."""
        if self._read is None or self._written is None:
            if (self._folder / FILE).exists():
                self._open()
            return
        self._written.settle(self._read.heard)
        self._written.drop_damaged(self._read.damaged)
        self._written.give_back()
        self._read.follow()
        if self._read.suspect or self._is_replaced():
            log.error("imported logs opened again", extra={"why": self._read.suspect or "the file was replaced"})
            self._written.close()
            self._read = self._written = None  # the uplink may be reading it: it is closed when the uplink lets go

    def _open(self) -> None:
        self._written = ImportQueue(self._folder, self._identity)
        self._read = ImportQueue(self._folder, self._identity)
        self._inode = (self._folder / FILE).stat().st_ino
        if self._written.was_torn:
            log.error("imports set aside", extra={"why": self._written.was_torn})
        self._uplink.send_too(self._read)

    def _is_replaced(self) -> bool:
        try:
            return (self._folder / FILE).stat().st_ino != self._inode
        except OSError:
            return True

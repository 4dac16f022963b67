"""Room on the disk: a reserve file beside the store, given up when the disk is full, made again when there is room.

A full disk must not end recording for good: deleting needs the write-ahead log, and copying that log back needs room in
the main file. The reserve is as large as the log may grow plus one transaction, so once it is given up the log can be
copied back and used again in place; from then on deleting and evicting need no new room. What is written until the
reserve is back must fit into free pages of the store, or into what is free beyond the reserve: else the log would be
stuck again.
"""

import contextlib
import errno
import os
import sqlite3
from pathlib import Path

RESERVE_FILE = "reserve"
_INDEX_BYTES = 64 << 10
"""What the index of the write-ahead log (32 kB) and a file or two beside the store may take of the reserve."""
LEAST_RESERVE_BYTES = (64 << 10) + _INDEX_BYTES
MOST_RESERVE_BYTES = (8 << 20) + _INDEX_BYTES
LEAST_DISK_BYTES = 64 << 20
"""A disk with less for us than this is complained about by `doctor` and at the start."""
_SHARE = 64
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Room:
    """The disk under a folder. reserve_bytes: 1/64 of the disk, from 128 kB to 8 MB."""

    def __init__(self, folder: Path) -> None:
        """OSError when the folder cannot be asked about."""
        self._path = folder / RESERVE_FILE
        disk = os.statvfs(folder)
        share = disk.f_blocks * disk.f_frsize // _SHARE
        self.reserve_bytes = min(max(share, LEAST_RESERVE_BYTES), MOST_RESERVE_BYTES)
        self.log_bytes = (self.reserve_bytes - _INDEX_BYTES) // 2
        """What the write-ahead log may hold before it is copied back."""

    @property
    def has_reserve(self) -> bool:
        """Whether the reserve is there to be given up."""
        try:
            return self._path.stat().st_size >= self.reserve_bytes
        except OSError:
            return False

    def free_bytes(self) -> int:
        """What the disk has left for us; 0 when it cannot be asked."""
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return 0
        return disk.f_bavail * disk.f_frsize

    def take(self) -> bool:
        """Make the reserve when that leaves half as much again free. Whether it is there."""
        if self.has_reserve:
            return True
        if self.free_bytes() < self.reserve_bytes * 3 // 2:
            return False
        try:
            with self._path.open("wb") as file:
                _allocate(file.fileno(), self.reserve_bytes)
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> None:
        """Remove the reserve, whole or not."""
        with contextlib.suppress(OSError):  # a disk that refuses even this has other troubles, which writing shows
            self._path.unlink(missing_ok=True)

    def is_short(self, error: sqlite3.Error) -> bool:
        """Whether a write failed for lack of room. SQLite says FULL for ENOSPC alone: a quota, or the file that its
        readers share, shows as an I/O error, so the disk itself is asked."""
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_FULL":
            return True
        return name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and not self._is_writable()

    def _is_writable(self) -> bool:
        probe = self._path.with_name(".probe")
        try:
            probe.write_bytes(bytes(4096))
        except OSError as e:
            return e.errno not in _NO_ROOM
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)
        return True


def _allocate(fd: int, size: int) -> None:
    """Claim the blocks, without writing them where the file system can (flash wears)."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        os.write(fd, bytes(size))

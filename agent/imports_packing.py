"""One log's packed form, slice by slice: what an earlier run queued is compared, the rest is written."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from firmware_bridge.log_packing import pack, unpack
from firmware_bridge.log_tables import LogFormat
from shared.errors import Refused

SLICES_AT_ONCE = 8
"""Slices written together: after a kill, at most so many are packed again in vain."""
Progress = Callable[[int], None]
"""Told how many bytes of the log are done."""


class PackedOtherwise(Exception):
    """What is queued of the log is not what packing gives now: another version of this code queued it."""


class SlicedLog:
    """See the module. known: SHA-256 of each slice that is queued. write: queues slices, the first with its offset."""

    def __init__(self, known: Sequence[bytes], slice_bytes: int, write: Callable[[int, Sequence[bytes]], None]) -> None:
        self.size_bytes = 0
        """Of the packed form so far."""
        self._known = known
        self._slice_bytes = slice_bytes
        self._write = write
        self._sha = hashlib.sha256()
        self._rest = bytearray()
        self._slices: list[bytes] = []
        self._count = 0

    def run(self, pieces: Iterable[bytes], format: LogFormat, log: bytes, progress: Progress) -> bytes:
        """Pack the log, unpack it again, queue its slices; the SHA-256 of the packed form.

        Refused("log_changed") when that is not the log of this name. PackedOtherwise: see there.
        """
        unpacked, done = hashlib.sha256(), 0
        for data in unpack(self._tapped(pack(pieces, format))):
            unpacked.update(data)
            done += len(data)
            progress(done)
        if unpacked.digest() != log:
            raise Refused("log_changed", "the file changed while it was read")
        self._cut(1)
        self._flush()
        if self._count < len(self._known):
            raise PackedOtherwise
        return self._sha.digest()

    def _tapped(self, packed: Iterable[bytes]) -> Iterator[bytes]:
        for piece in packed:
            self._sha.update(piece)
            self._rest += piece
            self.size_bytes += len(piece)
            self._cut(self._slice_bytes)
            if len(self._slices) >= SLICES_AT_ONCE:
                self._flush()
            yield piece

    def _cut(self, least: int) -> None:
        """Cut slices off what is packed, while there is at least so much."""
        while len(self._rest) >= least:
            self._take(bytes(self._rest[: self._slice_bytes]))
            del self._rest[: self._slice_bytes]

    def _take(self, data: bytes) -> None:
        if self._count < len(self._known):
            if hashlib.sha256(data).digest() != self._known[self._count]:
                raise PackedOtherwise
        else:
            self._slices.append(data)
        self._count += 1

    def _flush(self) -> None:
        if self._slices:
            self._write((self._count - len(self._slices)) * self._slice_bytes, self._slices)
            self._slices = []

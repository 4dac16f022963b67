"""A recorded log as a stream of its unpacked bytes: plain, zstd, gzip, or a member of a zip; its format by content.

Memory is bounded by the size of a piece. A packed log may be cut short: what can be unpacked is given, and `torn` says
why the rest could not.
"""

import importlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import zstandard

from firmware_bridge.log_sniff import sniff
from firmware_bridge.log_tables import LogFormat, LogReader
from firmware_bridge.tlog import MAX_RATIO, UNPACKED_FLOOR
from shared.errors import Refused

PIECE_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 16
_SNIFFED_BYTES, _SNIFFED_PACKED_BYTES = 16 << 20, 4 << 20
"""How far into a file, or into what a packed one holds, a log's first sign is looked for."""
_ZSTD, _GZIP, _ZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08", b"PK\x03\x04"
_FED_BYTES = 1 << 10  # zstd makes at most 128 KiB of 4 bytes: so no step unpacks more than 32 MiB
_MAX_MEMBERS = 1_000
DAMAGED = ("log_damaged", "log_too_large")
"""Reasons why something that may be a log cannot be opened."""
_BROKEN = (zlib.error, zstandard.ZstdError, zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError, ValueError)
"""What unpacking damaged or encrypted data raises."""

_READERS = {
    "dataflash": ("dataflash", "DataFlashReader"),
    "dataflash-text": ("dataflash_text", "DataFlashTextReader"),
    "ulog": ("ulog_reader", "ULogReader"),
    "tlog": ("mavlink_log", "TlogReader"),
    "raw": ("mavlink_log", "RawReader"),
}
"""Imported when a log of the format is read: a recorder that reads none needs none."""


@dataclass(slots=True)
class LogSource:
    """One log. `LogSource(path)` or `LogSource(data, name)`; of a zip its only log (`log_sources` gives all).

    name: for people. format: see LogFormat. torn: after `pieces`, why a packed log ended too soon ("" when it did not).
    Raises Refused: log_format (no flight log, or a zip of several), log_empty, log_damaged (the packing is, from its
    start), log_too_large (packed to fill our memory); OSError when a file cannot be read.
    """

    origin: str | Path | bytes
    name: str = ""
    member: str = ""
    format: LogFormat = field(init=False)
    torn: str = field(init=False, default="")

    def __post_init__(self) -> None:
        if not self.name:
            self.name = "" if isinstance(self.origin, bytes) else Path(self.origin).name
        if not self.member and self._head().startswith(_ZIP):
            self.member = _only(log_sources(self.origin, self.name)).member
        found = self._sniffed()
        if found is None:
            raise Refused("log_format", f"{self.name}: no flight log")
        self.format = found

    @property
    def packed_bytes(self) -> int:
        """Size of the file or data as it is, unpacked or not (of a zip: of the member)."""
        if self.member:
            with self._archive() as archive:
                return archive.getinfo(self.member).compress_size
        return len(self.origin) if isinstance(self.origin, bytes) else Path(self.origin).stat().st_size

    def pieces(self, size: int = PIECE_BYTES) -> Iterator[bytes]:
        """The unpacked log, from its start, in pieces of at most `size` bytes. Refused: log_too_large."""
        self.torn = ""
        packed = self.packed_bytes
        limit = None if not self.member and not _is_packed(self._head()) else UNPACKED_FLOOR + MAX_RATIO * packed
        total = 0
        for piece in self._unpacked(size):
            total += len(piece)
            if limit is not None and total > limit:
                raise Refused("log_too_large", f"{self.name}: {packed} bytes hold more than {limit}")
            yield piece

    def reader(self) -> LogReader:
        """A new reader for the log's format."""
        module, name = _READERS[self.format]
        return cast(LogReader, getattr(importlib.import_module(f"firmware_bridge.{module}"), name)())

    def _sniffed(self) -> LogFormat | None:
        seen, before = 0, b""
        most = _SNIFFED_PACKED_BYTES if self.member or _is_packed(self._head()) else _SNIFFED_BYTES
        for piece in self.pieces(_WINDOW_BYTES):
            if found := sniff(before + piece):
                return found
            seen, before = seen + len(piece), piece[-1024:]
            if seen >= most:
                break
        if not seen:
            damaged = Refused("log_damaged", f"{self.name}: {self.torn}")
            raise damaged if self.torn else Refused("log_empty", f"{self.name}: no bytes")
        return None

    def _head(self) -> bytes:
        with self._stored() as stream:
            return stream.read(4)

    def _archive(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(io.BytesIO(self.origin) if isinstance(self.origin, bytes) else self.origin)

    def _stored(self) -> IO[bytes]:
        """The log as it is kept, packed or not."""
        if self.member:
            return self._archive().open(self.member)
        return _stream(self.origin)

    def _unpacked(self, size: int) -> Iterator[bytes]:
        try:
            with self._stored() as stream:
                head = stream.read(4)
                stored = _read(stream, head, _FED_BYTES if _is_packed(head) else size)
                if head.startswith(_ZSTD):
                    yield from _cut(_frames(stored, _zstd), size)
                elif head.startswith(_GZIP):
                    yield from _cut(_frames(stored, _gzip), size)
                else:
                    yield from stored
        except _BROKEN as e:
            if isinstance(e, Refused):
                raise
            self.torn = str(e) or type(e).__name__


def log_sources(origin: str | Path | bytes, name: str = "") -> list[LogSource]:
    """The logs in a file or in a file's bytes: one, or a zip's members that are logs (`passed_over` has the others).

    Refused and OSError as LogSource; log_format also for a zip without any log, log_too_large for too many files.
    """
    name = name or ("" if isinstance(origin, bytes) else Path(origin).name)
    if not _is_zip(origin):
        return [LogSource(origin, name)]
    found = [_member_source(origin, name, member) for member in _members(origin, name)]
    if sources := [s for s in found if isinstance(s, LogSource)]:
        return sources
    damaged = (e for e in found if isinstance(e, Refused) and e.reason in DAMAGED)
    raise next(damaged, Refused("log_format", f"{name}: no flight log in this zip"))


def passed_over(origin: str | Path | bytes, name: str = "") -> list[tuple[str, Refused]]:
    """The members of a zip that are no logs, or cannot be opened, and why; nothing of a file that is no zip."""
    if not _is_zip(origin):
        return []
    found = [(member, _member_source(origin, name, member)) for member in _members(origin, name)]
    return [(member, e) for member, e in found if isinstance(e, Refused)]


def _is_zip(origin: str | Path | bytes) -> bool:
    with _stream(origin) as stream:
        return stream.read(4) == _ZIP


def _stream(origin: str | Path | bytes) -> IO[bytes]:
    """The file or data, opened. Refused: what has no end and no beginning, like a pipe, is not waited for."""
    if isinstance(origin, bytes):
        return io.BytesIO(origin)
    path = Path(origin)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise Refused("log_format", f"{path.name}: not a regular file")
    return path.open("rb")


def _members(origin: str | Path | bytes, name: str) -> list[str]:
    """The files in a zip. Refused: log_damaged; log_too_large rather than to leave some out without a word."""
    try:
        with _stream(origin) as stream, zipfile.ZipFile(stream) as archive:
            files = dict.fromkeys(i.filename for i in archive.infolist() if not i.is_dir() and i.file_size)
    except _BROKEN as e:
        raise Refused("log_damaged", f"{name}: {e}") from None
    if len(files) > _MAX_MEMBERS:
        raise Refused("log_too_large", f"{name}: {len(files)} files in one zip, at most {_MAX_MEMBERS}")
    return list(files)


def _member_source(origin: str | Path | bytes, name: str, member: str) -> "LogSource | Refused":
    try:
        return LogSource(origin, f"{name}/{member}", member)
    except Refused as e:
        return e


def _only(sources: list[LogSource]) -> LogSource:
    if len(sources) > 1:
        raise Refused("log_format", f"{len(sources)} logs in one zip")
    return sources[0]


def _is_packed(head: bytes) -> bool:
    return head.startswith((_ZSTD, _GZIP))


def _read(stream: IO[bytes], head: bytes, size: int) -> Iterator[bytes]:
    """All bytes of a stream of which `head` is already read."""
    piece = head + stream.read(max(size - len(head), 0))
    while piece:
        yield piece
        piece = stream.read(size)


def _zstd() -> "zstandard.ZstdDecompressionObj":
    return zstandard.ZstdDecompressor().decompressobj()


def _gzip() -> "zlib._Decompress":
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


def _frames(
    stored: Iterator[bytes], start: Callable[[], "zstandard.ZstdDecompressionObj | zlib._Decompress"]
) -> Iterator[bytes]:
    """What packed frames hold, one after the other; padding behind them is passed. EOFError when one is cut short."""
    unpacker, is_begun = start(), False
    for data in stored:
        while data:
            if not is_begun and not data.strip(b"\0"):
                break
            is_begun = True
            yield unpacker.decompress(data)
            data = unpacker.unused_data if unpacker.eof else b""
            if unpacker.eof:
                unpacker, is_begun = start(), False
    if is_begun:
        raise EOFError("the packed file is cut short")


def _cut(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Pieces of any size as pieces of `size` bytes; what came before an error is given before it is raised."""
    buffer = bytearray()
    try:
        for piece in pieces:
            buffer += piece
            while len(buffer) >= size:
                yield bytes(buffer[:size])
                del buffer[:size]
    except _BROKEN:
        if buffer:
            yield bytes(buffer)
        raise
    if buffer:
        yield bytes(buffer)

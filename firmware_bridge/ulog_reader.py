"""ULog, PX4's log: read in pieces, by whole runs of messages where it is sound, message by message where it is not.

Source: PX4 user guide, "ULog File Format". What is done with damage: docs/logs.md.
"""

from firmware_bridge.log_tables import LogFormat, Portion
from firmware_bridge.ulog_piece import UlogPiece
from firmware_bridge.ulog_state import UlogState

PIECE_BYTES = 4 << 20
"""Bytes that are read at once, and held at most beside what is fed."""
_NEVER = 1 << 62


class ULogReader:
    """See LogReader. A portion's info holds the log's own facts; those told in several messages as lists of values,
    each a list of pieces; and `start_timestamp` (us, the header's), `file_version`, `default_parameters` ({0: the
    system's, 1: the airframe's, ...: {name: value}}).
    """

    format: LogFormat = "ulog"

    def __init__(self, piece_bytes: int = PIECE_BYTES) -> None:
        self._piece_bytes = piece_bytes
        self._state = UlogState()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._base = 0  # where in the log the first pending byte is

    def feed(self, data: bytes) -> list[Portion]:
        """The next bytes of the log; the portions that they complete."""
        self._pending.append(data)
        self._pending_bytes += len(data)
        return self._read(False) if self._pending_bytes >= self._piece_bytes else []

    def finish(self) -> list[Portion]:
        """After the last byte: the rest, and a torn end as damage."""
        return self._read(True)

    def _read(self, final: bool) -> list[Portion]:
        data, pos, size = b"".join(self._pending), 0, self._piece_bytes
        out: list[Portion] = []
        while pos < len(data) and (final or len(data) - pos >= size):
            section = self._section(self._base + pos) - self._base
            stop = min(len(data), pos + size, section)
            is_end = stop == section or (final and stop == len(data))
            is_whole = stop == len(data)  # then there is no need for a copy
            piece = (data, pos, self._base) if is_whole else (data[pos:stop], 0, self._base + pos)
            read = UlogPiece(self._state, *piece, is_end)
            end = read.read() + (0 if is_whole else pos)
            out += [read.portion] if end > pos or read.portion.damage else []
            size = self._piece_bytes if end > pos else 2 * size  # more is needed to decide anything
            pos = end
        self._pending, self._pending_bytes = [data[pos:]], len(data) - pos
        self._base += pos
        return out

    def _section(self, at: int) -> int:
        """Where the next appended data behind `at` begins."""
        while self._state.sections and self._state.sections[0] <= at:
            self._state.sections.pop(0)
        return self._state.sections[0] if self._state.sections else _NEVER

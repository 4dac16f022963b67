"""Logs listed and fetched by LOG_REQUEST_LIST, LOG_REQUEST_DATA and LOG_REQUEST_END, as state machines. Pure.

The older way, where MAVLink FTP is not to be had. Sources: mavlink.io/en/messages/common.html#LOG_REQUEST_LIST;
ArduPilot libraries/AP_Logger/AP_Logger_MAVLinkLogTransfer.cpp; PX4 src/modules/mavlink/mavlink_log_handler.cpp.

- ArduPilot numbers logs from 1, PX4 from 0; a list without logs is one entry with num_logs 0. PX4 makes its list at a
  request with start 0 and knows no log before; LOG_REQUEST_END forgets it.
- LOG_DATA has 90 bytes, fewer at the end of a log, none where reading fails. ArduPilot silently drops a
  LOG_REQUEST_DATA while it still sends what the one before asked for: a hole is asked for when that has ended.
- While it sends, ArduPilot counts as downloading: it logs nothing and refuses to arm ("Arm: Downloading logs"); it
  sends no log data while armed. LOG_REQUEST_END ends that. So it is always sent: after a log, on a failure, and at the
  first sign of arming.
"""

from dataclasses import dataclass
from typing import Any

from firmware_bridge.mavftp import Message
from firmware_bridge.mavftp_fetch import Pace
from firmware_bridge.missing import Missing

LOG_REQUEST_LIST, LOG_ENTRY, LOG_REQUEST_DATA, LOG_DATA, LOG_REQUEST_END = 117, 118, 119, 120, 122
DATA_BYTES = 90
PIECE_BYTES = 512 * DATA_BYTES
"""What one request asks for, at most."""
STALL_S = 1.0
MOST_SILENT = 8
MOST_SHORT = 3
MOST_LOGS = 5000


def _address(target: tuple[int, int]) -> dict[str, Any]:
    return {"target_system": target[0], "target_component": target[1]}


def end(target: tuple[int, int]) -> Message:
    """LOG_REQUEST_END: the autopilot logs and arms again."""
    return LOG_REQUEST_END, _address(target)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A log as listed. time_utc: seconds since 1970, 0 when the autopilot does not know."""

    id: int
    time_utc: int
    size: int


class LogListing:
    """All LOG_ENTRYs; those that were lost are asked for again.

    is_last: LOG_REQUEST_END follows; else a LogFetch is to follow, of a log that PX4 knows only from this list.
    """

    def __init__(self, target: tuple[int, int], is_last: bool = True) -> None:
        self.failure = ""
        self.is_done = False
        self._target = target
        self._is_last = is_last
        self._is_complete = False
        self._entries: dict[int, LogEntry] = {}
        self._wanted: range | None = None
        self._asked_s: float | None = None
        self._silent = 0

    @property
    def entries(self) -> list[LogEntry]:
        """By number."""
        return [self._entries[i] for i in sorted(self._entries)]

    def due(self, now_s: float) -> list[Message]:
        """See mavftp.Exchange."""
        if self._is_complete and not self.is_done:
            self.is_done = True
            return self.leave() if self._is_last else []
        if self.is_done or self.failure or (self._asked_s is not None and now_s - self._asked_s < STALL_S):
            return []
        if self._silent >= MOST_SILENT:
            self.failure = "silent"
            return self.leave()
        self._asked_s = now_s
        self._silent += 1
        start, stop = self._missing()
        return [(LOG_REQUEST_LIST, _address(self._target) | {"start": start, "end": stop})]

    def _missing(self) -> tuple[int, int]:
        if self._wanted is None:
            return 0, 0xFFFF
        first = next(i for i in self._wanted if i not in self._entries)
        last = next((i for i in range(first, self._wanted.stop) if i in self._entries), self._wanted.stop) - 1
        return first, last

    def hear(self, msgid: int, fields: Any, now_s: float) -> None:
        """See mavftp.Exchange."""
        if msgid != LOG_ENTRY or self._asked_s is None or self._is_complete or self.failure:
            return
        count, last, log_id = int(fields["num_logs"]), int(fields["last_log_num"]), int(fields["id"])
        self._asked_s, self._silent = now_s, 0
        if count == 0:
            self._is_complete = True
            return
        if self._wanted is None:
            first = max(last - count + 1, 0)
            self._wanted = range(max(first, last + 1 - MOST_LOGS), last + 1)
        if log_id in self._wanted:
            self._entries[log_id] = LogEntry(log_id, int(fields["time_utc"]), int(fields["size"]))
        self._is_complete = len(self._entries) == len(self._wanted)

    def leave(self) -> list[Message]:
        """See mavftp.Exchange."""
        has_asked, self._asked_s = self._asked_s is not None, None
        return [end(self._target)] if has_asked else []


class LogFetch:
    """One log, as `mavftp_fetch.Fetch` has it: `fresh`, `missing`, failure silent or changed.

    have, tail: see there; the end of what is there is asked for again and compared.
    """

    def __init__(
        self, target: tuple[int, int], entry: LogEntry, have: int = 0, tail: bytes = b"", bytes_s: float = 0,
    ) -> None:  # fmt: skip
        self.failure = ""
        self.is_done = False
        self.fresh: list[tuple[int, bytes]] = []
        self.missing = Missing(entry.size, have)
        self._target = target
        self._entry = entry
        self._tail_at = have - len(tail)
        self._tail = tail
        self._pace = Pace(bytes_s)
        self._piece: tuple[int, int] | None = None
        """What was asked for and may still come: [start, stop)."""
        self._heard_s = 0.0
        self._silent = self._short = 0
        self._has_asked = False

    def due(self, now_s: float) -> list[Message]:
        """See mavftp.Exchange."""
        if self.is_done or self.failure:
            return []
        if self.missing.is_whole and not self._tail:
            self.is_done = True
            return self.leave()
        if self._piece is not None and self._is_coming(now_s):
            return []
        if self._silent >= MOST_SILENT:
            self.failure = "silent"
            return self.leave()
        return self._request(now_s) if self._pace.may(now_s) else []

    def _is_coming(self, now_s: float) -> bool:
        """Whether the piece asked for is still on its way."""
        assert self._piece is not None
        if now_s - self._heard_s >= STALL_S:
            self._silent += 1
            return False
        hole = self.missing.first()
        return bool(self._tail) or (hole is not None and hole[0] < self._piece[1])

    def _request(self, now_s: float) -> list[Message]:
        start, stop = (self._tail_at, self._tail_at + len(self._tail)) if self._tail else self._first_piece()
        self._piece, self._heard_s, self._has_asked = (start, stop), now_s, True
        self._pace.spend(stop - start)
        fields = {"id": self._entry.id, "ofs": start, "count": stop - start}
        return [(LOG_REQUEST_DATA, _address(self._target) | fields)]

    def _first_piece(self) -> tuple[int, int]:
        """The first hole, or its beginning."""
        start, stop = self.missing.holes[0]
        return start, min(stop, start + PIECE_BYTES)

    def hear(self, msgid: int, fields: Any, now_s: float) -> None:
        """See mavftp.Exchange."""
        if msgid != LOG_DATA or int(fields["id"]) != self._entry.id or not self._has_asked:
            return
        if self.is_done or self.failure:
            return
        offset, count = int(fields["ofs"]), min(int(fields["count"]), DATA_BYTES)
        data = fields["data"].tobytes()[:count]
        self._heard_s, self._silent = now_s, 0
        if self._tail:
            self._compare(offset, data)
        for start, stop in self.missing.take(offset, offset + count):
            self.fresh.append((start, data[start - offset : stop - offset]))
        if self._piece is not None and offset + count >= self._piece[1]:
            self._piece = None
        elif count < DATA_BYTES and offset + count < self.missing.size:
            self._ended_short()

    def _compare(self, offset: int, data: bytes) -> None:
        """Is it the log of which we have the beginning?"""
        if offset != self._tail_at:
            return
        if data[: len(self._tail)] != self._tail:
            self.failure = "changed"
        self._tail, self._piece = b"", None

    def _ended_short(self) -> None:
        """The log ended, or could not be read, before its size."""
        self._piece = None
        self._short += 1
        if self._short >= MOST_SHORT:
            self.failure = "changed"

    def leave(self) -> list[Message]:
        """See mavftp.Exchange."""
        has_asked, self._has_asked = self._has_asked, False
        return [end(self._target)] if has_asked else []

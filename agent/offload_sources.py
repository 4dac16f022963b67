"""Where an autopilot's logs are and in which order they were made: MAVFTP's folders, and the older LOG_REQUEST list.

ArduPilot numbers its logs and begins again after LOG_MAX_FILES; LASTLOG.TXT names the newest. PX4 has a folder per day
(`2026-05-01`), and per boot (`sess003`) where it knew no date.
"""

import re
import secrets
from collections.abc import Callable
from typing import Protocol

from agent.offload_files import Remote
from firmware_bridge.log_request import LogEntry, LogFetch, LogListing
from firmware_bridge.mavftp import Checksum, Entry, Exchange, Line, Listing, Nak, reset_sessions
from firmware_bridge.mavftp_fetch import Fetch
from firmware_bridge.modes import ARDUPILOT, PX4

ARDUPILOT_ROOTS = ("/APM/LOGS", "/logs", "/APM/logs", "/var/APM/logs", "/SDCARD/APM/LOGS")
"""HAL_BOARD_LOG_DIRECTORY of ChibiOS boards, simulators, Linux and ESP32 boards."""
PX4_ROOTS = ("/fs/microsd/log", "/log", "/data/log")
MOST_FOLDERS = 500
_CHECKED_BYTES = {ARDUPILOT: 64 << 20}
_CHECKED_BYTES_ELSE = 4 << 20
"""Up to which size CalcFileCRC32 is asked for. ArduPilot computes it in a thread of its own; PX4 in the one that reads
the link, which hears nothing meanwhile: no more than a few seconds of that."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_SUFFIXES = (".bin", ".ulg", ".log")

Talk = Callable[[Exchange], None]
"""Carries an exchange to its end; raises when it must not go on."""
Fetching = Fetch | LogFetch


class Unavailable(Exception):
    """The autopilot does not offer its logs this way."""


class Logs(Protocol):
    """The logs of one autopilot. listed: the newest first."""

    def listed(self) -> list[Remote]: ...
    def fetch(self, remote: Remote, have: int, tail: bytes) -> Fetching: ...
    def checksum(self, remote: Remote) -> Checksum | None: ...


def is_log_name(name: str) -> bool:
    """Whether a file's name is a log's, and harmless as a name here."""
    return bool(_NAME.fullmatch(name)) and name.lower().endswith(_SUFFIXES)


class FtpLogs:
    """Logs over MAVLink FTP. Unavailable when there is no FTP, or no folder of logs."""

    def __init__(
        self, talk: Talk, target: tuple[int, int], autopilot: int, burst: str, bytes_s: float,
    ) -> None:  # fmt: skip
        self._talk = talk
        self._line = Line(target, secrets.randbelow(1 << 16))
        self._autopilot = autopilot
        self._is_burst = burst == "always" or (burst == "auto" and autopilot != ARDUPILOT)
        self._bytes_s = bytes_s
        if autopilot == ARDUPILOT:
            talk(reset_sessions(self._line))
        self.root = self._find_root()

    def _find_root(self) -> str:
        roots = {ARDUPILOT: ARDUPILOT_ROOTS, PX4: PX4_ROOTS}.get(self._autopilot, PX4_ROOTS + ARDUPILOT_ROOTS)
        for root in roots:
            listing = Listing(self._line, root)
            self._talk(listing)
            if not listing.failure:
                return root
            if listing.nak in (Nak.SILENT, Nak.UNKNOWN_COMMAND):
                break
        raise Unavailable

    def listed(self) -> list[Remote]:
        """See Logs. A folder that cannot be listed is passed over; Unavailable when the first one cannot."""
        root = self._entries(self.root)
        if root is None:
            raise Unavailable
        found = self._remotes(self.root, root)
        folders = sorted((e.name for e in root if e.is_folder and _NAME.fullmatch(e.name)), reverse=True)
        for name in folders[:MOST_FOLDERS]:
            path = f"{self.root}/{name}"
            found += self._remotes(path, self._entries(path) or [])
        last = self._last_number(root)
        return sorted(found, key=lambda remote: _age(remote, last))

    def _entries(self, path: str) -> list[Entry] | None:
        listing = Listing(self._line, path)
        self._talk(listing)
        return None if listing.failure else listing.entries

    @staticmethod
    def _remotes(path: str, entries: list[Entry]) -> list[Remote]:
        return [Remote(e.name, f"{path}/{e.name}", e.size) for e in entries if not e.is_folder and is_log_name(e.name)]

    def _last_number(self, root: list[Entry]) -> int | None:
        """What LASTLOG.TXT says."""
        found = next((e for e in root if e.name.upper() == "LASTLOG.TXT" and 0 < e.size < 64), None)
        if found is None:
            return None
        fetch = Fetch(self._line, f"{self.root}/{found.name}", found.size, is_burst=False)
        self._talk(fetch)
        text = b"".join(data for _, data in sorted(fetch.fresh))
        number = re.match(rb"\s*(\d{1,9})", text)
        return int(number[1]) if number and fetch.is_done else None

    def fetch(self, remote: Remote, have: int, tail: bytes) -> Fetching:
        """See Logs."""
        return Fetch(self._line, remote.place, remote.size, have, tail, self._is_burst, self._bytes_s)

    def checksum(self, remote: Remote) -> Checksum | None:
        """See Logs; None for a log that is too large."""
        if remote.size > _CHECKED_BYTES.get(self._autopilot, _CHECKED_BYTES_ELSE):
            return None
        return Checksum(self._line, remote.place, patience_s=5 + remote.size / 200_000)


def _age(remote: Remote, last: int | None) -> tuple[int, int, list[int]]:
    """Sorts the newest first: numbers up to the last one, then those of the round before; dates before sessions."""
    number = re.match(r"(\d+)\.", remote.name)
    if number and remote.name.lower().endswith(".bin"):
        n = int(number[1])
        return (0 if last is None or n <= last else 1), -n, []
    folder, _, name = remote.place.rpartition("/")
    return (2 if re.search(r"/sess\d+$", folder) else 0), 0, [-byte for byte in f"{folder}/{name}".encode()]


class RequestedLogs:
    """Logs by LOG_REQUEST_LIST and LOG_REQUEST_DATA. Unavailable when nobody answers."""

    def __init__(self, talk: Talk, target: tuple[int, int], autopilot: int, bytes_s: float) -> None:
        self._talk = talk
        self._target = target
        self._autopilot = autopilot
        self._bytes_s = bytes_s

    def listed(self) -> list[Remote]:
        """See Logs."""
        listing = LogListing(self._target)
        self._talk(listing)
        if listing.failure:
            raise Unavailable
        return [self._remote(entry) for entry in sorted(listing.entries, key=self._age, reverse=True) if entry.size]

    def _age(self, entry: LogEntry) -> tuple[int, int]:
        """ArduPilot's list is in order and its times may be missing; PX4's is in no order."""
        return (0 if self._autopilot == ARDUPILOT else entry.time_utc), entry.id

    def _remote(self, entry: LogEntry) -> Remote:
        suffix = "ulg" if self._autopilot == PX4 else "bin"
        return Remote(f"log_{entry.id}_{entry.time_utc}.{suffix}", str(entry.id), entry.size, entry.time_utc)

    def fetch(self, remote: Remote, have: int, tail: bytes) -> Fetching:
        """See Logs. PX4 knows its logs by number only after listing them, and forgets them at each end."""
        if self._autopilot != ARDUPILOT:
            self._talk(LogListing(self._target, is_last=False))
        entry = LogEntry(int(remote.place), remote.time_utc, remote.size)
        return LogFetch(self._target, entry, have, tail, self._bytes_s)

    def checksum(self, remote: Remote) -> Checksum | None:
        """See Logs: this protocol has none."""
        return None

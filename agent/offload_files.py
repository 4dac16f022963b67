"""Logs of the autopilot on our disk: begun, whole, and the memory of which were fetched.

A begun log is `<name>.part` with `<name>.json` beside it: what it is of, and how many bytes from its start are surely
on disk (written before that number is). A whole one lies in `done/` until it is taken over by the import. `known.json`
names what was fetched, so that it is not fetched again.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from firmware_bridge.mavftp import crc32

log = logging.getLogger("dbx.offload")
TAIL_BYTES = 90
MOST_FAILURES = 3
_PIECE = 1 << 20
_SAVE_BYTES, _SAVE_S = 2 << 20, 5.0
_MOST_KNOWN = 20_000


@dataclass(frozen=True, slots=True)
class Remote:
    """A log on the autopilot. name: as a file name. place: its path, or its number in the older protocol.

    time_utc: seconds since 1970 where it is known (0: not).
    """

    name: str
    place: str
    size: int
    time_utc: int = 0

    @property
    def key(self) -> str:
        """What tells it from others: a log that has grown is another."""
        return f"{self.place} {self.size} {self.time_utc}"


class Begun:
    """A log being written: pieces at their offsets, saved now and then."""

    def __init__(self, folder: Path, remote: Remote) -> None:
        """Goes on with what an earlier try saved. OSError when the disk refuses."""
        stem = hashlib.sha256(remote.key.encode()).hexdigest()[:24]
        self.remote = remote
        self.path = folder / f"{stem}.part"
        self._facts = folder / f"{stem}.json"
        self.have = self._saved()
        self._file = self.path.open("r+b" if self.have else "w+b")
        self._unsaved = 0
        self._saved_s = time.monotonic()

    def _saved(self) -> int:
        """Bytes from the start that are surely there."""
        try:
            facts = json.loads(self._facts.read_text())
            have = int(facts["have"])
            is_same = Remote(**facts["remote"]) == self.remote
            return have if is_same and 0 <= have <= min(self.path.stat().st_size, self.remote.size) else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def tail(self) -> bytes:
        """The last bytes of what is there."""
        size = min(self.have, TAIL_BYTES)
        self._file.seek(self.have - size)
        return self._file.read(size)

    def write(self, offset: int, data: bytes) -> None:
        """Put a piece in its place."""
        self._file.seek(offset)
        self._file.write(data)
        self._unsaved += len(data)

    def save_now_and_then(self, prefix: int) -> None:
        """Save after a while, or some bytes."""
        if self._unsaved >= _SAVE_BYTES or (self._unsaved and time.monotonic() - self._saved_s >= _SAVE_S):
            self.save(prefix)

    def save(self, prefix: int) -> None:
        """Everything is on disk, and that [0, prefix) is."""
        self._file.flush()
        os.fsync(self._file.fileno())
        _replace(self._facts, {"remote": asdict(self.remote), "have": prefix})
        self._unsaved, self._saved_s, self.have = 0, time.monotonic(), prefix

    def sums(self) -> tuple[int, str]:
        """(MAVFTP's checksum, SHA-256 in hex) of the file."""
        crc, sha = 0, hashlib.sha256()
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            crc = crc32(piece, crc)
            sha.update(piece)
        return crc, sha.hexdigest()

    def close(self) -> None:
        """The file stays."""
        self._file.close()

    def drop(self) -> None:
        """The file goes."""
        self._file.close()
        for path in (self.path, self._facts):
            path.unlink(missing_ok=True)


class Files:
    """The folder; see the module. OSError when it cannot be made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done = folder / "done"
        self.done.mkdir(parents=True, exist_ok=True)
        self._memory = folder / "known.json"
        self._known, self._failures = self._recall()

    def _recall(self) -> tuple[dict[str, Any], dict[str, int]]:
        try:
            found = json.loads(self._memory.read_text())
            return dict(found["known"]), {str(k): int(n) for k, n in dict(found["failures"]).items()}
        except FileNotFoundError:
            return {}, {}
        except (OSError, ValueError, KeyError, TypeError) as e:
            log.warning("memory of fetched logs unreadable: begun anew", extra={"error": str(e)})
            return {}, {}

    def is_settled(self, remote: Remote) -> bool:
        """Whether it was fetched, or has failed too often."""
        return remote.key in self._known or self._failures.get(remote.key, 0) >= MOST_FAILURES

    def has_room(self, size: int, spare: int) -> bool:
        """Whether the disk has room for so many bytes, and `spare` besides."""
        return shutil.disk_usage(self.folder).free >= size + spare

    def begin(self, remote: Remote) -> Begun:
        """Begin, or take up again. OSError when the disk refuses."""
        return Begun(self.folder, remote)

    def finish(self, begun: Begun, sha256: str) -> Path:
        """A whole log: under its own name in a folder of its own, and remembered."""
        remote = begun.remote
        begun.close()
        place = self.done / sha256[:24]
        place.mkdir(exist_ok=True)
        path = place / remote.name
        begun.path.replace(path)
        begun.drop()
        self._known[remote.key] = {"sha256": sha256, "at": int(time.time())}
        self._failures.pop(remote.key, None)
        self._remember()
        return path

    def failed(self, begun: Begun) -> None:
        """What was fetched is not the log: away with it, and count."""
        begun.drop()
        self._failures[begun.remote.key] = self._failures.get(begun.remote.key, 0) + 1
        self._remember()

    def waiting(self) -> list[Path]:
        """Whole logs that nobody has taken over yet, oldest first."""
        return sorted((p for p in self.done.glob("*/*") if p.is_file()), key=lambda p: p.stat().st_mtime)

    def taken(self, path: Path) -> None:
        """A whole log was taken over."""
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def forget_others(self, listed: list[Remote]) -> None:
        """Begun logs that the autopilot no longer has are of no use; nor is memory without bound."""
        stems = {hashlib.sha256(r.key.encode()).hexdigest()[:24] for r in listed}
        for path in [*self.folder.glob("*.part"), *self.folder.glob("*.json")]:
            if path.stem not in stems and path != self._memory:
                path.unlink(missing_ok=True)
        if len(self._known) > _MOST_KNOWN:
            keys = {r.key for r in listed}
            self._known = {k: v for k, v in self._known.items() if k in keys}
        self._failures = {k: n for k, n in self._failures.items() if k in {r.key for r in listed}}

    def _remember(self) -> None:
        _replace(self._memory, {"known": self._known, "failures": self._failures})


def _replace(path: Path, value: object) -> None:
    """Write a file so that a power cut leaves the old or the new one."""
    fresh = path.with_suffix(".new")
    with fresh.open("w") as out:
        json.dump(value, out)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)

"""Where frames come from, as the pipeline sees it: a live link, or a recorded log at its own pace."""

import hashlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from agent.link import LinkReader
from agent.waiting import Loss
from firmware_bridge.framing import Scanner
from firmware_bridge.tlog import open_log, read_tlog
from shared.errors import Refused
from shared.frames import Frames, join, no_frames

_PIECE_US = 1_000_000
_PIECE_BYTES = 64 << 10
LONGEST_PAUSE_US = 10_000_000
"""A hole in a log is played as a pause of at most this."""
BACKWARDS_US = 1_000_000
"""A log's clock that runs back by more than this has begun anew: its recorder restarted, or somebody set it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came since the last call. position: frames of a log taken so far; None on a live link."""

    frames: Frames
    bad_crc: int = 0
    junk_bytes: int = 0
    overflow: Loss | None = None
    position: int | None = None


class Source(Protocol):
    """See the module."""

    def take(self) -> Taken: ...
    def now_us(self) -> int: ...
    def send(self, data: bytes) -> bool: ...
    @property
    def is_ended(self) -> bool: ...
    @property
    def is_hurried(self) -> bool: ...
    @property
    def is_behind(self) -> bool: ...


class LinkSource:
    """A live link."""

    is_ended = False
    is_hurried = False
    is_behind = False

    def __init__(self, reader: LinkReader, clock: Callable[[], int]) -> None:
        self._reader = reader
        self._scanner = Scanner()
        self._clock = clock
        self._seen = (0, 0)

    def now_us(self) -> int:
        return self._clock()

    def take(self) -> Taken:
        chunks, dropped = self._reader.inbox.take()
        frames = [self._scanner.feed(data, at) for at, data in chunks]
        loss = None if dropped is None else Loss(None, *dropped, "the recorder was too slow for the link")
        seen, self._seen = self._seen, (self._scanner.bad_crc, self._scanner.junk_bytes)
        damage = self._seen[0] - seen[0], self._seen[1] - seen[1]
        return Taken(join([f for f in frames if len(f)]), *damage, loss)

    def send(self, data: bytes) -> bool:
        return self._reader.send(data)


class LogSource:
    """A recorded log (tlog or raw, packed or not), played at `speed` times its own pace, or as fast as possible."""

    def __init__(self, path: Path, speed: float | None, wall_s: Callable[[], float] = time.monotonic) -> None:
        """speed: factor; None is as fast as possible. Refused or OSError when the log cannot be read."""
        data = open_log(path)
        self.digest = hashlib.sha256(data).digest()
        found = read_tlog(data)
        self.frames = found.frames
        if not len(self.frames):
            raise Refused("log_empty", f"{path} holds no MAVLink frame")
        self.is_stamped = found.stamped
        self.position = 0
        self._damage = (found.bad_crc, found.junk_bytes)
        self._speed = speed
        self._wall_s = wall_s
        steps = np.clip(np.diff(self.frames.time_us, prepend=self.frames.time_us[:1]), 0, LONGEST_PAUSE_US)
        self._due_us = np.cumsum(steps)
        jumps = np.diff(self.frames.time_us)
        self._jumps = np.flatnonzero((jumps < -BACKWARDS_US) | (jumps > LONGEST_PAUSE_US)) + 1
        self._from: tuple[float, int] | None = None
        self.is_behind = speed is None
        """Whether the next piece is due already."""

    @property
    def epoch(self) -> uuid.UUID:
        """Names the clock of this log."""
        return uuid.UUID(bytes=self.digest[:16], version=4)

    @property
    def is_ended(self) -> bool:
        return self.position >= len(self.frames)

    @property
    def is_hurried(self) -> bool:
        """Whether it is played faster than it was recorded."""
        return self._speed is None or self._speed > 1.5

    def skip(self, position: int) -> None:
        """Go on after the frames that an earlier run took."""
        self.position = min(position, len(self.frames))
        if self.position:
            self._damage = (0, 0)

    def now_us(self) -> int:
        """The recorder's clock: the stamp of the newest frame taken."""
        n = len(self.frames)
        return int(self.frames.time_us[max(self.position - 1, 0)]) if n else 0

    def take(self) -> Taken:
        start = self.position
        n = len(self.frames)
        if start >= n:
            return Taken(no_frames(), *self._take_damage(), None, start)
        piece = int(np.searchsorted(self._due_us, self._due_us[start] + _PIECE_US, "right"))
        stop = min(piece, int(np.searchsorted(self.frames.offsets, self.frames.offsets[start] + _PIECE_BYTES)))
        jump = int(np.searchsorted(self._jumps, start, "right"))  # nothing taken at once crosses a jump of the clock
        stop = min(stop, int(self._jumps[jump])) if jump < len(self._jumps) else stop
        stop = min(max(stop, start + 1), n)
        if self._speed is not None:
            due = self._due(self._speed)
            stop, self.is_behind = min(stop, due), due > stop
        self.position = max(stop, start)
        return Taken(self.frames.slice(start, self.position), *self._take_damage(), None, self.position)

    def _due(self, speed: float) -> int:
        """How many frames should have been played by now."""
        now_s = self._wall_s()
        if self._from is None:
            self._from = (now_s, int(self._due_us[self.position]))
        played_us = (now_s - self._from[0]) * 1e6 * speed
        return int(np.searchsorted(self._due_us, self._from[1] + played_us, "right"))

    def _take_damage(self) -> tuple[int, int]:
        damage, self._damage = self._damage, (0, 0)
        return damage

    def send(self, data: bytes) -> bool:
        return False

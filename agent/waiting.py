"""Frames between the link and a batch: in memory, bounded; some in the journal too. And what was lost. Pure."""

from dataclasses import dataclass, field
from typing import NamedTuple

from shared.frames import Frames, join


class Now(NamedTuple):
    """recorder_us: the clock that stamps frames. wall_us: this machine's monotonic clock (the same on a live link)."""

    recorder_us: int
    wall_us: int


@dataclass(slots=True)
class Loss:
    """Frames lost before they were sealed, to be owned up to by a gap record. frames None: nobody can know how many."""

    frames: int | None = 0
    size_bytes: int = 0
    from_us: int | None = None
    to_us: int | None = None
    detail: str = ""

    def add(self, other: "Loss") -> None:
        """Count another one of the same reason in."""
        self.frames = None if self.frames is None or other.frames is None else self.frames + other.frames
        self.size_bytes += other.size_bytes
        self.from_us = other.from_us if self.from_us is None else self.from_us
        self.to_us = other.to_us
        self.detail = other.detail or self.detail


def loss_of(frames: Frames, detail: str) -> Loss:
    """All of these frames are lost."""
    return Loss(len(frames), len(frames.data), int(frames.time_us[0]), int(frames.time_us[-1]), detail)


@dataclass(slots=True)
class Waiting:
    """Frames that are not sealed: `journaled` are on disk too (up to row last_id), `fresh` only here.

    since_us, fresh_since_us: wall time at which the oldest of all, of the fresh ones came. first_us: its recorder time.
    """

    fresh: list[Frames] = field(default_factory=list)
    journaled: list[Frames] = field(default_factory=list)
    last_id: int = 0
    since_us: int | None = None
    fresh_since_us: int | None = None
    first_us: int | None = None
    size_bytes: int = 0
    fresh_bytes: int = 0

    def add(self, frames: Frames, wall_us: int) -> None:
        """Frames came (at least one)."""
        self.fresh.append(frames)
        self.fresh_bytes += len(frames.data)
        self.fresh_since_us = wall_us if self.fresh_since_us is None else self.fresh_since_us
        self._count(frames, wall_us)

    def take_back(self, frames: Frames, row_id: int, wall_us: int) -> None:
        """Frames of a journal row of an earlier run."""
        self.journaled.append(frames)
        self.last_id = row_id
        if len(frames):
            self._count(frames, wall_us)

    def _count(self, frames: Frames, wall_us: int) -> None:
        self.size_bytes += len(frames.data)
        self.since_us = wall_us if self.since_us is None else self.since_us
        self.first_us = int(frames.time_us[0]) if self.first_us is None else self.first_us

    def all(self) -> Frames:
        """In order."""
        return join(self.journaled + self.fresh)

    def span_us(self, now: Now) -> int:
        """How long the oldest has waited, by whichever clock says more; 0 when nothing waits."""
        if self.since_us is None or self.first_us is None:
            return 0
        return max(now.wall_us - self.since_us, now.recorder_us - self.first_us)

    def fresh_us(self, now: Now) -> int:
        """How long the oldest has waited that is only in memory."""
        return 0 if self.fresh_since_us is None else now.wall_us - self.fresh_since_us

    def now_journaled(self, frames: Frames, row_id: int) -> None:
        """The fresh ones (joined: `frames`) are on disk as row row_id."""
        self.journaled.append(frames)
        self.last_id = row_id
        self.fresh, self.fresh_bytes, self.fresh_since_us = [], 0, None

    def none_journaled(self) -> None:
        """The journal is gone: everything is only in memory."""
        self.fresh, self.journaled, self.last_id = self.journaled + self.fresh, [], 0
        self.fresh_bytes, self.fresh_since_us = self.size_bytes, self.since_us

    def head(self, max_bytes: int) -> tuple[Frames, int, int]:
        """(what is sealed next: all that is journaled and fresh chunks up to max_bytes, at least one; how many of
        these chunks; how many frames are left after them)."""
        size, chunks = self.size_bytes - self.fresh_bytes, 0
        for chunk in self.fresh:
            if chunks and size + len(chunk.data) > max_bytes:
                break
            size, chunks = size + len(chunk.data), chunks + 1
        return join(self.journaled + self.fresh[:chunks]), chunks, sum(len(f) for f in self.fresh[chunks:])

    def now_sealed(self, chunks: int) -> None:
        """All that was journaled and so many fresh chunks wait no more."""
        self.journaled, self.last_id = [], 0
        self.fresh = self.fresh[chunks:]
        self.size_bytes = self.fresh_bytes = sum(len(f.data) for f in self.fresh)
        self.since_us = self.fresh_since_us if self.fresh else None
        self.first_us = int(self.fresh[0].time_us[0]) if self.fresh else None
        self.fresh_since_us = self.since_us

    def drop_over(self, max_bytes: int) -> list[Frames]:
        """Take out the oldest that are only in memory, down to max_bytes; returns them."""
        dropped = []
        while self.fresh_bytes > max_bytes and self.fresh:
            dropped.append(self._drop())
        return dropped

    def trim(self, before_us: int) -> None:
        """Take out what came before a recorder time: pre-roll that no flight followed."""
        while self.fresh and int(self.fresh[0].time_us[-1]) < before_us:
            self._drop()
        self.first_us = int(self.fresh[0].time_us[0]) if self.fresh else None

    def _drop(self) -> Frames:
        oldest = self.fresh.pop(0)
        self.fresh_bytes -= len(oldest.data)
        self.size_bytes -= len(oldest.data)
        return oldest

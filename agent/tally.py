"""What a batch holds, counted: frames by message, and what the wire's sequence numbers say was lost. Pure numpy."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared.frames import Frames

Source = tuple[int, int]
"""(sysid, compid)"""
RESTART_SPAN = 128
"""A jump of the 8-bit wire sequence beyond this is a restart or a late frame, not a loss."""


@dataclass(frozen=True, slots=True, eq=False)
class Headers:
    """The header fields of N frames; arrays [N]. payload_at: where each payload starts in frames.data."""

    msgid: NDArray[np.int64]
    sysid: NDArray[np.int64]
    compid: NDArray[np.int64]
    seq: NDArray[np.int64]
    payload_at: NDArray[np.int64]


def headers(frames: Frames) -> Headers:
    """Read the headers of all frames, MAVLink 1 and 2."""
    data = np.frombuffer(frames.data, np.uint8)
    at = frames.offsets[:-1]
    two = data[at] == 0xFD
    msgid = np.where(two, 0, data[at + 5]).astype(np.int64)
    long = at[two]
    msgid[two] = data[long + 7] + (data[long + 8].astype(np.int64) << 8) + (data[long + 9].astype(np.int64) << 16)
    skip = np.where(two, 4, 2)
    seq, sysid, compid = (data[at + skip + i].astype(np.int64) for i in range(3))
    return Headers(msgid, sysid, compid, seq, at + np.where(two, 10, 6))


@dataclass(slots=True)
class Tally:
    """Counts over a run of batches (a flight's manifest in the making).

    by_message: message id -> frames. wire_lost: source -> frames missed. first_us, last_us: least and greatest time.
    """

    batches: int = 0
    frames: int = 0
    size_bytes: int = 0
    bad_crc: int = 0
    junk_bytes: int = 0
    by_message: Counter[int] = field(default_factory=Counter)
    wire_lost: Counter[Source] = field(default_factory=Counter)
    first_us: int | None = None
    last_us: int | None = None

    def add(self, other: "Tally") -> None:
        """Count another run in."""
        self.batches += other.batches
        self.frames += other.frames
        self.size_bytes += other.size_bytes
        self.bad_crc += other.bad_crc
        self.junk_bytes += other.junk_bytes
        self.by_message.update(other.by_message)
        self.wire_lost.update(other.wire_lost)
        if other.first_us is not None and other.last_us is not None:
            self.first_us = other.first_us if self.first_us is None else min(self.first_us, other.first_us)
            self.last_us = other.last_us if self.last_us is None else max(self.last_us, other.last_us)


def count(frames: Frames, newest: dict[Source, int]) -> tuple[Tally, dict[Source, int]]:
    """Tally of one batch's frames, and the newest wire sequence per source after it (`newest`: before it)."""
    tally = Tally(batches=1, frames=len(frames), size_bytes=len(frames.data))
    after = dict(newest)
    if not len(frames):
        return tally, after
    h = headers(frames)
    ids, counts = np.unique(h.msgid, return_counts=True)
    tally.by_message = Counter(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
    tally.first_us, tally.last_us = int(frames.time_us.min()), int(frames.time_us.max())
    source = h.sysid << 8 | h.compid
    for value in np.unique(source).tolist():
        key = (value >> 8, value & 255)
        seq = h.seq[source == value]
        lost = missed(seq, newest.get(key))
        if lost:
            tally.wire_lost[key] = lost
        after[key] = int(seq[-1])
    return tally, after


def missed(seq: NDArray[np.int64], before: int | None) -> int:
    """Frames missing between 8-bit sequence numbers. A step backwards or beyond RESTART_SPAN counts as none."""
    if before is not None:
        seq = np.concatenate([np.array([before], np.int64), seq])
    step = np.diff(seq) & 0xFF
    return int((step[(step > 1) & (step <= RESTART_SPAN)] - 1).sum())

"""Frames: CRC-checked MAVLink packets and when they came, as arrays over one buffer (no object per frame)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """N frames in the order in which they were received.

    data: the frames' bytes, STX to the last byte of CRC or signature, one after the other, nothing between.
    offsets: int64 [N + 1]; frame i is data[offsets[i]:offsets[i + 1]]; offsets[0] == 0, offsets[N] == len(data).
    time_us: int64 [N], receive time in us on the recorder's clock (shared.clock says how it maps to UTC); it may run
        backwards where the source's clock did.
    """

    data: bytes
    offsets: NDArray[np.int64]
    time_us: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.time_us)
        if len(self.offsets) != n + 1 or int(self.offsets[0]) != 0 or int(self.offsets[n]) != len(self.data):
            raise ValueError("offsets do not cover data")

    def __len__(self) -> int:
        return len(self.time_us)

    def __getitem__(self, i: int) -> bytes:
        return self.data[int(self.offsets[i]) : int(self.offsets[i + 1])]

    def slice(self, start: int, stop: int) -> "Frames":
        """Frames start .. stop - 1."""
        offsets = self.offsets[start : stop + 1]
        return Frames(self.data[int(offsets[0]) : int(offsets[-1])], offsets - offsets[0], self.time_us[start:stop])

    def equals(self, other: "Frames") -> bool:
        """Whether bytes, boundaries and times are all the same."""
        return (
            self.data == other.data
            and np.array_equal(self.offsets, other.offsets)
            and np.array_equal(self.time_us, other.time_us)
        )


def no_frames() -> Frames:
    """Frames of length 0."""
    return Frames(b"", np.zeros(1, np.int64), np.zeros(0, np.int64))


def join(parts: "list[Frames]") -> Frames:
    """The frames of all parts, in order."""
    if not parts:
        return no_frames()
    lengths = np.concatenate([np.diff(p.offsets) for p in parts])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Frames(b"".join(p.data for p in parts), offsets, np.concatenate([p.time_us for p in parts]))

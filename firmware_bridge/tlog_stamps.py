"""The stamps of a telemetry log: us since 1970, big-endian, or little-endian as QGroundControl wrote them in 2012."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

STAMP_BYTES = 8
BACKWARDS_US = 1_000_000
"""A clock that runs back by more than this was set anew."""
SEGMENT_GAP = bytes(12)
"""What some recorders leave where they start anew."""
_LATEST_US = 4_102_444_800_000_000
"""2100-01-01 UTC: no stamp is later."""


def read_stamps(data: bytes, heads: Ints, own: Flags, swapped: bool | None = None) -> tuple[Ints, bool]:
    """The 8 bytes before each frame as int64 (bits kept), 0 where they are no stamp of its own; and whether they are
    little-endian (by majority, where it is not told)."""
    little = np.zeros(len(heads), np.int64)
    if own.any():
        at_every_byte = np.ndarray((len(data) - STAMP_BYTES + 1,), np.dtype((np.void, STAMP_BYTES)), data, 0, (1,))
        little[own] = at_every_byte[heads[own] - STAMP_BYTES].view("<i8")
    big = little.byteswap()
    if swapped is None:
        swapped = int(is_plausible(little).sum()) > int(is_plausible(big).sum())
    return (little if swapped else big), swapped


def is_plausible(stamps: Ints) -> Flags:
    """Whether these can be stamps at all."""
    return (stamps >= 0) & (stamps < _LATEST_US)


def own_stamps(stamps: Ints, own: Flags, heads: Ints, before: Ints) -> Flags:
    """Which stamps are the frames' own. before: where the frame before each ends. Behind damage the 8 bytes before a
    frame can be anything: only what is plausible is believed."""
    hunted = own & (heads - STAMP_BYTES != before)
    return own & ~(hunted & ~is_plausible(stamps))


def hold(stamps: Ints, own: Flags, last_us: int | None = None) -> Ints:
    """Times of all frames: those without a stamp take the one before (those at the start: last_us, else the first;
    0 when there is none at all)."""
    if own.all():
        return stamps
    if not own.any():
        return np.full(len(stamps), last_us or 0, np.int64)
    last = np.maximum.accumulate(np.where(own, np.arange(len(own)), -1))
    times = stamps[np.where(last < 0, int(np.argmax(own)), last)]
    if last_us is not None:
        times[last < 0] = last_us
    return times

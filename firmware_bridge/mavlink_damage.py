"""What lies between the frames of a MAVLink log: which bytes, and why no frame was read from them."""

import numpy as np

from firmware_bridge.framing import MAX_FRAME, Found, claimed_end
from firmware_bridge.log_tables import Damage
from firmware_bridge.tlog_stamps import Flags, Ints


class Between:
    """The bytes between frames (and their stamps), followed over portions. stamp_bytes: of a stamp, 0 in a raw dump.

    last_end: where in the log the last frame ends; -1 before the first.
    """

    def __init__(self, stamp_bytes: int) -> None:
        self.last_end = -1
        self._stamp_bytes = stamp_bytes
        self._damaged: Ints = np.zeros(0, np.int64)  # frames with a wrong CRC behind the last frame
        self._is_zeros = True  # what is let go of behind the last frame, up to _let_go
        self._let_go = 0

    def damage(
        self, found: Found, before: Ints, own: Flags, decided: int, final: bool
    ) -> tuple[list[int], list[Damage]]:
        """Each damage with the index of the frame behind it (the number of frames: none). before: where the frame
        before each ends, in found.data; decided: bytes of the log that are decided."""
        starts = np.maximum(before, -found.base) + found.base
        stops = found.starts + found.base - self._stamp_bytes * own
        self._damaged = np.append(self._damaged, np.array(found.damaged, np.int64))
        rows = np.flatnonzero(stops > starts).tolist()
        out = [self._one(found, int(starts[i]), int(stops[i])) for i in rows]
        if len(stops):
            self.last_end = int(found.ends[-1]) + found.base
            self._is_zeros, self._let_go = True, self.last_end
            self._damaged = self._damaged[self._damaged >= self.last_end]
        end = max(self.last_end, 0)
        if final and decided > end:
            rows.append(len(stops))
            out.append(self._one(found, end, decided, final=True))
        elif decided > self._let_go:
            self._is_zeros &= _is_zeros(found, self._let_go, decided)
            self._let_go = decided
        return rows, out

    def _one(self, found: Found, start: int, stop: int, final: bool = False) -> Damage:
        first, last = np.searchsorted(self._damaged, (start, stop)).tolist()
        count = last - first
        if count:
            return Damage(start, stop - start, "bad_crc", f"{count} frames" if count > 1 else "1 frame")
        if (self._is_zeros or start >= found.base) and _is_zeros(found, max(start, found.base), stop):
            return Damage(start, stop - start, "zeros")
        is_torn = final and start >= found.base and self._is_torn(found, start, stop)
        return Damage(start, stop - start, "torn_end" if is_torn else "no_magic")

    def _is_torn(self, found: Found, start: int, stop: int) -> bool:
        """Whether the bytes are the beginning of a stamp and a frame that goes on behind the end."""
        at, end = start + self._stamp_bytes - found.base, stop - found.base
        if end - at > MAX_FRAME:
            return False
        if at + 3 > end:
            return at >= end or found.data[at] in b"\xfd\xfe"
        return found.data[at] in b"\xfd\xfe" and claimed_end(found.data, at) > end


def _is_zeros(found: Found, start: int, stop: int) -> bool:
    return found.data.count(0, start - found.base, stop - found.base) == stop - start

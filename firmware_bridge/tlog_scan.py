"""Telemetry logs framed: a stamp of 8 bytes, then a frame, and so on, with any damage between.

Alignment is never trusted: after damage, a missing start, or the zeros that some recorders leave between segments, the
next frame is found by magic and CRC, and the 8 bytes before it are its stamp. A frame of a foreign dialect (a sound
header, a wrong CRC, a good frame where it says that it ends) is stepped over. What is found depends on the bytes alone.
"""

import numpy as np

from firmware_bridge.framing import BAD, MORE, NONE, STX, Found, Spans, claimed_end, frame_end, runs_in, vouched
from firmware_bridge.tlog_stamps import STAMP_BYTES

_WAIT = -3  # beside the verdicts of frame_end: more bytes are needed to say


class StampedScanner:
    """Frames and stamps out of a telemetry log that arrives in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._base = 0  # where in the log _rest begins
        self._pos = 0  # where a stamp is expected, in _rest
        self._hunt = -1  # where the search for the next frame goes on, in _rest; -1: none is on
        self._suspect = self._suspect_end = -1  # of the last damaged frame: where it begins and says that it ends

    @property
    def decided(self) -> int:
        """Bytes of the log from its start of which is known whether they are a frame's, a stamp's, or neither."""
        return self._base

    def find(self, data: bytes, final: bool = False) -> Found:
        """The frames that `data` completes; final: nothing follows."""
        buf = self._rest + data if self._rest else data
        base, spans, stampless, damaged = self._base, Spans(), list[int](), list[int]()
        self._scan(buf, final, spans, stampless, damaged)
        starts, ends = spans.arrays()
        has_stamp = np.ones(len(starts), bool)
        has_stamp[np.searchsorted(starts, np.array(stampless, np.int64))] = False
        self._drop(buf, max(self._pos, self._hunt - STAMP_BYTES))
        return Found(buf, base, starts, ends, [base + at for at in damaged], has_stamp)

    def _drop(self, buf: bytes, upto: int) -> None:
        """Lets go of what no frame and no stamp can begin in any more."""
        upto = min(upto, len(buf))
        self._rest, self._base = buf[upto:], self._base + upto
        self._pos, self._suspect, self._suspect_end = (
            self._pos - upto, self._suspect - upto, self._suspect_end - upto
        )  # fmt: skip
        self._hunt = self._hunt - upto if self._hunt >= 0 else -1

    def _scan(self, buf: bytes, final: bool, spans: Spans, stampless: list[int], damaged: list[int]) -> None:
        runs, size = runs_in(buf, STAMP_BYTES), len(buf)
        while self._pos < size:
            at = self._pos + STAMP_BYTES
            if self._hunt < 0:
                i, j = runs.at(at) if runs else (0, 0)
                if j > i:
                    assert runs is not None
                    spans.extend(runs.heads[i:j], runs.ends[i:j])
                    self._pos = int(runs.ends[j - 1])
                    continue
                end = self._expected(buf, at, final, damaged)
                if end == _WAIT:
                    return
                if end == NONE:
                    continue
            else:
                at, end = self._hunted(buf, final, damaged)
                if end <= 0:
                    return
            if at - STAMP_BYTES < self._pos:
                stampless.append(at)
            spans.add(at, end)
            self._pos, self._hunt = end, -1

    def _expected(self, buf: bytes, at: int, final: bool, damaged: list[int]) -> int:
        """End of the frame at `at`, where one is expected; else NONE (stepped over, or a hunt begins) or _WAIT."""
        end = frame_end(buf, at)
        if end < BAD:
            vouch = vouched(buf, -end, STAMP_BYTES, final)
            if vouch == 0:
                return _WAIT
            end = -end if vouch > 0 else NONE
        if end > 0:
            return end
        if end == MORE and not final:
            return _WAIT
        self._hunt, self._suspect, self._suspect_end = self._pos, self._pos, -1
        if end == BAD:
            after = claimed_end(buf, at)
            then = frame_end(buf, after + STAMP_BYTES)
            if then == MORE and not final:
                self._hunt = -1
                return _WAIT
            damaged.append(at)
            if then > 0:
                self._pos, self._hunt = after, -1
            else:
                self._suspect, self._suspect_end = at, after
        return NONE

    def _hunted(self, buf: bytes, final: bool, damaged: list[int]) -> tuple[int, int]:
        """The next frame with a right CRC: (start, end); (where to go on, NONE) when there is none yet."""
        found = STX.search(buf, self._hunt)
        while found:
            at = found.start()
            end = frame_end(buf, at)
            if end > 0:
                return at, end
            if end == MORE and not final:
                self._hunt = at
                return at, NONE
            if end == BAD and at >= self._suspect_end and at != self._suspect:
                damaged.append(at)
                self._suspect_end = claimed_end(buf, at)
            found = STX.search(buf, at + 1)
        self._hunt = len(buf)
        if final:
            self._pos = len(buf)
        return len(buf), NONE

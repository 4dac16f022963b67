"""Framing: bytes of a link to MAVLink frames, every byte accounted for. MAVLink 1 and 2, signed frames, any id.

A frame of a known message id is kept when its CRC (with the dialect's CRC_EXTRA) is right. The CRC of an unknown id
cannot be checked, and chance finds such "frames" in garbage; so one is kept only when its neighbours vouch for it: it
begins where a frame ended (or at the start of the input), its source is no broadcast address, and a frame with a right
CRC follows without a byte between (over at most MAX_CHAIN unknown ones), or the input ends exactly there.
Everything else is junk; a bad CRC is counted once per damaged frame and its bytes are junk.
The result depends on the bytes alone, never on how they were split over feeds.
Source: mavlink.io, "Packet Serialization"; CRC-16/MCRF4XX.
"""

import re
from array import array

import numpy as np
from fastcrc import crc16
from numpy.typing import NDArray

from shared.frames import Frames, no_frames
from shared.layouts import LAYOUTS

MAX_FRAME = 280
"""The longest MAVLink frame: 10 + 255 + 2 + 13 bytes."""
MAX_CHAIN = 16
"""How many unknown frames in a row a good one vouches for."""

MORE, NONE, BAD = 0, -1, -2
"""Verdicts of `frame_end` beside a position: more bytes are needed, no frame starts here, the CRC is wrong."""

STX = re.compile(b"[\xfd\xfe]")
_crc = crc16.mcrf4xx


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8408 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_TABLE = _crc_table()
_EXTRA: dict[int, int] = {msgid: layout.crc_extra for msgid, layout in LAYOUTS.items()}


def frame_end(buf: bytes, pos: int) -> int:
    """Where the frame of a known id that starts at pos ends, or MORE, NONE, BAD.

    An unknown id whose header is plausible: minus the end of the frame (less than BAD), for the caller to judge.
    """
    size = len(buf)
    if pos + 8 > size:
        return MORE if pos >= size or buf[pos] in b"\xfd\xfe" else NONE
    if buf[pos] == 0xFD:
        flags = buf[pos + 2]
        if flags > 1 or pos + 10 > size:
            return NONE if flags > 1 else MORE
        msgid = buf[pos + 7] | buf[pos + 8] << 8 | buf[pos + 9] << 16
        tail = pos + 10 + buf[pos + 1]
        end = tail + 15 if flags else tail + 2
        source = pos + 5
    elif buf[pos] == 0xFE:
        msgid = buf[pos + 5]
        tail = pos + 6 + buf[pos + 1]
        end = tail + 2
        source = pos + 3
    else:
        return NONE
    extra = _EXTRA.get(msgid)
    if extra is None:
        return -end if buf[source] and buf[source + 1] else NONE
    if end > size:
        return MORE
    crc = _crc(buf[pos + 1 : tail])
    if (crc >> 8) ^ _TABLE[(crc ^ extra) & 255] == buf[tail] | buf[tail + 1] << 8:
        return end
    return BAD


def claimed_end(buf: bytes, pos: int) -> int:
    """Where the frame whose complete header is at pos says that it ends."""
    if buf[pos] == 0xFD:
        return pos + 12 + buf[pos + 1] + (13 if buf[pos + 2] & 1 else 0)
    return pos + 8 + buf[pos + 1]


def vouched(buf: bytes, end: int, gap: int, final: bool) -> int:
    """Whether what follows an unknown frame that ends at `end` vouches for it: 1 yes, 0 more bytes are needed, -1 no.

    gap: bytes between frames (a tlog's stamp). final: no bytes will follow buf.
    """
    for _ in range(MAX_CHAIN):
        if end >= len(buf):
            return (1 if end == len(buf) else -1) if final else 0
        verdict = frame_end(buf, end + gap)
        if verdict > 0:
            return 1
        if verdict == MORE:
            return 1 if final else 0  # a torn last frame is a frame's beginning all the same
        if verdict >= BAD:
            return -1
        end = -verdict
    return -1


class Scanner:
    """Frames out of a byte stream that arrives in pieces of any size.

    bad_crc: damaged frames so far. junk_bytes: bytes so far that belong to no frame (damaged frames included).
    After `finish()`: bytes fed == bytes of all frames returned + junk_bytes.
    """

    def __init__(self) -> None:
        self.bad_crc = 0
        self.junk_bytes = 0
        self._rest = b""
        self._junk_at = 0  # where in _rest the bytes that are not yet counted begin
        self._synced = True
        self._suspect_end = -1  # where the last damaged frame says that it ends, relative to _rest

    @property
    def pending_bytes(self) -> int:
        """Bytes fed that are not yet decided."""
        return len(self._rest)

    def feed(self, data: bytes, time_us: int) -> Frames:
        """The frames that `data` completes, all stamped time_us (us, recorder's clock)."""
        return self._scan(self._rest + data if self._rest else data, time_us, final=False)

    def finish(self, time_us: int = 0) -> Frames:
        """The input has ended: decides what was pending. The scanner is then ready for another input."""
        frames = self._scan(self._rest, time_us, final=True)
        self._synced, self._suspect_end = True, -1
        return frames

    def _scan(self, buf: bytes, time_us: int, final: bool) -> Frames:
        starts, ends = array("q"), array("q")
        add_start, add_end = starts.append, ends.append
        pos, size = 0, len(buf)
        counted = 0  # buf[:counted] is accounted for
        synced, suspect_end = self._synced, self._suspect_end
        while pos < size:
            verdict = frame_end(buf, pos)
            if verdict < BAD and (synced or pos == suspect_end):
                vouch = vouched(buf, -verdict, 0, final)
                if vouch == 0:
                    break
                verdict = -verdict if vouch > 0 else NONE
            if verdict > 0:
                self.junk_bytes += pos - counted
                add_start(pos)
                add_end(verdict)
                pos = counted = verdict
                synced = True
                continue
            if verdict == MORE and not final:
                break
            if verdict == BAD and pos >= suspect_end:
                self.bad_crc += 1
                suspect_end = claimed_end(buf, pos)
            synced = False
            found = STX.search(buf, pos + 1)
            pos = found.start() if found else size
        self.junk_bytes += pos - counted
        self._rest = buf[pos:]
        self._synced, self._suspect_end = synced, suspect_end - pos
        return cut(buf, starts, ends, time_us)


def cut(buf: bytes, starts: "array[int]", ends: "array[int]", time_us: int | NDArray[np.int64]) -> Frames:
    """Frames buf[starts[i]:ends[i]]; one copy when they lie side by side."""
    n = len(starts)
    if n == 0:
        return no_frames()
    first, last = np.frombuffer(starts, np.int64), np.frombuffer(ends, np.int64)
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(last - first, out=offsets[1:])
    breaks = np.flatnonzero(first[1:] != last[:-1]) + 1
    if len(breaks) == 0:
        data = buf[starts[0] : ends[-1]]
    elif len(breaks) < n // 4:
        heads, tails = [0, *breaks.tolist()], [*breaks.tolist(), n]
        data = b"".join([buf[starts[a] : ends[b - 1]] for a, b in zip(heads, tails, strict=True)])
    else:
        data = b"".join([buf[a:b] for a, b in zip(starts, ends, strict=True)])
    times = np.full(n, time_us, np.int64) if isinstance(time_us, int) else time_us
    return Frames(data, offsets, times)

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
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from fastcrc import crc16
from numpy.typing import NDArray

from firmware_bridge.frame_crc import crc_table
from firmware_bridge.frame_runs import FrameRuns, Ints, frame_runs
from shared.frames import Frames, no_frames
from shared.layouts import LAYOUTS

MAX_FRAME = 280
"""The longest MAVLink frame: 10 + 255 + 2 + 13 bytes."""
MAX_CHAIN = 16
"""How many unknown frames in a row a good one vouches for."""

MORE, NONE, BAD = 0, -1, -2
"""Verdicts of `frame_end` beside a position: more bytes are needed, no frame starts here, the CRC is wrong."""

RUNS_FROM = 4_096  # bytes from which looking for whole runs is worth its start
FEW_PIECES = 256  # up to which bytes are sliced and joined

STX = re.compile(b"[\xfd\xfe]")
_crc = crc16.mcrf4xx


_TABLE = tuple(crc_table())
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


@dataclass(slots=True, eq=False)
class Spans:
    """Frames found one by one or in runs, in order."""

    _parts: list[tuple[Ints, Ints]] = field(default_factory=list)
    _single: list[tuple[int, int]] = field(default_factory=list)

    def add(self, start: int, end: int) -> None:
        """One frame."""
        self._single.append((start, end))

    def extend(self, starts: Ints, ends: Ints) -> None:
        """Frames that follow."""
        self._flush()
        self._parts.append((starts, ends))

    def arrays(self) -> tuple[Ints, Ints]:
        """(starts, ends) of all."""
        self._flush()
        if not self._parts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return np.concatenate([a for a, _ in self._parts]), np.concatenate([b for _, b in self._parts])

    def _flush(self) -> None:
        if self._single:
            both = np.array(self._single, np.int64)
            self._parts.append((both[:, 0], both[:, 1]))
            self._single = []


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Frames data[starts[i] : ends[i]] of an input, `data` being its bytes from `base` on. damaged: where in the input
    frames with a wrong CRC begin. has_stamp: of a telemetry log: whether the 8 bytes before each are its stamp."""

    data: bytes
    base: int
    starts: Ints
    ends: Ints
    damaged: list[int]
    has_stamp: NDArray[np.bool_]


def runs_in(data: bytes, gap: int) -> FrameRuns | None:
    """The runs of frames in `data`, None where it is too short for it to be worth it."""
    return frame_runs(data, gap) if len(data) >= RUNS_FROM else None


class Scanner:
    """Frames out of a byte stream that arrives in pieces of any size.

    bad_crc: damaged frames so far. junk_bytes: bytes so far that belong to no frame (damaged frames included).
    After `finish()`: bytes fed == bytes of all frames returned + junk_bytes.
    """

    def __init__(self) -> None:
        self.bad_crc = 0
        self.junk_bytes = 0
        self._base = 0  # where in the input _rest begins
        self._rest = b""
        self._synced = True
        self._suspect_end = -1  # where the last damaged frame says that it ends, relative to _rest

    @property
    def pending_bytes(self) -> int:
        """Bytes fed that are not yet decided."""
        return len(self._rest)

    @property
    def decided(self) -> int:
        """Bytes of the input from its start that are decided."""
        return self._base

    def feed(self, data: bytes, time_us: int) -> Frames:
        """The frames that `data` completes, all stamped time_us (us, recorder's clock)."""
        found = self.find(data)
        return cut(found.data, found.starts, found.ends, time_us)

    def finish(self, time_us: int = 0) -> Frames:
        """The input has ended: decides what was pending. The scanner is then ready for another input."""
        found = self.find(b"", final=True)
        self._synced, self._suspect_end, self._base = True, -1, 0
        return cut(found.data, found.starts, found.ends, time_us)

    def find(self, data: bytes, final: bool = False) -> Found:
        """Where in the input the frames are that `data` completes."""
        buf = self._rest + data if self._rest else data
        base, spans, damaged = self._base, Spans(), list[int]()
        pos = self._scan(buf, final, spans, damaged)
        starts, ends = spans.arrays()
        self.junk_bytes += pos - int((ends - starts).sum())
        self.bad_crc += len(damaged)
        self._rest, self._base = buf[pos:], base + pos
        has_stamp = np.zeros(len(starts), bool)
        return Found(buf, base, starts, ends, [base + at for at in damaged], has_stamp)

    def _scan(self, buf: bytes, final: bool, spans: Spans, damaged: list[int]) -> int:
        """Adds frames and damaged ones in `buf`; up to where it is decided."""
        runs = runs_in(buf, 0)
        pos, size = 0, len(buf)
        synced, suspect_end = self._synced, self._suspect_end
        while pos < size:
            if runs:
                i, j = runs.at(pos)
                if j > i:
                    spans.extend(runs.heads[i:j], runs.ends[i:j])
                    pos, synced = int(runs.ends[j - 1]), True
                    continue
            verdict = frame_end(buf, pos)
            if verdict < BAD and (synced or pos == suspect_end):
                vouch = vouched(buf, -verdict, 0, final)
                if vouch == 0:
                    break
                verdict = -verdict if vouch > 0 else NONE
            if verdict > 0:
                spans.add(pos, verdict)
                pos, synced = verdict, True
                continue
            if verdict == MORE and not final:
                break
            if verdict == BAD and pos >= suspect_end:
                damaged.append(pos)
                suspect_end = claimed_end(buf, pos)
            synced = False
            found = STX.search(buf, pos + 1)
            pos = found.start() if found else size
        self._synced, self._suspect_end = synced, suspect_end - pos
        return pos


def cut(buf: bytes, first: Ints, last: Ints, time_us: int | NDArray[np.int64]) -> Frames:
    """Frames buf[first[i]:last[i]]; one copy when they lie side by side."""
    n = len(first)
    if n == 0:
        return no_frames()
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(last - first, out=offsets[1:])
    breaks = np.flatnonzero(first[1:] != last[:-1]) + 1
    if len(breaks) == 0:
        data = buf[int(first[0]) : int(last[-1])]
    elif len(breaks) < FEW_PIECES:
        heads, tails = first[np.append(0, breaks)].tolist(), last[np.append(breaks, n) - 1].tolist()
        data = b"".join([buf[a:b] for a, b in zip(heads, tails, strict=True)])
    else:
        data = _gathered(buf, first, offsets)
    times = np.full(n, time_us, np.int64) if isinstance(time_us, int) else time_us
    return Frames(data, offsets, times)


def _gathered(buf: bytes, first: Ints, offsets: Ints) -> bytes:
    """The frames one behind the other, those of one length at once: numpy copies rows of a view of the bytes at every
    offset."""
    size = np.diff(offsets)
    out = np.empty(int(offsets[-1]), np.uint8)
    order = np.argsort(size.astype(np.uint16), kind="stable")
    ordered = size[order]
    edges = [0, *(np.flatnonzero(np.diff(ordered)) + 1).tolist(), len(order)]
    for a, b in pairwise(edges):
        width, rows = int(ordered[a]), order[a:b]
        row = np.dtype((np.void, width))
        source = np.ndarray((len(buf) - width + 1,), row, buf, 0, (1,))
        np.ndarray((len(out) - width + 1,), row, out.data, 0, (1,))[offsets[rows]] = source[first[rows]]
    return out.tobytes()

"""Where the messages of a ULog lie: the chain of lengths, followed for whole runs of data messages at once.

A message is a header (body size u16, type u8) and its body, one after the other. Data messages are nearly all of a log:
every byte that could be the type of one and whose length leads to another sound header is found by numpy, runs of
them that follow each other are taken whole, and only what lies between is walked one by one. The result is that of
the plain walk. Source: PX4 user guide, "ULog File Format".
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAGIC = b"ULog\x01\x12\x35"
FILE_HEADER = 16
"""Bytes of the file's header: the magic, a version, the start stamp."""
HEADER = 3
SYNC = b"\x2f\x73\x13\x20\x25\x0c\xbb\x12"
DATA = ord("D")

_SIZES = {
    "B": (40, 1024), "F": (3, 65535), "I": (3, 65535), "M": (4, 65535), "P": (4, 512), "Q": (5, 512),
    "A": (4, 512), "R": (2, 2), "D": (3, 65535), "L": (9, 65535), "C": (11, 65535), "S": (8, 8), "O": (2, 2),
}  # fmt: skip
"""Message type -> least and most bytes of its body."""
LEAST = np.full(256, 65536, np.int64)
MOST = np.full(256, -1, np.int64)
for _kind, (_least, _most) in _SIZES.items():
    LEAST[ord(_kind)], MOST[ord(_kind)] = _least, _most
_LIMITS = tuple(zip(LEAST.tolist(), MOST.tolist(), strict=True))
_VOUCHING = 4  # data messages in a row that make a new beginning after damage


@dataclass(frozen=True, slots=True, eq=False)
class UlogScan:
    """Messages in a piece of a log, all int64 [n]. at: where each header begins in the piece. size: bytes of the body.
    kind: the type byte. msg_id: of data messages, else -1. end: the piece is read up to here; what follows is the
    beginning of a message that goes on behind the piece, or damage. Where at[i] + 3 + size[i] < at[i + 1], the bytes
    between are no messages.
    """

    at: NDArray[np.int64]
    size: NDArray[np.int64]
    kind: NDArray[np.int64]
    msg_id: NDArray[np.int64]
    end: int


def is_header(data: bytes, pos: int) -> bool:
    """Whether a type that is known, of a size that it can have, stands at pos (three bytes must be there)."""
    least, most = _LIMITS[data[pos + 2]]
    return least <= data[pos] | data[pos + 1] << 8 <= most


def scan(data: bytes, start: int = 0) -> UlogScan:
    """The messages of data[start:], where `start` is the beginning of one (16 in a whole file). Where the chain breaks
    it is taken up again at the next run of data messages. Contents are not looked at; never raises.
    """
    buf = np.frombuffer(data, np.uint8)
    heads, after = _candidates(buf, start)
    breaks = np.flatnonzero(heads[1:] != after[:-1])  # a run ends at each of these
    fresh = heads[_runs(len(heads), breaks)]
    parts: list[NDArray[np.int64]] = []
    walked: list[int] = []
    pos, n = start, len(data)
    while pos + HEADER <= n:
        size = data[pos] | data[pos + 1] << 8
        kind = data[pos + 2]
        least, most = _LIMITS[kind]
        if not least <= size <= most:
            i = int(fresh.searchsorted(pos))
            if i == len(fresh):
                break
            pos = int(fresh[i])
            continue
        if kind == DATA:
            i = int(heads.searchsorted(pos))
            if i < len(heads) and heads[i] == pos:
                last = int(breaks.searchsorted(i))
                end = int(breaks[last]) + 1 if last < len(breaks) else len(heads)
                parts += [np.array(walked, np.int64), heads[i:end]]
                walked = []
                pos = int(after[end - 1])
                continue
        if pos + HEADER + size > n:
            break
        walked.append(pos)
        pos += HEADER + size
    at = np.concatenate([*parts, np.array(walked, np.int64)])
    return _described(buf, at, min(pos, n))


def _candidates(buf: NDArray[np.uint8], start: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions that could be data messages wholly in the piece with a sound header behind, and where they end."""
    heads = np.flatnonzero(buf[start + 2 :] == DATA) + start
    after = heads + HEADER + buf[heads] + (buf[heads + 1].astype(np.int64) << 8)
    fits = after + HEADER <= len(buf)
    heads, after = heads[fits], after[fits]
    kind = buf[after + 2]
    size = buf[after] + (buf[after + 1].astype(np.int64) << 8)
    sound = (after - heads >= HEADER + LEAST[DATA]) & (size >= LEAST[kind]) & (size <= MOST[kind])
    return heads[sound], after[sound]


def _runs(n: int, breaks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indexes of candidates that begin a chain of _VOUCHING."""
    firsts = np.concatenate([np.zeros(1, np.int64), breaks + 1])
    ends = np.concatenate([breaks + 1, np.array([n], np.int64)])
    last = np.repeat(ends, ends - firsts)
    return np.flatnonzero(last - np.arange(n) >= _VOUCHING)


def _described(buf: NDArray[np.uint8], at: NDArray[np.int64], end: int) -> UlogScan:
    size = buf[at] + (buf[at + 1].astype(np.int64) << 8)
    kind = buf[at + 2].astype(np.int64)
    msg_id = np.full(len(at), -1, np.int64)
    is_data = np.flatnonzero(kind == DATA)
    body = at[is_data] + HEADER
    msg_id[is_data] = buf[body] + (buf[body + 1].astype(np.int64) << 8)
    return UlogScan(at, size, kind, msg_id, end)

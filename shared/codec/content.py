"""What a block holds, before it is coded: frames taken apart so that nothing is lost, and put together again.

Two orders are used. Wire order: as received. Group order: by group, within a group as received. A group is all frames
of one (message id, sysid, compid) whose STX, length and CRC are right; group 0 is the rest, kept as raw bytes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec import crc
from shared.codec.parse import SIGNATURE_BYTES, SIGNED, V1, Ints, parse
from shared.codec.table import CRC_EXTRA, KNOWN, MIN_SIZE, SIZE, layout_index
from shared.frames import Frames, no_frames

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The groups of a block, ascending by (sysid, compid, msgid); entry g of each array belongs to group g + 1.

    rows: frames in it; width: bytes of one zero-extended payload (the layout's size, or the longest seen).
    """

    msgid: Ints
    sysid: Ints
    compid: Ints
    rows: Ints
    width: Ints

    def layout(self) -> Ints:
        """Index in the layout table, -1 where unknown."""
        return layout_index(self.msgid)


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """All of a block. N frames, R of them raw, M = N - R in groups.

    time_us: int64 [N], wire order. group: [N], wire order, 0 = raw. seq: uint8 [M], wire order of those in groups.
    The rest is in group order: head [M] (STX << 16 | incompat << 8 | compat); length [M] payload bytes on the wire;
    payload: matrices of zero-extended payloads, row by row, one after the other; tail: payload bytes beyond a group's
    width; crc: 2 bytes per frame of groups without layout; signature: 13 bytes per signed frame; raw, raw_length [R]:
    other frames.
    """

    time_us: Ints
    group: Ints
    groups: Groups
    seq: Bytes
    head: Ints
    length: Ints
    payload: Bytes
    tail: Bytes
    crc: Bytes
    signature: Bytes
    raw: Bytes
    raw_length: Ints


_KEPT = 1 << 18
_count = np.arange(0)


def upto(n: int) -> Ints:
    """0 .. n - 1, not to be written to: kept from call to call up to _KEPT, because making it costs as much as using
    it."""
    global _count
    if n > _KEPT:
        return np.arange(n)
    if n > len(_count):
        _count = np.arange(min(2 * n, _KEPT))
        _count.flags.writeable = False
    return _count[:n]


def ramp(lengths: Ints) -> Ints:
    """0 .. lengths[0] - 1, 0 .. lengths[1] - 1, ... in one array."""
    ends = lengths.cumsum()
    return upto(int(ends[-1]) if len(ends) else 0) - (ends - lengths).repeat(lengths)


def lengths(starts: Ints, end: int) -> Ints:
    """How long the runs are that begin at `starts`, each to the next one's begin and the last to `end`."""
    out = np.empty_like(starts)
    out[:-1], out[-1:] = starts[1:], end
    out -= starts
    return out


def spans(starts: Ints, lengths: Ints) -> Ints:
    """The indices starts[i] .. starts[i] + lengths[i] - 1 for every i, in one array."""
    ends = lengths.cumsum()
    indices: Ints = (starts - ends + lengths).repeat(lengths)
    indices += upto(len(indices))
    return indices


def stable_order(keys: Ints) -> Ints:
    """Stable argsort of small non-negative numbers; 16-bit keys sort by radix, several times faster."""
    small = len(keys) and int(keys.max()) < 1 << 16
    return np.argsort(keys.astype(np.uint16) if small else keys, kind="stable")


def split(frames: Frames) -> Content:
    """Take frames apart."""
    h = parse(frames)
    data = np.frombuffer(frames.data, np.uint8)
    key = np.where(h.fits, (h.sysid << 8 | h.compid) << 24 | h.msgid, -1)
    distinct, group = np.unique(key, return_inverse=True)
    if not len(distinct) or distinct[0] != -1:
        distinct, group = np.concatenate([[-1], distinct]), group + 1
    order = stable_order(group)
    order = order[len(frames) - int(h.fits.sum()) :]
    g = group[order] - 1
    rows = np.bincount(g, minlength=len(distinct) - 1)
    msgid = distinct[1:] & 0xFFFFFF
    layout, length = layout_index(msgid), h.payload_len[order]
    longest = np.maximum.reduceat(length, rows.cumsum() - rows) if len(rows) else rows
    width = np.where(KNOWN[layout], SIZE[layout], longest)
    groups = Groups(msgid, distinct[1:] >> 32, distinct[1:] >> 24 & 0xFF, rows, width)
    at = h.payload_at[order]
    kept = np.minimum(length, width[g])
    payload = np.zeros(int((rows * width).sum()), np.uint8)
    payload[spans(np.cumsum(width[g]) - width[g], kept)] = data[spans(at, kept)]
    unknown = ~KNOWN[layout[g]]
    signed = (h.head[order] >> 16 != V1) & (h.head[order] >> 8 & SIGNED > 0)
    raw = ~h.fits
    raw_length = np.diff(frames.offsets)[raw]
    return Content(
        frames.time_us, group, groups, h.seq[h.fits], h.head[order], length, payload,
        data[spans(at + kept, length - kept)],
        data[(at + length)[unknown][:, None] + np.arange(2)].ravel(),
        data[(at + length)[signed][:, None] + np.arange(2, 2 + SIGNATURE_BYTES)].ravel(),
        data[spans(frames.offsets[:-1][raw], raw_length)], raw_length,
    )  # fmt: skip


def trimmed(payload: Bytes, starts: Ints) -> Ints:
    """Length of each zero-extended payload without its trailing zeros, at least 1: what MAVLink 2 sends.

    starts: of each payload; a payload ends where the next begins. Empty payloads are not allowed.
    """
    last = np.where(payload > 0, np.arange(1, len(payload) + 1), 0)
    return np.maximum(np.maximum.reduceat(last, starts) - starts, 1) if len(starts) else starts


def expected_length(payload: Bytes, width: Ints, min_size: Ints, head: Ints) -> Ints:
    """Payload length of each frame by the rules of its MAVLink version; arrays have one entry per frame, group
    order."""
    at = width.cumsum() - width
    v2 = np.zeros(len(width), np.int64)
    some = width > 0
    v2[some] = trimmed(payload, at[some])
    return np.where(head >> 16 == V1, min_size, v2)


def by_rule(c: Content) -> Ints:
    """`expected_length` of all frames in groups."""
    g = np.repeat(np.arange(len(c.groups.rows)), c.groups.rows)
    return expected_length(c.payload, c.groups.width[g], MIN_SIZE[c.groups.layout()][g], c.head)


def merge(c: Content) -> Frames:
    """The frames, byte for byte."""
    n = len(c.group)
    if n == 0:
        return no_frames()
    order = stable_order(c.group)
    raw_at, order = order[: len(c.raw_length)], order[len(c.raw_length) :]
    g = np.repeat(np.arange(len(c.groups.rows)), c.groups.rows)
    v1 = c.head >> 16 == V1
    signed = ~v1 & (c.head >> 8 & SIGNED > 0)
    before, after = np.where(v1, 6, 10), np.where(signed, 2 + SIGNATURE_BYTES, 2)
    lengths = np.zeros(n, np.int64)
    lengths[raw_at] = c.raw_length
    lengths[order] = before + c.length + after
    offsets = np.concatenate([[0], lengths.cumsum()])
    out = np.zeros(int(offsets[-1]), np.uint8)
    out[spans(offsets[raw_at], c.raw_length)] = c.raw
    starts = offsets[order]
    _put_headers(out, starts, c, order, g, v1)
    at, width = starts + before, c.groups.width[g]
    kept = np.minimum(c.length, width)
    out[spans(at, kept)] = c.payload[spans(width.cumsum() - width, kept)]
    out[spans(at + kept, c.length - kept)] = c.tail
    end = at + c.length
    _put_crcs(out, starts, end, lengths[order], CRC_EXTRA[c.groups.layout()][g])
    unknown = ~KNOWN[c.groups.layout()][g]
    out[end[unknown][:, None] + np.arange(2)] = c.crc.reshape(-1, 2)
    out[end[signed][:, None] + np.arange(2, 2 + SIGNATURE_BYTES)] = c.signature.reshape(-1, SIGNATURE_BYTES)
    return Frames(out.tobytes(), offsets, c.time_us)


def _put_headers(out: Bytes, starts: Ints, c: Content, order: Ints, g: Ints, v1: NDArray[np.bool_]) -> None:
    seq = np.zeros(len(c.group), np.uint8)
    seq[c.group > 0] = c.seq
    facts: tuple[NDArray[np.integer], ...] = (
        seq[order],
        c.groups.sysid[g],
        c.groups.compid[g],
        c.groups.msgid[g] & 0xFF,
    )
    out[starts], out[starts + 1] = c.head >> 16, c.length
    v2 = ~v1
    for at, flag in ((2, c.head >> 8 & 0xFF), (3, c.head & 0xFF)):
        out[starts[v2] + at] = flag[v2]
    for i, fact in enumerate(facts):
        out[starts + np.where(v1, 2, 4) + i] = fact
    for at, shift in ((8, 8), (9, 16)):
        out[starts[v2] + at] = (c.groups.msgid[g] >> shift)[v2]


def _put_crcs(out: Bytes, starts: Ints, end: Ints, lengths: Ints, extra: Bytes) -> None:
    if not len(starts):
        return
    ascending = np.argsort(starts)
    starts, end, lengths, extra = starts[ascending], end[ascending], lengths[ascending], extra[ascending]
    data = out if int(lengths.sum()) == len(out) else out[spans(starts, lengths)]
    found = crc.frame_crcs(data, lengths, end - starts - 1, extra)
    out[end], out[end + 1] = found & 0xFF, found >> 8

"""What a block holds beside its columns: headers, sequence numbers, signatures, frames kept raw. Checked, and read
back."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shared.codec.container import Parts, index_width, read_varint, require
from shared.codec.content import Bytes, Content, Groups, expected_length, stable_order
from shared.codec.parse import SIGNATURE_BYTES, SIGNED, V1, V2
from shared.codec.table import KNOWN, MIN_SIZE

Ints = NDArray[np.int64]


_PLAIN_HEAD = bytes([V2, 0, 0])


def group_index(p: Parts) -> Ints:
    """Group of each frame, wire order; 0 = raw."""
    width = index_width(p.groups)
    require(len(p.order) == width * p.frames and p.groups <= p.frames, "group index")
    planes = np.frombuffer(p.order, np.uint8).reshape(width, p.frames)
    index: Ints = planes[0].astype(np.int64)
    for i in range(1, width):
        index |= planes[i].astype(np.int64) << (8 * i)
    require(int(index.max(initial=0)) <= p.groups, "group index")
    return index


def raw_lengths(p: Parts, count: int) -> Ints:
    """Lengths of the frames kept raw."""
    lengths, at = np.zeros(count, np.int64), 0
    for i in range(count):
        lengths[i], at = read_varint(p.raw_lengths, at)
    require(at == len(p.raw_lengths) and int(lengths.max(initial=0)) <= len(p.rest), "raw")
    return lengths


def frame_heads(p: Parts, count: int) -> Ints:
    """STX << 16 | incompat << 8 | compat of every frame in groups, group order; one entry where all are alike."""
    kept = len(p.heads_of_frames) // 3
    require(len(p.heads_of_frames) == 3 * kept and kept in (min(count, 1), count), "heads")
    stx, incompat, compat = np.frombuffer(p.heads_of_frames, np.uint8).reshape(3, kept).astype(np.int64)
    require(((stx == V2) | (stx == V1) & (incompat == 0) & (compat == 0)).all(), "heads")
    return stx << 16 | incompat << 8 | compat


def spread(head: Ints, count: int) -> Ints:
    """One entry per frame, from one entry or one per frame."""
    return head if len(head) == count else np.repeat(head, count)


def groups_of(members: list[tuple[int, int, int, int, int]]) -> Groups:
    """From (msgid, sysid, compid, rows, width) of each group."""
    return Groups(*(np.array(members, np.int64).reshape(-1, 5).T))


def expected(groups: Groups, payload: Bytes, head: Ints) -> Ints:
    """Payload length of every frame by rule; group order."""
    per_group = (groups.width, MIN_SIZE[groups.layout()])
    width, min_size = (np.repeat(x, groups.rows) for x in per_group)
    return expected_length(payload, width, min_size, head)


def check(p: Parts, groups: Groups, raw_count: int, payload: Callable[[], Bytes]) -> None:
    """That `frames()` will work on this block. Refused("block_malformed") where it would not."""
    count = p.frames - raw_count
    require(len(p.sequence) == count, "sequence")
    if p.heads_of_frames == _PLAIN_HEAD and not (p.lengths or raw_count):
        unknown = int(groups.rows[~KNOWN[groups.layout()]].sum())
        require(len(p.rest) == 2 * unknown and not p.raw_lengths, "rest")
        return
    head = frame_heads(p, count)
    times = count if len(head) < count else 1  # one head stands for all where they are alike
    v1 = head >> 16 == V1
    if v1.any():
        old = np.repeat(groups.msgid, groups.rows)[spread(head, count) >> 16 == V1]
        require(int(old.max()) < 256, "MAVLink 1 message id")
    signed = times * int(np.count_nonzero(~v1 & (head >> 8 & SIGNED > 0)))
    unknown = int(groups.rows[~KNOWN[groups.layout()]].sum())
    size = 2 * unknown + SIGNATURE_BYTES * signed + int(raw_lengths(p, raw_count).sum())
    require(len(p.lengths) in (0, count), "lengths")
    if p.lengths or v1.any():
        length = _lengths(p, groups, payload(), spread(head, count))
        size += int(np.maximum(length - np.repeat(groups.width, groups.rows), 0).sum())
    require(len(p.rest) == size, "rest")


def _lengths(p: Parts, groups: Groups, payload: Bytes, head: Ints) -> Ints:
    length = expected(groups, payload, head)
    return (length + np.frombuffer(p.lengths, np.uint8)) & 0xFF if p.lengths else length


def content(p: Parts, time_us: Ints, members: list[tuple[int, int, int, int, int]], payload: Bytes) -> Content:
    """All of a checked block, for `merge`."""
    groups, group = groups_of(members), group_index(p)
    raw_count = p.frames - int(groups.rows.sum())
    head = spread(frame_heads(p, p.frames - raw_count), p.frames - raw_count)
    length = _lengths(p, groups, payload, head)
    signed = int(np.count_nonzero((head >> 16 != V1) & (head >> 8 & SIGNED > 0)))
    unknown = int(groups.rows[~KNOWN[groups.layout()]].sum())
    tail = int(np.maximum(length - np.repeat(groups.width, groups.rows), 0).sum())
    cuts = np.cumsum([tail, 2 * unknown, SIGNATURE_BYTES * signed])
    tails, crcs, signatures, raw = np.split(np.frombuffer(p.rest, np.uint8), cuts)
    sequence = _sequence(p, groups, group)
    lengths = raw_lengths(p, raw_count)
    return Content(
        time_us, group, groups, sequence, head, length, payload, tails, crcs, signatures, raw, lengths
    )  # fmt: skip


def _sequence(p: Parts, groups: Groups, group: Ints) -> Bytes:
    """Wire sequence numbers: each sender's run on by one, plus what was kept."""
    source = (groups.sysid << 8 | groups.compid)[group[group > 0] - 1]
    order = stable_order(source)
    step = np.frombuffer(p.sequence, np.uint8)[order].astype(np.int64) + 1
    total = np.cumsum(step)
    starts = np.flatnonzero(np.diff(source[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(step)))
    total -= np.repeat((total - step)[starts], lengths)
    out = np.empty(len(step), np.uint8)
    out[order] = total & 0xFF
    return out

"""Columns of messages back to frames: the inverse of `messages.encode`, for bytes that nobody vouches for."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from firmware_bridge.frame_crc import crcs
from firmware_bridge.log_packing.decode import Columns, read_columns
from firmware_bridge.log_packing.framed import at_each_byte
from firmware_bridge.log_packing.messages import (
    GROUP_BYTES,
    IS_SIGNED,
    IS_TRIMMED,
    IS_V2,
    MOST_PADDED,
    SIGNATURE_BYTES,
    STAMP_BYTES,
)  # fmt: skip
from firmware_bridge.log_packing.numbers import Cursor, Flat, require
from firmware_bridge.log_packing.records import MAX_COLUMNS, Ints, Rows

_LONGEST_PAYLOAD = 255
_V1_BYTES, _V2_BYTES = 8, 12
"""Of a frame beside its payload and signature."""


def decode(data: bytes, size: int) -> bytes:
    """The `size` bytes of log that a messages segment holds. Refused(packing_malformed)."""
    cursor = Cursor(data)
    groups, lead = _groups(cursor)
    found = read_columns(cursor, size, MOST_PADDED * size, len(groups))
    tables, sequence, stamps = _parts(found, groups, lead)
    lengths = [_lengths(table, g) for table, g in zip(tables, groups, strict=True)]
    sizes = np.zeros(len(found.order), np.int64)
    at, order = len(found.lengths), np.argsort(found.order.astype(np.uint16), kind="stable")
    sizes[order[at:]] = np.concatenate(
        [np.zeros(0, np.int64), *(n + lead + g.beside for n, g in zip(lengths, groups, strict=True))]
    )
    starts = found.starts(sizes, size)
    out = bytearray(size)
    for table, length, g in zip(tables, lengths, groups, strict=True):
        items = order[at : at + len(table)]
        at += len(table)
        _put(out, starts[items] + lead, table, length, sequence[items], g)
    found.put_raw(out, starts)
    if lead:
        at_each_byte(out, ">u8")[starts[found.order > 0]] = stamps
    return bytes(out)


@dataclass(frozen=True, slots=True)
class _Group:
    """See messages."""

    form: int
    sysid: int
    compid: int
    msgid: int
    extra: int

    @property
    def source(self) -> int:
        return self.sysid << 8 | self.compid

    @property
    def signature_bytes(self) -> int:
        return SIGNATURE_BYTES if self.form & IS_SIGNED else 0

    @property
    def beside(self) -> int:
        """Bytes of a frame beside its payload."""
        return (_V2_BYTES if self.form & IS_V2 else _V1_BYTES) + self.signature_bytes


def _groups(cursor: Cursor) -> tuple[list[_Group], int]:
    """(groups, bytes of stamp before each frame)"""
    n = cursor.varint(MAX_COLUMNS)
    lead = cursor.take(1)[0] * STAMP_BYTES
    require(lead <= STAMP_BYTES, "stamps")
    groups = []
    for _ in range(n):
        form, sysid, compid, *msgid, extra = cursor.take(GROUP_BYTES)
        groups.append(_Group(form, sysid, compid, int.from_bytes(msgid, "little"), extra))
        require(form < 8 and (form & IS_V2 or (form == 0 and groups[-1].msgid < 256)), "form")
    return groups, lead


def _parts(found: Columns, groups: list[_Group], lead: int) -> tuple[list[Rows], Rows, Flat]:
    """(payloads and signatures of each group; sequence number of each item of the order; stamps of the frames)"""
    n = len(groups)
    source = np.array([0] + [g.source for g in groups], np.uint16)[found.order]
    frames = np.flatnonzero(found.order)
    sources = len({g.source for g in groups})
    tables, sequences, stamps = found.rows[:n], found.rows[n : n + sources], found.rows[n + sources :]
    counts = np.bincount(source[frames], minlength=1)
    require([s.shape for s in sequences] == [(c, 1) for c in counts[counts > 0].tolist()], "sequence numbers")
    require([s.shape for s in stamps] == ([(len(frames), STAMP_BYTES)] if lead else []), "stamps")
    for table, g in zip(tables, groups, strict=True):
        require(0 < table.shape[1] - g.signature_bytes <= _LONGEST_PAYLOAD, "payload")
    numbers = np.zeros(len(source), np.uint8)
    by_source = frames[np.argsort(source[frames], kind="stable")]
    numbers[by_source] = np.concatenate([np.zeros((0, 1), np.uint8), *sequences])[:, 0]
    return tables, numbers, stamps[0].view("<u8")[:, 0] if lead else np.zeros(0, np.uint64)


def _lengths(table: Rows, g: _Group) -> Ints:
    """Of the payloads: without the zeros at their end where they are trimmed, but at least 1."""
    payload = table[:, : table.shape[1] - g.signature_bytes]
    width = payload.shape[1]
    if not g.form & IS_TRIMMED:
        return np.full(len(payload), width, np.int64)
    lengths: Ints = width - (payload[:, ::-1] != 0).argmax(axis=1)
    lengths[~payload.any(axis=1)] = 1
    return lengths


def _put(out: bytearray, starts: Ints, table: Rows, lengths: Ints, sequence: Rows, g: _Group) -> None:
    """Write frames, those of one length at once: numpy copies rows to a view of the log at every byte."""
    order = np.argsort(lengths.astype(np.uint16), kind="stable")
    edges = np.flatnonzero(np.diff(lengths[order], prepend=-1, append=-1)).tolist()
    for a, b in pairwise(edges):
        which = order[a:b]
        rows = _frames(table[which], int(lengths[which[0]]), sequence[which], g)
        at_each_byte(out, f"V{rows.shape[1]}")[starts[which]] = rows.view(f"V{rows.shape[1]}")[:, 0]


def _frames(table: Rows, length: int, sequence: Rows, g: _Group) -> Rows:
    """Frames of one length."""
    msgid = g.msgid.to_bytes(3, "little")
    if g.form & IS_V2:
        head = bytes((0xFD, length, int(g.form & IS_SIGNED > 0), 0, 0, g.sysid, g.compid)) + msgid
    else:
        head = bytes((0xFE, length, 0, g.sysid, g.compid)) + msgid[:1]
    tail = len(head) + length
    out = np.empty((len(table), length + g.beside), np.uint8)
    out[:, : len(head)] = np.frombuffer(head, np.uint8)
    out[:, 4 if g.form & IS_V2 else 2] = sequence
    out[:, len(head) : tail] = table[:, :length]
    out[:, tail : tail + 2] = crcs(out[:, 1:tail], g.extra).astype("<u2").view(np.uint8).reshape(-1, 2)
    out[:, tail + 2 :] = table[:, table.shape[1] - g.signature_bytes :]
    return out

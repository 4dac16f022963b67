"""MAVLink logs as columns: frames by message, source and form, without what can be worked out again.

Magic, ids and CRC of a frame are not kept, nor its length where trailing zeros are cut as they ought to be; stamps and
sequence numbers have columns of their own. What is no frame with a right CRC stays raw, as do rare frames. A message
that nobody knows here is packed like any: its CRC_EXTRA is worked out from its frames.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from firmware_bridge.log_packing.encode import content, spans_between
from firmware_bridge.log_packing.framed import Framed, at_each_byte, framed
from firmware_bridge.log_packing.numbers import varints
from firmware_bridge.log_packing.records import MAX_COLUMNS, Ints, Rows, Run, Shape, Slot, runs_of
from shared.layouts import LAYOUTS, Field

STAMP_BYTES, SIGNATURE_BYTES = 8, 13
IS_V2, IS_SIGNED, IS_TRIMMED = 1, 2, 4
"""Bits of a group's form."""
GROUP_BYTES = 7
MOST_PADDED = 4
"""Records, with the zeros that were cut, come to at most so many times the bytes of the log."""
_LONGEST_PAYLOAD = 255
_LONGEST = STAMP_BYTES + 293
_LEAST = 4
"""Rarer frames are not worth columns."""
_SERIES = 16
"""An array of so many values is one column."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Frames of one message, source and form. width: of their payload; of trimmed ones, of the longest (rounded up to
    the end of a field)."""

    form: int
    sysid: int
    compid: int
    msgid: int
    extra: int
    width: int

    @property
    def head(self) -> bytes:
        return bytes((self.form, self.sysid, self.compid)) + self.msgid.to_bytes(3, "little") + bytes((self.extra,))

    @property
    def slot(self) -> Slot:
        layout = LAYOUTS.get(self.msgid)
        shapes = [shape for f in layout.fields for shape in _shapes(f)] if layout else []
        runs = runs_of(shapes + [(1, 1)] * _LONGEST_PAYLOAD, self.width)
        return Slot((*runs, Run(1, 7), Run(1, 1, 6)) if self.form & IS_SIGNED else tuple(runs))


def _shapes(field: Field) -> list[Shape]:
    n = field.count
    return [(field.width, n)] if field.kind == "S" or n >= _SERIES else [(field.width, 1)] * n


def encode(data: bytes, is_stamped: bool, is_last: bool) -> tuple[int, bytes | None]:
    """(bytes of the log that this speaks of, content of a messages segment; None when they are not worth one).

    is_stamped: 8 bytes of time before each frame.
    """
    lead = STAMP_BYTES if is_stamped else 0
    found, seen = framed(data, lead)
    end = len(data) if is_last else max(seen, len(data) - _LONGEST)
    order = _by_radix(found.key)
    edges = np.flatnonzero(np.diff(found.key[order], prepend=-1, append=-1))
    padded = data + bytes(_LONGEST)
    slot = np.full(len(order), -1, np.intp)
    groups: list[_Group] = []
    rows: list[Rows] = []
    for a, b in pairwise(edges.tolist()):
        if b - a >= _LEAST:
            slot[order[a:b]] = len(groups)
            group, table = _table(padded, found, order[a:b])
            groups.append(group)
            rows.append(table)
    found, slot = found.of(slot >= 0), slot[slot >= 0]
    sequences = _sequences(data, found)
    stamps = [_stamps(data, found)] if is_stamped else []
    rows += [*sequences, *stamps]
    slots = [g.slot for g in groups] + [Slot((Run(1),))] * len(sequences) + [Slot((Run(8),))] * len(stamps)
    if not groups or sum(s.columns for s in slots) > MAX_COLUMNS or sum(r.size for r in rows) > MOST_PADDED * end:
        return end, None
    between = spans_between(data, found.heads - lead, found.ends, end)
    head = varints([len(groups)]) + bytes([is_stamped]) + b"".join(g.head for g in groups)
    return end, head + content(slots, rows, slot, between)


def _by_radix(key: Ints) -> Ints:
    """Stable order of the keys, 16 bits at a time: linear."""
    order = np.arange(len(key))
    for shift in range(0, 64, 16):
        digit = (key >> shift).astype(np.uint16)
        if len(digit) and (digit != digit[0]).any():
            order = order[np.argsort(digit[order], kind="stable")]
    return order


def _table(padded: bytes, found: Framed, which: Ints) -> tuple[_Group, Rows]:
    """Frames of one key as records: payloads, with the zeros that were cut, and signatures."""
    key, heads, tails = int(found.key[which[0]]), found.payloads[which], found.tails[which]
    lengths = tails - heads
    msgid, shortest, longest = key >> 17 & 0xFFFFFF, int(lengths.min()), int(lengths.max())
    form = (key >> 57 & 3) | (0 if key & 0x1FF else IS_TRIMMED)
    width = _rounded(msgid, longest) if form & IS_TRIMMED else longest
    group = _Group(form, key >> 49 & 0xFF, key >> 41 & 0xFF, msgid, key >> 9 & 0xFF, width)
    payload = _cut_out(padded, heads, width)
    if shortest < width:
        payload[:, shortest:] *= np.arange(shortest, width) < lengths[:, None]
    if form & IS_SIGNED:
        payload = np.hstack((payload, _cut_out(padded, tails + 2, SIGNATURE_BYTES)))
    return group, payload


def _rounded(msgid: int, longest: int) -> int:
    layout = LAYOUTS.get(msgid)
    ends = [f.offset + f.width * f.count for f in layout.fields] if layout else []
    return next((end for end in ends if end >= longest), longest)


def _cut_out(data: bytes, starts: Ints, size: int) -> Rows:
    """uint8 [n, size]; a copy."""
    return at_each_byte(data, f"V{size}")[starts].view(np.uint8).reshape(-1, size)


def _sequences(data: bytes, found: Framed) -> list[Rows]:
    """Sequence numbers of each source, by rising sysid and compid, in the order of the log."""
    source = (found.key >> 41).astype(np.uint16)
    order = np.argsort(source, kind="stable")
    edges = np.flatnonzero(np.diff(source[order].astype(np.int64), prepend=-1, append=-1)).tolist()
    numbers = np.frombuffer(data, np.uint8)[found.sequence_at[order]].reshape(-1, 1)
    return [numbers[a:b] for a, b in pairwise(edges)]


def _stamps(data: bytes, found: Framed) -> Rows:
    """Of all frames, little-endian."""
    stamps = at_each_byte(data, ">u8")[found.heads - STAMP_BYTES].astype("<u8")
    return stamps.view(np.uint8).reshape(-1, STAMP_BYTES)

"""Frames of a MAVLink log for packing: found by their framing, kept when their CRC is right for some CRC_EXTRA."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.frame_crc import are_right, extra_of
from firmware_bridge.frame_runs import EXTRA, KNOWN
from firmware_bridge.log_packing.records import Ints

_V1, _V2 = 0xFE, 0xFD
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Framed:
    """Sound frames of a buffer with a payload, ascending: data[heads : ends], payload data[payloads : tails].

    key: two bits (signed, version 2) from bit 57, sysid from 49, compid from 41, message id from 17, CRC_EXTRA from 9;
    below 0 where trailing zeros are cut, else 1 + the length of the payload.
    """

    heads: Ints
    payloads: Ints
    tails: Ints
    ends: Ints
    key: Ints

    def of(self, which: Flags) -> "Framed":
        """Some of them."""
        return Framed(self.heads[which], self.payloads[which], self.tails[which], self.ends[which], self.key[which])

    @property
    def sequence_at(self) -> Ints:
        """Where their sequence numbers are."""
        return np.where(self.key >> 57 & 1, self.heads + 4, self.heads + 2)


def at_each_byte(data: "bytes | bytearray | NDArray[Any]", dtype: str) -> "NDArray[Any]":
    """An element of the type at every place of data."""
    return np.ndarray((max(len(data) - np.dtype(dtype).itemsize + 1, 0),), dtype, data, strides=(1,))


def framed(data: bytes, lead: int) -> tuple[Framed, int]:
    """(sound frames, each behind `lead` bytes of its own; where the last that looks like one ends, 0: none does)."""
    buf = np.frombuffer(data, np.uint8)
    heads, ends = _chained(buf, lead)
    last = int(ends[-1]) if len(ends) else 0
    is_v2 = buf[heads] == _V2
    flags = buf[heads + 2]
    plain = np.flatnonzero((buf[heads + 1] > 0) & (~is_v2 | (flags <= 1) & (buf[heads + 3] == 0)))
    heads, ends, is_v2 = heads[plain], ends[plain], is_v2[plain]
    is_signed = is_v2 & (flags[plain] == 1)
    payloads = heads + np.where(is_v2, 10, 6)
    tails = payloads + buf[heads + 1]
    msgid = _msgid(buf, heads, is_v2)
    extra, right = _extras(data, heads, tails, ends, msgid, lead)
    source = heads + np.where(is_v2, 5, 3)
    key = (is_signed.astype(np.int64) << 1 | is_v2) << 8 | buf[source]
    key = ((key << 8 | buf[source + 1]) << 24 | msgid) << 8 | extra
    found = Framed(heads, payloads, tails, ends, key << 9).of(right)
    return _by_form(buf, found), last


def _by_form(buf: Bytes, found: Framed) -> Framed:
    """With the length in the key of frames that have not all of their trailing zeros cut, and of those like them."""
    lengths = found.tails - found.payloads
    key = found.key | lengths + 1
    is_v2 = (found.key >> 57 & 1) > 0
    exact = ~is_v2 | (lengths > 1) & (buf[found.tails - 1] == 0)
    if exact.any() and not exact.all():
        exact = np.isin(key, np.unique(key[exact]))
    return Framed(found.heads, found.payloads, found.tails, found.ends, np.where(exact, key, found.key))


def _msgid(buf: Bytes, heads: Ints, is_v2: Flags) -> Ints:
    out = buf[heads + np.where(is_v2, 7, 5)].astype(np.int64)
    v2 = heads[is_v2]
    out[is_v2] |= buf[v2 + 8].astype(np.int64) << 8 | buf[v2 + 9].astype(np.int64) << 16
    return out


def _extras(data: bytes, heads: Ints, tails: Ints, ends: Ints, msgid: Ints, gap: int) -> tuple[Ints, Flags]:
    """(CRC_EXTRA of each frame, whether its CRC is right with it). It is the layout's, or, where there is none or that
    is wrong (another dialect's message), what suits the first frame of the id."""
    extra = EXTRA[np.minimum(msgid, KNOWN)]
    _work_out(data, heads, tails, msgid, extra, np.flatnonzero(extra < 0))
    right = are_right(data, heads, tails, ends, extra, msgid, gap)
    wrong = np.flatnonzero(~right)
    if len(wrong):
        _work_out(data, heads, tails, msgid, extra, wrong)
        right[wrong] = are_right(data, heads[wrong], tails[wrong], ends[wrong], extra[wrong], msgid[wrong], gap)
    return extra, right


def _work_out(data: bytes, heads: Ints, tails: Ints, msgid: Ints, extra: Ints, which: Ints) -> None:
    """Put in the CRC_EXTRA that suits the first frame of each id."""
    _, first, inverse = np.unique(msgid[which], return_index=True, return_inverse=True)
    suits = [
        extra_of(data, h, t) for h, t in zip(heads[which[first]].tolist(), tails[which[first]].tolist(), strict=True)
    ]
    extra[which] = np.array(suits, np.int64)[inverse]


def _chained(buf: Bytes, lead: int) -> tuple[Ints, Ints]:
    """(starts, ends) of what is framed like MAVLink and followed by more of it (or by the end), none over another."""
    starts = np.flatnonzero(buf[lead:] - np.uint8(_V2) < 2) + lead
    starts = starts[starts + 2 < len(buf)]
    is_v2 = buf[starts] == _V2
    ends = starts + buf[starts + 1] + np.where(is_v2, 12 + 13 * (buf[starts + 2] & 1).astype(np.int64), 8)
    whole = ends <= len(buf)
    starts, ends = starts[whole], ends[whole]
    followed = (buf[np.minimum(ends + lead, len(buf) - 1)] - np.uint8(_V2) < 2) | (ends + lead >= len(buf))
    starts, ends = starts[followed], ends[followed]
    chosen = _chain(starts, ends, lead)
    return starts[chosen], ends[chosen]


def _chain(starts: Ints, ends: Ints, lead: int) -> Ints:
    """Those met when each is followed by the first that begins, with its stamp, at or behind its end."""
    after = starts.searchsorted(ends + lead)
    parts = []
    at = 0
    for jump in np.flatnonzero(after != np.arange(1, len(starts) + 1)).tolist():
        if jump >= at:
            parts.append(np.arange(at, jump + 1))
            at = int(after[jump])
    return np.concatenate([*parts, np.arange(at, len(starts))])

"""Frames to header columns: which are well-formed MAVLink, and what their headers say. All vectorised."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec import crc
from shared.codec.table import CRC_EXTRA, KNOWN, layout_index
from shared.frames import Frames

V1, V2 = 0xFE, 0xFD
SIGNED = 0x01
"""Incompatibility flag: 13 bytes of signature follow the CRC."""
SIGNATURE_BYTES = 13

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Headers:
    """Columns of header facts; one entry per frame, in wire order.

    fits: the frame goes into columns (its STX and length agree and, where the layout is known, its CRC). All other
    columns mean something only where it does. head: STX << 16 | incompat << 8 | compat. layout: index in the table,
    or -1.
    """

    fits: NDArray[np.bool_]
    msgid: Ints
    sysid: Ints
    compid: Ints
    seq: NDArray[np.uint8]
    head: Ints
    layout: Ints
    payload_at: Ints
    payload_len: Ints


def parse(frames: Frames) -> Headers:
    """Take the headers of all frames apart."""
    lengths = np.diff(frames.offsets)
    starts = frames.offsets[:-1]
    padded = np.frombuffer(frames.data + bytes(16), np.uint8)

    def at(offset: int) -> Ints:
        return padded[starts + offset].astype(np.int64)

    stx = at(0)
    is_v1 = stx == V1
    payload_len = at(1)
    incompat = np.where(is_v1, 0, at(2))
    shift = np.where(is_v1, 2, 4)

    def after_flags(offset: int) -> Ints:
        return padded[starts + shift + offset].astype(np.int64)

    msgid = after_flags(3)
    msgid += np.where(is_v1, 0, at(8) << 8 | at(9) << 16)
    overhead = np.where(is_v1, 8, np.where(incompat & SIGNED, 12 + SIGNATURE_BYTES, 12))
    fits = (is_v1 | (stx == V2)) & (lengths == payload_len + overhead)
    layout = layout_index(msgid)
    headers = Headers(
        fits, msgid, after_flags(1), after_flags(2), padded[starts + shift],
        stx << 16 | incompat << 8 | np.where(is_v1, 0, at(3)), layout, starts + np.where(is_v1, 6, 10), payload_len,
    )  # fmt: skip
    _check_crc(headers, padded, lengths)
    return headers


def _check_crc(h: Headers, padded: NDArray[np.uint8], lengths: Ints) -> None:
    """Clear `fits` where the layout is known and the CRC is not what it should be."""
    data = padded[: len(padded) - 16]
    if not h.fits.any():
        return
    if not h.fits.all():
        data, lengths = data[np.repeat(h.fits, lengths)], lengths[h.fits]
    covered = (h.payload_at - 1)[h.fits] - _starts(h)[h.fits] + h.payload_len[h.fits]
    found = crc.frame_crcs(data, lengths, covered, CRC_EXTRA[h.layout[h.fits]])
    end = (h.payload_at + h.payload_len)[h.fits]
    written = padded[end] | padded[end + 1].astype(np.uint16) << 8
    h.fits[h.fits] = (found == written) | ~KNOWN[h.layout[h.fits]]


def _starts(h: Headers) -> Ints:
    return h.payload_at - np.where(h.head >> 16 == V1, 6, 10)

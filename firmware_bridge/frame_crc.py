"""The CRCs of thousands of frames checked at once.

A CRC of a few bytes costs the call, not the bytes. So frames that follow each other are checked in blocks, by one CRC
over all of them: behind each frame its CRC is replaced by the two bytes that, when the CRC was right, bring the
register back to its start value over what lies before the next frame (which is made zero). One damaged frame in a block
is always seen; more of them cancel out with the chance that a CRC has anyway, 1 in 65,536. Where a block is not right
its frames are checked one by one, and with them all frames of the ids that failed: a foreign CRC_EXTRA errs alike each
time. CRC-16/MCRF4XX is linear, which all of this rests on.
"""

import numpy as np
from fastcrc import crc16
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_BLOCK = 64
_START = 0xFFFF
_SIGNATURE = 13
_MOST_GAP = 64
_crc = crc16.mcrf4xx


def crc_table() -> list[int]:
    """CRC-16/MCRF4XX of one byte."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8408 if crc & 1 else crc >> 1
        table.append(crc)
    return table


TABLE = np.array(crc_table(), np.int64)


def _registers_before() -> Ints:
    """[65536]: the register from which a byte 0 leads to each register; with the byte in its low end any byte does."""
    by_high = np.zeros(256, np.int64)
    by_high[TABLE >> 8] = np.arange(256)  # the high bytes of the table are all different
    after = np.arange(65536)
    index = by_high[after >> 8]
    return ((after ^ TABLE[index]) & 255) << 8 | index


_BEFORE = _registers_before()


def _fills() -> Ints:
    """[gap]: the two bytes, as a register, that over `gap` bytes 0 lead from register 0 to the start value."""
    out = [_START]
    for _ in range(_MOST_GAP + 2):
        out.append(int(_BEFORE[out[-1]]))
    return np.array(out[2:], np.int64)


_FILL = _fills()


def are_right(data: bytes, heads: Ints, tails: Ints, ends: Ints, extra: Ints, msgid: Ints, gap: int) -> Flags:
    """Whether the CRC of each frame, behind its payload that ends at `tails`, is right. ascending heads, gap: see
    `frame_runs`."""
    if not len(heads):
        return np.zeros(0, bool)
    buf = np.frombuffer(data, np.uint8)
    told = buf[tails] | buf[tails + 1].astype(np.int64) << 8
    wanted = _BEFORE[told] ^ extra  # the register before CRC_EXTRA, if the CRC is right
    chained = np.append(heads[1:] == ends[:-1] + gap, False)
    filled = _filled(buf, tails, ends, wanted, chained, gap)
    firsts = np.flatnonzero(~np.append(False, chained[:-1]) | (np.arange(len(heads)) % _BLOCK == 0))
    lasts = np.append(firsts[1:], len(heads)) - 1
    found = [_crc(filled[a:b]) for a, b in zip((heads[firsts] + 1).tolist(), tails[lasts].tolist(), strict=True)]
    right = np.repeat(np.array(found, np.int64) == wanted[lasts], lasts - firsts + 1)
    _check_singly(data, np.flatnonzero(~right), right, heads, tails, wanted)
    if not right.all():
        suspects = np.isin(msgid, np.unique(msgid[~right])) & right
        _check_singly(data, np.flatnonzero(suspects), right, heads, tails, wanted)
    return right


def _filled(buf: NDArray[np.uint8], tails: Ints, ends: Ints, wanted: Ints, chained: Flags, gap: int) -> memoryview:
    """The buffer in which the register runs on from each chained frame to the next."""
    out = buf.copy()
    signed = ends - tails > 2
    for between, which in ((gap + 1, chained & ~signed), (gap + 1 + _SIGNATURE, chained & signed)):
        at = tails[which]
        if len(at):
            fill = np.zeros((len(at), 2 + between), np.uint8)
            fill[:, :2] = (wanted[which] ^ _FILL[between]).astype("<u2").view(np.uint8).reshape(-1, 2)
            row = np.dtype((np.void, 2 + between))
            at_every_byte = np.ndarray((len(out) - 1 - between,), row, out.data, 0, (1,))
            at_every_byte[at] = fill.view(row)[:, 0]
    return out.data


def _check_singly(data: bytes, which: Ints, right: Flags, heads: Ints, tails: Ints, wanted: Ints) -> None:
    spans = zip((heads[which] + 1).tolist(), tails[which].tolist(), strict=True)
    right[which] = np.array([_crc(data[a:b]) for a, b in spans], np.int64) == wanted[which]

"""Message columns to MAVLink 2 frames: lengths cut, sequence numbers, CRC, as a vehicle sends them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fastcrc import crc16
from numpy.typing import NDArray

from shared.frames import Frames, no_frames
from shared.layouts import LAYOUTS


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """Messages of one type: record structured [m] (the layout's dtype), time_us int64 [m] (recorder's clock)."""

    msgid: int
    record: NDArray[np.void]
    time_us: NDArray[np.int64]


def pack(messages: Sequence[Outgoing], sysid: int, compid: int) -> Frames:
    """All messages as MAVLink 2 frames in order of time, numbered from 0 on."""
    full = [m for m in messages if len(m.record)]
    if not full:
        return no_frames()
    time_us = np.concatenate([m.time_us for m in full])
    order = np.argsort(time_us, kind="stable")
    sequence = np.empty(len(order), np.int64)
    sequence[order] = np.arange(len(order)) % 256
    packed: list[bytes] = []
    at = 0
    for m in full:
        numbers = sequence[at : at + len(m.record)].tolist()
        packed += _frames(m, numbers, sysid, compid)
        at += len(m.record)
    ordered = [packed[i] for i in order.tolist()]
    offsets = np.zeros(len(ordered) + 1, np.int64)
    np.cumsum([len(f) for f in ordered], out=offsets[1:])
    return Frames(b"".join(ordered), offsets, time_us[order].astype(np.int64))


def _frames(m: Outgoing, sequence: list[int], sysid: int, compid: int) -> list[bytes]:
    layout = LAYOUTS[m.msgid]
    payload = np.ascontiguousarray(m.record).view(np.uint8).reshape(len(m.record), layout.size)
    width = np.arange(1, layout.size + 1)
    length = np.maximum((width * (payload != 0)).max(axis=1), 1).tolist()
    raw = payload.tobytes()
    tail = bytes([sysid, compid]) + m.msgid.to_bytes(3, "little")
    extra = bytes([layout.crc_extra])
    out = []
    for i, (size, number) in enumerate(zip(length, sequence, strict=True)):
        start = i * layout.size
        body = bytes((size, 0, 0, number)) + tail + raw[start : start + size]
        out.append(b"\xfd" + body + crc16.mcrf4xx(body + extra).to_bytes(2, "little"))
    return out

"""MAVLink frames made private: the allowed messages packed again with their own numbers, addresses and versions."""

from collections.abc import Iterable

import numpy as np
from fastcrc import crc16
from numpy.typing import NDArray

from firmware_bridge.columns import FrameGroup, columns_of, fields, header
from hub.export.private import Floats, Places, Privacy
from hub.export.private_rows import degrees, private_rows
from shared.frames import Frames, no_frames
from shared.layouts import LAYOUTS

_HOMES = {242: ("latitude", "longitude"), 49: ("latitude", "longitude")}
_MISSION_ITEMS = {73: ("x", "y"), 39: ("x", "y")}
"""Item 0 of an ArduPilot's mission is home."""


def homes_in(parts: Iterable[Frames]) -> Places:
    """Homes and origins that the frames tell, deg."""
    lats: list[Floats] = [np.zeros(0)]
    lons: list[Floats] = [np.zeros(0)]
    for frames in parts:
        for group in columns_of(frames, {*_HOMES, *_MISSION_ITEMS}).groups:
            rows = fields(group)
            lat, lon = (_HOMES | _MISSION_ITEMS)[group.msgid]
            if group.msgid in _MISSION_ITEMS:
                rows = rows[(rows["seq"] == 0) & (rows["command"] == 16)]
            places = np.unique(np.stack([degrees(rows[lat]), degrees(rows[lon])]), axis=1)
            lats.append(places[0])
            lons.append(places[1])
    return np.concatenate(lats), np.concatenate(lons)


def private_frames(privacy: Privacy, frames: Frames) -> Frames:
    """The frames that may be seen, in order. Signatures are gone: they would not fit any more."""
    if not len(frames):
        return frames
    packed: dict[int, bytes] = {}
    _, _, length = header(frames)
    for group in columns_of(frames).groups:
        layout = LAYOUTS.get(group.msgid)
        if layout is None:
            privacy.left_out.messages[f"message {group.msgid}"] += len(group.rows)
            continue
        rows, keep = private_rows(privacy, "mavlink", layout.name, fields(group))
        payload = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), layout.size)
        packed |= _packed(frames, group, keep, payload, length, layout.crc_extra)
    if not packed:
        return no_frames()
    order = sorted(packed)
    offsets = np.concatenate([[0], np.cumsum([len(packed[i]) for i in order])]).astype(np.int64)
    return Frames(b"".join(packed[i] for i in order), offsets, frames.time_us[order])


def _packed(
    frames: Frames, group: FrameGroup, keep: NDArray[np.intp], payload: NDArray[np.uint8], length: NDArray[np.int64],
    crc_extra: int,
) -> dict[int, bytes]:  # fmt: skip
    """Row -> frame. MAVLink 1 keeps its length, MAVLink 2 is cut at its last byte that is not 0."""
    width = payload.shape[1]
    sizes = np.maximum((np.arange(1, width + 1) * (payload != 0)).max(axis=1, initial=1), 1).tolist()
    raw, extra = payload.tobytes(), bytes([crc_extra])
    out = {}
    for k, row in enumerate(group.rows[keep].tolist()):
        at = int(frames.offsets[row])
        old = frames.data[at : at + 10]
        if old[0] == 0xFD:
            body = bytes((sizes[k], 0)) + old[3:10] + raw[k * width : k * width + sizes[k]]
        else:
            size = min(int(length[row]), width)
            body = bytes((size,)) + old[2:6] + raw[k * width : k * width + size]
        out[row] = old[:1] + body + crc16.mcrf4xx(body + extra).to_bytes(2, "little")
    return out

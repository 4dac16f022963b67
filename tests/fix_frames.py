"""MAVLink frames built from the layouts, without pymavlink: known and unknown ids, both versions, signed."""

import struct

from fastcrc import crc16

from shared.layouts import LAYOUTS

UNKNOWN_ID = 54321


def mavlink_frame(
    msgid: int = 0, payload: bytes = bytes(9), seq: int = 0, sysid: int = 1, compid: int = 1,
    version: int = 2, signed: bool = False, extra: int | None = None,
) -> bytes:  # fmt: skip
    """One frame with a right CRC (for `extra` as CRC_EXTRA: the layout's, else 0)."""
    if extra is None:
        extra = LAYOUTS[msgid].crc_extra if msgid in LAYOUTS else 0
    if version == 1:
        body = struct.pack("<BBBBB", len(payload), seq, sysid, compid, msgid & 0xFF) + payload
        return b"\xfe" + body + struct.pack("<H", crc16.mcrf4xx(body + bytes([extra])))
    head = struct.pack("<BBBBBB", len(payload), int(signed), 0, seq, sysid, compid)
    body = head + msgid.to_bytes(3, "little") + payload
    frame = b"\xfd" + body + struct.pack("<H", crc16.mcrf4xx(body + bytes([extra])))
    return frame + (bytes(range(13)) if signed else b"")

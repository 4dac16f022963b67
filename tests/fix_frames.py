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


def log_of_every_form(n: int = 60, is_stamped: bool = True) -> bytes:
    """A MAVLink log of both versions, signed frames, a foreign message, payloads cut and not, and a little noise."""
    out = b""
    for i in range(n):
        attitude = struct.pack("<Iffffff", 100 * i, 0.01 * i, 0, 1, 0, 0, 0)
        frames = [
            mavlink_frame(0, struct.pack("<IBBBBB", 0, 2, 3, 81, 4, 3), 4 * i & 255),
            mavlink_frame(0, struct.pack("<IBBBBB", i, 2, 3, 81, 4, 3), i & 255, 255, 190, version=1),
            mavlink_frame(1, (bytes([7]) * 16 + bytes(i % 9)).rstrip(b"\0"), 4 * i + 1 & 255, signed=True),
            mavlink_frame(UNKNOWN_ID, struct.pack("<Ihh", 1000 + 100 * i, i, -i).rstrip(b"\0"), 4 * i & 255, extra=77),
            mavlink_frame(30, attitude, 4 * i + 3 & 255),
        ]
        for k, frame in enumerate(frames):
            out += struct.pack(">Q", 1_700_000_000_000_000 + i * 100_000 + 7 * k) * is_stamped + frame
        out += b"no frame \xfd\xfe" * (i % 20 == 7)
    return out

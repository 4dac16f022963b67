"""Makes `shared/layouts_v1.json`, the frozen wire table of MAVLink messages, from pymavlink's dialects.

Run by hand (`python -m firmware_bridge.make_layouts`) when a new version of the table is wanted; the result is part
of the wire contract and never changes within a version: a later dialect becomes `layouts_v2.json` beside it.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

DIALECTS = ("ardupilotmega", "common")
TARGET = Path(__file__).resolve().parent.parent / "shared" / "layouts_v1.json"
_TYPES = {
    "char": ("S", 1), "uint8_t": ("u1", 1), "int8_t": ("i1", 1), "uint8_t_mavlink_version": ("u1", 1),
    "uint16_t": ("u2", 2), "int16_t": ("i2", 2), "uint32_t": ("u4", 4), "int32_t": ("i4", 4), "float": ("f4", 4),
    "uint64_t": ("u8", 8), "int64_t": ("i8", 8), "double": ("f8", 8),
}  # fmt: skip

Field = tuple[str, str, int]
"""(name, type in C, array length or 0)."""


def crc_x25(data: bytes) -> int:
    """CRC-16/MCRF4XX, the checksum of MAVLink, of a short text."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc


def crc_extra(name: str, fields: list[Field]) -> int:
    """The seed byte that MAVLink derives from a message's name and non-extension fields, in wire order."""
    text = f"{name} ".encode()
    for field, kind, length in fields:
        text += f"{kind.removesuffix('_mavlink_version')} {field} ".encode() + (bytes([length]) if length else b"")
    crc = crc_x25(text)
    return (crc & 0xFF) ^ (crc >> 8)


def describe(message: Any) -> list[Any]:
    """[name, crc_extra, size, min_size, [[field, type, array length, offset], ...]] of a pymavlink message class."""
    kinds = dict(zip(message.fieldnames, message.fieldtypes, strict=True))
    lengths = message.array_lengths  # these are in wire order, the types in the order of declaration
    fields: list[Field] = [(f, kinds[f], n) for f, n in zip(message.ordered_fieldnames, lengths, strict=True)]
    base = next(n for n in range(len(fields), -1, -1) if crc_extra(message.msgname, fields[:n]) == message.crc_extra)
    offset, min_size, rows = 0, 0, []
    for i, (field, kind, length) in enumerate(fields):
        code, width = _TYPES[kind]
        rows.append([field, code, length, offset])
        offset += width * max(1, length)
        if i < base:
            min_size = offset
    if offset != message.unpacker.size:
        raise ValueError(f"{message.msgname}: {offset} bytes, pymavlink says {message.unpacker.size}")
    return [message.msgname, message.crc_extra, offset, min_size, rows]


def table() -> dict[str, list[Any]]:
    """Message id -> description, of all dialects together; the first dialect that has an id wins."""
    found: dict[int, Any] = {}
    for dialect in reversed(DIALECTS):
        found |= importlib.import_module(f"pymavlink.dialects.v20.{dialect}").mavlink_map
    return {str(i): describe(found[i]) for i in sorted(found)}


def main() -> int:
    """Write the table, one message per line."""
    lines = [f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in table().items()]
    TARGET.write_text('{"version": 1, "messages": {\n' + ",\n".join(lines) + "\n}}\n")
    sys.stdout.write(f"{len(lines)} messages in {TARGET}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

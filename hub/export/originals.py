"""A recorded log written again without what tells its place: the allowed messages in its own format and order.

The reader says where each message stands; what it calls damage is left out. Checksums are made anew.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from firmware_bridge.log_tables import LogReader, Portion, Table
from firmware_bridge.tlog import write_tlog
from hub.export.private import Privacy
from hub.export.private_frames import private_frames
from hub.export.private_policy import keeps_parameter, policies
from hub.export.private_rows import private_rows
from hub.export.private_texts import is_plain

Rewriter = Callable[[Privacy, Portion, bytes], bytes]
"""(how, a portion, the bytes that it was read from) -> bytes."""


def rewrite(privacy: Privacy, reader: LogReader, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The private log, portion by portion. Memory: what the reader holds, and one portion."""
    one: Rewriter = _REWRITERS[reader.format]
    held, base = bytearray(), 0

    def portions(found: list[Portion]) -> Iterator[bytes]:
        nonlocal base
        for portion in found:
            yield one(privacy, portion, bytes(held[portion.start - base : portion.end - base]))
            del held[: portion.end - base]
            base = portion.end

    for piece in pieces:
        held += piece
        yield from portions(reader.feed(piece))
    yield from portions(reader.finish())


def _mavlink(privacy: Privacy, portion: Portion, data: bytes) -> bytes:
    return write_tlog(private_frames(privacy, portion.frames)) if portion.frames is not None else b""


def _raw_mavlink(privacy: Privacy, portion: Portion, data: bytes) -> bytes:
    return private_frames(privacy, portion.frames).data if portion.frames is not None else b""


def _dataflash(privacy: Privacy, portion: Portion, data: bytes) -> bytes:
    """Messages by place: head and type as they stand, fields as they may be seen."""
    messages: dict[int, bytes] = {}
    for table in portion.tables:
        for at, row in _private(privacy, "dataflash", table):
            messages[at] = data[at - portion.start : at - portion.start + 3] + row
    return b"".join(messages[at] for at in sorted(messages))


def _private(privacy: Privacy, dialect: Any, table: Table) -> Iterator[tuple[int, bytes]]:
    """(place, bytes of the fields) of the messages of a table that stay."""
    rows, keep = private_rows(privacy, dialect, table.name, table.rows, table.gain)
    if table.name == "FMT" and "Name" in (rows.dtype.names or ()):
        named = np.array([_word(n) in policies("dataflash") for n in rows["Name"].tolist()], bool)
        rows, keep = rows[named], keep[named]
    size, raw = rows.dtype.itemsize, rows.tobytes()
    for k, at in enumerate(table.at[keep].tolist()):
        yield at, raw[k * size : (k + 1) * size]


def _word(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("latin-1").strip()


def _dataflash_text(privacy: Privacy, portion: Portion, data: bytes) -> bytes:
    """Lines by place: kept fields as they are written, moved ones written anew, all others 0."""
    lines: dict[int, bytes] = {}
    for table in portion.tables:
        names = table.rows.dtype.names or ()
        rows, keep = private_rows(privacy, "dataflash", table.name, table.rows, table.gain)
        policy = policies("dataflash").get(table.name)
        moved = policy.moved if policy else {}
        for k, at in enumerate(table.at[keep].tolist()):
            start = at - portion.start
            end = data.find(b"\n", start)
            words = data[start : end if end >= 0 else len(data)].split(b",", len(names))
            lines[at] = _line(words, names, rows[k], table.rows[keep[k]], moved, table.gain)
    return b"".join(lines[at] for at in sorted(lines))


def _line(
    words: list[bytes], names: tuple[str, ...], row: Any, before: Any, moved: dict[str, str], gain: dict[str, float]
) -> bytes:
    out = [words[0].strip()]
    for name, word in zip(names, words[1:], strict=False):
        if _same(row[name], before[name]):
            out.append(word.strip())
        elif name in moved and moved[name] != "utc":
            value = float(row[name]) * (gain.get(name, 1.0) if row[name].dtype.kind in "iu" else 1.0)
            out.append(f"{value:.7f}".encode() if moved[name] in ("lat", "lon") else f"{value:.2f}".encode())
        else:
            out.append(b"0")
    return b", ".join(out) + b"\n"


def _same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f" if hasattr(a, "dtype") else False))


# --- ULog: https://docs.px4.io/main/en/dev_log/ulog_file_format.html

_ULOG_HEADER = 16
_ULOG_FACTS = frozenset({
    "sys_name", "sys_os_name", "sys_os_ver_release", "ver_sw", "ver_sw_release", "ver_vendor_sw_release",
    "ver_data_format", "ver_hw",
})  # fmt: skip


def _ulog(privacy: Privacy, portion: Portion, data: bytes) -> bytes:
    """Message by message: data as the tables have it, definitions and texts by what they name."""
    bodies: dict[int, bytes] = {}
    for table in portion.tables:
        bodies |= _private(privacy, "ulog", table)
    out, pos, lost = [], 0, {d.offset - portion.start: d.size for d in portion.damage if d.size}
    while pos + 3 <= len(data):
        if pos in lost:
            pos += lost[pos]
        elif data.startswith(b"ULog\x01\x12\x35", pos):
            out.append(data[pos : pos + _ULOG_HEADER])
            pos += _ULOG_HEADER
        else:
            end = pos + 3 + (data[pos] | data[pos + 1] << 8)
            kept = _ulog_message(privacy, data[pos:end], bodies.get(portion.start + pos))
            out += [kept] if kept else []
            pos = end
    return b"".join(out)


def _ulog_message(privacy: Privacy, message: bytes, body: bytes | None) -> bytes | None:
    """The message as it may be seen; None: not at all. body: of a data message that stays, its fields."""
    kind, rest = message[2:3], message[3:]
    if kind == b"D":
        return message[:5] + body.ljust(len(message) - 5, b"\0") if body is not None else None
    if kind == b"B":  # nothing of the file stands where its offsets to appended data say
        return (
            message[:3] + rest[:8] + bytes([rest[8] & ~1]) + rest[9:16] + bytes(len(rest) - 16)
            if len(rest) > 16
            else None
        )
    stays = kind in b"FSOR"
    if kind == b"A":
        stays = rest[3:].decode("utf-8", "replace") in policies("ulog")
    elif kind == b"I":
        stays = _ulog_key(rest) in _ULOG_FACTS
    elif kind in b"PQ":
        stays = keeps_parameter(_ulog_key(rest[kind == b"Q" :]))
        privacy.left_out.parameters += not stays
    elif kind in b"LC":
        stays = is_plain(rest[9 if kind == b"L" else 11 :].decode("utf-8", "replace"))
        privacy.left_out.texts += not stays
    return message if stays else None


def _ulog_key(body: bytes) -> str:
    """`type name` after its length; the name."""
    return body[1 : 1 + body[0]].decode("utf-8", "replace").rpartition(" ")[2] if body else ""


_REWRITERS: dict[str, Rewriter] = {
    "tlog": _mavlink, "raw": _raw_mavlink, "dataflash": _dataflash, "dataflash-text": _dataflash_text, "ulog": _ulog,
}  # fmt: skip

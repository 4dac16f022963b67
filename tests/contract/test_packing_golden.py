"""Packed logs that were ever written are read for ever, also by who has nothing but docs/log-packing.md.

`golden/packing/answers.txt` has a line per file: name, SHA-256 of the file, size and SHA-256 of the log. It only grows.
"""

import hashlib
import struct
from pathlib import Path

import pytest
import zstandard

from firmware_bridge.log_packing import unpack
from shared.codec import decode_block

GOLDEN = Path(__file__).parent / "golden" / "packing"
LINES, DIGEST = 4, "b6d2bd01c63d15949b866e14ee65f8956ce6dab721bfbcc41586cc13b6cc482f"
"""Lines of answers.txt that the digest covers; raise both when lines are added."""
ANSWERS = [line.split() for line in (GOLDEN / "answers.txt").read_text().splitlines()]
NAMES = [a[0] for a in ANSWERS]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_golden_bytes_only_grow() -> None:
    lines = (GOLDEN / "answers.txt").read_text().splitlines(keepends=True)
    assert len(lines) >= LINES
    assert sha("".join(lines[:LINES]).encode()) == DIGEST
    assert sorted(p.name for p in GOLDEN.glob("*.bin")) == sorted(NAMES)


@pytest.mark.parametrize(("name", "digest", "size", "log"), ANSWERS, ids=NAMES)
def test_what_was_packed_comes_back(name: str, digest: str, size: str, log: str) -> None:
    packed = (GOLDEN / name).read_bytes()
    data = b"".join(unpack([packed]))
    assert (sha(packed), len(data), sha(data)) == (digest, int(size), log)


@pytest.mark.parametrize(("name", "digest", "size", "log"), ANSWERS, ids=NAMES)
def test_a_decoder_written_from_the_document_alone_agrees(name: str, digest: str, size: str, log: str) -> None:
    data = plain_unpack((GOLDEN / name).read_bytes())
    assert (len(data), sha(data)) == (int(size), log)


# --- a slow decoder, one value at a time, after docs/log-packing.md


class Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        assert self.at + n <= len(self.data)
        self.at += n
        return self.data[self.at - n : self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value


def plain_unpack(packed: bytes) -> bytes:
    r = Reader(packed)
    assert r.take(5) == b"DBXL\x01"
    out = b""
    while True:
        kind, size, length = struct.unpack("<BII", r.take(9))
        body = r.take(length)
        if kind == 3:
            assert struct.unpack("<Q", body)[0] == len(out) and r.at == len(packed)
            return out
        part = (plain, columns, frames)[kind](body)
        assert len(part) == size
        out += part


def plain(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(body)


def frames(body: bytes) -> bytes:
    r = Reader(body)
    runs = [r.varint() for _ in range(r.varint())]
    stamped = [i % 2 == 0 for i, n in enumerate(runs) for _ in range(n)]
    found = decode_block(body[r.at :]).frames()
    items = zip(found, found.time_us.tolist(), stamped, strict=True)
    return b"".join((struct.pack(">q", t) if has else b"") + bytes(f) for f, t, has in items)


def columns(body: bytes) -> bytes:
    r = Reader(plain(body))
    slots = []
    for _ in range(r.varint()):
        count, runs = r.varint(), []
        for _ in range(r.varint()):
            code = r.take(1)[0]
            fields = r.varint()
            runs.append((1 << (code & 3), fields, r.varint() if code & 4 else 1))
        slots.append((count, runs))
    spans = [r.varint() for _ in range(r.varint())]
    wide = {w: wide_columns(slots, w) for w in (1, 2, 4, 8)}
    modes = {w: list(r.take(len(wide[w]))) for w in wide}
    fixed = {w: [r.take(w * c[3]) if m == 4 else b"" for c, m in zip(wide[w], modes[w], strict=True)] for w in wide}
    entries = sum(count for count, _ in slots) + len(spans)
    order = planes(r, entries, 1 if len(slots) < 256 else 2)
    records = [[bytearray(sum(w * n * p for w, n, p in runs)) for _ in range(count)] for count, runs in slots]
    for w in wide:
        lengths = [0 if m == 4 else slots[c[0]][0] * c[3] for c, m in zip(wide[w], modes[w], strict=True)]
        values = planes(r, sum(lengths), w)
        for (slot, _, at, repeat), mode, constant, length in zip(wide[w], modes[w], fixed[w], lengths, strict=True):
            raw = restored(values[:length], mode, w)
            values = values[length:]
            for i, record in enumerate(records[slot]):
                part = raw[i * repeat : (i + 1) * repeat]
                record[at : at + w * repeat] = constant or b"".join(v.to_bytes(w, "little") for v in part)
    raw_bytes = Reader(r.take(sum(spans)))
    assert r.at == len(r.data)
    lengths_left, records_left = iter(spans), [iter(of_slot) for of_slot in records]
    return b"".join(raw_bytes.take(next(lengths_left)) if n == 0 else bytes(next(records_left[n - 1])) for n in order)


def wide_columns(slots: list, w: int) -> list[tuple[int, int, int, int]]:  # type: ignore[type-arg]
    """(slot, number, offset in the record, repeat) of the columns of a width, in column order"""
    out = []
    for slot, (_, runs) in enumerate(slots):
        at = 0
        for width, fields, repeat in runs:
            for _ in range(fields):
                if width == w:
                    out.append((slot, len(out), at, repeat))
                at += width * repeat
    return out


def planes(r: Reader, n: int, w: int) -> list[int]:
    parts = [r.take(n) for _ in range(w)]
    return [int.from_bytes(bytes(p[i] for p in parts), "little") for i in range(n)]


def restored(entries: list[int], mode: int, w: int) -> list[int]:
    mask = (1 << 8 * w) - 1
    out: list[int] = []
    step = 0
    for i, e in enumerate(entries):
        before = out[-1] if out else 0
        signed = e >> 1 if e % 2 == 0 else -(e >> 1) - 1
        if mode == 0:
            out.append(e)
        elif mode == 3:
            out.append(before ^ e)
        else:
            step = step + signed if mode == 2 and i > 1 else signed
            out.append((before + step) & mask)
    return out

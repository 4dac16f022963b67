"""A second decoder of blocks, written from docs/wire.md alone: one number at a time, no numpy, nothing of
shared/codec but its frozen tables. Slow, and good: it accepts only what the page says, and the page is complete if it
agrees with the first."""

import json
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import zstandard

from firmware_bridge.make_layouts import crc_x25
from shared.codec.pairs import PAIRS

ROOT = Path(__file__).resolve().parents[1]
LAYOUTS: dict[str, Any] = json.loads((ROOT / "shared" / "layouts_v1.json").read_text())["messages"]
DICTIONARY = zstandard.ZstdCompressionDict((ROOT / "shared" / "codec" / "dictionary_v1.bin").read_bytes())
WIDTH = {"S": 1, "u1": 1, "i1": 1, "u2": 2, "i2": 2, "u4": 4, "i4": 4, "f4": 4, "u8": 8, "i8": 8, "f8": 8}
SCALES = {2: 1, 3: 10, 4: 100, 5: 1000, 6: 10, 7: 100, 8: 1000}


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at


def unzigzag(n: int) -> int:
    return n >> 1 if n % 2 == 0 else -(n + 1 >> 1)


def wrap(n: int, bits: int = 64) -> int:
    return (n + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def f32(x: float) -> float:
    return struct.unpack("<f", struct.pack("<f", x))[0]


class Bits:
    def __init__(self, data: bytes) -> None:
        self.number, self.at = int.from_bytes(data, "little"), 0

    def take(self, n: int) -> int:
        value = self.number >> self.at & (1 << n) - 1
        self.at += n
        return value


def number(token: int, p: int, bits: Bits) -> int:
    low = bits.take(p)
    if token < 16:
        q = token
    else:
        b, second = (token - 16) // 2 + 5, (token - 16) % 2
        q = 1 << b - 1 | second << b - 2 | bits.take(b - 2)
    return wrap(unzigzag(q) << p | low)


class Column:
    """slot: its slot; row_at: offset in a row; kind: type in the table, "t" for receive times."""

    def __init__(self, slot: dict[str, Any], kind: str, row_at: int, name: str = "", first: bool = True) -> None:
        self.slot, self.kind, self.row_at, self.name, self.first = slot, kind, row_at, name, first
        self.width = 8 if kind == "t" else WIDTH[kind]
        self.x: list[int] = []
        self.order = self.pair = self.form = self.top = self.p = 0
        self.constant = True

    def put(self, row: int, value: int) -> None:
        data = (value % (1 << 8 * self.width)).to_bytes(self.width, "little")
        self.slot["rows"][row][self.row_at : self.row_at + self.width] = data

    def get(self, row: int) -> float:
        data = bytes(self.slot["rows"][row][self.row_at : self.row_at + self.width])
        if self.kind == "f4":
            return float(struct.unpack("<f", data)[0])
        return int.from_bytes(data, "little", signed=self.kind[0] == "i")


def slots_of(g: int, n: int, table: bytes, order: bytes) -> tuple[list[dict[str, Any]], list[int]]:
    width = 1 if g < 1 << 8 else 2 if g < 1 << 16 else 3
    index = [sum(order[i * n + k] << 8 * i for i in range(width)) for k in range(n)]
    sysid, compid, low, middle, high = (table[i * g : (i + 1) * g] for i in range(5))
    widths = iter(table[5 * g :])
    slots = [{"raw": True, "frames": [], "columns": [], "layout": None, "width": 0, "key": None}]
    for i in range(g):
        msgid = low[i] | middle[i] << 8 | high[i] << 16
        layout = LAYOUTS.get(str(msgid))
        size = layout[2] if layout else next(widths)
        key = (sysid[i], compid[i], msgid)
        slots.append({"raw": False, "frames": [], "columns": [], "layout": layout, "width": size, "key": key})
    for k, i in enumerate(index):
        slots[i]["frames"].append(k)
    slots = [s for s in slots if s["frames"]]
    for s in slots:
        s["rows"] = [bytearray(s["width"]) for _ in s["frames"]]
    return slots, index


def elements(slot: dict[str, Any]) -> tuple[list[Column], list[tuple[int, int]]]:
    if slot["raw"]:
        return [], []
    if slot["layout"] is None:
        return [Column(slot, "u1", i) for i in range(slot["width"])], []
    found, text = [], []
    for name, kind, count, offset in slot["layout"][4]:
        if kind == "S" or (WIDTH[kind] == 1 and count >= 16):
            text.append((offset, max(1, count)))
        else:
            found += [Column(slot, kind, offset + i * WIDTH[kind], name, i == 0) for i in range(max(1, count))]
    return found, text


def decode(block: bytes) -> tuple[list[bytes], list[int]]:
    """(frames, receive times) of a good block."""
    assert block[0] == 1
    size, at = varint(block, 1)
    body = zstandard.ZstdDecompressor(dict_data=DICTIONARY).decompress(block[at : at + size])
    tail = block[at + size :]
    numbers, at = [], 0
    for _ in range(19):
        value, at = varint(body, at)
        numbers.append(value)
    n, g, start, *lengths = numbers
    cuts = [at]
    for length in lengths[:14]:
        cuts.append(cuts[-1] + length)
    a, b, c, d, e, f, modes, splits, tops, j, k, raw_lengths, m, heads, tokens = (
        body[x:y] for x, y in zip(cuts, [*cuts[1:], len(body)], strict=True)
    )
    head_bits, value_bits = Bits(tail[: lengths[14]]), Bits(tail[lengths[14] : lengths[14] + lengths[15]])
    low_bits = Bits(tail[lengths[14] + lengths[15] :])
    slots, index = slots_of(g, n, a, b)
    times = [Column(s, "t", 0) for s in slots]
    columns, texts = list(times), []
    for s in slots:
        s["columns"], text = elements(s)
        columns += s["columns"]
        texts += [(s, offset, length) for offset, length in text]
    read_columns(columns, modes, splits, tops, j, heads, tokens, head_bits, value_bits)
    at = 0
    for s, offset, length in texts:
        for row in s["rows"]:
            row[offset : offset + length] = k[at : at + length]
            at += length
    stamps = clocks(slots, f, times, index, unzigzag(start), n)
    finish(columns[len(slots) :], low_bits, f, slots)
    return rebuild(slots, index, c, d, e, raw_lengths, m, n), stamps


def read_columns(
    columns: list[Column], modes: bytes, splits: bytes, tops: bytes, constants: bytes, heads: bytes, tokens: bytes,
    head_bits: Bits, value_bits: Bits,
) -> None:  # fmt: skip
    changing, at, top = [], 0, iter(tops)
    for column, mode in zip(columns, modes, strict=True):
        rows = len(column.slot["frames"])
        if not mode:
            column.x = [int.from_bytes(constants[at : at + column.width], "little", signed=True)] * rows
            at += column.width
            continue
        column.constant = False
        column.order, column.pair, column.form = (mode - 1) % 3, (mode - 1) // 3 % 3, (mode - 1) // 9
        column.p = splits[len(changing)]
        column.top = next(top) if column.form == 1 else 0
        changing.append(column)
    for column, token in zip(changing, heads, strict=True):
        column.x = [wrap(number(token, 0, head_bits) << column.p)]
    source = iter(tokens)
    for column in [c for c in changing if not c.p] + [c for c in changing if c.p]:
        r = [number(next(source), column.p, value_bits) for _ in column.slot["frames"]]
        h, step = column.x[0], 0
        column.x = [wrap(h + r[0])]
        for i in range(1, len(r)):
            if column.order == 0:
                column.x.append(wrap(h + r[i]))
                continue
            step = r[i] if column.order == 1 else wrap(step + r[i])
            column.x.append(wrap(column.x[-1] + step))


def clock_column(slot: dict[str, Any]) -> Column | None:
    for column in slot["columns"]:
        if (column.name, column.kind) in (("time_boot_ms", "u4"), ("time_usec", "u4"), ("time_usec", "u8")):
            return column
    return None


def clocks(
    slots: list[dict[str, Any]], modes: bytes, times: list[Column], index: list[int], start: int, n: int
) -> list[int]:
    state: dict[Any, int] = {}
    place = {(id(s), k): row for s in slots for row, k in enumerate(s["frames"])}
    of_frame = {k: (i, s) for i, s in enumerate(slots) for k in s["frames"]}
    stamps: list[int] = []
    for k in reversed(range(n)):  # the last one written is the first anchor
        i, s = of_frame[k]
        column = clock_column(s) if modes[i] & 3 == 1 else None
        if column is not None:
            own = column.x[place[id(s), k]] % (1 << 8 * column.width)
            state[s["key"][:2]] = own * 1000 if column.name == "time_boot_ms" else own
    for k in range(n):
        i, s = of_frame[k]
        row, mode, t = place[id(s), k], modes[i] & 3, 0
        if mode:
            column = clock_column(s)
            assert column is not None
            ms, x, t = column.kind == "u4" and column.name == "time_boot_ms", column.x[row], state.get(s["key"][:2], 0)
            if mode == 1:
                own = x % (1 << 8 * column.width)
                t = own * 1000 if ms else own
            else:
                t = (t // 1000 + x) * 1000 if ms else t + x
                column.put(row, t // 1000 if ms else t)
            state[s["key"][:2]] = t
        x = times[i].x[row]
        stamps.append(wrap(start + t + x if modes[i] & 4 else (stamps[-1] if stamps else start) + x))
    return stamps


def finish(columns: list[Column], low: Bits, modes: bytes, slots: list[dict[str, Any]]) -> None:
    chained = {id(clock_column(s)) for s, mode in zip(slots, modes, strict=True) if mode & 3 == 2}
    by_key = {s["key"]: s for s in slots}
    stream = [c for c in columns if not c.p] + [c for c in columns if c.p]
    for pairs in (False, True):
        for column in (c for c in stream if (c.pair > 0) == pairs and id(c) not in chained):
            if pairs:
                predict(column, by_key)
            for row, x in enumerate(column.x):
                column.put(row, field(column, x, low))


def predict(column: Column, by_key: dict[Any, dict[str, Any]]) -> None:
    slot = column.slot
    message, name, factor = PAIRS[slot["layout"][0], column.name][column.pair - 1]
    msgid = next(int(i) for i, layout in LAYOUTS.items() if layout[0] == message)
    source = by_key[(*slot["key"][:2], msgid)]
    from_column = next(c for c in source["columns"] if c.name == name and c.first)
    unit = 1.0 if column.kind != "f4" else 2.0 ** (150 - column.top) if column.form == 1 else float(SCALES[column.form])
    for i, k in enumerate(slot["frames"]):
        row = max([r for r, at in enumerate(source["frames"]) if at <= k], default=0)
        guess = from_column.get(row) * factor * unit
        sound = guess == guess and abs(guess) < 2**53
        column.x[i] = wrap(column.x[i] + (round(guess) if sound else 0))


def field(column: Column, x: int, low: Bits) -> int:
    if column.kind != "f4" or column.constant:
        return x
    if column.form == 0:
        x = wrap(x, 32)
        return x if x >= 0 else ~x | 0x80000000
    if column.form == 1:
        if x == 0:
            return 0
        s = 24 - abs(x).bit_length()
        mantissa = abs(x) << s | low.take(s)
        return (x < 0) << 31 | column.top - s << 23 | mantissa & 0x7FFFFF
    scale = SCALES[column.form]
    value = f32(f32(x) * f32(1 / scale)) if column.form < 6 else f32(float(Fraction(x)) / scale)
    return int.from_bytes(struct.pack("<f", value), "little")


def rebuild(
    slots: list[dict[str, Any]], index: list[int], c: bytes, d: bytes, e: bytes, raw_lengths: bytes, m: bytes, n: int
) -> list[bytes]:
    groups = [s for s in slots if not s["raw"]]
    members = [(s, row, k) for s in groups for row, k in enumerate(s["frames"])]
    stx, incompat, compat = ((c[i * (len(c) // 3) : (i + 1) * (len(c) // 3)] * len(members)) for i in range(3))
    seq, last = {}, {}
    sender = {k: s["key"][:2] for s, _, k in members}
    for k, step in zip(sorted(sender), e, strict=True):
        last[sender[k]] = seq[k] = (last.get(sender[k], 0) + step + 1) % 256
    rest, at = m, 0
    lengths = []
    for i, (s, row, _) in enumerate(members):
        payload = bytes(s["rows"][row])
        expected = (
            (s["layout"][3] if s["layout"] else 0)
            if stx[i] == 0xFE
            else max(len(payload.rstrip(b"\0")), min(1, len(payload)))
        )
        lengths.append((expected + (d[i] if d else 0)) % 256)
    tails = []
    for length, (s, _, _) in zip(lengths, members, strict=True):
        beyond = max(0, length - s["width"])
        tails.append(rest[at : at + beyond])
        at += beyond
    frames: dict[int, bytes] = {}
    crcs = {}
    for i, (s, _, _) in enumerate(members):
        if s["layout"] is None:
            crcs[i], at = rest[at : at + 2], at + 2
    for i, (s, row, k) in enumerate(members):
        sysid, compid, msgid = s["key"]
        ids = bytes([seq[k], sysid, compid])
        if stx[i] == 0xFE:
            head = bytes([lengths[i]]) + ids + bytes([msgid])
        else:
            head = bytes([lengths[i], incompat[i], compat[i]]) + ids + msgid.to_bytes(3, "little")
        inside = head + (bytes(s["rows"][row]) + tails[i])[: lengths[i]]
        crc = crcs[i] if i in crcs else crc_x25(inside + bytes([s["layout"][1]])).to_bytes(2, "little")
        frames[k] = bytes([stx[i]]) + inside + crc
        if stx[i] == 0xFD and incompat[i] & 1:
            frames[k] += rest[at : at + 13]
            at += 13
    position = 0
    for s in slots:
        for k in s["frames"] if s["raw"] else []:
            size, position = varint(raw_lengths, position)
            frames[k], at = rest[at : at + size], at + size
    assert at == len(rest)
    return [frames[k] for k in range(n)]

"""MAVLink frames for tests: made by plain code that shares nothing with the codec, and hypothesis strategies for
them."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from firmware_bridge.make_layouts import crc_x25
from shared.frames import Frames
from shared.layouts import LAYOUTS, Layout


def make_frame(
    msgid: int, payload: bytes, *, seq: int = 0, sysid: int = 1, compid: int = 1, version: int = 2, incompat: int = 0,
    compat: int = 0, trim: bool = True, extra: int | None = None, signature: bytes = bytes(13), crc_flip: int = 0,
) -> bytes:  # fmt: skip
    """One frame, byte by byte as the MAVLink guide says. trim: leave trailing zeros out (version 2 only)."""
    if version == 2 and trim:
        payload = payload.rstrip(b"\0") or payload[:1]
    ids = bytes([seq, sysid, compid])
    if version == 1:
        body = bytes([len(payload)]) + ids + bytes([msgid & 0xFF]) + payload
    else:
        body = bytes([len(payload), incompat, compat]) + ids + msgid.to_bytes(3, "little") + payload
    if extra is None:
        extra = LAYOUTS[msgid].crc_extra if msgid in LAYOUTS else 0
    crc = crc_x25(body + bytes([extra])) ^ crc_flip
    signed = signature if version == 2 and incompat & 1 else b""
    return bytes([0xFE if version == 1 else 0xFD]) + body + crc.to_bytes(2, "little") + signed


def frames_of(made: Sequence[bytes], times: Sequence[int] | np.ndarray | None = None) -> Frames:
    """Frames over the given bytes; times default to 0, 1000, 2000, ..."""
    lengths = np.array([len(f) for f in made], np.int64)
    stamps = np.arange(len(made)) * 1000 if times is None else np.asarray(times, np.int64)
    return Frames(b"".join(made), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), stamps.astype(np.int64))


INT64 = st.integers(-(2**63), 2**63 - 1)
_IDS = sorted(LAYOUTS)


@st.composite
def one_frame(draw: st.DrawFn) -> bytes:
    """Any frame: either version, flags, signatures, trimmed or not, too long, unknown, damaged, or not MAVLink at
    all."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=40))
    msgid = draw(st.sampled_from(_IDS) if kind < 8 else st.integers(0, 2**24 - 1))
    version = 1 if msgid < 256 and draw(st.booleans()) else 2
    size = LAYOUTS[msgid].size if msgid in LAYOUTS else draw(st.integers(0, 255))
    payload = draw(st.binary(max_size=min(255, size + draw(st.sampled_from([0, 0, 0, 5])))))
    if draw(st.booleans()):
        payload = payload.ljust(size, b"\0")[:255]
    flags = st.sampled_from([0, 0, 0, 1, 2, 0x81, 255])
    return make_frame(
        msgid, payload, seq=draw(st.integers(0, 255)), sysid=draw(st.sampled_from([0, 1, 1, 1, 255])),
        compid=draw(st.sampled_from([0, 1, 1, 190])), version=version, incompat=draw(flags), compat=draw(flags),
        trim=draw(st.booleans()), signature=draw(st.binary(min_size=13, max_size=13)),
        crc_flip=draw(st.sampled_from([0, 0, 0, 0, 1, 0x8000])), extra=draw(st.sampled_from([None, None, None, 3])),
    )  # fmt: skip


@st.composite
def arbitrary_frames(draw: st.DrawFn) -> Frames:
    """Up to 30 frames with nothing in common, at any times."""
    made = draw(st.lists(one_frame(), max_size=30))
    return frames_of(made, draw(st.lists(INT64, min_size=len(made), max_size=len(made))))


def _column(rng: np.random.Generator, code: str, rows: int) -> np.ndarray:
    """A column of one field: constant, noise, ramp, walk, decimals, or any bits."""
    kind = rng.integers(0, 7)
    if code[0] == "f" and kind in (0, 3, 4, 5):
        walk = rng.normal(size=rows).cumsum() * 10.0 ** rng.integers(-6, 6)
        walk = {0: walk, 3: np.round(walk, 2), 4: np.round(walk, 1) * np.float32(0.01), 5: np.where(walk > 0, walk, 0)}[
            kind
        ]
        return walk.astype(code)
    if kind == 1:
        return np.repeat(np.frombuffer(rng.bytes(8), code)[:1], rows)
    if kind == 2:
        return (np.arange(rows) * int(rng.integers(-500, 500)) + int(rng.integers(0, 2**40))).astype("<u8").astype(code)
    if kind == 3:
        return rng.normal(scale=100, size=rows).cumsum().astype("<i8").astype(code)
    if kind == 4:
        return np.zeros(rows, code)
    return np.frombuffer(rng.bytes(rows * np.dtype(code).itemsize), code)


def _payloads(rng: np.random.Generator, layout: Layout, rows: int) -> list[bytes]:
    table = np.zeros(rows, layout.dtype)
    for field in layout.fields:
        if field.kind == "S":
            table[field.name] = rng.bytes(field.count)
        elif field.is_array:
            table[field.name] = np.stack([_column(rng, f"<{field.kind}", rows) for _ in range(field.count)], 1)
        else:
            table[field.name] = _column(rng, f"<{field.kind}", rows)
    return [table[i].tobytes() for i in range(rows)]


@st.composite
def series_frames(draw: st.DrawFn) -> Frames:
    """Telemetry-like series of a few messages from a few senders, interleaved; values from a seeded generator."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    popular = [30, 33, 27, 116, 24, 124, 74, 32, 2, 36, 1, 147, 178, 29, 137]
    made: list[bytes] = []
    for _ in range(draw(st.integers(1, 8))):
        msgid = draw(st.one_of(st.sampled_from(popular), st.sampled_from(_IDS)))
        rows = draw(st.integers(1, 25))
        sysid = draw(st.sampled_from([1, 1, 2]))
        version = 1 if msgid < 256 and draw(st.integers(0, 5)) == 0 else 2
        size = LAYOUTS[msgid].min_size if version == 1 else LAYOUTS[msgid].size
        for i, payload in enumerate(_payloads(rng, LAYOUTS[msgid], rows)):
            made.append(make_frame(msgid, payload[:size], seq=i & 255, sysid=sysid, version=version))
    order = np.argsort(rng.random(len(made)))
    times = rng.integers(0, 20000, len(made)).cumsum() + draw(
        st.sampled_from([0, 2**62, -(2**63), 1_700_000_000_000_000])
    )
    return frames_of([made[i] for i in order], times)

"""The codec's parts, each against a plain way to the same result."""

import numpy as np
import pytest

from firmware_bridge.make_layouts import crc_x25, table
from shared.codec import bits, clocks, crc, decode_block, encode_block, floats
from shared.frames import Frames
from shared.layouts import LAYOUTS
from tests.fix_mavlink_frames import frames_of, make_frame


def test_checksums_of_many_frames_equal_the_plain_one() -> None:
    rng = np.random.default_rng(1)
    frames = [rng.bytes(int(n)) for n in rng.integers(9, 280, 200)]
    covered = np.array([min(len(f) - 3, 264) for f in frames])
    extra = rng.integers(0, 256, 200).astype(np.uint8)
    lengths = np.array([len(f) for f in frames])
    found = crc.frame_crcs(np.frombuffer(b"".join(frames), np.uint8), lengths, covered, extra)
    plain = [
        crc_x25(f[1 : 1 + c] + bytes([e])) for f, c, e in zip(frames, covered.tolist(), extra.tolist(), strict=True)
    ]
    assert found.tolist() == plain


def test_any_number_survives_tokens_and_raw_bits_at_any_split() -> None:
    rng = np.random.default_rng(2)
    for _ in range(100):
        n = int(rng.integers(1, 300))
        numbers = rng.integers(-(2**63), 2**63 - 1, n) >> rng.integers(0, 64, n)
        numbers[:3] = [-(2**63), 2**63 - 1, 0][: len(numbers[:3])]
        p = rng.integers(0, 49, n)
        token, raw, size = bits.to_tokens(numbers, p)
        assert int(token.max()) <= bits.MAX_TOKEN and int(size.max()) <= 63
        assert np.array_equal(bits.EXTRA[token] + p, size)
        data = np.frombuffer(bits.pack(raw, size) + bytes(24), np.uint8)
        unpacked = bits.unpack(data, size.cumsum() - size, size)
        assert np.array_equal(bits.from_tokens(token, unpacked, p), numbers)


def float_column(rng: np.random.Generator, kind: int, rows: int) -> np.ndarray:
    numbers = rng.normal(size=rows) * 10.0 ** rng.integers(-40, 38)
    special = {1: np.rint(numbers), 2: np.rint(rng.normal(size=rows) * 100) * np.float32(0.01)}
    column = np.asarray(special.get(kind, numbers), np.float32)
    column[rng.random(rows) < 0.1] = {3: np.nan, 4: np.inf, 5: -0.0}.get(kind, 0.0)
    return rng.integers(0, 2**32, rows).astype(np.uint32).view(np.float32) if kind == 6 else column


def test_float_columns_of_every_kind_survive() -> None:
    rng = np.random.default_rng(3)
    with np.errstate(all="ignore"):
        columns = [float_column(rng, i % 7, int(rng.integers(1, 30))) for i in range(400)]
    rows = np.array([len(c) for c in columns])
    patterns = np.concatenate(columns).view(np.int32).astype(np.int64)
    found = floats.to_numbers(patterns, rows.cumsum() - rows, rows)
    form, top = np.repeat(found.form, rows), np.repeat(found.top, rows)
    fixed = form == floats.FIXED
    assert np.array_equal(floats.low_sizes(found.value[fixed]), found.low_size[fixed])
    back = floats.to_bits(found.value, form)
    back[fixed] = floats.from_fixed(found.value[fixed], top[fixed], found.low[fixed], found.low_size[fixed])
    assert np.array_equal(back, patterns & 0xFFFFFFFF)
    assert set(found.form.tolist()) >= {floats.ORDERED, floats.FIXED, floats.DECIMAL}


def test_clock_chains_of_any_make_give_the_times_back() -> None:
    rng = np.random.default_rng(4)
    for _ in range(300):
        n = int(rng.integers(1, 60))
        is_ms, first, anchor = rng.random(n) < 0.5, rng.random(n) < 0.1, rng.random(n) < 0.2
        first[0] = True
        time = rng.integers(-50, 3000, n).cumsum() * int(rng.integers(1, 400))
        time = np.where(is_ms, time // 1000 * 1000, time)
        x = clocks.differences(time, is_ms, first, clocks.origins(time, first, anchor))
        x = np.where(anchor, np.where(is_ms, time // 1000, time), x)
        assert np.array_equal(clocks.times(x, is_ms, first, anchor), time)


def servo_and_position(servo_us: int, position_ms: int) -> Frames:
    servo = servo_us.to_bytes(4, "little") + bytes([1]) * 17
    position = position_ms.to_bytes(4, "little") + bytes([1]) * 24
    return frames_of([make_frame(36, servo), make_frame(33, position), make_frame(36, servo)])


@pytest.mark.parametrize(("servo_us", "position_ms"), [(0xF0D0DBC7, 0xA30FEBCF), (5, 2**32 - 1), (2**32 - 1, 0)])
def test_a_narrow_clock_far_from_the_others_survives(servo_us: int, position_ms: int) -> None:
    frames = servo_and_position(servo_us, position_ms)
    assert decode_block(encode_block(frames)).frames().equals(frames)


def test_more_than_a_decoder_takes_is_not_encoded() -> None:
    frames = Frames(bytes(200_001), np.arange(200_002), np.zeros(200_001, np.int64))
    with pytest.raises(ValueError, match="too much"):
        encode_block(frames)


def test_the_layout_table_is_what_the_dialects_say() -> None:
    for msgid, (name, crc_extra, size, min_size, fields) in table().items():
        layout = LAYOUTS[int(msgid)]
        assert (layout.name, layout.crc_extra, layout.size, layout.min_size) == (name, crc_extra, size, min_size)
        assert layout.dtype.itemsize == size and layout.dtype.names == tuple(f[0] for f in fields)

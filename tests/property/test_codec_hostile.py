"""Hostile blocks end in Refused or in a sane Block: nothing else is raised, nothing grows without limit."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import container, decode_block, decode_blocks, encode_block
from shared.codec.container import varint
from shared.errors import Refused
from shared.frames import Frames
from tests.fix_mavlink_frames import arbitrary_frames, frames_of, make_frame, series_frames


def decoded_or_refused(data: bytes) -> None:
    try:
        block = decode_block(data, max_frames=5000, max_bytes=1 << 20)
    except Refused as e:
        assert e.reason in ("block_malformed", "block_version", "block_too_large")
        return
    assert block.n <= 5000 and len(block.time_us) == block.n
    for group in block.groups:
        assert len(group.rows) == len(group.payload) > 0
        assert int(group.rows.min()) >= 0 and int(group.rows.max()) < block.n
    frames = block.frames()
    assert np.array_equal(frames.time_us, block.time_us) and len(frames) == block.n


def opened(block: bytes) -> tuple[bytearray, bytes]:
    """(what the zstd frame holds, the raw bits after it)."""
    size, at = container.read_varint(block, 1)
    return bytearray(container.decompress(block[at : at + size], 1 << 24)), block[at + size :]


def closed(body: bytes, bits: bytes) -> bytes:
    compressed = container.compress(bytes(body))
    return bytes([container.FORMAT]) + varint(len(compressed)) + compressed + bits


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        decode_block(data)
    decoded_or_refused(bytes([container.FORMAT]) + data)


@given(st.one_of(arbitrary_frames(), series_frames()), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_blocks_are_refused_or_sane(frames: Frames, data: st.DataObject) -> None:
    block = bytearray(encode_block(frames))
    for _ in range(data.draw(st.integers(1, 4))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    decoded_or_refused(bytes(block[: data.draw(st.integers(0, len(block)))]))
    decoded_or_refused(bytes(block))


@given(st.one_of(arbitrary_frames(), series_frames()), st.data())
@settings(max_examples=400, deadline=None)
def test_damage_under_a_sound_compression_is_refused_or_sane(frames: Frames, data: st.DataObject) -> None:
    body, bits = opened(encode_block(frames))
    raw = bytearray(bits)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        what = data.draw(st.integers(0, 3))
        if what == 0:
            body[at] = data.draw(st.integers(0, 255))
        elif what == 1:
            body[at] ^= 1 << data.draw(st.integers(0, 7))
        elif what == 2 and len(body) > 40:
            del body[at : at + data.draw(st.integers(1, 3))]
        else:
            body[at:at] = data.draw(st.binary(min_size=1, max_size=3))
    if raw:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 0xFF
    decoded_or_refused(closed(bytes(body), bytes(raw)))


@given(series_frames(), st.data())
@settings(max_examples=150, deadline=None)
def test_every_number_of_the_head_may_lie(frames: Frames, data: st.DataObject) -> None:
    body, bits = opened(encode_block(frames))
    numbers, at = [], 0
    for _ in range(3 + len(container.COMPRESSED) - 1 + len(container.BITS) - 1):
        value, at = container.read_varint(body, at)
        numbers.append(value)
    lie = data.draw(st.integers(0, len(numbers) - 1))
    numbers[lie] = data.draw(st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1)))
    decoded_or_refused(closed(b"".join(map(varint, numbers)) + bytes(body[at:]), bits))


def test_a_bad_block_among_good_ones_is_refused() -> None:
    good = encode_block(frames_of([make_frame(30, bytes(28))] * 3))
    with pytest.raises(Refused):
        decode_blocks([good, good[:-1] + b"\xff\xff", good])


def test_a_decompression_bomb_is_refused_by_its_declared_size() -> None:
    bomb = container.compress(bytes(1 << 26))
    block = bytes([container.FORMAT]) + varint(len(bomb)) + bomb
    tracemalloc.start()
    with pytest.raises(Refused, match="block_too_large"):
        decode_block(block)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_too_many_frames_are_refused() -> None:
    frames = frames_of([make_frame(0, bytes(9))] * 50)
    with pytest.raises(Refused, match="block_too_large"):
        decode_block(encode_block(frames), max_frames=49)
    assert decode_block(encode_block(frames), max_frames=50).n == 50


def test_bytes_after_the_block_are_refused() -> None:
    with pytest.raises(Refused):
        decode_block(encode_block(frames_of([make_frame(0, bytes(9))])) + b"\0")

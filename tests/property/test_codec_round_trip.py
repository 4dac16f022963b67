"""Whatever frames go into a block, the same frames come out."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import decode_block, decode_blocks, encode_block
from shared.frames import Frames, join, no_frames
from shared.layouts import LAYOUTS
from tests.fix_mavlink_frames import arbitrary_frames, frames_of, make_frame, series_frames

IDS = sorted(LAYOUTS)


@given(arbitrary_frames())
@settings(max_examples=250, deadline=None)
def test_any_sequence_of_frames_survives(frames: Frames) -> None:
    block = decode_block(encode_block(frames))
    assert block.n == len(frames)
    assert np.array_equal(block.time_us, frames.time_us)
    assert block.frames().equals(frames)


@given(series_frames())
@settings(max_examples=200, deadline=None)
def test_series_of_every_message_survive(frames: Frames) -> None:
    assert decode_block(encode_block(frames)).frames().equals(frames)


@given(st.lists(st.one_of(arbitrary_frames(), series_frames()), max_size=6))
@settings(max_examples=60, deadline=None)
def test_many_blocks_decode_together_as_they_do_alone(parts: list[Frames]) -> None:
    blocks = [encode_block(p) for p in parts]
    for part, together in zip(parts, decode_blocks(blocks), strict=True):
        assert together.frames().equals(part)
        alone = decode_block(encode_block(part))
        assert [(g.msgid, g.sysid, g.compid) for g in alone.groups] == [
            (g.msgid, g.sysid, g.compid) for g in together.groups
        ]
        for a, b in zip(alone.groups, together.groups, strict=True):
            assert np.array_equal(a.rows, b.rows) and np.array_equal(a.payload, b.payload)


@given(series_frames())
@settings(max_examples=100, deadline=None)
def test_groups_hold_the_zero_extended_payloads_of_their_rows(frames: Frames) -> None:
    block = decode_block(encode_block(frames))
    for group in block.groups:
        assert list(group.rows) == sorted(set(group.rows.tolist()))
        for row, payload in zip(group.rows.tolist(), group.payload, strict=True):
            raw = frames[row]
            at = 6 if raw[0] == 0xFE else 10
            sent = raw[at : at + raw[1]]
            assert bytes(payload) == sent.ljust(len(payload), b"\0")[: len(payload)]


def test_every_known_message_survives_with_extreme_fields() -> None:
    rng = np.random.default_rng(4)
    made = []
    for i, msgid in enumerate(IDS):
        for fill in (0x00, 0xFF, 0x80, 0x7F):
            made.append(make_frame(msgid, bytes([fill]) * LAYOUTS[msgid].size, seq=i & 0xFF))
        made.append(make_frame(msgid, rng.bytes(LAYOUTS[msgid].size)))
    order = rng.permutation(len(made))
    frames = frames_of([made[i] for i in order], rng.integers(-(2**63), 2**63 - 1, len(made)))
    assert decode_block(encode_block(frames)).frames().equals(frames)


def test_no_frames_at_all_make_a_block() -> None:
    block = decode_block(encode_block(no_frames()))
    assert block.n == 0 and block.groups == [] and block.frames().equals(no_frames())


def test_frames_with_a_wrong_checksum_are_kept_but_belong_to_no_group() -> None:
    good = make_frame(30, bytes(28))
    bad = good[:-1] + bytes([good[-1] ^ 1])
    frames = frames_of([good, bad, b"", b"junk", good])
    block = decode_block(encode_block(frames))
    assert block.frames().equals(frames)
    assert [g.rows.tolist() for g in block.groups] == [[0, 4]]


def test_unknown_messages_form_a_group_as_wide_as_their_longest() -> None:
    frames = frames_of([make_frame(60000, b"ab", extra=7), make_frame(60000, b"abcdef", extra=9)])
    block = decode_block(encode_block(frames))
    assert block.groups[0].msgid == 60000 and block.groups[0].payload.shape == (2, 6)
    assert block.frames().equals(frames)


def test_joined_frames_are_the_parts_one_after_the_other() -> None:
    a, b = frames_of([b"x", b"yz"], [1, 2]), frames_of([b"", b"w"], [3, 4])
    both = join([a, no_frames(), b])
    assert [both[i] for i in range(4)] == [b"x", b"yz", b"", b"w"]
    assert both.slice(1, 3).equals(frames_of([b"yz", b""], [2, 3]))

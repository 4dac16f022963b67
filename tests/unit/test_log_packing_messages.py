"""MAVLink logs as columns of messages: what goes into them, what comes back, what is refused."""

import struct

import numpy as np
import pytest
import zstandard
from fastcrc import crc16

from firmware_bridge.frame_crc import crcs
from firmware_bridge.log_packing import pack, unpack
from firmware_bridge.log_packing.messages import encode
from firmware_bridge.log_packing.messages_decode import decode
from firmware_bridge.log_packing.numbers import varints
from shared.errors import Refused
from tests.fix_frames import UNKNOWN_ID, log_of_every_form, mavlink_frame

N = 500


def stamped(frames: list[bytes]) -> bytes:
    return b"".join(struct.pack(">Q", 1_700_000_000_000_000 + 20_000 * i) + f for i, f in enumerate(frames))


def attitude(i: int) -> bytes:
    return struct.pack("<Iffffff", 20 * i, 0.01 * i, 0.5, 1, 0, 0, 0)


def packed_bytes(data: bytes) -> int:
    """Size of the segment, which gives the log back."""
    size, content = encode(data, is_stamped=True, is_last=True)
    assert content is not None and size == len(data)
    assert decode(content, size) == data
    return len(zstandard.compress(content))


@pytest.mark.parametrize("is_stamped", [True, False])
def test_frames_of_every_form_come_back(is_stamped: bool) -> None:
    data = log_of_every_form(is_stamped=is_stamped)
    size, content = encode(data, is_stamped, is_last=True)
    assert content is not None and size == len(data)
    assert decode(content, size) == data


@pytest.mark.parametrize(
    "form",
    [{}, {"version": 1}, {"signed": True}, {"extra": 99}, {"msgid": UNKNOWN_ID, "extra": 7}],
    ids=["MAVLink 2", "MAVLink 1", "signed", "another dialect's CRC_EXTRA", "unknown message"],
)
def test_no_form_of_frame_is_left_raw(form: dict[str, int]) -> None:
    data = stamped([mavlink_frame(**{"msgid": 30, "payload": attitude(i), "seq": i & 255} | form) for i in range(N)])  # type: ignore[arg-type]
    assert packed_bytes(data) < 6 * N


def test_zeros_that_are_not_cut_as_they_ought_to_be_come_back() -> None:
    payloads = [attitude(i)[: 28 - i % 3] for i in range(N)]
    assert packed_bytes(stamped([mavlink_frame(30, p, i & 255) for i, p in enumerate(payloads)])) < 8 * N


def test_a_payload_of_nothing_but_zeros_keeps_one() -> None:
    assert packed_bytes(stamped([mavlink_frame(30, b"\0", i & 255) for i in range(N)])) < N


def test_lost_frames_and_wrong_checksums_come_back() -> None:
    frames = [mavlink_frame(30, attitude(i), i & 255) for i in range(N) if i % 7]
    frames[50] = frames[50][:-1] + bytes([frames[50][-1] ^ 1])
    packed_bytes(stamped(frames))


def test_what_holds_no_frames_is_not_worth_columns() -> None:
    assert encode(bytes(5000), is_stamped=True, is_last=True) == (5000, None)
    assert encode(b"", is_stamped=False, is_last=True) == (0, None)


def test_payloads_cut_so_short_that_they_would_fill_memory_go_another_way() -> None:
    frames = [mavlink_frame(110, b"\1" * (251 if i % 50 == 0 else 1), i & 255) for i in range(N)]
    data = stamped(frames)
    assert encode(data, is_stamped=True, is_last=True)[1] is None
    assert b"".join(unpack(pack([data], "tlog"))) == data


def test_a_frame_over_the_end_of_a_buffer_is_left_to_the_next() -> None:
    data = stamped([mavlink_frame(30, attitude(i), i & 255) for i in range(N)])
    size, content = encode(data[:-5], is_stamped=True, is_last=False)
    assert content is not None and size == len(stamped([mavlink_frame(30, attitude(0))])) * (N - 1)
    assert decode(content, size) == data[:size]


@pytest.mark.parametrize(
    "content",
    [
        varints([1]) + b"\2" + bytes([0, 1, 1, 0, 0, 0, 50]),
        varints([1]) + b"\0" + bytes([8, 1, 1, 0, 0, 0, 50]),
        varints([1]) + b"\0" + bytes([0, 1, 1, 0, 1, 0, 50]),
        varints([3]) + b"\0" + bytes(21) + varints([0, 0]),
        varints([1]) + b"\0" + bytes(7) + varints([1, 1_000_000, 1, 0, 200, 0]),
        varints([1]) + b"\0" + bytes(7) + varints([1, 1, 1, 0, 4, 0]) + b"\4\4\4\4" + bytes(4) + b"\1",
    ],
    ids=["stamps", "form", "MAVLink 1 of id 256", "groups without slots", "too many records", "no sequence numbers"],
)
def test_hostile_messages_are_refused(content: bytes) -> None:
    with pytest.raises(Refused) as e:
        decode(content, 1000)
    assert e.value.reason == "packing_malformed"


@pytest.mark.parametrize("size", [6, 30, 264])
def test_checksums_of_many_frames_at_once_are_those_of_each(size: int) -> None:
    rows = np.random.default_rng(size).integers(0, 256, (50, size), np.uint8)
    wanted = [crc16.mcrf4xx(bytes(row) + b"\x32") for row in rows]
    assert crcs(rows, 0x32).tolist() == wanted

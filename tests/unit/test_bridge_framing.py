"""The scanner: what is a frame, what is junk, and that every byte is one or the other."""

import pytest

from firmware_bridge.framing import Scanner
from shared.frames import join
from tests.fix_frames import UNKNOWN_ID, mavlink_frame


def scan(data: bytes) -> tuple[list[bytes], Scanner]:
    scanner = Scanner()
    frames = join([scanner.feed(data, 7), scanner.finish(7)])
    return [frames[i] for i in range(len(frames))], scanner


GOOD = mavlink_frame(seq=1)
UNKNOWN = mavlink_frame(msgid=UNKNOWN_ID, payload=b"abc", seq=2)


@pytest.mark.parametrize(
    "frame",
    [mavlink_frame(version=1), mavlink_frame(), mavlink_frame(signed=True), mavlink_frame(payload=b"\1")],
    ids=["mavlink 1", "mavlink 2", "signed", "truncated payload"],
)
def test_a_frame_of_every_kind_is_kept_whole(frame: bytes) -> None:
    assert scan(frame)[0] == [frame]


def test_frames_carry_the_time_of_the_feed_that_completed_them() -> None:
    scanner = Scanner()
    first = scanner.feed(GOOD[:5], 10)
    second = scanner.feed(GOOD[5:] + GOOD, 20)
    assert len(first) == 0
    assert second.time_us.tolist() == [20, 20]


def test_a_bad_crc_is_counted_once_and_its_bytes_are_junk() -> None:
    damaged = GOOD[:-1] + bytes([GOOD[-1] ^ 1])
    frames, scanner = scan(GOOD + damaged + GOOD)
    assert frames == [GOOD, GOOD]
    assert (scanner.bad_crc, scanner.junk_bytes) == (1, len(damaged))


def test_a_damaged_frame_that_holds_another_counts_once() -> None:
    inner = mavlink_frame(extra=1, payload=b"inner")
    damaged = mavlink_frame(extra=1, payload=inner + bytes(20) + b"end")
    frames, scanner = scan(GOOD + damaged + GOOD)
    assert frames == [GOOD, GOOD]
    assert (scanner.bad_crc, scanner.junk_bytes) == (1, len(damaged))


def test_frames_of_a_foreign_dialect_are_stepped_over() -> None:
    foreign = mavlink_frame(extra=77)
    frames, scanner = scan((GOOD + foreign) * 50 + GOOD)
    assert len(frames) == 51
    assert scanner.bad_crc == 50


def test_bytes_before_the_first_magic_are_junk() -> None:
    frames, scanner = scan(b"boot text\r\n" + GOOD)
    assert frames == [GOOD]
    assert (scanner.bad_crc, scanner.junk_bytes) == (0, 11)


def test_a_frame_hidden_behind_a_false_magic_is_found() -> None:
    assert scan(b"\xfd\x30\x00" + GOOD + GOOD)[0] == [GOOD, GOOD]


def test_an_unknown_id_between_frames_is_kept() -> None:
    frames, scanner = scan(GOOD + UNKNOWN + UNKNOWN + GOOD)
    assert frames == [GOOD, UNKNOWN, UNKNOWN, GOOD]
    assert scanner.junk_bytes == 0


def test_an_unknown_id_that_ends_the_input_is_kept() -> None:
    assert scan(GOOD + UNKNOWN)[0] == [GOOD, UNKNOWN]


def test_an_unknown_id_before_a_torn_frame_is_kept() -> None:
    assert scan(GOOD + UNKNOWN + GOOD[:9])[0] == [GOOD, UNKNOWN]


def test_an_unknown_id_that_nothing_vouches_for_is_junk() -> None:
    frames, scanner = scan(GOOD + UNKNOWN + b"garbage" + GOOD)
    assert frames == [GOOD, GOOD]
    assert scanner.junk_bytes == len(UNKNOWN) + 7


def test_an_unknown_id_that_begins_amid_garbage_is_junk() -> None:
    assert scan(GOOD + b"garbage" + UNKNOWN + GOOD)[0] == [GOOD, GOOD]


def test_an_unknown_id_behind_a_frame_of_a_foreign_dialect_is_kept() -> None:
    assert scan(GOOD + mavlink_frame(extra=77) + UNKNOWN + GOOD)[0] == [GOOD, UNKNOWN, GOOD]


def test_an_unknown_id_from_a_broadcast_address_is_noise() -> None:
    noise = mavlink_frame(msgid=UNKNOWN_ID, sysid=0)
    assert scan(GOOD + noise + GOOD)[0] == [GOOD, GOOD]


def test_a_live_unknown_frame_waits_for_the_next_frame_only() -> None:
    scanner = Scanner()
    assert len(scanner.feed(GOOD + UNKNOWN, 1)) == 1
    assert len(scanner.feed(GOOD, 2)) == 2


def test_unsupported_flags_are_no_frame() -> None:
    frame = bytearray(GOOD)
    frame[2] = 2
    assert scan(bytes(frame))[0] == []


def test_a_finished_scanner_starts_afresh() -> None:
    scanner = Scanner()
    scanner.feed(GOOD[:-3], 0)
    scanner.finish()
    assert scanner.pending_bytes == 0
    assert len(scanner.feed(GOOD, 0)) == 1

"""Damaged and hostile ULogs: what can be read is played, the rest is refused; nothing else is ever raised."""

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.framing import Scanner
from firmware_bridge.ulog_player import play_ulog
from firmware_bridge.ulog_scan import MAGIC
from shared.errors import Refused
from tests.fix_ulog import hover

WHOLE = bytes(hover(seconds=2))


def plays_or_is_refused(data: bytes) -> None:
    try:
        flight = play_ulog(data)
    except Refused as e:
        assert e.reason in ("log_format", "log_damaged")
        return
    scanner = Scanner()
    assert len(scanner.feed(flight.frames.data, 0)) == len(flight.frames)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(WHOLE)))
def test_changed_bytes_and_a_cut_end(changes: list[tuple[int, int]], end: int) -> None:
    data = bytearray(WHOLE)
    for at, byte in changes:
        data[at] = byte
    plays_or_is_refused(bytes(data[:end]) if end % 3 == 0 else bytes(data))


@settings(max_examples=40)
@given(st.binary(max_size=300))
def test_garbage_behind_the_magic(data: bytes) -> None:
    plays_or_is_refused(MAGIC + b"\x01" + bytes(8) + data)
    plays_or_is_refused(data)

"""Recorded flights through the codec: every byte comes back, and the size stays what it is promised to be."""

from pathlib import Path

import pytest

from firmware_bridge.tlog import open_log, read_tlog
from shared.codec import decode_blocks, encode_block
from tests.bench.wire import sealed, spans

SIMULATED = ("f0044_copter-quad", "f0089_copter-hexa", "f0142_plane", "f0208_heli", "f0237_quadplane")


@pytest.mark.parametrize("name", SIMULATED)
def test_a_flight_takes_at_most_a_fifth_in_ten_second_envelopes(name: str, flight_data: Path) -> None:
    frames = read_tlog(open_log(flight_data / "flights" / "tlog" / f"{name}.tlog.zst")).frames
    parts = spans(frames, 10_000_000)
    blocks = [encode_block(p) for p in parts]
    assert all(b.frames().equals(p) for b, p in zip(decode_blocks(blocks), parts, strict=True))
    assert sum(map(len, sealed(blocks, parts))) <= 0.20 * len(frames.data)


@pytest.mark.parametrize("seconds", [2, 60])
def test_real_logs_come_back_byte_for_byte(seconds: int, flight_data: Path) -> None:
    for log in sorted((flight_data / "real").glob("*.tlog")):
        parts = spans(read_tlog(open_log(log)).frames, seconds * 1_000_000)
        blocks = decode_blocks([encode_block(p) for p in parts])
        assert all(b.frames().equals(p) for b, p in zip(blocks, parts, strict=True)), log.name

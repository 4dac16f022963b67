"""Telemetry logs with every kind of trouble that real ones have; and clean ones, byte for byte."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zstandard

from firmware_bridge.tlog import is_raw, open_log, read_tlog, write_tlog
from shared.errors import Refused
from shared.layouts import LAYOUTS
from tests.fix_frames import UNKNOWN_ID, mavlink_frame

T0 = 1_700_000_000_000_000


def row(i: int, frame: bytes | None = None, order: str = "big", t0: int = T0) -> bytes:
    return (t0 + i * 100_000).to_bytes(8, order) + (frame or mavlink_frame(seq=i % 256))  # type: ignore[arg-type]


CLEAN = b"".join(row(i) for i in range(20))


def test_frames_and_times_come_back() -> None:
    log = read_tlog(CLEAN)
    assert log.frames.time_us.tolist() == [T0 + i * 100_000 for i in range(20)]
    assert log.frames[3] == mavlink_frame(seq=3)
    assert (log.junk_bytes, log.bad_crc, log.unstamped, log.segments) == (0, 0, 0, (0,))


def test_an_empty_log_has_no_frames() -> None:
    assert len(read_tlog(b"").frames) == 0
    assert write_tlog(read_tlog(b"").frames) == b""


def test_a_log_that_starts_mid_frame_loses_that_frame_only() -> None:
    log = read_tlog(CLEAN[13:])
    assert log.frames.time_us.tolist() == [T0 + i * 100_000 for i in range(1, 20)]
    assert log.junk_bytes == len(row(0)) - 13


def test_a_torn_last_frame_is_junk() -> None:
    log = read_tlog(CLEAN[:-4])
    assert len(log.frames) == 19
    assert log.junk_bytes == len(row(19)) - 4


def test_zeros_between_segments_and_a_clock_running_back_are_segments() -> None:
    later = b"".join(row(i, t0=T0 - 522_000_000) for i in range(5))
    log = read_tlog(CLEAN + bytes(12) + later)
    assert log.segments == (0, 20)
    assert log.junk_bytes == 12
    assert log.frames.time_us[20] == T0 - 522_000_000


def test_little_endian_stamps_are_swapped() -> None:
    log = read_tlog(b"".join(row(i, order="little") for i in range(20)))
    assert log.swapped
    assert write_tlog(log.frames) == CLEAN


def test_frames_of_a_foreign_dialect_are_skipped_and_counted() -> None:
    data = b"".join(row(i) + row(i, mavlink_frame(extra=9)) for i in range(30))
    log = read_tlog(data)
    assert (len(log.frames), log.bad_crc) == (30, 30)
    assert log.junk_bytes == 30 * len(row(0))


def test_lost_bytes_inside_a_frame_cost_that_frame_only() -> None:
    cut = 5 * len(row(0)) + 15
    log = read_tlog(CLEAN[:cut] + CLEAN[cut + 3 :])
    assert len(log.frames) == 19
    assert log.frames.time_us.tolist() == [T0 + i * 100_000 for i in range(20) if i != 5]


def test_an_unknown_id_is_kept_with_its_stamp() -> None:
    data = CLEAN + row(20, mavlink_frame(msgid=UNKNOWN_ID, payload=b"xyz")) + row(21)
    assert write_tlog(read_tlog(data).frames) == data


def test_a_damaged_stamp_is_kept_as_it_is() -> None:
    data = row(0) + b"\x80" + bytes(7) + mavlink_frame() + row(1)
    assert write_tlog(read_tlog(data).frames) == data


def test_garbage_before_a_frame_found_behind_damage_is_no_stamp() -> None:
    log = read_tlog(CLEAN + b"\xff" * 40 + mavlink_frame())
    assert (len(log.frames), log.unstamped, log.junk_bytes) == (21, 1, 40)
    assert log.frames.time_us[20] == log.frames.time_us[19]


def test_the_offset_is_added_to_every_stamp() -> None:
    log = read_tlog(CLEAN)
    assert read_tlog(write_tlog(log.frames, 5)).frames.time_us[0] == T0 + 5


def attitude(boot_ms: int) -> bytes:
    payload = np.zeros(1, LAYOUTS[30].dtype)
    payload["time_boot_ms"] = boot_ms
    return mavlink_frame(30, payload.tobytes())


def test_a_raw_dump_takes_its_times_from_the_vehicle_and_runs_on_over_a_reboot() -> None:
    boots = [*range(50_000, 60_000, 1000), *range(1_000, 5_000, 1000)]
    data = b"".join(attitude(ms) + mavlink_frame() for ms in boots)
    log = read_tlog(data)
    assert is_raw(data) and not log.stamped
    assert log.frames.data == data
    assert log.segments == (0, 20)
    assert log.frames.time_us[::2].tolist() == [
        *range(0, 10_000_000, 1_000_000),
        *range(9_000_000, 13_000_000, 1_000_000),
    ]


@pytest.mark.parametrize("pack", [lambda d: d, gzip.compress, zstandard.ZstdCompressor().compress])
def test_packed_logs_are_told_by_content(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "misnamed.log"
    path.write_bytes(pack(CLEAN))
    assert open_log(path) == CLEAN


def test_a_log_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(bytes(5_000_000)))
    with pytest.raises(Refused, match="log_too_large"):
        open_log(path, max_bytes=1_000_000)


def test_a_bomb_costs_little_memory_whatever_a_log_may_hold(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(bytes(200 << 20)))
    tracemalloc.start()
    with pytest.raises(Refused, match="log_too_large"):
        open_log(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150 << 20


def test_damaged_packing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(CLEAN)[:10] + b"\xff" * 50)
    with pytest.raises(Refused, match="log_damaged"):
        open_log(path)

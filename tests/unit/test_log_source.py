"""Recorded logs are told by content, whatever their names, packing and first bytes."""

import gzip
import io
import os
import zipfile
from pathlib import Path

import pytest
import zstandard

from firmware_bridge.log_source import LogSource, log_sources
from shared.errors import Refused
from tests.fix_dataflash import dataflash_log
from tests.fix_tlog import flight_frames, raw_dump, tlog
from tests.fix_ulog import ulog_log

BIN = dataflash_log(4.0, rate_hz=10)
ULG = ulog_log(4)
TLOG = tlog(flight_frames(10))
RAW = raw_dump(flight_frames(10))
TEXT = (
    b"ArduCopter V3.1 (5c6503e2)\r\nFree RAM: 1331\r\nFMT, 128, 89, FMT, BBnNZ, Type,Length,Name,Format,Columns\r\n"
    b"FMT, 4, 45, GPS, BIHBcLLeeEefI, Status,TimeMS,Week,NSats,HDop,Lat,Lng,RelAlt,Alt,Spd,GCrs,VZ,T\r\n"
)


def _zip(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _all(source: LogSource, size: int = 1 << 20) -> bytes:
    return b"".join(source.pieces(size))


@pytest.mark.parametrize(
    ("data", "expected"),
    [(BIN, "dataflash"), (ULG, "ulog"), (TLOG, "tlog"), (RAW, "raw"), (TEXT, "dataflash-text")],
)
def test_each_format_is_told_by_its_content(data: bytes, expected: str) -> None:
    assert LogSource(data, "lies.txt").format == expected


@pytest.mark.parametrize(
    ("data", "expected"), [(BIN, "dataflash"), (TLOG, "tlog"), (RAW, "raw"), (TEXT, "dataflash-text")]
)
@pytest.mark.parametrize("lost", [1, 5, 13])
def test_a_log_that_lost_its_first_bytes_is_still_told(data: bytes, expected: str, lost: int) -> None:
    assert LogSource(data[lost:]).format == expected


@pytest.mark.parametrize(("data", "expected"), [(BIN, "dataflash"), (ULG, "ulog"), (TLOG, "tlog"), (RAW, "raw")])
def test_a_log_behind_a_megabyte_of_zeros_is_still_told(data: bytes, expected: str) -> None:
    assert LogSource(bytes(1_000_003) + data).format == expected


def test_a_ulog_whose_header_is_torn_is_told_by_its_definitions() -> None:
    assert LogSource(ULG[9:]).format == "ulog"


def test_a_tlog_that_carries_a_dataflash_download_is_a_tlog() -> None:
    from tests.fix_tlog import mavlink_message

    chunk = [(i / 100, mavlink_message("LOG_DATA", id=1, ofs=90 * i, count=90, data=list(BIN[90 * i : 90 * i + 90])))
             for i in range(40)]  # fmt: skip
    assert LogSource(tlog(chunk)[3:]).format == "tlog"


@pytest.mark.parametrize("data", [os.urandom(300_000), b"hello, world\n" * 1000, bytes(200_000), b"\xfd" * 5000, b"PK"])
def test_what_is_no_log_is_refused_with_its_reason(data: bytes) -> None:
    with pytest.raises(Refused) as refused:
        LogSource(data, "notes")
    assert refused.value.reason == "log_format"


def test_no_bytes_at_all_are_an_empty_log() -> None:
    with pytest.raises(Refused) as refused:
        LogSource(b"")
    assert refused.value.reason == "log_empty"


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress, lambda d: _zip(log=d)])
def test_packed_logs_are_read_as_they_are(pack, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "card.dat"
    path.write_bytes(pack(BIN))
    source = LogSource(path)
    assert source.format == "dataflash"
    assert _all(source, 1000) == BIN
    assert source.torn == ""


def test_frames_packed_one_behind_the_other_are_one_log() -> None:
    packed = zstandard.ZstdCompressor().compress(BIN[:7000]) + zstandard.ZstdCompressor().compress(BIN[7000:])
    assert _all(LogSource(packed)) == BIN


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_packed_log_that_is_cut_gives_what_can_be_unpacked_and_says_so(pack) -> None:  # type: ignore[no-untyped-def]
    noise = BIN + os.urandom(200_000)
    source = LogSource(pack(noise)[:-60_000])
    got = _all(source)
    assert 0 < len(got) < len(noise)
    assert noise.startswith(got)
    assert source.torn


def test_a_packed_file_that_cannot_be_opened_at_all_is_damaged() -> None:
    with pytest.raises(Refused) as refused:
        LogSource(gzip.compress(BIN)[:12])
    assert refused.value.reason == "log_damaged"


def test_every_log_of_a_zip_is_found_and_the_rest_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "card.zip"
    inner = _zip(x=BIN)
    path.write_bytes(
        _zip(**{"LOGS/1.BIN": BIN, "readme.txt": b"hi", "2.ulg": ULG, "more.zip": inner, "3": gzip.compress(TLOG)})
    )
    found = log_sources(path)
    assert [(s.name, s.format) for s in found] == [
        ("card.zip/LOGS/1.BIN", "dataflash"), ("card.zip/2.ulg", "ulog"), ("card.zip/3", "tlog"),
    ]  # fmt: skip
    assert [_all(s) for s in found] == [BIN, ULG, TLOG]


def test_a_zip_of_several_logs_is_no_single_log() -> None:
    with pytest.raises(Refused, match="2 logs"):
        LogSource(_zip(a=BIN, b=ULG))


def test_a_zip_without_a_log_and_a_torn_zip_are_refused() -> None:
    for data, reason in ((_zip(a=b"text"), "log_format"), (_zip(a=BIN)[:-30], "log_damaged")):
        with pytest.raises(Refused) as refused:
            log_sources(data, "x.zip")
        assert refused.value.reason == reason


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress, lambda d: _zip(log=d)])
def test_what_is_packed_to_fill_memory_is_refused(pack) -> None:  # type: ignore[no-untyped-def]
    source = LogSource(pack(BIN + bytes(200 << 20)))
    with pytest.raises(Refused) as refused:
        sum(map(len, source.pieces()))
    assert refused.value.reason == "log_too_large"


def test_an_absent_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing"):
        LogSource(tmp_path / "nothing")

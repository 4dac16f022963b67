"""`dbx inspect`: what it prints for people and scripts, and how it exits."""

import json
from pathlib import Path

import pytest

from firmware_bridge.inspect import iso, main
from tests.fix_dataflash import dataflash_log
from tests.fix_tlog import flight_frames, tlog
from tests.fix_ulog import ulog_log


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A card: three logs and something else."""
    (tmp_path / "APM").mkdir()
    (tmp_path / "APM" / "00000001.BIN").write_bytes(dataflash_log(20.0, armed_s=2.0, disarmed_s=18.0))
    (tmp_path / "flight.log").write_bytes(tlog())
    (tmp_path / "log.ulg").write_bytes(ulog_log(10)[:-12])
    (tmp_path / "LASTLOG.TXT").write_bytes(b"1")
    return tmp_path


def _objects(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_object_per_log_on_a_line_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--json"]) == 0
    told = _objects(capsys.readouterr().out)
    assert [t["format"] for t in told] == ["dataflash", "tlog", "ulog"]
    assert {
        "file", "format", "firmware", "version", "vehicle", "messages", "first_utc", "last_utc", "time_source",
        "duration_s", "sessions", "damage",
    } <= set(told[0])  # fmt: skip


def test_the_object_says_what_the_log_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder / "APM" / "00000001.BIN"), "--json"]) == 0
    (told,) = _objects(capsys.readouterr().out)
    assert (told["firmware"], told["version"], told["vehicle"]) == ("ArduCopter", "4.5.7", "copter")
    assert told["messages"]["GPS"] == 100  # type: ignore[index]
    assert told["rates_hz"]["GPS"] == pytest.approx(5, abs=0.1)  # type: ignore[index]
    assert told["time_source"] == "gps"
    assert str(told["first_utc"]).startswith("2024-11-1")
    assert told["duration_s"] == pytest.approx(20, abs=0.2)
    (session,) = told["sessions"]  # type: ignore[misc]
    assert (round(session["start_s"], 1), round(session["end_s"], 1), session["inferred"]) == (2.0, 18.0, False)
    assert told["damage"] == []


def test_damage_is_told_by_place_size_and_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder / "log.ulg"), "--json"]) == 0
    (told,) = _objects(capsys.readouterr().out)
    (damage,) = told["damage"]  # type: ignore[misc]
    assert damage["offset"] + damage["bytes"] == told["size_bytes"]
    assert damage["reason"] == "torn_end"


def test_people_are_told_in_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder / "APM" / "00000001.BIN")]) == 0
    text = capsys.readouterr().out
    assert "ArduCopter 4.5.7" in text
    assert "0:02.0 to 0:18.0, armed for 16.0 s" in text
    assert "by GPS" in text
    assert "damage      none" in text


def test_a_log_without_a_wall_clock_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(dataflash_log(5.0, has_gps=False))
    assert main([str(path), "--json"]) == main([str(path)]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    told = json.loads(first)
    assert (told["first_utc"], told["last_utc"], told["time_source"]) == (None, None, "unknown")
    assert any("no wall clock" in line for line in lines)


def test_what_is_no_log_is_an_error_with_its_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder / "LASTLOG.TXT"), "--json"]) == 1
    out, err = capsys.readouterr()
    (told,) = _objects(out)
    assert (told["format"], told["error"]) == (None, "log_format")
    assert "no flight log" in err


def test_an_absent_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent.BIN")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_one_bad_file_does_not_hide_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder / "LASTLOG.TXT"), str(folder / "flight.log"), "--json"]) == 1
    assert [t["format"] for t in _objects(capsys.readouterr().out)] == [None, "tlog"]


def test_seconds_of_boots_stand_one_behind_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.tlog"
    path.write_bytes(tlog() + tlog(flight_frames(20, (3.0, 15.0)), start_us=1_740_000_000_000_000))
    main([str(path), "--json"])
    (told,) = _objects(capsys.readouterr().out)
    starts = [round(s["start_s"], 1) for s in told["sessions"]]  # type: ignore[index, attr-defined, union-attr]
    assert starts == [5.0, pytest.approx(33.0, abs=0.2)]
    assert len(told["boots"]) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("us", "text"), [(None, None), (-1, None), (1 << 62, None), (1_700_000_000_123_456, "2023-11-14T22:13:20.123Z")]
)
def test_moments_are_iso_8601(us: int | None, text: str | None) -> None:
    assert iso(us) == text

"""`dbx export`: what it writes, where, and what it says."""

import json
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from mcap.reader import make_reader

from hub.export.cli import main
from tests.fix_dataflash import dataflash_log
from tests.fix_private_logs import SECRETS, dataflash, secret_flight
from tests.fix_ulog import ulog_log


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two logs and something else, and the current folder beside it."""
    card, here = tmp_path / "card", tmp_path / "here"
    card.mkdir(), here.mkdir()
    (card / "00000042.BIN").write_bytes(dataflash_log(30.0))
    (card / "log7.ulg").write_bytes(ulog_log(20))
    (card / "holiday.jpg").write_bytes(b"\xff\xd8" * 500)
    monkeypatch.chdir(here)
    return card


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("format", ["csv", "parquet", "mcap", "geojson", "kml", "gpx", "original"])
def test_every_format_is_written_beside_you_under_the_logs_name(card: Path, format: str, capsys) -> None:
    assert main([str(card / "00000042.BIN"), "--format", format, "--json"]) == 0
    (result,) = told(capsys)
    path = Path(f"00000042.{'bin' if format == 'original' else format}")
    assert result["out"] == [str(path)] and result["bytes"] == path.stat().st_size > 0 and result["private"] is None


def test_several_logs_go_into_a_folder_and_one_that_is_none_is_said(card: Path, capsys) -> None:
    files = [str(p) for p in sorted(card.iterdir())]
    assert main([*files, "--format", "csv", "--out", "all", "--json"]) == 1
    results = told(capsys)
    assert sorted(p.name for p in Path("all").iterdir()) == ["00000042.csv", "log7.csv"]
    assert [r for r in results if "no flight log" in str(r.get("error"))]


def test_channels_and_messages_are_what_was_asked_for(card: Path, capsys) -> None:
    log = str(card / "00000042.BIN")
    assert main([log, "--format", "csv", "--channels", "battery_v,lat_deg", "--out", "a.csv"]) == 0
    assert pyarrow.csv.read_csv("a.csv").column_names == ["time_utc_us", "time", "lat_deg", "battery_v"]
    assert main([log, "--format", "parquet", "--messages", "IMU", "--out", "imu.parquet"]) == 0
    imu = pyarrow.parquet.read_table("imu.parquet")
    assert imu.num_rows == 1500 and set(imu.column("instance").to_pylist()) == {0, 1}
    assert main([log, "--format", "csv", "--messages", "ATT,GPS", "--out", "both"]) == 0
    assert sorted(p.name for p in Path("both").iterdir()) == ["ATT.csv", "GPS.csv"]
    gps = pyarrow.csv.read_csv("both/GPS.csv")
    assert abs(gps.column("Lat")[0].as_py() - 52.0116) < 1e-6 and gps.column("time_utc_us")[0].as_py() > 1.7e15


def test_mcap_holds_every_message_of_the_log_in_its_units(card: Path) -> None:
    assert main([str(card / "00000042.BIN"), "--format", "mcap", "--out", "a.mcap"]) == 0
    with Path("a.mcap").open("rb") as stream:
        reader = make_reader(stream)
        counts = {c.topic: n for c, n in ((reader.get_summary().channels[k], v) for k, v in
                  reader.get_summary().statistics.channel_message_counts.items())}  # fmt: skip
        imu = [json.loads(m.data) for _, _, m in reader.iter_messages("/messages/IMU")]
        track = [m.log_time for _, _, m in reader.iter_messages("/track")]
    assert counts["/messages/IMU"] == counts["/messages/IMU/1"] == 750 and counts["/messages/GPS"] == 150
    assert abs(imu[0]["AccZ"] + 9.81) < 0.01 and np.diff(track).min() >= 0
    assert {"/attitude", "/power", "/motion"} <= counts.keys()


def test_the_original_is_the_log_itself_and_the_log_is_never_written_over(card: Path) -> None:
    log = card / "00000042.BIN"
    before = log.read_bytes()
    assert main([str(log), "--format", "original", "--out", "copy.bin"]) == 0
    assert Path("copy.bin").read_bytes() == before
    assert main([str(log), "--format", "original", "--private", "--out", str(log)]) == 1
    assert log.read_bytes() == before


def test_a_private_export_is_not_named_after_its_log_and_has_a_report_beside_it(card: Path, capsys) -> None:
    (card / "Oerlikon.BIN").write_bytes(dataflash(secret_flight()))
    assert main([str(card / "Oerlikon.BIN"), "--format", "kml", "--private"]) == 0
    assert sorted(p.name for p in Path().iterdir()) == ["private-1.kml", "private-1.kml.left-out.json"]
    assert not [s for s in SECRETS if s in Path("private-1.kml").read_text()]
    assert "left-out.json" in capsys.readouterr().out


def test_a_seed_is_made_once_for_its_owner_alone_and_lays_exports_together(card: Path) -> None:
    (card / "f.BIN").write_bytes(dataflash(secret_flight()))
    for name in ("a", "b"):
        command = [str(card / "f.BIN"), "--format", "geojson", "--private", "--private-seed", "seed", "--out", name]
        assert main(command) == 0
    assert Path("a").read_bytes() == Path("b").read_bytes()
    assert Path("seed").stat().st_mode & 0o077 == 0
    Path("seed").write_text("none")
    assert main([str(card / "f.BIN"), "--format", "kml", "--private", "--private-seed", "seed"]) == 2


@pytest.mark.parametrize(
    "wrong", [["--channels", "no_such"], ["--messages", "ATT"], ["--private-time"], ["--private-seed", "s"]]
)
def test_what_cannot_be_is_refused_before_anything_is_written(card: Path, wrong: list[str], capsys) -> None:
    assert main([str(card / "log7.ulg"), "--format", "kml", *wrong]) == 2
    assert list(Path().iterdir()) == [] and "dbx export:" in capsys.readouterr().err

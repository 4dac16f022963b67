"""`dbx analyze`: any log without a hub, an object per file."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.log_source import LogSource
from hub import analyze
from tests.fix_model_flights import FLIGHTS

SEED = {
    "detected_aircraft_type", "aircraft_confidence", "anomaly_detected", "risk_score", "risk_level", "shap_values",
    "ai_report_content",
}  # fmt: skip
MOTOR, GUSTS = FLIGHTS / "motor_fail.tlog.zst", FLIGHTS / "gusts.tlog.zst"


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """The object of the flight whose motor fails."""
    analyze._load()
    return analyze.analyzed(str(MOTOR))


def unpacked(path: Path) -> bytes:
    return b"".join(LogSource(path).pieces())


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and the objects printed."""
    status = analyze.main([*args, "--json", "--jobs", "1"])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_object_has_the_seeds_shape_and_the_findings(told: dict[str, Any]) -> None:
    assert told.keys() == SEED | {"file", "findings", "flight_hours", "flights", "model"}
    assert told["detected_aircraft_type"] == "copter"
    assert told["anomaly_detected"] is True
    assert told["risk_level"] == "CRITICAL"
    (finding,) = told["findings"]
    assert finding.keys() >= {
        "start_utc_us", "end_utc_us", "start_boot_s", "end_boot_s", "kind", "score", "severity", "evidence",
        "probability",
    }  # fmt: skip
    assert finding["kind"] == "motor_fail"
    assert json.loads(json.dumps(told)) == told


def test_times_are_utc_and_seconds_since_the_autopilot_was_powered_up(told: dict[str, Any]) -> None:
    from firmware_bridge.log_survey import survey

    (boot,) = survey(LogSource(MOTOR)).boots
    finding = told["findings"][0]
    assert boot.boot_us is not None
    powered_up_us = boot.first_us + boot.clock.offset_us() - boot.boot_us
    since_us = finding["start_utc_us"] - powered_up_us
    assert since_us / 1e6 == pytest.approx(finding["start_boot_s"], abs=0.01)
    assert finding["end_boot_s"] > finding["start_boot_s"] > boot.boot_us / 1e6


def test_flight_hours_are_seconds_in_the_air(told: dict[str, Any]) -> None:
    assert 15 < told["flight_hours"] * 3600 < 26


def test_shap_values_add_up_to_a_probability(told: dict[str, Any]) -> None:
    for values in (told["shap_values"], told["findings"][0]["shap_values"]):
        assert 0 <= sum(v["shap"] for v in values) <= 1.0001


@pytest.mark.parametrize("packing", ["plain", "gzip", "zip"])
def test_a_log_is_told_alike_however_it_is_packed(told: dict[str, Any], tmp_path: Path, packing: str) -> None:
    path, log = tmp_path / "flight", unpacked(MOTOR)
    if packing == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("flight.tlog", log)
    else:
        path.write_bytes(gzip.compress(log) if packing == "gzip" else log)
    ids = {"file", "model"}
    assert {k: v for k, v in analyze.analyzed(str(path)).items() if k not in ids} == {
        k: v for k, v in told.items() if k not in ids
    }


def test_several_flights_of_one_file_give_all_findings_and_the_worst_risk(told: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.tlog", unpacked(GUSTS))
        archive.writestr("b.tlog", unpacked(MOTOR))
    both = analyze.analyzed(str(path))
    calm = analyze.analyzed(str(GUSTS))
    assert both["flights"] == 2
    assert both["risk_score"] == told["risk_score"] > calm["risk_score"]
    assert [f["kind"] for f in both["findings"]] == ["motor_fail"]
    assert both["flight_hours"] == pytest.approx(told["flight_hours"] + calm["flight_hours"], abs=2e-5)
    assert "Flight 1 of 2." in both["ai_report_content"]


def test_a_file_that_cannot_be_read_is_said_and_the_others_are_analysed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    noise = tmp_path / "noise.bin"
    noise.write_bytes(bytes(range(256)) * 8)
    status, objects = run(capsys, str(noise), str(GUSTS), str(tmp_path / "absent.BIN"))
    assert status == 1
    assert [o["file"] for o in objects] == [str(noise), str(GUSTS), str(tmp_path / "absent.BIN")]
    assert [o.get("error") for o in objects] == ["log_format", None, "unreadable"]
    assert objects[1]["anomaly_detected"] is False


def test_all_read_is_exit_zero(capsys: pytest.CaptureFixture[str]) -> None:
    status, objects = run(capsys, str(GUSTS))
    assert (status, len(objects)) == (0, 1)


def test_a_log_without_a_flight_is_no_anomaly(tmp_path: Path) -> None:
    from tests.fix_fleet import flight_frames

    frames = flight_frames(0, 20_000_000, armed=False)
    path = tmp_path / "bench.raw"
    path.write_bytes(bytes(frames.data))
    analyze._load()
    found = analyze.analyzed(str(path))
    assert (found["anomaly_detected"], found["flight_hours"], found["findings"]) == (False, 0, [])
    assert "never armed" in found["ai_report_content"]


def test_without_json_the_report_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert analyze.main([str(MOTOR), "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{MOTOR}\nAircraft: copter")
    assert "Inspect first (motor failure" in out


@pytest.mark.slow
def test_several_processes_say_what_one_says(capsys: pytest.CaptureFixture[str]) -> None:
    status, alone = run(capsys, str(MOTOR), str(GUSTS))
    assert analyze.main([str(MOTOR), str(GUSTS), "--json", "--jobs", "2"]) == status == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == alone


def test_a_torn_log_is_judged_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "torn.tlog.gz"
    packed = gzip.compress(unpacked(MOTOR))
    path.write_bytes(packed[: len(packed) * 6 // 10])
    analyze._load()
    found = analyze.analyzed(str(path))
    assert "error" not in found
    assert found["flight_hours"] > 0

"""`dbx doctor`: one line per precondition, with what to do."""

import json
import socket
from pathlib import Path

import pytest

from hub import doctor
from hub.settings import HubSettings


def line(settings: HubSettings, name: str) -> doctor.Line:
    return next(each for each in doctor.examine(settings) if each.name == name)


def test_a_port_in_use_is_named_with_the_setting_that_changes_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = line(HubSettings(data_dir=tmp_path, api_port=taken.getsockname()[1]), "API port")
    assert not found.ok
    assert "DBX_API_PORT" in found.text


def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    found = line(HubSettings(data_dir=tmp_path, database_url="postgresql://nobody@127.0.0.1:1/x"), "database")
    assert not found.ok
    assert found.text.startswith("DBX_DATABASE_URL")


def test_wrong_settings_are_lines_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBX_BROKER", "kafka")
    assert doctor.main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["text"].startswith("DBX_BROKER")


def test_a_sound_machine_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DBX_API_PORT", str(free.getsockname()[1]))
    assert doctor.main(["--data", str(tmp_path)]) == 0
    assert "FAILED" not in capsys.readouterr().out

"""The dbx command: fast to start, clear when called wrongly."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared import command

ROOT = Path(__file__).resolve().parents[2]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = {words[0] for words in lines if words}
    assert set(command.COMMANDS) | {"test", "bench"} <= shown


def test_help_starts_in_less_than_half_a_second() -> None:
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "shared.command", "--help"], cwd=ROOT, check=True, capture_output=True)
        spent.append(time.perf_counter() - start)
    assert min(spent) < 0.5


def test_an_unknown_command_is_refused_with_a_pointer(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["flyy"]) == 2
    assert "dbx --help" in capsys.readouterr().err


def test_a_bench_is_found_by_the_name_of_its_file_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["bench", "../../etc/passwd"]) == 2
    assert "benches:" in capsys.readouterr().err


def test_a_part_that_is_not_installed_is_named_with_its_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(command.COMMANDS, "hub", ("no_such_module_here", "hub"))
    assert command.main(["hub", "up"]) == 2
    assert "dbx-aviation[hub]" in capsys.readouterr().err


def test_the_version_is_the_one_in_pyproject(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out.split()[1] in (ROOT / "pyproject.toml").read_text()

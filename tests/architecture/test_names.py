"""Files are named for the thing they hold."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = {"utils", "util", "helpers", "helper", "common", "manager", "core", "base", "misc"}
SOURCES = ("shared", "firmware_bridge", "agent", "models", "hub", "tests", "deploy")


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    return [Path(line) for line in listing.stdout.splitlines()] or [
        path.relative_to(ROOT) for folder in SOURCES for path in (ROOT / folder).rglob("*") if path.is_file()
    ]


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    assert [str(path) for path in tracked() if {Path(part).stem for part in path.parts} & FORBIDDEN] == []


def test_the_repository_stays_small() -> None:
    sizes = {path: (ROOT / path).stat().st_size for path in tracked() if (ROOT / path).is_file()}
    assert {path: size for path, size in sizes.items() if size > 2 * 1024 * 1024} == {}

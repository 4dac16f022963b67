"""The settings of the agent."""

import re
from pathlib import Path

import pytest

from agent import settings
from agent.settings import SettingsError

ROOT = Path(__file__).resolve().parents[2]


def test_all_mistakes_are_reported_at_once() -> None:
    tree = {"colour": 1, "link": {"kind": "pigeon", "baud": 5, "wings": 2}, "uplink": {"port": "x"}, "recording": 3}
    with pytest.raises(SettingsError) as caught:
        settings.parse(tree, Path("/"))
    named = {line.split(":")[0] for line in caught.value.mistakes}
    assert named == {"colour", "link.kind", "link.baud", "link.wings", "uplink.port", "recording"}


def test_an_empty_file_gives_the_defaults() -> None:
    assert settings.parse({}, Path("/")) == settings.AgentSettings()


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text('data_dir = "d"\n[link]\nkind = "file"\npath = "x.tlog"\nspeed = "max"\n')
    found = settings.load(tmp_path / "agent.toml")
    assert found.data_dir == tmp_path / "d" and found.identity_dir == tmp_path / "d" / "identity"
    assert (found.link.path, found.link.speed) == (str(tmp_path / "x.tlog"), "max")


def test_a_file_that_is_not_toml_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text("= 3")
    with pytest.raises(SettingsError, match="not TOML"):
        settings.load(tmp_path / "agent.toml")


def test_true_is_no_number() -> None:
    with pytest.raises(SettingsError):
        settings.parse({"uplink": {"port": True}}, Path("/"))


def test_every_key_is_documented_with_its_default_and_no_other() -> None:
    text = (ROOT / "docs" / "agent-config.md").read_text().partition("## What it writes")[0]
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| `?([^|`]*)`? \|", text, re.M))
    assert set(rows) == set(settings.keys())
    for name, shown in rows.items():
        default = settings.default_of(name)
        said = {True: "true", False: "false"}.get(default, str(default)) if isinstance(default, bool) else str(default)
        assert shown.strip() == (said or "empty"), name

"""What can be set or called is documented, and what deploy/ holds is what the code writes."""

import argparse
import importlib
import re

import pytest

from hub.embedded.files import installed_configuration
from hub.settings import DATA, VARIABLES
from shared.command import COMMANDS, HELP, ROOT

SOURCES = ("shared", "firmware_bridge", "agent", "models", "hub")
PARTS = [
    name
    for name in ("agent", "hub", "models")
    if (ROOT / COMMANDS[name][0].replace(".", "/")).with_suffix(".py").exists()
]


class Seen(Exception):
    """Carries a parser out of the command that would have used it."""


def parser_of(module: str, monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    def stop(self: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Seen(self)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(Seen) as seen:
        importlib.import_module(module).main([])
    found = seen.value.args[0]
    assert isinstance(found, argparse.ArgumentParser)
    return found


def commands(parser: argparse.ArgumentParser, before: str) -> dict[str, argparse.ArgumentParser]:
    """Every command below a parser by its full words: "hub org create" -> its parser."""
    found = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                deeper = commands(inner, f"{before} {name}")
                found |= deeper or {f"{before} {name}": inner}
    return found


@pytest.mark.parametrize("part", PARTS)
def test_every_command_is_in_the_list_of_commands_with_its_options(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    missing = []
    for words, parser in commands(parser_of(COMMANDS[part][0], monkeypatch), part).items():
        section = re.search(rf"^#+ `dbx {re.escape(words)}\b.*?(?=^#|\Z)", text, re.M | re.S)
        if not section:
            missing.append(f"dbx {words}")
            continue
        options = [
            o for action in parser._actions for o in action.option_strings if o.startswith("--") and o != "--help"
        ]
        missing += [
            f"dbx {words} {option}" for option in options if option not in section.group() and option != "--data"
        ]
    assert missing == []


@pytest.mark.parametrize("part", PARTS)
def test_the_first_words_of_every_command_are_in_the_help(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    block = re.search(rf"^  {part} .*?(?=^  \S|\Z)", HELP, re.M | re.S)
    assert block
    found = {words.split()[1] for words in commands(parser_of(COMMANDS[part][0], monkeypatch), part)}
    assert found - set(block.group().split()) == set()


def test_every_environment_variable_is_in_the_settings_document() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    named = {DATA, *VARIABLES}
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            named |= set(re.findall(r'["\'](DBX_[A-Z0-9_]*[A-Z0-9])["\']', path.read_text()))
    assert {name for name in named if f"`{name}`" not in text} == set()


def test_the_settings_document_names_no_variable_that_nothing_reads() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    code = "".join(path.read_text() for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))
    assert {name for name in re.findall(r"`(DBX_[A-Z_]+)`", text) if f'"{name}"' not in code} == set()


@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_the_broker_files_in_deploy_are_those_that_the_code_writes(kind: str) -> None:
    for name, text in installed_configuration(kind).items():
        assert (ROOT / "deploy" / kind / name).read_text() == text


@pytest.mark.parametrize("path", ["README.md", "docs", "deploy", "tests", "CONTRIBUTING.md"])
def test_links_and_named_documents_exist(path: str) -> None:
    files = [ROOT / path] if path.endswith(".md") else sorted((ROOT / path).rglob("*.md"))
    broken = [
        f"{file.relative_to(ROOT)}: {target}"
        for file in files
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text())
        if not (file.parent / target).exists() and not (ROOT / target).exists()
    ]
    assert broken == []

"""`dbx agent import`: which files, whose logs, and what is said of them."""

import json
import uuid
from pathlib import Path

import pytest

from agent import cli, imports_store
from agent.imports_fleet import Fleet, Owner
from agent.imports_run import Import, Outcome, find_files
from shared.errors import Refused
from tests.fix_imports import Station, write_log


def run(station: Station, *args: str | Path) -> int:
    return cli.main([*map(str, args), "--config", str(station.config)])


def outcomes(station: Station, folder: Path, said: str | None = None, ask: object = None) -> list[Outcome]:
    queue = station.queue()
    found = Import(queue, said, False, ask, lambda _what, _n: None)  # type: ignore[arg-type]
    return list(found.run(find_files([folder], queue.folder)))


def teach(station: Station, aircraft: uuid.UUID, name: str, *hardware_ids: str) -> None:
    """What the hub says of an aircraft."""
    fleet = [{"aircraft_id": str(aircraft), "name": name, "hardware_ids": list(hardware_ids)}]
    Fleet(station.queue()).take(json.dumps({"aircraft": fleet}).encode())


def test_a_folder_is_imported_with_all_below_and_what_is_no_log_is_passed(
    station: Station, capsys: pytest.CaptureFixture[str]
) -> None:
    card = station.folder / "card"
    write_log(card / "APM" / "LOGS" / "1.BIN", 8)
    write_log(card / "2.log", 9)
    (card / "notes.txt").write_text("not a flight log")
    assert run(station, "import", card, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["imported"], said["skipped"], said["unassigned"]) == (2, 1, 2)
    assert {Path(f["file"]).name: f["state"] for f in said["files"]} == {
        "1.BIN": "imported", "2.log": "imported", "notes.txt": "skipped",
    }  # fmt: skip
    assert said["queued_bytes"] > 0


def test_a_second_run_over_the_same_folder_is_a_no_op_that_says_so(
    station: Station, capsys: pytest.CaptureFixture[str]
) -> None:
    card = station.folder / "card"
    write_log(card / "1.BIN", 8)
    assert run(station, "import", card) == 0
    assert "UNASSIGNED" in capsys.readouterr().out
    before = (station.data / "imports.db").read_bytes()
    assert run(station, "import", card) == 0
    assert "nothing to do: all 1 logs are imported already" in capsys.readouterr().out
    assert len(before) == (station.data / "imports.db").stat().st_size


def test_a_dry_run_queues_nothing(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    card = station.folder / "card"
    write_log(card / "1.BIN", 8)
    assert run(station, "import", card, "--dry-run") == 0
    assert "would be" in capsys.readouterr().out
    assert station.queue().imports() == []


def test_a_folder_without_any_log_is_said_and_exits_1(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    card = station.folder / "card"
    card.mkdir()
    (card / "a.txt").write_text("nothing")
    assert run(station, "import", card) == 1
    assert "no flight log" in capsys.readouterr().out


def test_a_path_that_is_not_there_exits_2(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(station, "import", station.folder / "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err


def test_without_an_identity_it_says_how_to_enrol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('data_dir = "data"\nidentity_dir = "identity"\n')
    assert cli.main(["import", str(tmp_path), "--config", str(config)]) == 2
    assert "dbx agent enroll" in capsys.readouterr().err


def test_the_chips_that_the_hub_told_of_say_whose_log_it_is(station: Station) -> None:
    write_log(station.folder / "card" / "1.BIN", 8)
    (first,) = outcomes(station, station.folder / "card")
    assert first.hardware_ids and first.aircraft is None
    owner = uuid.uuid4()
    teach(station, owner, "Falke 1", first.hardware_ids[0])
    write_log(station.folder / "card" / "2.BIN", 9)
    again = outcomes(station, station.folder / "card")
    assert [(o.state, o.aircraft_name, o.how) for o in again] == [
        ("already", "unassigned", ""),
        ("imported", "Falke 1", "known"),
    ]


def test_a_chip_that_speaks_for_two_aircraft_is_never_guessed(station: Station) -> None:
    write_log(station.folder / "card" / "1.BIN", 8)
    (first,) = outcomes(station, station.folder / "card")
    for name in ("A", "B"):
        teach(station, uuid.uuid4(), name, *first.hardware_ids)
    write_log(station.folder / "card" / "2.BIN", 9)
    assert outcomes(station, station.folder / "card")[1].aircraft is None


def test_an_aircraft_named_on_the_command_line_is_remembered_for_its_chip(station: Station) -> None:
    owner = uuid.uuid4()
    teach(station, owner, "Falke 1")
    write_log(station.folder / "card" / "1.BIN", 8)
    assert outcomes(station, station.folder / "card", said="falke 1")[0].how == "said"
    write_log(station.folder / "card" / "2.BIN", 9)
    assert outcomes(station, station.folder / "card")[1].aircraft == str(owner)


def test_saying_whose_a_queued_log_is_assigns_it(station: Station) -> None:
    write_log(station.folder / "card" / "1.BIN", 8)
    outcomes(station, station.folder / "card")
    owner = uuid.uuid4()
    (again,) = outcomes(station, station.folder / "card", said=str(owner))
    assert (again.state, again.aircraft) == ("assigned", str(owner))


def test_an_aircraft_that_contradicts_the_chip_is_taken_and_said(station: Station) -> None:
    write_log(station.folder / "card" / "1.BIN", 8)
    (first,) = outcomes(station, station.folder / "card")
    teach(station, uuid.uuid4(), "Falke 1", *first.hardware_ids)
    write_log(station.folder / "card" / "2.BIN", 9)
    other = uuid.uuid4()
    found = outcomes(station, station.folder / "card", said=str(other))
    assert found[1].aircraft == str(other) and "Falke 1" in found[1].why


def test_a_name_that_nobody_or_more_than_one_has_is_refused(station: Station) -> None:
    for _ in range(2):
        teach(station, uuid.uuid4(), "Twin")
    for name in ("Twin", "Nobody"):
        with pytest.raises(Refused, match="aircraft_unknown"):
            outcomes(station, station.folder, said=name)


def test_when_there_is_somebody_to_ask_each_chip_is_asked_for_once(station: Station) -> None:
    owner, asked = uuid.uuid4(), []

    def ask(source: object, _found: object, _fleet: Fleet) -> Owner:
        asked.append(source)
        return Owner(owner, "asked")

    for n in (1, 2, 3):
        write_log(station.folder / "card" / f"{n}.BIN", 7 + n)
    found = outcomes(station, station.folder / "card", ask=ask)
    assert len(asked) == 1 and {o.aircraft for o in found} == {str(owner)}


def test_a_damaged_log_is_imported_and_its_damage_is_told(station: Station) -> None:
    path = write_log(station.folder / "card" / "1.BIN", 8)
    data = bytearray(path.read_bytes())
    data[5000:5400] = bytes(400)
    path.write_bytes(data)
    (found,) = outcomes(station, station.folder / "card")
    assert found.state == "imported" and found.damages >= 1 and 300 < found.damaged_bytes < 800


def test_the_agents_own_folder_is_never_imported(station: Station) -> None:
    write_log(station.folder / "1.BIN", 8)
    write_log(station.data / "offload" / "2.BIN", 9)
    assert [p.name for p in find_files([station.folder], station.data) if p.suffix == ".BIN"] == ["1.BIN"]


def test_what_a_file_held_when_it_was_imported_is_remembered(station: Station) -> None:
    path = write_log(station.folder / "card" / "1.BIN", 8)
    (found,) = outcomes(station, station.folder / "card")
    seen = imports_store.seen_file(station.queue().store.conn, str(path.resolve()))
    assert seen is not None and seen.hex() == found.sha256

"""Fetched logs on disk, and in which order an autopilot's logs are fetched."""

import json
from pathlib import Path

import pytest

from agent.offload_files import MOST_FAILURES, Files, Remote
from agent.offload_sources import FtpLogs, RequestedLogs, Unavailable, is_log_name
from firmware_bridge.mavftp import Exchange, crc32
from firmware_bridge.modes import ARDUPILOT, PX4
from tests.fix_log_server import LogServer
from tests.fix_scripted_autopilot import Faults, converse

LOG = Remote("00000001.BIN", "/APM/LOGS/00000001.BIN", 1000)


def test_what_was_saved_is_there_after_a_power_cut_and_no_more(tmp_path: Path) -> None:
    begun = Files(tmp_path).begin(LOG)
    begun.write(0, b"a" * 300)
    begun.write(500, b"c" * 100)
    begun.save(300)
    begun.write(300, b"b" * 100)
    again = Files(tmp_path).begin(LOG)
    assert again.have == 300 and again.tail() == b"a" * 90


@pytest.mark.parametrize("facts", ["", "[]", "{}", '{"have": 900, "remote": {}}', '{"have": -1}', '{"have": "x"}'])
def test_notes_that_make_no_sense_mean_to_begin_anew(tmp_path: Path, facts: str) -> None:
    begun = Files(tmp_path).begin(LOG)
    begun.write(0, bytes(300))
    begun.save(300)
    next(p for p in tmp_path.glob("*.json")).write_text(facts)
    assert Files(tmp_path).begin(LOG).have == 0


def test_a_file_shorter_than_its_notes_say_is_not_believed(tmp_path: Path) -> None:
    begun = Files(tmp_path).begin(LOG)
    begun.write(0, bytes(300))
    begun.save(300)
    begun.path.write_bytes(bytes(200))
    assert Files(tmp_path).begin(LOG).have == 0


def test_a_whole_log_bears_its_name_and_is_remembered(tmp_path: Path) -> None:
    files, data = Files(tmp_path), bytes(range(250)) * 4
    begun = files.begin(LOG)
    begun.write(500, data[500:])
    begun.write(0, data[:500])
    crc, sha256 = begun.sums()
    path = files.finish(begun, sha256)
    assert crc == crc32(data) and path.read_bytes() == data and path.name == LOG.name
    again = Files(tmp_path)
    assert again.is_settled(LOG) and again.waiting() == [path] and not list(tmp_path.glob("*.part"))
    assert not again.is_settled(Remote(LOG.name, LOG.place, 1001)), "a log that has grown is another"
    again.taken(path)
    assert again.waiting() == [] and not list(again.done.iterdir())


def test_a_log_that_arrives_wrong_is_tried_a_few_times(tmp_path: Path) -> None:
    for _ in range(MOST_FAILURES):
        files = Files(tmp_path)
        assert not files.is_settled(LOG)
        files.failed(files.begin(LOG))
    assert Files(tmp_path).is_settled(LOG)


def test_a_memory_that_is_damaged_is_begun_anew(tmp_path: Path) -> None:
    Files(tmp_path).failed(Files(tmp_path).begin(LOG))
    for text in ("", "[]", '{"known": 3, "failures": {}}', '{"known": {}, "failures": {"a": "b"}}', "\x00"):
        (tmp_path / "known.json").write_text(text)
        assert not Files(tmp_path).is_settled(LOG)


def test_what_the_autopilot_no_longer_has_is_given_up(tmp_path: Path) -> None:
    files, other = Files(tmp_path), Remote("00000002.BIN", "/APM/LOGS/00000002.BIN", 500)
    for remote in (LOG, other):
        begun = files.begin(remote)
        begun.write(0, b"x")
        begun.save(1)
        begun.close()
    files.forget_others([other])
    assert [json.loads(p.read_text())["remote"]["name"] for p in tmp_path.glob("*.json")] == [other.name]
    assert len(list(tmp_path.glob("*.part"))) == 1


def places(files: dict[str, bytes], autopilot: int, style: str) -> list[str]:
    server = LogServer(files, style)

    def talk(exchange: Exchange) -> None:
        converse(exchange, server, Faults(loss=0.05, seed=1))

    return [remote.name for remote in FtpLogs(talk, (1, 1), autopilot, "auto", 0).listed()]


def test_ardupilots_newest_log_is_the_one_that_lastlog_names() -> None:
    files = {f"/APM/LOGS/{i:08d}.BIN": b"x" * i for i in (1, 2, 499, 500)}
    names = [p.rpartition("/")[2] for p in files]
    assert places(files, ARDUPILOT, "ardupilot") == names[::-1]
    wrapped = files | {"/APM/LOGS/LASTLOG.TXT": b"2\r\n"}
    assert places(wrapped, ARDUPILOT, "ardupilot") == [names[i] for i in (1, 0, 3, 2)]
    assert places(files | {"/APM/LOGS/LASTLOG.TXT": b"?"}, ARDUPILOT, "ardupilot") == names[::-1]


def test_px4s_dated_logs_come_before_those_without_a_date() -> None:
    paths = ["sess002/log001.ulg", "sess010/log000.ulg", "2026-05-01/09_00_00.ulg", "2026-05-01/10_00_00.ulg"]
    files = {f"/fs/microsd/log/{p}": b"x" for p in [*paths, "2025-12-31/23_00_00.ulg", "2026-05-01/notes.txt"]}
    assert places(files, PX4, "px4") == [
        "10_00_00.ulg", "09_00_00.ulg", "23_00_00.ulg", "log000.ulg", "log001.ulg",
    ]  # fmt: skip


def test_names_that_are_no_logs_or_would_leave_their_folder_are_passed_over() -> None:
    good = ["00000001.BIN", "10_00_00.ulg", "a.log"]
    bad = ["", ".bin", "../x.bin", "a/b.bin", "a b.bin", "x.txt", "-x.bin", "x.bin\n", "ä.bin", "a" * 100 + ".bin"]
    assert all(map(is_log_name, good)) and not any(map(is_log_name, bad))


def test_an_autopilot_without_a_folder_of_logs_has_none_over_ftp() -> None:
    with pytest.raises(Unavailable):
        places({"/elsewhere/1.BIN": b"x"}, ARDUPILOT, "ardupilot")


def test_requested_logs_are_listed_the_newest_first() -> None:
    server = LogServer({f"/x/{i}.BIN": b"x" * i for i in (1, 2, 3)} | {"/x/0.BIN": b""})
    logs = RequestedLogs(lambda exchange: void(converse(exchange, server)), (1, 1), ARDUPILOT, 0)
    assert [(r.place, r.size) for r in logs.listed()] == [("4", 3), ("3", 2), ("2", 1)]
    with pytest.raises(Unavailable):
        silent = LogServer({}, has_log_request=False)
        RequestedLogs(lambda exchange: void(converse(exchange, silent)), (1, 1), ARDUPILOT, 0).listed()


def void(_: object) -> None:
    """For a lambda that gives nothing."""

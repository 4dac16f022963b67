"""Logs listed and fetched by LOG_REQUEST_*, over links and from autopilots of all kinds."""

import pytest

from firmware_bridge.log_request import LOG_REQUEST_END, PIECE_BYTES, LogEntry, LogFetch, LogListing
from tests.fix_log_server import DATA_REQUEST, END, ENTRY, LIST, LogServer
from tests.fix_scripted_autopilot import Faults, converse, row_of
from tests.unit.test_mavftp import some_bytes

TARGET = (1, 1)
STYLES = ["ardupilot", "px4"]


def logs(*sizes: int) -> dict[str, bytes]:
    return {f"/log/{i:08d}.BIN": some_bytes(n, i) for i, n in enumerate(sizes, 1)}


def listed(server: LogServer, faults: Faults | None = None, is_last: bool = True) -> list[LogEntry]:
    listing = LogListing(TARGET, is_last)
    converse(listing, server, faults)
    assert not listing.failure
    return listing.entries


def whole(fetch: LogFetch, size: int, before: bytes = b"") -> bytes:
    data = bytearray(before.ljust(size, b"\0"))
    for offset, part in fetch.fresh:
        data[offset : offset + len(part)] = part
    return bytes(data)


def asked(server: LogServer) -> list[int]:
    return [msgid for msgid, _ in server.requests]


@pytest.mark.parametrize("style", STYLES)
def test_logs_are_listed_whole_and_numbered_as_the_firmware_does(style: str) -> None:
    server = LogServer(logs(*range(100, 160)), style)
    entries = listed(server, Faults(loss=0.3, twice=0.1, seed=4))
    first = 1 if style == "ardupilot" else 0
    assert [e.id for e in entries] == list(range(first, first + 60))
    assert [e.size for e in entries] == list(range(100, 160)) and server.requests[-1][0] == END


def test_a_card_without_logs_is_listed_as_empty() -> None:
    assert listed(LogServer({})) == []


def test_an_autopilot_that_does_not_answer_is_given_up() -> None:
    listing = LogListing(TARGET)
    converse(listing, server := LogServer(logs(5), has_log_request=False))
    assert listing.failure == "silent" and asked(server)[-1] == END


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("faults", [Faults(), Faults(loss=0.1, twice=0.05, late=0.2, seed=8)])
def test_a_log_arrives_whole_and_the_end_is_said(style: str, faults: Faults) -> None:
    server = LogServer(logs(1000, 150_001), style)
    entry = listed(server, is_last=False)[-1]
    fetch = LogFetch(TARGET, entry)
    converse(fetch, server, faults)
    assert not fetch.failure and whole(fetch, 150_001) == server.files["/log/00000002.BIN"]
    assert asked(server)[-1] == END or faults.loss


@pytest.mark.parametrize("size", [1, 89, 90, 91, PIECE_BYTES, PIECE_BYTES + 90, 2 * PIECE_BYTES - 1])
def test_a_log_of_any_length_ends(size: int) -> None:
    server = LogServer(logs(size))
    fetch = LogFetch(TARGET, LogEntry(1, 0, size))
    converse(fetch, server)
    assert whole(fetch, size) == server.files["/log/00000001.BIN"] and not server.is_downloading
    assert asked(server).count(DATA_REQUEST) == -(-size // PIECE_BYTES), "a clean link needs one request a piece"


def test_a_log_is_gone_on_with_only_when_it_is_the_same() -> None:
    data = some_bytes(200_000, 1)
    server = LogServer({"/log/1.BIN": data})
    same = LogFetch(TARGET, LogEntry(1, 0, len(data)), 150_000, data[149_910:150_000])
    converse(same, server)
    assert whole(same, len(data), data[:150_000]) == data and sum(len(d) for _, d in same.fresh) <= 50_090
    other = LogFetch(TARGET, LogEntry(1, 0, len(data)), 150_000, some_bytes(90, 9))
    converse(other, server)
    assert other.failure == "changed" and not server.is_downloading


def test_a_log_shorter_than_it_was_said_to_be_is_given_up_with_an_end() -> None:
    server = LogServer(logs(5_000), claims={"/log/00000001.BIN": 0xFFFFFFFF})
    fetch = LogFetch(TARGET, listed(server)[0])
    converse(fetch, server)
    assert fetch.failure == "changed" and asked(server)[-1] == END


def test_a_log_that_stops_coming_is_given_up_with_an_end() -> None:
    server = LogServer(logs(200_000))

    def fall_silent(now_s: float) -> None:
        if now_s > 0.5:
            server.has_log_request, server._log = False, None

    fetch = LogFetch(TARGET, LogEntry(1, 0, 200_000))
    assert converse(fetch, server, meanwhile=fall_silent) < 60
    assert fetch.failure == "silent" and asked(server)[-1] == END


def test_a_reboot_in_the_middle_is_gone_on_after() -> None:
    server = LogServer(logs(200_000))
    due = [0.5]

    def reboot(now_s: float) -> None:
        if due and now_s > due[0]:
            server.reboot()
            due.clear()

    fetch = LogFetch(TARGET, LogEntry(1, 0, 200_000))
    converse(fetch, server, meanwhile=reboot)
    assert whole(fetch, 200_000) == server.files["/log/00000001.BIN"]


def test_a_pace_is_kept() -> None:
    server = LogServer(logs(100_000))
    fetch = LogFetch(TARGET, LogEntry(1, 0, 100_000), bytes_s=10_000)
    assert 4 < converse(fetch, server) < 14


def test_data_of_another_log_are_passed_over() -> None:
    fetch = LogFetch(TARGET, LogEntry(1, 0, 180))
    fetch.due(0)
    fetch.hear(120, row_of(120, {"id": 2, "ofs": 0, "count": 90}), 0)
    assert not fetch.fresh and fetch.missing.count() == 180


def test_the_end_is_said_once_and_only_when_something_was_asked() -> None:
    fetch = LogFetch(TARGET, LogEntry(1, 0, 180))
    assert fetch.leave() == []
    fetch.due(0)
    assert [m[0] for m in fetch.leave()] == [LOG_REQUEST_END] and fetch.leave() == []
    listing = LogListing(TARGET)
    assert [m[0] for m in listing.due(0)] == [LIST] and [m[0] for m in listing.leave()] == [END]


def test_a_list_that_claims_any_number_of_logs_is_bounded() -> None:
    listing = LogListing(TARGET)
    listing.due(0)
    for i in range(60_000, 65_536):
        listing.hear(ENTRY, row_of(ENTRY, {"id": i, "num_logs": 65_535, "last_log_num": 65_535}), 0)
    assert len(listing.entries) <= 5000

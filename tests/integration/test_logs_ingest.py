"""Recorded logs on ingest's path and in the worker: whatever comes in whatever order, one whole log or a reason."""

import hashlib
import random
import uuid
from typing import Any

import numpy as np
import psycopg
import pytest

from firmware_bridge.log_identity import ids_of_uid
from hub.store.log_arrivals import log_id
from hub.store.tenant import tenant
from hub.worker.logs import owner_of
from shared.frames import Frames
from shared.ids import new_id
from shared.records import LogManifest, LogPart
from shared.topics import Lane
from tests.fix_dataflash import dataflash_log
from tests.fix_fleet import Recorder, frame, whole_flight
from tests.fix_logs import LogHub, flown, fly_live, records_of, sealed

LOG = dataflash_log(20.0)
NAME = hashlib.sha256(LOG).digest()


@pytest.fixture
def aircraft(log_hub: LogHub) -> Recorder:
    return log_hub.hub.new_recorder()


@pytest.fixture
def station(log_hub: LogHub, aircraft: Recorder) -> Recorder:
    return log_hub.station(aircraft.org_id)


def reasons(log_hub: LogHub, org_id: uuid.UUID) -> list[str]:
    return [r for (r,) in log_hub.hub.rows(org_id, "SELECT reason FROM quarantine ORDER BY reason")]


def jobs(log_hub: LogHub, org_id: uuid.UUID) -> list[Any]:
    return log_hub.hub.rows(org_id, "SELECT kind, subject_id FROM jobs WHERE kind = 'log'")


def test_a_log_is_whole_whatever_order_its_batches_come_in(
    log_hub: LogHub, aircraft: Recorder, station: Recorder
) -> None:
    arrivals = sealed(station, records_of(LOG, aircraft=aircraft.aircraft_id), together=2)
    random.Random(4).shuffle(arrivals)
    for arrival in arrivals:
        log_hub.send([arrival])
    assert jobs(log_hub, aircraft.org_id) == [("log", log_id(NAME))]
    log_hub.take_in(aircraft.org_id, NAME)
    assert log_hub.log(aircraft.org_id, NAME) == "parsed"


def test_redelivered_batches_change_nothing(log_hub: LogHub, aircraft: Recorder, station: Recorder) -> None:
    arrivals = sealed(station, records_of(LOG, aircraft=aircraft.aircraft_id))
    log_hub.send(arrivals)
    counts = "SELECT (SELECT count(*) FROM log_parts), (SELECT count(*) FROM log_deliveries)"
    before = log_hub.hub.rows(aircraft.org_id, counts)
    log_hub.send(arrivals + arrivals)
    assert log_hub.hub.rows(aircraft.org_id, counts) == before


def test_a_log_with_parts_missing_waits_for_them(log_hub: LogHub, aircraft: Recorder, station: Recorder) -> None:
    *parts, manifest = records_of(LOG, aircraft=aircraft.aircraft_id, part_bytes=2000)
    log_hub.send(sealed(station, [*parts[:2], *parts[3:], manifest]))
    log_hub.take_in(aircraft.org_id, NAME)
    state, reason, whole = log_hub.log(aircraft.org_id, NAME, "state, reason, whole_at")
    assert (state, whole) == ("arriving", None) and "nothing from byte" in reason
    assert jobs(log_hub, aircraft.org_id)
    log_hub.send(sealed(station, [parts[2]]))
    log_hub.take_in(aircraft.org_id, NAME)
    assert log_hub.log(aircraft.org_id, NAME) == "parsed"


@pytest.mark.parametrize("change", ["other bytes", "cut short", "not packed at all"])
def test_a_log_whose_bytes_are_not_what_it_says_is_damaged_until_it_comes_again(
    log_hub: LogHub, aircraft: Recorder, station: Recorder, change: str
) -> None:
    other = {"other bytes": LOG[:-100] + b"\xa3" + LOG[-99:], "cut short": LOG[:-5000], "not packed at all": LOG}[
        change
    ]
    *parts, m = records_of(other, aircraft=aircraft.aircraft_id)
    assert isinstance(m, LogManifest)
    wrong = [
        LogPart(NAME, p.offset, p.packed if change != "not packed at all" else bytes(len(p.packed))) for p in parts
    ]
    said = LogManifest(NAME, len(LOG), m.packed_bytes, m.packed_sha256, m.format, m.name, m.origin, 1, m.aircraft)
    log_hub.send(sealed(station, [*wrong, said]))
    log_hub.take_in(aircraft.org_id, NAME)
    assert log_hub.log(aircraft.org_id, NAME, "state, whole_at") == ("damaged_in_transit", None)
    log_hub.deliver(log_hub.station(aircraft.org_id, "Other"), LOG, aircraft=aircraft.aircraft_id)
    log_hub.take_in(aircraft.org_id, NAME)
    assert log_hub.log(aircraft.org_id, NAME) == "parsed"


def test_a_manifest_that_promises_more_than_comes_is_no_bomb(
    log_hub: LogHub, aircraft: Recorder, station: Recorder
) -> None:
    data = bytes(30 << 20)
    log_hub.send(sealed(station, records_of(data, "raw", aircraft=aircraft.aircraft_id, size_bytes=1000)))
    log_hub.take_in(aircraft.org_id, hashlib.sha256(data).digest())
    state, reason = log_hub.log(aircraft.org_id, hashlib.sha256(data).digest(), "state, reason")
    assert state == "damaged_in_transit" and "more than the 1000 bytes" in reason


@pytest.mark.parametrize("data", [b"no log at all " * 500, b"", b"\xa3\x95" * 5000, LOG[:60]])
def test_what_is_no_log_fails_alone_and_is_kept(
    log_hub: LogHub, aircraft: Recorder, station: Recorder, data: bytes
) -> None:
    log = log_hub.deliver(station, data, aircraft=aircraft.aircraft_id)
    good = log_hub.deliver(station, LOG, aircraft=aircraft.aircraft_id)
    log_hub.take_in(aircraft.org_id, log)
    log_hub.take_in(aircraft.org_id, good)
    state, whole = log_hub.log(aircraft.org_id, log, "state, whole_at IS NOT NULL")
    assert state in ("failed", "parsed") and whole
    assert log_hub.log(aircraft.org_id, good) == "parsed"
    assert len(log_hub.hub.rows(aircraft.org_id, "SELECT FROM flight_sessions")) == 1


def test_an_aircrafts_key_names_no_other_aircraft(log_hub: LogHub, aircraft: Recorder) -> None:
    other = log_hub.hub.new_recorder(aircraft.org_id)
    log_hub.send(sealed(aircraft, records_of(LOG, aircraft=other.aircraft_id), together=100))
    assert reasons(log_hub, aircraft.org_id) == ["log_of_other_aircraft"]
    assert log_hub.hub.rows(aircraft.org_id, "SELECT FROM logs") == []


def test_an_aircrafts_own_log_is_its_own_whether_it_says_so_or_not(log_hub: LogHub, aircraft: Recorder) -> None:
    for data, said in ((LOG, aircraft.aircraft_id), (dataflash_log(9.0), None)):
        log = log_hub.deliver(aircraft, data, aircraft=said)
        log_hub.take_in(aircraft.org_id, log)
        assert log_hub.log(aircraft.org_id, log, "aircraft_id") == aircraft.aircraft_id


def test_a_station_cannot_import_for_an_aircraft_of_another_organisation(
    log_hub: LogHub, aircraft: Recorder, station: Recorder
) -> None:
    theirs = log_hub.hub.new_recorder()
    log_hub.take_in(aircraft.org_id, log_hub.deliver(station, LOG, aircraft=theirs.aircraft_id))
    state, reason = log_hub.log(aircraft.org_id, NAME, "state, reason")
    assert state == "unassigned" and "no aircraft here" in reason
    assert log_hub.hub.rows(theirs.org_id, "SELECT FROM logs") == []
    assert log_hub.hub.rows(theirs.org_id, "SELECT FROM flight_sessions") == []


@pytest.mark.parametrize("change", [{"log": bytes(31)}, {"packed_sha256": b""}, {"size_bytes": -1}])
def test_a_malformed_manifest_is_refused(log_hub: LogHub, station: Recorder, change: dict[str, Any]) -> None:
    log_hub.send(sealed(station, records_of(LOG, **change)[-1:]))
    assert reasons(log_hub, station.org_id) == ["log_malformed"]


@pytest.mark.parametrize(
    "part", [LogPart(bytes(3), 0, b"x"), LogPart(NAME, -1, b"x"), LogPart(NAME, 0, bytes(131_073))]
)
def test_a_malformed_part_is_refused(log_hub: LogHub, station: Recorder, part: LogPart) -> None:
    log_hub.send(sealed(station, [part]))
    assert reasons(log_hub, station.org_id) == ["log_malformed"]


def test_a_second_stream_of_a_device_is_no_clone(log_hub: LogHub, aircraft: Recorder) -> None:
    flight = whole_flight(aircraft)
    log_hub.send(aircraft.arrivals(flight.envelopes[:3]))
    imports = Recorder(aircraft.org_id, aircraft.aircraft_id, aircraft.key)
    log_hub.send(sealed(imports, records_of(LOG)))
    with log_hub.hub.database.connect() as admin:
        admin.execute("UPDATE streams SET first_seen_at = first_seen_at - interval '1 minute' WHERE stream_id = %s",
                      (aircraft.stream,))  # fmt: skip
        admin.execute("UPDATE streams SET first_seen_at = first_seen_at - interval '30 seconds' WHERE stream_id = %s",
                      (imports.stream,))  # fmt: skip
    log_hub.send(aircraft.arrivals(flight.envelopes[3:]))
    assert log_hub.hub.rows(aircraft.org_id, "SELECT kind FROM alerts") == []


def test_hardware_learned_from_one_log_tells_whose_the_next_is(
    log_hub: LogHub, aircraft: Recorder, station: Recorder
) -> None:
    waiting = log_hub.deliver(station, dataflash_log(9.0))
    log_hub.take_in(aircraft.org_id, waiting)
    assert log_hub.log(aircraft.org_id, waiting) == "unassigned"
    log_hub.take_in(aircraft.org_id, log_hub.deliver(station, LOG, aircraft=aircraft.aircraft_id))
    assert ("log", log_id(waiting)) in jobs(log_hub, aircraft.org_id)
    log_hub.take_in(aircraft.org_id, waiting)
    assert log_hub.log(aircraft.org_id, waiting, "state, aircraft_id") == ("parsed", aircraft.aircraft_id)


def test_hardware_is_learned_from_what_the_aircraft_says_of_itself(
    log_hub: LogHub, aircraft: Recorder, station: Recorder
) -> None:
    uid2 = bytes(range(1, 13)) + bytes(6)
    session, envelopes = fly_live(aircraft, flown(12.0))


    raw = frame(148, 0, uid2=np.frombuffer(uid2, np.uint8), uid=7)
    said = Frames(raw, np.array([0, len(raw)], np.int64), np.array([50_000], np.int64))
    log_hub.send(aircraft.arrivals([*envelopes, aircraft.seal(said, (aircraft.at_us - 1, aircraft.at_us), session)]))
    log_hub.settle(aircraft.org_id, session)
    known = log_hub.hub.rows(aircraft.org_id, "SELECT hardware_id, aircraft_id FROM aircraft_hardware")
    assert {h for h, _ in known} == {*ids_of_uid(7, uid2)} and {a for _, a in known} == {aircraft.aircraft_id}


def test_a_log_of_known_hardware_is_not_silently_given_to_another_aircraft(
    log_hub: LogHub, aircraft: Recorder, station: Recorder
) -> None:
    log_hub.take_in(aircraft.org_id, log_hub.deliver(station, LOG, aircraft=aircraft.aircraft_id))
    other = log_hub.hub.new_recorder(aircraft.org_id)
    log = log_hub.deliver(station, dataflash_log(9.0), aircraft=other.aircraft_id)
    log_hub.take_in(aircraft.org_id, log)
    state, reason, owner = log_hub.log(aircraft.org_id, log, "state, reason, aircraft_id")
    assert (state, owner) == ("unassigned", None) and str(aircraft.aircraft_id) in reason
    log_hub.assign(aircraft.org_id, log, other.aircraft_id)
    log_hub.take_in(aircraft.org_id, log)
    assert log_hub.log(aircraft.org_id, log, "state, aircraft_id") == ("parsed", other.aircraft_id)


def test_an_assignment_is_audited(log_hub: LogHub, aircraft: Recorder, station: Recorder) -> None:
    log_hub.take_in(aircraft.org_id, log_hub.deliver(station, LOG))
    log_hub.assign(aircraft.org_id, NAME, aircraft.aircraft_id)
    rows = log_hub.hub.rows(aircraft.org_id, "SELECT actor, new_values FROM audit_log WHERE table_name = 'logs'")
    assert [actor for actor, _ in rows] == ["test"]
    assert rows[0][1]["assigned_aircraft_id"] == str(aircraft.aircraft_id) and "survey" not in rows[0][1]


def test_whose_a_log_is() -> None:
    a, b, station = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    kinds = {a: "aircraft", b: "aircraft", station: "station"}
    assert owner_of(b, {a}, {a}, kinds) == (b, "")
    assert owner_of(None, {a}, set(), kinds) == (a, "") and owner_of(None, {a}, {a, b}, kinds) == (a, "")
    assert owner_of(None, set(), {b}, kinds) == (b, "")
    for said, known in (
        ({a, b}, set()),
        ({a}, {b}),
        ({station}, set()),
        ({new_id()}, set()),
        (set(), {a, b}),
        (set(), set()),
    ):
        owner, reason = owner_of(None, said, known, kinds)
        assert owner is None and reason


def test_the_same_log_is_another_one_in_another_organisation(
    log_hub: LogHub, aircraft: Recorder, station: Recorder
) -> None:
    log_hub.take_in(aircraft.org_id, log_hub.deliver(station, LOG, aircraft=aircraft.aircraft_id))
    theirs = log_hub.hub.new_recorder()
    log_hub.take_in(theirs.org_id, log_hub.deliver(log_hub.station(theirs.org_id), LOG))
    assert log_hub.log(aircraft.org_id, NAME) == "parsed" and log_hub.log(theirs.org_id, NAME) == "unassigned"


def test_the_worker_role_cannot_change_whose_a_log_was_said_to_be(log_hub: LogHub, aircraft: Recorder) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        log_hub.hub.database.connect("dbx_worker") as conn,
        tenant(conn, aircraft.org_id),
    ):
        conn.execute("UPDATE logs SET assigned_aircraft_id = NULL")


def test_log_batches_hold_no_flight_and_no_newest_state(log_hub: LogHub, aircraft: Recorder) -> None:
    log_hub.send([aircraft.arrival(aircraft.seal(records=records_of(LOG), lane=Lane.bulk), Lane.bulk)])
    for table in ("flight_sessions", "aircraft_state"):
        assert log_hub.hub.rows(aircraft.org_id, f"SELECT FROM {table}") == []


def test_a_log_that_failed_stays_failed_however_often_it_comes(
    log_hub: LogHub, aircraft: Recorder, station: Recorder
) -> None:
    for _ in range(2):
        log = log_hub.deliver(station, b"no log at all " * 500, aircraft=aircraft.aircraft_id)
        log_hub.take_in(aircraft.org_id, log)
        assert log_hub.log(aircraft.org_id, log) == "failed"

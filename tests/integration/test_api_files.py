"""A flight as files over the API: exact frames, and evidence that proves itself."""

import hashlib
import uuid

from firmware_bridge.tlog import read_tlog
from hub.store.tenant import tenant
from hub.verify import verify
from shared.codec import decode_block
from tests.fix_api import HUB_PUBLIC, START_UTC_US


def test_the_tlog_holds_every_frame_with_its_time_in_utc(ours) -> None:
    f = ours.store_flight()
    read = read_tlog(ours.get(f"/v1/flights/{f.flight_id}/flight.tlog").content)
    sent = [decode_block(f.signed.block(s)).frames() for s in (1, 2, 3)]
    assert read.frames.data == b"".join(s.data for s in sent)
    assert read.frames.time_us.tolist() == [int(t) + START_UTC_US for s in sent for t in s.time_us]


def test_the_streams_tlog_is_the_same_where_all_is_one_flight(ours) -> None:
    f = ours.store_flight()
    flight, stream = (
        ours.get(f"/v1/{p}").content
        for p in (f"flights/{f.flight_id}/flight.tlog", f"streams/{f.stream_id}/stream.tlog")
    )
    assert len(flight) > 100 and flight == stream


def test_files_longer_than_a_page_are_whole(ours, monkeypatch) -> None:
    f = ours.store_flight()
    whole = ours.get(f"/v1/flights/{f.flight_id}/flight.tlog").content
    monkeypatch.setattr("hub.store.committed.PAGE_BATCHES", 1)
    assert ours.get(f"/v1/flights/{f.flight_id}/flight.tlog").content == whole
    assert verify(ours.get(f"/v1/flights/{f.flight_id}/evidence").content).is_whole


def test_the_evidence_proves_the_flight_to_who_has_the_hubs_key(ours) -> None:
    f = ours.store_flight()
    answer = ours.get(f"/v1/flights/{f.flight_id}/evidence")
    report = verify(answer.content, [HUB_PUBLIC], [f.signed.device[1]])
    assert report.is_whole and report.frames == 12 and report.flight == str(f.flight_id), report.problems
    assert answer.headers["content-disposition"] == f'attachment; filename="flight-{f.flight_id}.dbxe"'


def test_evidence_holds_every_envelope_byte_for_byte(ours) -> None:
    f = ours.store_flight()
    content = ours.get(f"/v1/flights/{f.flight_id}/evidence").content
    assert all(e in content for e in f.signed.envelopes().values())


def test_an_envelope_changed_in_the_database_is_found_in_the_evidence(ours) -> None:
    f = ours.store_flight()
    with ours.database.connect() as conn:
        conn.execute(
            "UPDATE batch_envelopes SET envelope = set_byte(envelope, 200, get_byte(envelope, 200) # 1)"
            " WHERE stream_id = %s AND seq = 2", (f.stream_id,),
        )  # fmt: skip
    report = verify(ours.get(f"/v1/flights/{f.flight_id}/evidence").content)
    assert not report.is_proven and any(p.kind == "batch" and p.item == 2 for p in report.problems)


def test_evidence_of_a_flight_in_the_air_says_that_it_is_not_complete(ours) -> None:
    f = ours.store_flight()
    with ours.database.connect("dbx_ingest") as conn, tenant(conn, ours.org_id):
        conn.execute("UPDATE flight_sessions SET state = 'live', last_seq = NULL, manifest_frames = NULL")
    with ours.database.connect() as conn:
        conn.execute("DELETE FROM ingest_batches WHERE stream_id = %s AND seq = 4", (f.stream_id,))
    report = verify(ours.get(f"/v1/flights/{f.flight_id}/evidence").content)
    assert not report.is_proven and not report.problems and any("complete" in n for n in report.not_proven)


def test_files_of_flights_that_do_not_exist_are_not_found(ours) -> None:
    for name in ("flight.tlog", "evidence"):
        assert ours.get(f"/v1/flights/{uuid.uuid4()}/{name}").status_code == 404


def test_the_same_evidence_twice_holds_the_same_batches(ours) -> None:
    f = ours.store_flight()
    one, two = (verify(ours.get(f"/v1/flights/{f.flight_id}/evidence").content) for _ in range(2))
    assert hashlib.sha256(str(one.proven).encode()).digest() == hashlib.sha256(str(two.proven).encode()).digest()

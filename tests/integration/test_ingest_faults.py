"""What ingest does with input that is hostile, damaged, doubled or out of place, and with a database that fails."""

import random
import uuid
from typing import Any

import cbor2
import psycopg
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.ingest import derive as deriving
from hub.ingest.pipeline import Arrival, Pipeline
from hub.store import quarantine
from hub.store.tenant import HUB_ORG, tenant
from shared import batch as batches
from shared import topics
from shared.batch import Counts
from shared.envelope import BATCH_TYPE, digest, peek, seal
from shared.ids import new_id
from shared.receipt import decode_receipt
from shared.records import Finding, Gap, SessionOpen
from shared.topics import Lane
from tests.fix_fleet import Hub, Recorder, whole_flight


def quarantined(hub: Hub, org_id: uuid.UUID) -> list[str]:
    return [r for (r,) in hub.rows(org_id, "SELECT reason FROM quarantine ORDER BY first_seen_at")]


def alerts(hub: Hub, org_id: uuid.UUID) -> list[str]:
    return [r for (r,) in hub.rows(org_id, "SELECT kind FROM alerts ORDER BY raised_at")]


def ledger_count(hub: Hub, org_id: uuid.UUID) -> int:
    return int(hub.rows(org_id, "SELECT count(*) FROM ingest_batches")[0][0])


def test_redelivery_is_receipted_again_and_adds_nothing(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    flight = whole_flight(r)
    tables = ("ingest_batches", "batch_envelopes", "telemetry_chunks", "flight_events", "flight_sessions", "jobs")
    counts = []
    for _ in range(3):
        assert len(ingest_hub.pipeline.handle(r.arrivals(flight.envelopes))) == 1
        counts.append([ingest_hub.rows(r.org_id, f"SELECT count(*) FROM {t}") for t in tables])
    assert counts[0] == counts[1] == counts[2]
    assert ingest_hub.pipeline.counters["duplicates"] == 2 * len(flight.envelopes)
    assert quarantined(ingest_hub, r.org_id) == []


def test_one_sequence_signed_twice_is_quarantined_and_alerted(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    first, twin = r.fly(1_000_000), None
    clone = Recorder(r.org_id, r.aircraft_id, r.key, r.stream, r.boot, at_us=500)
    twin = clone.fly(1_000_000)
    assert len(ingest_hub.pipeline.handle([r.arrival(first)])) == 1
    (answer,) = ingest_hub.pipeline.handle([r.arrival(twin)])
    assert decode_receipt(peek(answer.envelope)[1]).committed() == {1: digest(first)}, "what is committed instead"
    assert quarantined(ingest_hub, r.org_id) == ["sequence_conflict"]
    assert alerts(ingest_hub, r.org_id) == ["sequence_conflict"]
    assert ledger_count(ingest_hub, r.org_id) == 1


def test_two_twins_in_one_group_give_one_batch(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    clone = Recorder(r.org_id, r.aircraft_id, r.key, r.stream, r.boot, at_us=500)
    ingest_hub.pipeline.handle(r.arrivals([r.fly(1_000_000), clone.fly(1_000_000)]))
    assert ledger_count(ingest_hub, r.org_id) == 1
    assert quarantined(ingest_hub, r.org_id) == ["sequence_conflict"]


def test_a_clone_with_a_store_of_its_own_is_alerted(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    clone = Recorder(r.org_id, r.aircraft_id, r.key)
    ingest_hub.pipeline.handle([r.arrival(r.fly(1_000_000))])
    ingest_hub.pipeline.handle([r.arrival(clone.fly(1_000_000))])
    assert alerts(ingest_hub, r.org_id) == [], "a new store alone is no clone"
    with ingest_hub.database.connect() as admin:
        admin.execute("UPDATE streams SET first_seen_at = first_seen_at - interval '1 minute'")
    ingest_hub.pipeline.handle([r.arrival(clone.fly(1_000_000))])
    assert alerts(ingest_hub, r.org_id) == [], "the newer store goes on"
    receipts = ingest_hub.pipeline.handle([r.arrival(r.fly(1_000_000))])
    assert alerts(ingest_hub, r.org_id) == ["clone"]
    assert len(receipts) == 1, "what is signed is kept all the same"


def test_a_revoked_key_is_refused_from_then_on(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    ingest_hub.pipeline.handle([r.arrival(r.fly(1_000_000))])
    with ingest_hub.database.connect("dbx_api") as api, tenant(api, r.org_id, actor="test"):
        api.execute("UPDATE device_keys SET revoked_at = now() WHERE org_id = %s", (r.org_id,))
    with ingest_hub.database.connect("dbx_ingest") as conn:
        late = Pipeline(conn, ingest_hub.hub_key)  # as after the few seconds for which keys are remembered
        assert late.handle([r.arrival(r.fly(1_000_000))]) == []
    assert quarantined(ingest_hub, r.org_id) == ["revoked_key"]
    assert ledger_count(ingest_hub, r.org_id) == 1


def test_another_organisations_topic_is_refused_and_shown_to_the_signer_alone(ingest_hub: Hub) -> None:
    r, victim = ingest_hub.new_recorder(), ingest_hub.new_recorder()
    stray = Arrival(topics.up(victim.org_id, victim.aircraft_id, Lane.live), r.fly(1_000_000))
    mixed = Arrival(topics.up(victim.org_id, r.aircraft_id, Lane.live), r.fly(1_000_000))
    assert ingest_hub.pipeline.handle([stray, mixed]) == []
    assert quarantined(ingest_hub, r.org_id) == ["topic_of_other_aircraft", "topic_of_other_organisation"]
    assert quarantined(ingest_hub, victim.org_id) == []
    assert ledger_count(ingest_hub, victim.org_id) == ledger_count(ingest_hub, r.org_id) == 0


def test_an_unknown_key_is_quarantined_where_the_topic_says_or_with_the_hub(ingest_hub: Hub) -> None:
    known = ingest_hub.new_recorder()
    stranger = Recorder(known.org_id, known.aircraft_id)
    nobody = Recorder(uuid.uuid4(), uuid.uuid4())
    assert (
        ingest_hub.pipeline.handle([known.arrival(stranger.fly(1_000_000)), nobody.arrival(nobody.fly(1_000_000))])
        == []
    )
    assert quarantined(ingest_hub, known.org_id) == ["unknown_key"]
    assert quarantined(ingest_hub, HUB_ORG) == ["unknown_key"]


def test_another_aircrafts_stream_and_session_are_refused(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    other = ingest_hub.new_recorder(r.org_id)
    session = new_id()
    ingest_hub.pipeline.handle([r.arrival(r.fly(1_000_000, session))])
    thief = Recorder(other.org_id, other.aircraft_id, other.key, stream=r.stream)
    thief.seq, thief.prev = 5, b"x" * 32
    assert (
        ingest_hub.pipeline.handle([other.arrival(thief.fly(1_000_000)), other.arrival(other.fly(1_000_000, session))])
        == []
    )
    assert sorted(quarantined(ingest_hub, r.org_id)) == ["session_of_other_aircraft", "stream_of_other_aircraft"]
    assert ingest_hub.rows(
        r.org_id, "SELECT count(*) FROM flight_sessions WHERE aircraft_id = %s", other.aircraft_id
    ) == [(0,)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True))
def test_a_changed_bit_anywhere_is_refused(ingest_hub: Hub, where: float) -> None:
    r = _recorder_of(ingest_hub)
    envelope = bytearray(r.fly(300_000))
    at = int(where * len(envelope) * 8)
    envelope[at // 8] ^= 1 << at % 8
    before = ledger_count(ingest_hub, r.org_id)
    assert ingest_hub.pipeline.handle([r.arrival(bytes(envelope))]) == []
    assert ledger_count(ingest_hub, r.org_id) == before


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.text(max_size=60))
def test_arbitrary_bytes_on_arbitrary_topics_are_quarantined(ingest_hub: Hub, junk: bytes, topic: str) -> None:
    before = len(quarantined(ingest_hub, HUB_ORG))
    assert ingest_hub.pipeline.handle([Arrival(topic, junk)]) == []
    assert len(quarantined(ingest_hub, HUB_ORG)) >= before


def _recorder_of(hub: Hub) -> Recorder:
    if not hasattr(hub, "_recorder"):
        hub._recorder = hub.new_recorder()  # type: ignore[attr-defined]
    return hub._recorder  # type: ignore[attr-defined,no-any-return]


def _hostile(r: Recorder, **changes: Any) -> bytes:
    """A batch with its columns or counts replaced, properly signed and chained."""
    return r.seal(covers=(r.at_us, r.at_us + 1_000_000), **changes)


def test_a_decompression_bomb_is_refused_and_stops_nobody(ingest_hub: Hub) -> None:
    r, honest = ingest_hub.new_recorder(), None
    honest = ingest_hub.new_recorder(r.org_id)
    bomb = b"\x01" + zstandard.ZstdCompressor(3).compress(bytes(600 << 20))
    assert len(bomb) < 1 << 20
    arrivals = [
        r.arrival(_hostile(r, columns=bomb, counts=Counts(1000, 1000))),
        r.arrival(_hostile(r, columns=b"\x00" + bomb[1:], counts=Counts(1000, 1000))),
        r.arrival(_hostile(r, columns=b"junk", counts=Counts(1 << 40, 1))),
        honest.arrival(honest.fly(1_000_000)),
    ]
    receipts = ingest_hub.pipeline.handle(arrivals)
    assert [x.aircraft_id for x in receipts] == [honest.aircraft_id]
    assert len(quarantined(ingest_hub, r.org_id)) == 3
    assert "block_too_large" in quarantined(ingest_hub, r.org_id)


def test_counts_and_times_that_cannot_be_are_refused(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    lie = r.seal(records=[], counts=Counts(5, 5))
    eternity = r.seal(covers=(-(1 << 63), (1 << 63) - 1))
    assert ingest_hub.pipeline.handle(r.arrivals([lie, eternity])) == []
    assert sorted(quarantined(ingest_hub, r.org_id)) == ["frame_count", "time_out_of_range"]


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xa0", cbor2.dumps({0: 1}), cbor2.dumps({0: 2}), cbor2.dumps([1, 2]), b"\xff" * 50, b"\x9f" * 5000],
)
def test_a_signed_payload_that_is_no_batch_is_refused(ingest_hub: Hub, payload: bytes) -> None:
    r = ingest_hub.new_recorder()
    assert ingest_hub.pipeline.handle([r.arrival(seal(payload, r.key, r.key_id, BATCH_TYPE))]) == []
    assert quarantined(ingest_hub, r.org_id)[0] in ("batch_malformed", "batch_version")


def test_a_poison_batch_is_kept_in_the_ledger_and_stops_nobody(
    ingest_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    r = ingest_hub.new_recorder()
    flight = whole_flight(r)
    poisoned = flight.envelopes[4]
    real = deriving.to_grid
    boots = batches.decode(peek(poisoned)[1]).covers

    def failing(inputs: Any) -> Any:
        if any(i.covers == boots for i in inputs):
            raise ZeroDivisionError("a bug of ours")
        return real(inputs)

    monkeypatch.setattr(deriving, "to_grid", failing)
    receipts = ingest_hub.pipeline.handle(r.arrivals(flight.envelopes))
    assert len(receipts) == 1
    rows = ingest_hub.rows(r.org_id, "SELECT seq FROM ingest_batches WHERE derived = 1")
    assert rows == [(5,)]
    assert ledger_count(ingest_hub, r.org_id) == len(flight.envelopes)
    assert ingest_hub.rows(r.org_id, "SELECT count(*) FROM telemetry_chunks") == [(4,)]


def test_data_that_the_database_refuses_cost_only_their_own_rows(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    session = new_id()
    nasty = SessionOpen(session, r.boot, 0, 1, 0, 1, 1, 3, 2, "bell\0")
    finding = Finding(
        new_id(), session, "kind\0", "critical", 1.5, 0.5, 0, 1, "m\0", 1, [{"a\0": float("inf"), "b": b"\1"}]
    )
    gap = Gap("evicted\0", r.stream, 3, 4, [b"x" * 32], session, 10, 10, -(1 << 62), 1 << 62, "why\0")
    envelopes = [
        r.fly(1_000_000, session),
        r.seal(session=session, records=[nasty, finding, gap], lane=Lane.alert),
        r.fly(1_000_000, session),
    ]
    receipts = ingest_hub.pipeline.handle(r.arrivals(envelopes))
    assert len(receipts) == 1
    assert ledger_count(ingest_hub, r.org_id) == 3
    assert ingest_hub.rows(r.org_id, "SELECT evidence FROM findings") == [([{"a": None, "b": "01"}],)]
    assert "finding" in alerts(ingest_hub, r.org_id)


def test_a_database_that_fails_is_told_and_nothing_is_half_there(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    flight = whole_flight(r)
    with ingest_hub.database.connect() as admin:
        admin.execute("REVOKE INSERT ON telemetry_chunks FROM dbx_ingest")
    with pytest.raises(psycopg.Error):
        ingest_hub.pipeline.handle(r.arrivals(flight.envelopes))
    assert ledger_count(ingest_hub, r.org_id) == 0
    with ingest_hub.database.connect() as admin:
        admin.execute("GRANT INSERT ON telemetry_chunks TO dbx_ingest")
    assert len(ingest_hub.pipeline.handle(r.arrivals(flight.envelopes))) == 1
    assert ledger_count(ingest_hub, r.org_id) == len(flight.envelopes)
    assert quarantined(ingest_hub, r.org_id) == []


def test_a_lost_connection_is_told_and_nothing_is_half_there(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    flight = whole_flight(r)
    with ingest_hub.database.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'dbx_ingest'")
    with pytest.raises(psycopg.OperationalError):
        ingest_hub.pipeline.handle(r.arrivals(flight.envelopes))
    assert ledger_count(ingest_hub, r.org_id) == 0


def test_quarantine_is_bounded_and_counts_what_comes_again(ingest_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MOST_ROWS", 5)
    monkeypatch.setattr(quarantine, "MOST_ENVELOPES", 3)
    dice = random.Random(1)
    junk = [dice.randbytes(50) for _ in range(9)]
    for j in junk:
        ingest_hub.pipeline.handle([Arrival("nowhere", j)])
    ingest_hub.pipeline.handle([Arrival("nowhere", junk[-1])])
    rows = ingest_hub.rows(HUB_ORG, "SELECT times, envelope IS NULL FROM quarantine ORDER BY last_seen_at")
    assert len(rows) == 5
    assert rows[-1][0] == 2
    assert sum(not empty for _, empty in rows) <= 3


def test_a_gap_record_says_what_will_never_come(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    gap = Gap("evicted", r.stream, 3, 4, [b"a" * 32, b"b" * 32], None, 10, 1000, 5, 9, "quota")
    ingest_hub.pipeline.handle([r.arrival(r.seal(records=[gap], lane=Lane.alert))])
    rows = ingest_hub.rows(
        r.org_id, "SELECT reason, first_seq, last_seq, frames, cardinality(digests), detail FROM gaps"
    )
    assert rows == [("evicted", 3, 4, 10, 2, "quota")]

"""Ingest behind real brokers: published by an aircraft, committed, receipted to that aircraft."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.embedded.broker import Broker
from hub.ingest.process import Database, intake_of
from hub.installation import BrokerAddress
from shared import topics
from shared.envelope import RECEIPT_TYPE, digest, open_envelope
from shared.receipt import decode_receipt
from shared.topics import Lane
from tests.fix_broker import MqttClient, connect, new_device
from tests.fix_fleet import Hub, Recorder, whole_flight


def address(broker: Broker) -> BrokerAddress:
    scheme, port = ("nats", int(broker.url.rpartition(":")[2]))
    return BrokerAddress(
        "nats" if broker.url.startswith(scheme) else "mqtts", broker.host, port, broker.hub_credentials
    )


@contextmanager
def ingest_process(hub: Hub, broker: Broker, slot: int = 0) -> Iterator[None]:
    """What `dbx hub ingest` does, in a thread."""
    stop = threading.Event()
    database = Database(hub.database.url("dbx_ingest"), hub.hub_key, stop)
    intake = intake_of(address(broker), slot)
    thread = threading.Thread(target=intake.run, args=(database.take, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        database.close()
        assert not thread.is_alive()


def enrolled(hub: Hub, broker: Broker, folder: Path) -> tuple[Recorder, MqttClient]:
    """An aircraft known to hub and broker, connected and listening for receipts."""
    r = hub.new_recorder()
    device = new_device(broker.authority, folder, r.org_id)
    with hub.database.connect() as admin:  # the device's certificate names its aircraft
        admin.execute("SET session_replication_role = replica")
        for table in ("aircraft_registry", "device_keys"):
            admin.execute(f"UPDATE {table} SET aircraft_id = %s WHERE org_id = %s", (device.aircraft_id, r.org_id))  # type: ignore[arg-type]
    r.aircraft_id = device.aircraft_id
    broker.add_device(r.org_id, r.aircraft_id, device.device_id)
    client = connect(broker, device.credentials, f"agent-{uuid.uuid4()}")
    assert client.subscribe(topics.receipt(r.org_id, r.aircraft_id))
    return r, client


def receipted(hub: Hub, client: MqttClient) -> dict[int, bytes]:
    out: dict[int, bytes] = {}
    for _, payload in client.heard:
        opened = open_envelope(payload, lambda _: hub.hub_key.key.public_key(), RECEIPT_TYPE)
        out |= decode_receipt(opened.payload).committed()
    return out


def wait_receipted(hub: Hub, client: MqttClient, count: int, timeout_s: float = 15) -> dict[int, bytes]:
    until = time.monotonic() + timeout_s
    while len(found := receipted(hub, client)) < count and time.monotonic() < until:
        time.sleep(0.02)
    return found


def test_published_batches_are_committed_and_receipted(ingest_hub: Hub, broker: Broker, tmp_path: Path) -> None:
    with ingest_process(ingest_hub, broker):
        r, client = enrolled(ingest_hub, broker, tmp_path)
        envelopes = whole_flight(r).envelopes
        topic = topics.up(r.org_id, r.aircraft_id, Lane.live)
        assert send_until_receipted(ingest_hub, client, topic, envelopes[0])
        for e in envelopes[1:]:
            assert client.publish(topic, e)
        assert wait_receipted(ingest_hub, client, len(envelopes)) == {i: digest(e) for i, e in enumerate(envelopes, 1)}
        client.close()
    assert ingest_hub.rows(r.org_id, "SELECT count(*) FROM ingest_batches") == [(len(envelopes),)]


def test_two_ingest_processes_share_the_work(ingest_hub: Hub, broker: Broker, tmp_path: Path) -> None:
    with ingest_process(ingest_hub, broker, 0), ingest_process(ingest_hub, broker, 1):
        r, client = enrolled(ingest_hub, broker, tmp_path)
        envelopes = whole_flight(r, batches_=20, span_us=500_000).envelopes
        topic = topics.up(r.org_id, r.aircraft_id, Lane.live)
        assert send_until_receipted(ingest_hub, client, topic, envelopes[0])
        for e in envelopes[1:]:
            assert client.publish(topic, e)
        assert len(wait_receipted(ingest_hub, client, len(envelopes))) == len(envelopes)
        client.close()
    assert ingest_hub.rows(r.org_id, "SELECT count(*) FROM ingest_batches") == [(len(envelopes),)]


def test_what_came_while_ingest_was_away_is_taken_in_later(ingest_hub: Hub, broker: Broker, tmp_path: Path) -> None:
    r, client = enrolled(ingest_hub, broker, tmp_path)
    first, *rest = whole_flight(r).envelopes
    topic = topics.up(r.org_id, r.aircraft_id, Lane.live)
    with ingest_process(ingest_hub, broker):
        assert send_until_receipted(ingest_hub, client, topic, first)
    for e in rest:
        assert client.publish(topic, e)
    with ingest_process(ingest_hub, broker):
        assert len(wait_receipted(ingest_hub, client, len(rest) + 1)) == len(rest) + 1
    client.close()


@pytest.mark.slow
def test_ingest_goes_on_after_the_broker_was_killed(ingest_hub: Hub, broker: Broker, tmp_path: Path) -> None:
    r, client = enrolled(ingest_hub, broker, tmp_path)
    envelopes = whole_flight(r).envelopes
    topic = topics.up(r.org_id, r.aircraft_id, Lane.live)
    with ingest_process(ingest_hub, broker):
        assert send_until_receipted(ingest_hub, client, topic, envelopes[0])
        broker.kill()
        broker.start()
        for e in envelopes[1:]:
            assert send_until_receipted(ingest_hub, client, topic, e)
    client.close()
    assert ingest_hub.rows(r.org_id, "SELECT count(*) FROM ingest_batches") == [(len(envelopes),)]


def send_until_receipted(hub: Hub, client: MqttClient, topic: str, envelope: bytes, timeout_s: float = 40) -> bool:
    """As an agent does: again and again until the receipt is there."""
    until = time.monotonic() + timeout_s
    receipts = topic.rpartition("/up/")[0] + "/down/receipt"
    while time.monotonic() < until:
        client.subscribe(receipts, timeout_s=1)  # anew after every loss of the connection
        client.publish(topic, envelope, timeout_s=2)
        again = time.monotonic() + 2
        while time.monotonic() < again:
            if digest(envelope) in receipted(hub, client).values():
                return True
            time.sleep(0.02)
    return False

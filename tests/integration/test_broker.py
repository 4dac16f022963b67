"""Both embedded brokers: who may connect, what a device may send and hear, what survives a crash and a reload."""

import ssl
import subprocess
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from hub.embedded.broker import Broker, MosquittoBroker, NatsBroker
from hub.pki import DeviceAuthority
from tests.fix_broker import TestDevice, connect, new_device


@pytest.fixture
def device(broker: Broker, broker_folder: Path) -> TestDevice:
    made = new_device(broker.authority, broker_folder)
    broker.add_device(made.org_id, made.aircraft_id, made.device_id)
    return made


def test_what_a_device_sends_reaches_the_hub(broker: Broker, device: TestDevice) -> None:
    hub = connect(broker, broker.hub_credentials)
    assert hub.subscribe("dbx/v1/+/+/up/#")
    aircraft = connect(broker, device.credentials)
    assert aircraft.publish(device.topic("up/live"), b"x" * (1 << 20))
    assert hub.wait_heard(1)
    assert hub.heard == [(device.topic("up/live"), b"x" * (1 << 20))]
    aircraft.close()
    hub.close()


def test_what_the_hub_sends_reaches_the_device(broker: Broker, device: TestDevice) -> None:
    hub, aircraft = connect(broker, broker.hub_credentials), connect(broker, device.credentials)
    assert aircraft.subscribe(device.topic("down/#"))
    assert hub.publish(device.topic("down/receipt"), b"committed")
    assert aircraft.wait_heard(1)
    assert aircraft.heard == [(device.topic("down/receipt"), b"committed")]
    aircraft.close()
    hub.close()


@pytest.mark.parametrize("rest", ["up/live", "state", "down/receipt"])
def test_a_device_cannot_publish_as_another(broker: Broker, device: TestDevice, broker_folder: Path, rest: str) -> None:
    victim = new_device(broker.authority, broker_folder, device.org_id)
    broker.add_device(victim.org_id, victim.aircraft_id, victim.device_id)
    hub = connect(broker, broker.hub_credentials)
    assert hub.subscribe("dbx/v1/#")
    aircraft = connect(broker, device.credentials)
    aircraft.publish(victim.topic(rest), b"forged", timeout_s=1.0)  # refused, or acknowledged and thrown away
    aircraft.close()
    honest = connect(broker, victim.credentials)
    assert honest.publish(victim.topic("up/live"), b"honest")
    assert hub.wait_heard(1)
    assert [payload for _, payload in hub.heard] == [b"honest"]
    honest.close()
    hub.close()


@pytest.mark.parametrize("topic", ["dbx/v1/#", "#", "dbx/v1/{org}/+/down/#", "dbx/v1/{org}/{victim}/down/receipt"])
def test_a_device_cannot_hear_another(broker: Broker, device: TestDevice, topic: str) -> None:
    victim = uuid.uuid4()
    wanted = topic.format(org=device.org_id, victim=victim)
    broker.add_device(device.org_id, victim)
    aircraft = connect(broker, device.credentials)
    assert aircraft.subscribe(device.topic("down/#"))
    aircraft.subscribe(wanted, timeout_s=2.0)  # refused, or granted without any effect
    hub = connect(broker, broker.hub_credentials)
    assert hub.publish(f"dbx/v1/{device.org_id}/{victim}/down/receipt", b"not yours")
    assert hub.publish(device.topic("down/receipt"), b"yours")
    assert aircraft.wait_heard(1)
    assert {payload for _, payload in aircraft.heard} == {b"yours"}
    aircraft.close()
    hub.close()


def test_without_a_certificate_nobody_connects(broker: Broker) -> None:
    bare = ssl.create_default_context(cafile=str(broker.hub_credentials.ca))
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.tls_set_context(bare)
    connected: list[object] = []
    client.on_connect = lambda _c, _u, _f, reason, _p: connected.append(reason) if not reason.is_failure else None
    try:
        client.connect(broker.host, broker.mqtt_port)
        for _ in range(20):
            client.loop(0.05)
    except OSError:
        pass
    assert connected == []


def test_a_certificate_of_another_authority_does_not_connect(
    broker: Broker, device: TestDevice, broker_folder: Path
) -> None:
    other = new_device(DeviceAuthority(broker_folder / "other"), broker_folder)
    forged = replace(device.credentials, key=other.credentials.key, certificate=other.credentials.certificate)
    with pytest.raises(ConnectionError):
        connect(broker, forged, timeout_s=2.0)


def test_a_device_that_nobody_registered_can_send_nothing(broker: Broker, broker_folder: Path) -> None:
    stranger = new_device(broker.authority, broker_folder)
    hub = connect(broker, broker.hub_credentials)
    assert hub.subscribe("dbx/v1/#")
    try:
        client = connect(broker, stranger.credentials, timeout_s=2.0)
    except ConnectionError:
        client = None  # nats-server refuses the connection, mosquitto each message
    if client:
        client.publish(stranger.topic("up/live"), b"stranger", timeout_s=1.0)
        client.close()
    assert not hub.wait_heard(1, timeout_s=0.5)
    hub.close()


def test_a_new_device_is_let_in_without_dropping_a_connection(
    broker: Broker, device: TestDevice, broker_folder: Path
) -> None:
    hub, aircraft = connect(broker, broker.hub_credentials), connect(broker, device.credentials)
    for _ in range(3):
        new = new_device(broker.authority, broker_folder)
        broker.add_device(new.org_id, new.aircraft_id, new.device_id)
        client = connect(broker, new.credentials)
        assert client.publish(new.topic("up/live"), b"new")
        client.close()
    assert aircraft.publish(device.topic("up/live"), b"still here")
    assert (hub.lost, aircraft.lost) == (0, 0)
    aircraft.close()
    hub.close()


def test_many_devices_registered_at_once_are_all_let_in(broker: Broker, broker_folder: Path) -> None:
    devices = [new_device(broker.authority, broker_folder) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda device: broker.add_device(device.org_id, device.aircraft_id, device.device_id), devices))
    hub = connect(broker, broker.hub_credentials)
    assert hub.subscribe("dbx/v1/+/+/up/#")
    for device in devices:
        client = connect(broker, device.credentials)
        assert client.publish(device.topic("up/live"), b"in")
        client.close()
    assert hub.wait_heard(len(devices))
    hub.close()


def test_a_removed_device_is_shut_out(broker: Broker, device: TestDevice) -> None:
    hub = connect(broker, broker.hub_credentials)
    assert hub.subscribe("dbx/v1/#")
    broker.remove_device(device.org_id, device.aircraft_id, device.device_id)
    try:
        client = connect(broker, device.credentials, timeout_s=2.0)
    except ConnectionError:
        client = None
    if client:
        client.publish(device.topic("up/live"), b"removed", timeout_s=1.0)
        client.close()
    assert not hub.wait_heard(1, timeout_s=0.5)
    hub.close()


def test_two_starts_at_once_make_one_server(broker: Broker) -> None:
    twin = type(broker)(broker.folder, broker.authority)
    twin.start()
    assert twin.pid == broker.pid
    twin.stop()  # not its own: it stays
    assert broker.pid


def test_the_server_is_gone_when_stopped_and_keeps_its_port(broker: Broker) -> None:
    port, pid = broker.mqtt_port, broker.pid
    broker.stop()
    assert broker.pid == 0
    broker.start()
    assert broker.mqtt_port == port
    assert broker.pid not in (0, pid)


def send_then_crash(broker: Broker, device: TestDevice, settle_s: float) -> set[bytes]:
    """200 acknowledged messages for a hub that is away, then kill -9 and a new start; what the hub then hears."""
    hub = connect(broker, broker.hub_credentials, "hub", clean=False)
    assert hub.subscribe("dbx/v1/+/+/up/#")
    hub.close()
    aircraft = connect(broker, device.credentials)
    for n in range(200):
        assert aircraft.publish(device.topic("up/backlog"), b"%d" % n)
    aircraft.close()
    threading.Event().wait(settle_s)
    broker.kill()
    broker.start()
    hub = connect(broker, broker.hub_credentials, "hub", clean=False)
    hub.wait_heard(200, timeout_s=15)
    hub.close()
    return {payload for _, payload in hub.heard}


def test_nats_keeps_every_acknowledged_message_through_kill_9(nats_broker: NatsBroker, broker_folder: Path) -> None:
    device = new_device(nats_broker.authority, broker_folder)
    nats_broker.add_device(device.org_id, device.aircraft_id, device.device_id)
    assert len(send_then_crash(nats_broker, device, settle_s=0)) == 200


@pytest.mark.slow
def test_mosquitto_keeps_what_its_autosave_had_time_to_write(
    mosquitto_broker: MosquittoBroker, broker_folder: Path
) -> None:
    device = new_device(mosquitto_broker.authority, broker_folder)
    mosquitto_broker.add_device(device.org_id, device.aircraft_id, device.device_id)
    assert len(send_then_crash(mosquitto_broker, device, settle_s=5)) == 200


def test_mosquitto_shares_messages_out_over_mqtt_5(mosquitto_broker: MosquittoBroker, broker_folder: Path) -> None:
    device = new_device(mosquitto_broker.authority, broker_folder)
    mosquitto_broker.add_device(device.org_id, device.aircraft_id, device.device_id)
    version = mqtt.MQTTProtocolVersion.MQTTv5
    hubs = [connect(mosquitto_broker, mosquitto_broker.hub_credentials, version=version) for _ in range(2)]
    for hub in hubs:
        assert hub.subscribe("$share/ingest/dbx/v1/+/+/up/#")
    aircraft = connect(mosquitto_broker, device.credentials, version=version)
    for n in range(20):
        assert aircraft.publish(device.topic("up/live"), b"%d" % n)
    for _ in range(100):
        if sum(len(hub.heard) for hub in hubs) >= 20:
            break
        threading.Event().wait(0.05)
    assert sorted(int(payload) for hub in hubs for _, payload in hub.heard) == list(range(20))
    assert all(hub.heard for hub in hubs)
    for client in (aircraft, *hubs):
        client.close()


def test_mosquitto_refuses_a_revoked_certificate(mosquitto_broker: MosquittoBroker, broker_folder: Path) -> None:
    device = new_device(mosquitto_broker.authority, broker_folder)
    mosquitto_broker.add_device(device.org_id, device.aircraft_id, device.device_id)
    connect(mosquitto_broker, device.credentials).close()
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", device.credentials.certificate],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    mosquitto_broker.authority.revoke(text.strip().removeprefix("serial="))
    mosquitto_broker.stop()
    mosquitto_broker.start()
    with pytest.raises(ConnectionError):
        connect(mosquitto_broker, device.credentials, timeout_s=2.0)

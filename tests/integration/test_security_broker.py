"""What a stolen device can do at either broker: nothing but speak for its own aircraft, until it is revoked."""

import threading
from pathlib import Path

import pytest

from hub.embedded.broker import Broker
from hub.embedded.nats_conf import MAX_PAYLOAD_BYTES
from tests.fix_broker import MqttClient, TestDevice, connect, new_device

FOREIGN = ["$JS.API.STREAM.LIST", "$JS/API/STREAM/LIST", "$SYS/broker/x", "$MQTT/sub/x", "_INBOX/x", "dbx/v1/hub"]


@pytest.fixture
def device(broker: Broker, broker_folder: Path) -> TestDevice:
    return registered(broker, broker_folder)


def registered(broker: Broker, folder: Path, like: TestDevice | None = None) -> TestDevice:
    """A device that is let in; `like`: another one on the same aircraft."""
    org, aircraft = (like.org_id, like.aircraft_id) if like else (None, None)
    made = new_device(broker.authority, folder, org, aircraft)
    broker.add_device(made.org_id, made.aircraft_id, made.device_id)
    return made


def heard_by_hub(broker: Broker) -> MqttClient:
    hub = connect(broker, broker.hub_credentials)
    assert hub.subscribe("dbx/v1/#")
    return hub


def test_a_revoked_device_is_shut_out_where_it_is_connected_and_its_twin_goes_on(
    broker: Broker, device: TestDevice, broker_folder: Path
) -> None:
    twin = registered(broker, broker_folder, device)
    hub = heard_by_hub(broker)
    stolen, honest = connect(broker, device.credentials), connect(broker, twin.credentials)
    assert stolen.subscribe(device.topic("down/#"))
    broker.remove_device(device.org_id, device.aircraft_id, device.device_id)
    stolen.publish(device.topic("up/live"), b"stolen", timeout_s=1.0)
    assert hub.publish(device.topic("down/directive"), b"for the twin")
    assert honest.publish(twin.topic("up/live"), b"honest")
    assert hub.wait_heard(2)
    assert {p for t, p in hub.heard if "/up/" in t} == {b"honest"}
    assert stolen.heard == []
    for client in (stolen, honest, hub):
        client.close()


@pytest.mark.parametrize("topic", FOREIGN)
def test_a_device_reaches_nothing_of_the_broker_itself(broker: Broker, device: TestDevice, topic: str) -> None:
    aircraft = connect(broker, device.credentials)
    try:
        aircraft.subscribe(topic, timeout_s=1.0)
        aircraft.subscribe(f"{topic.split('/')[0]}/#", timeout_s=1.0)
        aircraft.publish(topic, b"{}", timeout_s=0.5)
    except (OSError, ValueError):
        pass
    threading.Event().wait(0.3)
    assert aircraft.heard == []
    aircraft.close()
    hub = connect(broker, broker.hub_credentials)  # the broker is well
    assert hub.publish(device.topic("down/receipt"), b"x")
    hub.close()


@pytest.mark.parametrize("pattern", ["dbx/v1/+/+/up/#", "dbx/v1/{org}/#", "+/+/+/+/+/+", "$share/ingest/dbx/v1/#"])
def test_a_device_hears_nothing_that_others_send(
    broker: Broker, device: TestDevice, broker_folder: Path, pattern: str
) -> None:
    victim = registered(broker, broker_folder)
    thief, honest = connect(broker, device.credentials), connect(broker, victim.credentials)
    thief.subscribe(pattern.format(org=victim.org_id), timeout_s=1.0)
    assert honest.publish(victim.topic("up/live"), b"secret")
    assert honest.publish(victim.topic("state"), b"secret")
    threading.Event().wait(0.3)
    assert thief.heard == []
    thief.close()
    honest.close()


def test_a_message_beyond_the_bound_stops_only_who_sent_it(
    broker: Broker, device: TestDevice, broker_folder: Path
) -> None:
    victim = registered(broker, broker_folder)
    hub, big, honest = heard_by_hub(broker), connect(broker, device.credentials), connect(broker, victim.credentials)
    big.publish(device.topic("up/live"), b"x" * (2 * MAX_PAYLOAD_BYTES), timeout_s=2.0)
    big.close()
    assert honest.publish(victim.topic("up/live"), b"honest")
    assert hub.wait_heard(1) and [p for _, p in hub.heard] == [b"honest"]
    assert (hub.lost, honest.lost) == (0, 0)
    honest.close()
    hub.close()


def test_who_takes_anothers_client_id_inherits_nothing(broker: Broker, device: TestDevice, broker_folder: Path) -> None:
    victim = registered(broker, broker_folder)
    first = connect(broker, victim.credentials, "victim", clean=False)
    assert first.subscribe(victim.topic("down/#"))
    first.close()
    hub = connect(broker, broker.hub_credentials)
    assert hub.publish(victim.topic("down/receipt"), b"waiting")
    thief = connect(broker, device.credentials, "victim", clean=False)
    assert hub.publish(victim.topic("down/receipt"), b"fresh")
    threading.Event().wait(0.5)
    assert thief.heard == []
    thief.close()
    hub.close()

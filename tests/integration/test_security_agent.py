"""What others can do to an aircraft's agent over the broker: nothing."""

import queue
import time
import uuid
from pathlib import Path

import pytest

from agent.mqtt import V311, Address, Connection, Event
from hub.embedded.broker import Broker
from hub.ingest.process import session_name
from hub.installation import BrokerAddress
from hub.pki import DeviceAuthority
from tests.fix_agent import HubKey, write_identity
from tests.fix_broker import connect, new_device


def test_a_device_that_knows_the_aircrafts_id_cannot_cut_it_off(broker: Broker, broker_folder: Path) -> None:
    identity = write_identity(broker_folder / "identity", HubKey(), broker)
    thief = new_device(broker.authority, broker_folder, identity.org_id)
    broker.add_device(thief.org_id, thief.aircraft_id, thief.device_id)
    events: queue.Queue[Event] = queue.Queue()
    connection = Connection(identity, V311, events)
    connection.open(Address(broker.host, broker.mqtt_port))
    assert events.get(timeout=10).kind == "connected"
    for guess in (identity.aircraft_id, identity.device_id, identity.org_id, identity.signer.key_id.hex()):
        connect(broker, thief.credentials, str(guess)).close()
    time.sleep(0.3)
    assert events.empty()
    connection.close()


def test_the_hubs_session_at_a_broker_is_named_by_a_secret_of_its_own(tmp_path: Path) -> None:
    names = []
    for folder in (tmp_path / "a", tmp_path / "a", tmp_path / "b"):
        credentials = DeviceAuthority(folder).hub_client()
        names.append(session_name(BrokerAddress("mqtts", "127.0.0.1", 1, credentials)))
    assert names[0] == names[1] != names[2]


def test_a_client_id_stays_the_same_and_differs_between_identities(tmp_path: Path) -> None:
    one, other = (write_identity(tmp_path / str(n), HubKey()) for n in range(2))
    assert one.mqtt_client_id() == one.mqtt_client_id() != other.mqtt_client_id()


@pytest.mark.parametrize("key", ["hub_keys"])
def test_an_identity_shows_no_secret_when_printed(tmp_path: Path, key: str) -> None:
    identity = write_identity(tmp_path / str(uuid.uuid4()), HubKey())
    assert (identity.folder / "signing.key").read_bytes().hex() not in repr(identity)
    assert key in repr(identity)

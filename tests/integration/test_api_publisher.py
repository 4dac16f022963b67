"""All open directives reach the aircraft's topic at a real broker, retained, now or when the broker is back."""

import time
import uuid

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.api.publisher import Addressee, DirectivePublisher, OpenDirectives
from hub.embedded.broker import NatsBroker
from hub.pki import DeviceAuthority
from shared.envelope import DIRECTIVE_TYPE, open_envelope
from shared.receipt import MAX_OPEN_DIRECTIVES, decode_directive, unpack_directives
from tests.fix_api import HUB_PUBLIC
from tests.fix_broker import connect, new_device


def versions(payload: bytes) -> list[int]:
    def key(_key_id: bytes) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(HUB_PUBLIC)

    return [decode_directive(open_envelope(e, key, DIRECTIVE_TYPE).payload).version for e in unpack_directives(payload)]


def answered(ours, aircraft: str, version: int) -> None:
    with ours.database.connect() as conn:
        conn.execute("ALTER TABLE directives DISABLE TRIGGER audit")
        conn.execute(
            "UPDATE directives SET state = 'enacted' WHERE aircraft_id = %s AND version = %s", (aircraft, version)
        )


def test_an_aircraft_that_connects_late_hears_every_directive_that_it_has_not_answered(ours, tmp_path) -> None:
    authority = DeviceAuthority(tmp_path / "pki")
    broker = NatsBroker(tmp_path / "nats", authority)
    aircraft = ours.post("/v1/aircraft", {"name": "A"}).json()["id"]
    device = new_device(authority, tmp_path, ours.org_id, uuid.UUID(aircraft))
    broker.add_device(device.org_id, device.aircraft_id, device.device_id)
    for _ in range(3):
        ours.post(f"/v1/aircraft/{aircraft}/directives", {"kind": "hold", "body": {}})
    answered(ours, aircraft, 1)
    directives = OpenDirectives(ours.database.url("dbx_api"))
    publisher = DirectivePublisher(broker.host, broker.mqtt_port, authority.hub_client().client_context(), directives)
    publisher.start()
    time.sleep(0.3)  # the broker is not there yet
    with broker.start():
        try:
            client = connect(broker, device.credentials, str(device.aircraft_id))
            assert client.subscribe(device.topic("down/directive")) and client.wait_heard(1, 20)
            assert [versions(payload) for _, payload in client.heard] == [[2, 3]]
            ours.post(f"/v1/aircraft/{aircraft}/directives", {"kind": "hold", "body": {}})
            publisher.send(Addressee(device.org_id, device.aircraft_id))
            assert client.wait_heard(2) and versions(client.heard[1][1]) == [2, 3, 4]
            client.close()
        finally:
            publisher.close()


def test_a_new_process_finds_the_aircraft_that_have_not_answered(ours) -> None:
    first, second = (ours.post("/v1/aircraft", {"name": n}).json()["id"] for n in ("A", "B"))
    for aircraft in (first, first, second):
        ours.post(f"/v1/aircraft/{aircraft}/directives", {"kind": "hold", "body": {}})
    answered(ours, second, 1)
    found = OpenDirectives(ours.database.url("dbx_api"))
    assert found.addressees() == [(ours.org_id, uuid.UUID(first))]
    assert versions(found.of(found.addressees()[0])) == [1, 2]


def test_an_aircraft_that_answers_nothing_gets_no_endless_list(ours) -> None:
    aircraft = ours.post("/v1/aircraft", {"name": "A"}).json()["id"]
    path = f"/v1/aircraft/{aircraft}/directives"
    for _ in range(MAX_OPEN_DIRECTIVES):
        assert ours.post(path, {"kind": "hold", "body": {}}).status_code == 201
    assert ours.post(path, {"kind": "hold", "body": {}}).status_code == 409


def test_the_api_tells_the_publisher_for_whom_there_is_a_new_directive(ours) -> None:
    sent = []

    class Publisher:
        def start(self) -> None: ...

        def send(self, to: Addressee) -> None:
            sent.append(to)

        def close(self) -> None: ...

    state = ours.client.app.state.api
    object.__setattr__(state.parts, "publishing", Publisher())
    aircraft = ours.post("/v1/aircraft", {"name": "A"}).json()["id"]
    ours.post(f"/v1/aircraft/{aircraft}/directives", {"kind": "hold", "body": {}})
    assert [str(d.aircraft_id) for d in sent] == [aircraft]

"""Directives reach the aircraft's topic at a real broker, retained, now or when the broker is back."""

import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.api.publisher import DirectivePublisher, Outgoing, unanswered
from hub.embedded.broker import NatsBroker
from hub.pki import DeviceAuthority
from shared.envelope import DIRECTIVE_TYPE, open_envelope
from shared.receipt import decode_directive
from tests.fix_api import HUB_PUBLIC
from tests.fix_broker import connect, new_device


def test_an_aircraft_hears_a_directive_also_when_it_connects_later(tmp_path) -> None:
    authority = DeviceAuthority(tmp_path / "pki")
    broker = NatsBroker(tmp_path / "nats", authority)
    device = new_device(authority, tmp_path)
    broker.add_device(device.org_id, device.aircraft_id, device.device_id)
    publisher = DirectivePublisher(broker.host, broker.mqtt_port, authority.hub_client().client_context())
    publisher.start()
    publisher.send(Outgoing(device.org_id, device.aircraft_id, b"signed"))
    time.sleep(0.3)  # the broker is not there yet
    with broker.start():
        try:
            client = connect(broker, device.credentials, str(device.aircraft_id))
            assert client.subscribe(device.topic("down/directive")) and client.wait_heard(1, 20)
            assert client.heard[0] == (device.topic("down/directive"), b"signed")
            client.close()
        finally:
            publisher.close()


def test_what_is_unanswered_is_published_again_by_a_new_process(ours) -> None:
    first, second = (ours.post("/v1/aircraft", {"name": n}).json()["id"] for n in ("A", "B"))
    for aircraft in (first, first, second):
        ours.post(f"/v1/aircraft/{aircraft}/directives", {"kind": "hold", "body": {}})
    with ours.database.connect() as conn:
        conn.execute("ALTER TABLE directives DISABLE TRIGGER audit")
        conn.execute("UPDATE directives SET state = 'enacted' WHERE aircraft_id = %s", (second,))
    found = unanswered(ours.database.url("dbx_api"))

    def key(_key_id: bytes) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(HUB_PUBLIC)

    assert [(o.org_id, str(o.aircraft_id)) for o in found] == [(ours.org_id, first)]
    assert decode_directive(open_envelope(found[0].envelope, key, DIRECTIVE_TYPE).payload).version == 2


def test_the_api_hands_each_new_directive_to_the_publisher(ours, monkeypatch) -> None:
    sent = []

    class Publisher:
        def start(self) -> None: ...

        def send(self, directive: Outgoing) -> None:
            sent.append(directive)

        def close(self) -> None: ...

    state = ours.client.app.state.api
    object.__setattr__(state.parts, "publishing", Publisher())
    aircraft = ours.post("/v1/aircraft", {"name": "A"}).json()["id"]
    ours.post(f"/v1/aircraft/{aircraft}/directives", {"kind": "hold", "body": {}})
    assert [str(d.aircraft_id) for d in sent] == [aircraft]

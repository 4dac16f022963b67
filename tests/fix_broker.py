"""Real brokers with mutual TLS and access control per device, and MQTT clients that enrolled there."""

import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion

from hub.embedded.broker import Broker, MosquittoBroker, NatsBroker
from hub.pki import Credentials, DeviceAuthority


@dataclass(frozen=True)
class TestDevice:
    """An aircraft with its own TLS key, registered at a broker."""

    __test__ = False
    org_id: uuid.UUID
    aircraft_id: uuid.UUID
    credentials: Credentials
    device_id: uuid.UUID | None = None

    def topic(self, rest: str) -> str:
        return f"dbx/v1/{self.org_id}/{self.aircraft_id}/{rest}"


def certificate_request(name: str = "device") -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A P-256 key and a request (PEM) made with it, as an agent makes them."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return key, request.public_bytes(serialization.Encoding.PEM)


def new_device(
    authority: DeviceAuthority, folder: Path, org_id: uuid.UUID | None = None, aircraft_id: uuid.UUID | None = None
) -> TestDevice:
    """A device with a signed certificate in `folder`; not registered at any broker yet."""
    org, aircraft, device = org_id or uuid.uuid4(), aircraft_id or uuid.uuid4(), uuid.uuid4()
    key, request = certificate_request()
    files = Credentials(folder / f"{device}.key", folder / f"{device}.crt", authority.folder / "ca.crt")
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    files.certificate.write_text(authority.sign_device(request, org, aircraft, device).certificate_pem)
    return TestDevice(org, aircraft, files, device)


@dataclass
class MqttClient:
    """A connected MQTT client that collects what it hears."""

    client: mqtt.Client
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    lost: int = 0
    news: threading.Condition = field(default_factory=threading.Condition)
    granted: list[int] = field(default_factory=list)

    def wait_heard(self, count: int, timeout_s: float = 10.0) -> bool:
        with self.news:
            return self.news.wait_for(lambda: len(self.heard) >= count, timeout_s)

    def publish(self, topic: str, payload: bytes, timeout_s: float = 10.0) -> bool:
        """Publish with QoS 1; whether the broker acknowledged it in time."""
        info = self.client.publish(topic, payload, qos=1)
        try:
            info.wait_for_publish(timeout_s)
        except (RuntimeError, ValueError):
            return False
        return info.is_published()

    def subscribe(self, topic: str, timeout_s: float = 10.0) -> bool:
        """Subscribe with QoS 1; whether the broker granted it."""
        before = len(self.granted)
        self.client.subscribe(topic, qos=1)
        with self.news:
            self.news.wait_for(lambda: len(self.granted) > before, timeout_s)
        return len(self.granted) > before and self.granted[-1] < 0x80

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def connect(
    broker: Broker,
    credentials: Credentials,
    client_id: str = "",
    *,
    clean: bool = True,
    version: mqtt.MQTTProtocolVersion = mqtt.MQTTProtocolVersion.MQTTv311,
    timeout_s: float = 10.0,
) -> MqttClient:
    """Connect to a broker. ConnectionError when it refuses."""
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id, protocol=version, clean_session=None if version == 5 else clean
    )
    made = MqttClient(client)
    up = threading.Event()
    refused: list[str] = []

    def on_connect(_c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        if reason.is_failure:
            refused.append(str(reason))
        up.set()

    def on_message(_c: Any, _u: Any, message: mqtt.MQTTMessage) -> None:
        with made.news:
            made.heard.append((message.topic, bytes(message.payload)))
            made.news.notify_all()

    def on_disconnect(*_: Any) -> None:
        made.lost += 1

    def on_subscribe(_c: Any, _u: Any, _m: Any, reasons: Any, _p: Any) -> None:
        with made.news:
            made.granted.append(reasons[0].value)
            made.news.notify_all()

    client.on_connect, client.on_message = on_connect, on_message
    client.on_disconnect, client.on_subscribe = on_disconnect, on_subscribe
    client.tls_set_context(credentials.client_context())
    client.reconnect_delay_set(1, 1)
    try:
        client.connect(broker.host, broker.mqtt_port, clean_start=clean if version == 5 else 3)
    except OSError as error:
        raise ConnectionError(str(error)) from error
    client.loop_start()
    if not up.wait(timeout_s) or refused or not client.is_connected():
        made.close()
        raise ConnectionError(f"refused: {refused}")
    return made


def start_nats(folder: Path) -> NatsBroker:
    return NatsBroker(folder / "nats", DeviceAuthority(folder / "pki")).start()


def start_mosquitto(folder: Path) -> MosquittoBroker:
    """Skips where the binary is absent; CI installs it."""
    if not (shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists()):
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    return MosquittoBroker(folder / "mosquitto", DeviceAuthority(folder / "pki")).start()


STARTERS = {"nats": start_nats, "mosquitto": start_mosquitto}


@pytest.fixture
def broker_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dbx-broker-") as folder:
        yield Path(folder)


@pytest.fixture
def nats_broker(broker_folder: Path) -> Iterator[NatsBroker]:
    broker = start_nats(broker_folder)
    yield broker
    broker.stop()


@pytest.fixture
def mosquitto_broker(broker_folder: Path) -> Iterator[MosquittoBroker]:
    broker = start_mosquitto(broker_folder)
    yield broker
    broker.stop()


@pytest.fixture(params=["nats", "mosquitto"])
def broker(request: pytest.FixtureRequest, broker_folder: Path) -> Iterator[Broker]:
    """Each of the two brokers in turn."""
    started = STARTERS[request.param](broker_folder)
    yield started
    started.stop()

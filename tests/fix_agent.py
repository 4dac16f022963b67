"""An enrolled aircraft, a small scripted hub that really verifies and signs, and agent processes."""

import base64
import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent.identity import Identity, certificate_request, load, make_tls_key, raw_public, signer_of, write_private
from hub.embedded.broker import Broker
from shared import batch as wire
from shared import envelope, receipt, topics
from shared.codec import decode_block
from shared.frames import Frames, join
from shared.ids import key_id
from tests.fix_broker import MqttClient, connect

ROOT = Path(__file__).resolve().parent.parent
DEMO_LOG = ROOT / "deploy" / "demo" / "copter.tlog.zst"


@dataclass
class HubKey:
    """The key by which a scripted hub signs."""

    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def receipt(self, stream: uuid.UUID, committed: dict[int, bytes]) -> bytes:
        body = receipt.encode_receipt(receipt.make_receipt(stream, committed, time.time_ns() // 1000))
        return envelope.seal(body, self.private, signer_of(self.private).key_id, envelope.RECEIPT_TYPE)

    def directive(self, aircraft: uuid.UUID, version: int, kind: str, body: dict[str, Any]) -> bytes:
        made = receipt.encode_directive(receipt.Directive(aircraft, version, kind, body, time.time_ns() // 1000))
        return envelope.seal(made, self.private, signer_of(self.private).key_id, envelope.DIRECTIVE_TYPE)


def write_identity(folder: Path, hub_key: HubKey, broker: Broker | None = None) -> Identity:
    """An identity folder as enrolment writes it; with a broker, its certificate is real and registered there."""
    folder.mkdir(parents=True, exist_ok=True)
    org, aircraft = uuid.uuid4(), uuid.uuid4()
    key = Ed25519PrivateKey.generate()
    write_private(folder / "signing.key", key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    pem, tls_key = make_tls_key()
    write_private(folder / "tls.key", pem)
    if broker is not None:
        signed = broker.authority.sign_device(certificate_request(tls_key).encode(), org, aircraft)
        (folder / "tls.crt").write_text(signed.certificate_pem)
        (folder / "ca.crt").write_bytes((broker.authority.folder / "ca.crt").read_bytes())
        broker.add_device(org, aircraft)
    hub_public = raw_public(hub_key.private.public_key())
    facts = {
        "org_id": str(org), "aircraft_id": str(aircraft), "device_id": str(uuid.uuid4()),
        "hub_url": "http://127.0.0.1:9", "key_id": signer_of(key).key_id.hex(),
        "hub_keys": [{"key_id": key_id(hub_public).hex(), "public_key": base64.b64encode(hub_public).decode()}],
        "mqtt": {
            "host": broker.host if broker else "127.0.0.1", "port": broker.mqtt_port if broker else 9, "tls": True,
        },
    }  # fmt: skip
    (folder / "identity.json").write_text(json.dumps(facts))
    return load(folder)


class ScriptedHub:
    """Subscribes for one aircraft; verifies, keeps and receipts what arrives. Each (stream, seq) counts once."""

    def __init__(self, broker: Broker, identity: Identity, key: HubKey) -> None:
        self.batches: dict[tuple[uuid.UUID, int], tuple[wire.Batch, bytes]] = {}
        self.arrivals: list[tuple[float, wire.Batch]] = []
        self.conflicts = 0
        self.states: list[dict[str, Any]] = []
        self.is_receipting = True
        self.refuses: set[int] = set()
        """Sequences that are quarantined: kept, and never receipted."""
        self._key = key
        self._identity = identity
        self._lock = threading.Condition()
        self._inbox: queue.Queue[tuple[str, bytes] | None] = queue.Queue()
        self.client = self._connect(broker)
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    def _connect(self, broker: Broker) -> MqttClient:
        client = connect(broker, broker.hub_credentials, f"hub-{uuid.uuid4()}")
        client.client.on_message = lambda _c, _u, m: self._inbox.put((m.topic, bytes(m.payload)))
        root = topics.state(self._identity.org_id, self._identity.aircraft_id).removesuffix("/state")
        assert client.subscribe(f"{root}/up/+") and client.subscribe(f"{root}/state")
        return client

    def _work(self) -> None:
        while (item := self._inbox.get()) is not None:
            topic, payload = item
            if topic.endswith("/state"):
                self.states.append(json.loads(payload))
                continue
            opened = envelope.open_envelope(payload, self._identity.find_own, envelope.BATCH_TYPE)
            body = wire.decode(opened.payload)
            with self._lock:
                known = self.batches.setdefault((body.stream, body.seq), (body, opened.digest))
                self.conflicts += known[1] != opened.digest
                self.arrivals.append((time.monotonic(), body))
                self._lock.notify_all()
            if self.is_receipting and body.seq not in self.refuses:
                self.send_receipt(body.stream, {body.seq: known[1]})

    def send_receipt(self, stream: uuid.UUID, committed: dict[int, bytes]) -> None:
        topic = topics.receipt(self._identity.org_id, self._identity.aircraft_id)
        self.client.client.publish(topic, self._key.receipt(stream, committed), qos=1)

    def send_directive(self, version: int, kind: str, body: dict[str, Any]) -> None:
        who = self._identity.org_id, self._identity.aircraft_id
        made = self._key.directive(who[1], version, kind, body)
        self.client.client.publish(topics.directive(*who), receipt.pack_directives([made]), qos=1, retain=True)

    def wait(self, count: int, timeout_s: float = 20) -> bool:
        """Wait for so many different batches."""
        with self._lock:
            return self._lock.wait_for(lambda: len(self.batches) >= count, timeout_s)

    def records(self) -> list[dict[str, Any]]:
        """All records, in order of sequence."""
        return [r for _, (b, _) in sorted(self.batches.items()) for r in b.records]

    def frames(self) -> Frames:
        """All frames, in order of stream and sequence."""
        blocks = [decode_block(b.columns).frames() for _, (b, _) in sorted(self.batches.items()) if b.columns]
        return join(blocks)

    def close(self) -> None:
        self._inbox.put(None)
        self._worker.join(timeout=5)
        self.client.close()


def check_chain(batches: dict[tuple[uuid.UUID, int], tuple[wire.Batch, bytes]]) -> None:
    """Every stream's sequences run from 1 without gap, and each batch names the digest of the one before."""
    for stream in {s for s, _ in batches}:
        sequences = sorted(seq for s, seq in batches if s == stream)
        assert sequences == list(range(1, len(sequences) + 1))
        before = wire.GENESIS
        for seq in sequences:
            body, digest = batches[stream, seq]
            assert body.prev == before, f"chain broken at {seq}"
            before = digest


def settings_file(folder: Path, **sections: dict[str, Any]) -> Path:
    """agent.toml in a folder, data beside it; values as given."""
    sections.setdefault("findings", {"bundle": ""})
    lines = ['data_dir = "data"', 'identity_dir = "identity"']
    for name, values in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    path = folder / "agent.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def start_agent(*args: str | Path, **options: Any) -> "subprocess.Popen[str]":
    """`dbx agent ...` as a process."""
    command = [sys.executable, "-P", "-m", "shared.command", "agent", *map(str, args)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, stderr=subprocess.PIPE, **options)


def run_agent(*args: str | Path, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
    """`dbx agent ...` to its end."""
    process = start_agent(*args, stdout=subprocess.PIPE)
    out, err = process.communicate(timeout=timeout_s)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@dataclass
class Aircraft:
    """An enrolled aircraft's folder, its identity, its hub."""

    folder: Path
    identity: Identity
    hub_key: HubKey
    hub: ScriptedHub

    def config(self, **sections: dict[str, Any]) -> Path:
        return settings_file(self.folder, **sections)

    @property
    def store(self) -> Path:
        return self.folder / "data" / "store.db"


@pytest.fixture
def hub_key() -> HubKey:
    return HubKey()


@pytest.fixture
def aircraft(broker: Broker, tmp_path: Path, hub_key: HubKey) -> Iterator[Aircraft]:
    """Enrolled at each broker in turn."""
    identity = write_identity(tmp_path / "identity", hub_key, broker)
    hub = ScriptedHub(broker, identity, hub_key)
    yield Aircraft(tmp_path, identity, hub_key, hub)
    hub.close()


def public_of(identity: Identity) -> Ed25519PublicKey:
    return identity.signer.key.public_key()

"""The configuration of nats-server as our broker: MQTT with mutual TLS, JetStream, one user per device certificate."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hub.embedded.devices import Device
from hub.pki import HUB_NAME, Credentials
from shared import topics
from shared.envelope import MAX_ENVELOPE_BYTES

MAX_PAYLOAD_BYTES = 2 * MAX_ENVELOPE_BYTES  # an envelope with MQTT's and JetStream's headers, with room
MAX_UNACKNOWLEDGED = 2048  # deliveries that a subscriber may hold; the hub's own queue is bounded besides
ACK_WAIT_S = 60
SYNC_S = 5  # a power cut costs at most this much of what aircraft then send again, having no receipt


@dataclass(frozen=True)
class NatsPlace:
    """Where a server runs: folders and ports."""

    store: Path
    host: str
    mqtt_port: int
    nats_port: int
    server_name: str = "dbx"


def nats_conf(place: NatsPlace, tls: Credentials, devices: Iterable[Device]) -> str:
    """The configuration file. Users are named by certificate subject (`verify_and_map`): no certificate, no user."""
    users = "\n".join([_hub_user(), *(_device_user(device) for device in devices)])
    return f"""\
# Written by DBX; changes are overwritten.
server_name: {place.server_name}
listen: "{place.host}:{place.nats_port}"
max_payload: {MAX_PAYLOAD_BYTES}
max_pending: {64 * MAX_PAYLOAD_BYTES}
write_deadline: "30s"
{_tls(tls)}
jetstream {{ store_dir: {json.dumps(str(place.store))}, sync_interval: "{SYNC_S}s" }}
mqtt {{
  listen: "{place.host}:{place.mqtt_port}"
  ack_wait: "{ACK_WAIT_S}s"
  max_ack_pending: {MAX_UNACKNOWLEDGED}
  {_tls(tls)}
}}
authorization {{ users: [
{users}
] }}
"""


def _tls(tls: Credentials) -> str:
    files = {"cert_file": tls.certificate, "key_file": tls.key, "ca_file": tls.ca}
    lines = ", ".join(f"{name}: {json.dumps(str(path))}" for name, path in files.items())
    return f"tls {{ {lines}, verify_and_map: true, timeout: 10 }}"


def _hub_user() -> str:
    return f'  {{ user: "CN={HUB_NAME}" }}'


def _device_user(device: Device) -> str:
    """One device: it may send upward and say its state, hear what is meant for it, and nothing else."""
    root = topics.state(device.org_id, device.aircraft_id).removesuffix("/state").replace("/", ".")
    common_name, organisation, *unit = device.subject()
    user = ",".join([common_name, *unit, organisation])  # the server orders the parts by their kind
    return (
        f'  {{ user: "{user}", allowed_connection_types: ["MQTT"], permissions: {{\n'
        f'      publish: {{ allow: ["{root}.up.>", "{root}.state"] }},\n'
        f'      subscribe: {{ allow: ["{root}.down", "{root}.down.>"] }} }} }}'
    )

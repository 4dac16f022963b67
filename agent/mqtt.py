"""One MQTT connection over TLS with our certificate. A fresh paho client each time: nothing of paho's own is resent.

Everything that happens is an event in a queue; paho's thread runs nothing of ours besides.
"""

import json
import queue
import ssl
from dataclasses import dataclass
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.identity import Identity
from shared import topics
from shared.topics import Lane

EXPIRY_S = 86_400
UNSUPPORTED_VERSION = (0x84, 1)
"""CONNACK of MQTT 5 and 3.1.1: this protocol version is not spoken here."""
V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311


@dataclass(frozen=True, slots=True)
class Event:
    """connected and disconnected: code is the reason code; puback: code is the message id; message: topic, payload."""

    kind: Literal["connected", "refused", "disconnected", "puback", "message", "wake"]
    code: int = 0
    topic: str = ""
    payload: bytes = b""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the broker is."""

    host: str
    port: int
    keepalive_s: int = 20


class Connection:
    """See the module. `events` belongs to the uplink and outlives the connection."""

    def __init__(
        self, identity: Identity, version: MQTTProtocolVersion, events: "queue.Queue[Event]", role: str = ""
    ) -> None:
        self._identity = identity
        self._events = events
        self.version = version
        five = version == V5
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, identity.mqtt_client_id() + role, protocol=version,
            clean_session=None if five else True, reconnect_on_failure=False,
        )  # fmt: skip
        self._client.max_inflight_messages_set(0)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._state = topics.state(identity.org_id, identity.aircraft_id)

    def open(self, address: Address) -> None:
        """Connect TCP and TLS; a "connected" or "refused" event follows. OSError (ssl.SSLError is one)."""
        if self._identity.mqtt_tls:
            self._client.tls_set_context(self._identity.tls_context())
        self._client.will_set(self._state, json.dumps({"online": False}), qos=1, retain=True)
        self._client.connect_timeout = 10
        extra: dict[str, Any] = {}
        if self.version == V5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = EXPIRY_S
            extra = {"clean_start": False, "properties": properties}
        try:
            self._client.connect(address.host, address.port, address.keepalive_s, **extra)
        except (ssl.SSLError, OSError):
            raise
        except ValueError as e:
            raise OSError(str(e)) from None
        self._client.loop_start()

    def subscribe(self) -> None:
        """Ask for receipts and directives."""
        who = self._identity.org_id, self._identity.aircraft_id
        self._client.subscribe([(topics.receipt(*who), 1), (topics.directive(*who), 1)])

    def publish(self, lane: Lane, envelope: bytes) -> int:
        """Send a batch, QoS 1; returns its message id. OSError when the connection cannot take it."""
        topic = topics.up(self._identity.org_id, self._identity.aircraft_id, lane)
        properties = None
        if self.version == V5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = EXPIRY_S
        info = self._client.publish(topic, envelope, qos=1, properties=properties)
        if info.rc not in (paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_AGAIN):
            raise OSError(paho.error_string(info.rc))
        return int(info.mid)

    def say_state(self, state: dict[str, Any]) -> None:
        """Publish the retained state (birth, changes, farewell)."""
        self._client.publish(self._state, json.dumps(state), qos=0, retain=True)

    def close(self) -> None:
        """Disconnect and end paho's thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, _c: object, _u: object, _f: object, reason: Any, _p: object = None) -> None:
        kind: Literal["connected", "refused"] = "refused" if reason.is_failure else "connected"
        self._events.put(Event(kind, int(reason.value), text=str(reason)))

    def _on_disconnect(self, _c: object, _u: object, _f: object, reason: Any, _p: object = None) -> None:
        self._events.put(Event("disconnected", int(reason.value), text=str(reason)))

    def _on_publish(self, _c: object, _u: object, mid: int, reason: Any, _p: object = None) -> None:
        if not getattr(reason, "is_failure", False):
            self._events.put(Event("puback", mid))

    def _on_message(self, _c: object, _u: object, message: paho.MQTTMessage) -> None:
        self._events.put(Event("message", 0, message.topic, bytes(message.payload)))

"""Intake from any MQTT broker: a shared subscription (MQTT 5) among the ingest processes, else a plain one (3.1.1).

QoS 1, acknowledged by hand after commit. The session outlives the connection, so that the broker keeps what comes
while the hub is away; its name is a secret and the process's slot: a restarted process finds the session that it had,
and nobody else takes it over.
"""

import logging
import queue
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from hub.ingest.intake import GROUP_BYTES, GROUP_MESSAGES, MERGE_S, QUEUE_MESSAGES, Stopped, Take, receipt_topic
from hub.ingest.pipeline import Arrival
from shared import topics

log = logging.getLogger("dbx.ingest.mqtt")
FILTER = f"{topics.ROOT}/+/+/up/+"
SHARED = f"$share/dbx-ingest/{FILTER}"
SESSION_EXPIRY_S = 7 * 86_400
KEEPALIVE_S = 30
CONNECT_S = 10.0
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """Where the broker is; tls None: without. name: what the hub's sessions are called there, known to it alone."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    name: str


class MqttIntake:
    """One connection at a time. See `hub.ingest.intake.Intake`. slot: number of this process among the hub's own."""

    def __init__(self, address: MqttAddress, slot: int) -> None:
        self._address = address
        self._slot = slot
        self._version = mqtt.MQTTv5

    def run(self, take: Take, stop: threading.Event) -> None:
        pause_s = 1.0
        while not stop.is_set():
            link = _Link(self._address, self._slot, self._version)
            try:
                if link.open(stop):
                    pause_s = 1.0
                    link.work(take, stop)
                elif link.refused_version and self._version == mqtt.MQTTv5:
                    log.info("broker has no MQTT 5; using 3.1.1, one ingest process only")
                    self._version = mqtt.MQTTv311
                    continue
            except Stopped:
                return
            finally:
                link.close()
            if stop.wait(pause_s):
                return
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)


class _Link:
    """One connection, from connect to loss."""

    def __init__(self, address: MqttAddress, slot: int, version: Any) -> None:
        self.refused_version = False
        self._address = address
        self._waiting: queue.Queue[mqtt.MQTTMessage] = queue.Queue(QUEUE_MESSAGES)
        self._subscribed = threading.Event()
        self._lost = threading.Event()
        self._is_v5 = version == mqtt.MQTTv5
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            f"{address.name}-{slot}",
            protocol=version,
            manual_ack=True,
            clean_session=None if self._is_v5 else False,
        )
        if address.tls is not None:
            self._client.tls_set_context(address.tls)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    def open(self, stop: threading.Event) -> bool:
        """Connect and subscribe; False when that fails."""
        try:
            if self._is_v5:
                wishes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
                wishes.SessionExpiryInterval = SESSION_EXPIRY_S
                wishes.ReceiveMaximum = QUEUE_MESSAGES
                self._client.connect(
                    self._address.host, self._address.port, KEEPALIVE_S, clean_start=False, properties=wishes
                )
            else:
                self._client.connect(self._address.host, self._address.port, KEEPALIVE_S)
        except (OSError, ValueError) as e:
            log.warning("broker not reachable", extra={"error": f"{type(e).__name__}: {e}"})
            return False
        self._client.loop_start()
        deadline = time.monotonic() + CONNECT_S
        while time.monotonic() < deadline and not stop.is_set() and not self._lost.is_set():
            if self._subscribed.wait(0.05):
                log.info("subscribed", extra={"mqtt": 5 if self._is_v5 else 3})
                return True
        self.refused_version = self._is_v5 and not self._subscribed.is_set() and not stop.is_set()
        return False

    def work(self, take: Take, stop: threading.Event) -> None:
        """Until the connection is lost or `stop`."""
        while not stop.is_set() and not self._lost.is_set():
            group = self._group()
            if not group:
                continue
            receipts = take([Arrival(m.topic, bytes(m.payload)) for m in group])
            for receipt in receipts:
                self._client.publish(receipt_topic(receipt), receipt.envelope, qos=1)
            for message in group:
                self._client.ack(message.mid, message.qos)

    def close(self) -> None:
        """End the connection; the session stays at the broker."""
        self._lost.set()
        while not self._waiting.empty():  # lets a callback that waits for room go on
            self._waiting.get_nowait()
        self._client.disconnect()
        self._client.loop_stop()

    def _group(self) -> list[mqtt.MQTTMessage]:
        try:
            group = [self._waiting.get(timeout=0.25)]
        except queue.Empty:
            return []
        size, until = len(group[0].payload), time.monotonic() + MERGE_S
        while len(group) < GROUP_MESSAGES and size < GROUP_BYTES:
            try:
                group.append(self._waiting.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
            size += len(group[-1].payload)
        return group

    def _on_connect(self, client: mqtt.Client, _: Any, flags: Any, reason: Any, properties: Any = None) -> None:
        if reason.is_failure:
            log.warning("broker refused the connection", extra={"reason": str(reason)})
            self._lost.set()
        elif self._is_v5:
            client.subscribe(SHARED, options=SubscribeOptions(qos=1))
        else:
            client.subscribe(FILTER, qos=1)

    def _on_subscribe(self, client: mqtt.Client, _: Any, mid: int, reasons: Any, properties: Any = None) -> None:
        if all(not r.is_failure for r in reasons):
            self._subscribed.set()
        elif self._is_v5:
            log.info("broker has no shared subscriptions; using a plain one, one ingest process only")
            self._is_v5 = False
            client.subscribe(FILTER, qos=1)
        else:
            log.error("broker refused the subscription", extra={"reasons": [str(r) for r in reasons]})
            self._lost.set()

    def _on_message(self, client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        """Waiting for room here stops reading from the broker: that is the brake."""
        while not self._lost.is_set():
            try:
                self._waiting.put(message, timeout=0.25)
            except queue.Full:
                continue
            return

    def _on_disconnect(self, client: mqtt.Client, _: Any, flags: Any, reason: Any, properties: Any = None) -> None:
        if not self._lost.is_set():
            log.warning("broker connection lost", extra={"reason": str(reason)})
        self._lost.set()

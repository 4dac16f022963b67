"""The load for the ingest bench: a fleet whose batches are encoded and signed beforehand, from real flights.

`python -m tests.bench.ingest_load` is a process of its own: it publishes over MQTT what a file holds, and notes when
each batch was handed to the broker and when its receipt came.
"""

import json
import pickle
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cbor2
import numpy as np
import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.enums import CallbackAPIVersion

from firmware_bridge.tlog import open_log, read_tlog
from shared import batch as batches
from shared import topics
from shared.batch import Batch, Counts
from shared.clock import ClockSource, TimeMapping
from shared.codec import encode_block
from shared.envelope import BATCH_TYPE, digest, seal
from shared.frames import Frames
from shared.ids import key_id, new_id
from shared.records import SessionOpen, to_map
from shared.topics import Lane

UTC_US = 1_780_000_000_000_000


@dataclass(frozen=True, slots=True)
class Slice:
    """Frames of one span of a real flight, encoded; times from 0 to span_us."""

    columns: bytes
    frames: int
    size_bytes: int


@dataclass(slots=True)
class Aircraft:
    """One aircraft of the fleet, in the air."""

    org_id: uuid.UUID
    aircraft_id: uuid.UUID
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    stream: uuid.UUID = field(default_factory=new_id)
    boot: uuid.UUID = field(default_factory=new_id)
    session: uuid.UUID = field(default_factory=new_id)
    seq: int = 0
    prev: bytes = batches.GENESIS

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes_raw()


def slices(logs: Sequence[Path], span_us: int) -> list[list[tuple[int, Slice]]]:
    """Per log its consecutive spans: (start on the log's clock, slice). Times stay the log's own."""
    out = []
    for path in logs:
        frames = read_tlog(open_log(path)).frames
        time_us = frames.time_us - int(frames.time_us[0]) + 1
        edges = np.arange(0, int(time_us[-1]), span_us)
        at = np.searchsorted(time_us, edges, side="right").tolist()
        part = []
        for start, a, b in zip(edges.tolist(), at, at[1:], strict=False):
            cut = frames.slice(a, b)
            same = Frames(cut.data, cut.offsets, time_us[a:b])
            part.append((start, Slice(encode_block(same), b - a, len(cut.data))))
        out.append(part)
    return out


def envelopes(fleet: Sequence[Aircraft], flights: Sequence[list[tuple[int, Slice]]], rounds: int, span_us: int,
              lane: Lane) -> Iterator[tuple[str, bytes]]:  # fmt: skip
    """`rounds` batches of every aircraft, round by round: (topic, envelope). A flight that ends begins again as another
    session of another boot, with the clock mapped on."""
    for k in range(rounds):
        for i, a in enumerate(fleet):
            flight = flights[i % len(flights)]
            at = (i // len(flights) * 3 + k) % len(flight)
            start, part = flight[at]
            if k and at == 0:
                a.boot, a.session = new_id(), new_id()
            yield topics.up(a.org_id, a.aircraft_id, lane), _seal(a, part, start, span_us, k, lane)


def _seal(a: Aircraft, part: Slice, start: int, span_us: int, number: int, lane: Lane) -> bytes:
    a.seq += 1
    utc_us = UTC_US + number * span_us
    clock = (TimeMapping(ClockSource.gps, start, utc_us, 1000),) if number == 0 else ()
    a_clock = clock or (TimeMapping(ClockSource.gps, start, utc_us, 1000),)
    records = ()
    if a.seq == 1:
        opened = SessionOpen(a.session, a.boot, start, 1, start, 1, 1, 3, 2, "ArduCopter 4.6.3")
        records = (to_map(opened),)
    batch = Batch(
        a.stream, a.seq, a.boot, a.session, lane, a.prev, (start, start + span_us), a_clock,
        Counts(part.frames, part.size_bytes), part.columns, records, (1, 1),
    )  # fmt: skip
    envelope = seal(batches.encode(batch), a.key, key_id(a.public), BATCH_TYPE)
    a.prev = digest(envelope)
    return envelope


class Publisher:
    """Publishes envelopes at given times over one MQTT connection and hears all receipts."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        self.sent_s: dict[tuple[bytes, int], float] = {}
        self.received_s: dict[tuple[bytes, int], float] = {}
        self._up = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, f"bench-{uuid.uuid4()}", protocol=mqtt.MQTTv311)
        self._client.tls_set_context(tls)
        self._client.max_inflight_messages_set(2000)
        self._client.on_connect = lambda c, *_: c.subscribe(f"{topics.ROOT}/+/+/down/receipt", 0)
        self._client.on_subscribe = lambda *_: self._up.set()
        self._client.on_message = self._on_message
        self._client.connect(host, port)
        self._client.loop_start()
        if not self._up.wait(20):
            raise RuntimeError("the broker does not answer")

    def _on_message(self, _c: object, _u: object, message: mqtt.MQTTMessage) -> None:
        now = time.monotonic()
        body = cbor2.loads(cbor2.loads(bytes(message.payload)[1:])[2])  # a receipt envelope; signatures are tests' work
        for first, last in body[2]:
            for seq in range(first, last + 1):
                self.received_s.setdefault((body[1], seq), now)

    def publish(self, work: Sequence[tuple[float, bytes, int, str, bytes]], window: int) -> None:
        """(at_s from now, stream, seq, topic, envelope) each; at most `window` without a receipt."""
        began = time.monotonic()
        for at_s, stream, seq, topic, envelope in work:
            while len(self.sent_s) - len(self.received_s) >= window:
                time.sleep(0.001)
            wait = began + at_s - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self.sent_s[stream, seq] = time.monotonic()
            self._client.publish(topic, envelope, qos=1)

    def wait(self, timeout_s: float) -> None:
        """Until every batch has its receipt, or no longer than that."""
        until = time.monotonic() + timeout_s
        while len(self.received_s) < len(self.sent_s) and time.monotonic() < until:
            time.sleep(0.005)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def main() -> None:
    """argv: file with (host, port, key, certificate, ca, window, work); prints what was seen as JSON."""
    from hub.pki import Credentials

    host, port, files, window, timeout_s, work = pickle.loads(Path(sys.argv[1]).read_bytes())
    publisher = Publisher(host, port, Credentials(*files).client_context())
    began_cpu = time.process_time()
    publisher.publish(work, window)
    publisher.wait(timeout_s)
    cpu_s = time.process_time() - began_cpu
    publisher.close()
    sent, received = publisher.sent_s, publisher.received_s
    latency = sorted(received[k] - sent[k] for k in sent if k in received)
    span = max(received.values(), default=0.0) - min(sent.values(), default=0.0)
    print(
        json.dumps({"sent": len(sent), "received": len(latency), "latency_s": latency, "span_s": span, "cpu_s": cpu_s})
    )


if __name__ == "__main__":
    main()

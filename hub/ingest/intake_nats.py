"""Intake from NATS JetStream: a pull consumer on the stream in which nats-server keeps what MQTT clients publish.

Any number of ingest processes share the one durable consumer. That stream keeps a message only while a consumer is
interested, so the consumer is made before anything else, and the stream with it when no MQTT client has been there yet.
"""

import asyncio
import contextlib
import json
import logging
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import api
from nats.js.errors import NotFoundError

from hub.ingest.intake import GROUP_BYTES, GROUP_MESSAGES, MERGE_S, Stopped, Take, receipt_topic
from hub.ingest.pipeline import Arrival
from shared import topics
from shared.envelope import MAX_ENVELOPE_BYTES

log = logging.getLogger("dbx.ingest.nats")
STREAM = "$MQTT_msgs"
PREFIX = "$MQTT.msgs."
CONSUMER = "dbx-ingest"
ACK_WAIT_S = 60.0
MOST_UNACKNOWLEDGED = 20_000
PULL_EXPIRES_S = 30.0
RETRY_S = 2.0
MOST_BYTES = 4 * MAX_ENVELOPE_BYTES


@dataclass(frozen=True, slots=True)
class NatsAddress:
    """nats://host:port, and the TLS context with the hub's certificate (None: without TLS)."""

    url: str
    tls: ssl.SSLContext | None


class NatsIntake:
    """One connection. See `hub.ingest.intake.Intake`."""

    def __init__(self, address: NatsAddress) -> None:
        self._address = address
        self._waiting: deque[Msg] = deque()
        self._oldest_s = 0.0  # when the first of those came, or one before it
        self._news = asyncio.Event()
        self._pulled = 0  # messages that the pull request under way may still bring
        self._mean_bytes = 4096.0

    def run(self, take: Take, stop: threading.Event) -> None:
        asyncio.run(self._run(take, stop))

    async def _run(self, take: Take, stop: threading.Event) -> None:
        client = await self._connect(stop)
        if client is None:
            return
        try:
            while not stop.is_set() and not await self._prepare(client):
                await asyncio.sleep(RETRY_S)
            inbox = client.new_inbox()
            await client.subscribe(inbox, cb=self._on_message, pending_msgs_limit=-1, pending_bytes_limit=-1)
            pulling = asyncio.create_task(self._keep_pulling(client, inbox, stop))
            try:
                await self._work(client, take, stop)
            finally:
                pulling.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pulling
        finally:
            with contextlib.suppress(Exception):  # the connection may be gone: there is nothing left to say on it
                await asyncio.wait_for(client.drain(), 5)

    async def _connect(self, stop: threading.Event) -> Client | None:
        while not stop.is_set():
            client = Client()
            try:
                await client.connect(
                    self._address.url, tls=self._address.tls, name="dbx-ingest", max_reconnect_attempts=-1,
                    reconnect_time_wait=1, connect_timeout=5, ping_interval=10, max_outstanding_pings=2,
                    error_cb=_on_error, disconnected_cb=_on_disconnected, reconnected_cb=self._on_reconnected,
                    allow_reconnect=True,
                )  # fmt: skip
            except (TimeoutError, OSError, nats.errors.Error) as e:
                log.warning("broker not reachable", extra={"error": f"{type(e).__name__}: {e}"})
                with contextlib.suppress(Exception):
                    await client.close()
                await asyncio.sleep(RETRY_S)
            else:
                return client
        return None

    async def _prepare(self, client: Client) -> bool:
        """Make sure of stream and consumer; False when that has to be tried again."""
        js = client.jetstream(timeout=10)
        try:
            try:
                await js.stream_info(STREAM)
            except NotFoundError:
                await js.add_stream(_stream())
            await js.add_consumer(STREAM, _consumer())
        except (TimeoutError, nats.errors.Error) as e:
            log.warning("consumer not ready", extra={"error": f"{type(e).__name__}: {e}"})
            return False
        return True

    async def _on_message(self, message: Msg) -> None:
        if message.headers and "Status" in message.headers and not message.reply.startswith("$JS.ACK"):
            self._pulled = 0  # the pull request has ended: expired, or the server went away
        else:
            self._pulled -= 1
            self._mean_bytes += (len(message.data) - self._mean_bytes) / 16
            if not self._waiting:
                self._oldest_s = time.monotonic()
            self._waiting.append(message)
        self._news.set()

    async def _on_reconnected(self) -> None:
        log.info("broker connection is back")
        self._pulled = 0
        self._news.set()

    async def _keep_pulling(self, client: Client, inbox: str, stop: threading.Event) -> None:
        """Always have one pull request under way, unless enough waits already: it would be kept from others."""
        asked_at = 0.0
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            is_lost = loop.time() > asked_at + PULL_EXPIRES_S + 5
            if client.is_connected and (self._pulled <= 0 or is_lost) and self._has_room():
                self._pulled, asked_at = self._fair_share(), loop.time()
                # max_bytes must let the largest envelope through, or it would never come.
                request = {"batch": self._pulled, "expires": int(PULL_EXPIRES_S * 1e9), "max_bytes": MOST_BYTES}
                body = json.dumps(request).encode()
                with contextlib.suppress(nats.errors.Error):
                    await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER}", body, reply=inbox)
            self._news.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), 0.25)

    def _has_room(self) -> bool:
        return len(self._waiting) < GROUP_MESSAGES // 4 and sum(len(m.data) for m in self._waiting) < GROUP_BYTES // 4

    def _is_enough(self) -> bool:
        return len(self._waiting) >= GROUP_MESSAGES or sum(len(m.data) for m in self._waiting) >= GROUP_BYTES

    def _fair_share(self) -> int:
        """As many messages as one group holds, going by the size of those that came last."""
        return max(4, min(GROUP_MESSAGES, int(GROUP_BYTES / self._mean_bytes)))

    async def _work(self, client: Client, take: Take, stop: threading.Event) -> None:
        while not stop.is_set():
            group = await self._group()
            if not group:
                continue
            try:
                receipts = await asyncio.to_thread(take, [_arrival(m) for m in group])
            except Stopped:
                return
            try:
                for receipt in receipts:
                    await client.publish(receipt_topic(receipt).replace("/", "."), receipt.envelope)
                for message in group:
                    await message.ack()
            except nats.errors.Error as e:  # they come again, and are receipted again
                log.warning("receipts not sent", extra={"error": f"{type(e).__name__}: {e}"})

    async def _group(self) -> list[Msg]:
        """What waits, once the first has waited MERGE_S or a group is full; nothing when none came for a moment."""
        if not self._waiting:
            self._news.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), 0.25)
        if self._waiting and not self._is_enough():
            await asyncio.sleep(max(0.0, self._oldest_s + MERGE_S - time.monotonic()))
        group: list[Msg] = []
        size = 0
        while self._waiting and len(group) < GROUP_MESSAGES and size < GROUP_BYTES:
            group.append(self._waiting.popleft())
            size += len(group[-1].data)
        if group:
            self._news.set()
        return group


def _arrival(message: Msg) -> Arrival:
    return Arrival(message.subject.removeprefix(PREFIX).replace(".", "/"), message.data)


def _stream() -> api.StreamConfig:
    """As nats-server itself makes it at the first MQTT connection."""
    return api.StreamConfig(
        name=STREAM, subjects=[PREFIX + ">"], storage=api.StorageType.FILE, retention=api.RetentionPolicy.INTEREST
    )


def _consumer() -> api.ConsumerConfig:
    return api.ConsumerConfig(
        durable_name=CONSUMER,
        filter_subject=f"{PREFIX}{topics.ROOT.replace('/', '.')}.*.*.up.*",
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_S,
        max_ack_pending=MOST_UNACKNOWLEDGED,
        deliver_policy=api.DeliverPolicy.ALL,
    )


async def _on_error(error: Exception) -> None:
    log.warning("broker error", extra={"error": f"{type(error).__name__}: {error}"})


async def _on_disconnected(*_: Any) -> None:
    log.warning("broker connection lost")

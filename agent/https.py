"""The fall-back where only HTTPS gets out: the same envelopes, the same receipts, no directives."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import cbor2

from agent.hub_https import HubHttps
from agent.identity import Identity
from agent.sending import Outbox, Sending
from agent.settings import UplinkSettings
from agent.store import OutboxRow
from agent.window import Window
from shared import envelope
from shared.errors import Refused
from shared.receipt import Directive, decode_receipt
from shared.topics import Lane

log = logging.getLogger("dbx.uplink")
MAX_POST_BYTES = 1 << 20
MAX_POST_BATCHES = 128
LONGEST_PAUSE_S = 60.0
FAREWELL_S = 5.0


class HttpsUplink:
    """The uplink thread over HTTPS; offers what agent.uplink.Uplink offers."""

    def __init__(
        self, identity: Identity, settings: UplinkSettings, outbox: Outbox, state: Callable[[], dict[str, Any]]
    ) -> None:
        self.is_connected = False
        self.is_live = False
        self.trouble = ""
        self.protocol = "https"
        self.directives: deque[Directive] = deque()
        self.refused = 0
        self.farewell_s = FAREWELL_S
        self.reconnects = 0
        self.unreceipted_oldest_s = 0
        self._identity = identity
        self._hub = HubHttps(identity, settings.hub_url)
        self._receipt_timeout_s = settings.receipt_timeout_s
        self._own = Sending(outbox, Window(receipt_timeout_s=settings.receipt_timeout_s))
        self._imports: Sending | None = None
        self._news = threading.Event()

    def send_too(self, imports: Outbox) -> None:
        """Send these as well: one batch at a time, and only while nothing of our own is left to send."""
        self._imports = Sending(imports, Window(receipt_timeout_s=self._receipt_timeout_s))
        self.wake()

    def wake(self) -> None:
        """There is something new to send."""
        self._news.set()

    def run(self, stop: threading.Event) -> None:
        """Upload until stop, then a bounded last time."""
        pause_s = 1.0
        while not stop.is_set():
            try:
                while not stop.is_set() and self.upload():
                    pause_s = 1.0
                self._news.wait(0.5)
                self._news.clear()
            except (OSError, Refused, ValueError, KeyError) as e:
                self._fail(str(e))
                stop.wait(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        deadline = time.monotonic() + self.farewell_s
        try:
            while self.is_connected and time.monotonic() < deadline and self.upload():
                pass
        except (OSError, Refused, ValueError, KeyError) as e:
            self._fail(str(e))

    def _fail(self, why: str) -> None:
        if why != self.trouble:
            log.warning("uplink trouble", extra={"error": why})
        self.trouble, self.is_connected, self.is_live = why, False, False
        self._hub.forget_challenge()

    def upload(self) -> bool:
        """Send one request's worth of batches. Whether any was receipted. OSError or Refused when it failed."""
        now_s = time.monotonic()
        for sending in filter(None, (self._own, self._imports)):
            sending.forget_gone()
            sending.refresh(now_s)
        self.unreceipted_oldest_s = int(self._own.window.oldest_s(now_s))
        if taken := _take(self._own, MAX_POST_BATCHES):
            return self._post(self._own, taken)
        if self._imports is not None and (taken := _take(self._imports, 1)):
            return self._post(self._imports, taken)
        return False

    def _post(self, sending: Sending, taken: list[tuple[OutboxRow, bytes]]) -> bool:
        body = cbor2.dumps([sealed for _, sealed in taken])
        now_s = time.monotonic()
        try:
            receipts = cbor2.loads(self._hub.post("/v1/envelopes", body))
            for row, _ in taken:
                sending.window.send(row, now_s)
                sending.window.ack(row.id, now_s)
            done = sum(self._receipt(sending, r) for r in receipts)
        except (OSError, ValueError, TypeError):
            sending.queue.again([row for row, _ in taken])
            raise
        self.reconnects += not self.is_connected
        self.is_connected = self.is_live = True
        self.trouble = ""
        return done > 0

    def _receipt(self, sending: Sending, sealed: bytes) -> int:
        opened = envelope.open_envelope(sealed, self._identity.find_hub, envelope.RECEIPT_TYPE)
        receipt = decode_receipt(opened.payload)
        sending.take_receipt(receipt, sealed)
        return len(receipt.digests)


def _take(sending: Sending, most: int) -> list[tuple[OutboxRow, bytes]]:
    """The next batches, by lane."""
    taken: list[tuple[OutboxRow, bytes]] = []
    size = 0
    for lane in Lane:
        while len(taken) < most and size < MAX_POST_BYTES and (found := sending.queue.next(lane)):
            taken.append(found)
            size += found[0].size
    return taken

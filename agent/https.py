"""The fall-back where only HTTPS gets out: the same envelopes, the same receipts, no directives.

The device proves itself by its signing key on a challenge of the hub's, so it needs no clock (docs/wire.md, "HTTPS").
"""

import base64
import hashlib
import json
import logging
import ssl
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

import cbor2

from agent import store
from agent.identity import Identity
from agent.recorder import Recorder
from agent.send_queue import SendQueue
from agent.settings import UplinkSettings
from agent.store import SEQ_BITS, OutboxRow
from agent.window import Window
from shared import envelope
from shared.errors import Refused
from shared.receipt import Directive, decode_receipt
from shared.topics import Lane

log = logging.getLogger("dbx.uplink")
CONTEXT = b"dbx-upload-v1"
MAX_POST_BYTES = 1 << 20
MAX_POST_BATCHES = 128
LONGEST_PAUSE_S = 60.0
FAREWELL_S = 5.0
_TIMEOUT_S = 30


class HttpsUplink:
    """The uplink thread over HTTPS; offers what agent.uplink.Uplink offers."""

    def __init__(
        self, identity: Identity, settings: UplinkSettings, recorder: Recorder, state: Callable[[], dict[str, Any]]
    ) -> None:
        self.is_connected = False
        self.is_live = False
        self.trouble = ""
        self.protocol = "https"
        self.directives: deque[Directive] = deque()
        self.refused = 0
        self.reconnects = 0
        self.unreceipted_oldest_s = 0
        self._window = Window(receipt_timeout_s=settings.receipt_timeout_s)
        self._identity = identity
        self._url = (settings.hub_url or identity.hub_url).rstrip("/")
        self._recorder = recorder
        self._queue = SendQueue(recorder)
        self._news = threading.Event()
        self._challenge: tuple[str, float] | None = None

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
        deadline = time.monotonic() + FAREWELL_S
        try:
            while self.is_connected and time.monotonic() < deadline and self.upload():
                pass
        except (OSError, Refused, ValueError, KeyError) as e:
            self._fail(str(e))

    def _fail(self, why: str) -> None:
        if why != self.trouble:
            log.warning("uplink trouble", extra={"error": why})
        self.trouble, self.is_connected, self.is_live, self._challenge = why, False, False, None

    def upload(self) -> bool:
        """Send one request's worth of batches. Whether any was receipted. OSError or Refused when it failed."""
        if self._queue.is_reset():
            self._window = Window(receipt_timeout_s=self._window.receipt_timeout_s)
        now_s = time.monotonic()
        self._forget_gone()
        self._queue.again(self._window.overdue(now_s))
        self.unreceipted_oldest_s = int(self._window.oldest_s(now_s))
        taken = self._take()
        if not taken:
            return False
        body = cbor2.dumps([sealed for _, sealed in taken])
        try:
            answer = self._request("/v1/envelopes", body)
            receipts = cbor2.loads(answer)
            for row, _ in taken:
                self._window.send(row, now_s)
                self._window.ack(row.id, now_s)
            done = sum(self._receipt(r) for r in receipts)
        except (OSError, ValueError, TypeError):
            self._queue.again([row for row, _ in taken])
            raise
        self.reconnects += not self.is_connected
        self.is_connected = self.is_live = True
        self.trouble = ""
        return done > 0

    def _take(self) -> list[tuple[OutboxRow, bytes]]:
        taken: list[tuple[OutboxRow, bytes]] = []
        size = 0
        for lane in Lane:
            while len(taken) < MAX_POST_BATCHES and size < MAX_POST_BYTES and (found := self._queue.next(lane)):
                taken.append(found)
                size += found[0].size
        return taken

    def _forget_gone(self) -> None:
        """What was receipted, evicted or sealed again is not waited for."""
        if not self._window.unreceipted():
            return
        with self._recorder.store.lock:
            present = store.outbox_ids(self._recorder.store.conn)
        for key in self._window.unreceipted() - present:
            self._window.forget(key)

    def _receipt(self, sealed: bytes) -> int:
        opened = envelope.open_envelope(sealed, self._identity.find_hub, envelope.RECEIPT_TYPE)
        receipt = decode_receipt(opened.payload)
        for no, stream in self._streams().items():
            if stream == receipt.stream:
                for seq, digest in receipt.committed().items():
                    self._window.receipt(no << SEQ_BITS | seq, digest)
        self._recorder.receipts.append(receipt)
        return len(receipt.digests)

    def _streams(self) -> dict[int, uuid.UUID]:
        with self._recorder.store.lock:
            return store.streams(self._recorder.store.conn)

    def _request(self, path: str, body: bytes) -> bytes:
        challenge = self._fresh_challenge()
        message = b"\0".join((CONTEXT, challenge.encode(), hashlib.sha256(body).digest()))
        signer = self._identity.signer
        signature = base64.urlsafe_b64encode(signer.key.sign(message)).decode().rstrip("=")
        headers = {
            "Authorization": f"DBX-Device {signer.key_id.hex()}:{challenge}:{signature}",
            "Content-Type": "application/cbor",
        }
        return self._open(urllib.request.Request(self._url + path, body, headers, method="POST"))  # noqa: S310

    def _fresh_challenge(self) -> str:
        if self._challenge is None or time.monotonic() - self._challenge[1] > 120:
            answer = json.loads(self._open(urllib.request.Request(self._url + "/v1/envelopes/challenge")))  # noqa: S310
            self._challenge = (str(answer["challenge"]), time.monotonic())
        return self._challenge[0]

    def _open(self, request: urllib.request.Request) -> bytes:
        context = ssl.create_default_context() if self._url.startswith("https") else None
        if context is not None and (self._identity.folder / "ca.crt").exists():
            context.load_verify_locations(self._identity.folder / "ca.crt")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=context) as answer:  # noqa: S310
                return bytes(answer.read(16 << 20))
        except urllib.error.HTTPError as e:
            raise OSError(f"the hub answered {e.code} {e.reason}") from None

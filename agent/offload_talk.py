"""Carries exchanges with the autopilot over the link, and surely ends what they opened."""

import queue
import time
from collections.abc import Callable
from typing import Any

from agent.offload_signs import Address, Heard, is_data, listen
from firmware_bridge.framing import Scanner
from firmware_bridge.mavftp import Exchange, Message

LINGER_S = 3.0
"""For so long after an end it is said again when data go on."""
QUIET_S = 0.7
"""No data for so long: the end was heard."""
_REPEAT_S = 0.5
_POLL_S = 0.02
_MOST_CHUNKS = 1000


class Wait:
    """An exchange that only lets time pass."""

    failure = ""

    def __init__(self, seconds: float) -> None:
        self.is_done = False
        self._until_s = time.monotonic() + seconds

    def due(self, now_s: float) -> list[Message]:
        self.is_done = now_s >= self._until_s
        return []

    def hear(self, msgid: int, fields: Any, now_s: float) -> None:
        """Nothing is expected."""

    def leave(self) -> list[Message]:
        return []


class Talk:
    """See the module. `tap` is called by the link's thread.

    say: sends a message. address: the autopilot's. may_ask: whether something may be asked now; raises when all must
    end. heard: is told what was heard before anything else is done; raises at a sign of arming.
    """

    def __init__(
        self, say: Callable[[Message], bool], address: Callable[[], Address | None], may_ask: Callable[[], bool],
        heard: Callable[[Heard], None],
    ) -> None:  # fmt: skip
        self.is_listening = False
        self._say = say
        self._address = address
        self._may_ask = may_ask
        self._heard = heard
        self._chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._scanner = Scanner()

    def tap(self, data: bytes) -> None:
        """The link's bytes; kept only while they are listened to, and no more than some."""
        if self.is_listening and self._chunks.qsize() < _MOST_CHUNKS:
            self._chunks.put(data)

    def begin(self) -> None:
        """Listen from here on."""
        self._scanner, self.is_listening = Scanner(), True

    def end(self) -> None:
        """Listen no more."""
        self.is_listening = False
        while not self._chunks.empty():
            self._chunks.get()

    def carry(self, exchange: Exchange, keep: Callable[[], None] = lambda: None) -> None:
        """Carry an exchange to its end, or to where it must not go on. What it opened is closed in any case.

        keep: called after everything that was heard.
        """
        try:
            while not (exchange.is_done or exchange.failure):
                self._tell(exchange.due(time.monotonic()) if self._may_ask() else [])
                self._listen(exchange)
                keep()
        except BaseException:
            self._leave(exchange)
            raise
        if exchange.failure:
            self._tell(exchange.leave())

    def _tell(self, messages: list[Message]) -> None:
        for message in messages:
            self._say(message)

    def _listen(self, exchange: Exchange) -> None:
        """Hear what came, or that nothing came for a moment."""
        heard = self._next()
        if heard is None:
            return
        self._heard(heard)
        now_s = time.monotonic()
        for msgid, fields in heard.answers:
            exchange.hear(msgid, fields, now_s)

    def _next(self) -> Heard | None:
        try:
            frames = self._scanner.feed(self._chunks.get(timeout=_POLL_S), 0)
        except queue.Empty:
            return None
        address = self._address()
        return None if address is None or not len(frames) else listen(frames, address)

    def _leave(self, exchange: Exchange) -> None:
        """End it with one message; again only when the autopilot has plainly not heard that."""
        messages = exchange.leave()
        self._tell(messages)
        heard_s = said_s = time.monotonic()
        until_s = said_s + LINGER_S
        while messages and time.monotonic() < min(until_s, heard_s + QUIET_S):
            heard = self._next()
            if heard is None or not any(is_data(*answer) for answer in heard.answers):
                continue
            heard_s = time.monotonic()
            if heard_s - said_s >= _REPEAT_S:
                said_s = heard_s
                self._tell(messages)

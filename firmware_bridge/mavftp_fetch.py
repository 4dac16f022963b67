"""One file fetched over MAVLink FTP: opened, read in bursts or by reads in flight, holes read again, closed. Pure.

PX4 is read in bursts: it sends about 35 kB a burst and stops at TerminateSession. ArduPilot is read by ReadFile with a
few requests in flight: its burst is 2,000 packets long whatever is asked, and its thread hears nothing before the last
(GCS_FTP.cpp, BurstReadFile), so that on a serial link the autopilot would go on sending for up to a quarter of a minute
after it was armed. `is_burst` decides; on a fast link bursts may be allowed for ArduPilot too.

A file that is taken up again must be the same: the last bytes that are there are read again and compared, and the size
must be as listed. Data are believed for their offset, not their order; what lies beyond the size is passed over.
"""

from dataclasses import dataclass
from typing import Any

from firmware_bridge.mavftp import (
    DATA_BYTES,
    FILE_TRANSFER_PROTOCOL,
    TRIES,
    Ask,
    Line,
    Message,
    Nak,
    Op,
    Packet,
    parse,
    request,
)
from firmware_bridge.missing import Missing

WINDOW = 4
"""Reads in flight: ArduPilot queues 5 requests."""
STALL_S = 1.0
"""A burst that is silent for so long has ended, its last packet lost."""
BURST_PACKETS = 2048
"""No burst uses up more numbers than this."""
SILENCE_S = 6.0
"""Nothing at all heard for so long: a read that is lost again and again while others come is not given up."""
SMALL_HOLE = 8 * DATA_BYTES
"""Holes up to this size are read by ReadFile."""
MOST_OPENINGS = 4
MOST_ERRORS = 20
_LEAST_WAIT_S, _MOST_WAIT_S = 0.25, 3.0
_MOST_DOUBLINGS = 3


@dataclass(slots=True)
class _Read:
    """A ReadFile in flight."""

    packet: Packet
    sent_s: float
    tries: int = 1


class Pace:
    """How many bytes may be asked for: bytes_s on average (0: any number), no more than a second's worth saved up."""

    def __init__(self, bytes_s: float) -> None:
        self._bytes_s = bytes_s
        self._left = bytes_s
        self._at_s: float | None = None

    def may(self, now_s: float) -> bool:
        """Whether something may be asked for now."""
        if not self._bytes_s:
            return True
        if self._at_s is not None:
            self._left = min(self._left + (now_s - self._at_s) * self._bytes_s, self._bytes_s)
        self._at_s = now_s
        return self._left > 0

    def spend(self, count: int) -> None:
        """So many bytes were asked for, or came."""
        self._left -= count


class Fetch:
    """See the module. have: bytes that are there from an earlier try, of which `tail` are the last ones.

    `fresh`: (offset, bytes) that came and were not there before; whoever drives this takes them out. failure: growing,
    changed (another file, or smaller than listed), no_session, silent, refused (with the error), "" while it goes well.
    """

    def __init__(
        self, line: Line, path: str, size: int, have: int = 0, tail: bytes = b"", is_burst: bool = True,
        bytes_s: float = 0,
    ) -> None:  # fmt: skip
        self.failure = ""
        self.is_done = False
        self.missing = Missing(size, have)
        self.fresh: list[tuple[int, bytes]] = []
        self.session: int | None = None
        self._line = line
        self._path = path.encode()
        self._tail = tail
        self._is_burst = is_burst
        self._pace = Pace(bytes_s)
        self._first_seq = 0
        self._openings = self._errors = 0
        self._reads: dict[int, _Read] = {}
        self._burst_s: float | None = None
        """When the running burst was last heard."""
        self._heard_s = 0.0
        self._round_s = 0.5
        """How long an answer takes."""
        self._ask: Ask | None = self._open()

    # --- what is to be sent

    def due(self, now_s: float) -> list[Message]:
        """See mavftp.Exchange."""
        if self.is_done or self.failure:
            return []
        if self._ask is not None:
            if self._ask.is_given_up(now_s):
                return self._fail("silent")
            return self._ask.due(now_s)
        return self._repeat(now_s) or self._read_on(now_s)

    def _open(self) -> Ask:
        self._openings += 1
        self.session = None
        self._reads.clear()
        self._burst_s = None
        ask = Ask(self._line, request(Op.OPEN, data=self._path), patience_s=1.0)
        self._first_seq = ask.packet.seq
        return ask

    def _compare(self) -> Ask:
        """Read the end of what is there again."""
        offset = self.missing.prefix - len(self._tail)
        return Ask(self._line, request(Op.READ, self.session or 0, offset, len(self._tail)))

    def _repeat(self, now_s: float) -> list[Message]:
        """Reads whose answer is overdue."""
        wait_s = min(max(3 * self._round_s, _LEAST_WAIT_S), _MOST_WAIT_S)
        out = []
        for read in self._reads.values():
            if now_s - read.sent_s < wait_s * 2 ** min(read.tries - 1, _MOST_DOUBLINGS):
                continue
            if read.tries >= TRIES and now_s - self._heard_s > SILENCE_S:
                return self._fail("silent")
            read.sent_s, read.tries = now_s, read.tries + 1
            out.append(self._line.message(read.packet))
        return out

    def _read_on(self, now_s: float) -> list[Message]:
        """Ask for what is missing and not asked for."""
        if self._burst_s is not None:
            if now_s - self._burst_s < STALL_S:
                return []
            self._end_burst(is_whole=False)
            self._errors += 1
            if self._errors > MOST_ERRORS:
                return self._fail("silent")
        hole = self.missing.first()
        if hole is None:
            return self._close()
        if not self._pace.may(now_s):
            return []
        if self._is_burst and not self._reads and hole[1] - hole[0] > SMALL_HOLE:
            return self._burst(hole[0], now_s)
        return self._fill_window(now_s)

    def _burst(self, offset: int, now_s: float) -> list[Message]:
        packet = request(Op.BURST, self.session or 0, offset, DATA_BYTES)
        ask = Ask(self._line, packet)
        self._burst_s = now_s
        return ask.due(now_s)

    def _fill_window(self, now_s: float) -> list[Message]:
        out: list[Message] = []
        for offset, size in self._blocks():
            if len(self._reads) >= WINDOW or not self._pace.may(now_s):
                break
            ask = Ask(self._line, request(Op.READ, self.session or 0, offset, size))
            self._reads[offset] = _Read(ask.packet, now_s)
            self._pace.spend(size)
            out += ask.due(now_s)
        return out

    def _blocks(self) -> list[tuple[int, int]]:
        """(offset, size) of the next blocks that are missing and not asked for, a window full of them."""
        found: list[tuple[int, int]] = []
        for start, stop in self.missing.holes:
            if self._is_burst and stop - start > SMALL_HOLE:
                break
            at = start
            while at < stop and len(found) < WINDOW:
                if at not in self._reads:
                    found.append((at, min(DATA_BYTES, stop - at)))
                at += DATA_BYTES
            if len(found) >= WINDOW:
                break
        return found

    def _close(self) -> list[Message]:
        """TerminateSession; its answer is not waited for (devguide: it may be ignored)."""
        self.is_done = True
        return self.leave()

    def leave(self) -> list[Message]:
        """TerminateSession, when a session may be open."""
        if self.session is None and not (self._ask is not None and self._ask.sent_s is not None):
            return []
        self._line.skip(BURST_PACKETS if self._burst_s is not None else 0)
        message = Ask(self._line, request(Op.TERMINATE, self.session or 0)).due(0)
        self.session, self._ask, self._burst_s = None, None, None
        return message

    def _fail(self, why: str) -> list[Message]:
        self.failure = why
        return self.leave()

    # --- what was heard

    def hear(self, msgid: int, fields: Any, now_s: float) -> None:
        """See mavftp.Exchange."""
        if msgid != FILE_TRANSFER_PROTOCOL or self.is_done or self.failure:
            return
        heard = parse(fields["payload"].tobytes())
        if self._ask is not None:
            if self._ask.is_answer(heard):
                self._line.heard(heard.seq)
                self._answered(self._ask, heard)
        elif heard.session == self.session and self._line.is_since(heard.seq, self._first_seq):
            self._line.heard(heard.seq)
            self._heard_s = now_s
            if heard.op == Op.ACK and heard.req_op in (Op.READ, Op.BURST):
                self._data(heard, now_s)
            elif heard.op == Op.NAK:
                self._refused(heard)

    def _answered(self, ask: Ask, heard: Packet) -> None:
        """The answer to OpenFileRO, or to the read that compares."""
        self._ask = None
        if heard.op == Op.NAK:
            self._not_opened(heard.nak, ask.packet.op)
        elif ask.packet.op == Op.OPEN:
            self.session = heard.session
            self._opened(int.from_bytes(heard.data[:4], "little"))
        elif heard.data != self._tail:
            self.failure = "changed"
        else:
            self._tail = b""

    def _not_opened(self, nak: int, op: int) -> None:
        if op == Op.READ:
            self.failure = "changed"
        elif nak == Nak.NO_SESSIONS:
            self.failure = "no_session"
        else:
            self.failure = f"refused with error {nak}"

    def _opened(self, size: int) -> None:
        if size != self.missing.size:
            self.failure = "growing" if size > self.missing.size else "changed"
        elif self._tail:
            self._ask = self._compare()

    def _data(self, heard: Packet, now_s: float) -> None:
        read = self._reads.pop(heard.offset, None) if heard.req_op == Op.READ else None
        if read is not None and read.tries == 1:
            self._round_s += (now_s - read.sent_s - self._round_s) / 8
        for start, stop in self.missing.take(heard.offset, heard.offset + len(heard.data)):
            self.fresh.append((start, heard.data[start - heard.offset : stop - heard.offset]))
        if heard.data:
            self._errors = 0
        elif read is not None:
            self.failure = "changed"
        if heard.req_op == Op.BURST:
            self._pace.spend(len(heard.data))
            if self._burst_s is not None:
                self._burst_s = now_s
                if heard.is_burst_end:
                    self._end_burst(is_whole=True)

    def _end_burst(self, is_whole: bool) -> None:
        """The burst is over. When its end was not heard, its last packets may have used numbers that we did not see."""
        self._burst_s = None
        if not is_whole:
            self._line.skip(BURST_PACKETS)

    def _refused(self, heard: Packet) -> None:
        """A NAK while reading."""
        nak = heard.nak
        self._errors += 1
        if heard.req_op == Op.BURST and self._burst_s is not None:
            self._end_burst(is_whole=True)
            if nak in (Nak.UNKNOWN_COMMAND, Nak.FAIL):
                self._is_burst = False
                return
            if nak == Nak.EOF and self._errors <= 2:
                return
        elif heard.req_op != Op.READ:
            return
        if nak in (Nak.SESSION, Nak.NOT_FOUND) and self._openings < MOST_OPENINGS:
            self._ask = self._open()
        elif nak == Nak.EOF:
            self.failure = "changed"
        elif self._errors > MOST_ERRORS or nak == Nak.SESSION:
            self.failure = f"refused with error {nak}"

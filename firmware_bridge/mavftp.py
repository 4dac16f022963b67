"""MAVLink's file transfer protocol, the client's side, as state machines: messages in, messages out, time passed in.

Sources: mavlink.io/en/services/ftp.html; ArduPilot libraries/GCS_MAVLink/GCS_FTP.cpp and .h; PX4
src/modules/mavlink/mavlink_ftp.cpp. What they do differently, and what follows for a client:

- Sequence numbers are 16 bits and wrap. The answer to request n has n + 1, the packets of a burst n + 1, n + 2, ...
  Both firmwares take a request whose number is one below their last answer for a repetition, and answer with that
  again: so a repetition keeps its number, and a new request is numbered beyond all that may have been answered.
- PX4 has one session (number 0) per link and closes it after 10 s of silence; ArduPilot has 5, tells them apart by the
  client's address, gives one away after 3 s and closes it after 20 s. Both answer NoSessionsAvailable. PX4's one may
  be a ground station's: it is waited for, never reset.
- A burst is about 35,000 bytes on PX4, and TerminateSession ends it. On ArduPilot it is 2,000 packets (478 kB), and
  the thread that sends them reads no request before the last: see `mavftp_fetch`.
- ArduPilot queues 5 requests and drops the rest.
- CalcFileCRC32 is the reflected polynomial 0xEDB88320 from 0 without a final inversion, in both (ArduPilot's
  AP_Filesystem::crc32, PX4's crc32part): not zlib's. An opcode that is not known gives UnknownCommand, in older
  ArduPilot Fail.
- PX4's error may be FileExists where an old errno lingered; EOF ends a listing, and so does that.
- Listings: ArduPilot leaves out what it cannot tell, PX4 gives it as `S`, which counts as an entry; older ArduPilot
  ends each entry with two zeros, and the empty one between does not count. PX4 prints sizes signed.
- ArduPilot sends its other streams four times more slowly while it answers (GCS_Common.cpp).
"""

import struct
import zlib
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Protocol

import numpy as np

FILE_TRANSFER_PROTOCOL = 110
DATA_BYTES = 239
"""Most data in one packet."""
TRIES = 6
_HEAD = struct.Struct("<HBBBBBxI")
_PAYLOAD_BYTES = 251
_MOST_ENTRIES = 20_000
_RESEND_S, _LONGEST_RESEND_S = 0.5, 4.0

Message = tuple[int, dict[str, Any]]
"""(message id, fields by name), as `firmware_bridge.rates` has them."""


class Op(IntEnum):
    """Opcodes that a client which only reads needs."""

    NONE = 0
    TERMINATE = 1
    RESET = 2
    LIST = 3
    OPEN = 4
    READ = 5
    CRC = 14
    BURST = 15
    ACK = 128
    NAK = 129


class Nak(IntEnum):
    """Error codes; SILENT is ours: no answer came."""

    NONE = 0
    FAIL = 1
    ERRNO = 2
    DATA_SIZE = 3
    SESSION = 4
    NO_SESSIONS = 5
    EOF = 6
    UNKNOWN_COMMAND = 7
    FILE_EXISTS = 8
    PROTECTED = 9
    NOT_FOUND = 10
    SILENT = -1


@dataclass(frozen=True, slots=True)
class Packet:
    """A payload's fields. size: for a request without data the number of bytes asked for."""

    seq: int
    session: int
    op: int
    size: int
    req_op: int
    is_burst_end: bool
    offset: int
    data: bytes

    @property
    def nak(self) -> int:
        """The error code of a NAK; FAIL when it names none."""
        return self.data[0] if self.data else Nak.FAIL


def parse(payload: bytes) -> Packet:
    """Any bytes, as a packet; short ones are taken as ending in zeros."""
    payload = payload.ljust(_PAYLOAD_BYTES, b"\0")
    seq, session, op, size, req_op, burst, offset = _HEAD.unpack_from(payload)
    data = payload[_HEAD.size : _HEAD.size + min(size, DATA_BYTES)]
    return Packet(seq, session, op, size, req_op, burst == 1, offset, data)


def pack(packet: Packet) -> bytes:
    """The 251 bytes of a packet."""
    p = packet
    head = _HEAD.pack(p.seq, p.session, p.op, p.size, p.req_op, p.is_burst_end, p.offset)
    return (head + p.data).ljust(_PAYLOAD_BYTES, b"\0")


def crc32(data: bytes, before: int = 0) -> int:
    """CalcFileCRC32 of data that follow what gave `before`."""
    return zlib.crc32(data, before ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


class Line:
    """Numbers and addresses requests to one autopilot, target (sysid, compid)."""

    def __init__(self, target: tuple[int, int], first_seq: int = 0) -> None:
        self.target = target
        self._seq = first_seq & 0xFFFF

    def number(self) -> int:
        """The number of a new request."""
        self._seq = (self._seq + 1) & 0xFFFF
        return self._seq

    def heard(self, seq: int) -> None:
        """A number was used by the other side: ours go on beyond it."""
        if 0 < (seq - self._seq) & 0xFFFF < 0x4000:
            self._seq = seq

    def skip(self, count: int) -> None:
        """Up to so many answers may have been lost: none of their numbers is used again soon."""
        self._seq = (self._seq + count) & 0xFFFF

    def is_since(self, seq: int, first: int) -> bool:
        """Whether an answer's number belongs to request `first` or a later one."""
        return 0 < (seq - first) & 0xFFFF < 0x8000

    def message(self, packet: Packet) -> Message:
        """A packet on its way to the autopilot."""
        payload = np.frombuffer(pack(packet), np.uint8)
        address = {"target_network": 0, "target_system": self.target[0], "target_component": self.target[1]}
        return FILE_TRANSFER_PROTOCOL, address | {"payload": payload}


def request(op: Op, session: int = 0, offset: int = 0, size: int = 0, data: bytes = b"") -> Packet:
    """A request without its number."""
    return Packet(0, session, op, size or len(data), 0, False, offset, data)


class Exchange(Protocol):
    """Something that is asked of the autopilot. failure: "" while it goes well, then why it failed.

    due: what is to be sent now. hear: a message of the autopilot's (its fields by name). leave: what ends it at once.
    """

    failure: str
    is_done: bool

    def due(self, now_s: float) -> list[Message]: ...
    def hear(self, msgid: int, fields: Any, now_s: float) -> None: ...
    def leave(self) -> list[Message]: ...


class Ask:
    """One request that is repeated until it is answered. patience_s: before the first repetition, then twice that."""

    def __init__(self, line: Line, packet: Packet, patience_s: float = _RESEND_S, tries: int = TRIES) -> None:
        self.packet = replace(packet, seq=line.number())
        self.sent_s: float | None = None
        self.tries_left = tries
        self._line = line
        self._patience_s = patience_s

    def due(self, now_s: float) -> list[Message]:
        """The request, when it was not sent yet or its answer is overdue. Nothing any more when is_given_up."""
        if self.sent_s is not None:
            if now_s - self.sent_s < self._patience_s or self.is_given_up(now_s):
                return []
            self._patience_s = min(self._patience_s * 2, max(_LONGEST_RESEND_S, self._patience_s))
        self.sent_s = now_s
        self.tries_left -= 1
        return [self._line.message(self.packet)]

    def is_given_up(self, now_s: float) -> bool:
        """Whether the last repetition is overdue too."""
        return self.tries_left <= 0 and self.sent_s is not None and now_s - self.sent_s >= self._patience_s

    def is_answer(self, heard: Packet) -> bool:
        """Whether this packet answers the request."""
        return (
            self.sent_s is not None
            and heard.op in (Op.ACK, Op.NAK)
            and heard.req_op == self.packet.op
            and heard.seq == (self.packet.seq + 1) & 0xFFFF
        )


class Question:
    """An exchange of one request and one answer: ResetSessions, CalcFileCRC32. `answer`: None while it waits."""

    def __init__(self, line: Line, packet: Packet, patience_s: float = _RESEND_S, tries: int = TRIES) -> None:
        self.failure = ""
        self.is_done = False
        self.nak = Nak.NONE.value
        self.answer: Packet | None = None
        self._line = line
        self._ask = Ask(line, packet, patience_s, tries)

    def due(self, now_s: float) -> list[Message]:
        if self._ask.is_given_up(now_s):
            self.nak, self.failure = Nak.SILENT, "no answer"
        return [] if self.is_done or self.failure else self._ask.due(now_s)

    def hear(self, msgid: int, fields: Any, now_s: float) -> None:
        if msgid != FILE_TRANSFER_PROTOCOL or self.is_done or self.failure:
            return
        heard = parse(fields["payload"].tobytes())
        if not self._ask.is_answer(heard):
            return
        self._line.heard(heard.seq)
        if heard.op == Op.NAK:
            self.nak, self.failure = heard.nak, f"refused with error {heard.nak}"
        else:
            self.answer, self.is_done = heard, True

    def leave(self) -> list[Message]:
        return []


def reset_sessions(line: Line) -> Question:
    """Close what an earlier run of ours left open. ArduPilot closes this client's sessions only."""
    return Question(line, request(Op.RESET))


class Checksum(Question):
    """CalcFileCRC32 of a path. The server reads the whole file first: patience_s goes by its size."""

    def __init__(self, line: Line, path: str, patience_s: float) -> None:
        super().__init__(line, request(Op.CRC, data=path.encode()), patience_s, tries=2)

    @property
    def value(self) -> int | None:
        """The server's checksum; None when it gave none."""
        if self.answer is None or len(self.answer.data) < 4:
            return None
        return int.from_bytes(self.answer.data[:4], "little")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in a listing. size: bytes, 0 for a folder."""

    name: str
    size: int
    is_folder: bool


class Listing:
    """ListDirectory of a path until its end. nak: why it failed."""

    def __init__(self, line: Line, path: str) -> None:
        self.failure = ""
        self.is_done = False
        self.nak = Nak.NONE.value
        self.entries: list[Entry] = []
        self._line = line
        self._path = path.encode()
        self._offset = 0
        self._ask = self._next()

    def _next(self) -> Ask:
        return Ask(self._line, request(Op.LIST, offset=self._offset, data=self._path))

    def due(self, now_s: float) -> list[Message]:
        if self._ask.is_given_up(now_s):
            self.nak, self.failure = Nak.SILENT, "no answer"
        return [] if self.is_done or self.failure else self._ask.due(now_s)

    def hear(self, msgid: int, fields: Any, now_s: float) -> None:
        if msgid != FILE_TRANSFER_PROTOCOL or self.is_done or self.failure:
            return
        heard = parse(fields["payload"].tobytes())
        if not self._ask.is_answer(heard):
            return
        self._line.heard(heard.seq)
        if heard.op == Op.NAK:
            return self._refused(heard.nak)
        count, entries = entries_of(heard.data)
        self.entries += entries
        self._offset += count
        if not count or self._offset > _MOST_ENTRIES:
            self.is_done = True
        else:
            self._ask = self._next()

    def _refused(self, nak: int) -> None:
        if nak == Nak.EOF or (nak == Nak.FILE_EXISTS and self._offset):
            self.is_done = True
        else:
            self.nak, self.failure = nak, f"refused with error {nak}"

    def leave(self) -> list[Message]:
        return []


def entries_of(data: bytes) -> tuple[int, list[Entry]]:
    """(entries that count for the next offset, those that name a file or folder) of an answer's data."""
    count, found = 0, []
    for raw in data.split(b"\0"):
        if not raw:
            continue
        count += 1
        name, _, size = raw[1:].partition(b"\t")
        if raw[:1] not in (b"F", b"D") or not name.isascii() or not name:
            continue
        digits = size.removeprefix(b"-")
        if raw[:1] == b"F" and not (digits.isdigit() and len(digits) <= 10):
            continue
        is_folder = raw[:1] == b"D"
        found.append(Entry(name.decode(), 0 if is_folder else int(size) % (1 << 32), is_folder))
    return count, found

"""What an autopilot does with requests for files and logs, as ArduPilot's and PX4's sources have it. No socket.

Sources: see firmware_bridge.mavftp and firmware_bridge.log_request. Faults are switched on by attributes.
"""

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from firmware_bridge.mavftp import Nak, Op, Packet, crc32, pack, parse

FTP, LIST, ENTRY, DATA_REQUEST, LOG_DATA, END = 110, 117, 118, 119, 120, 122
BLOCK = 239
Reply = tuple[int, dict[str, Any]]


@dataclass
class LogServer:
    """The server's side. files: path -> bytes. style: "ardupilot" or "px4".

    Replies wait in `out`; `stream()` gives the next packet of a burst or a log. naks: opcode -> error codes that the
    next requests get. wrong_crc: of CalcFileCRC32. claims: path -> size that is told instead of the true one.
    burst_cut: bursts break off after so many packets without saying so.
    """

    files: dict[str, bytes]
    style: str = "ardupilot"
    has_ftp: bool = True
    has_log_request: bool = True
    is_armed: bool = False
    naks: dict[int, list[int]] = field(default_factory=dict)
    claims: dict[str, int] = field(default_factory=dict)
    wrong_crc: bool = False
    has_crc: bool = True
    burst_cut: int = 0
    most_read: int = BLOCK
    out: deque[Reply] = field(default_factory=deque)
    sessions: dict[int, str] = field(default_factory=dict)
    requests: list[tuple[int, Packet | dict[str, int]]] = field(default_factory=list)
    is_downloading: bool = False

    def __post_init__(self) -> None:
        self._burst: Iterator[Packet] | None = None
        self._queue: deque[Packet] = deque(maxlen=5)
        self._last: Packet | None = None
        self._next_session = 1
        self._log: Iterator[Reply] | None = None
        self._log_list: list[str] | None = None

    # --- what comes

    def receive(self, msgid: int, fields: Any) -> None:
        """A message of the client."""
        if msgid == FTP:
            packet = parse(fields["payload"].tobytes())
            self.requests.append((msgid, packet))
            if self.has_ftp:
                self._take(packet)
        elif msgid in (LIST, DATA_REQUEST, END):
            values = {name: int(fields[name]) for name in fields.dtype.names}
            self.requests.append((msgid, values))
            if self.has_log_request and not (self.is_armed and self.style == "ardupilot" and msgid != END):
                {LIST: self._list_logs, DATA_REQUEST: self._send_log, END: self._end_log}[msgid](values)

    def _take(self, packet: Packet) -> None:
        if self.style == "ardupilot" and self._burst is not None:
            if len(self._queue) < 5:
                self._queue.append(packet)
            return
        self._handle(packet)

    def stream(self) -> Reply | None:
        """The next packet of a running burst or log; None when there is none."""
        if self._burst is not None:
            packet = next(self._burst, None)
            if packet is not None:
                return self._message(packet)
            self._burst = None
            while self._queue and self._burst is None:
                self._handle(self._queue.popleft())
        if self.out:
            return self.out.popleft()
        return self._next_log_data()

    def _next_log_data(self) -> Reply | None:
        if self._log is None or (self.is_armed and self.style == "ardupilot"):
            return None
        reply = next(self._log, None)
        if reply is None:
            self._log, self.is_downloading = None, False
        return reply

    def reboot(self) -> None:
        """Everything open is forgotten."""
        self.sessions.clear()
        self.out.clear()
        self._queue.clear()
        self._burst = self._log = self._last = self._log_list = None
        self.is_downloading = False

    # --- MAVLink FTP

    def _message(self, packet: Packet) -> Reply:
        """Remembered to be given again: by PX4 only when it is small; by ArduPilot one number on, in a burst."""
        is_streamed = self._burst is not None
        if self.style == "ardupilot":
            self._last = replace(packet, seq=(packet.seq + is_streamed) & 0xFFFF)
        elif packet.size <= 4:
            self._last = packet
        return FTP, {"payload": np.frombuffer(pack(packet), np.uint8)}

    def _reply(self, request: Packet, op: int, data: bytes, session: int, offset: int = 0) -> None:
        seq = (request.seq + 1) & 0xFFFF
        self.out.append(self._message(Packet(seq, session, op, len(data), request.op, False, offset, data)))

    def _handle(self, request: Packet) -> None:
        if self._last is not None and self._last.seq == (request.seq + 1) & 0xFFFF:
            self.out.append(self._message(self._last))
            return
        self._last = None
        scripted = self.naks.get(request.op)
        if scripted:
            return self._reply(request, Op.NAK, bytes([scripted.pop(0)]), request.session)
        handler = {
            Op.TERMINATE: self._terminate, Op.RESET: self._reset, Op.LIST: self._list, Op.OPEN: self._open,
            Op.READ: self._read, Op.CRC: self._crc, Op.BURST: self._begin_burst,
        }.get(Op(request.op) if request.op in list(Op) else Op.NONE)  # fmt: skip
        if handler is None:
            return self._nak(request, Nak.UNKNOWN_COMMAND)
        handler(request)

    def _nak(self, request: Packet, error: int) -> None:
        self._reply(request, Op.NAK, bytes([error]), request.session)

    def _terminate(self, request: Packet) -> None:
        if self.style == "px4":
            self._burst = None
        known = self.sessions.pop(request.session, None)
        if known is None and self.style == "px4":
            return self._nak(request, Nak.SESSION)
        self._reply(request, Op.ACK, b"", request.session)

    def _reset(self, request: Packet) -> None:
        self.sessions.clear()
        self._burst = None
        self._reply(request, Op.ACK, b"", request.session)

    def _children(self, path: str) -> list[bytes] | None:
        folder = path.rstrip("/") + "/"
        found: dict[str, bytes] = {}
        for name, data in self.files.items():
            if name.startswith(folder):
                first, _, rest = name[len(folder) :].partition("/")
                size = self.claims.get(name, len(data))
                found[first] = b"D" + first.encode() if rest else b"F" + first.encode() + f"\t{size}".encode()
        if not found:
            return None
        return ([b"S", b"S"] if self.style == "px4" else []) + list(found.values())

    def _list(self, request: Packet) -> None:
        children = self._children(request.data.decode())
        if children is None:
            return self._nak(request, Nak.NOT_FOUND)
        data = b""
        for child in children[request.offset :]:
            if len(data) + len(child) + 2 > BLOCK:
                break
            data += child + b"\0"
        if not data:
            return self._nak(request, Nak.EOF)
        self._reply(request, Op.ACK, data, request.session, request.offset)

    def _open(self, request: Packet) -> None:
        path = request.data.decode()
        if path not in self.files:
            return self._nak(request, Nak.NOT_FOUND)
        if self.style == "px4":
            if self.sessions:
                return self._nak(request, Nak.NO_SESSIONS)
            session = 0
        else:
            session, self._next_session = self._next_session, self._next_session % 255 + 1
            if len(self.sessions) >= 5:
                return self._nak(request, Nak.NO_SESSIONS)
        self.sessions[session] = path
        size = self.claims.get(path, len(self.files[path]))
        self._reply(request, Op.ACK, struct.pack("<I", size), session)

    def _opened(self, request: Packet) -> bytes | None:
        path = self.sessions.get(request.session)
        if path is None:
            self._nak(request, Nak.SESSION if self.style == "px4" else Nak.NOT_FOUND)
            return None
        return self.files[path]

    def _read(self, request: Packet) -> None:
        data = self._opened(request)
        if data is None:
            return
        part = data[request.offset : request.offset + min(request.size, self.most_read)]
        if not part:
            return self._nak(request, Nak.EOF)
        self._reply(request, Op.ACK, part, request.session, request.offset)

    def _crc(self, request: Packet) -> None:
        path = request.data.decode()
        if not self.has_crc:
            return self._nak(request, Nak.UNKNOWN_COMMAND)
        if path not in self.files:
            return self._nak(request, Nak.NOT_FOUND)
        value = crc32(self.files[path]) ^ (1 if self.wrong_crc else 0)
        self._reply(request, Op.ACK, struct.pack("<I", value), request.session)

    def _begin_burst(self, request: Packet) -> None:
        if self._opened(request) is not None:
            self._burst = self._packets(request)

    def _packets(self, request: Packet) -> Iterator[Packet]:
        seq, offset, sent = (request.seq + 1) & 0xFFFF, request.offset, 0
        most = 2000 if self.style == "ardupilot" else 35_000 // BLOCK + 1
        for i in range(self.burst_cut or most):
            data = self.files[self.sessions[request.session]] if request.session in self.sessions else b""
            part = data[offset : offset + (request.size or BLOCK)]
            is_end = i == most - 1
            if not part:
                yield Packet(seq, request.session, Op.NAK, 1, Op.BURST, True, offset, bytes([Nak.EOF]))
                return
            yield Packet(seq, request.session, Op.ACK, len(part), Op.BURST, is_end, offset, part)
            seq, offset, sent = (seq + 1) & 0xFFFF, offset + len(part), sent + len(part)

    # --- LOG_REQUEST

    def _log_paths(self) -> list[str]:
        return [p for p in sorted(self.files) if p.lower().endswith((".bin", ".ulg"))]

    def _list_logs(self, request: dict[str, int]) -> None:
        self._log_list = self._log_paths()
        count, first = len(self._log_list), 1 if self.style == "ardupilot" else 0
        if not count:
            self.out.append((ENTRY, {"id": 0, "num_logs": 0, "last_log_num": 0, "size": 0, "time_utc": 0}))
        last = min(request["end"], first + count - 1)
        for i in range(max(request["start"], first), last + 1):
            path = self._log_list[i - first]
            size = self.claims.get(path, len(self.files[path]))
            entry = {"id": i, "num_logs": count, "last_log_num": last, "size": size, "time_utc": 1_700_000_000 + i}
            self.out.append((ENTRY, entry))

    def _send_log(self, request: dict[str, int]) -> None:
        if self._log is not None and self.style == "ardupilot":
            return
        paths = self._log_list if self.style == "px4" else self._log_paths()
        index = request["id"] - (1 if self.style == "ardupilot" else 0)
        if paths is None or not 0 <= index < len(paths):
            return
        self._log, self.is_downloading = self._log_packets(paths[index], request), True

    def _log_packets(self, path: str, request: dict[str, int]) -> Iterator[Reply]:
        at, stop = request["ofs"], request["ofs"] + request["count"]
        while True:
            part = self.files[path][at : min(at + 90, stop)]
            data = np.frombuffer(part.ljust(90, b"\0"), np.uint8)
            yield LOG_DATA, {"id": request["id"], "ofs": at, "count": len(part), "data": data}
            at += len(part)
            if len(part) < 90 or at >= stop:
                return

    def _end_log(self, request: dict[str, int]) -> None:
        self._log, self._log_list, self.is_downloading = None, None, False

"""A PX4 ULog played as the MAVLink messages that PX4's own streams send: real frames, in order, with times."""

from dataclasses import dataclass

import numpy as np

from firmware_bridge.packing import Outgoing, pack
from firmware_bridge.ulog_streams import STREAMS, TOPICS, message
from firmware_bridge.ulog_topics import Topics, read_topics
from shared.frames import Frames

_TEXT_BYTES = 50


@dataclass(frozen=True, slots=True, eq=False)
class UlogFlight:
    """frames: time_us is UTC when is_utc, else time since boot. vehicle: (sysid, compid). damaged: see Topics."""

    frames: Frames
    is_utc: bool
    vehicle: tuple[int, int]
    damaged: bool


def play_ulog(data: bytes) -> UlogFlight:
    """The log's flight as frames. Refused: log_format, log_damaged."""
    topics = read_topics(data, TOPICS)
    vehicle = (_parameter(topics, "MAV_SYS_ID", 1), _parameter(topics, "MAV_COMP_ID", 1))
    offset = topics.utc_offset_us or 0
    messages = [m for stream in (*STREAMS, _texts) for m in stream(topics)]
    timed = [Outgoing(m.msgid, m.record, m.time_us + offset) for m in messages]
    return UlogFlight(pack(timed, *vehicle), topics.utc_offset_us is not None, vehicle, topics.damaged)


def _parameter(topics: Topics, name: str, default: int) -> int:
    value = topics.parameters.get(name, default)
    return int(value) if 1 <= value <= 255 else default


def _texts(topics: Topics) -> list[Outgoing]:
    """Logged messages as STATUSTEXT, long ones in chunks; the same text twice within a second is one."""
    out: list[Outgoing] = []
    said: dict[str, int] = {}
    number = 0
    for at, severity, raw in topics.texts:
        text = raw.split("\t")[0].strip()
        if not text or at - said.get(text, -2_000_000) < 1_000_000:
            continue
        said[text] = at
        data = text.encode("utf-8")[: _TEXT_BYTES * 8]
        chunks = [data[i : i + _TEXT_BYTES] for i in range(0, len(data), _TEXT_BYTES)]
        if len(data) > _TEXT_BYTES and len(chunks[-1]) == _TEXT_BYTES:
            chunks.append(b"")  # a full last chunk does not say that it is the last
        number = number % 65535 + 1 if len(chunks) > 1 else number
        for i, chunk in enumerate(chunks):
            values = {"severity": min(max(severity, 0), 7), "text": chunk}
            chained = {"id": number, "chunk_seq": i} if len(chunks) > 1 else {}
            out += message("STATUSTEXT", np.array([at], np.int64), values | chained)
    return out

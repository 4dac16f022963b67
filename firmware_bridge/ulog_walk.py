"""A ULog walked message by message where it is damaged: what still is a message, and where the next one begins.

A data message is *strong* when its id is subscribed and its size is that of its topic; it is believed unless damage
follows. Any other data message (its
subscription or format was lost) is believed when the chain of lengths leads from it to a strong one. A message of
another type is believed when a header stands behind it. Nothing looks further than VOUCHING messages ahead, so that
what is decided depends on the bytes alone, not on how they were split.
"""

import re
from enum import Enum, auto

from firmware_bridge.ulog_formats import Topics, parse_format
from firmware_bridge.ulog_scan import DATA, FILE_HEADER, HEADER, MAGIC, SYNC, is_header
from firmware_bridge.ulog_words import pair, text

VOUCHING = 16
_BEGINNING = re.compile(rb"[ABCDFILMPQSU]")
_SYNC_HEADER = b"\x08\x00S" + SYNC


class Step(Enum):
    """What stands at a position. MESSAGE: a message that is believed. UNREAD: a message that nobody can read. LOG:
    another log's header. LOST: no message. WAIT: more bytes are needed to say."""

    MESSAGE = auto()
    UNREAD = auto()
    LOG = auto()
    LOST = auto()
    WAIT = auto()


def step(data: bytes, pos: int, topics: Topics, final: bool) -> tuple[Step, int]:
    """What stands at pos, where a message should begin, and where it ends (of MESSAGE and UNREAD). final: no bytes will
    follow `data`."""
    n = len(data)
    if data.startswith(MAGIC, pos):
        whole = pos + FILE_HEADER <= n
        return (Step.LOG if whole else Step.LOST if final else Step.WAIT), pos + FILE_HEADER
    if pos + HEADER > n or (not final and MAGIC.startswith(data[pos:])):
        return (Step.LOST if final else Step.WAIT), n
    size, kind = data[pos] | data[pos + 1] << 8, data[pos + 2]
    end = pos + HEADER + size
    if kind == DATA and is_header(data, pos):
        if is_strong(data, pos, topics):
            return _strong(data, end, topics, final)
        return _vouched(data, end, topics, final)
    if not is_header(data, pos):
        return _vouched(data, end, topics, final) if _is_new_kind(size, kind) else (Step.LOST, end)
    if end + HEADER <= n:
        return (Step.MESSAGE, end) if _continues(data, end) else _doubtful(data, pos, end, topics, final)
    if not final:
        return Step.WAIT, n
    return (Step.MESSAGE, end) if end <= n else (Step.LOST, n)


def _continues(data: bytes, at: int) -> bool:
    """Whether a message, or another log, could begin at `at` (three bytes must be there)."""
    size = data[at] | data[at + 1] << 8
    return is_header(data, at) or _is_new_kind(size, data[at + 2]) or data.startswith(MAGIC, at)


def is_strong(data: bytes, pos: int, topics: Topics) -> bool:
    """Whether the data message at pos (whose header is there) is of a subscribed topic and of its size."""
    if pos + HEADER + 2 > len(data):
        return False
    return topics.is_sound(data[pos + 3] | data[pos + 4] << 8, data[pos] | data[pos + 1] << 8)


def _is_new_kind(size: int, kind: int) -> bool:
    """A type that this code does not know, as later versions of the format may bring."""
    return size > 0 and 0x41 <= kind <= 0x7A and chr(kind).isalpha() and chr(kind) not in "ABCDFILMOPQRS"


def _strong(data: bytes, end: int, topics: Topics, final: bool) -> tuple[Step, int]:
    """A data message that ends at `end`. In front of damage most are damaged themselves (a hole begins anywhere, and a
    log is mostly payload): there it is believed when just one message lost its header, so that the damage is its own.
    """
    n = len(data)
    if end + HEADER > n:
        return (Step.MESSAGE, end) if final and end <= n else (Step.LOST if final else Step.WAIT, n)
    if _continues(data, end):
        return Step.MESSAGE, end
    found, at = resume(data, end + 1, topics, final, end + HEADER + 65536)
    if found is Step.WAIT or (found is Step.LOST and not final and at < end + HEADER + 65536):
        return Step.WAIT, n
    size = at - end - HEADER
    if found is Step.LOST or size < 2:
        return Step.LOST, end
    has_size = data[end] | data[end + 1] << 8 == size
    has_kind = data[end + 2] == DATA and topics.is_sound(data[end + 3] | data[end + 4] << 8, size)
    return (Step.MESSAGE if has_size or has_kind else Step.LOST), end


def _vouched(data: bytes, end: int, topics: Topics, final: bool) -> tuple[Step, int]:
    """A message that ends at `end` and cannot be read: UNREAD when the chain behind it leads to a strong one."""
    at, n = end, len(data)
    for _ in range(VOUCHING):
        if at + HEADER + 2 > n:
            return (Step.UNREAD if at == n else Step.LOST, end) if final else (Step.WAIT, n)
        if not is_header(data, at):
            return Step.LOST, end
        if data[at + 2] == DATA and is_strong(data, at, topics):
            return Step.UNREAD, end
        at += HEADER + (data[at] | data[at + 1] << 8)
    return Step.LOST, end


def _doubtful(data: bytes, pos: int, end: int, topics: Topics, final: bool) -> tuple[Step, int]:
    """A message that is no data, behind which there is no header: believed when it reads well and no other begins
    within it."""
    found, _ = resume(data, pos + 1, topics, final, end)
    if found is Step.WAIT:
        return Step.WAIT, len(data)
    is_whole = data[pos + 2] in b"ORS" or _reads(data[pos + 2], data[pos + HEADER : end], topics)
    return (Step.MESSAGE, end) if is_whole and found is not Step.MESSAGE else (Step.LOST, end)


def resume(data: bytes, start: int, topics: Topics, final: bool, stop: int | None = None) -> tuple[Step, int]:
    """The next place from `start` on (and before `stop`) where a message or a log certainly begins.

    (MESSAGE, there); (WAIT, where something begins that more bytes are needed for); (LOST, end) when there is none.
    """
    n = len(data)
    stop = n if stop is None else stop
    match = _BEGINNING.search(data, start, stop)
    while match:
        at = match.start() - 2 if match[0] != b"U" else match.start()
        if at >= start:
            begins = _begins(data, at, topics, final)
            if begins is not Step.LOST:
                return begins, at
        match = _BEGINNING.search(data, match.start() + 1, stop)
    return Step.LOST, stop if final or stop < n else max(start, n - 2)


def _begins(data: bytes, at: int, topics: Topics, final: bool) -> Step:
    """Whether what stands at `at` is a message by what it holds, and a header stands behind it."""
    n = len(data)
    if data.startswith(MAGIC[: n - at], at):
        return Step.MESSAGE if at + len(MAGIC) <= n else Step.LOST if final else Step.WAIT
    if at + HEADER > n or not is_header(data, at):
        return Step.LOST
    end = at + HEADER + (data[at] | data[at + 1] << 8)
    if at + HEADER + 2 > n:
        return Step.LOST if final else Step.WAIT
    if data[at + 2] == DATA and not is_strong(data, at, topics):
        return Step.LOST
    if end + HEADER > n and not (final and end == n):
        return Step.LOST if final else Step.WAIT
    if data.startswith(_SYNC_HEADER, at):
        return Step.MESSAGE
    if end < n and not is_header(data, end):
        return Step.LOST
    is_message = data[at + 2] == DATA or _reads(data[at + 2], data[at + HEADER : end], topics)
    return Step.MESSAGE if is_message else Step.LOST


def _reads(kind: int, body: bytes, topics: Topics) -> bool:
    """Whether a message that is no data is whole by its contents."""
    match chr(kind):
        case "F":
            return parse_format(body) is not None
        case "A":
            return body[3:].decode("utf-8", "replace") in topics.formats
        case "I" | "P":
            return pair(body) is not None
        case "M" | "Q":
            return pair(body, 1) is not None
        case "L" | "C":
            said = text(body, 0, kind == ord("C"))
            return said is not None and said.text.replace("\t", "").replace("\x1b", "").isprintable()
        case "B":
            return not any(body[17:40:8]) and body[0] < 2
    return False

"""PX4 events as texts: the topic `event` holds numbers and arguments, the log's own metadata what they mean.

Source: PX4 user guide, "Events Interface"; libevents, "Events Metadata". Only events of the group `default` are for
people; the others (health and arming checks) are the state of a report. A log without metadata gives the numbers.
"""

import json
import lzma
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from firmware_bridge.log_tables import Table, Text

_MOST_BYTES = 8 << 20
_MOST_MEMORY = 128 << 20
_MOST_PENDING = 10_000
_MOST_CHARS = 1_000
_LEVELS = 8
"""External log levels from here on are protocol and disabled: nothing for people."""
_KINDS = {
    "uint8_t": "<B", "int8_t": "<b", "uint16_t": "<H", "int16_t": "<h", "uint32_t": "<I", "int32_t": "<i",
    "uint64_t": "<Q", "int64_t": "<q", "float": "<f",
}  # fmt: skip
_TAG = re.compile(r'<([a-z]+)(?: [a-z]+="([^"]*)")?>(.*?)</\1>', re.DOTALL)
_ARGUMENT = re.compile(r"\{(\d{1,3})(?::(?:\.(\d{1,2}))?)?(m_v|m/s|m\^2|m|C)?\}")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_WRONG = (KeyError, TypeError, ValueError, AttributeError, LookupError, struct.error, lzma.LZMAError, EOFError)

Definition = tuple[str, str, list[Any], str]
"""(group, message, arguments, namespace)."""


@dataclass(slots=True, eq=False)
class Definitions:
    """events: id -> definition. enums: `namespace::name` -> definition."""

    events: dict[int, Definition] = field(default_factory=dict)
    enums: dict[str, Any] = field(default_factory=dict)

    def text(self, number: int, arguments: bytes) -> str | None:
        """What an event says; None when it is not for people."""
        definition = self.events.get(number)
        if definition is None:
            return f"[Unknown event with ID {number}]"
        group, message, kinds, namespace = definition
        if group != "default":
            return None
        try:
            values = self._values(kinds, namespace, arguments)
        except _WRONG:
            values = []
        return _said(message[:_MOST_CHARS], values)

    def _values(self, kinds: list[Any], namespace: str, arguments: bytes) -> list[Any]:
        out: list[Any] = []
        at = 0
        for kind in (argument["type"] for argument in kinds):
            enum = None if kind in _KINDS else self.enums[kind if "::" in kind else f"{namespace}::{kind}"]
            number = struct.Struct(_KINDS[enum["type"] if enum else kind])
            value = number.unpack_from(arguments, at)[0]
            at += number.size
            out.append(value if enum is None else _named(value, enum))
        return out


def _named(value: int, enum: Mapping[str, Any]) -> str:
    entries = {int(number): str(entry["description"]) for number, entry in enum["entries"].items()}
    if not enum.get("is_bitfield", False):
        return entries.get(value, f"(unknown: {value})")
    bits = [1 << i for i in range(64) if value >> i & 1]
    return str(enum.get("separator", "|")).join(entries.get(bit, f"(unknown: {value})") for bit in bits)


def _said(message: str, values: list[Any]) -> str:
    def argument(match: re.Match[str]) -> str:
        index = int(match[1]) - 1
        if not 0 <= index < len(values):
            return match[0]
        is_rounded = match[2] is not None and isinstance(values[index], int | float)
        value = f"{values[index]:.{match[2]}f}" if is_rounded else str(values[index])
        return f"{value} {match[3].removesuffix('_v')}" if match[3] else value

    def tag(match: re.Match[str]) -> str:
        if match[1] == "profile":
            name = match[2] or ""
            return match[3] if (name[1:] != "dev" if name.startswith("!") else name == "dev") else ""
        return match[3] if match[1] in ("a", "param") else ""

    return _ESCAPED.sub(r"\1", _ARGUMENT.sub(argument, _TAG.sub(tag, message))).strip()


@lru_cache(maxsize=4)  # all logs of one firmware carry the same
def read_definitions(packed: bytes) -> Definitions | None:
    """The metadata that a log carries (json, packed with xz); None while it is not whole, or damaged."""
    unpacker = lzma.LZMADecompressor(memlimit=_MOST_MEMORY)
    try:
        text = unpacker.decompress(packed, _MOST_BYTES)
        return _definitions(json.loads(text)) if unpacker.eof else None
    except (*_WRONG, RecursionError):
        return None


def _definitions(told: Any) -> Definitions:
    out = Definitions()
    for component, content in told["components"].items():
        namespace = str(content.get("namespace", ""))
        for name, enum in content.get("enums", {}).items():
            out.enums[f"{namespace}::{name}"] = enum
        for group, held in content.get("event_groups", {}).items():
            for number, event in held.get("events", {}).items():
                definition = (str(group), str(event["message"]), list(event.get("arguments", [])), namespace)
                out.events[int(component) << 24 | int(number)] = definition
    return out


class EventTexts:
    """The events of a log as texts. Those that come before the metadata wait for it."""

    def __init__(self) -> None:
        self._definitions: Definitions | None = None
        self._pieces_read = 0
        self._waiting: list[tuple[int, int, int, bytes, int]] = []

    def read(self, table: Table) -> None:
        """Takes the next events in."""
        names = table.rows.dtype.names or ()
        if not {"id", "log_levels"} <= set(names):
            return
        rows = table.rows[: _MOST_PENDING - len(self._waiting)]
        arguments = rows["arguments"] if "arguments" in names else rows["id"]
        levels = rows["log_levels"] >> 4
        columns = (table.time_us[: len(rows)], levels, rows["id"], table.at[: len(rows)])
        for i, (time_us, level, number, at) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            if level < _LEVELS:
                self._waiting.append((time_us, level, number, arguments[i].tobytes(), at))

    def texts(self, pieces: list[Any], is_end: bool) -> list[Text]:
        """What can be said by now. pieces: of the metadata so far; is_end: no more will come."""
        if not self._waiting:
            return []
        if self._definitions is None and len(pieces) > self._pieces_read:
            self._definitions = read_definitions(b"".join(p for p in pieces if isinstance(p, bytes)))
            self._pieces_read = len(pieces)
        if self._definitions is None and not is_end:
            return []
        definitions, waiting = self._definitions or Definitions(), self._waiting
        self._waiting = []
        said = [(t, level, definitions.text(number, arguments), at) for t, level, number, arguments, at in waiting]
        return [Text(t, level, text, at) for t, level, text, at in said if text]

"""What a ULog has told so far: its topics, its facts, where appended data begins; and how each word is taken in."""

from dataclasses import dataclass, field

from firmware_bridge.log_tables import Damage, Parameter, Portion
from firmware_bridge.ulog_events import EventTexts
from firmware_bridge.ulog_formats import Topics
from firmware_bridge.ulog_scan import FILE_HEADER, HEADER
from firmware_bridge.ulog_words import Facts, pair, parameter, text

_FLAGS_BYTES = 40
_APPENDED = 1
_DATA_BEGINS = frozenset(b"ALCD")
"""Messages that end the definitions."""


@dataclass(slots=True, eq=False)
class UlogState:
    """One log's words. latest_us: the latest stamp so far. sections: where appended data begins, ascending. is_fresh:
    the next samples are another boot's. lost_at: where the chain of messages was lost, -1 while it holds; lost_zeros:
    all bytes since are 0; lost_torn: a message began there that goes on behind the end.
    """

    topics: Topics = field(default_factory=Topics)
    facts: Facts = field(default_factory=Facts)
    events: EventTexts = field(default_factory=EventTexts)
    defaults: dict[int, dict[str, float]] = field(default_factory=dict)
    in_definitions: bool = True
    start_us: int = 0
    latest_us: int = 0
    sections: list[int] = field(default_factory=list)
    lost_at: int = -1
    lost_zeros: bool = True
    lost_torn: bool = False
    is_fresh: bool = False

    def begin(self, header: bytes, at: int, portion: Portion) -> None:
        """A log's header stands at `at`; `header` is it and the flags behind it, where there are any."""
        self.__init__()  # type: ignore[misc]  # all that an earlier log said is of no matter
        self.start_us = self.latest_us = int.from_bytes(header[8:16], "little")
        portion.info = {"start_timestamp": self.start_us, "file_version": header[7]}
        portion.is_new_boot = at > 0
        flags = header[FILE_HEADER + HEADER : FILE_HEADER + HEADER + _FLAGS_BYTES]
        if header[FILE_HEADER + 2 : FILE_HEADER + 3] == b"B" and len(flags) == _FLAGS_BYTES and flags[8] & _APPENDED:
            offsets = sorted(int.from_bytes(flags[i : i + 8], "little") for i in (16, 24, 32))
            self.sections = [at + offset for offset in offsets if offset > FILE_HEADER]

    def next_section(self) -> None:
        """Appended data begins: samples in it are of another time."""
        self.sections.pop(0)
        self.is_fresh, self.latest_us = True, self.start_us

    def take(self, kind: int, body: bytes, at: int, portion: Portion) -> tuple[str, float] | None:
        """A message that is neither data nor format nor subscription. Gives back a parameter that changed in flight,
        which has no stamp of its own. What cannot be read is damage."""
        if kind in _DATA_BEGINS:
            self.in_definitions = False
        is_read = True
        match chr(kind):
            case "P":
                found = parameter(body)
                if found and not self.in_definitions:
                    return found
                is_read = found is not None
                portion.parameters += [Parameter(*found)] if found else []
            case "F":
                is_read = body.partition(b":")[0].decode("utf-8", "replace") in self.topics.formats
            case "I":
                fact = pair(body)
                is_read = fact is not None
                portion.info |= {fact[1]: fact[2]} if fact else {}
            case "M":
                facts = self.facts.add(body)
                is_read = facts is not None
                portion.info |= {facts[0]: facts[1]} if facts else {}
            case "Q":
                is_read = self._default(body, portion)
            case "L" | "C":
                said = text(body, at, kind == ord("C"))
                is_read = said is not None
                portion.texts += [said] if said else []
            case "O":
                portion.damage.append(Damage(at, 0, "dropout", f"{int.from_bytes(body, 'little')} ms"))
            case "B":
                unknown = [i for i, flag in enumerate(body[8:16]) if flag & (0xFF ^ (_APPENDED if i == 0 else 0))]
                if unknown:
                    portion.damage.append(Damage(at, 0, "unknown_flags", f"incompatible flags {body[8:16].hex()}"))
        if not is_read:
            portion.damage.append(Damage(at, HEADER + len(body), "bad_text", f"message {chr(kind)}"))
        return None

    def _default(self, body: bytes, portion: Portion) -> bool:
        found = parameter(body, 1)
        if found is None:
            return False
        for bit in range(8):
            if body[0] >> bit & 1:
                self.defaults.setdefault(bit, {})[found[0]] = found[1]
        portion.info["default_parameters"] = self.defaults
        return True

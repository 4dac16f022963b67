"""Recorded logs as message columns, portion by portion: what every reader gives, whatever the format.

A reader is fed a log's bytes in pieces of any size and gives *portions*: the messages that became whole, by type and
instance. Memory is bounded by the size of the pieces, not of the log. Nothing here or in a reader raises on what a log
holds: what cannot be read is a `Damage`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.frames import Frames

LogFormat = Literal["dataflash", "dataflash-text", "ulog", "tlog", "raw"]
NO_TIME = np.iinfo(np.int64).min
"""time_us of a message whose log gives it no time."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes [offset, offset + size) of the unpacked log that no message was read from, and why.

    reason: bad_header, bad_crc, no_magic, unknown_type, bad_length, bad_text, torn_end, zeros, dropout, ...: a word or
    two, documented in docs/logs.md. A ULog dropout is damage of 0 bytes.
    """

    offset: int
    size: int
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Messages of one type and instance, in the order of the log.

    name: the log's own ("ATT", "vehicle_attitude"; "ATTITUDE" for MAVLink). instance: DataFlash's instance field,
    ULog's multi id, sysid << 8 | compid for MAVLink. time_us int64 [n]: the log's own clock (us since boot in DataFlash
    and ULog; the stamp, us since 1970, in a tlog), NO_TIME where there is none. at int64 [n]: where each begins in the
    unpacked log. rows [n]: a structured array with the fields as written (strings as S, arrays as sub-arrays).
    gain: what a raw field is multiplied with for its `unit`, where that is not 1 (DataFlash's FMTU and MULT).
    """

    name: str
    instance: int
    time_us: NDArray[np.int64]
    at: NDArray[np.int64]
    rows: NDArray[Any]
    gain: dict[str, float] = field(default_factory=dict)
    unit: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def values(self, name: str) -> NDArray[np.float64]:
        """A numeric field in its unit, float64 [n] (or [n, size])."""
        raw = self.rows[name].astype(np.float64)
        return raw * self.gain[name] if name in self.gain else raw


@dataclass(frozen=True, slots=True)
class Text:
    """Something the firmware said. severity: 0 (emergency) to 7 (debug), 6 where the format has none."""

    time_us: int
    severity: int
    text: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as logged: initial (at the start, or in a retained dump), else changed in flight."""

    name: str
    value: float
    time_us: int = NO_TIME
    is_initial: bool = True


@dataclass(slots=True, eq=False)
class Portion:
    """What one piece of a log gave. All of it was read from bytes [start, end) of the unpacked log.

    counts: messages by type name, also of types that give no table, as the field's own tools count them. frames: of a
    tlog or raw dump the MAVLink frames behind the tables (None else). info: free facts, as the log spells them
    ("ver_sw", "sys_uuid", ...). is_new_boot: the log's clock began anew at the start of this portion (a portion never
    spans two boots or two appended sessions).
    """

    start: int = 0
    end: int = 0
    tables: list[Table] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    texts: list[Text] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    frames: Frames | None = None
    is_new_boot: bool = False

    def get(self, name: str, instance: int | None = None) -> Table | None:
        """The table of a type; of its lowest instance when none is named."""
        found = [t for t in self.tables if t.name == name and instance in (None, t.instance)]
        return min(found, key=lambda t: t.instance) if found else None


class LogReader(Protocol):
    """Reads one log of one format. How its bytes are split over feeds changes nothing but the portions' cuts."""

    format: LogFormat

    def feed(self, data: bytes) -> list[Portion]:
        """The next bytes of the log; the portions that they complete (none: more is needed)."""

    def finish(self) -> list[Portion]:
        """After the last byte: what was still open, and the torn end as damage."""


def read_all(reader: LogReader, pieces: Iterable[bytes]) -> list[Portion]:
    """All portions of a log."""
    out = [p for piece in pieces for p in reader.feed(piece)]
    return out + reader.finish()

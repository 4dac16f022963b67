"""Telemetry logs (`.tlog`) and raw MAVLink dumps as message columns, portion by portion, every byte accounted for."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.columns import FrameGroup, columns_of, fields
from firmware_bridge.events import clean_text
from firmware_bridge.framing import Found, Scanner, cut
from firmware_bridge.log_tables import NO_TIME, LogFormat, Parameter, Portion, Table, Text
from firmware_bridge.mavlink_clocks import BootTimes, StampTimes
from firmware_bridge.mavlink_damage import Between
from firmware_bridge.tlog_scan import StampedScanner
from firmware_bridge.tlog_stamps import STAMP_BYTES
from shared.frames import Frames
from shared.layouts import LAYOUTS

PIECE_BYTES = 4 << 20
"""Bytes that are read at once, and held at most beside what is fed."""
MAX_BOOTS = 1_000
"""Portions are cut at so many restarts of the clock; one that starts anew more often is no clock."""
_STATUSTEXT, _PARAM_VALUE = 253, 22
_INTEGER_TYPES = 6  # MAV_PARAM_TYPE: integers up to 32 bits
Ints = NDArray[np.int64]


class _MavlinkReader:
    """What both readers do: gather pieces, find frames, and give them and what lies between as portions."""

    def __init__(
        self, scanner: Scanner | StampedScanner, times: StampTimes | BootTimes, stamp_bytes: int, piece_bytes: int
    ) -> None:
        self._scanner, self._times, self._piece_bytes = scanner, times, piece_bytes
        self._between = Between(stamp_bytes)
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._end = 0  # of the last portion
        self._boots = 0

    def feed(self, data: bytes) -> list[Portion]:
        """The next bytes of the log; the portions that they complete."""
        self._pending.append(data)
        self._pending_bytes += len(data)
        return self._read(False) if self._pending_bytes >= self._piece_bytes else []

    def finish(self) -> list[Portion]:
        """After the last byte: the rest, and a torn end as damage."""
        return self._read(True)

    def _read(self, final: bool) -> list[Portion]:
        """Finds in slices, so that a large piece costs no more memory than many small ones."""
        data, out = b"".join(self._pending), list[Portion]()
        self._pending, self._pending_bytes = [], 0
        edges = [*range(0, len(data), self._piece_bytes), len(data)]
        for a, b in pairwise(edges if data else [0, 0]):
            out += self._portions(self._scanner.find(data[a:b], final and b == len(data)), final and b == len(data))
        return out

    def _portions(self, found: Found, final: bool) -> list[Portion]:
        n = len(found.starts)
        before = np.append(self._between.last_end - found.base, found.ends[:-1])[:n]
        frames = cut(found.data, found.starts, found.ends, 0)
        clock = self._times.of(found, frames, before)
        frames = Frames(frames.data, frames.offsets, clock.time_us)
        rows, damage = self._between.damage(found, before, clock.own, self._scanner.decided, final)
        anew = clock.anew[: max(0, MAX_BOOTS - self._boots)]
        self._boots += len(anew)
        out: list[Portion] = []
        for a, b in pairwise([*([0] if n and 0 not in anew else []), *anew, n]):
            portion = _portion(
                frames if b - a == n else frames.slice(a, b), found.starts[a:b] + found.base, clock.is_known
            )
            portion.start, portion.end = self._end, int(found.ends[b - 1]) + found.base
            portion.damage = [d for row, d in zip(rows, damage, strict=True) if a <= row < b]
            portion.is_new_boot = a in anew
            self._end = portion.end
            out.append(portion)
        tail = [d for row, d in zip(rows, damage, strict=True) if row == n]
        if tail:
            out.append(Portion(self._end, self._scanner.decided, damage=tail))
            self._end = self._scanner.decided
        return out


class TlogReader(_MavlinkReader):
    """Telemetry logs: Table.time_us is the stamp, us since 1970 by the recorder's clock. See LogReader."""

    format: LogFormat = "tlog"

    def __init__(self, piece_bytes: int = PIECE_BYTES) -> None:
        super().__init__(StampedScanner(), StampTimes(), STAMP_BYTES, piece_bytes)


class RawReader(_MavlinkReader):
    """Raw dumps, which have no stamps: Table.time_us is the vehicle's `time_boot_ms` in us, held between the messages
    that say it. See LogReader."""

    format: LogFormat = "raw"

    def __init__(self, piece_bytes: int = PIECE_BYTES) -> None:
        super().__init__(Scanner(), BootTimes(), 0, piece_bytes)


def _portion(frames: Frames, at: Ints, is_timed: bool) -> Portion:
    """Frames that begin at `at` of the log, as tables."""
    portion = Portion(frames=frames)
    columns = columns_of(frames)
    for g in columns.groups:
        layout = LAYOUTS.get(g.msgid)
        name = layout.name if layout else f"UNKNOWN_{g.msgid}"
        portion.counts[name] = portion.counts.get(name, 0) + len(g.rows)
        if layout:
            times = columns.time_us[g.rows] if is_timed else np.full(len(g.rows), NO_TIME, np.int64)
            table = Table(name, g.sysid << 8 | g.compid, times, at[g.rows], fields(g))
            portion.tables.append(table)
            _read_words(portion, table, g)
    return portion


def _read_words(portion: Portion, table: Table, g: FrameGroup) -> None:
    """Texts as they came (a long one in its chunks) and parameters."""
    if g.msgid == _STATUSTEXT:
        rows = (table.time_us, table.rows["severity"], table.rows["text"], table.at)
        for time_us, severity, text, at in zip(*(r.tolist() for r in rows), strict=True):
            portion.texts.append(Text(time_us, min(severity, 7), clean_text(text), at))
    elif g.msgid == _PARAM_VALUE:
        names = [name.decode("latin-1") for name in table.rows["param_id"].tolist()]
        for name, value, time_us in zip(names, _values(table.rows), table.time_us.tolist(), strict=True):
            portion.parameters.append(Parameter(name, value, time_us))


def _values(rows: NDArray[np.void]) -> list[float]:
    """Parameters as numbers. PX4 sends integers as their bits in the float, ArduPilot as floats: read as a float, the
    bits of any integer of less than 23 bits are no whole number."""
    value = rows["param_value"].astype("<f4")
    is_bits = (rows["param_type"] <= _INTEGER_TYPES) & (value != np.rint(value))
    return np.where(is_bits, value.view("<i4").astype(np.float64), value.astype(np.float64)).tolist()  # type: ignore[no-any-return]

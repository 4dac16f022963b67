"""A recorded log as a file for other tools, offline and in bounded memory: `dbx export` and the hub's API use it.

Channels and tracks are of the whole log, also where nothing was armed, boot by boot; messages come portion by portion.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from firmware_bridge.log_flight import LogFlight, derive
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import LogSession, Survey, survey
from firmware_bridge.log_tables import NO_TIME, Portion, Table
from hub.export.log_private import DIALECTS, Whereabouts
from hub.export.mcap import McapFile, Topic
from hub.export.message_tables import MessageFiles, field_columns, seen
from hub.export.originals import rewrite
from hub.export.private import Privacy
from hub.export.private_series import EPOCH_2000_US, private_series
from hub.export.private_texts import is_plain
from hub.export.series import Series
from hub.export.tables import raw_table, to_bytes
from hub.export.track import CHANNELS as TRACK_CHANNELS
from hub.export.track import Track, to_geojson, to_gpx, to_kml, track_of
from shared.channels import BY_NAME, CHANNELS
from shared.clock import ClockSource

Format = Literal["csv", "parquet", "mcap", "geojson", "kml", "gpx", "original"]
ENDINGS = {"dataflash": "bin", "dataflash-text": "log", "ulog": "ulg", "tlog": "tlog", "raw": "raw"}
_TRACKS = {"geojson": to_geojson, "kml": to_kml, "gpx": to_gpx}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. channels: None for all. messages: types at full rate, instead of channels (CSV, Parquet).
    seed: of several private exports that are to lie together."""

    format: Format
    channels: tuple[str, ...] | None = None
    messages: tuple[str, ...] = ()
    private: bool = False
    seed: bytes | None = None
    hide_time: bool = False


@dataclass(slots=True)
class Written:
    """What came of it. rows: of channels or messages. left_out: of a private export."""

    paths: list[Path]
    rows: int = 0
    left_out: dict[str, Any] | None = None


@dataclass(slots=True)
class _Log:
    """A log that is being exported."""

    source: LogSource
    wish: Wish
    found: Survey
    privacy: Privacy | None = None
    _time_shift_us: int = field(default=0)

    def portions(self) -> Iterator[tuple[int, Portion]]:
        """(boot, portion)."""
        boot, reader = 0, self.source.reader()
        for piece in self.source.pieces():
            for portion in reader.feed(piece):
                boot += portion.is_new_boot
                yield boot, portion
        for portion in reader.finish():
            boot += portion.is_new_boot
            yield boot, portion

    def hide(self) -> None:
        """Learn how to hide it: one pass over the log."""
        places = Whereabouts(DIALECTS[self.source.format])
        for _, portion in self.portions():
            places.take(portion)
        self.privacy = places.privacy(self.found.sessions, self.wish.seed, self.wish.hide_time)
        starts = [b.first_us + b.clock.offset_us() for b in self.found.boots]
        if self.wish.hide_time and starts:
            self._time_shift_us = EPOCH_2000_US - min(starts)

    def offset_us(self, boot: int) -> int | None:
        """What makes UTC of a boot's times; None where that is not known."""
        boots = self.found.boots
        if boot >= len(boots) or boots[boot].clock.source is ClockSource.unknown:
            return None
        return boots[boot].clock.offset_us() + self._time_shift_us

    def table(self, table: Table) -> Table:
        """A table as it may be seen."""
        if self.privacy is None:
            return table
        made = seen(self.privacy, DIALECTS[self.source.format], table)
        if self._time_shift_us and self.source.format == "tlog":
            made = replace(made, time_us=made.time_us + self._time_shift_us)
        return made

    def series(self) -> list[tuple[Series, bool]]:
        """The channels of each boot, and whether their times are UTC."""
        whole = [LogSession(i, b.first_us, b.last_us, True, "the whole log") for i, b in enumerate(self.found.boots)]
        return [self._seen(f) for f in derive(self.source, replace(self.found, sessions=tuple(whole)))]

    def _seen(self, flight: LogFlight) -> tuple[Series, bool]:
        series = _series(flight)
        wanted = [BY_NAME[n] for n in self.wish.channels or [c.name for c in CHANNELS if c.name in series.stored]]
        clock = self.found.boots[flight.session.boot].clock
        has_time = clock.source is not ClockSource.unknown
        if self.privacy is None:
            return Series(series.time_utc_us, {c.name: series.stored[c.name] for c in wanted}), has_time
        return private_series(series, self.privacy, wanted), has_time


def export_log(source: LogSource, wish: Wish, out: Path) -> Written:
    """Write the export to `out` (a folder where several message types are asked for). Refused as LogSource; OSError."""
    log = _Log(source, wish, survey(source))
    if wish.private:
        log.hide()
    out.parent.mkdir(parents=True, exist_ok=True)
    if wish.format == "original":
        written = _original(log, out)
    elif wish.messages:
        written = _messages(log, out)
    elif wish.format == "mcap":
        written = _mcap(log, out)
    elif wish.format in _TRACKS:
        written = _tracks(log, out)
    else:
        written = _table(log, out)
    if log.privacy is not None:
        written.left_out = log.privacy.left_out.as_json()
    return written


def _original(log: _Log, out: Path) -> Written:
    pieces = log.source.pieces()
    with out.open("wb") as sink:
        for part in pieces if log.privacy is None else rewrite(log.privacy, log.source.reader(), pieces):
            sink.write(part)
    return Written([out], sum(log.found.messages.values()))


def _messages(log: _Log, out: Path) -> Written:
    one = len(log.wish.messages) == 1 and log.wish.messages != ("all",)
    files = MessageFiles(log.wish.format, out.parent if one else out, f"{out.stem}-" if one else "", log.wish.messages)
    for boot, portion in log.portions():
        for table in portion.tables:
            if files.wants(table.name):
                files.add(log.table(table), log.offset_us(boot))
    files.close()
    if one and len(files.paths) == 1:
        files.paths = [files.paths[0].replace(out)]
    return Written(files.paths, files.rows)


def _mcap(log: _Log, out: Path) -> Written:
    with out.open("wb") as sink:
        made = McapFile(sink)
        for series, _ in log.series():
            made.add_series(series)
        for boot, portion in log.portions():
            offset = log.offset_us(boot) or 0
            made.add([*(_topic(log.table(t), offset) for t in portion.tables), _texts(log, portion, offset)])
        made.finish()
    return Written([out], made.messages)


def _topic(table: Table, offset_us: int) -> Topic:
    name = table.name if table.instance == 0 else f"{table.name}/{table.instance}"
    return Topic.table(name, np.where(table.time_us == NO_TIME, 0, table.time_us + offset_us), field_columns(table))


def _texts(log: _Log, portion: Portion, offset_us: int) -> Topic:
    kept = [t for t in portion.texts if log.privacy is None or is_plain(t.text)]
    if log.privacy is not None:
        log.privacy.left_out.texts += len(portion.texts) - len(kept)
    return Topic.texts([(max(t.time_us, 0) + offset_us, t.severity, t.text) for t in kept])


def _tracks(log: _Log, out: Path) -> Written:
    log.wish = replace(log.wish, channels=TRACK_CHANNELS)
    title = "A flight, moved elsewhere" if log.privacy is not None else log.source.name
    tracks: list[Track] = [track_of(title, series, has_time) for series, has_time in log.series()]
    tracks = [t for t in tracks if len(t.lat_deg)] or tracks[:1] or [_no_track(title)]
    out.write_bytes(_TRACKS[log.wish.format](*tracks))
    return Written([out], sum(len(t.lat_deg) for t in tracks))


def _no_track(name: str) -> Track:
    return Track(name, np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0), False)


def _table(log: _Log, out: Path) -> Written:
    """The channels of all boots, one after the other; a channel that one boot lacks is absent there."""
    all_series = [s for s, _ in log.series()]
    names = [c.name for c in CHANNELS if any(c.name in s.stored for s in all_series)]
    stored = {n: np.concatenate([_filled(s, n) for s in all_series]) for n in names}
    times = np.concatenate([np.zeros(0, np.int64), *(s.time_utc_us for s in all_series)])
    out.write_bytes(to_bytes(raw_table(Series(times, stored)), log.wish.format))
    return Written([out], len(times))


def _series(flight: LogFlight) -> Series:
    """The grids of a flight as one."""
    grids = flight.grids
    names = list(dict.fromkeys(n for g in grids for n in g.values))
    names += [n for n in ("lat_deg", "lon_deg", "alt_msl_m", "armed") if n not in names]
    parts = [Series(g.tick_us + flight.offset_us, dict(g.values)) for g in grids]
    empty = Series(np.zeros(0, np.int64), {})
    stored = {n: np.concatenate([_filled(p, n) for p in (empty, *parts)]) for n in names}
    return Series(np.concatenate([p.time_utc_us for p in (empty, *parts)]), stored)


def _filled(series: Series, name: str) -> Any:
    """The channel's stored values, all absent where the series lacks it."""
    channel, n = BY_NAME[name], len(series.time_utc_us)
    if name in series.stored:
        return series.stored[name].astype(channel.dtype)
    return np.full(n if channel.size == 1 else (n, channel.size), channel.missing, channel.dtype)


def write_report(written: Written) -> Path | None:
    """What a private export does not hold, beside it."""
    if written.left_out is None or not written.paths:
        return None
    first = written.paths[0]
    path = first.with_name(f"{first.name}.left-out.json")
    path.write_text(json.dumps(written.left_out, indent=1) + "\n")
    return path

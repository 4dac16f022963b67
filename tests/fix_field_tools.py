"""What the field's own tools, pymavlink and pyulog, read in a log: the reference that our reading is held against."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.log_source import LogSource

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
REAL = DATA / "real"
FLIGHTS = DATA / "flights"


def real_logs() -> list[Path]:
    """The recordings that others made; none where the folder is absent."""
    return sorted(p for p in REAL.glob("*") if p.suffix.lower() not in (".md", ".csv")) if REAL.is_dir() else []


@dataclass
class Reading:
    """counts: messages by type. columns: type -> field -> values in the log's order (numeric fields; ULog: "type/i").
    armed: (time_s, is armed) where it changed; modes: (time_s, number) where it changed; times as the tool tells them,
    of the first and last message in `span`. starts_armed: the first word on arming is that it ends.
    """

    counts: dict[str, int] = field(default_factory=dict)
    columns: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    armed: list[tuple[float, bool]] = field(default_factory=list)
    modes: list[tuple[float, int]] = field(default_factory=list)
    span: tuple[float, float] = (0.0, 0.0)
    starts_armed: bool = False

    def sessions(self) -> list[tuple[float, float]]:
        """Armed spans in seconds from the first message."""
        out, start = [], self.span[0] if self.starts_armed else None
        for at, is_armed in self.armed:
            if is_armed and start is None:
                start = at
            elif not is_armed and start is not None:
                out.append((start - self.span[0], at - self.span[0]))
                start = None
        return out + ([(start - self.span[0], self.span[1] - self.span[0])] if start is not None else [])


@contextlib.contextmanager
def plain_file(source: LogSource) -> Iterator[Path]:
    """The unpacked log as a file, as those tools want it."""
    suffix = {"dataflash": ".bin", "dataflash-text": ".log", "ulog": ".ulg", "raw": ".raw"}.get(source.format, ".tlog")
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        for piece in source.pieces():
            file.write(piece)
        file.flush()
        yield Path(file.name)


def read_with_field_tools(source: LogSource, vehicle: tuple[int, int] = (0, 0)) -> Reading:
    """The reading of pyulog (ULog) or pymavlink (all others). vehicle: whose HEARTBEATs count in a MAVLink log."""
    with plain_file(source) as path:
        return _pyulog(path) if source.format == "ulog" else _pymavlink(path, source.format, vehicle)


def _pymavlink(path: Path, log_format: str, vehicle: tuple[int, int]) -> Reading:
    from pymavlink import mavutil

    with contextlib.redirect_stdout(io.StringIO()):
        log = mavutil.mavlink_connection(str(path), notimestamps=log_format == "raw", dialect="ardupilotmega")
    out, rows, stamps = Reading(), {}, []
    while (m := log.recv_match()) is not None:
        name = m.get_type()
        if name == "BAD_DATA":
            continue
        out.counts[name] = out.counts.get(name, 0) + 1
        stamps.append(float(m._timestamp))
        rows.setdefault(name, []).append(m.to_dict())
        if log_format.startswith("dataflash"):
            _dataflash_state(out, name, m)
        elif name == "HEARTBEAT" and (m.get_srcSystem(), m.get_srcComponent()) == vehicle:
            _say(out, stamps[-1], bool(m.base_mode & 128), is_event=False)
            _mode(out, stamps[-1], m.custom_mode)
    out.columns = {name: _columns(found) for name, found in rows.items()}
    out.span = (stamps[0], stamps[-1]) if stamps else (0.0, 0.0)
    return out


def _dataflash_state(out: Reading, name: str, m: Any) -> None:
    at = float(m._timestamp)
    if name == "ARM":
        _say(out, at, bool(m.ArmState), is_event=True)
    elif name == "EV" and m.Id in (10, 11):
        _say(out, at, m.Id == 10, is_event=True)
    elif name == "MODE":
        _mode(out, at, m.ModeNum if hasattr(m, "ModeNum") else m.Mode)


def _say(out: Reading, at: float, is_armed: bool, is_event: bool) -> None:
    if not out.armed:
        out.starts_armed = is_event and not is_armed
    if not out.armed or out.armed[-1][1] != is_armed:
        out.armed.append((at, is_armed))


def _mode(out: Reading, at: float, number: Any) -> None:
    if isinstance(number, int) and (not out.modes or out.modes[-1][1] != number):
        out.modes.append((at, number))


def _columns(rows: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """Numeric fields that all rows have."""
    names = [n for n, v in rows[0].items() if isinstance(v, (int, float)) and n != "mavpackettype"]
    return {n: np.array([r.get(n, np.nan) for r in rows], np.float64) for n in names}


def _pyulog(path: Path) -> Reading:
    from pyulog import ULog

    from firmware_bridge.modes import px4_custom_mode

    with contextlib.redirect_stdout(io.StringIO()):
        log = ULog(str(path), disable_str_exceptions=True)
    out = Reading()
    for d in log.data_list:
        out.counts[d.name] = out.counts.get(d.name, 0) + len(d.data["timestamp"])
        out.columns[f"{d.name}/{d.multi_id}"] = {k: v for k, v in d.data.items() if v.dtype.kind in "iufb"}
    start = log.start_timestamp
    out.span = (start / 1e6, log.last_timestamp / 1e6)
    status = out.columns.get("vehicle_status/0", {})
    for at, armed, nav in zip(*(status.get(k, ()) for k in ("timestamp", "arming_state", "nav_state")), strict=False):
        if out.span[0] - 5 <= at / 1e6 <= out.span[1] + 5:
            _say(out, max(float(at) / 1e6, out.span[0]), bool(armed == 2), is_event=False)
            _mode(out, float(at) / 1e6, px4_custom_mode(int(nav)))
    return out

"""Makes `docs/channels.md`: every channel, and the message fields that give it on each firmware.

Run `python -m firmware_bridge.channel_table` after a change of the registry, `sources.py` or `log_sources.py`; a test
compares.
"""

import re
from pathlib import Path

from firmware_bridge.log_sources import DATAFLASH, STATES, ULOG, Field, TableSource
from firmware_bridge.sources import SOURCES, Linear, Source
from shared.channels import CHANNELS, GRID_HZ, Channel
from shared.layouts import LAYOUTS

PATH = Path(__file__).resolve().parent.parent / "docs" / "channels.md"
_HEAD = f"""# Channels

The canonical quantities (`shared/channels.py`) and where they come from (`firmware_bridge/sources.py`; recorded logs:
`firmware_bridge/log_sources.py`). Made by `python -m firmware_bridge.channel_table`; do not edit by hand.

A value is stored as an integer: physical value = stored × step. It stands on a grid of {GRID_HZ} rows per second,
whole tenths of a second in UTC where the clock is known: the newest message's value, held for at most *held* seconds,
then absent. Nothing is interpolated. Absent is NULL (in numpy: the lowest integer of the type), also for NaN, for a
protocol's "unknown" value, and for anything outside *range*. Positions are WGS84, velocities north-east-down, body axes
forward-right-down.

Sources stand in order of trust: where two messages are fresh, the first wins. A channel without a source on a firmware
is absent there. The columns ArduPilot and PX4 are MAVLink messages, live and in telemetry logs; DataFlash and ULog are
tables of those logs ("a|b": the first that there is; "#0" an instance, "in charge" the one that the estimator or the
sensor selection names). *States* are told when they change: they hold until the log says otherwise, as long as it says
anything.
"""
_TITLES = "| channel | meaning | unit | step | type | range | held s | ArduPilot | PX4 | DataFlash | ULog |\n"


def table() -> str:
    """The whole document."""
    parts = [_HEAD]
    for group in dict.fromkeys(c.group for c in CHANNELS):
        parts.append(f"\n## {group.capitalize()}\n\n")
        parts.append(_TITLES)
        parts.append("|---" * _TITLES.count(" | ") + "|---|\n")
        parts += [_row(c) for c in CHANNELS if c.group == group]
    return "".join(parts)


def _row(c: Channel) -> str:
    name = f"`{c.name}`" if c.size == 1 else f"`{c.name}`[{c.size}]"
    cells = [
        name, c.meaning, c.unit, f"{c.scale:g}", c.dtype, f"{c.low:g} … {c.high:g}", f"{c.stale_s:g}",
        _sources(c, "ardupilot"), _sources(c, "px4"), _tables(c, "dataflash", DATAFLASH), _tables(c, "ulog", ULOG),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |\n"


def _sources(c: Channel, firmware: str) -> str:
    """The messages that a firmware sends and what of them is read."""
    found: dict[str, None] = {}
    for source in SOURCES:
        if source.firmware in ("any", firmware) and source.msgid not in _NOT_SENT[firmware]:
            for words in _words(source, c.name):
                found[words] = None
    return "; ".join(found) or "–"


def _tables(c: Channel, log_format: str, sources: tuple[TableSource, ...]) -> str:
    """The tables of a log format and what of them is read."""
    found: dict[str, None] = {}
    if c.name in STATES[log_format]:
        found[f"*states:* {STATES[log_format][c.name]}"] = None
    for source in sources:
        instance = "" if source.instance is None else f" #{source.instance}"
        where = f"{source.table}{instance}{' in charge' if source.primary else ''}"
        for column in source.columns:
            if isinstance(column, Field) and c.size > 1:  # one table or instance for each element
                where = re.sub(r"\d$", "n", where)
            if any(name == c.name for name, _ in column.targets):
                found[f"{where}: {column.says()}".replace("|", "\\|")] = None
    return "; ".join(found) or "–"


def _words(source: Source, channel: str) -> list[str]:
    name = LAYOUTS[source.msgid].name
    first = f", {source.keep[0]} {source.keep[1]}" if source.keep else ""
    elements = [x for x in source.columns if isinstance(x, Linear) and x.element is not None and x.channel == channel]
    if elements:
        fields = f"{elements[0].field}[{elements[0].element}..{elements[-1].element}]"
        return [f"{name}.{fields} for [{elements[0].index}..{elements[-1].index}]{first}"]
    return [
        f"{name}.{column.says()}{first}"
        for column in source.columns
        if any(target == channel for target, _ in column.targets)
    ]


_BY_NAME = {layout.name: msgid for msgid, layout in LAYOUTS.items()}
_NOT_SENT = {
    "ardupilot": {_BY_NAME[n] for n in ("HIGHRES_IMU", "ESTIMATOR_STATUS", "ACTUATOR_OUTPUT_STATUS", "ALTITUDE")},
    "px4": {
        _BY_NAME[n]
        for n in (
            "RAW_IMU", "EKF_STATUS_REPORT", "WIND", "HWSTATUS", "POWER_STATUS", "RC_CHANNELS_RAW",
            "ESC_TELEMETRY_1_TO_4", "ESC_TELEMETRY_5_TO_8", "SCALED_PRESSURE",
        )
    },
}  # fmt: skip
"""Messages that a firmware has no stream for; they are read all the same, should a proxy send them."""


if __name__ == "__main__":
    PATH.write_text(table())

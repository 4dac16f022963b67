"""Makes `docs/channels.md`: every channel, and the message fields that give it on each firmware.

Run `python -m firmware_bridge.channel_table` after a change of the registry or of `sources.py`; a test compares.
"""

from pathlib import Path

from firmware_bridge.sources import SOURCES, Linear, Source
from shared.channels import CHANNELS, GRID_HZ, Channel
from shared.layouts import LAYOUTS

PATH = Path(__file__).resolve().parent.parent / "docs" / "channels.md"
_HEAD = f"""# Channels

The canonical quantities (`shared/channels.py`) and where they come from (`firmware_bridge/sources.py`). Made by
`python -m firmware_bridge.channel_table`; do not edit by hand.

A value is stored as an integer: physical value = stored × step. It stands on a grid of {GRID_HZ} rows per second,
whole tenths of a second in UTC where the clock is known: the newest message's value, held for at most *held* seconds,
then absent. Nothing is interpolated. Absent is NULL (in numpy: the lowest integer of the type), also for NaN, for a
protocol's "unknown" value, and for anything outside *range*. Positions are WGS84, velocities north-east-down, body axes
forward-right-down.

Sources stand in order of trust: where two messages are fresh, the first wins. A channel without a source on a firmware
is absent there.
"""


def table() -> str:
    """The whole document."""
    parts = [_HEAD]
    for group in dict.fromkeys(c.group for c in CHANNELS):
        parts.append(f"\n## {group.capitalize()}\n\n")
        parts.append("| channel | meaning | unit | step | type | range | held s | ArduPilot | PX4 |\n")
        parts.append("|---|---|---|---|---|---|---|---|---|\n")
        parts += [_row(c) for c in CHANNELS if c.group == group]
    return "".join(parts)


def _row(c: Channel) -> str:
    name = f"`{c.name}`" if c.size == 1 else f"`{c.name}`[{c.size}]"
    cells = [
        name, c.meaning, c.unit, f"{c.scale:g}", c.dtype, f"{c.low:g} … {c.high:g}", f"{c.stale_s:g}",
        _sources(c, "ardupilot"), _sources(c, "px4"),
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

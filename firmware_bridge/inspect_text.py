"""What `dbx inspect` prints for people, from the object that `--json` prints."""

from typing import Any

_FORMATS = {
    "dataflash": "DataFlash",
    "dataflash-text": "DataFlash as text",
    "ulog": "ULog",
    "tlog": "telemetry log",
    "raw": "raw MAVLink",
}
_SOURCES = {"gps": "by GPS", "log": "by the recorder's clock"}
_MOST_TYPES, _MOST_PLACES, _MOST_FLIGHTS = 8, 6, 12


def page(told: dict[str, Any]) -> str:
    """Some lines on one log."""
    lines = [f"{told['file']}: {_FORMATS[told['format']]}, {size(told['size_bytes'])}"]
    frame = f" ({told['frame']})" if told["frame"] else ""
    firmware = " ".join(filter(None, (told["firmware"], told["version"]))) or "unknown"
    system = f", system {told['system_id']}" if told["system_id"] else ""
    lines.append(_row("firmware", firmware))
    lines.append(_row("vehicle", f"{told['vehicle'] or 'unknown'}{frame}{system}"))
    lines += [_row("hardware" if i == 0 else "", words) for i, words in enumerate(told["hardware_ids"][:3])]
    lines.append(_row("time", _time(told)))
    if len(told["boots"]) > 1:
        lines.append(_row("boots", str(len(told["boots"]))))
    lines += [_row("flights" if i == 0 else "", words) for i, words in enumerate(_flights(told["sessions"]))]
    lines += [_row("messages" if i == 0 else "", words) for i, words in enumerate(_messages(told))]
    lines.append(_row("parameters", f"{told['parameters']:,}"))
    lines += [_row("damage" if i == 0 else "", words) for i, words in enumerate(_damage(told["damage"]))]
    return "\n".join(lines)


def _row(name: str, words: str) -> str:
    return f"  {name:<10}  {words}"


def size(size_bytes: int) -> str:
    """Bytes as people say them."""
    for unit in ("bytes", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:,.0f} bytes" if unit == "bytes" else f"{size_bytes:.1f} {unit}"
        size_bytes = size_bytes / 1000  # type: ignore[assignment]
    return f"{size_bytes:,.1f} GB"


def length(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _time(told: dict[str, Any]) -> str:
    took = length(told["duration_s"])
    if told["first_utc"] is None:
        return f"no wall clock in it; {took}"
    first, last = (told[k].replace("T", " ").split(".")[0] for k in ("first_utc", "last_utc"))
    last = last[11:] if last[:10] == first[:10] else last
    unsure = f", ± {told['time_uncertainty_s']:.3g} s" if told["time_uncertainty_s"] else ""
    fast = max((b["speed"] for b in told["boots"]), default=1)
    simulated = f"; the vehicle's time ran {fast:.3g} times as fast" if fast != 1 else ""
    return f"{first} to {last} UTC ({_SOURCES[told['time_source']]}{unsure}); {took}{simulated}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"


def _flights(sessions: list[dict[str, Any]]) -> list[str]:
    lines = []
    for s in sessions[:_MOST_FLIGHTS]:
        why = f" ({s['why']})" if s["why"] else ""
        lines.append(
            f"{_clock(s['start_s'])} to {_clock(s['end_s'])}, armed for {length(s['end_s'] - s['start_s'])}{why}"
        )
    more = len(sessions) - _MOST_FLIGHTS
    return [*lines, f"and {more} more"] if more > 0 else lines or ["none"]


def _messages(told: dict[str, Any]) -> list[str]:
    messages: dict[str, int] = told["messages"]
    most = sorted(messages.items(), key=lambda m: -m[1])[:_MOST_TYPES]
    rates = told["rates_hz"]
    words = [f"{name} {count:,}" + (f" ({rates[name]:g}/s)" if name in rates else "") for name, count in most]
    total = f"{sum(messages.values()):,} of {len(messages)} types"
    half = (len(words) + 1) // 2
    return [total, *(", ".join(part) for part in (words[:half], words[half:]) if part)]


def _damage(damage: list[dict[str, Any]]) -> list[str]:
    if not damage:
        return ["none"]
    lost = sum(d["bytes"] for d in damage)
    places = f"{len(damage):,} place{'s' if len(damage) != 1 else ''}"
    lines = [f"{lost:,} bytes in {places} could not be read" if lost else f"{places}, no bytes lost"]
    for d in damage[:_MOST_PLACES]:
        detail = f": {d['detail']}" if d["detail"] else ""
        lines.append(f"at {d['offset']:,}: {d['bytes']:,} bytes, {d['reason'].replace('_', ' ')}{detail}")
    more = len(damage) - _MOST_PLACES
    return [*lines, f"and {more:,} more places"] if more > 0 else lines

"""Settings of the agent: one TOML file, read once, all mistakes reported at once. Every key: docs/agent-config.md."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

from agent.policy import Policy

LINK_KINDS = ("serial", "udp-server", "udp-client", "tcp", "file")
TRANSPORTS = ("mqtt", "https", "none")
RATE_PROFILES = ("serial", "lte", "none")
_Check = Callable[[Any], str]


class SettingsError(ValueError):
    """The settings cannot be used; `mistakes` has one line for each key that is wrong."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def _one_of(*words: str) -> _Check:
    return lambda v: "" if v in words else f"must be one of {', '.join(words)}"


def _between(low: float, high: float) -> _Check:
    return lambda v: "" if low <= v <= high else f"must be between {low:g} and {high:g}"


def _key(default: Any, check: _Check = lambda v: "", kinds: tuple[type, ...] | None = None) -> Any:
    return field(default=default, metadata={"check": check, "kinds": kinds or (type(default),)})


_NUMBER = (int, float)


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How the autopilot is reached."""

    kind: str = _key("udp-server", _one_of(*LINK_KINDS))
    device: str = _key("/dev/serial0")
    baud: int = _key(921600, _between(1200, 4_000_000))
    host: str = _key("127.0.0.1")
    port: int = _key(14550, _between(0, 65535))
    path: str = _key("")
    speed: float | str = _key(
        1.0, lambda v: "" if v == "max" or (not isinstance(v, str) and 0 < v <= 1000) else 'must be above 0, or "max"',
        (int, float, str),
    )  # fmt: skip
    is_writable: bool = _key(True)
    rate_profile: str = _key("none", _one_of(*RATE_PROFILES))
    queue_kb: int = _key(4096, _between(64, 1 << 20))
    lost_after_s: float = _key(60.0, _between(5, 3600), _NUMBER)


@dataclass(frozen=True, slots=True)
class RecordingSettings:
    """How the stream is recorded."""

    record: str = _key("always", _one_of("always", "armed"))
    live_interval_s: float = _key(2.0, _between(0.5, 30), _NUMBER)
    backlog_interval_s: float = _key(30.0, _between(1, 300), _NUMBER)
    quota_mb: float = _key(2048, _between(0.25, 1 << 24), _NUMBER)
    memory_mb: float = _key(16, _between(1, 1024), _NUMBER)

    def policy(self) -> Policy:
        """The same, as the recorder takes it."""
        return Policy(
            record=self.record, live_us=int(self.live_interval_s * 1e6),
            backlog_us=int(self.backlog_interval_s * 1e6), max_memory_bytes=int(self.memory_mb * (1 << 20)),
            quota_bytes=int(self.quota_mb * (1 << 20)),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """How the hub is reached. Host and port empty: as enrolment said."""

    transport: str = _key("mqtt", _one_of(*TRANSPORTS))
    host: str = _key("")
    port: int = _key(0, _between(0, 65535))
    hub_url: str = _key("")
    keepalive_s: int = _key(20, _between(5, 600))
    puback_timeout_s: float = _key(15.0, _between(1, 300), _NUMBER)
    receipt_timeout_s: float = _key(60.0, _between(1, 3600), _NUMBER)
    max_in_flight: int = _key(32, _between(2, 1000))


@dataclass(frozen=True, slots=True)
class FindingsSettings:
    """The model on board."""

    bundle: str = _key("packaged")
    release_keys: str = _key("")
    statustext: bool = _key(False)


@dataclass(frozen=True, slots=True)
class OffloadSettings:
    """The autopilot's logs, fetched over the link."""

    enabled: bool = _key(False)
    settle_s: float = _key(30.0, _between(0, 3600), _NUMBER)
    newest_first: bool = _key(True)
    burst: str = _key("auto", _one_of("auto", "always", "never"))
    max_kb_s: float = _key(500, _between(0, 1 << 20), _NUMBER)
    max_mb_per_hour: float = _key(2000, _between(1, 1 << 24), _NUMBER)
    max_log_mb: float = _key(1024, _between(1, 4096), _NUMBER)


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """All settings. Paths are absolute or relative to the settings file's folder."""

    data_dir: Path = Path("/var/lib/dbx-agent")
    identity_dir: Path = Path("/var/lib/dbx-agent/identity")
    log_format: str = "text"
    link: LinkSettings = LinkSettings()
    recording: RecordingSettings = RecordingSettings()
    uplink: UplinkSettings = UplinkSettings()
    findings: FindingsSettings = FindingsSettings()
    offload: OffloadSettings = OffloadSettings()


SECTIONS: dict[str, type[Any]] = {
    "link": LinkSettings,
    "recording": RecordingSettings,
    "uplink": UplinkSettings,
    "findings": FindingsSettings,
    "offload": OffloadSettings,
}
DEFAULT_PATH = Path("/etc/dbx/agent.toml")


def keys() -> list[str]:
    """All keys, as `section.key`."""
    return ["data_dir", "identity_dir", "log_format"] + [
        f"{s}.{f.name}" for s, c in SECTIONS.items() for f in fields(c)
    ]


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> AgentSettings:
    """Read the file; overrides: `section.key` -> value on top. SettingsError with all mistakes; OSError."""
    try:
        tree = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise SettingsError([f"{path}: not TOML: {e}"]) from None
    return parse(tree_of(overrides or {}, tree), path.parent)


def tree_of(overrides: Mapping[str, Any], tree: dict[str, Any] | None = None) -> dict[str, Any]:
    """A TOML tree with `section.key` -> value put on top."""
    tree = {} if tree is None else tree
    for name, value in overrides.items():
        section, _, key = name.rpartition(".")
        place = tree.setdefault(section, {}) if section else tree
        if isinstance(place, dict):
            place[key] = value
    return tree


def parse(tree: Mapping[str, Any], folder: Path) -> AgentSettings:
    """The settings that a TOML tree says. SettingsError with all mistakes."""
    mistakes: list[str] = []
    parts: dict[str, Any] = {}
    for name, value in tree.items():
        if name in SECTIONS:
            parts[name] = _section(name, value, mistakes)
        elif name in ("data_dir", "identity_dir"):
            if isinstance(value, str) and value:
                parts[name] = (folder / value).resolve()
            else:
                mistakes.append(f"{name}: must be a path")
        elif name == "log_format":
            if value in ("text", "json"):
                parts[name] = value
            else:
                mistakes.append('log_format: must be "text" or "json"')
        else:
            mistakes.append(f"{name}: no such key")
    link = parts.get("link", LinkSettings())
    if link is not None and link.kind == "file" and not link.path:
        mistakes.append('link.path: needed when link.kind is "file"')
    if mistakes:
        raise SettingsError(mistakes)
    if "data_dir" in parts and "identity_dir" not in parts:
        parts["identity_dir"] = parts["data_dir"] / "identity"
    if link.path:
        parts["link"] = _with_path(link, folder)
    return AgentSettings(**parts)


def _with_path(link: LinkSettings, folder: Path) -> LinkSettings:
    values = {f.name: getattr(link, f.name) for f in fields(link)}
    return LinkSettings(**values | {"path": str((folder / link.path).resolve())})


def _section(name: str, value: object, mistakes: list[str]) -> Any:
    """The section's object; None when it has mistakes (which are added to the list)."""
    cls = SECTIONS[name]
    if not isinstance(value, dict):
        mistakes.append(f"{name}: must be a section, [{name}]")
        return None
    known = {f.name: f for f in fields(cls)}
    before = len(mistakes)
    for key, given in value.items():
        if key not in known:
            mistakes.append(f"{name}.{key}: no such key")
            continue
        kinds = cast("tuple[type, ...]", known[key].metadata["kinds"])
        if type(given) not in kinds:
            mistakes.append(f"{name}.{key}: must be {' or '.join(k.__name__ for k in kinds)}, not {given!r}")
        elif wrong := known[key].metadata["check"](given):
            mistakes.append(f"{name}.{key}: {wrong}, not {given!r}")
    return cls(**value) if len(mistakes) == before else None


def default_of(name: str) -> Any:
    """The default of a key named `section.key` (or `key`)."""
    section, _, key = name.rpartition(".")
    owner = SECTIONS[section] if section else AgentSettings
    assert is_dataclass(owner)
    found = next(f for f in fields(owner) if f.name == key)
    assert found.default is not MISSING
    return found.default

"""Settings of the hub: from the environment and `--data`, all mistakes reported at once. See docs/settings.md."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from shared.command import ROOT

DATABASE = "dbx_aviation"
BROKERS = ("nats", "mosquitto")


class SettingsError(ValueError):
    """The settings cannot be used; `mistakes` has one line for each that is wrong."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """All settings of one hub process. Secrets are hidden in the repr."""

    data_dir: Path
    database_url: str = field(default="", repr=False)
    """libpq URL of a PostgreSQL of yours, as a role that may create roles; empty: the embedded server."""
    mqtt_url: str = field(default="", repr=False)
    """mqtts://host:port or nats://host:port of a broker of yours; empty: the embedded broker."""
    device_mqtt: str = ""
    """host:port at which aircraft reach the broker; empty: as in mqtt_url, or the embedded one's."""
    pki: str = ""
    """Folder of the device authority, where it is shared or kept apart; empty: in the data folder."""
    broker: str = "nats"
    """Which broker to embed: nats or mosquitto."""
    api_host: str = "127.0.0.1"
    api_port: int = 8460
    api_processes: int = 1
    ingest_processes: int = 1
    public_url: str = ""
    """Address of the API as people and aircraft reach it; empty: http://api_host:api_port."""
    server_names: tuple[str, ...] = ()
    """Further names and addresses for the broker's server certificate."""
    max_log_mb: int = 4096
    """MiB of a log's file that may be uploaded."""
    release_keys: str = ""
    """File of further public keys whose model bundles may be released; empty: those of the program alone."""
    log_format: str = "text"

    @property
    def api_url(self) -> str:
        return self.public_url or f"http://{self.api_host}:{self.api_port}"


def _text(value: str) -> str:
    return value.strip()


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not value.strip().isdigit() or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.strip() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return value.strip()

    return parse


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        parts = urlsplit(value.strip())
        if parts.scheme not in schemes or not (parts.netloc or parts.query):
            raise ValueError(f"must be an address that begins with {' or '.join(s + '://' for s in schemes)}")
        _ = parts.port  # raises ValueError when it is none
        return value.strip().rstrip("/") if parts.scheme.startswith("http") else value.strip()

    return parse


def _address(value: str) -> str:
    host, _, port = value.strip().rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be host:port")
    return value.strip()


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


# environment variable -> (field, how to read it). docs/settings.md describes each; a test holds the two together.
VARIABLES: dict[str, tuple[str, Callable[[str], object]]] = {
    "DBX_DATABASE_URL": ("database_url", _url("postgresql", "postgres")),
    "DBX_MQTT_URL": ("mqtt_url", _url("mqtts", "nats")),
    "DBX_DEVICE_MQTT": ("device_mqtt", _address),
    "DBX_PKI": ("pki", _text),
    "DBX_BROKER": ("broker", _one_of(*BROKERS)),
    "DBX_API_HOST": ("api_host", _text),
    "DBX_API_PORT": ("api_port", _number(1, 65535)),
    "DBX_API_PROCESSES": ("api_processes", _number(1, 64)),
    "DBX_INGEST_PROCESSES": ("ingest_processes", _number(1, 64)),
    "DBX_PUBLIC_URL": ("public_url", _url("http", "https")),
    "DBX_SERVER_NAMES": ("server_names", _names),
    "DBX_MAX_LOG_MB": ("max_log_mb", _number(1, 1 << 20)),
    "DBX_RELEASE_PUB": ("release_keys", _text),
    "DBX_LOG_FORMAT": ("log_format", _one_of("text", "json")),
}
DATA = "DBX_DATA"


def load(environment: Mapping[str, str], data: Path | str | None = None) -> HubSettings:
    """What the environment says; `data` (from `--data`) goes before DBX_DATA. SettingsError with all mistakes.

    An unknown DBX_ variable of the hub is no mistake (agent and tools have theirs); an empty one is as if unset.
    """
    values: dict[str, object] = {}
    mistakes = []
    for name, (target, read) in VARIABLES.items():
        if text := environment.get(name, "").strip():
            try:
                values[target] = read(text)
            except ValueError as error:
                mistakes.append(f"{name}: {error}")
    if mistakes:
        raise SettingsError(mistakes)
    folder = Path(data or environment.get(DATA, "").strip() or ROOT / ".dbx").expanduser().absolute()
    return HubSettings(data_dir=folder, **values)  # type: ignore[arg-type]


def environment(settings: HubSettings) -> dict[str, str]:
    """The variables that say these settings: what a parent gives to the processes that it starts. Inverse of `load`."""
    values = {name: getattr(settings, target) for name, (target, _) in VARIABLES.items()}
    return {DATA: str(settings.data_dir)} | {
        name: ",".join(value) if isinstance(value, tuple) else str(value) for name, value in values.items()
    }

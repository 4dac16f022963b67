"""One hub's data folder: its secrets, and where its database and broker are. Every hub process opens the same one.

secrets/        0700: hub.key (Ed25519, raw), pepper, roles.json (passwords), pki/ (the device authority)
postgres/       the embedded PostgreSQL        nats/ or mosquitto/   the embedded broker
"""

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.embedded import postgres
from hub.embedded.broker import HOST, Broker, MosquittoBroker, NatsBroker
from hub.migrate import LOGIN_ROLES
from hub.pki import SERVER_NAMES, Credentials, DeviceAuthority, SignedDevice
from hub.settings import DATABASE, HubSettings


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """How the hub reaches its broker: scheme nats (JetStream) or mqtts, and the certificate to show."""

    scheme: str
    host: str
    port: int
    credentials: Credentials


class Installation:
    """The hub's data folder, opened. Safe to open from several processes at once; what is missing is made."""

    def __init__(self, settings: HubSettings) -> None:
        self.settings = settings
        self.folder = settings.data_dir
        self.secrets = self.folder / "secrets"
        self.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)

    @cached_property
    def authority(self) -> DeviceAuthority:
        """The certificate authority of aircraft, broker and hub."""
        return DeviceAuthority(Path(self.settings.pki) if self.settings.pki else self.secrets / "pki")

    @cached_property
    def hub_key(self) -> Ed25519PrivateKey:
        """The key that signs receipts and directives."""
        return Ed25519PrivateKey.from_private_bytes(self._secret("hub.key", lambda: secrets.token_bytes(32)))

    @cached_property
    def pepper(self) -> bytes:
        """The secret outside the database that API keys and sessions hang on."""
        return self._secret("pepper", lambda: secrets.token_bytes(32))

    @cached_property
    def role_passwords(self) -> dict[str, str]:
        """Login role -> password."""

        def make() -> bytes:
            return json.dumps({role: secrets.token_urlsafe(32) for role in LOGIN_ROLES}).encode()

        return {str(role): str(word) for role, word in json.loads(self._secret("roles.json", make)).items()}

    @property
    def postgres_dir(self) -> Path:
        return self.folder / "postgres"

    def admin_url(self, database: str = DATABASE) -> str:
        """The database as the role that migrates: DBX_DATABASE_URL, or the embedded server's superuser."""
        return self.settings.database_url or postgres.url(self.postgres_dir, database)

    def database_url(self, role: str) -> str:
        """The database as one of the login roles."""
        password = self.role_passwords[role]
        if not self.settings.database_url:
            return postgres.url(self.postgres_dir, DATABASE, role, password)
        parts = urlsplit(self.settings.database_url)
        where = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{quote(role)}:{quote(password, safe='')}@{where}"))

    @cached_property
    def embedded_broker(self) -> Broker | None:
        """The embedded broker, started or not; None where DBX_MQTT_URL names another."""
        if self.settings.mqtt_url:
            return None
        kind = MosquittoBroker if self.settings.broker == "mosquitto" else NatsBroker
        names = (*SERVER_NAMES, *self.settings.server_names)
        return kind(self.folder / self.settings.broker, self.authority, names)

    @property
    def broker(self) -> BrokerAddress:
        """How the hub's processes reach the broker."""
        parts = urlsplit(self.embedded_broker.url if self.embedded_broker else self.settings.mqtt_url)
        port = parts.port or (4222 if parts.scheme == "nats" else 8883)
        return BrokerAddress(parts.scheme, parts.hostname or HOST, port, self.authority.hub_client())

    @property
    def device_broker(self) -> tuple[str, int]:
        """(host, port) at which aircraft reach the broker, by MQTT over TLS."""
        if self.settings.device_mqtt:
            host, _, port = self.settings.device_mqtt.rpartition(":")
            return host, int(port)
        if self.embedded_broker:
            return self.embedded_broker.host, self.embedded_broker.mqtt_port
        return self.broker.host, self.broker.port

    def _secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        path = self.secrets / name
        with self._locked():
            if not path.exists():
                new = path.with_name(name + ".new")
                new.unlink(missing_ok=True)
                with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                    out.write(make())
                    out.flush()
                    os.fsync(out.fileno())
                new.replace(path)
            return path.read_bytes()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.secrets / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Enrolling:
    """What enrolment over the API needs of the installation (`hub.api.state.Enrolling`)."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def certificate(self, csr_pem: str, org_id: UUID, aircraft_id: UUID, device_id: UUID) -> SignedDevice:
        """The device's TLS certificate. Refused (a ValueError) when the request is not acceptable."""
        return self._installation.authority.sign_device(csr_pem, org_id, aircraft_id, device_id)

    def ca_pem(self) -> str:
        return self._installation.authority.ca_pem

    def broker(self) -> dict[str, Any]:
        host, port = self._installation.device_broker
        return {"host": host, "port": port, "tls": True}

    def enrolled(self, org_id: UUID, aircraft_id: UUID, device_id: UUID) -> None:
        """Let the device in at the embedded broker. A broker of one's own lets it in by its certificate's pattern."""
        if self._installation.embedded_broker:
            self._installation.embedded_broker.add_device(org_id, aircraft_id, device_id)

    def revoked(self, org_id: UUID, aircraft_id: UUID, device_id: UUID, serial: str) -> None:
        """Shut the device out: its certificate on the revocation list (which a broker of one's own reads, copied there
        and reloaded), itself off the embedded broker, connected or not. Harmless when repeated."""
        self._installation.authority.revoke(serial)
        if self._installation.embedded_broker:
            self._installation.embedded_broker.remove_device(org_id, aircraft_id, device_id)

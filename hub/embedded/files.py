"""Certificates and configuration for a broker that we do not run: what deploy/mosquitto and deploy/nats describe.

Devices are let in by their certificate alone: mosquitto by a pattern on its common name, so that enrolling an aircraft
changes nothing at the broker. nats-server has no such patterns: its files hold the devices that are known when written.
"""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from hub.embedded.devices import Device
from hub.embedded.mosquitto_conf import MosquittoPlace, mosquitto_conf, mosquitto_patterns
from hub.embedded.nats_conf import NatsPlace, nats_conf
from hub.pki import Credentials, DeviceAuthority

INSTALLED = {"mosquitto": Path("/etc/mosquitto/dbx"), "nats": Path("/etc/nats/dbx")}
STORES = {"mosquitto": Path("/var/lib/mosquitto"), "nats": Path("/var/lib/nats")}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - a broker of its own machine serves the aircraft outside


def installed_configuration(kind: str, devices: Iterable[Device] = ()) -> dict[str, str]:
    """File name -> text of the configuration as it is installed on a broker's own machine."""
    folder = INSTALLED[kind]
    tls = Credentials(folder / "server.key", folder / "server.crt", folder / "ca.crt")
    if kind == "nats":
        return {"nats.conf": nats_conf(NatsPlace(STORES[kind], EVERYWHERE, 8883, 4222), tls, devices)}
    place = MosquittoPlace(
        STORES[kind], folder / "acl.txt", folder / "crl.pem", EVERYWHERE, 8883, "mosquitto", "identity"
    )
    return {"mosquitto.conf": mosquitto_conf(place, tls), "acl.txt": mosquitto_patterns()}


def write_broker_files(
    kind: str, authority: DeviceAuthority, hosts: Sequence[str], out: Path, devices: Iterable[Device] = ()
) -> list[Path]:
    """Write configuration, server key and certificate for `hosts`, authority and revocations into `out` (0700)."""
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = authority.server(hosts, "outside")
    for source, name in ((server.key, "server.key"), (server.certificate, "server.crt"), (server.ca, "ca.crt")):
        shutil.copyfile(source, out / name)
        (out / name).chmod(0o600)
    shutil.copyfile(authority.crl, out / "crl.pem")
    for name, text in installed_configuration(kind, devices).items():
        (out / name).write_text(text)
    return sorted(out.iterdir())

"""The configuration of mosquitto 2 as our broker: MQTT 5, mutual TLS, access control per device."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hub.embedded.devices import Device
from hub.embedded.nats_conf import MAX_PAYLOAD_BYTES, MAX_UNACKNOWLEDGED
from hub.pki import HUB_NAME, Credentials
from shared import topics


@dataclass(frozen=True)
class MosquittoPlace:
    """Where a server runs: its folder (with a closing slash in the file), address, account."""

    store: Path
    acl: Path
    crl: Path
    host: str
    port: int
    user: str
    named_by: Literal["subject", "identity"] = "subject"


def mosquitto_conf(place: MosquittoPlace, tls: Credentials) -> str:
    """mosquitto.conf. The certificate's whole subject (or, for the patterns, its common name) is the user name; the ACL
    file says what each may do."""
    return f"""\
# Written by DBX; changes are overwritten.
per_listener_settings false
user {place.user}
listener {place.port} {place.host}
cafile {tls.ca}
certfile {tls.certificate}
keyfile {tls.key}
crlfile {place.crl}
require_certificate true
use_{place.named_by}_as_username true
tls_version tlsv1.2
allow_anonymous false
acl_file {place.acl}

# Nothing is dropped: what is queued waits for the hub, and it has its own bounded queue.
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages {MAX_UNACKNOWLEDGED}
max_packet_size {MAX_PAYLOAD_BYTES}

# mosquitto saves its store as a whole: a crash costs at most this many seconds of what it acknowledged. Aircraft send
# that again, because they delete on the hub's signed receipt and never on a PUBACK.
persistence true
persistence_location {place.store}/
autosave_interval 2
log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
"""


def mosquitto_patterns() -> str:
    """The ACL file by patterns, for a broker that enrolments do not change: %u is the certificate's common name.

    The organisation is left open here; the hub refuses a batch whose topic disagrees with the key that signed it.
    """
    root = f"{topics.ROOT}/+/%u"
    hub = [f"user {HUB_NAME}", f"topic readwrite {topics.ROOT}/#"]
    device = [f"pattern write {root}/up/#", f"pattern write {root}/state", f"pattern read {root}/down/#"]
    return "\n".join(["# Written by DBX: dbx hub broker-files.", *hub, "", *device]) + "\n"


def mosquitto_acl(devices: Iterable[Device]) -> str:
    """The ACL file: the hub reads and writes below our root; a device sends upward, says its state, hears its own."""
    lines = ["# Written by DBX; changes are overwritten.", f"user CN={HUB_NAME}", f"topic readwrite {topics.ROOT}/#"]
    for device in devices:
        root = topics.state(device.org_id, device.aircraft_id).removesuffix("/state")
        user = ",".join(reversed(device.subject()))  # RFC 2253
        lines += ["", f"user {user}", f"topic write {root}/up/#", f"topic write {root}/state"]
        lines.append(f"topic read {root}/down/#")
    return "\n".join(lines) + "\n"

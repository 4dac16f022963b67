"""`dbx agent doctor`: one line per precondition, OK or FAILED with what to do about it."""

import os
import shutil
import socket
import sqlite3
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from agent import identity as identities
from agent.clock_model import is_plausible
from agent.identity import Identity, IdentityError
from agent.link import open_port
from agent.recorder_clock import system_clock
from agent.room import LEAST_DISK_BYTES
from agent.settings import AgentSettings
from agent.store import SCHEMA_VERSION
from firmware_bridge.framing import Scanner
from firmware_bridge.tlog import open_log, read_tlog
from shared.errors import Refused

LISTEN_S = 3.0
_TIMEOUT_S = 5
_OLD_DAYS = 30


class Finding(NamedTuple):
    """One precondition. detail: what was found, or what to do."""

    name: str
    is_ok: bool
    detail: str


def examine(settings: AgentSettings, is_recording: bool) -> Iterator[Finding]:
    """All checks. is_recording: an agent runs and has the link open, so it is not opened a second time."""
    yield _data_folder(settings)
    yield _disk(settings)
    yield _store(settings)
    yield _clock()
    if is_recording:
        yield Finding("link", True, "in use by the running agent; see: dbx agent status")
    else:
        yield from _link(settings)
    try:
        identity = identities.load(settings.identity_dir)
    except IdentityError as e:
        yield Finding("identity", False, str(e))
        return
    yield _rights(identity)
    yield _certificate(identity)
    if settings.uplink.transport == "mqtt":
        yield _broker(settings, identity)


def _data_folder(settings: AgentSettings) -> Finding:
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as e:
        return Finding(
            "rights", False, f"cannot write in {folder} ({e.strerror}); run as its owner, or change data_dir"
        )
    return Finding("rights", True, f"may write in {folder}")


def _disk(settings: AgentSettings) -> Finding:
    try:
        free = shutil.disk_usage(settings.data_dir).free
    except OSError as e:
        return Finding("disk", False, f"{settings.data_dir}: {e.strerror}")
    quota = int(settings.recording.quota_mb * (1 << 20))
    store = settings.data_dir / "store.db"
    needed = max(quota - (store.stat().st_size if store.exists() else 0), LEAST_DISK_BYTES)
    said = f"{free >> 20} MB free, quota {quota >> 20} MB"
    hint = "" if free >= needed else "; lower recording.quota_mb or free some space"
    return Finding("disk", free >= needed, said + hint)


def _store(settings: AgentSettings) -> Finding:
    path = settings.data_dir / "store.db"
    if not path.exists():
        return Finding("store", True, "none yet; made at the first start")
    try:
        conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)
        try:
            version = int(conn.execute("PRAGMA user_version").fetchone()[0])
            verdict = str(conn.execute("PRAGMA quick_check(1)").fetchone()[0])
        finally:
            conn.close()
    except sqlite3.Error as e:
        return Finding("store", False, f"{e}; the agent sets it aside at its next start and salvages what it can")
    if version > SCHEMA_VERSION:
        return Finding("store", False, f"schema {version} is newer than this agent; update the agent")
    return Finding("store", verdict == "ok", f"{path.stat().st_size >> 10} kB, {verdict}")


def _clock() -> Finding:
    seen = system_clock()
    when = datetime.fromtimestamp(seen.utc_us / 1e6, UTC).isoformat(timespec="seconds")
    if not is_plausible(seen.utc_us):
        return Finding("clock", True, f"{when} is not set; times come from GPS. TLS may refuse the broker until then")
    how = "disciplined" if seen.is_disciplined else "not disciplined by a time service: times come from GPS"
    return Finding("clock", True, f"{when}, {how}")


def _link(settings: AgentSettings) -> Iterator[Finding]:
    link = settings.link
    if link.kind == "file":
        try:
            n = len(read_tlog(open_log(link.path)).frames)
            yield Finding("link", n > 0, f"{link.path}: {n} frames")
        except (OSError, Refused) as e:
            yield Finding("link", False, f"{link.path}: {e}")
        return
    try:
        port = open_port(link)
    except OSError as e:
        yield Finding("link", False, f"{e}; {_link_hint(link.kind, link.device)}")
        return
    try:
        yield Finding("link", True, f"{link.kind} opens")
        yield _traffic(settings, port.read, port.drain)
    finally:
        port.close()


def _link_hint(kind: str, device: str) -> str:
    if kind == "serial":
        if Path(device).exists() and not os.access(device, os.R_OK | os.W_OK):
            return "add this user to the group dialout"
        return "is link.device right, and does nothing else (a getty, a router) hold it?"
    return "is link.host and link.port right, and free?"


def _traffic(settings: AgentSettings, read: Callable[[], bytes], drain: Callable[[], bytes]) -> Finding:
    """Listen a little: bytes without frames on a serial line are a wrong baud rate."""
    scanner, size, frames = Scanner(), 0, 0
    until = time.monotonic() + LISTEN_S
    while time.monotonic() < until and frames < 20:
        data = read()
        data += drain() if data else b""
        size += len(data)
        frames += len(scanner.feed(data, 0))
    if frames:
        return Finding("baud" if settings.link.kind == "serial" else "stream", True, f"{frames} frames heard")
    if size and settings.link.kind == "serial":
        return Finding("baud", False, f"{size} bytes and no frame at {settings.link.baud} baud; try another link.baud")
    return Finding("stream", False, f"{size} bytes heard in {LISTEN_S:g} s; is the autopilot on, and set to MAVLink?")


def _rights(identity: Identity) -> Finding:
    wide = [n for n in ("signing.key", "tls.key") if (identity.folder / n).stat().st_mode & 0o077]
    if wide:
        return Finding("identity", False, f"{', '.join(wide)} may be read by others; chmod 600")
    return Finding("identity", True, f"aircraft {identity.aircraft_id}")


def _certificate(identity: Identity) -> Finding:
    try:
        cert = x509.load_pem_x509_certificate((identity.folder / "tls.crt").read_bytes())
    except (OSError, ValueError) as e:
        return Finding("certificate", False, f"{e}; enrol again")
    left = cert.not_valid_after_utc - datetime.now(UTC)
    if left.days < 0:
        return Finding("certificate", False, f"expired on {cert.not_valid_after_utc:%Y-%m-%d}; enrol again")
    hint = "; enrol again soon" if left.days < _OLD_DAYS else ""
    return Finding("certificate", True, f"valid until {cert.not_valid_after_utc:%Y-%m-%d}{hint}")


def _broker(settings: AgentSettings, identity: Identity) -> Finding:
    host, port = settings.uplink.host or identity.mqtt_host, settings.uplink.port or identity.mqtt_port
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT_S) as raw:
            if identity.mqtt_tls:
                with identity.tls_context().wrap_socket(raw, server_hostname=host) as tls:
                    return Finding("broker", True, f"{host}:{port} answers, {tls.version()}")
    except ssl.SSLError as e:
        return Finding(
            "broker", False, f"{host}:{port}: TLS: {e.reason or e}; is the clock right, the certificate ours?"
        )
    except OSError as e:
        return Finding("broker", False, f"{host}:{port}: {e}; batches wait on disk until it answers")
    return Finding("broker", True, f"{host}:{port} answers, without TLS")

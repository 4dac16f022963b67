"""One run of the demo over a running hub: organisation and key, flying a log, what arrived, the report."""

import json
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from hub.api.tokens import Tokens, new_api_key
from hub.demo_aircraft import Aircraft, HubApi, enrol
from hub.demo_log import DemoLog, is_identical
from hub.installation import Installation
from hub.store import keys, organisations
from hub.store.aircraft_facts import FACTS, STREAMS, Facts
from hub.store.query import run
from hub.store.tenant import tenant
from hub.up import RunningHub
from shared.ids import new_id

ORGANISATION = "Demo Aviation"
ARRIVE_LIMIT_S = 300.0  # after the agent has ended: until the last flight is settled and analysed


@dataclass(frozen=True, slots=True)
class Owner:
    """The demo's organisation and its API key."""

    org_id: UUID
    key: str


class Demo:
    """One run of the demo over a running hub."""

    def __init__(self, hub: RunningHub, owner: Owner, stop: threading.Event) -> None:
        self.installation: Installation = hub.installation
        self.owner = owner
        self.api = HubApi(hub.settings.api_url, owner.key)
        self.folder = hub.settings.data_dir / "agent"
        self._stop = stop
        self._conn = self._connect()

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.installation.database_url("dbx_api"), autocommit=True)

    def reconnect(self) -> None:
        """Connect to the database again, after it was restarted."""
        self._conn.close()
        self._conn = self._connect()

    def has_flown(self, log: DemoLog, name: str) -> bool:
        """Whether the aircraft of this name has brought the whole log in."""
        folder = self.folder / name
        return folder.exists() and self.facts(enrol(self.api, folder, name)).frames >= len(log.frames)

    def facts(self, aircraft: Aircraft) -> Facts:
        """What the hub holds of the aircraft now."""
        with tenant(self._conn, self.owner.org_id, "demo"):
            return run(self._conn, FACTS, self.owner.org_id, aircraft.aircraft_id)[0]

    def fly(self, log: DemoLog, name: str, speed: str) -> Aircraft:
        """Enrol and play the log to its end, with progress. The aircraft is stopped when this returns."""
        aircraft = enrol(self.api, self.folder / name, name)
        say(f"{name}: enrolled; playing {log.name}: {len(log.frames):,} frames, {log.duration_s:.0f} s")
        aircraft.start(log, speed)
        try:
            shown = 0.0
            every_s = 1.0 if sys.stderr.isatty() else 10.0
            while not aircraft.has_ended() and not self._stop.is_set():
                if time.monotonic() - shown > every_s:
                    shown = time.monotonic()
                    self._show(log, name, self.facts(aircraft))
                self._stop.wait(0.05)
        finally:
            aircraft.stop()
        return aircraft

    def _show(self, log: DemoLog, name: str, facts: Facts) -> None:
        share = min(1.0, facts.frames / len(log.frames))
        size = facts.envelope_bytes / max(1, facts.frame_bytes)
        progress(
            f"{name} [{'#' * int(share * 20):20}] {share:4.0%}",
            f"  {facts.frames:,} of {len(log.frames):,} frames in the hub",
            f", {counted(facts.findings, 'finding')}",
            f", sent in {size:.2f} of their bytes" if facts.frames else "",
        )

    def wait_settled(self, aircraft: Aircraft) -> Facts:
        """Wait until every flight of the aircraft is closed, derived for good and analysed; or the limit."""
        deadline = time.monotonic() + ARRIVE_LIMIT_S
        while (facts := self.facts(aircraft)).unsettled and time.monotonic() < deadline and not self._stop.is_set():
            self._stop.wait(0.05)
        return facts

    def report(self, log: DemoLog, aircraft: Aircraft) -> dict[str, Any]:
        """The log's line of the report."""
        facts = self.wait_settled(aircraft)
        agent = aircraft.summary()
        with tenant(self._conn, self.owner.org_id, "demo"):
            streams = run(self._conn, STREAMS, self.owner.org_id, aircraft.aircraft_id)
        exported = b"".join(self.api.download(f"/v1/streams/{stream}/stream.tlog") for stream in streams)
        return {
            "log": log.name,
            "frames": len(log.frames),
            "bad_crc": log.bad_crc,
            "junk_bytes": log.junk_bytes,
            "journaled": agent["journaled"],
            "sealed": agent["sealed"],
            "committed": facts.frames,
            "batches": facts.batches,
            "raw_bytes": log.raw_bytes,
            "wire_bytes": facts.envelope_bytes,
            "disk_bytes": aircraft.disk_bytes,
            "rows": facts.rows,
            "sessions": facts.sessions,
            "findings": facts.findings,
            "gaps": facts.gaps,
            "duplicates": facts.duplicates,
            "identical": is_identical(log, exported),
            "unsettled": facts.unsettled,
            "gap_frames": facts.gap_frames,
            "quarantined": facts.quarantined,
        }

    def close(self) -> None:
        self.api.close()
        self._conn.close()


def is_accounted_for(line: dict[str, Any]) -> bool:
    """Every frame is in the hub exactly once, or covered by a gap record; and what came back is what went in."""
    whole = line["committed"] == line["frames"] and line["identical"]
    with_gaps = line["gaps"] > 0 and line["committed"] + line["gap_frames"] == line["frames"]
    sound = not line["duplicates"] and not line["unsettled"] and not line["quarantined"]
    return bool((whole or with_gaps) and sound)


def say(text: str) -> None:
    """A line for people, on stderr: standard output belongs to the report."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    print(text, file=sys.stderr, flush=True)


def progress(*parts: str) -> None:
    """A line that the next one replaces on a terminal, with as many of the parts as fit there."""
    if not sys.stderr.isatty():
        print("".join(parts), file=sys.stderr, flush=True)
        return
    width = shutil.get_terminal_size().columns - 1
    text = parts[0][:width]
    for part in parts[1:]:
        if len(text) + len(part) > width:
            break
        text += part
    sys.stderr.write("\r\x1b[K" + text)
    sys.stderr.flush()


def counted(n: int, word: str) -> str:
    """ "1 gap", "2 gaps"."""
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def make_owner(installation: Installation) -> Owner:
    """The demo's organisation and key, made once per data folder (demo.json, 0600)."""
    known = installation.secrets / "demo.json"
    if known.exists():
        saved = json.loads(known.read_text())
        return Owner(UUID(saved["org_id"]), saved["key"])
    owner = Owner(new_id(), new_api_key())
    hashed = Tokens(installation.pepper).keyed_hash(owner.key)
    url = installation.database_url("dbx_api")
    with psycopg.connect(url, autocommit=True) as conn, tenant(conn, owner.org_id, "demo"):
        organisations.create_organisation(conn, owner.org_id, ORGANISATION)
        keys.create_key(conn, owner.org_id, new_id(), "demo", "admin", hashed)
    with os.fdopen(os.open(known, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump({"org_id": str(owner.org_id), "key": owner.key}, out)
    return owner

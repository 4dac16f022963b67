"""The pages as a person meets them: a hub with recorded flights served on loopback, and a real browser."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_bridge.tlog import open_log, read_tlog
from hub.embedded.postgres import EmbeddedPostgres
from hub.ingest.pipeline import HubKey, Pipeline
from hub.store.keys import create_key
from hub.store.tenant import tenant
from hub.worker.log_shelf import open_shelf
from shared.clock import ClockSource, TimeMapping
from shared.codec import decode_block, encode_block
from shared.frames import Frames
from shared.ids import key_id, new_id
from shared.layouts import LAYOUTS
from shared.records import Finding, SessionClose, SessionOpen
from shared.topics import Lane
from tests.fix_fleet import Hub, Recorder
from tests.fix_hub_database import HubDatabase
from tests.fix_logs import LogHub
from tests.fix_postgres import drop_database, make_database

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "deploy" / "demo"
PEPPER = b"p" * 32
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
BATCH_US = 10_000_000
WAIT_MS = 20_000


@dataclass(frozen=True)
class Recording:
    """A telemetry log, cut to the autopilot's own system. armed_us, disarmed_us: by its HEARTBEATs, us since 1970."""

    frames: Frames
    armed_us: int
    disarmed_us: int
    vehicle_type: int


def recording(name: str) -> Recording:
    """A flight of deploy/demo."""
    frames = read_tlog(open_log(DEMO / f"{name}.tlog.zst")).frames
    groups = decode_block(encode_block(frames)).groups
    beats = next(g for g in groups if (g.msgid, g.sysid, g.compid) == (0, 1, 1))
    fields = beats.payload.view(LAYOUTS[0].dtype)[:, 0]
    armed = frames.time_us[beats.rows[(fields["base_mode"] & 128) > 0]]
    return Recording(frames, int(armed[0]), int(armed[-1]), int(fields["type"][-1]))


@dataclass
class Flown:
    """A recording as an aircraft's agent would have sent it."""

    flight_id: uuid.UUID
    aircraft_id: uuid.UUID
    recorder: Recorder
    recording: Recording
    sent_until_us: int = 0


@dataclass
class PagesHub:
    """A served hub. url: its address. keys: API key by organisation's name. flights: by name."""

    url: str
    ingest: Hub
    organisations: dict[str, uuid.UUID]
    keys: dict[str, str]
    flights: dict[str, Flown] = field(default_factory=dict)

    def depart(self, organisation: str, name: str, log: str) -> Flown:
        """A new aircraft with this name opens a flight; nothing of its frames is sent yet."""
        org_id = self.organisations[organisation]
        rec = recording(log)
        clock = (TimeMapping(ClockSource.gps, 0, 0, 1000),)  # the recorder's clock is the log's: us since 1970
        aircraft_id = self.ingest.database.new_aircraft(org_id, name)
        recorder = Recorder(org_id, aircraft_id, clock=clock, at_us=int(rec.frames.time_us[0]) - 1)
        self.ingest.enrol(recorder)
        flown = Flown(new_id(), aircraft_id, recorder, rec, recorder.at_us)
        opening = SessionOpen(
            flown.flight_id, recorder.boot, rec.armed_us, 1, recorder.at_us, 1, 1, 3, rec.vehicle_type,
            "4.6.3",
        )  # fmt: skip
        self.send(flown, [recorder.seal(session=flown.flight_id, records=[opening], lane=Lane.alert)])
        self.flights[name] = flown
        return flown

    def fly(self, flown: Flown, until_us: int, lost: Callable[[int], bool] = lambda n: False) -> None:
        """Send the frames up to `until_us` in batches of 10 s; those for which lost(n) stay on the aircraft."""
        frames, envelopes, n = flown.recording.frames, [], 0
        while flown.sent_until_us < until_us:
            covers = (flown.sent_until_us, min(flown.sent_until_us + BATCH_US, until_us))
            first, last = np.searchsorted(frames.time_us, covers, "right")
            envelope = flown.recorder.seal(frames.slice(int(first), int(last)), covers, flown.flight_id)
            flown.sent_until_us, n = covers[1], n + 1
            if not lost(n):
                envelopes.append(envelope)
        self.send(flown, envelopes)

    def land(self, flown: Flown) -> None:
        """The closing record with its manifest."""
        r, rec = flown.recorder, flown.recording
        closing = SessionClose(
            flown.flight_id, "disarmed", 1, r.seq, r.seq, r.frames, 0, {}, {"1/1": 3}, int(rec.frames.time_us[0]),
            flown.sent_until_us, rec.armed_us, rec.disarmed_us, r.prev,
        )  # fmt: skip
        self.send(flown, [r.seal(session=flown.flight_id, records=[closing], lane=Lane.alert)])

    def find(self, flown: Flown, kind: str, at_us: int) -> None:
        """A finding that the aircraft made."""
        evidence: list[dict[str, Any]] = [
            {"feature": "gps_hdop_max", "value": 9.9, "nominal": 0.9, "weight": 0.6},
            {"feature": "vibe_z_p95_mps2", "value": 12.0, "nominal": 3.0, "weight": 0.2},
        ]
        finding = Finding(
            new_id(), flown.flight_id, kind, "critical", 0.9, 0.6, at_us, at_us + 8_000_000, "edge-1", 1, evidence
        )
        self.send(flown, [flown.recorder.seal(session=flown.flight_id, records=[finding], lane=Lane.alert)])

    def tamper(self, flown: Flown) -> None:
        """A batch with one changed bit arrives: it goes to quarantine and raises an alert."""
        r = flown.recorder
        kept = r.seq, r.prev
        envelope = bytearray(r.seal(session=flown.flight_id, lane=Lane.alert))
        r.seq, r.prev = kept
        envelope[-1] ^= 1
        self.send(flown, [bytes(envelope)])

    def take_in_logs(self, organisation: str = "Northwind") -> None:
        """What the worker does with the logs that have come."""
        org_id = self.organisations[organisation]
        with self.ingest.database.connect("dbx_worker") as conn, open_shelf() as shelf:
            logs = LogHub(self.ingest, conn, shelf)
            for (name,) in self.ingest.rows(org_id, "SELECT sha256 FROM logs"):
                logs.take_in(org_id, bytes(name))

    def send(self, flown: Flown, envelopes: list[bytes]) -> None:
        self.ingest.pipeline.handle(flown.recorder.arrivals(envelopes))


def api_factory() -> Any:
    """The API's application for a server process; settings come by environment."""
    from hub.api.app import build_app
    from hub.api.receiving import UploadReceiving
    from hub.api.state import ApiParts

    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(os.environ["TEST_HUB_KEY"]))
    hub_key = HubKey(key, key_id(key.public_key().public_bytes_raw()))
    receiving = UploadReceiving(os.environ["TEST_INGEST_URL"], hub_key)
    parts = ApiParts(database_url=os.environ["TEST_DATABASE_URL"], pepper=PEPPER, hub_key=key, receiving=receiving)
    return build_app(parts)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def serve(database: HubDatabase, hub_key: HubKey) -> tuple[str, subprocess.Popen[bytes]]:
    """The API and pages as a process of their own: (address, process)."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--log-level", "warning", "tests.fix_pages:api_factory"]
    secrets = {"TEST_DATABASE_URL": database.url("dbx_api"), "TEST_HUB_KEY": hub_key.key.private_bytes_raw().hex()}
    secrets["TEST_INGEST_URL"] = database.url("dbx_ingest")
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)} | secrets)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/v1/health", timeout=2).close()
            return url, process
        except OSError:
            time.sleep(0.1)
    process.terminate()
    raise RuntimeError("the API did not start")


@pytest.fixture(scope="module")
def pages_hub(postgres_server: EmbeddedPostgres, hub_template: str) -> Iterator[PagesHub]:
    """Northwind with a complete flight, one that lacks a batch, and a live one; Empty Skies with none."""
    from hub.api.tokens import Tokens, new_api_key

    database = HubDatabase(make_database(postgres_server, hub_template))
    private = Ed25519PrivateKey.generate()
    hub_key = HubKey(private, key_id(private.public_key().public_bytes_raw()))
    organisations, keys = {}, {}
    for name in ("Northwind", "Empty Skies"):
        organisations[name], keys[name] = database.new_organisation(name), new_api_key()
        with database.connect("dbx_api") as conn, tenant(conn, organisations[name], actor="test"):
            create_key(conn, organisations[name], new_id(), "pages", "operator", Tokens(PEPPER).keyed_hash(keys[name]))
    url, process = serve(database, hub_key)
    try:
        with database.connect("dbx_ingest") as conn:
            hub = PagesHub(url, Hub(database, hub_key, Pipeline(conn, hub_key)), organisations, keys)
            _fill(hub)
            yield hub
    finally:
        process.terminate()
        process.wait(20)
        drop_database(database.database)


def _fill(hub: PagesHub) -> None:
    kestrel = hub.depart("Northwind", "Kestrel 1", "copter")
    hub.fly(kestrel, kestrel.recording.disarmed_us)
    hub.find(kestrel, "gps_inconsistent", kestrel.recording.armed_us + 40_000_000)
    hub.land(kestrel)
    osprey = hub.depart("Northwind", "Osprey 1", "heli")
    hub.fly(osprey, osprey.recording.disarmed_us, lost=lambda n: n == 8)
    hub.land(osprey)
    heron = hub.depart("Northwind", "Heron 2", "plane")
    hub.fly(heron, heron.recording.armed_us + 60_000_000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium; skips where there is none. It holds the thread's event loop: not for a whole session."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"needs a browser: {CHROMIUM} is not on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


def wait_until(page: Any, expression: str) -> None:
    for _ in range(WAIT_MS // 50):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {expression}")


@dataclass
class Visit:
    """One browser window. complaints: console errors and failed scripts. asked: every address requested."""

    page: Any
    hub: PagesHub
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def sign_in(self, organisation: str = "Northwind", path: str = "/") -> None:
        self.page.goto(self.hub.url + path)
        self.page.fill("#key", self.hub.keys[organisation])
        self.page.press("#key", "Enter")
        self.page.wait_for_url(lambda url: "/login" not in url, timeout=WAIT_MS)

    def open_flight(self, name: str, query: str = "") -> None:
        self.sign_in(path=f"/flights/{self.hub.flights[name].flight_id}{query}")
        self.page.wait_for_selector(".has-flight", timeout=WAIT_MS)
        self.page.locator('[data-plot="altitude"]').scroll_into_view_if_needed()
        self.page.wait_for_selector('[data-plot="altitude"] .u-over', timeout=WAIT_MS)

    def wait(self, expression: str) -> None:
        """Until the expression is true. Playwright's own waiting evaluates in the page, which its policy forbids."""
        wait_until(self.page, expression)

    def hosts(self) -> set[str]:
        return {urlsplit(a).netloc for a in self.asked if not a.startswith(("data:", "blob:"))}


@pytest.fixture
def visit(chromium: Any, pages_hub: PagesHub, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A fresh window; after each test: no console error, and no request that left this machine."""
    settings = {"viewport": {"width": 1440, "height": 900}, "locale": "en-GB", "timezone_id": "Europe/Zurich"}
    context = chromium.new_context(**(settings | getattr(request, "param", {})))
    page = context.new_page()
    made = Visit(page, pages_hub)
    page.on("console", lambda m: made.complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: made.complaints.append(str(e)))
    page.on("request", lambda r: made.asked.append(r.url))
    yield made
    context.close()
    assert made.complaints == []
    assert made.hosts() <= {urlsplit(pages_hub.url).netloc}

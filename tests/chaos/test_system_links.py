"""Links that go dark, brokers that repeat themselves, disks that fill up: nothing is lost without a signed word."""

import contextlib
import os
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from firmware_bridge.tlog import read_tlog
from hub.demo_aircraft import Aircraft
from shared import topics
from shared.frames import join
from shared.topics import Lane
from tests.fix_system import Autopilot, Flight, LinkCut, System, flying, wait_until

pytestmark = pytest.mark.slow
TIMEOUTS = "puback_timeout_s = 2.0\nreceipt_timeout_s = 3.0\nkeepalive_s = 5\n"


@contextlib.contextmanager
def cuttable(system: System) -> Iterator[tuple[LinkCut, str]]:
    """A link that can go dark, and the settings that make an agent use it."""
    broker = system.hub.installation.embedded_broker
    assert broker
    link = LinkCut(("127.0.0.1", broker.mqtt_port))
    try:
        yield link, f'[uplink]\nhost = "127.0.0.1"\nport = {link.port}\n{TIMEOUTS}'
    finally:
        link.close()


def test_a_link_dark_for_longer_than_every_time_out_loses_nothing(system: System) -> None:
    log, aircraft = system.log("heli"), system.aircraft("dark-link")
    with cuttable(system) as (link, uplink), flying(Flight.of_log(aircraft, log, 10.0, uplink)) as flight:
        wait_until(lambda: system.facts(aircraft).batches > 2, 60, "the first batches")
        link.go_dark()
        time.sleep(12)  # keep-alive 5 s and a half, PUBACK 2 s, receipt 3 s
        link.come_back()
        flight.finish()
    system.assert_whole(aircraft, log)


def test_a_store_too_small_for_a_dark_link_owns_up_to_what_it_evicted(system: System) -> None:
    aircraft, quota = system.aircraft("small-store"), "[recording]\nquota_mb = 0.25\nbacklog_interval_s = 2.0\n"
    frames = join([system.log(name).frames for name in ("copter", "plane", "heli", "quadplane")])
    with (
        cuttable(system) as (link, uplink),
        contextlib.closing(Autopilot(frames, 6000)) as autopilot,
        flying(Flight.of_tcp(aircraft, autopilot.port, uplink + quota)) as flight,
    ):
        link.go_dark()
        wait_until(autopilot.is_done.is_set, 120, "the end of sending")
        time.sleep(5)
        link.come_back()
        wait_until(lambda: system.accounted(aircraft) == len(frames), 90, "every frame in the hub or in a gap record")
        flight.stop()
    facts = system.facts(aircraft)
    assert facts.gaps > 0, "nothing was evicted: the store was not too small"
    kept = Counter(f[i] for part in system.exported(aircraft) for f in [read_tlog(part).frames] for i in range(len(f)))
    assert not kept - Counter(frames[i] for i in range(len(frames))), "a frame came that was never sent, or twice"
    assert facts.duplicates == 0
    assert system.assert_told_truly(aircraft) > 0


def test_a_full_file_system_owns_up_to_what_it_could_not_write(system: System, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    aircraft, log = system.aircraft("full-disk"), system.log("copter")
    disk = aircraft.folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        with cuttable(system) as (link, uplink):
            flight = Flight.of_log(aircraft, log, 40.0, uplink)
            flight.settings = flight.settings.replace(
                'data_dir = "."', f'data_dir = "{disk}"\nidentity_dir = "{aircraft.folder / "identity"}"'
            )
            link.go_dark()
            with flying(flight):
                time.sleep(15)
                link.come_back()
                flight.finish()
        system.assert_accounted(aircraft, log)
    finally:
        subprocess.run(["umount", disk], check=True)


class Device:
    """A device's own MQTT connection, in the hands of a test."""

    def __init__(self, system: System, aircraft: Aircraft) -> None:
        broker = system.hub.installation.embedded_broker
        assert broker
        identity = aircraft.folder / "identity"
        self.receipts: list[bytes] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        context = ssl.create_default_context(cafile=str(identity / "ca.crt"))
        context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
        self.client.tls_set_context(context)
        self.client.on_message = lambda _c, _u, message: self.receipts.append(message.payload)
        self.is_up = threading.Event()
        self.client.on_connect = lambda *_: self.is_up.set()
        self.client.connect("127.0.0.1", broker.mqtt_port)
        self.client.loop_start()
        assert self.is_up.wait(10)
        org = system.demo.owner.org_id
        self.client.subscribe(topics.receipt(org, aircraft.aircraft_id), qos=1)
        self.topic = topics.up(org, aircraft.aircraft_id, Lane.live)

    def publish(self, envelope: bytes, topic: str | None = None) -> None:
        self.client.publish(topic or self.topic, envelope, qos=1).wait_for_publish(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_duplicates_reordering_and_replays_change_nothing_and_are_receipted_again(system: System) -> None:
    log, aircraft = system.log("copter", 4000, 3000), system.aircraft("replayed")
    with flying(Flight.of_log(aircraft, log, "max")) as flight:
        flight.finish()
    before = system.settled(aircraft)
    envelopes = system.envelopes(aircraft)
    assert len(envelopes) >= 2
    with contextlib.closing(Device(system, aircraft)) as device:
        for envelope in [*reversed(envelopes), *envelopes, *envelopes[::2]]:
            device.publish(envelope)
        wait_until(lambda: system.receipted(device.receipts) >= set(range(1, len(envelopes) + 1)), 30, "receipts")
    assert system.settled(aircraft) == before
    system.assert_whole(aircraft, log)


def test_batches_that_arrive_first_through_a_hostile_order_make_the_same_flight(system: System) -> None:
    log, aircraft = system.log("copter", 4000, 3000), system.aircraft("disordered")
    flight = Flight.of_log(aircraft, log, 20.0, '[uplink]\ntransport = "none"\n')
    with flying(flight):
        flight.finish()
    envelopes = system.outbox(flight)
    assert len(envelopes) >= 2
    with contextlib.closing(Device(system, aircraft)) as device:
        for envelope in [envelopes[-1], *envelopes[1::2], *envelopes[::2], *envelopes]:
            device.publish(envelope)
    wait_until(lambda: system.facts(aircraft).batches == len(envelopes), 30, "all batches")
    system.assert_whole(aircraft, log)

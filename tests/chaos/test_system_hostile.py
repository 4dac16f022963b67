"""Hostile senders with real certificates on a real broker: refused, quarantined with the reason, visible, harmless."""

import contextlib
import shutil
import time
from collections.abc import Iterator

import cbor2
import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.demo_aircraft import Aircraft
from shared import batch
from shared.batch import Batch, Counts
from shared.envelope import BATCH_TYPE, digest, seal
from shared.ids import key_id, new_id
from shared.topics import Lane
from tests.chaos.test_system_links import Device
from tests.fix_system import Flight, System, flying, wait_until

pytestmark = pytest.mark.slow


def signing_key(aircraft: Aircraft) -> Ed25519PrivateKey:
    """The device's own key: what a thief of the aircraft holds."""
    return Ed25519PrivateKey.from_private_bytes((aircraft.folder / "identity" / "signing.key").read_bytes())


def signed(aircraft: Aircraft, payload: bytes) -> bytes:
    key = signing_key(aircraft)
    return seal(payload, key, key_id(key.public_key().public_bytes_raw()), BATCH_TYPE)


def a_batch(columns: bytes) -> bytes:
    """A batch of a stream of its own with these columns."""
    made = Batch(new_id(), 1, new_id(), None, Lane.live, batch.GENESIS, (0, 1), (), Counts(1, 10), columns)
    return batch.encode(made)


@contextlib.contextmanager
def flown(system: System, name: str) -> Iterator[tuple[Aircraft, list[bytes], Device]]:
    """An aircraft that flew a little, its envelopes, and its connection in the hands of the test."""
    aircraft = system.aircraft(name)
    with flying(Flight.of_log(aircraft, system.log("copter", 4000, 2500), "max")) as flight:
        flight.finish()
    with contextlib.closing(Device(system, aircraft)) as device:
        yield aircraft, system.envelopes(aircraft), device


def test_a_changed_bit_in_any_part_of_an_envelope_is_refused_and_changes_nothing(system: System) -> None:
    with flown(system, "bits") as (aircraft, envelopes, device):
        before = system.settled(aircraft)
        whole = envelopes[0]
        body = whole.index(cbor2.dumps(BATCH_TYPE))
        places = {
            0: "tag",
            1: "array",
            3: "protected",
            body + 5: "type",
            len(whole) // 2: "payload",
            -70: "end",
            -1: "signature",
        }
        for place in places:
            changed = bytearray(whole)
            changed[place] ^= 0x10
            device.publish(bytes(changed))
        wait_until(lambda: len(system.refused()) >= len(places), 30, "all refusals")
        assert set(system.refused()) <= {"envelope_malformed", "content_type", "unknown_key", "bad_signature"}
        after = system.settled(aircraft)
        assert (after.frames, after.batches, after.rows) == (before.frames, before.batches, before.rows)


def test_a_decompression_bomb_is_refused_without_being_inflated(system: System) -> None:
    with flown(system, "bomb") as (aircraft, _, device):
        bomb = zstandard.ZstdCompressor(level=19).compress(bytes(400 << 20))
        device.publish(signed(aircraft, a_batch(bomb)))
        device.publish(signed(aircraft, a_batch(b"\x01" + bomb)))
        wait_until(lambda: len(system.quarantined(aircraft)) >= 2, 30, "the refusals")


def test_a_signed_batch_that_is_no_batch_is_quarantined_and_the_next_one_arrives(system: System) -> None:
    with flown(system, "poison") as (aircraft, _, device):
        poison = [b"", b"\xff", cbor2.dumps({0: 1}), cbor2.dumps({0: 99}), a_batch(b"no columns at all")]
        for payload in poison:
            device.publish(signed(aircraft, payload))
        wait_until(lambda: len(system.quarantined(aircraft)) >= len(poison), 30, "the refusals")
        frames = system.facts(aircraft).frames
        log = system.log("copter", 8000, 1500)
        with flying(Flight.of_log(aircraft, log, "max")) as flight:
            flight.finish()
        wait_until(lambda: system.facts(aircraft).frames == frames + len(log.frames), 60, "the next flight")


def test_a_batch_of_another_aircraft_on_ones_own_topic_is_quarantined(system: System) -> None:
    with flown(system, "honest") as (_, _, _), flown(system, "thief") as (thief, _, device):
        other = system.aircraft("honest")
        device.publish(signed(other, a_batch(b"")))
        wait_until(lambda: bool(system.quarantined(other) or system.quarantined(thief)), 30, "the refusal")
        assert "topic_of_other_aircraft" in {*system.quarantined(other), *system.quarantined(thief)}


def test_the_same_sequence_with_other_content_is_quarantined_and_alerted(system: System) -> None:
    with flown(system, "forked") as (aircraft, envelopes, device):
        first = batch.decode(cbor2.loads(envelopes[0]).value[2])
        forged = batch.encode(Batch(**{f: getattr(first, f) for f in Batch.__slots__} | {"covers": (0, 1)}))
        before = system.facts(aircraft)
        device.publish(signed(aircraft, forged))
        wait_until(lambda: len(system.quarantined(aircraft)) == 1, 30, "the refusal")
        assert system.quarantined(aircraft) == ["sequence_conflict"]
        assert "sequence_conflict" in system.alerts()
        wait_until(lambda: 1 in system.receipted(device.receipts), 30, "the receipt for what is committed instead")
        assert system.receipted_digests(device.receipts)[1] == digest(envelopes[0])
        assert system.facts(aircraft).batches == before.batches


def test_a_revoked_key_brings_nothing_in_any_more(system: System) -> None:
    with flown(system, "revoked") as (aircraft, _, device):
        batches = system.facts(aircraft).batches
        keys = system.demo.api.call("GET", f"/v1/aircraft/{aircraft.aircraft_id}/device-keys")["items"]
        system.demo.api.call("POST", f"/v1/aircraft/{aircraft.aircraft_id}/device-keys/{keys[0]['key_id']}/revoke", {})
        time.sleep(1.5)  # ingest remembers keys for a second
        with contextlib.suppress(RuntimeError, ValueError):  # the broker may have shut the device out already
            device.publish(signed(aircraft, a_batch(b"")))
        log = system.log("copter", 8000, 1500)
        with flying(Flight.of_log(aircraft, log, "max")) as flight, contextlib.suppress(Exception):
            flight.finish(15)
        assert system.facts(aircraft).batches == batches
        assert "revoked_key" in system.quarantined(aircraft) or not device.client.is_connected()


def test_a_clone_with_the_same_identity_is_noticed(system: System) -> None:
    with flown(system, "cloned") as (aircraft, _, _):
        folder = aircraft.folder.with_name("clone")
        shutil.copytree(aircraft.folder / "identity", folder / "identity")
        clone = Aircraft(folder, aircraft.aircraft_id)
        here = Flight.of_log(aircraft, system.log("plane"), 15.0)
        there = Flight.of_log(clone, system.log("heli"), 15.0)
        with flying(here), flying(there):
            wait_until(lambda: any("clone" in kind for kind in system.alerts()), 60, "the alert")

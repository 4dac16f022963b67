"""A field engineer's device, logs as files, and the hub's word on them: for tests of imported logs."""

import dataclasses
import json
import time
import uuid
from pathlib import Path

import pytest

from agent import store
from agent.identity import Identity, load, signer_of
from agent.imports import ImportQueue
from firmware_bridge.log_packing import unpack
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import Survey, survey
from shared import batch as wire
from shared import envelope
from shared.receipt import LogCommitted, LogReceipt, encode_log_receipt, make_receipt
from shared.records import LogManifest, LogPart, from_map
from tests.fix_agent import HubKey, check_chain, settings_file, write_identity
from tests.fix_dataflash import dataflash_log

Batches = dict[tuple[uuid.UUID, int], tuple[wire.Batch, bytes]]


def make_station(folder: Path) -> Identity:
    """Turns an identity folder into that of a station."""
    path = folder / "identity.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": "station"}))
    return load(folder)


@dataclasses.dataclass
class Station:
    """An enrolled station without a network: its folder, identity, hub key."""

    folder: Path
    identity: Identity
    hub_key: HubKey

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def config(self) -> Path:
        return settings_file(self.folder)

    def queue(self, keep_free_bytes: int | None = 0) -> ImportQueue:
        return ImportQueue(self.data, self.identity, keep_free_bytes)

    def receipt(self, queue: ImportQueue, stream_no: int, leave_out: int = 0) -> None:
        """The hub's receipt for all batches of a log, but for the last few: heard and settled."""
        found = {key for key in store.outbox_ids(queue.store.conn) if key >> store.SEQ_BITS == stream_no}
        with queue.store.lock:
            digests = {
                k & (1 << store.SEQ_BITS) - 1: store.outbox_digest(queue.store.conn, k) or b"" for k in sorted(found)
            }
            stream = store.streams(queue.store.conn)[stream_no]
        for seq in sorted(digests)[len(digests) - leave_out :]:
            del digests[seq]
        body = make_receipt(stream, digests, time.time_ns() // 1000)
        queue.hear(body, self.hub_key.receipt(stream, digests))
        queue.settle()

    def log_receipt(self, *logs: tuple[bytes, int], key: HubKey | None = None) -> bytes:
        """The hub's signed word that it has these logs (name, size)."""
        private = (key or self.hub_key).private
        body = LogReceipt(tuple(LogCommitted(log, size, 1_700_000_000_000_000) for log, size in logs), 1)
        signer = signer_of(private)
        return envelope.seal(encode_log_receipt(body), private, signer.key_id, envelope.LOG_RECEIPT_TYPE)


@pytest.fixture
def station(tmp_path: Path, hub_key: HubKey) -> Station:
    """Enrolled, offline."""
    write_identity(tmp_path / "identity", hub_key)
    return Station(tmp_path, make_station(tmp_path / "identity"), hub_key)


def surveyed(path: Path) -> tuple[LogSource, Survey]:
    """A log file as `ImportQueue.add` takes it."""
    source = LogSource(path)
    return source, survey(source)


def write_log(path: Path, seconds: float = 20.0, **flight: object) -> Path:
    """A DataFlash log of a short flight."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dataflash_log(seconds, **flight))  # type: ignore[arg-type]
    return path


def queued_batches(queue: ImportQueue) -> Batches:
    """All batches in the outbox, signatures checked."""
    found: Batches = {}
    with queue.store.lock:
        for row in store.outbox_rows(queue.store.conn):
            sealed = store.envelope(queue.store.conn, row.id)
            assert sealed is not None
            opened = envelope.open_envelope(sealed, queue.identity.find_own, envelope.BATCH_TYPE)
            body = wire.decode(opened.payload)
            found[body.stream, body.seq] = body, opened.digest
    return found


def logs_of(batches: Batches) -> dict[bytes, tuple[LogManifest, bytes]]:
    """The logs of whole streams: name -> (last manifest, the log's bytes). Each part is there once."""
    check_chain(batches)
    logs: dict[bytes, tuple[LogManifest, bytes]] = {}
    for stream in {s for s, _ in batches}:
        records = [from_map(r) for (s, _), (b, _) in sorted(batches.items()) if s == stream for r in b.records]
        manifests = [r for r in records if isinstance(r, LogManifest)]
        parts = [r for r in records if isinstance(r, LogPart)]
        if manifests:
            ends = [0]
            for part in parts:
                assert part.offset == ends[-1] and part.log == manifests[-1].log and len(part.packed) <= 128 << 10
                ends.append(part.offset + len(part.packed))
            assert ends[-1] == manifests[-1].packed_bytes
            logs[manifests[-1].log] = manifests[-1], b"".join(unpack([p.packed for p in parts]))
    return logs

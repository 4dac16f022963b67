"""Logs that people send to the API itself: spooled, packed and sealed like any import, on ingest's own path.

The hub signs them as a station of the organisation called "uploads"; its key is derived from the hub's secret, so that
no private half is stored anywhere. Each upload is a stream of its own.
"""

import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.requests import Request

from firmware_bridge.log_packing import pack
from firmware_bridge.log_source import LogSource, log_sources
from hub.api.problems import Problem, invalid
from hub.api.state import Actor, ApiState
from hub.store import aircraft, log_arrivals, logs
from shared import batch as batches
from shared.batch import Batch, Counts
from shared.envelope import BATCH_TYPE, digest, seal
from shared.errors import Refused
from shared.ids import key_id, new_id
from shared.records import LogManifest, LogPart, Record, to_map
from shared.topics import Lane

PART_BYTES = 128 << 10
PARTS_PER_BATCH = 6
BATCHES_AT_ONCE = 4
STATION = "uploads"


@asynccontextmanager
async def spooled(request: Request, folder: Path | None) -> AsyncIterator[Path]:
    """The request's body in a file, as it comes; the file is gone afterwards."""
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="dbx-upload-", dir=folder)
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            async for piece in request.stream():
                out.write(piece)
        yield path
    finally:
        path.unlink(missing_ok=True)


def upload_key(pepper: bytes, org_id: uuid.UUID) -> Ed25519PrivateKey:
    """The key of an organisation's uploads station."""
    derived = HKDF(hashes.SHA256(), 32, None, b"dbx-uploads-key-v1" + org_id.bytes).derive(pepper)
    return Ed25519PrivateKey.from_private_bytes(derived)


def take_upload(state: ApiState, who: Actor, path: Path, name: str, aircraft_id: uuid.UUID | None) -> list[bytes]:
    """The logs in an uploaded file, sealed and committed (or known already): their SHA-256s. Problem 422: no log."""
    try:
        sources = log_sources(path, name)
    except Refused as e:
        raise invalid(e.reason, f"This is no log that can be imported: {e.detail}".replace(str(path), name)) from None
    return [_take(state, who, source, aircraft_id) for source in sources]


def _take(state: ApiState, who: Actor, source: LogSource, aircraft_id: uuid.UUID | None) -> bytes:
    found, size = hashlib.sha256(), 0
    for piece in source.pieces():
        found.update(piece)
        size += len(piece)
    sha256 = found.digest()
    known = state.write_now(who, lambda conn: logs.find_logs(conn, who.org_id, [sha256]).get(sha256))
    if known is None or not known.is_whole:
        _send(state, who, _records(source, sha256, size, aircraft_id))
    elif aircraft_id is not None and not _was_said(state, who, sha256, aircraft_id):
        _send(state, who, [_manifest(source, sha256, size, aircraft_id, 0, sha256)])
    return sha256


def _was_said(state: ApiState, who: Actor, sha256: bytes, aircraft_id: uuid.UUID) -> bool:
    found = state.write_now(who, lambda conn: log_arrivals.deliveries(conn, who.org_id, sha256))
    return any(d.aircraft_id == aircraft_id for d in found)


def _records(source: LogSource, sha256: bytes, size: int, aircraft_id: uuid.UUID | None) -> Iterator[Record]:
    """A log's parts and its manifest. Memory: a part or two."""
    packed, rest, at = hashlib.sha256(), b"", 0
    for piece in pack(source.pieces(), source.format):
        packed.update(piece)
        rest += piece
        while len(rest) >= PART_BYTES:
            yield LogPart(sha256, at, rest[:PART_BYTES])
            at, rest = at + PART_BYTES, rest[PART_BYTES:]
    if rest:
        yield LogPart(sha256, at, rest)
    yield _manifest(source, sha256, size, aircraft_id, at + len(rest), packed.digest())


def _manifest(
    source: LogSource, sha256: bytes, size: int, aircraft_id: uuid.UUID | None, packed_bytes: int, packed: bytes
) -> LogManifest:
    return LogManifest(
        sha256, size, packed_bytes, packed, source.format, source.name[-400:], "upload", time.time_ns() // 1000,
        aircraft_id,
    )  # fmt: skip


@dataclass(slots=True)
class _Sealing:
    """A stream of bulk batches of one upload."""

    key: Ed25519PrivateKey
    stream: uuid.UUID = field(default_factory=new_id)
    boot: uuid.UUID = field(default_factory=new_id)
    seq: int = 0
    prev: bytes = batches.GENESIS

    def seal(self, records: list[Record]) -> bytes:
        """The next envelope."""
        self.seq += 1
        body = Batch(
            self.stream, self.seq, self.boot, None, Lane.bulk, self.prev, (0, 0), (), Counts(),
            records=tuple(to_map(r) for r in records),
        )  # fmt: skip
        kid = key_id(self.key.public_key().public_bytes_raw())
        envelope = seal(batches.encode(body), self.key, kid, BATCH_TYPE)
        self.prev = digest(envelope)
        return envelope


def _send(state: ApiState, who: Actor, records: Iterable[Record]) -> None:
    sealing = _Sealing(upload_key(state.parts.pepper, who.org_id))
    station = _station(state, who, sealing.key)
    envelopes: list[bytes] = []
    group: list[Record] = []
    for record in records:
        group.append(record)
        if len(group) == PARTS_PER_BATCH:
            envelopes.append(sealing.seal(group))
            group = []
        if len(envelopes) == BATCHES_AT_ONCE:
            _commit(state, who, station, envelopes)
            envelopes = []
    if group:
        envelopes.append(sealing.seal(group))
    _commit(state, who, station, envelopes)


def _commit(state: ApiState, who: Actor, station: uuid.UUID, envelopes: list[bytes]) -> None:
    assert state.parts.receiving is not None
    if envelopes and not state.parts.receiving.commit(who.org_id, station, envelopes):
        raise Problem(
            409, "upload_refused", "The hub refused its own batches; is the key of the uploads station revoked?"
        )


def _station(state: ApiState, who: Actor, key: Ed25519PrivateKey) -> uuid.UUID:
    """The organisation's uploads station, made and enrolled when it is first needed."""
    station = uuid.uuid5(who.org_id, STATION)
    public = key.public_key().public_bytes_raw()
    state.write_now(
        who,
        lambda conn: aircraft.ensure_station(conn, who.org_id, station, STATION, key_id(public), new_id(), public),
    )  # fmt: skip
    return station

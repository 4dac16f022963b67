"""A log's bytes from the envelopes that brought them: parts in order, unpacked, checked. Bounded memory."""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psycopg

from firmware_bridge.log_packing import unpack
from hub.store import ledger, log_arrivals
from hub.store.log_arrivals import DeliveryRow, PartRow
from hub.store.tenant import tenant
from hub.worker.fingerprint import Fingerprint
from hub.worker.rederive import read_batch
from shared.errors import Refused

Connection = psycopg.Connection[Any]
T = TypeVar("T")


class Transact(Protocol):
    """Runs work in a transaction of the organisation."""

    def __call__(self, work: Callable[[Connection], T], /) -> T: ...


_BATCHES = 8
"""Envelopes in memory at a time, each at most 1 MiB."""


class Missing(Exception):
    """Parts of the log have not come (yet)."""


def whole_parts(parts: list[PartRow], packed_bytes: int) -> list[PartRow]:
    """Of parts by rising offset those that make the packed form, each byte once. Missing: some byte is in none."""
    out: list[PartRow] = []
    end = 0
    for p in parts:
        if p.offset == end and end < packed_bytes:
            out.append(p)
            end += p.size_bytes
        elif p.offset > end:
            raise Missing(f"nothing from byte {end} to {p.offset} of the packed log")
    if end != packed_bytes:
        raise Missing(f"{end} of {packed_bytes} packed bytes are here")
    return out


def packed_pieces(transact: Transact, org_id: uuid.UUID, d: DeliveryRow) -> Iterator[bytes]:
    """The packed form of a delivery. Missing; each page of envelopes is read in a transaction of its own."""
    found = transact(lambda conn: log_arrivals.parts(conn, org_id, d.sha256, d.stream_id))
    parts = whole_parts(found, d.packed_bytes)
    for at in range(0, len(parts), _BATCHES):
        page = parts[at : at + _BATCHES]
        keys = sorted({(p.stream_id, p.seq) for p in page})
        envelopes = transact(partial(ledger.read_envelopes, org_id=org_id, keys=keys))
        for key, of_batch in groupby(page, lambda p: (p.stream_id, p.seq)):
            if key not in envelopes:
                raise Missing(f"batch {key[1]} of stream {key[0]} is gone")
            records = read_batch(envelopes[key]).records
            yield from (records[p.record_no]["packed"] for p in of_batch)


def unpacked(transact: Transact, org_id: uuid.UUID, d: DeliveryRow) -> Iterator[bytes]:
    """The log of a delivery. Missing; Refused("log_damaged") whatever damaged input provokes."""
    try:
        yield from unpack(packed_pieces(transact, org_id, d))
    except (Refused, Missing, psycopg.Error):
        raise
    except Exception as e:
        raise Refused("log_damaged", f"{type(e).__name__}: {e}"[:300]) from None


def unpack_to(conn: Connection, org_id: uuid.UUID, d: DeliveryRow, target: Path, most_bytes: int) -> tuple[int, bytes]:
    """Write a delivery's log to a file; (size, fingerprint). Missing; Refused("log_damaged") when the bytes are not
    those that its manifest names, "log_too_large"."""
    limit = min(d.size_bytes, most_bytes)
    if d.size_bytes > most_bytes:
        raise Refused("log_too_large", f"{d.size_bytes} bytes, at most {most_bytes}")
    found, marks, size = hashlib.sha256(), Fingerprint(), 0

    def transact(work: Callable[[Connection], T]) -> T:
        with tenant(conn, org_id):
            return work(conn)

    with target.open("wb") as out:
        for piece in unpacked(transact, org_id, d):
            size += len(piece)
            if size > limit:
                raise Refused("log_damaged", f"more than the {d.size_bytes} bytes that were named")
            found.update(piece)
            marks.feed(piece)
            out.write(piece)
    if size != d.size_bytes or found.digest() != d.sha256:
        raise Refused("log_damaged", f"{size} bytes with the SHA-256 {found.hexdigest()}")
    return size, marks.result()

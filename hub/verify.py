"""`dbx verify FILE`: what an evidence file proves, checked offline: no database, no network, nothing but the file and,
if the reader has them, public keys obtained elsewhere. See docs/evidence.md for what each check means.

The order: trailer (found from the end), digest of every item, signature of every envelope, batches (stream, sequence,
chain), receipts, manifest against a recount of the decoded frames. A failed item is named with its place in the file
and left out of what follows, so that one changed byte does not hide what the rest still proves.
"""

import argparse
import base64
import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.export.evidence import (
    MAX_TRAILER_BYTES,
    Item,
    decode_header,
    decode_trailer,
    find_trailer,
    item_end,
    read_trailer,
)
from hub.verify_report import Found, Problem, Report, as_text, in_words, summarise
from shared import batch as batches
from shared.codec import decode_block
from shared.envelope import BATCH_TYPE, EVIDENCE_TYPE, RECEIPT_TYPE, digest, open_envelope
from shared.errors import Refused
from shared.ids import key_id
from shared.receipt import decode_receipt
from shared.records import Gap, SessionClose, from_map

_MAX_RANGE = 1 << 20
"""Sequences that a flight's records may speak of: hostile records must not cost memory without end."""
FindKey = Callable[[bytes], Ed25519PublicKey | None]


def verify(data: bytes, hub_keys: Collection[bytes] = (), device_keys: Collection[bytes] = ()) -> Report:
    """Check a whole evidence file. hub_keys, device_keys: raw 32-byte public keys that the reader trusts; without them
    the keys in the file's own header are used, and the report says that this proves less. Never raises on any bytes."""
    report, found = Report(), Found()
    items, trailer_at = _check_layout(data, report)
    good = _check_digests(data, items, trailer_at, report)
    _read_header(data, items, good, found, report)
    trusted = {key_id(k): k for k in hub_keys} or (
        {key_id(k): k for k in found.header.hub_keys} if found.header else {}
    )
    _check_trailer(data, trailer_at, trusted, found, report)
    _read_items(data, items, good, trusted, device_keys, found, report)
    _check_chain(found, report)
    _check_receipts(found, report)
    covered = _check_manifest(found, report)
    if trailer_at is None and found.header is None and not found.batches:
        report.problems = [Problem("this is not an evidence file (.dbxe): no part of one can be read in it")]
    summarise(found, report, covered, bool(hub_keys), bool(device_keys))
    return report


# --- layout -----------------------------------------------------------------------------------------------------------


def _check_layout(data: bytes, report: Report) -> tuple[list[Item], int | None]:
    """The items before the trailer, by the trailer's list if it can be read, else by walking the sequence."""
    at = find_trailer(data)
    if at is not None:
        try:
            items = list(read_trailer(data, at)[1].items)
        except Refused as e:
            report.problems.append(Problem(f"the trailer was changed ({e})", None, "trailer", at, len(data) - at))
        else:
            ends = [0, *(i.offset + i.length for i in items)]
            if [i.offset for i in items] == ends[:-1] and ends[-1] == at:
                report.items = len(items)
                return items, at
            text = (
                f"the trailer lists {ends[-1]} bytes of items, but stands at offset {at}: bytes were added or removed"
            )
            report.problems.append(Problem(text, None, "trailer", at, len(data) - at))
            return [i for i in items if i.offset + i.length <= at], at
    else:
        report.problems.append(Problem("there is no trailer: the file was cut off, or the trailer was changed"))
    return _walk(data, at, report), at


def _walk(data: bytes, trailer_at: int | None, report: Report) -> list[Item]:
    items: list[Item] = []
    at, end = 0, len(data) if trailer_at is None else trailer_at
    while at < end:
        try:
            following = item_end(data, at)
            if following > end:
                raise ValueError("runs into the trailer")
        except ValueError as e:
            problem = Problem(f"item {len(items)} at offset {at} is damaged ({e})", len(items), "unknown", at, end - at)
            report.problems.append(problem)
            break
        items.append(Item(at, following - at, b""))
        at = following
    report.items = len(items)
    return items


def _check_digests(data: bytes, items: list[Item], trailer_at: int | None, report: Report) -> list[bool]:
    good = []
    for n, item in enumerate(items):
        same = not item.digest or digest(data[item.offset : item.offset + item.length]) == item.digest
        if not same:
            kind = "header" if n == 0 else "envelope"
            last = item.offset + item.length - 1
            text = f"item {n} ({kind}) was changed: somewhere in bytes {item.offset} to {last} of the file"
            report.problems.append(Problem(text, n, kind, item.offset, item.length))
        good.append(same)
    return good


def _read_header(data: bytes, items: list[Item], good: list[bool], found: Found, report: Report) -> None:
    if not items or not good[0]:
        return
    try:
        header = decode_header(data[: items[0].length])
    except Refused as e:
        report.problems.append(Problem(f"the header cannot be read ({e})", 0, "header", 0, items[0].length))
        return
    found.header = header
    report.flight, report.aircraft = str(header.flight), f"{header.aircraft_name} ({header.aircraft_id})"
    report.organisation = f"{header.org_name} ({header.org_id})"
    if any(k.key_id != key_id(k.public_key) for k in header.device_keys):
        text = "a device key's id in the header is not the digest of the key"
        report.problems.append(Problem(text, 0, "header", 0, items[0].length))


def _check_trailer(data: bytes, at: int | None, trusted: dict[bytes, bytes], found: Found, report: Report) -> None:
    if at is None:
        return
    where = (None, "trailer", at, len(data) - at)
    try:
        opened = open_envelope(data[at:], _finder(trusted), EVIDENCE_TYPE, MAX_TRAILER_BYTES)
        trailer = decode_trailer(opened.payload)
    except Refused as e:
        if not any(p.kind == "trailer" for p in report.problems):
            report.problems.append(Problem(f"the trailer does not hold: {in_words(e)}", *where))
        return
    report.hub_key = trusted[opened.key_id].hex()
    if found.header is not None and trailer.flight != found.header.flight:
        report.problems.append(Problem("the trailer is about another flight than the header", *where))


# --- items ------------------------------------------------------------------------------------------------------------


def _read_items(
    data: bytes, items: list[Item], good: list[bool], hub_keys: dict[bytes, bytes], device_keys: Collection[bytes],
    found: Found, report: Report,
) -> None:  # fmt: skip
    known = {k.key_id: k.public_key for k in found.header.device_keys} if found.header else {}
    devices = {key_id(k): k for k in device_keys} or known
    find_hub, find_device = _finder(hub_keys), _finder(devices)
    for n, item in enumerate(items):
        if n == 0 or not good[n]:
            continue
        envelope = data[item.offset : item.offset + item.length]
        try:
            if _is_receipt(envelope):
                found.receipts.append(decode_receipt(open_envelope(envelope, find_hub, RECEIPT_TYPE).payload))
            else:
                _read_batch(n, envelope, find_device, found)
        except Refused as e:
            kind = "receipt" if _is_receipt(envelope) else "batch"
            text = f"item {n} ({kind}, bytes {item.offset} to {item.offset + item.length - 1}) {in_words(e)}"
            report.problems.append(Problem(text, n, kind, item.offset, item.length))


def _is_receipt(envelope: bytes) -> bool:
    return RECEIPT_TYPE.encode() in envelope[:96]


def _read_batch(n: int, envelope: bytes, find_device: FindKey, found: Found) -> None:
    opened = open_envelope(envelope, find_device, BATCH_TYPE)
    batch = batches.decode(opened.payload)
    records = [from_map(r) for r in batch.records]
    if found.header is not None and batch.stream != found.header.stream:
        told = [r for r in records if isinstance(r, Gap) and r.stream == found.header.stream]
        if not told:
            raise Refused("stream", f"is of stream {batch.stream}, and says nothing of this flight's")
        found.gaps += told  # what a new store owns up to of the old one's
        return
    if batch.seq in found.batches:
        raise Refused("sequence", f"repeats sequence {batch.seq}")
    found.batches[batch.seq] = (n, batch, opened.digest)
    found.signers[opened.key_id] += 1
    found.gaps += [r for r in records if isinstance(r, Gap) and r.stream == batch.stream]
    for record in records:
        if isinstance(record, SessionClose) and found.header is not None and record.session == found.header.flight:
            found.close = record


def _finder(keys: dict[bytes, bytes]) -> FindKey:
    loaded = {kid: Ed25519PublicKey.from_public_bytes(raw) for kid, raw in keys.items()}
    return loaded.get


# --- what the items say together --------------------------------------------------------------------------------------


def _gap_digests(found: Found) -> dict[int, bytes | None]:
    """Sequences that gap records account for, with the digest of the lost envelope where the record has it."""
    lost: dict[int, bytes | None] = {}
    left = _MAX_RANGE
    for gap in found.gaps:
        count = 0 if gap.first_seq is None or gap.last_seq is None else gap.last_seq - gap.first_seq + 1
        if gap.first_seq is None or not 0 < count <= left:
            continue
        left -= count
        digests: Sequence[bytes | None] = gap.digests if len(gap.digests) == count else [None] * count
        lost.update(zip(range(gap.first_seq, gap.first_seq + count), digests, strict=True))
    return lost


def _check_chain(found: Found, report: Report) -> None:
    lost = _gap_digests(found)
    for seq, (n, batch, sha) in sorted(found.batches.items()):
        before = found.batches.get(seq - 1)
        expected = before[2] if before else lost.get(seq - 1)
        if expected is not None and batch.prev != expected:
            report.problems.append(
                Problem(f"the chain breaks before sequence {seq}: its `prev` is another batch", n, "batch")
            )
        if lost.get(seq) not in (None, sha):
            report.problems.append(Problem(f"a gap record names another batch as sequence {seq}", n, "batch"))


def _check_receipts(found: Found, report: Report) -> None:
    committed: dict[int, bytes] = {}
    for receipt in found.receipts:
        if found.header is not None and receipt.stream != found.header.stream:
            report.problems.append(Problem("a receipt is for another stream", None, "receipt"))
            continue
        committed |= receipt.committed()
    for seq, (n, _, sha) in sorted(found.batches.items()):
        if seq not in committed:
            report.problems.append(Problem(f"no receipt covers sequence {seq}", n, "batch"))
        elif committed[seq] != sha:
            report.problems.append(Problem(f"the receipt of sequence {seq} is for other bytes", n, "receipt"))
    for seq in sorted(set(committed) - set(found.batches)):
        report.problems.append(Problem(f"a receipt says that sequence {seq} is committed, but it is not in the file"))


def _check_manifest(found: Found, report: Report) -> dict[int, bool]:
    """Recount; returns sequence -> present for the manifest's range (a missing one is under a gap record)."""
    counted, frames = _recount(found, report)
    report.frames, report.batches = frames, len(found.batches)
    close = found.close
    if close is None:
        return {}
    report.manifest_frames = close.frames
    lost = _gap_digests(found)
    last = min(close.last_seq, close.first_seq + _MAX_RANGE)
    present = {s: s in found.batches for s in range(close.first_seq, last + 1)}
    missing = [s for s, here in present.items() if not here and s not in lost]
    for first, final in _ranges(missing):
        which = f"sequence {first} is" if first == final else f"sequences {first} to {final} are"
        text = f"{which} missing, and no gap record says why"
        report.problems.append(Problem(text, None, "batch"))
    head = found.batches.get(close.last_seq)
    if head is not None and head[2] != close.chain_head:
        report.problems.append(Problem("the manifest's chain head is another batch", head[0], "batch"))
    _compare_counts(counted, frames, close, all(present.values()), report)
    return present


def _recount(found: Found, report: Report) -> tuple[Counter[int], int]:
    """(frames by message id, frames) in the manifest's range, from the decoded blocks; all batches without one."""
    counted: Counter[int] = Counter()
    close = found.close
    for seq, (n, batch, _) in sorted(found.batches.items()):
        if not batch.columns or (close is not None and not close.first_seq <= seq <= close.last_seq):
            continue
        try:
            block = decode_block(batch.columns)
        except Refused as e:
            report.problems.append(Problem(f"the columns of sequence {seq} cannot be decoded ({e})", n, "batch"))
            continue
        if block.n != batch.counts.frames:
            text = f"sequence {seq} says {batch.counts.frames} frames and holds {block.n}"
            report.problems.append(Problem(text, n, "batch"))
        for group in block.groups:
            counted[group.msgid] += len(group.rows)
    return counted, sum(counted.values())


def _compare_counts(counted: Counter[int], frames: int, close: SessionClose, whole: bool, report: Report) -> None:
    expected = Counter(close.frames_by_message)
    if whole and (counted != expected or frames != close.frames):
        text = f"the manifest says {close.frames} frames, {frames} are present"
        different = sorted(m for m in counted.keys() | expected.keys() if counted[m] != expected[m])[:5]
        detail = "".join(f"; message {m}: manifest {expected[m]}, present {counted[m]}" for m in different)
        report.problems.append(Problem(text + detail))
    elif any(counted[m] > expected[m] for m in counted):
        report.problems.append(Problem("the file holds more frames of a message than the manifest says"))


def _ranges(sequences: Collection[int]) -> Iterator[tuple[int, int]]:
    if sequences:
        values = np.array(sorted(sequences))
        for part in np.split(values, np.flatnonzero(np.diff(values) > 1) + 1):
            yield int(part[0]), int(part[-1])


# --- command ----------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0 when proven, 1 when not (also when the file cannot be read), 2 on wrong usage."""
    parser = argparse.ArgumentParser("dbx verify", description="Check an evidence file offline and say what it proves.")
    parser.add_argument("file", type=Path, help="evidence file (.dbxe)")
    for name, whose in (
        ("--hub-key", "hub, as its operator gave it"),
        ("--device-key", "recorder, as its owner gave it"),
    ):
        about = f"public key of the {whose}: hex or base64; may be repeated"
        parser.add_argument(name, action="append", default=[], metavar="KEY", type=_public_key, help=about)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    try:
        report = verify(options.file.read_bytes(), options.hub_key, options.device_key)
    except OSError as e:
        report = Report(problems=[Problem(f"the file cannot be read: {e.strerror}")])
    report.file = str(options.file)
    sys.stdout.write(json.dumps(asdict(report), indent=2) + "\n" if options.json else as_text(report))
    return 0 if report.is_proven else 1


def _public_key(text: str) -> bytes:
    """32 bytes as hex or, as the hub's pages and API show them, base64."""
    try:
        raw = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise argparse.ArgumentTypeError("a public key has 64 hex digits, or 44 characters of base64")
    return raw

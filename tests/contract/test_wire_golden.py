"""Bytes of the wire format that were ever shipped, good and hostile, give for ever the answers that they gave.

`golden/wire/answers.txt` has a line per file: name, SHA-256 of the file, kind, answer. It only ever grows.
"""

import hashlib
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared import batch, envelope, ids, receipt
from shared.codec import Block, decode_block
from shared.codec.pairs import PAIRS
from shared.errors import Refused
from shared.records import from_map, to_map

GOLDEN = Path(__file__).parent / "golden" / "wire"
ROOT = Path(__file__).resolve().parents[2]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
KEY_ID = ids.key_id(KEY.public_bytes_raw())
LINES = 48
"""Lines of answers.txt that the digest below covers; raise both when lines are added."""
DIGEST = "ed9e43a1459831a56082e9f5216d84d4daf89986a89303cf6d5cdca47e0a0002"
FROZEN = {
    "shared/layouts_v1.json": "385f77d699dfc6976013f411b8988a8e24d5ad01b8a98658489fbefe13d25277",
    "shared/codec/dictionary_v1.bin": "280fa8169e7f1c57c66a6ef5f9931fe1c728c7a1c07637142cef6d07c74c3172",
}
PAIRS_DIGEST = "1621773178370fcb483d92d0acfce0fea93411cf10892e195e818cf61bc2a3e8"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def find_key(key_id: bytes) -> Ed25519PublicKey | None:
    return KEY if key_id == KEY_ID else None


def of_block(block: Block) -> str:
    frames = block.frames()
    columns = b"".join(
        b"%d %d %d " % (g.msgid, g.sysid, g.compid) + g.rows.tobytes() + g.payload.tobytes() for g in block.groups
    )
    times = block.time_us.astype("<i8").tobytes()
    return f"{block.n}:{len(block.groups)}:{digest(frames.data + times + frames.offsets.tobytes() + columns)}"


def of_batch(data: bytes) -> str:
    opened = envelope.open_envelope(data, find_key, envelope.BATCH_TYPE)
    found = batch.decode(opened.payload)
    block = of_block(decode_block(found.columns)) if found.columns else "-"
    known = [r for r in map(from_map, found.records) if r is not None]
    records = cbor2.dumps([to_map(r) for r in known])
    return f"{block}:{len(known)}:{digest(batch.encode(found))}:{digest(records)}"


def of_receipt(data: bytes) -> str:
    opened = envelope.open_envelope(data, find_key, envelope.RECEIPT_TYPE)
    return digest(receipt.encode_receipt(receipt.decode_receipt(opened.payload)))


def of_log_receipt(data: bytes) -> str:
    opened = envelope.open_envelope(data, find_key, envelope.LOG_RECEIPT_TYPE)
    return digest(receipt.encode_log_receipt(receipt.decode_log_receipt(opened.payload)))


def of_directive(data: bytes) -> str:
    opened = envelope.open_envelope(data, find_key, envelope.DIRECTIVE_TYPE)
    return digest(receipt.encode_directive(receipt.decode_directive(opened.payload)))


def answer(kind: str, data: bytes) -> str:
    """What our code says of a file: a digest of all that it holds, or why it is refused."""
    readers = {
        "block": lambda d: of_block(decode_block(d)),
        "batch": of_batch,
        "receipt": of_receipt,
        "log_receipt": of_log_receipt,
        "directive": of_directive,
    }
    try:
        return str(readers[kind](data))
    except Refused as e:
        return f"refused:{e.reason}"


def answers() -> list[list[str]]:
    return [line.split() for line in (GOLDEN / "answers.txt").read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "sha256", "kind", "expected"), answers(), ids=lambda v: v if v.endswith(".bin") else ""
)
def test_a_golden_file_gives_the_answer_that_it_always_gave(name: str, sha256: str, kind: str, expected: str) -> None:
    data = (GOLDEN / name).read_bytes()
    assert digest(data) == sha256, "a golden file was changed: add new ones instead"
    assert answer(kind, data) == expected


def test_answers_are_only_ever_added() -> None:
    lines = (GOLDEN / "answers.txt").read_text().splitlines(keepends=True)
    assert digest("".join(lines[:LINES]).encode()) == DIGEST
    assert {line.split()[0] for line in lines} == {p.name for p in GOLDEN.glob("*.bin")}


@pytest.mark.parametrize("path", FROZEN)
def test_the_tables_of_version_1_never_change(path: str) -> None:
    assert digest((ROOT / path).read_bytes()) == FROZEN[path]


def test_the_pairs_of_block_format_1_never_change() -> None:
    assert digest(repr(sorted(PAIRS.items())).encode()) == PAIRS_DIGEST


def test_hostile_files_are_refused_or_sane_and_good_ones_are_read() -> None:
    for name, _, _, expected in answers():
        if not name.startswith("hostile"):
            assert not expected.startswith("refused"), name

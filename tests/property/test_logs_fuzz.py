"""Log receipts, parts and packed bytes from anybody: a value or a refusal, never anything else."""

import contextlib
import uuid
from itertools import pairwise
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.log_packing import pack, unpack
from hub.store.log_arrivals import PartRow
from hub.worker.fingerprint import Fingerprint
from hub.worker.log_bytes import Missing, whole_parts
from shared.errors import Refused
from shared.receipt import LogCommitted, LogReceipt, decode_log_receipt, encode_log_receipt
from shared.records import LogManifest, LogPart, from_map, to_map

VALUES = st.recursive(
    st.none() | st.integers(-(1 << 70), 1 << 70) | st.binary(max_size=40) | st.text(max_size=9) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 3) | st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.binary(max_size=60) | VALUES.map(cbor2.dumps))
@settings(max_examples=200)
def test_any_bytes_are_a_log_receipt_or_refused(payload: bytes) -> None:
    try:
        found = decode_log_receipt(payload)
    except Refused:
        return
    assert decode_log_receipt(encode_log_receipt(found)) == found


@given(
    st.lists(
        st.builds(LogCommitted, st.binary(min_size=32, max_size=32), st.integers(0, 1 << 60), st.integers(0, 1 << 60)),
        max_size=20,
    ),
    st.integers(0, 1 << 60),
)
@settings(max_examples=60)
def test_a_log_receipt_comes_back_as_it_was(logs: list[LogCommitted], issued: int) -> None:
    receipt = LogReceipt(tuple(logs), issued)
    assert decode_log_receipt(encode_log_receipt(receipt)) == receipt


@given(st.dictionaries(st.sampled_from([*LogPart.__slots__, *LogManifest.__slots__]), VALUES),
       st.sampled_from(["log", "log_part"]))  # fmt: skip
@settings(max_examples=150)
def test_any_map_is_a_log_record_or_refused(body: dict[str, Any], kind: str) -> None:
    try:
        found = from_map(body | {"type": kind})
    except Refused:
        return
    assert found is not None and from_map(to_map(found)) == found


@given(st.integers(1, 400), st.lists(st.tuples(st.integers(0, 420), st.integers(1, 90)), max_size=40))
@settings(max_examples=200)
def test_parts_make_the_packed_form_with_each_byte_once_or_it_is_said_what_lacks(
    total: int, spans: list[tuple[int, int]]
) -> None:
    spans += [(at, min(30, total - at)) for at in range(0, total, 30)]
    rows = [PartRow(uuid.UUID(int=1), i, 0, b"", at, size) for i, (at, size) in enumerate(sorted(spans))]
    try:
        chosen = whole_parts(rows, total)
    except Missing:
        return
    assert chosen[0].offset == 0 and sum(p.size_bytes for p in chosen) == total
    assert all(a.offset + a.size_bytes == b.offset for a, b in pairwise(chosen))


def test_whole_parts_are_found_among_copies_of_them() -> None:
    rows = [PartRow(uuid.UUID(int=1), i, k, b"", 30 * i, 30) for i in range(4) for k in range(3)]
    assert [p.offset for p in whole_parts(rows, 120)] == [0, 30, 60, 90]
    with pytest.raises(Missing):
        whole_parts(rows[3:], 120)


@given(st.binary(max_size=3000), st.integers(0, 2999), st.integers(0, 255))
@settings(max_examples=80)
def test_a_packed_log_that_was_changed_gives_other_bytes_or_is_refused(data: bytes, at: int, to: int) -> None:
    packed = bytearray(b"".join(pack([data], "raw")))
    packed[at % len(packed)] = to
    with contextlib.suppress(Refused):
        assert len(b"".join(unpack([bytes(packed)]))) <= 1 << 26


@given(st.binary(max_size=5000), st.integers(1, 999))
@settings(max_examples=60)
def test_a_fingerprint_is_of_the_bytes_however_they_come(data: bytes, size: int) -> None:
    one, other = Fingerprint(), Fingerprint()
    one.feed(data * 30)
    for at in range(0, len(data) * 30, size * 37):
        other.feed((data * 30)[at : at + size * 37])
    assert one.result() == other.result()

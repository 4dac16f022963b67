"""The batch, its clock, the receipt, the directive, topics and ids: round trips and refusals."""

import uuid
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import batch, ids, receipt, topics
from shared.batch import Batch, Counts
from shared.clock import ClockSource, TimeMapping
from shared.errors import Refused
from shared.topics import Lane

STREAM, BOOT, SESSION = (uuid.UUID(int=i) for i in (1, 2, 3))
BATCH = Batch(
    STREAM, 7, BOOT, SESSION, Lane.live, bytes(range(32)), (-5, 10),
    (TimeMapping(ClockSource.gps, 5, 1_700_000_000_000_000, 2000), TimeMapping(ClockSource.unknown, 0, None, -1)),
    Counts(1, 2, 3, 4, 5), b"block", ({"type": "later", "x": [1, b"y", None]},), (1, 1), {13: "later", -1: {2: 3}},
)  # fmt: skip


def changed(key: int, value: Any) -> bytes:
    body = cbor2.loads(batch.encode(BATCH))
    if value is KeyError:
        del body[key]
    else:
        body[key] = value
    return cbor2.dumps(body)


def test_a_batch_survives_with_the_fields_of_later_versions() -> None:
    assert batch.decode(batch.encode(BATCH)) == BATCH


def test_a_batch_without_optional_parts_survives() -> None:
    bare = Batch(STREAM, 1, BOOT, None, Lane.alert, batch.GENESIS, (0, 0), (), Counts())
    assert batch.decode(batch.encode(bare)) == bare


@pytest.mark.parametrize("version", [2, 0, "1", True, None])
def test_another_version_is_refused_as_such(version: Any) -> None:
    with pytest.raises(Refused, match="batch_version"):
        batch.decode(changed(0, version))


WRONG: list[tuple[int, Any]] = [
    (1, b"short"), (2, 0), (2, True), (2, 1.0), (2, 2**63), (3, KeyError), (4, b""), (5, 9), (6, [[0] * 4] * 17),
    (6, [[3, 0, 5, -2]]), (6, [[9, 0, 5, 0]]), (6, [[3, 0]]), (7, bytes(31)), (8, [1, 0]), (8, [1]),
    (9, [0, -1, 0, 0, 0]),
    (10, "text"), (11, {}), (11, [1]), (11, [{}] * 1001), (12, [256, 0]), (12, [1]),
    (11, [{"t": cbor2.CBORTag(35, "a+")}]),
    (13, cbor2.CBORTag(35, "(a+)+$")), (13, 2**70), (11, [{"x": [[[{1, 2}]]]}]),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_wrong_field_is_refused(key: int, value: Any) -> None:
    with pytest.raises(Refused, match="batch_malformed"):
        batch.decode(changed(key, value))


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\x80", b"\xa1\x61a\x01", b"\x81" * 100_000, b"\x9b" + b"\xff" * 8])
def test_what_is_no_map_of_integers_is_refused(payload: bytes) -> None:
    with pytest.raises(Refused, match="batch_"):
        batch.decode(payload)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_a_damaged_batch_is_refused_or_a_batch(data: st.DataObject) -> None:
    payload = bytearray(batch.encode(BATCH))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert batch.decode(bytes(payload)).seq > 0
    except Refused as e:
        assert e.reason in ("batch_malformed", "batch_version")


def test_the_best_clock_is_the_one_with_the_best_source() -> None:
    assert BATCH.best_clock().source is ClockSource.gps
    assert BATCH.best_clock().to_utc(6) == 1_700_000_000_000_001
    assert Batch(STREAM, 1, BOOT, None, Lane.live, bytes(32), (0, 0), (), Counts()).best_clock().to_utc(6) is None


@given(st.dictionaries(st.integers(1, 60), st.binary(min_size=32, max_size=32), max_size=40))
def test_a_receipt_says_which_batches_and_with_which_digests(committed: dict[int, bytes]) -> None:
    made = receipt.make_receipt(STREAM, committed, 99)
    assert receipt.decode_receipt(receipt.encode_receipt(made)) == made
    assert made.committed() == committed


@pytest.mark.parametrize(
    "change",
    [
        {2: [[1, 2]], 3: [bytes(32)]}, {2: [[2, 1]], 3: []}, {2: [[1, 1], [1, 1]], 3: [bytes(32)] * 2}, {3: ["x" * 32]},
        {2: [[1.0, 1.0]]}, {4: "7"}, {0: 2}, {1: "x" * 16}, {2: [[1, 10**18]], 3: []},
        {2: [[1, 5000]], 3: [bytes(32)] * 5000},
    ],
)  # fmt: skip
def test_a_receipt_that_contradicts_itself_is_refused(change: dict[int, Any]) -> None:
    body = {0: 1, 1: bytes(16), 2: [[1, 1]], 3: [bytes(32)], 4: 7}
    assert receipt.decode_receipt(cbor2.dumps(body)).committed() == {1: bytes(32)}
    with pytest.raises(Refused, match="receipt_malformed"):
        receipt.decode_receipt(cbor2.dumps(body | change))


def test_a_directive_survives_and_a_wrong_one_is_refused() -> None:
    made = receipt.Directive(STREAM, 3, "capture", {"from_us": 1}, 99)
    assert receipt.decode_directive(receipt.encode_directive(made)) == made
    for key, value in ((1, "x" * 16), (2, "3"), (3, 3), (4, []), (5, 1.0), (0, 2)):
        body = cbor2.loads(receipt.encode_directive(made))
        body[key] = value
        with pytest.raises(Refused, match="directive_malformed"):
            receipt.decode_directive(cbor2.dumps(body))


def test_topics_parse_back_in_both_spellings() -> None:
    topic = topics.up(STREAM, BOOT, Lane.backlog)
    assert topics.parse_up(topic) == topics.parse_up(topic.replace("/", ".")) == (STREAM, BOOT, Lane.backlog)


@pytest.mark.parametrize(
    "topic", ["", "dbx/v1/a/b/up/live", f"dbx/v2/{STREAM}/{BOOT}/up/live", f"dbx/v1/{STREAM}/{BOOT}/up/x",
              f"dbx/v1/{STREAM}/{BOOT}/down/receipt", f"dbx/v1/{{{STREAM}}}/{BOOT}/up/live",
              f"dbx/v1/{STREAM.hex}/{BOOT}/up/live"],
)  # fmt: skip
def test_other_topics_are_refused(topic: str) -> None:
    with pytest.raises(ValueError):
        topics.parse_up(topic)


def test_new_ids_are_version_7_and_sort_by_time() -> None:
    early, late = ids.new_id(1_000), ids.new_id(1_001)
    assert early.version == 7 and early.variant == uuid.RFC_4122 and early < late
    assert early.int >> 80 == 1_000 and ids.new_id() != ids.new_id()

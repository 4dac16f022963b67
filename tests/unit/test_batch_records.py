"""Records: round trips, unknown ones kept, wrong ones refused."""

import uuid
from typing import Any

import cbor2
import pytest

from shared.errors import Refused
from shared.records import DirectiveReport, Finding, Gap, Record, SessionClose, SessionOpen, from_map, to_map

ID = uuid.UUID(int=5)
RECORDS: list[Record] = [
    SessionOpen(ID, ID, 1, 2, 3, 1, 1, 3, 2, "4.6.3"),
    SessionClose(ID, "disarmed", 1, 9, 9, 100, 4000, {30: 50, 33: 50}, {"1/1": 2}, 0, 9, 1, None, bytes(32)),
    Gap("evicted", ID, 3, 4, [bytes(32)] * 2, None, None, 10, 1, 2, "quota"),
    Gap("journal_torn", ID),
    Finding(ID, None, "vibration", "warning", 1.5, 1.0, 1, 2, "edge-1", 1, [{"feature": "x", "value": 1.0}]),
    DirectiveReport(3, "capture", "enacted", 5),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.type)
def test_a_record_survives_the_wire(record: Record) -> None:
    assert from_map(cbor2.loads(cbor2.dumps(to_map(record)))) == record


def test_a_record_of_an_unknown_type_is_nobodys_fault() -> None:
    assert from_map({"type": "from_the_future", "x": 1}) is None


def test_fields_of_later_versions_are_passed_over() -> None:
    assert from_map(to_map(RECORDS[5]) | {"later": [1]}) == RECORDS[5]


@pytest.mark.parametrize(
    "change",
    [{"reason": 5}, {"stream": b"short"}, {"first_seq": 1.0}, {"first_seq": True}, {"first_seq": 2**63},
     {"digests": "x"},
     {"digests": [1]}, {"digests": [b""] * 5000}, {"detail": "x" * 4001}, {"stream": None}, {"type": []},
     {"type": None}],
)  # fmt: skip
def test_a_wrong_field_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="record_malformed"):
        from_map(to_map(RECORDS[2]) | change)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), "1", None])
def test_a_score_that_is_no_number_is_refused(score: Any) -> None:
    with pytest.raises(Refused, match="record_malformed"):
        from_map(to_map(RECORDS[4]) | {"score": score})


def test_a_missing_field_is_refused() -> None:
    with pytest.raises(Refused, match="record_malformed"):
        from_map({"type": "gap", "stream": bytes(16)})

"""The scan of a ULog: the same messages as a plain walk finds, and a new beginning behind damage."""

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.ulog_scan import FILE_HEADER, scan
from tests.fix_ulog import ulog_log

LOG = ulog_log(seconds=3)


def walked(data: bytes) -> list[int]:
    out, pos = [], FILE_HEADER
    while pos + 3 <= len(data):
        out.append(pos)
        pos += 3 + int.from_bytes(data[pos : pos + 2], "little")
    return out


def test_every_message_is_found_with_its_type_size_and_id() -> None:
    found = scan(LOG, FILE_HEADER)
    assert found.at.tolist() == walked(LOG)
    assert found.end == len(LOG)
    assert bytes(found.kind.astype("u1")[:2]) == b"BI"
    is_data = found.kind == ord("D")
    assert (found.msg_id[~is_data] == -1).all() and (found.msg_id[is_data] >= 0).all()
    assert (found.at[:-1] + 3 + found.size[:-1] == found.at[1:]).all()


def test_a_message_that_goes_on_behind_the_piece_is_left_for_the_next() -> None:
    found = scan(LOG[:-1], FILE_HEADER)
    assert found.at.tolist() == walked(LOG)[:-1]
    assert found.end == walked(LOG)[-1]


def test_behind_damage_the_chain_is_taken_up_again() -> None:
    at = walked(LOG)
    hurt = at[len(at) // 2]
    found = scan(LOG[: hurt + 2] + b"\0" + LOG[hurt + 3 :], FILE_HEADER)
    lost = set(at) - set(found.at.tolist())
    assert hurt in lost and len(lost) < 12
    assert set(found.at.tolist()) <= set(at)


@settings(max_examples=150)
@given(st.binary(max_size=400), st.integers(0, 3000), st.integers(0, 20))
def test_any_bytes_are_scanned_without_overlap(junk: bytes, at: int, start: int) -> None:
    data = LOG[:at] + junk + LOG[at:]
    for piece in (data, junk):
        found = scan(piece, start)
        assert (found.at[:-1] + 3 + found.size[:-1] <= found.at[1:]).all()
        assert len(found.at) == 0 or start <= found.at[0]
        assert found.end <= max(len(piece), start)

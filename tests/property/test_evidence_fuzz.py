"""`dbx verify` on arbitrary and on mutilated files: it never raises and never calls them proven."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.verify import verify
from tests.fix_evidence import SignedFlight

FILE = SignedFlight(batches=2, frames=2).evidence()


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_never_proven(data: bytes) -> None:
    assert not verify(data).is_proven


@settings(max_examples=150)
@given(st.integers(0, len(FILE) - 1), st.integers(0, 64), st.binary(max_size=64))
def test_any_spliced_file_is_never_proven(at: int, removed: int, inserted: bytes) -> None:
    changed = FILE[:at] + inserted + FILE[at + removed :]
    assert changed == FILE or not verify(changed).is_proven


@settings(max_examples=100)
@given(st.data())
def test_items_in_another_order_are_never_proven(data: st.DataObject) -> None:
    a, b = sorted(data.draw(st.tuples(st.integers(0, len(FILE)), st.integers(0, len(FILE)))))
    changed = FILE[a:b] + FILE[:a] + FILE[b:]
    assert changed == FILE or not verify(changed).is_proven

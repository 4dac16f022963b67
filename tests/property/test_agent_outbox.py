"""The outbox under receipts in any order, doubled, lost, lying or of strangers."""

import tempfile
import uuid
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.receipt import make_receipt
from tests.fix_agent import check_chain
from tests.fix_recorder import Bench

BATCHES = 6
receipts = st.lists(
    st.tuples(
        st.lists(st.integers(1, BATCHES + 2), min_size=1, unique=True), st.sampled_from(["true", "lying", "strange"])
    ),
    max_size=8,
)  # fmt: skip


@given(receipts, st.booleans())
@settings(max_examples=40)
def test_exactly_the_truly_receipted_batches_are_deleted(
    sent: list[tuple[list[int], str]], is_restarted: bool
) -> None:  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "store.db")
        try:
            bench.recorder.is_live = True
            bench.fly(2.2 * BATCHES, rate_hz=10)
            held = bench.batches()
            digests = {seq: digest for (_, seq), (_, digest) in held.items()}
            true: set[int] = set()
            for sequences, kind in sent:
                known = {s: digests.get(s, bytes(32)) for s in sequences}
                if kind == "lying":
                    known = {s: bytes([s] * 32) for s in sequences}
                bench.recorder.receipts.append(
                    make_receipt(uuid.uuid4() if kind == "strange" else bench.stream, known, 1)
                )
                true |= set(sequences) & digests.keys() if kind == "true" else set()
            bench.recorder.apply_receipts(bench.now)
            if is_restarted:
                bench.recorder.store.close()
                bench.start()
            assert {seq for _, seq in bench.batches()} & digests.keys() == digests.keys() - true
            bench.fly(5, rate_hz=10)
            bench.recorder.seal_now(bench.now)
            check_chain(held | bench.batches())
        finally:
            bench.recorder.store.close()

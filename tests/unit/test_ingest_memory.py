"""What signed but hostile blocks may cost an ingest process."""

import tracemalloc
import uuid
from dataclasses import replace

import numpy as np
import pytest

from hub.ingest.admit import MAX_BLOCK_BYTES, MAX_FRAMES
from hub.ingest.derive import _decode, portions
from shared import batch as batches
from shared.batch import Batch, Counts
from shared.clock import UNKNOWN
from shared.codec import encode_block
from shared.errors import Refused
from shared.frames import Frames
from shared.topics import Lane
from tests.fix_frames import UNKNOWN_ID, mavlink_frame

FRAMES = 2000


def batch_of(frames: Frames) -> Batch:
    return Batch(
        uuid.uuid4(), 1, uuid.uuid4(), None, Lane.live, batches.GENESIS, (0, 1_000_000), (UNKNOWN,),
        Counts(len(frames), len(frames.data)), encode_block(frames), (), None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dense() -> Batch:
    """Small when packed, half a million numbers when unpacked."""
    numbers = np.random.default_rng(1).integers(1, 3, (FRAMES, 255), dtype=np.uint8)
    data = [mavlink_frame(UNKNOWN_ID, row.tobytes(), seq=i & 255) for i, row in enumerate(numbers)]
    offsets = np.cumsum([0, *map(len, data)])
    return batch_of(Frames(b"".join(data), offsets, np.arange(FRAMES) * 100))


def test_many_dense_blocks_at_once_cost_no_more_memory_than_few(dense: Batch) -> None:
    tracemalloc.start()
    try:
        blocks = _decode([dense] * 12)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(b.n for b in blocks) == 12 * FRAMES
    assert peak < 150 << 20


def test_a_block_may_not_hold_more_frames_than_its_batch_says(dense: Batch) -> None:
    with pytest.raises(Refused, match="block_too_large"):
        _decode([replace(dense, counts=Counts(10, 10))])


def test_the_largest_batch_that_an_agent_seals_fits() -> None:
    from agent.sealing import MAX_BATCH_BYTES

    shortest, longest = 8, 255
    assert MAX_BATCH_BYTES // shortest <= MAX_FRAMES
    assert MAX_BATCH_BYTES // shortest * longest <= MAX_BLOCK_BYTES


def test_portions_keep_order_and_bound_unless_one_item_is_more() -> None:
    parts = list(portions([3, 3, 9, 1, 1, 1], lambda x: (x,), (6,)))
    assert parts == [[3, 3], [9], [1, 1, 1]]

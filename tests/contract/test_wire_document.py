"""docs/wire.md is complete: a decoder written from it alone agrees with ours, and it names every limit, reason and
field."""

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings

from shared import batch, envelope, receipt, records
from shared.codec import container, decode_block, encode_block
from shared.frames import Frames
from tests import fix_plain_decoder
from tests.fix_mavlink_frames import arbitrary_frames, series_frames

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "wire.md").read_text()
GOLDEN = Path(__file__).parent / "golden" / "wire"


def agree(block: bytes) -> None:
    ours = decode_block(block).frames()
    frames, times = fix_plain_decoder.decode(block)
    assert times == ours.time_us.tolist()
    assert frames == [ours[i] for i in range(len(ours))]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("block_*.bin")), ids=lambda p: p.stem)
def test_a_decoder_written_from_the_page_reads_the_golden_blocks(path: Path) -> None:
    agree(path.read_bytes())


@given(arbitrary_frames())
@settings(max_examples=60, deadline=None)
def test_it_reads_blocks_of_arbitrary_frames(frames: Frames) -> None:
    agree(encode_block(frames))


@given(series_frames())
@settings(max_examples=60, deadline=None)
def test_it_reads_blocks_of_series(frames: Frames) -> None:
    agree(encode_block(frames))


@pytest.mark.parametrize(
    "kind",
    [
        records.SessionOpen,
        records.SessionClose,
        records.Gap,
        records.Finding,
        records.DirectiveReport,
        records.ModelReport,
    ],
)
def test_the_page_names_every_record_and_field(kind: type) -> None:
    line = next(line for line in TEXT.splitlines() if line.startswith(f"| `{kind.type}`"))  # type: ignore[attr-defined]
    assert [f.name for f in fields(kind) if f.name not in line] == []


def test_the_page_states_the_limits_of_the_code() -> None:
    limits = (container.MAX_FRAMES, container.MAX_VALUES, batch.MAX_RECORDS, receipt.MAX_DIGESTS)
    assert [n for n in limits if f"{n:,}" not in TEXT] == []
    assert (envelope.MAX_ENVELOPE_BYTES, container.MAX_BYTES) == (1 << 20, 16 << 20)

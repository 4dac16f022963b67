"""A flight or stream as files made from its envelopes: `.tlog` (exact frames) and `.dbxe` (evidence)."""

from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

from firmware_bridge.tlog import write_tlog
from hub.store.committed import EnvelopeRow
from shared import batch as batches
from shared.codec import decode_blocks
from shared.envelope import peek
from shared.frames import Frames
from shared.records import SessionClose, from_map

FetchPage = Callable[[int, int], list[EnvelopeRow]]
"""(first_seq, last_seq) -> the next batches of that range, in order; empty at the end."""
TLOG_TYPE = "application/vnd.mavlink.tlog"
EVIDENCE_MEDIA_TYPE = "application/vnd.dbx.evidence.v1+cbor-seq"


def pages(fetch: FetchPage, first_seq: int, last_seq: int) -> Iterator[list[EnvelopeRow]]:
    """All batches of [first_seq, last_seq], page by page."""
    while first_seq <= last_seq and (rows := fetch(first_seq, last_seq)):
        yield rows
        first_seq = rows[-1].seq + 1


def frame_parts(
    fetch: FetchPage, first_seq: int, last_seq: int, clocks: dict[UUID, int], offset_us: int | None = None
) -> Iterator[tuple[Frames, int]]:
    """The frames of the range and what to add to their times for UTC: `offset_us` if given, else by the best clock of
    each boot (frames of a boot whose clock was never known count from 1970)."""
    for rows in pages(fetch, first_seq, last_seq):
        opened = [(row, batches.decode(peek(row.envelope)[1])) for row in rows]
        opened = [(row, batch) for row, batch in opened if batch.columns]
        for (row, _), block in zip(opened, decode_blocks([b.columns for _, b in opened]), strict=True):
            offset = clocks.get(row.boot_id, 0) if offset_us is None else offset_us
            yield block.frames(), offset


def tlog_parts(
    parts: Iterable[tuple[Frames, int]], change: Callable[[Frames], Frames] | None = None
) -> Iterator[bytes]:
    """A `.tlog` of these frames, each part changed on the way if told how."""
    for frames, offset in parts:
        yield write_tlog(change(frames) if change else frames, offset)


def find_close(fetch: FetchPage, flight: UUID, after_seq: int, newest_seq: int) -> EnvelopeRow | None:
    """The batch with the closing record of `flight`: it comes soon after the last batch that the record covers."""
    for rows in pages(fetch, after_seq, newest_seq):
        for row in rows:
            records = map(from_map, batches.decode(peek(row.envelope)[1]).records)
            if any(isinstance(r, SessionClose) and r.session == flight for r in records):
                return row
    return None

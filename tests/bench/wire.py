"""dbx bench wire: how small and how fast the wire format is, on recorded flights.

Each log is cut in spans; each span becomes a block, a batch and a signed envelope, and is decoded again and compared.
Ratios: bytes of all envelopes over bytes of all MAVLink frames in them, and zstd -9 of each span's raw frames over
the same. Speeds, one thread: Frames to block, and block to columns (`decode_frames_s`: as the hub does, several blocks
in a call, here 8; `decode_single_frames_s`: one block in a call; `rebuild_frames_s`: columns to the frames' bytes).
The whole is run several times: per span the median CPU time counts, so that other load does least harm.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_bridge.tlog import open_log, read_tlog
from shared import batch, envelope, ids
from shared.clock import ClockSource, TimeMapping
from shared.codec import container, decode_block, decode_blocks, encode_block
from shared.errors import Refused, plainly
from shared.frames import Frames
from shared.topics import Lane

TOGETHER = 8
PARTS = {
    "field values": ("heads", "tokens", "head_bits", "value_bits", "low_bits"),
    "column modes": ("modes", "splits", "tops", "clocks"),
    "constants and text": ("constants", "text"),
    "message order": ("order", "table"),
    "sequence numbers": ("sequence",),
    "other": ("heads_of_frames", "lengths", "raw_lengths", "rest"),
}


def spans(frames: Frames, span_us: int) -> list[Frames]:
    """Cut where the receive time enters the next span; time that runs backwards stays in its span."""
    if not len(frames):
        return []
    newest = np.maximum.accumulate(frames.time_us)
    cuts = np.flatnonzero(np.diff((newest - newest[0]) // span_us)) + 1
    edges = [0, *cuts.tolist(), len(frames)]
    return [frames.slice(a, b) for a, b in itertools.pairwise(edges)]


def sealed(blocks: list[bytes], parts: list[Frames]) -> list[bytes]:
    """The blocks as signed, chained envelopes with all that a live batch carries."""
    key, stream, boot, session = Ed25519PrivateKey.generate(), ids.new_id(), ids.new_id(), ids.new_id()
    key_id, prev, made = ids.key_id(key.public_key().public_bytes_raw()), batch.GENESIS, []
    for seq, (block, frames) in enumerate(zip(blocks, parts, strict=True), 1):
        first, last = int(frames.time_us.min()), int(frames.time_us.max())
        clock = (TimeMapping(ClockSource.gps, first, first + 1_700_000_000_000_000, 2000),)
        counts = batch.Counts(len(frames), len(frames.data))
        content = _batch(stream, seq, boot, session, prev, (first - 1, last), clock, counts, block)
        made.append(envelope.seal(batch.encode(content), key, key_id, envelope.BATCH_TYPE))
        prev = envelope.digest(made[-1])
    return made


def _batch(
    stream: uuid.UUID, seq: int, boot: uuid.UUID, session: uuid.UUID, prev: bytes, covers: tuple[int, int],
    clock: tuple[TimeMapping, ...], counts: batch.Counts, block: bytes,
) -> batch.Batch:  # fmt: skip
    return batch.Batch(stream, seq, boot, session, Lane.live, prev, covers, clock, counts, block, vehicle=(1, 1))


def timed(runs: int, work: list[Callable[[], Any]]) -> tuple[float, list[Any]]:
    """(seconds, results): the sum over `work` of each piece's median time in `runs` runs."""
    times: list[list[float]] = [[] for _ in work]
    results: list[Any] = [None] * len(work)
    for _ in range(runs):
        for i, piece in enumerate(work):
            start = time.process_time()
            results[i] = piece()
            times[i].append(time.process_time() - start)
    return sum(statistics.median(t) for t in times), results


def by_part(blocks: list[bytes], envelopes: list[bytes], frames: int) -> Counter[str]:
    """Bytes by what they are for. Sections that are compressed together share the result by their own compressed
    sizes."""
    total: Counter[str] = Counter({"envelope and batch": sum(map(len, envelopes)) - sum(map(len, blocks))})
    for block in blocks:
        parts = container.read(block, frames, 1 << 30)
        alone = {n: len(container.compress(getattr(parts, n))) for n in container.COMPRESSED if getattr(parts, n)}
        bits = {n: len(getattr(parts, n)) for n in container.BITS}
        share = (len(block) - sum(bits.values())) / max(1, sum(alone.values()))
        for label, names in PARTS.items():
            total[label] += round(sum(alone.get(n, 0) * share + bits.get(n, 0) for n in names))
    return total


def measure(parts: list[Frames], runs: int) -> dict[str, Any]:
    """Figures for spans of frames."""
    n, raw = sum(map(len, parts)), sum(len(p.data) for p in parts)
    encode_s, blocks = timed(runs, [lambda p=p: encode_block(p) for p in parts])
    decode_s, decoded = timed(runs, [lambda b=b: decode_block(b) for b in blocks])
    several = [blocks[i : i + TOGETHER] for i in range(0, len(blocks), TOGETHER)]
    many_s, _ = timed(runs, [lambda g=g: decode_blocks(g) for g in several])
    rebuild_s, rebuilt = timed(runs, [d.frames for d in decoded])
    if not all(a.equals(b) for a, b in zip(rebuilt, parts, strict=True)):
        raise AssertionError("a span did not survive")
    envelopes = sealed(blocks, parts)
    zstd = zstandard.ZstdCompressor(level=9)
    return {
        "ratio": round(sum(map(len, envelopes)) / raw, 4),
        "zstd_ratio": round(sum(len(zstd.compress(p.data)) for p in parts) / raw, 4),
        "encode_frames_s": round(n / encode_s),
        "decode_frames_s": round(n / many_s),
        "decode_single_frames_s": round(n / decode_s),
        "rebuild_frames_s": round(n / rebuild_s),
        "bytes_by_part": dict(by_part(blocks, envelopes, n).most_common()),
        "frames": n,
        "raw_bytes": raw,
        "batches": len(parts),
    }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dbx bench wire", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--log", type=Path, nargs="+", required=True, help=".tlog, also .zst or .gz")
    parser.add_argument("--span", type=float, default=10.0, help="seconds per batch (default 10)")
    parser.add_argument("--runs", type=int, default=5, help="how often each piece is timed (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    span_us = round(args.span * 1e6)
    try:
        parts = [p for log in args.log for p in spans(read_tlog(open_log(log)).frames, span_us)]
    except (OSError, Refused) as error:
        sys.stderr.write(f"dbx bench wire: {plainly(error)}\n")
        return 1
    if not parts:
        sys.stderr.write("dbx bench wire: no MAVLink frames in these logs\n")
        return 1
    figures = measure(parts, max(1, args.runs))
    if args.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return 0
    for name, value in figures.items():
        sys.stdout.write(f"{name:22} {value}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Prints the bridge's figures on telemetry logs: `python tests/bench/bridge.py LOG...` (20 or more for the grid's)."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from firmware_bridge.framing import Scanner
from firmware_bridge.grid import GridInput, to_grid
from firmware_bridge.tlog import open_log, read_tlog, write_tlog
from shared.codec import decode_blocks, encode_block
from shared.frames import Frames

PIECE = 400


def cpu_s(work: Callable[[], Any], repeats: int = 7) -> float:
    """Median CPU seconds of some runs."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return float(np.median(spent))


def in_pieces(data: bytes) -> None:
    scanner = Scanner()
    for at in range(0, len(data), PIECE):
        scanner.feed(data[at : at + PIECE], at)


def batches(flights: list[Frames], span_us: int) -> list[GridInput]:
    """One batch of each flight, a minute after its start, as the hub gets it."""
    parts = []
    for frames in flights:
        start = int(frames.time_us[0]) + 60_000_000
        a, b = np.searchsorted(frames.time_us, [start, start + span_us], side="right").tolist()
        parts.append((frames.slice(a, b), (start, start + span_us)))
    blocks = decode_blocks([encode_block(frames) for frames, _ in parts])
    return [GridInput(block, (1, 1), covers, 0, 3) for block, (_, covers) in zip(blocks, parts, strict=True)]


def main(paths: list[str]) -> None:
    """Frames per second; milliseconds per batch, alone and together."""
    logs = [open_log(p) for p in paths]
    flights = [read_tlog(data).frames for data in logs]
    first = flights[0]
    figures = {
        "frames_s": len(first) / cpu_s(lambda: Scanner().feed(first.data, 0)),
        "frames_s_in_pieces": len(first) / cpu_s(lambda: in_pieces(first.data)),
        "read_tlog_frames_s": len(first) / cpu_s(lambda: read_tlog(logs[0])),
        "write_tlog_frames_s": len(first) / cpu_s(lambda: write_tlog(first)),
    }
    for name, span_us in (("live", 2_000_000), ("backlog", 30_000_000)):
        inputs = batches(flights, span_us)
        figures[f"grid_{name}_ms"] = 1e3 * cpu_s(lambda i=inputs: to_grid(i)) / len(inputs)  # type: ignore[misc]
        figures[f"grid_{name}_alone_ms"] = 1e3 * cpu_s(lambda i=inputs: to_grid(i[:1]))  # type: ignore[misc]
    print(json.dumps({k: round(v, 3) for k, v in figures.items()}))


if __name__ == "__main__":
    main(sys.argv[1:])

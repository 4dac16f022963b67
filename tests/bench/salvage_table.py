"""What damaged copies of recorded logs still yield: messages, flights, damage told, CPU time; one row per copy.

`python tests/bench/salvage_table.py [LOG...]`; without logs, all in `../shared/data/real`. Damage is made in memory,
from one seed: the same every time. "kept" is the share of the sound log's messages; a log that stands twice in one
file has 200 %.
"""

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import Survey, survey
from shared.errors import Refused
from tests.fix_field_tools import real_logs

FLIPS_PER_MB = 100
HOLE_BYTES = 50_000


def _flipped(data: bytes) -> bytes:
    out, chance = bytearray(data), random.Random(1)
    for _ in range(max(1, len(data) * FLIPS_PER_MB // 1_000_000)):
        out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
    return bytes(out)


def _hole(data: bytes) -> bytes:
    start, size = len(data) // 3, min(HOLE_BYTES, len(data) // 3)
    return data[:start] + bytes(size) + data[start + size :]


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "sound": lambda d: d,
    "cut at 60 %": lambda d: d[: len(d) * 3 // 5 + 7],
    "without its first 777 bytes": lambda d: d[777:],
    f"{FLIPS_PER_MB} bits flipped per MB": _flipped,
    "50 kB of zeros": _hole,
    "a sixth taken out": lambda d: d[: len(d) // 3] + d[len(d) // 2 :],
    "20 kB of noise put in": lambda d: d[: len(d) // 3] + random.Random(2).randbytes(20_000) + d[len(d) // 3 :],
    "twice in one file": lambda d: d + d,
}


def row(name: str, data: bytes, sound_count: int) -> tuple[str, int]:
    """A row of the table, and the number of messages."""
    began_s = time.process_time()
    try:
        found = survey(LogSource(data, name))
    except Refused as e:
        return f"refused: {e.reason} |  |  |  |  | ", 0
    used_ms = 1000 * (time.process_time() - began_s)
    count = sum(found.messages.values())
    kept = 100 * count / (sound_count or count or 1)
    lost = sum(d.size for d in found.damage)
    told = f"{count} | {kept:.1f} % | {_flights(found)} | {found.seconds:.0f} s | {lost} in {len(found.damage)}"
    return f"{told}: {', '.join(sorted({d.reason for d in found.damage}))} | {used_ms:.0f} ms", count


def _flights(found: Survey) -> str:
    return f"{len(found.sessions)} in {len(found.boots)} boot{'' if len(found.boots) == 1 else 's'}"


def main(paths: list[Path]) -> None:
    """Print the table as Markdown."""
    print("| log | copy | messages | kept | flights | length | bytes lost, places: reasons | CPU |")
    print("|---|---|---|---|---|---|---|---|")
    for path in paths:
        data, sound = path.read_bytes(), 0
        for way, damaged in WAYS.items():
            told, count = row(path.name, damaged(data), sound)
            sound = sound or count
            print(f"| {path.name} | {way} | {told} |", flush=True)


if __name__ == "__main__":
    main([Path(p) for p in sys.argv[1:]] or real_logs())

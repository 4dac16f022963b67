"""Nothing that a link can carry stops the engine on board."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.findings import FindingEngine
from firmware_bridge.sources import SOURCES
from shared.frames import Frames
from shared.layouts import LAYOUTS
from shared.scoring import Bundle
from tests.fix_fleet import crc, frame

MESSAGES = sorted({s.msgid for s in SOURCES} | {0, 22, 148, 242, 245, 253})


def random_frame(msgid: int, random: np.random.Generator) -> bytes:
    """A sound frame of the autopilot with any payload."""
    payload = random.bytes(int(random.integers(1, LAYOUTS[msgid].size + 1)))
    body = bytes([len(payload), 0, 0, 0, 1, 1]) + msgid.to_bytes(3, "little") + payload
    return b"\xfd" + body + crc(msgid, body)


def frames_of(raw: list[bytes], time_us: list[int]) -> Frames:
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in raw])]).astype(np.int64)
    return Frames(b"".join(raw), offsets, np.array(time_us, np.int64))


@settings(max_examples=60)
@given(
    st.integers(0, 1 << 32),
    st.lists(st.tuples(st.integers(-20_000_000, 20_000_000), st.integers(0, 30), st.booleans()), max_size=20),
)
def test_any_payload_at_any_time_is_survived(
    edge_bundle: Bundle, seed: int, calls: list[tuple[int, int, bool]]
) -> None:
    random = np.random.default_rng(seed)
    engine = FindingEngine(edge_bundle)
    beat = frame(0, 0, type=2, autopilot=3, base_mode=128, system_status=4)
    at_us = 0
    for step_us, count, armed in calls:
        raw = [beat] + [random_frame(int(m), random) for m in random.choice(MESSAGES, count)]
        times = [at_us + int(random.integers(-1000, abs(step_us) + 1)) for _ in raw]
        for finding in engine.update(frames_of(raw, times), (1, 1), armed, None):
            assert 0 < finding.score < 1
        at_us += step_us

"""Nothing that a link can carry stops the engine on board; and how the frames are cut into calls changes nothing."""

import dataclasses
import itertools
import math
import uuid

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.findings import FindingEngine
from agent.judge import KIND_VECTORS
from firmware_bridge.sensed import SENSED_SOURCES
from firmware_bridge.sources import SOURCES
from shared.frames import Frames
from shared.layouts import LAYOUTS
from shared.records import Finding
from shared.scoring import Bundle
from tests.fix_fleet import crc, frame

MESSAGES = sorted({s.msgid for s in SOURCES} | set(SENSED_SOURCES) | {0, 22, 148, 242, 245, 253})
AUTOPILOT = (1, 1)


def random_frame(msgid: int, random: np.random.Generator) -> bytes:
    """A sound frame of the autopilot with any payload."""
    payload = random.bytes(int(random.integers(1, LAYOUTS[msgid].size + 1)))
    body = bytes([len(payload), 0, 0, 0, 1, 1]) + msgid.to_bytes(3, "little") + payload
    return b"\xfd" + body + crc(msgid, body)


def frames_of(raw: list[bytes], time_us: list[int]) -> Frames:
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in raw])]).astype(np.int64)
    return Frames(b"".join(raw), offsets, np.array(time_us, np.int64))


def pairs(found: list[Finding]) -> bool:
    """Whether each finding comes at most twice, at once after its begin, and never shrinks."""
    names = [f.finding for f in found]
    again = [(a, b) for a, b in itertools.pairwise(found) if a.finding == b.finding]
    return (
        len(set(names)) >= len(names) / 2
        and len(again) == len(names) - len(set(names))
        and all(b.end_us >= a.end_us and b.score >= a.score and b.start_us == a.start_us for a, b in again)
    )


@settings(max_examples=60)
@given(
    st.integers(0, 1 << 32),
    st.lists(
        st.tuples(
            st.one_of(st.integers(-20_000_000, 20_000_000), st.sampled_from([-(10**16), 10**16])),
            st.integers(0, 30), st.booleans(), st.sampled_from([None, uuid.UUID(int=1), uuid.UUID(int=2)]),
        ),
        max_size=20,
    ),
)  # fmt: skip
def test_any_payload_at_any_time_is_survived(
    edge_bundle: Bundle, seed: int, calls: list[tuple[int, int, bool, uuid.UUID | None]]
) -> None:
    random = np.random.default_rng(seed)
    engine = FindingEngine(edge_bundle, other=edge_bundle)
    beat = frame(0, 0, type=2, autopilot=3, base_mode=128, system_status=4)
    at_us, found = 0, []
    for step_us, count, armed, session in calls:
        raw = [beat] + [random_frame(int(m), random) for m in random.choice(MESSAGES, count)]
        times = [at_us + int(random.integers(-1000, min(abs(step_us), 10**8) + 1)) for _ in raw]
        found += engine.update(frames_of(raw, times), AUTOPILOT, armed, session)
        at_us += step_us
    found += engine.finish()
    assert all(f.threshold < f.score < math.inf and f.start_us <= f.end_us for f in found)
    assert pairs(found)


@settings(max_examples=25)
@given(st.lists(st.integers(1, 26_000), max_size=30))
def test_however_the_frames_are_cut_the_findings_are_the_same(
    edge_bundle: Bundle, motor_failure: Frames, cuts_ms: list[int]
) -> None:
    def shown(cuts: list[int]) -> list[Finding]:
        times = motor_failure.time_us
        begin = int(np.searchsorted(times, times[0] + 1_000_000))  # the vehicle says what it is in the first second
        edges = {begin, len(times), *(int(np.searchsorted(times, times[0] + 1_000_000 + c * 1000)) for c in cuts)}
        engine, found, last = FindingEngine(edge_bundle), [], 0
        for edge in sorted(edges):
            found += engine.update(motor_failure.slice(last, edge), AUTOPILOT, True, None)
            last = edge
        return [dataclasses.replace(f, finding=uuid.UUID(int=0)) for f in found + engine.finish()]

    assert shown(cuts_ms) == shown([])


def test_what_is_remembered_of_a_long_episode_is_bounded(edge_bundle: Bundle) -> None:
    from agent.judge import Judge

    nominal = edge_bundle.nominal("copter")
    assert nominal is not None
    judge = Judge(edge_bundle)
    for at_s in range(2000):
        judge.judge("copter", at_s * 1_000_000, nominal.medians + 3 * nominal.high, None)
    assert judge.is_open
    assert len(judge._hits) <= KIND_VECTORS

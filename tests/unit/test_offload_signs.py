"""What an offload hears on the link: signs of arming, heartbeats, and which frames are answers to it."""

from typing import Any

import pytest

from agent.offload_signs import listen, without_answers
from firmware_bridge.framing import Scanner
from firmware_bridge.mavftp import FILE_TRANSFER_PROTOCOL
from shared.frames import Frames
from tests.fix_log_server import ENTRY, LOG_DATA
from tests.fix_scripted_autopilot import frame_of

VEHICLE, OTHER, STATION = (1, 1), (7, 1), (255, 190)
BEAT = {"type": 2, "autopilot": 3, "mavlink_version": 3}
ARM = {"command": 400, "param1": 1}
SIGNS: list[tuple[str, int, dict[str, Any], tuple[int, int]]] = [
    ("an armed heartbeat", 0, BEAT | {"base_mode": 209}, VEHICLE),
    ("a command to arm", 76, ARM | {"target_system": 1, "target_component": 1}, STATION),
    ("one to everybody", 76, ARM, STATION),
    ("one as COMMAND_INT", 75, ARM | {"target_system": 1}, STATION),
    ("its acceptance", 77, {"command": 400, "result": 0}, VEHICLE),
    ("its denial", 77, {"command": 400, "result": 2}, VEHICLE),
    ("a refusal", 253, {"severity": 2, "text": b"Arm: Downloading logs"}, VEHICLE),
]
NO_SIGNS: list[tuple[str, int, dict[str, Any], tuple[int, int]]] = [
    ("a disarmed heartbeat", 0, BEAT | {"base_mode": 81}, VEHICLE),
    ("another vehicle's armed one", 0, BEAT | {"base_mode": 209}, OTHER),
    ("a command to disarm", 76, ARM | {"target_system": 1, "param1": 0}, STATION),
    ("a command to arm another", 76, ARM | {"target_system": 7}, STATION),
    ("another command's answer", 77, {"command": 511}, VEHICLE),
    ("another vehicle's answer", 77, {"command": 400}, OTHER),
    ("a check at rest", 253, {"severity": 2, "text": b"PreArm: Downloading logs"}, VEHICLE),
    ("another vehicle's refusal", 253, {"severity": 2, "text": b"Arm: Throttle too high"}, OTHER),
]


def frames(*said: tuple[int, dict[str, Any], tuple[int, int]]) -> Frames:
    return Scanner().feed(b"".join(frame_of(m, v, i, *who) for i, (m, v, who) in enumerate(said)), 5)


@pytest.mark.parametrize(("what", "msgid", "values", "who"), SIGNS, ids=[s[0] for s in SIGNS])
def test_it_is_a_sign_of_arming(what: str, msgid: int, values: dict[str, Any], who: tuple[int, int]) -> None:
    assert listen(frames((30, {"roll": 1}, VEHICLE), (msgid, values, who)), VEHICLE).arming


@pytest.mark.parametrize(("what", "msgid", "values", "who"), NO_SIGNS, ids=[s[0] for s in NO_SIGNS])
def test_it_is_no_sign_of_arming(what: str, msgid: int, values: dict[str, Any], who: tuple[int, int]) -> None:
    assert not listen(frames((msgid, values, who)), VEHICLE).arming


def test_only_the_vehicles_answers_to_us_are_heard() -> None:
    ours, theirs = {"target_system": 1, "target_component": 191}, {"target_system": 255, "target_component": 190}
    heard = listen(
        frames(
            (0, BEAT, VEHICLE), (FILE_TRANSFER_PROTOCOL, ours, VEHICLE), (FILE_TRANSFER_PROTOCOL, theirs, VEHICLE),
            (FILE_TRANSFER_PROTOCOL, ours, OTHER), (LOG_DATA, {"count": 90}, OTHER), (LOG_DATA, {"count": 9}, VEHICLE),
        ),
        VEHICLE,
    )  # fmt: skip
    assert [(msgid, int(row["count"]) if msgid == LOG_DATA else 0) for msgid, row in heard.answers] == [
        (FILE_TRANSFER_PROTOCOL, 0), (LOG_DATA, 9),
    ]  # fmt: skip
    assert heard.beats == 1


def test_answers_are_left_out_of_the_recording_and_nothing_else() -> None:
    ours, theirs = {"target_system": 1, "target_component": 191}, {"target_system": 255, "target_component": 190}
    said = [
        (30, {"roll": 1}, VEHICLE), (FILE_TRANSFER_PROTOCOL, ours | {"payload": [1] * 251}, VEHICLE),
        (FILE_TRANSFER_PROTOCOL, theirs, VEHICLE), (LOG_DATA, {}, OTHER), (ENTRY, {"id": 1}, VEHICLE),
        (LOG_DATA, {"count": 90}, VEHICLE), (30, {"roll": 2}, VEHICLE),
    ]  # fmt: skip
    whole = frames(*said)
    kept, count = without_answers(whole, VEHICLE)
    assert count == 3 and [kept[i] for i in range(len(kept))] == [whole[i] for i in (0, 2, 3, 6)]
    assert kept.time_us.tolist() == [5] * 4

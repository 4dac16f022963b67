"""What the link says that an offload depends on: signs of arming, heartbeats, answers of the autopilot. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from firmware_bridge.columns import FrameGroup, columns_of, fields, header
from firmware_bridge.log_request import LOG_DATA, LOG_ENTRY
from firmware_bridge.mavftp import FILE_TRANSFER_PROTOCOL, Op, parse
from firmware_bridge.rates import COMPANION_COMPID
from firmware_bridge.vehicle import ARMED_BIT, HEARTBEAT, STATUSTEXT
from shared.frames import Frames

COMMAND_INT, COMMAND_LONG, COMMAND_ACK = 75, 76, 77
COMPONENT_ARM_DISARM = 400
ANSWERS = frozenset({FILE_TRANSFER_PROTOCOL, LOG_ENTRY, LOG_DATA})
_HEARD = ANSWERS | {HEARTBEAT, COMMAND_INT, COMMAND_LONG, COMMAND_ACK, STATUSTEXT}
_ARM_TEXT = b"Arm: "
"""How ArduPilot begins the reason why it refuses to arm (AP_Arming::check_failed); checks at rest say `PreArm: `."""
Address = tuple[int, int]
"""(sysid, compid)"""


@dataclass(frozen=True, slots=True)
class Heard:
    """A moment of the link. arming: the sign of arming seen, "" for none. beats: the vehicle's heartbeats."""

    answers: list[tuple[int, Any]]
    arming: str = ""
    beats: int = 0


def listen(frames: Frames, vehicle: Address) -> Heard:
    """What these frames say of the vehicle, and its answers to us as (message id, fields)."""
    groups = columns_of(frames, only=_HEARD).groups
    own = [g for g in groups if (g.sysid, g.compid) == vehicle]
    beats = sum(len(g.rows) for g in own if g.msgid == HEARTBEAT)
    answers = [(g.msgid, row) for g in own if g.msgid in ANSWERS for row in _to_us(g, vehicle[0])]
    return Heard(answers, _arming(groups, own, vehicle), beats)


def _to_us(group: FrameGroup, sysid: int) -> Iterator[Any]:
    """The messages of a group that are meant for us; an address of 0 is everybody's."""
    for row in fields(group):
        if group.msgid != FILE_TRANSFER_PROTOCOL or (
            row["target_system"] in (0, sysid) and row["target_component"] in (0, COMPANION_COMPID)
        ):
            yield row


def is_data(msgid: int, fields: Any) -> bool:
    """Whether an answer is part of a log or list, as against a bare acknowledgement."""
    return msgid != FILE_TRANSFER_PROTOCOL or parse(fields["payload"].tobytes()).req_op in (Op.READ, Op.BURST)


def _arming(groups: list[FrameGroup], own: list[FrameGroup], vehicle: Address) -> str:
    """The vehicle is armed, or somebody tries to arm it."""
    for g in own:
        rows = fields(g) if g.msgid not in ANSWERS else None
        if rows is None:
            continue
        if g.msgid == HEARTBEAT and bool((rows["base_mode"] & ARMED_BIT).any()):
            return "armed"
        if g.msgid == COMMAND_ACK and bool((rows["command"] == COMPONENT_ARM_DISARM).any()):
            return "arming was answered"
        if g.msgid == STATUSTEXT and any(text.startswith(_ARM_TEXT) for text in rows["text"].tolist()):
            return "arming was refused"
    for g in groups:
        if g.msgid not in (COMMAND_INT, COMMAND_LONG):
            continue
        rows = fields(g)
        is_arm = (rows["command"] == COMPONENT_ARM_DISARM) & (rows["param1"] == 1)
        if bool((is_arm & np.isin(rows["target_system"], (0, vehicle[0]))).any()):
            return "arming was asked for"
    return ""


def without_answers(frames: Frames, vehicle: Address) -> tuple[Frames, int]:
    """(the frames without the vehicle's answers to an offload, how many those were)."""
    if not len(frames):
        return frames, 0
    key, start, length = header(frames)
    source = vehicle[0] << 8 | vehicle[1]
    msgid = np.where((key & 0xFFFF) == source, key >> 16, -1)
    is_answer = np.isin(msgid, (LOG_ENTRY, LOG_DATA))
    ftp = np.flatnonzero(msgid == FILE_TRANSFER_PROTOCOL)
    data = np.frombuffer(frames.data, np.uint8)
    target = [np.where(length[ftp] > i, data[start[ftp] + i], 0) for i in (1, 2)]  # zeros at the end are not sent
    is_answer[ftp] = np.isin(target[0], (0, vehicle[0])) & np.isin(target[1], (0, COMPANION_COMPID))
    return (frames, 0) if not is_answer.any() else (_only(frames, ~is_answer), int(is_answer.sum()))


def _only(frames: Frames, is_kept: "np.ndarray[Any, np.dtype[np.bool_]]") -> Frames:
    """The frames that are marked."""
    size = np.diff(frames.offsets)
    data = np.frombuffer(frames.data, np.uint8)[np.repeat(is_kept, size)].tobytes()
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(size[is_kept])])
    return Frames(data, offsets, frames.time_us[is_kept])

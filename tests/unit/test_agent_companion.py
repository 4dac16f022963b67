"""The companion's manners: what it may send, and that it sends nothing else."""

from typing import Any

import numpy as np
import pytest

from agent.companion import MAY_SAY, Companion
from agent.session import Identity
from firmware_bridge.columns import columns_of, fields
from firmware_bridge.framing import Scanner
from firmware_bridge.mavftp import FILE_TRANSFER_PROTOCOL, Line, Op, request
from shared.layouts import LAYOUTS

COPTER = Identity(1, 1, 3, 2, "")
HEARTBEAT, COMMAND_LONG, STATUSTEXT, SET_MESSAGE_INTERVAL = 0, 76, 253, 511


class Wire:
    """What was sent."""

    def __init__(self) -> None:
        self.raw = b""

    def send(self, data: bytes) -> bool:
        self.raw += data
        return True

    def messages(self) -> list[tuple[int, Any]]:
        groups = columns_of(Scanner().feed(self.raw, 0)).groups
        return [(g.msgid, row) for g in groups for row in fields(g)]


def test_the_only_command_is_that_of_a_message_interval() -> None:
    wire = Wire()
    companion = Companion(wire.send, "serial")
    for _ in range(12):
        companion.every_second(COPTER, is_healthy=True)
    companion.tell_pilot("warning", "DBX vibration 0.91")
    companion.leave()
    assert {msgid for msgid, _ in wire.messages()} == {HEARTBEAT, COMMAND_LONG, STATUSTEXT}
    assert {int(row["command"]) for msgid, row in wire.messages() if msgid == COMMAND_LONG} == {SET_MESSAGE_INTERVAL}


def test_an_offload_may_ask_for_files_and_logs_and_nothing_else() -> None:
    wire = Wire()
    companion = Companion(wire.send, "none")
    message = Line((1, 1)).message(request(Op.LIST, data=b"/APM/LOGS"))
    assert not companion.say(message), "before there is a vehicle"
    companion.every_second(COPTER, is_healthy=False)
    assert companion.say(message)
    [(msgid, row)] = wire.messages()
    assert msgid == FILE_TRANSFER_PROTOCOL and (row["target_system"], row["target_component"]) == (1, 1)
    for other in set(LAYOUTS) - MAY_SAY:
        with pytest.raises(ValueError, match="never sent"):
            companion.say((other, {}))


def test_what_companion_and_offload_say_is_numbered_in_one_sequence() -> None:
    wire = Wire()
    companion = Companion(wire.send, "none")
    for _ in range(300):
        companion.every_second(COPTER, is_healthy=True)
        companion.say(Line((1, 1)).message(request(Op.NONE)))
    frames = Scanner().feed(wire.raw, 0)
    numbers = np.array([frames[i][4] for i in range(len(frames))])
    assert len(frames) == 600 and ((np.diff(numbers.astype(int)) & 0xFF) == 1).all()

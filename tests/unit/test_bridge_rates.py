"""What is asked of the autopilot, as pymavlink reads it."""

from typing import Any

import numpy as np
import pytest
from pymavlink.dialects.v20 import ardupilotmega, common

from firmware_bridge.framing import Scanner
from firmware_bridge.modes import ARDUPILOT, PX4
from firmware_bridge.packing import Outgoing, pack
from firmware_bridge.rates import COMPANION_COMPID, heartbeat, intervals, requests, restorations
from shared.layouts import LAYOUTS


def read(messages: list[tuple[int, dict[str, Any]]]) -> list[Any]:
    """The messages packed by us and decoded by pymavlink."""
    out = []
    for i, (msgid, fields) in enumerate(messages):
        record = np.zeros(1, LAYOUTS[msgid].dtype)
        for name, value in fields.items():
            record[name] = value
        out.append(Outgoing(msgid, record, np.array([i])))
    frames = pack(out, 1, COMPANION_COMPID)
    return ardupilotmega.MAVLink(None).parse_buffer(frames.data) or []


def test_a_request_is_one_set_message_interval_per_message() -> None:
    wanted = intervals("serial", ARDUPILOT)
    commands = read(requests((1, 1), wanted))
    assert {c.get_type() for c in commands} == {"COMMAND_LONG"}
    assert {c.command for c in commands} == {common.MAV_CMD_SET_MESSAGE_INTERVAL}
    assert {int(c.param1): int(c.param2) for c in commands} == wanted
    assert {(c.target_system, c.target_component) for c in commands} == {(1, 1)}


def test_restoring_asks_for_the_autopilots_own_rates() -> None:
    commands = read(restorations((1, 1), [30, 33]))
    assert [(c.param1, c.param2) for c in commands] == [(30, 0), (33, 0)]


@pytest.mark.parametrize("autopilot", [ARDUPILOT, PX4])
def test_lte_asks_for_less_than_serial(autopilot: int) -> None:
    serial, lte = intervals("serial", autopilot), intervals("lte", autopilot)
    assert serial.keys() == lte.keys()
    assert sum(1e6 / us for us in lte.values()) < 0.7 * sum(1e6 / us for us in serial.values())


def test_each_firmware_is_asked_for_its_own_messages() -> None:
    assert 193 in intervals("serial", ARDUPILOT) and 193 not in intervals("serial", PX4)
    assert 230 in intervals("serial", PX4) and 230 not in intervals("serial", ARDUPILOT)


def test_the_heartbeat_is_a_companions_and_no_autopilots() -> None:
    (beat,) = read([heartbeat()])
    assert (beat.type, beat.autopilot) == (common.MAV_TYPE_ONBOARD_CONTROLLER, common.MAV_AUTOPILOT_INVALID)
    assert (beat.base_mode, beat.get_srcComponent()) == (0, 191)


def test_packed_frames_are_frames_numbered_in_order_of_time() -> None:
    record = np.zeros(300, LAYOUTS[30].dtype)
    record["roll"] = np.arange(300)
    late = Outgoing(0, np.zeros(1, LAYOUTS[0].dtype), np.array([10_000]))
    frames = pack([late, Outgoing(30, record, np.arange(300))], 7, 1)
    scanner = Scanner()
    assert len(scanner.feed(frames.data, 0)) == 301 and scanner.junk_bytes == 0
    assert [frames[i][4] for i in range(301)] == [i % 256 for i in range(301)]
    assert frames.time_us.tolist() == [*range(300), 10_000]

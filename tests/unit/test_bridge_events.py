"""Events and the vehicle behind them, over batch borders and with other systems on the link."""

from typing import Any

import numpy as np
import pytest

from firmware_bridge.columns import FrameColumns, FrameGroup
from firmware_bridge.events import MAX_EVENTS, Event, EventState, flight_events
from firmware_bridge.vehicle import VehicleTracker, find_vehicle
from shared.layouts import LAYOUTS

ID = {layout.name: msgid for msgid, layout in LAYOUTS.items()}
Message = tuple[int, str, dict[str, Any]]
QUAD = {"type": 2, "autopilot": 3}


def block(*messages: Message, source: tuple[int, int] = (1, 1)) -> FrameColumns:
    return mixed(*((source, m) for m in messages))


def mixed(*messages: tuple[tuple[int, int], Message]) -> FrameColumns:
    """Columns of (source, (time_us, name, fields))."""
    groups = []
    for source, name in sorted({(s, m[1]) for s, m in messages}):
        rows = [i for i, (s, m) in enumerate(messages) if (s, m[1]) == (source, name)]
        record = np.zeros(len(rows), LAYOUTS[ID[name]].dtype)
        for j, i in enumerate(rows):
            for key, value in messages[i][1][2].items():
                record[key][j] = value
        payload = record.view(np.uint8).reshape(len(rows), -1)
        groups.append(FrameGroup(ID[name], *source, np.array(rows, np.int32), payload))
    return FrameColumns(len(messages), np.array([m[0] for _, m in messages], np.int64), groups)


def beat(at: int, armed: bool = False, mode: int = 0, **more: Any) -> Message:
    return (at, "HEARTBEAT", QUAD | {"base_mode": 128 * armed, "custom_mode": mode, "system_status": 4} | more)


def text(at: int, words: bytes, severity: int = 6, **more: Any) -> Message:
    return (at, "STATUSTEXT", {"severity": severity, "text": words} | more)


def events(*messages: Message, state: EventState | None = None) -> list[Event]:
    return flight_events(block(*messages), None, state or EventState())


def kinds(found: list[Event]) -> list[tuple[int, str, str]]:
    return [(e.at_us, e.kind, e.text) for e in found]


def test_arming_and_modes_are_told_once_each() -> None:
    found = events(beat(0), beat(1, True), beat(2, True), beat(3, True, 5), beat(4, False, 5))
    assert kinds(found) == [
        (0, "mode", "STABILIZE"),
        (1, "armed", ""),
        (3, "mode", "LOITER"),
        (4, "disarmed", ""),
    ]


def test_a_batch_border_repeats_nothing() -> None:
    state = EventState()
    events(beat(0, True, 3), state=state)
    assert events(beat(1, True, 3), state=state) == []


def test_a_recording_that_starts_armed_says_so() -> None:
    assert (0, "armed", "") in kinds(events(beat(0, True)))


def test_texts_come_clean_and_with_their_severity() -> None:
    found = events(beat(0, mode=0), text(1, b"\x1b[31mEKF variance\x1b[0m\r\n", 2))
    assert found[-1] == Event(1, "statustext", "critical", "EKF variance", 2.0)


def test_chunks_of_a_text_are_joined_over_a_batch_border() -> None:
    state = EventState()
    assert events(beat(0), text(1, b"A" * 50, id=7, chunk_seq=0), state=state)[1:] == []
    found = events(beat(2), text(3, b"tail", id=7, chunk_seq=1), state=state)
    assert kinds(found) == [(1, "statustext", "A" * 50 + "tail")]


def test_a_text_whose_end_is_lost_is_told_all_the_same() -> None:
    state = EventState()
    events(beat(0), text(1, b"A" * 50, id=7, chunk_seq=1), state=state)
    found = events(beat(9_000_000), text(9_000_000, b"later"), state=state)
    assert ("statustext", "..." + "A" * 50) in [(e.kind, e.text) for e in found]


@pytest.mark.parametrize("words", [b"Battery 1 failsafe", b"EKF Failsafe: changed to LAND Mode", b"Failsafe activated"])
def test_a_failsafe_text_is_a_failsafe(words: bytes) -> None:
    assert events(beat(0), text(1, words, 2))[-1].kind == "failsafe"


@pytest.mark.parametrize("words", [b"PreArm: Radio failsafe on", b"EKF Failsafe Cleared", b"Throttle failsafe off"])
def test_a_failsafe_that_is_over_or_before_arming_is_a_text(words: bytes) -> None:
    assert events(beat(0), text(1, words, 2))[-1].kind == "statustext"


def test_a_critical_system_status_in_flight_is_a_failsafe() -> None:
    found = events(beat(0, True), beat(1, True, system_status=5), beat(2, True, system_status=5))
    assert [e.at_us for e in found if e.kind == "failsafe"] == [1]


def test_losing_and_regaining_the_gps_fix_are_events() -> None:
    fixes = [(i, "GPS_RAW_INT", {"fix_type": f}) for i, f in enumerate([3, 3, 1, 1, 4])]
    found = events(beat(0), *fixes)
    assert kinds([e for e in found if e.kind == "gps"]) == [(2, "gps", "GPS fix lost"), (4, "gps", "GPS fix regained")]


def test_the_first_gps_fix_is_acquired_and_not_regained() -> None:
    state = EventState()
    found = events(beat(0), *[(i, "GPS_RAW_INT", {"fix_type": f}) for i, f in enumerate([0, 3, 1])], state=state)
    found += events((9, "GPS_RAW_INT", {"fix_type": 3}), state=state)
    assert [e.text for e in found if e.kind == "gps"] == ["GPS fix acquired", "GPS fix lost", "GPS fix regained"]


def test_take_off_and_landing_come_from_the_landed_state() -> None:
    states = [(i, "EXTENDED_SYS_STATE", {"landed_state": s}) for i, s in enumerate([1, 3, 2, 4, 1])]
    found = events(beat(0), *states)
    assert [(e.at_us, e.kind) for e in found if e.kind in ("takeoff", "landed")] == [(1, "takeoff"), (4, "landed")]


def test_a_reboot_in_the_air_is_critical() -> None:
    times = [(i, "SYSTEM_TIME", {"time_boot_ms": ms}) for i, ms in enumerate([60_000, 61_000, 500])]
    state = EventState()
    events(beat(0, True), *times[:2], state=state)
    found = events(times[2], beat(3), state=state)
    assert found[0].kind == "reboot" and found[0].severity == "critical"


@pytest.mark.parametrize("boot_ms", [[60_000, 59_000, 61_000], [3_000, 1_500, 3_500], [60_000, 0, 61_000]])
def test_late_frames_and_unfilled_times_are_no_reboot(boot_ms: list[int]) -> None:
    times = [(i, "SYSTEM_TIME", {"time_boot_ms": ms}) for i, ms in enumerate(boot_ms)]
    assert not [e for e in events(beat(0), *times) if e.kind == "reboot"]


def test_home_is_told_when_it_moves_and_not_when_it_wanders() -> None:
    homes = [(i, "HOME_POSITION", {"latitude": lat, "altitude": 10_000}) for i, lat in enumerate([500, 510, 90_000])]
    assert [e.at_us for e in events(beat(0), *homes) if e.kind == "home"] == [0, 2]


def test_more_events_than_anyone_reads_are_counted() -> None:
    found = events(beat(0), *[text(i, b"spam") for i in range(3 * MAX_EVENTS)])
    assert len(found) == MAX_EVENTS
    assert "left out" in found[-1].text


GCS, SCRIPT, RADIO, GIMBAL = (255, 190), (1, 190), (51, 68), (1, 154)


def test_the_vehicle_is_found_among_ground_station_script_radio_and_gimbal() -> None:
    others = [
        (GCS, (0, "HEARTBEAT", {"type": 6, "autopilot": 3})),
        (GCS, (1, "HEARTBEAT", {"type": 6, "autopilot": 3})),
        (SCRIPT, (2, "HEARTBEAT", {"type": 2, "autopilot": 3})),
        (RADIO, (3, "RADIO_STATUS", {})),
        (GIMBAL, (4, "HEARTBEAT", {"type": 26, "autopilot": 8})),
        ((10, 1), (5, "HEARTBEAT", QUAD)),
    ]
    assert find_vehicle(mixed(*others)) == (10, 1)


def test_a_script_that_says_it_is_the_vehicle_is_none() -> None:
    assert find_vehicle(block(beat(0), source=SCRIPT)) is None


def test_px4_as_component_241_is_found() -> None:
    assert find_vehicle(block(beat(0, autopilot=12), source=(1, 241))) == (1, 241)


def test_a_link_without_an_autopilot_has_no_vehicle() -> None:
    assert find_vehicle(mixed((GCS, (0, "HEARTBEAT", {"type": 6, "autopilot": 8})))) is None


def test_a_second_vehicle_changes_nothing() -> None:
    tracker = VehicleTracker()
    tracker.update(block(beat(0, True)))
    assert tracker.update(block(beat(1, False), source=(2, 1))) == []
    assert tracker.vehicle is not None and tracker.vehicle.armed


def test_the_firmware_comes_from_the_banner_before_the_bare_number() -> None:
    tracker = VehicleTracker()
    version = (1, "AUTOPILOT_VERSION", {"flight_sw_version": (4 << 24) | (6 << 16) | (3 << 8) | 255})
    tracker.update(block(beat(0), version))
    assert tracker.vehicle is not None and tracker.vehicle.firmware == "4.6.3"
    tracker.update(block(text(2, b"ArduCopter V4.6.3 (3fc7011a)")))
    tracker.update(block(version))
    assert tracker.vehicle.firmware == "ArduCopter 4.6.3"


@pytest.mark.parametrize(
    "shown",
    [
        beat(1, mode=19, type=1),
        (1, "EXTENDED_SYS_STATE", {"vtol_state": 3}),
        (1, "PARAM_VALUE", {"param_id": b"Q_ENABLE", "param_value": 1.0}),
    ],
    ids=["a Q mode", "VTOL state", "Q_ENABLE"],
)
def test_an_aeroplane_shows_that_it_is_a_quadplane(shown: Message) -> None:
    tracker = VehicleTracker()
    tracker.update(block(beat(0, type=1), shown))
    assert tracker.vehicle is not None and tracker.vehicle.vehicle_class == "quadplane"


def test_a_plain_aeroplane_is_no_quadplane() -> None:
    tracker = VehicleTracker()
    tracker.update(block(beat(0, type=1), (1, "EXTENDED_SYS_STATE", {"vtol_state": 0, "landed_state": 1})))
    assert tracker.vehicle is not None and tracker.vehicle.vehicle_class == "plane"

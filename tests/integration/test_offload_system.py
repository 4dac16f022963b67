"""From the autopilot's card over the link, the agent and the broker into the hub, with real processes."""

import hashlib

import pytest

from hub.demo_aircraft import DemoFailed
from tests.fix_dataflash import dataflash_log
from tests.fix_log_server import LogServer
from tests.fix_scripted_autopilot import ScriptedAutopilot
from tests.fix_system import Flight, System, flying, wait_until
from tests.integration.test_agent_live import free_port

OFFLOAD = '[offload]\nenabled = true\nsettle_s = 1\n[findings]\nbundle = ""\n'


@pytest.mark.slow
def test_a_log_on_the_autopilot_is_whole_in_the_hub_without_a_hand(system: System) -> None:
    log = dataflash_log(15.0, week_ms=302_400_000)
    aircraft, port = system.aircraft("bussard"), free_port()
    flight = Flight.of_udp(aircraft, port, OFFLOAD)
    autopilot = ScriptedAutopilot(port, LogServer({"/APM/LOGS/00000009.BIN": log}))

    sha256 = hashlib.sha256(log).hexdigest()

    def original() -> bytes:
        found = system.demo.api.call("GET", "/v1/logs")["items"]
        if not any(item["sha256"] == sha256 and item["aircraft_id"] == str(aircraft.aircraft_id) for item in found):
            return b""
        try:
            return system.demo.api.download(f"/v1/logs/{sha256}/original")
        except DemoFailed:
            return b""

    try:
        with flying(flight):
            wait_until(lambda: original() == log, 90, "the log in the hub")
            flight.stop()
    finally:
        autopilot.stop()
    assert autopilot.is_idle() and system.facts(aircraft).gaps == 0

"""A flight that was sent live with holes, and its log uploaded afterwards: real agent, broker, hub and worker."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge.logs import open_log
from firmware_bridge.tlog import read_tlog, write_tlog
from hub.demo_log import open_demo_log
from shared.frames import Frames, join
from tests.fix_system import Flight, System, wait_until

pytestmark = pytest.mark.slow
NAME = "f0010_copter-quad"
HOLES_S = ((60.0, 72.0), (100.0, 115.0))


def without(frames: Frames, holes_s: tuple[tuple[float, float], ...]) -> Frames:
    """Frames, but for those in some spans (seconds after the first)."""
    edges = [0.0, *(s for hole in holes_s for s in hole), 1e9]
    at = np.searchsorted(frames.time_us - frames.time_us[0], [round(s * 1e6) for s in edges])
    return join([frames.slice(int(a), int(b)) for a, b in zip(at[::2], at[1::2], strict=True)])


def test_the_log_of_a_flight_fills_what_its_live_stream_lost(system: System, flight_data: Path, tmp_path: Path) -> None:
    sent = read_tlog(open_log(flight_data / "flights" / "tlog" / f"{NAME}.tlog.zst")).frames
    path = tmp_path / "holes.tlog"
    path.write_bytes(write_tlog(without(sent, HOLES_S)))
    aircraft = system.aircraft("sperber")
    flight = Flight.of_log(aircraft, open_demo_log(path, system.demo.folder), "max")
    flight.start()
    flight.finish()
    system.settled(aircraft)
    ((before, _),) = system.flights(aircraft)
    assert before["completeness"]["filled_s"] == 0 < before["completeness"]["lost_s"]

    log = open_log(flight_data / "flights" / "bin" / f"{NAME}.BIN.zst")
    answer = system.demo.api._http.post(
        "/v1/logs", content=log, params={"name": "00000010.BIN", "aircraft_id": str(aircraft.aircraft_id)}
    )
    assert answer.status_code == 202, answer.text
    name = answer.json()["items"][0]["sha256"]
    wait_until(lambda: bool(told(system, name)["flights"]), 60, "the log as part of its flight")
    system.settled(aircraft)
    ((after, report),) = system.flights(aircraft)
    assert (after["id"], after["origin"]) == (before["id"], "live")
    completeness = after["completeness"]
    # a value is held for 5 s at most
    assert completeness["lost_s"] == completeness["filled_s"] > 15
    assert "all of it filled from log 00000010.BIN" in completeness["statement"]
    assert {s["kind"] for s in after["sources"]} == {"onboard", "live"}
    assert report.is_proven and report.is_whole, "the evidence of the live stream holds as before"
    assert system.facts(aircraft).duplicates == 0
    assert system.demo.api.download(f"/v1/logs/{name}/original") == log


def told(system: System, name: str) -> dict[str, Any]:
    return system.demo.api.call("GET", f"/v1/logs/{name}")

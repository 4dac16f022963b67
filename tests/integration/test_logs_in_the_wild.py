"""Real logs of every format, odd ones most of all, go through the hub: each is read, and none is taken twice."""

from pathlib import Path

import pytest

from firmware_bridge.log_source import LogSource
from shared.errors import Refused
from tests.fix_logs import LogHub

pytestmark = pytest.mark.slow
LARGEST = 2 << 20


def test_each_real_log_is_read_and_once(log_hub: LogHub, flight_data: Path) -> None:
    r = log_hub.hub.new_recorder()
    station = log_hub.station(r.org_id)
    names: dict[bytes, str] = {}
    for path in sorted((flight_data / "real").iterdir()):
        try:
            source = LogSource(path)
        except Refused:
            continue
        data = b"".join(source.pieces())
        if len(data) <= LARGEST:
            names[log_hub.deliver(station, data, source.format, aircraft=r.aircraft_id, name=path.name)] = path.name
    for log in names:
        log_hub.take_in(r.org_id, log)
    rows = log_hub.hub.rows(r.org_id, "SELECT sha256, state, reason, whole_at IS NOT NULL FROM logs")
    assert {bytes(s) for s, *_ in rows} == set(names) and all(whole for *_, whole in rows)
    assert {names[bytes(s)]: (state, why) for s, state, why, _ in rows if state not in ("parsed", "unassigned")} == {}
    doubles = "SELECT session_id, t0_utc_us FROM telemetry_chunks GROUP BY 1, 2 HAVING count(*) > 1"
    assert log_hub.hub.rows(r.org_id, doubles) == []
    before = log_hub.hub.rows(r.org_id, "SELECT session_id, grid_rows FROM flight_sessions ORDER BY 1")
    for log in names:
        log_hub.take_in(r.org_id, log)
    assert log_hub.hub.rows(r.org_id, "SELECT session_id, grid_rows FROM flight_sessions ORDER BY 1") == before

"""Whatever was done to a log, its survey and its flights are answers, never exceptions; and they take bounded time."""

import struct

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from firmware_bridge.inspect import described
from firmware_bridge.inspect_text import page
from firmware_bridge.log_flight import derive
from firmware_bridge.log_source import LogSource
from firmware_bridge.log_survey import survey
from firmware_bridge.log_tables import LogFormat
from shared.channels import BY_NAME
from shared.errors import Refused
from tests.fix_dataflash import dataflash_log
from tests.fix_tlog import flight_frames, raw_dump, tlog
from tests.fix_ulog import ulog_log

LOGS: dict[LogFormat, bytes] = {
    "dataflash": dataflash_log(6.0, armed_s=1.0, rate_hz=10),
    "ulog": ulog_log(6, armed=(1.0, 5.0)),
    "tlog": tlog(flight_frames(10, (2, 8))),
    "raw": raw_dump(flight_frames(10, (2, 8))),
}
_DAMAGE = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 1 << 20), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0, 1 << 20), st.integers(1, 3000)),
    st.tuples(st.just("zeros"), st.integers(0, 1 << 20), st.integers(1, 5000)),
    st.tuples(st.just("twice"), st.integers(0, 1 << 20), st.integers(1, 20_000)),
    st.tuples(st.just("time"), st.integers(0, 1 << 20), st.integers(0, (1 << 64) - 1)),
)


def _damaged(data: bytes, damage: list[tuple[str, int, int]]) -> bytes:
    for kind, at, what in damage:
        at %= max(len(data), 1)
        if kind == "flip" and data:
            data = data[:at] + bytes([data[at] ^ what]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at] + data[at + what :]
        elif kind == "zeros":
            data = data[:at] + bytes(min(what, len(data) - at)) + data[at + what :]
        elif kind == "twice":
            data = data[: at + what] + data[at:]
        elif kind == "time":
            data = data[:at] + struct.pack("<Q", what) + data[at + 8 :]
    return data


def _read(data: bytes) -> None:
    try:
        source = LogSource(data, "log")
    except Refused as refused:
        assert refused.reason in ("log_format", "log_empty", "log_damaged")
        return
    found = survey(source)
    assert found.size_bytes == len(data)
    assert all(0 <= s.boot < len(found.boots) and s.start_us <= s.end_us for s in found.sessions)
    flights = derive(source, found)
    assert [f.session for f in flights] == list(found.sessions)
    for flight in flights:
        for grid in flight.grids:
            assert (np.diff(grid.tick_us) > 0).all()
            assert all(len(v) == len(grid.tick_us) and v.dtype == BY_NAME[n].dtype for n, v in grid.values.items())
    assert page(described(source, found))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(LOGS)), st.lists(_DAMAGE, min_size=1, max_size=6))
@example("tlog", [("time", 8, 1 << 62)])
@example("dataflash", [("cut", 0, 3)])
def test_a_damaged_log_is_surveyed_and_its_flights_derived(name: LogFormat, damage: list[tuple[str, int, int]]) -> None:
    _read(_damaged(LOGS[name], damage))


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=4_000), st.sampled_from([b"", b"\xa3\x95\x80", b"ULog\x01\x12\x35\x01", b"FMT, 128, 89, FMT,"])
)
def test_bytes_of_any_kind_are_refused_or_read(data: bytes, head: bytes) -> None:
    _read(head + data)

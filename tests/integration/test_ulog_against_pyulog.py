"""Every real ULog, value by value as pyulog reads it. Differences on purpose: docs/logs.md."""

from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from pyulog import ULog
from pyulog.px4_events import PX4Events

from firmware_bridge.log_tables import Portion, Table, read_all
from firmware_bridge.tlog import open_log
from firmware_bridge.ulog_reader import ULogReader

NAMES = (
    "px4-quad-1.12-sil-hover-motor1-eff00.ulg",
    "px4-quad-1.15-real-mission.ulg",
    "px4-quad-1.15-sitl-rtl-events.ulg",
    "px4-quad-1.16-real-indoor-lowbatt-failsafe.ulg",
)
LEVELS = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")
pytestmark = pytest.mark.parametrize("name", NAMES)


@cache
def both(path: Path) -> tuple[list[Portion], ULog]:
    data = open_log(path)
    pieces = [data[i : i + 700_001] for i in range(0, len(data), 700_001)]
    return read_all(ULogReader(piece_bytes=1 << 20), pieces), ULog(str(path))


@pytest.fixture
def read(flight_data: Path, name: str) -> tuple[list[Portion], ULog]:
    return both(flight_data / "real" / name)


def joined(portions: list[Portion]) -> dict[tuple[str, int], list[Table]]:
    tables = sorted((t for p in portions for t in p.tables), key=lambda t: (t.name, t.instance))
    return {k: list(v) for k, v in groupby(tables, key=lambda t: (t.name, t.instance))}


def flat(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Columns named as pyulog names them."""
    out = {}
    for name in rows.dtype.names:
        column = rows[name]
        if column.dtype.kind == "S":
            column = np.ascontiguousarray(column).view("i1").reshape(len(rows), -1)
        if column.ndim == 2:
            out |= {f"{name}[{i}]": column[:, i] for i in range(column.shape[1])}
        else:
            out[name] = column
    return out


def test_topics_instances_and_every_value(read: tuple[list[Portion], ULog], name: str) -> None:
    ours, theirs = joined(read[0]), read[1].data_list
    assert set(ours) == {(d.name, d.multi_id) for d in theirs}
    for d in theirs:
        rows = np.concatenate([t.rows for t in ours[d.name, d.multi_id]])
        columns = flat(rows)
        wanted = {k: v for k, v in d.data.items() if not k.rpartition(".")[2].startswith("_padding")}
        assert list(columns) == list(wanted)
        for field, values in wanted.items():
            assert columns[field].dtype.itemsize == values.dtype.itemsize
            np.testing.assert_array_equal(columns[field], values)
        times = np.concatenate([t.time_us for t in ours[d.name, d.multi_id]])
        np.testing.assert_array_equal(times, d.data["timestamp"].astype(np.int64))


def test_parameters_and_those_changed_in_flight(read: tuple[list[Portion], ULog], name: str) -> None:
    found = [p for portion in read[0] for p in portion.parameters]
    assert {p.name: p.value for p in found if p.is_initial} == read[1].initial_parameters
    changed = [(p.time_us, p.name, p.value) for p in found if not p.is_initial]
    assert changed == read[1].changed_parameters


def test_texts_facts_defaults_and_dropouts(read: tuple[list[Portion], ULog], name: str) -> None:
    portions, theirs = read
    events = {at for t in joined(portions).get(("event", 0), []) for at in t.at.tolist()}
    texts = [(t.time_us, t.severity, t.text) for p in portions for t in p.texts if t.at not in events]
    assert texts == [(m.timestamp, m.log_level - ord("0"), m.message) for m in theirs.logged_messages]
    info = {k: v for p in portions for k, v in p.info.items()}
    assert info.pop("start_timestamp") == theirs.start_timestamp
    defaults = {kind: values for kind in range(3) if (values := theirs.get_default_parameters(kind))}
    assert info.pop("default_parameters") == defaults
    info.pop("file_version")
    assert info == theirs.msg_info_dict | theirs.msg_info_multiple_dict
    dropouts = [d.detail for p in portions for d in p.damage if d.reason == "dropout"]
    assert dropouts == [f"{d.duration} ms" for d in theirs.dropouts]


def test_events_say_what_the_metadata_of_the_log_makes_of_them(read: tuple[list[Portion], ULog], name: str) -> None:
    portions, theirs = read
    events = {at for t in joined(portions).get(("event", 0), []) for at in t.at.tolist()}
    ours = [(t.time_us, LEVELS[t.severity], t.text) for p in portions for t in p.texts if t.at in events]
    parser = PX4Events()
    parser.set_default_json_definitions_cb(lambda _: None)
    assert ours == [(int(t), level, text) for t, level, text in parser.get_logged_events(theirs)]


def test_nothing_is_lost_of_a_sound_log(read: tuple[list[Portion], ULog], name: str) -> None:
    portions = read[0]
    assert [d for p in portions for d in p.damage] == []
    assert [p.start for p in portions[1:]] == [p.end for p in portions[:-1]]

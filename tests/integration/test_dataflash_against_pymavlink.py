"""Our reading of recorded DataFlash logs against pymavlink's: counts, every field, units, parameters, texts."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymavlink.DFReader import DFReader_binary, DFReader_text

from firmware_bridge.dataflash import DataFlashReader
from firmware_bridge.dataflash_text import DataFlashTextReader
from firmware_bridge.log_tables import Portion, Table, read_all
from firmware_bridge.logs import open_log

Messages = dict[str, list[Any]]


def logs(folder: Path, *suffixes: str) -> list[Path]:
    found = sorted(p for p in (folder / "real").iterdir() if p.suffix.lower() in suffixes)
    if not found:
        pytest.skip("needs recorded DataFlash logs (../shared/data/real), which are not on this machine")
    return found


def theirs(reader: Any) -> tuple[Messages, dict[str, float]]:
    """All messages as pymavlink reads them, by type; and its parameters."""
    messages: Messages = defaultdict(list)
    while (message := reader.recv_msg()) is not None:
        messages[message.get_type()].append(message)
    return dict(messages), reader.params


def tables(portions: list[Portion]) -> Iterator[tuple[str, list[Table]]]:
    by_name: dict[str, list[Table]] = defaultdict(list)
    for table in (t for p in portions for t in p.tables):
        by_name[table.name].append(table)
    yield from by_name.items()


def column(parts: list[Table], name: str) -> list[Any]:
    """A field of a type over all its tables, in the order of the log, as pymavlink gives it."""
    order = np.argsort(np.concatenate([t.at for t in parts]), kind="stable")
    if parts[0].rows.dtype[name].kind == "S":
        raw = np.concatenate([t.rows[name] for t in parts])[order]
        return [words.split(b"\0")[0] for words in raw.tolist()]
    if parts[0].rows.dtype[name].shape or name not in parts[0].gain:
        return np.concatenate([t.rows[name] for t in parts])[order].tolist()
    return np.concatenate([t.values(name) for t in parts])[order].tolist()


def agree(ours: list[Any], other: list[Any]) -> bool:
    if ours and isinstance(ours[0], bytes):
        other = [v.rstrip(b"\0").split(b"\0")[0] if isinstance(v, bytes) else v for v in other]
        return all(a in (v, *_encodings(v)) for a, v in zip(ours, other, strict=True))
    if ours and isinstance(ours[0], list):
        return ours == [list(v) for v in other]
    return np.allclose(np.array(ours, np.float64), np.array(other, np.float64), rtol=1e-14, atol=0, equal_nan=True)


def _encodings(text: Any) -> tuple[bytes, ...]:
    return (text.encode(), text.encode("latin-1", "replace")) if isinstance(text, str) else ()


def compare(portions: list[Portion], reader: Any, label: str) -> None:
    messages, parameters = theirs(reader)
    counts: dict[str, int] = defaultdict(int)
    for portion in portions:
        for name, count in portion.counts.items():
            counts[name] += count
    assert dict(counts) == {name: len(found) for name, found in messages.items()}, label
    for name, parts in tables(portions):
        for field in messages[name][0].get_fieldnames():
            other = [getattr(message, field) for message in messages[name]]
            assert agree(column(parts, field), other), (label, name, field)
    assert {p.name: p.value for q in portions for p in q.parameters} == parameters, label
    begin = min(t.at[0] for t in portions[0].tables)
    said = [t.text for p in portions for t in p.texts if t.at >= begin]
    assert said == [m.Message for m in messages.get("MSG", [])], label


@pytest.mark.slow
def test_binary_logs_read_as_pymavlink_reads_them(flight_data: Path) -> None:
    for path in logs(flight_data, ".bin"):
        compare(read_all(DataFlashReader(), [path.read_bytes()]), DFReader_binary(str(path)), path.name)


@pytest.mark.slow
def test_units_are_those_of_pymavlink(flight_data: Path) -> None:
    for path in logs(flight_data, ".bin"):
        reader = DFReader_binary(str(path))
        messages, _ = theirs(reader)
        for name, parts in tables(read_all(DataFlashReader(), [path.read_bytes()])):
            fmt = messages[name][-1].fmt
            units = {field: fmt.get_unit(field) for field in fmt.columns if fmt.units and fmt.get_unit(field)}
            assert parts[-1].unit == units, (path.name, name)


@pytest.mark.slow
def test_text_logs_read_as_pymavlink_reads_them(flight_data: Path) -> None:
    for path in logs(flight_data, ".log"):
        compare(read_all(DataFlashTextReader(), [path.read_bytes()]), DFReader_text(str(path)), path.name)


@pytest.mark.slow
def test_a_simulated_flight_reads_as_pymavlink_reads_it(flight_data: Path, tmp_path: Path) -> None:
    packed = sorted((flight_data / "flights" / "bin").glob("*.BIN.zst"))
    if not packed:
        pytest.skip("needs a simulated DataFlash log (../shared/data/flights/bin), which is not on this machine")
    for path in packed:
        data = open_log(path)
        plain = tmp_path / path.stem
        plain.write_bytes(data)
        compare(read_all(DataFlashReader(), [data]), DFReader_binary(str(plain)), path.name)


def test_a_log_and_its_text_twin_hold_the_same_messages(flight_data: Path) -> None:
    binary, text = (flight_data / "real" / f"apm-plane-3.0.3-real-failsafe-pair.{end}" for end in ("BIN", "log"))
    if not (binary.exists() and text.exists()):
        pytest.skip("needs the pair of logs of one flight (../shared/data/real), which is not on this machine")
    (one,) = read_all(DataFlashReader(), [binary.read_bytes()])
    (other,) = read_all(DataFlashTextReader(), [text.read_bytes()])
    assert one.counts == other.counts
    assert [(p.name, p.time_us) for p in one.parameters] == [(p.name, p.time_us) for p in other.parameters]
    assert [p.value for p in one.parameters] == pytest.approx([p.value for p in other.parameters], rel=1e-5, abs=1e-4)
    assert [(t.time_us, t.text.strip()) for t in one.texts] == [(t.time_us, t.text) for t in other.texts]

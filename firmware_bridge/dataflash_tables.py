"""Messages of a DataFlash piece as columns: one gather per type, then the tables and texts of a span of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.dataflash_formats import HEAD_BYTES, Format, Formats, words
from firmware_bridge.dataflash_scan import Scanned
from firmware_bridge.log_tables import Table, Text

MAX_INSTANCES = 64
"""An instance field with more values in a piece tells no instances apart (a damaged FMTU)."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """All messages of one format in a piece. index int64 [m]: their places in the order of messages; rows [m]."""

    format: Format
    index: NDArray[np.int64]
    rows: NDArray[Any]


def groups_of(data: bytes, scanned: Scanned) -> list[Group]:
    """The messages of a scanned piece by format, in the order of their kinds."""
    order = np.argsort(scanned.kinds.astype(np.uint16), kind="stable")  # numpy sorts 16 bits by radix
    kinds = scanned.kinds[order]
    edges = np.flatnonzero(np.diff(kinds, prepend=-1, append=-1))
    groups = []
    for start, end in pairwise(edges.tolist()):
        format_ = scanned.formats[int(kinds[start])]
        index = order[start:end]
        groups.append(Group(format_, index, gather(data, format_, scanned.at[index])))
    return groups


def gather(data: bytes, format_: Format, at: NDArray[np.int64]) -> NDArray[Any]:
    """The fields of the messages of a format that begin at `at`, copied."""
    size = format_.size - HEAD_BYTES
    if size == 0:
        return np.zeros(len(at), format_.dtype)
    bodies: NDArray[Any] = np.ndarray((len(data) - format_.size + 1,), f"V{size}", data, HEAD_BYTES, (1,))
    return bodies[at].view(format_.dtype)


def learn_units(groups: Iterable[Group], formats: Formats) -> None:
    """Takes up what FMTU, UNIT and MULT messages say."""
    for group in groups:
        columns = group.rows.dtype.names or ()
        if group.format.name == "FMTU" and {"FmtType", "UnitIds", "MultIds"} <= set(columns):
            for row in group.rows:
                formats.set_units(int(row["FmtType"]), words(row["UnitIds"]), words(row["MultIds"]))
        elif group.format.name == "UNIT" and {"Id", "Label"} <= set(columns):
            for row in group.rows:
                formats.set_label(chr(int(row["Id"]) & 255), words(row["Label"]))
        elif group.format.name == "MULT" and {"Id", "Mult"} <= set(columns):
            for row in group.rows:
                formats.set_multiplier(chr(int(row["Id"]) & 255), float(row["Mult"]))


def tables_of(
    group: Group, which: slice | NDArray[np.bool_], time_us: NDArray[np.int64], at: NDArray[np.int64], formats: Formats
) -> list[Table]:
    """The tables of some of a group's messages, one per instance. time_us, at: of all messages of the piece."""
    index, rows = group.index[which], group.rows[which]
    if not len(index):
        return []
    format_, units = group.format, formats.units(group.format)
    times, places = time_us[index], at[index]
    field = formats.instance_field(format_)
    values = distinct(rows[field]) if field else np.zeros(1, np.int64)
    if not field or not 1 < len(values) <= MAX_INSTANCES:
        instance = int(values[0]) if len(values) == 1 else 0
        return [Table(format_.name, instance, times, places, rows, format_.gain, units)]
    plain = rows.view(f"V{rows.dtype.itemsize}")  # numpy picks plain bytes faster than records
    picks = [(int(value), np.flatnonzero(rows[field] == value)) for value in values]
    return [
        Table(format_.name, v, times[w], places[w], plain[w].view(rows.dtype), format_.gain, units) for v, w in picks
    ]


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """The different values, ascending. (numpy's own `unique` loads its masked arrays first: 40 ms.)"""
    values = np.sort(values)
    return values[np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])]


def texts_of(table: Table) -> list[Text]:
    """What the firmware said in MSG messages."""
    if table.name != "MSG" or "Message" not in (table.rows.dtype.names or ()):
        return []
    said = zip(table.time_us.tolist(), table.rows["Message"].tolist(), table.at.tolist(), strict=True)
    return [Text(time, 6, words(text), place) for time, text, place in said if isinstance(text, bytes)]
